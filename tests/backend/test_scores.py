"""Scores against SciPy, and which class leads."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from ev3lang.backend import scores

LOGITS = jnp.asarray(5 * np.random.default_rng(0).normal(size=(16, 6)), jnp.float32)


def test_softmax_and_its_logarithm_are_those_of_scipy() -> None:
    x = np.asarray(LOGITS, np.float64)
    np.testing.assert_allclose(scores.softmax(LOGITS), scipy.special.softmax(x, axis=-1), rtol=2e-6)
    np.testing.assert_allclose(
        scores.log_softmax(LOGITS), scipy.special.log_softmax(x, axis=-1), rtol=2e-6, atol=1e-6
    )


def test_the_logarithm_is_exact_where_softmax_rounds_to_zero() -> None:
    x = jnp.array([[0.0, -500.0]])
    assert scores.softmax(x)[0, 1] == 0
    assert scores.log_softmax(x)[0, 1] == -500


def test_log_probabilities_stand_for_the_same_probabilities() -> None:
    found = scores.softmax(scores.log_softmax(LOGITS))
    np.testing.assert_allclose(found, scores.softmax(LOGITS), rtol=2e-6)


def test_the_leading_class_is_the_same_for_every_kind_of_scores() -> None:
    expected = np.argmax(np.asarray(LOGITS), axis=-1)
    for kind in (LOGITS, scores.softmax(LOGITS), scores.log_softmax(LOGITS)):
        np.testing.assert_array_equal(scores.argmax(kind), expected)


def test_of_equals_the_first_leads() -> None:
    tied = jnp.array([[1.0, 2.0, 2.0, 2.0]])
    assert scores.argmax(tied)[0] == 1
    np.testing.assert_array_equal(scores.top_k(tied, k=2), [[1, 2]])


def test_the_top_classes_are_those_of_a_sort() -> None:
    expected = np.argsort(-np.asarray(LOGITS), axis=-1)[:, :3]
    np.testing.assert_array_equal(scores.top_k(LOGITS, k=3), expected)


def test_probabilities_of_zero_have_a_finite_logarithm_and_gradient() -> None:
    probs = jnp.array([[1.0, 0.0, 1e-42]])
    logs, slopes = jax.jvp(
        lambda x: scores.in_log_space(x, "probs"), (probs,), (jnp.ones_like(probs),)
    )
    assert logs[0, 0] == 0
    assert bool(jnp.all(jnp.isfinite(logs)))
    assert bool(jnp.all(jnp.isfinite(slopes)))
    np.testing.assert_array_equal(scores.in_log_space(LOGITS, "log_probs"), LOGITS)
