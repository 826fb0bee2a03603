"""Losses for distillation, margins, quantiles and sequences against optax, SciPy and by hand."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import sklearn.metrics
import sklearn.utils.class_weight

from ev3lang.backend import losses

RNG = np.random.default_rng(0)
B, C = 16, 5
LOGITS = jnp.asarray(3 * RNG.normal(size=(B, C)), jnp.float32)
OTHERS = jnp.asarray(3 * RNG.normal(size=(B, C)), jnp.float32)
LABELS = jnp.asarray(RNG.integers(C, size=B), jnp.int32)


def test_weighted_cross_entropy_is_that_of_scikit_learns_sample_weights() -> None:
    weights = (1.0, 0.5, 2.0, 0.0, 3.0)
    found = losses.weighted_cross_entropy(LOGITS, LABELS, weights=weights, classes=C)
    counted = np.asarray(weights)[LABELS]
    probs = scipy.special.softmax(np.asarray(LOGITS, np.float64), -1)
    expected = sklearn.metrics.log_loss(
        LABELS, probs, sample_weight=counted, labels=range(C), normalize=False
    )
    assert float(found.sum()) == pytest.approx(expected, rel=1e-5)


def decoupled_by_hand(target, prediction, label, T, alpha, beta) -> float:
    p, q = (scipy.special.softmax(np.asarray(x, np.float64) / T) for x in (target, prediction))
    rest_p, rest_q = 1 - p[label], 1 - q[label]
    binary = p[label] * math.log(p[label] / q[label]) + rest_p * math.log(rest_p / rest_q)
    others = [k for k in range(len(p)) if k != label]
    rest = sum(p[k] / rest_p * math.log(p[k] / rest_p / (q[k] / rest_q)) for k in others)
    return (alpha * binary + beta * rest) * T**2


def test_decoupled_distillation_is_that_of_the_paper() -> None:
    found = losses.decoupled_distillation(LOGITS, OTHERS, LABELS, T=2.0, alpha=1.5, beta=8.0)
    expected = [
        decoupled_by_hand(LOGITS[b], OTHERS[b], int(LABELS[b]), 2.0, 1.5, 8.0) for b in range(B)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_decoupled_distillation_with_the_teachers_own_weights_is_plain_distillation() -> None:
    # KL = KL(binary) + (1 - p of the label) KL(rest): beta 1 - p joins both parts again.
    label_probs = jax.nn.softmax(LOGITS)[jnp.arange(B), LABELS]
    found = losses.decoupled_distillation(
        LOGITS, OTHERS, LABELS, T=1.0, alpha=1.0, beta=1 - label_probs
    )
    expected = losses.kl_divergence(
        jax.nn.softmax(LOGITS), jax.nn.log_softmax(OTHERS), kinds=("probs", "log_probs")
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_decoupled_distillation_is_finite_where_the_teacher_is_certain() -> None:
    certain = jnp.asarray([[200.0, 0, 0], [0, 200.0, 0]])
    student = jnp.asarray([[0.0, 1, 2], [100.0, 0, 0]])
    labels = jnp.asarray([0, 1])

    def loss(x: jax.Array) -> jax.Array:
        return losses.decoupled_distillation(certain, x, labels, T=1.0, alpha=1.0, beta=8.0).sum()

    value, grad = jax.value_and_grad(loss)(student)
    assert np.isfinite(value)
    assert np.all(np.isfinite(grad))


def test_attention_matching_ignores_scale_and_counts_of_channels() -> None:
    maps = jnp.asarray(RNG.normal(size=(4, 3, 2, 6)), jnp.float32)
    twice = jnp.concatenate([maps, maps], -1) * 3
    np.testing.assert_allclose(losses.attention_matching(maps, twice), 0, atol=1e-6)
    first = jnp.zeros((1, 2, 1, 1)).at[0, 0].set(1)
    second = jnp.zeros((1, 2, 1, 1)).at[0, 1].set(5)
    np.testing.assert_allclose(losses.attention_matching(first, second), 2, rtol=1e-6)


def test_cosine_distance_is_that_of_optax() -> None:
    found = losses.cosine_distance(LOGITS, OTHERS)
    np.testing.assert_allclose(found, optax.losses.cosine_distance(LOGITS, OTHERS), atol=1e-6)
    grads = jax.grad(lambda x: losses.cosine_distance(x, OTHERS).sum())(jnp.zeros((B, C)))
    assert np.all(np.isfinite(grads))


def test_contrastive_loss_is_the_cross_entropy_of_cosines() -> None:
    a, b = (np.asarray(x, np.float64) for x in (LOGITS, OTHERS))
    a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
    scores = a @ b.T / 0.2
    expected = scipy.special.logsumexp(scores, -1) - np.diagonal(scores)
    found = losses.contrastive_loss(LOGITS, OTHERS, temperature=0.2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_hinge_loss_is_that_of_optax_and_scikit_learn() -> None:
    found = losses.hinge_loss(LOGITS, LABELS, margin=1.0)
    expected = jax.vmap(optax.losses.multiclass_hinge_loss)(LOGITS, LABELS)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    mean = sklearn.metrics.hinge_loss(LABELS, np.asarray(LOGITS), labels=range(C))
    assert float(found.mean()) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantile_loss_is_that_of_scikit_learn_and_least_at_the_quantile(quantile: float) -> None:
    target = RNG.normal(size=500)
    found = losses.quantile_loss(jnp.zeros(500), jnp.asarray(target), quantile=quantile)
    expected = sklearn.metrics.mean_pinball_loss(target, np.zeros(500), alpha=quantile)
    assert float(found.mean()) == pytest.approx(expected, rel=1e-4)
    grid = np.linspace(-2, 2, 401)
    costs = [
        losses.quantile_loss(jnp.full(500, g), jnp.asarray(target), quantile=quantile).mean()
        for g in grid
    ]
    assert grid[int(np.argmin(costs))] == pytest.approx(np.quantile(target, quantile), abs=0.05)


def test_log_cosh_is_half_a_square_near_and_linear_far_away() -> None:
    gaps = jnp.asarray([0.0, 0.01, -0.01, 80.0, -80.0])
    expected = [0, 5e-5, 5e-5, 80 - math.log(2), 80 - math.log(2)]
    np.testing.assert_allclose(losses.log_cosh(gaps, jnp.zeros(5)), expected, rtol=2e-5)
    slopes = jax.grad(lambda x: losses.log_cosh(x, jnp.zeros(5)).sum())(gaps)
    np.testing.assert_allclose(slopes, np.tanh(np.asarray(gaps)), rtol=1e-5)


def test_ctc_loss_sums_over_all_alignments() -> None:
    scores = jnp.asarray(RNG.normal(size=(1, 3, 3)), jnp.float32)
    probs = np.asarray(jax.nn.softmax(scores))[0]
    # Three places, target "1 2": every way to spell it with blanks 0 and repeats.
    ways = [(1, 2, 0), (1, 0, 2), (0, 1, 2), (1, 1, 2), (1, 2, 2)]
    expected = -math.log(sum(np.prod([probs[t, k] for t, k in enumerate(way)]) for way in ways))
    found = losses.ctc_loss(scores, jnp.asarray([[1, 2, -1, -1]]))
    assert float(found[0]) == pytest.approx(expected, rel=1e-4)


def test_tokens_without_a_target_count_nothing() -> None:
    scores = jnp.asarray(RNG.normal(size=(3, 4, C)), jnp.float32)
    target = jnp.asarray([[1, 2, 3, 4], [0, 1, -1, -1], [-1, -1, -1, -1]])
    found = losses.token_cross_entropy(scores, target, label_smoothing=0.0, over="sequences")
    each = optax.losses.softmax_cross_entropy_with_integer_labels(scores, jnp.maximum(target, 0))
    expected = [each[0].mean(), each[1, :2].mean(), 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    grads = jax.grad(
        lambda x: losses.token_cross_entropy(x, target, label_smoothing=0.1, over="tokens").sum()
    )(scores)
    assert not np.any(grads[2])
    assert np.all(np.isfinite(grads))
