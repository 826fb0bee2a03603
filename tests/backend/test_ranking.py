"""What ranks by the probability of a class keeps its order where float32 probabilities round."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.backend import metrics, scores
from ev3lang.backend.expressions import evaluate
from ev3lang.catalog.signature import parse_type
from ev3lang.plan.plan import Apply, Field
from ev3lang.plan.simplify import stable

# of the public report torchmetrics#2819: the second of two logits, the first is 0
CONFIDENT = np.array(
    [
        98.0950, 98.4612, 98.1145, 98.1506, 97.6037, 98.9425, 99.2644, 99.5014, 99.7280, 99.6595,
        99.6931, 99.4667, 99.9623, 99.8949, 99.8768,
    ],
    np.float32,
)  # fmt: skip
HIT = np.array([0] + 14 * [1], np.int32)
TWO = np.stack([np.zeros_like(CONFIDENT), CONFIDENT], axis=1)


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Of each class against the rest, float64."""
    wide = logits.astype(np.float64)
    rest = [
        scipy.special.logsumexp(np.delete(wide, c, axis=1), axis=1) for c in range(wide.shape[1])
    ]
    return wide - np.stack(rest, axis=1)


def macro_auc(logits: np.ndarray, labels: np.ndarray) -> float:
    odds = log_odds(logits)
    classes = range(logits.shape[1])
    return np.mean([sklearn.metrics.roc_auc_score(labels == c, odds[:, c]) for c in classes])


def confident(classes: int, offset: float = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes, size=60).astype(np.int32)
    logits = np.eye(classes)[labels] * rng.normal(5, 20, (60, 1)) + rng.normal(0, 1, (60, classes))
    logits[:, 0] += 60
    return (logits + offset).astype(np.float32), labels


@pytest.mark.parametrize("name", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("kind", ["logits", "log_probs"])
def test_confident_scores_of_two_classes_keep_their_order(name: str, kind: str) -> None:
    given_scores = TWO if kind == "logits" else np.asarray(jax.nn.log_softmax(TWO))
    exact = {
        "roc_auc": sklearn.metrics.roc_auc_score,
        "average_precision": sklearn.metrics.average_precision_score,
    }[name](HIT, CONFIDENT.astype(np.float64))
    found = metrics.TABLE[name](
        jnp.asarray(given_scores), jnp.asarray(HIT), positive=1, kinds=(kind, "class")
    )
    assert float(found) == pytest.approx(exact, abs=1e-6)
    if name == "roc_auc":
        assert exact == pytest.approx(0.9286, abs=1e-4)
        macro = metrics.macro_roc_auc(
            jnp.asarray(given_scores), jnp.asarray(HIT), kinds=(kind, "class")
        )
        assert float(macro) == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("kind", ["logits", "log_probs"])
def test_macro_roc_auc_ranks_by_log_odds(classes: int, kind: str) -> None:
    logits, labels = confident(classes)
    given_scores = logits if kind == "logits" else np.asarray(jax.nn.log_softmax(logits))
    found = metrics.macro_roc_auc(
        jnp.asarray(given_scores), jnp.asarray(labels), kinds=(kind, "class")
    )
    # A log-softmax may swap neighbours that differ by less than its rounding.
    assert float(found) == pytest.approx(macro_auc(logits, labels), abs=1e-3)


def test_an_offset_of_all_logits_changes_no_rank() -> None:
    logits, labels = confident(3, offset=1e4)
    found = metrics.macro_roc_auc(jnp.asarray(logits), jnp.asarray(labels), kinds=("logits",))
    assert float(found) == pytest.approx(macro_auc(logits, labels), abs=1e-6)


@given(st.lists(st.lists(st.floats(-200, 200, width=32), min_size=4, max_size=4), min_size=1))
def test_ranks_of_logits_are_log_odds(rows: list[list[float]]) -> None:
    logits = np.array(rows, np.float32)
    found = scores.ranks_of_classes(jnp.asarray(logits), "logits")
    np.testing.assert_allclose(found, log_odds(logits), rtol=1e-5, atol=1e-5)


def test_a_class_that_is_impossible_ranks_below_all() -> None:
    logits = jnp.asarray([[-jnp.inf, 0, 1], [-5.0, 0, 1], [-jnp.inf, -jnp.inf, 0]])
    ranks = np.asarray(scores.ranks_of_classes(logits, "logits"))
    assert not np.isnan(ranks).any()
    assert ranks[0, 0] < ranks[1, 0]
    assert ranks[2, 2] > ranks[:2].max()


def test_probabilities_of_one_rank_by_what_they_leave_to_others() -> None:
    probs = jnp.asarray([[1e-9, 1], [1e-12, 1], [0.5, 0.5], [0, 1], [0.25, 0.75]], jnp.float32)
    order = np.argsort(scores.ranks_of_classes(probs, "probs")[:, 1])
    np.testing.assert_array_equal(order, [2, 4, 0, 1, 3])
    tied = jnp.asarray([[0.3, 0.3, 0.4], [0.3, 0.2, 0.5], [0.3, 0.6, 0.1]], jnp.float32)
    assert len(set(np.asarray(scores.ranks_of_classes(tied, "probs"))[:, 0].tolist())) == 1


FORMS = ("softmax", "log_softmax", None)


def applied(function: str, classes: int, form: str | None, **options: int):
    """`function(form(logits), label)` as an expression of a plan, on arrays."""
    inner = Field("scores", parse_type(f"logits[{classes}]"))
    if form is not None:
        kind = "probs" if form == "softmax" else "log_probs"
        inner = Apply(form, (inner,), parse_type(f"{kind}[{classes}]"), "example")
    inputs = (inner, Field("label", parse_type(f"class[{classes}]")))
    if function in ("argmax", "top_k"):
        inputs = inputs[:1]
    level = "example" if function in ("argmax", "top_k", "log_loss") else "set"
    expr = stable(Apply(function, inputs, parse_type("real"), level, tuple(options.items())))
    return jax.jit(lambda logits, label: evaluate(expr, {"scores": logits, "label": label}))


@pytest.mark.parametrize("form", FORMS)
def test_a_softmax_inside_a_ranking_metric_rounds_nothing(form: str | None) -> None:
    for name in ("roc_auc", "average_precision"):
        exact = partial(metrics.TABLE[name], positive=1, kinds=("real", "class"))(CONFIDENT, HIT)
        assert float(applied(name, 2, form, positive=1)(TWO, HIT)) == pytest.approx(float(exact))
    logits, labels = confident(3)
    found = applied("macro_roc_auc", 3, form)(logits, labels)
    assert float(found) == pytest.approx(macro_auc(logits, labels), abs=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_leading_classes_are_those_of_the_logits(form: str | None) -> None:
    logits = jnp.asarray([[200.0, -3, 0, -1], [0, 300.0, 1, 5]])
    label = jnp.zeros(2, jnp.int32)
    np.testing.assert_array_equal(
        applied("top_k", 4, form, k=3)(logits, label), [[0, 2, 3], [1, 3, 2]]
    )


@pytest.mark.parametrize("form", ["softmax", "log_softmax"])
def test_the_log_loss_of_a_confident_mistake_is_not_cut_off(form: str) -> None:
    found = applied("log_loss", 2, form)(jnp.asarray([[0.0, 500.0]]), jnp.zeros(1, jnp.int32))
    assert float(found[0]) == pytest.approx(500)


def test_a_score_that_is_no_number_is_not_ranked() -> None:
    bad = jnp.asarray([0.1, jnp.nan, 0.3, 0.2])
    labels = jnp.asarray([0, 1, 1, 0])
    for name in ("roc_auc", "average_precision"):
        assert np.isnan(metrics.TABLE[name](bad, labels, positive=1, kinds=("real", "class")))
    assert np.isnan(metrics.spearman_correlation(bad, jnp.arange(4.0)))
