"""Losses against optax, SciPy and scikit-learn, and their laws at the edges."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.backend import losses

B, C = 16, 7
RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(3 * RNG.normal(size=(B, C)), jnp.float32)
LABELS = jnp.asarray(RNG.integers(C, size=B), jnp.int32)

logits = arrays.arrays(np.float32, (4, 5), elements=st.floats(-40, 40, width=32))


def test_cross_entropy_is_that_of_optax() -> None:
    found = losses.cross_entropy(LOGITS, LABELS, label_smoothing=0.0)
    expected = optax.losses.softmax_cross_entropy_with_integer_labels(LOGITS, LABELS)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 128, 129, 1000])
def test_few_classes_and_many_give_the_same_as_optax(classes: int) -> None:
    scores = jnp.asarray(RNG.normal(size=(B, classes)), jnp.float32)
    labels = jnp.asarray(RNG.integers(classes, size=B), jnp.int32)

    def ours(x: jax.Array) -> jax.Array:
        return losses.cross_entropy(x, labels, label_smoothing=0.0).mean()

    def theirs(x: jax.Array) -> jax.Array:
        return optax.losses.softmax_cross_entropy_with_integer_labels(x, labels).mean()

    for found, expected in zip(
        jax.value_and_grad(ours)(scores), jax.value_and_grad(theirs)(scores), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_smoothed_cross_entropy_is_that_of_smoothed_labels(share: float) -> None:
    target = optax.losses.smooth_labels(jax.nn.one_hot(LABELS, C), share)
    expected = optax.losses.softmax_cross_entropy(LOGITS, target)
    for given_share in (share, jnp.float32(share)):
        found = losses.cross_entropy(LOGITS, LABELS, label_smoothing=given_share)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes() -> None:
    found = losses.cross_entropy(jnp.zeros((B, C)), LABELS, label_smoothing=0.3)
    np.testing.assert_allclose(found, math.log(C), rtol=1e-6)


def test_cross_entropy_is_the_same_for_log_probabilities() -> None:
    found = losses.cross_entropy(jax.nn.log_softmax(LOGITS), LABELS, label_smoothing=0.0)
    expected = losses.cross_entropy(LOGITS, LABELS, label_smoothing=0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@given(logits)
def test_cross_entropy_has_the_gradient_probability_minus_label(scores: np.ndarray) -> None:
    labels = jnp.array([0, 1, 4, 2])

    def total(x: jax.Array) -> jax.Array:
        return jnp.sum(losses.cross_entropy(x, labels, label_smoothing=0.0))

    expected = scipy.special.softmax(scores.astype(np.float64), axis=-1) - np.eye(5)[labels]
    np.testing.assert_allclose(jax.grad(total)(jnp.asarray(scores)), expected, atol=1e-6)


@pytest.mark.parametrize("extreme", [1e4, -1e4, 1e30])
def test_cross_entropy_stays_finite_for_extreme_logits(extreme: float) -> None:
    scores = jnp.array([[0.0, extreme, 0.0]])

    def loss(x: jax.Array) -> jax.Array:
        return losses.cross_entropy(x, jnp.array([0]), label_smoothing=0.0)[0]

    value, grad = jax.value_and_grad(loss)(scores)
    expected = optax.losses.softmax_cross_entropy_with_integer_labels(scores, jnp.array([0]))
    assert float(value) == pytest.approx(float(expected[0]))
    assert bool(jnp.all(jnp.isfinite(grad)))


def test_a_class_of_probability_zero_costs_nothing_unless_it_is_the_label() -> None:
    certain = jnp.array([[0.0, -jnp.inf, -jnp.inf]])
    assert losses.cross_entropy(certain, jnp.array([0]), label_smoothing=0.0)[0] == 0
    assert losses.cross_entropy(certain, jnp.array([1]), label_smoothing=0.0)[0] == jnp.inf


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss_is_its_formula(gamma: float) -> None:
    p = scipy.special.softmax(np.asarray(LOGITS, np.float64), axis=-1)[np.arange(B), LABELS]
    expected = -((1 - p) ** gamma) * np.log(p)
    np.testing.assert_allclose(losses.focal_loss(LOGITS, LABELS, gamma=gamma), expected, rtol=2e-5)


def test_focal_loss_of_two_classes_is_that_of_optax() -> None:
    expected = optax.losses.sigmoid_focal_loss(LOGITS[:, 0], LABELS % 2 == 1, gamma=1.5)
    two = jnp.stack([jnp.zeros(B), LOGITS[:, 0]], axis=-1)
    found = losses.focal_loss(two, LABELS % 2, gamma=1.5)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("gap", [0.0, 50.0, 1e4, math.inf])
def test_focal_loss_is_right_for_near_certain_predictions(gamma: float, gap: float) -> None:
    scores = jnp.array([[0.0, -gap], [0.0, -gap]])

    def total(x: jax.Array) -> jax.Array:
        return losses.focal_loss(x, jnp.array([0, 0]), gamma=gamma).sum()

    value, grad = jax.value_and_grad(total)(scores)
    p_rest = scipy.special.expit(-gap)
    expected = 2 * p_rest**gamma * math.log1p(math.exp(-gap))
    assert float(value) == pytest.approx(expected, rel=1e-5, abs=1e-20)
    assert bool(jnp.all(jnp.isfinite(grad)))


def test_binary_cross_entropy_is_the_mean_of_that_of_optax() -> None:
    labels = jnp.asarray(RNG.integers(2, size=(B, C)))
    expected = optax.losses.sigmoid_binary_cross_entropy(LOGITS, labels).mean(axis=-1)
    found = losses.sigmoid_binary_cross_entropy(LOGITS, labels)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


KINDS = ("probs", "log_probs")


def _as(kind: str, scores: jax.Array) -> jax.Array:
    return jax.nn.softmax(scores) if kind == "probs" else jax.nn.log_softmax(scores)


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("prediction", KINDS)
def test_divergence_is_that_of_scipy_for_every_kind(target: str, prediction: str) -> None:
    other = LOGITS[::-1]
    found = losses.kl_divergence(
        _as(target, LOGITS), _as(prediction, other), kinds=(target, prediction)
    )
    p = scipy.special.softmax(np.asarray(LOGITS, np.float64), axis=-1)
    q = scipy.special.softmax(np.asarray(other, np.float64), axis=-1)
    np.testing.assert_allclose(found, scipy.stats.entropy(p, q, axis=-1), rtol=2e-5, atol=1e-6)


@given(logits)
def test_nothing_diverges_from_itself(scores: np.ndarray) -> None:
    for kind in KINDS:
        same = _as(kind, jnp.asarray(scores))
        found = losses.kl_divergence(same, same, kinds=(kind, kind))
        assert bool(jnp.all(found == 0))


@given(logits, logits)
def test_divergence_is_not_negative(a: np.ndarray, b: np.ndarray) -> None:
    found = losses.kl_divergence(
        _as("log_probs", jnp.asarray(a)),
        _as("log_probs", jnp.asarray(b)),
        kinds=("log_probs", "log_probs"),
    )
    assert bool(jnp.all(found >= -1e-5))


def test_what_the_target_rules_out_adds_nothing() -> None:
    target = jnp.array([[0.5, 0.5, 0.0]])
    prediction = jnp.array([[0.25, 0.25, 0.5]])
    for kinds in [(a, b) for a in KINDS for b in KINDS]:
        given_target = target if kinds[0] == "probs" else jnp.log(target)
        given_prediction = prediction if kinds[1] == "probs" else jnp.log(prediction)

        def loss(p: jax.Array, q: jax.Array, kinds: tuple = kinds) -> jax.Array:
            return losses.kl_divergence(p, q, kinds=kinds)[0]

        value, grads = jax.value_and_grad(loss, argnums=(0, 1))(given_target, given_prediction)
        assert float(value) == pytest.approx(math.log(2))
        assert all(bool(jnp.all(jnp.isfinite(grad))) for grad in grads)


def test_a_divergence_of_log_probabilities_is_exact_where_probabilities_are_zero() -> None:
    target, prediction = jnp.array([[0.0, 0.0]]), jnp.array([[0.0, -1000.0]])
    kinds = ("log_probs", "log_probs")

    def loss(x: jax.Array) -> jax.Array:
        p, q = jax.nn.log_softmax(target), jax.nn.log_softmax(x)
        return losses.kl_divergence(p, q, kinds=kinds)[0]

    value, grad = jax.value_and_grad(loss)(prediction)
    assert float(value) == pytest.approx(500 - math.log(2))
    np.testing.assert_allclose(grad, [[0.5, -0.5]], atol=1e-6)


def test_a_divergence_of_probabilities_stays_finite_where_they_round_to_zero() -> None:
    def loss(x: jax.Array) -> jax.Array:
        target = jnp.array([[0.5, 0.5]])
        return losses.kl_divergence(target, jax.nn.softmax(x), kinds=("probs", "probs"))[0]

    value, grad = jax.value_and_grad(loss)(jnp.array([[0.0, -1000.0]]))
    assert bool(jnp.isfinite(value))
    assert bool(jnp.all(jnp.isfinite(grad)))


@pytest.mark.parametrize("shape", [(B,), (B, 3), (B, 3, 2)])
def test_errors_are_the_means_of_those_of_optax(shape: tuple[int, ...]) -> None:
    prediction = jnp.asarray(2 * RNG.normal(size=shape), jnp.float32)
    target = jnp.asarray(2 * RNG.normal(size=shape), jnp.float32)
    own = tuple(range(1, len(shape)))
    for found, expected in [
        (losses.squared_error(prediction, target), optax.losses.squared_error(prediction, target)),
        (losses.absolute_error(prediction, target), jnp.abs(prediction - target)),
        (
            losses.huber_loss(prediction, target, delta=0.7),
            optax.losses.huber_loss(prediction, target, delta=0.7),
        ),
    ]:
        np.testing.assert_allclose(found, expected.mean(axis=own), rtol=1e-5, atol=1e-7)


def test_a_constant_may_stand_for_a_target() -> None:
    np.testing.assert_allclose(losses.squared_error(jnp.array([1.0, 3.0]), 2.0), [1.0, 1.0])
