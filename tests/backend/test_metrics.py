"""Metrics against scikit-learn, also where a class is missing or everything is one class."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.backend import metrics

C = 4
ALL = range(C)
RNG = np.random.default_rng(0)


@functools.cache
def _compiled(name: str, **options):
    return jax.jit(functools.partial(metrics.TABLE[name], **options))


def value(name: str, *inputs, **options) -> float:
    return float(_compiled(name, **options)(*map(jnp.asarray, inputs)))


# Few sizes, so that each is compiled once; what is drawn are the labels themselves.
@st.composite
def predictions_and_labels(draw) -> tuple[np.ndarray, np.ndarray]:
    size = draw(st.sampled_from([1, 3, 12]))
    labels = st.lists(st.integers(0, C - 1), min_size=size, max_size=size)
    return np.array(draw(labels), np.int32), np.array(draw(labels), np.int32)


@given(predictions_and_labels())
def test_the_confusion_matrix_is_that_of_scikit_learn(pair) -> None:
    predictions, labels = pair
    found = _compiled("confusion_matrix", classes=C)(predictions, labels)
    expected = sklearn.metrics.confusion_matrix(labels, predictions, labels=ALL)
    np.testing.assert_array_equal(found, expected)


SHARES = {
    "precision": (sklearn.metrics.precision_score, {}),
    "recall": (sklearn.metrics.recall_score, {}),
    "f1": (sklearn.metrics.f1_score, {}),
    "fbeta": (sklearn.metrics.fbeta_score, {"beta": 0.5}),
}


@pytest.mark.parametrize("name", SHARES)
@given(predictions_and_labels())
def test_shares_are_those_of_scikit_learn(name: str, pair) -> None:
    predictions, labels = pair
    score, options = SHARES[name]
    for positive in (None, 0, 3):
        chosen = {"labels": [positive]} if positive is not None else {}
        expected = score(labels, predictions, average="macro", zero_division=0, **chosen, **options)
        found = value(name, predictions, labels, positive=positive, classes=C, **options)
        there, said = (np.any(each == positive) for each in (labels, predictions))
        if positive is not None and not (there if name == "recall" else there or said):
            assert math.isnan(found)
        else:
            assert found == pytest.approx(expected, abs=1e-6)


@given(predictions_and_labels())
def test_balanced_accuracy_is_the_mean_recall_of_what_occurs(pair) -> None:
    predictions, labels = pair
    recalls = [np.mean(predictions[labels == c] == c) for c in np.unique(labels)]
    found = value("balanced_accuracy", predictions, labels, classes=C)
    assert found == pytest.approx(np.mean(recalls), abs=1e-6)


@given(predictions_and_labels())
def test_matthews_correlation_is_that_of_scikit_learn(pair) -> None:
    predictions, labels = pair
    is_constant = len({*predictions.tolist(), *labels.tolist()}) == 1
    expected = 0 if is_constant else sklearn.metrics.matthews_corrcoef(labels, predictions)
    found = value("matthews_correlation", predictions, labels, classes=C)
    assert found == pytest.approx(expected, abs=1e-6)


def test_matthews_correlation_keeps_its_digits_where_a_class_is_rare() -> None:
    labels = np.zeros(1_000_000, np.int32)
    predictions = labels.copy()
    labels[:3], predictions[1:5] = 1, 1
    hits, missed, false, rejected = 2, 1, 2, 1_000_000 - 5
    expected = (hits * rejected - missed * false) / math.sqrt(
        (hits + false) * (hits + missed) * (rejected + false) * (rejected + missed)
    )
    found = value("matthews_correlation", predictions, labels, classes=2)
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "weights"), [("cohen_kappa", None), ("quadratic_weighted_kappa", "quadratic")]
)
@given(predictions_and_labels())
def test_kappa_is_that_of_scikit_learn(name: str, weights: str | None, pair) -> None:
    predictions, labels = pair
    found = value(name, predictions, labels, classes=C)
    if len({*predictions.tolist(), *labels.tolist()}) == 1:
        assert found == 0
        return
    expected = sklearn.metrics.cohen_kappa_score(labels, predictions, labels=ALL, weights=weights)
    assert found == pytest.approx(expected, abs=1e-6)
    assert -1 - 1e-6 <= found <= 1 + 1e-6


def test_perfect_predictions_have_the_best_value() -> None:
    labels = RNG.integers(C, size=50)
    for name, function in metrics.TABLE.items():
        if name in ("precision", "recall", "f1", "fbeta"):
            options = {"positive": None} | ({"beta": 2.0} if name == "fbeta" else {})
            assert function(labels, labels, classes=C, **options) == 1
        if name in ("balanced_accuracy", "cohen_kappa", "quadratic_weighted_kappa"):
            assert function(labels, labels, classes=C) == 1
    assert value("matthews_correlation", labels, labels, classes=C) == pytest.approx(1)


PROBS = RNG.dirichlet(np.ones(C), size=60).astype(np.float32)
LABELS = RNG.integers(C, size=60).astype(np.int32)


@pytest.mark.parametrize("kind", ["probs", "log_probs"])
def test_log_loss_is_that_of_scikit_learn(kind: str) -> None:
    scores = PROBS if kind == "probs" else np.log(PROBS)
    found = metrics.log_loss(scores, LABELS, kinds=(kind, "class"))
    exact = PROBS.astype(np.float64)
    exact /= exact.sum(axis=-1, keepdims=True)
    expected = sklearn.metrics.log_loss(LABELS, exact, labels=ALL)
    assert float(jnp.mean(found)) == pytest.approx(expected, rel=1e-5)


def test_a_label_of_probability_zero_costs_much_but_not_everything() -> None:
    certain = jnp.array([[1.0, 0.0]])
    found = metrics.log_loss(certain, jnp.array([1]), kinds=("probs", "class"))
    assert float(found[0]) == pytest.approx(126 * math.log(2))


def test_brier_is_the_squared_distance_to_the_label() -> None:
    expected = np.sum((PROBS - np.eye(C)[LABELS]) ** 2, axis=-1)
    np.testing.assert_allclose(metrics.brier(PROBS, LABELS), expected, rtol=1e-5)
    certain = np.eye(C, dtype=np.float32)[LABELS]
    assert float(jnp.max(metrics.brier(certain, LABELS))) == 0
    assert float(jnp.min(metrics.brier(certain, (LABELS + 1) % C))) == 2


def test_brier_of_two_classes_is_twice_that_of_scikit_learn() -> None:
    probs = np.stack([1 - PROBS[:, 0], PROBS[:, 0]], axis=-1)
    expected = 2 * sklearn.metrics.brier_score_loss(LABELS % 2, probs[:, 1])
    found = float(jnp.mean(metrics.brier(probs, LABELS % 2)))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_calibration_error_is_its_definition(bins: int) -> None:
    confidence, correct = PROBS.max(axis=-1), PROBS.argmax(axis=-1) == LABELS
    expected = 0.0
    for low in range(bins):
        inside = (confidence > low / bins) & (confidence <= (low + 1) / bins)
        if inside.any():
            gap = abs(correct[inside].mean() - confidence[inside].mean())
            expected += inside.mean() * gap
    found = value("expected_calibration_error", PROBS, LABELS, bins=bins)
    assert found == pytest.approx(expected, abs=1e-6)


def test_certain_and_right_is_calibrated_and_certain_and_wrong_is_not() -> None:
    certain = np.eye(C, dtype=np.float32)[LABELS]
    assert value("expected_calibration_error", certain, LABELS, bins=15) == 0
    assert value("expected_calibration_error", certain, (LABELS + 1) % C, bins=15) == 1


BINARY = {
    "roc_auc": sklearn.metrics.roc_auc_score,
    "average_precision": sklearn.metrics.average_precision_score,
}


@pytest.mark.parametrize("name", BINARY)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=12, max_size=12))
def test_binary_scores_are_those_of_scikit_learn_also_with_ties(name: str, examples) -> None:
    scores = np.array([score for score, _ in examples], np.float32)
    labels = np.array([label for _, label in examples], np.int32)
    if labels.min() == labels.max():
        return
    expected = BINARY[name](labels, scores)
    found = value(name, scores, labels, positive=1, kinds=("real", "class"))
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("kind", ["logits", "probs", "log_probs"])
@pytest.mark.parametrize("positive", [0, 1])
def test_binary_scores_of_every_kind_rank_alike(name: str, kind: str, positive: int) -> None:
    logits = jnp.asarray(3 * RNG.normal(size=(80, 2)), jnp.float32)
    labels = RNG.integers(2, size=80)
    margin = np.asarray(logits[:, positive] - logits[:, 1 - positive])
    expected = BINARY[name](labels == positive, margin)
    convert = {"logits": lambda x: x, "probs": jax.nn.softmax, "log_probs": jax.nn.log_softmax}
    scores = convert[kind](logits)
    found = value(name, scores, labels, positive=positive, kinds=(kind, "class"))
    # Rounding may tie or swap neighbours among 80 * 80 pairs, not more than a few of them.
    assert found == pytest.approx(expected, abs=2e-3)


def test_without_one_of_the_classes_binary_scores_are_what_the_catalogue_says() -> None:
    scores, same = jnp.array([0.1, 0.9]), jnp.array([1, 1])
    kinds = ("real", "class")
    assert math.isnan(metrics.roc_auc(scores, same, positive=1, kinds=kinds))
    assert math.isnan(metrics.roc_auc(scores, same, positive=0, kinds=kinds))
    assert math.isnan(metrics.average_precision(scores, same, positive=0, kinds=kinds))


@pytest.mark.parametrize("shape", [(50,), (50, 3)])
def test_regression_metrics_are_those_of_scikit_learn(shape: tuple[int, ...]) -> None:
    target = (100 + 20 * RNG.normal(size=shape)).astype(np.float32)
    prediction = (target + 5 * RNG.normal(size=shape)).astype(np.float32)
    for name, score in [
        ("mean_squared_error", sklearn.metrics.mean_squared_error),
        ("mean_absolute_error", sklearn.metrics.mean_absolute_error),
        ("r2_score", sklearn.metrics.r2_score),
    ]:
        found = float(jnp.mean(metrics.TABLE[name](prediction, target)))
        assert found == pytest.approx(score(target, prediction), rel=1e-5)
    root = math.sqrt(sklearn.metrics.mean_squared_error(target, prediction))
    found = value("root_mean_squared_error", prediction, target)
    assert found == pytest.approx(root, rel=1e-5)


def test_the_mean_explains_nothing_and_the_truth_everything() -> None:
    target = jnp.array([1.0, 2.0, 6.0])
    assert metrics.r2_score(target, target) == 1
    assert metrics.r2_score(jnp.full(3, 3.0), target) == 0
