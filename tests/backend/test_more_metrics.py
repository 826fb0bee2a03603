"""Metrics of many labels, many classes, groups, ranks and tokens against scikit-learn and SciPy."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.backend import metrics, scores

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_many_labels_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(12, 4)), rng.integers(2, size=(12, 4))
    labels[:, 3] = 0
    found = logits > 0
    given_scores, there = jnp.asarray(logits), jnp.asarray(labels)
    match = metrics.subset_match(given_scores, there)
    assert float(match.mean()) == pytest.approx(sklearn.metrics.accuracy_score(labels, found))
    wrong = metrics.hamming_loss(given_scores, there).mean()
    assert float(wrong) == pytest.approx(sklearn.metrics.hamming_loss(labels, found))
    for average in ("macro", "micro"):
        expected = sklearn.metrics.f1_score(labels, found, average=average, zero_division=0)
        value = metrics.label_f1(given_scores, there, average=average)
        assert float(value) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_macro_roc_auc_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=40)
    # Rounded, so that there are ties.
    probs = np.round(rng.dirichlet(np.ones(3), 40), 1)
    each = [sklearn.metrics.roc_auc_score(labels == c, probs[:, c]) for c in range(3)]
    found = metrics.macro_roc_auc(jnp.asarray(probs), jnp.asarray(labels), kinds=("probs", "class"))
    assert float(found) == pytest.approx(np.mean(each), abs=1e-5)


def test_a_class_that_nobody_has_is_left_out_of_macro_roc_auc() -> None:
    labels = np.array([0, 1, 0, 1])
    probs = RNG.dirichlet(np.ones(3), 4)
    each = [sklearn.metrics.roc_auc_score(labels == c, probs[:, c]) for c in (0, 1)]
    found = metrics.macro_roc_auc(jnp.asarray(probs), jnp.asarray(labels), kinds=("probs",))
    assert float(found) == pytest.approx(np.mean(each), abs=1e-6)
    one = metrics.macro_roc_auc(jnp.asarray(probs), jnp.zeros(4, jnp.int32), kinds=("probs",))
    assert np.isnan(one)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=8, max_size=8))
def test_a_group_gap_is_the_largest_difference_of_means(rows: list[tuple[bool, int]]) -> None:
    right = np.array([each for each, _ in rows])
    group = np.array([each for _, each in rows])
    means = [right[group == g].mean() for g in np.unique(group)]
    found = metrics.group_gap(jnp.asarray(right), jnp.asarray(group), groups=5)
    if len(means) == 1:
        assert np.isnan(found)
    else:
        assert float(found) == pytest.approx(max(means) - min(means), abs=1e-6)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=9, max_size=9))
def test_correlations_are_those_of_scipy(rows: list[tuple[int, int]]) -> None:
    x, y = np.array(rows, np.float32).T
    is_constant = np.ptp(x) == 0 or np.ptp(y) == 0
    linear = 0 if is_constant else scipy.stats.pearsonr(x, y).statistic
    ranked = 0 if is_constant else scipy.stats.spearmanr(x, y).statistic
    first, second = jnp.asarray(x), jnp.asarray(y)
    assert float(metrics.pearson_correlation(first, second)) == pytest.approx(linear, abs=1e-5)
    assert float(metrics.spearman_correlation(first, second)) == pytest.approx(ranked, abs=1e-5)


def test_token_accuracy_counts_places_with_a_target() -> None:
    logits = jnp.zeros((2, 3, 4)).at[:, :, 1].set(1)
    target = jnp.asarray([[1, 2, -1], [-1, -1, -1]])
    each = metrics.token_accuracy(logits, target, over="sequences")
    np.testing.assert_allclose(each, [0.5, 0])
    assert float(metrics.token_accuracy(logits, target, over="tokens").mean()) == 0.5
    none = metrics.token_accuracy(logits, jnp.full((2, 3), -1), over="tokens")
    np.testing.assert_array_equal(none, [0, 0])


def test_the_next_token_is_the_one_that_follows() -> None:
    tokens = jnp.asarray([[3, 1, 2, -1], [0, -1, -1, -1]])
    np.testing.assert_array_equal(scores.next_token(tokens), [[1, 2, -1, -1], [-1, -1, -1, -1]])
