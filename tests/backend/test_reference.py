"""Rule `reference`: its bounds against SciPy, and who wins against whom."""

from __future__ import annotations

import attrs
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.backend import reference
from ev3lang.backend.reference import ACCEPTED, BEST, CURRENT, Bounds
from tests.plan import examples

WIDTH = 1.96


def bounds_of(lower: float, upper: float) -> Bounds:
    return Bounds(jnp.float32(lower), jnp.float32(upper))


def decided(*pairs: tuple[float, float]) -> tuple[int, bool]:
    contest = reference.decide(*(bounds_of(*pair) for pair in pairs))
    return int(contest.winner), bool(contest.is_accepted)


# ---------------------------------------------------------------- bounds


@pytest.mark.parametrize("objective", [examples.ACCURACY, examples.ERROR])
def test_the_bounds_of_counts_are_scipys(objective: examples.ObjectivePlan) -> None:
    rng = np.random.default_rng(0)
    values = (rng.random((5, 300)) < rng.random((5, 1))).astype(np.float32)
    found = reference.bounds(objective, jnp.asarray(values), WIDTH)
    signed = objective.sign * values.astype(np.float64)
    error = scipy.stats.sem(signed, axis=1)
    np.testing.assert_allclose(found.lower, signed.mean(axis=1) - WIDTH * error, rtol=1e-6)
    np.testing.assert_allclose(found.upper, signed.mean(axis=1) + WIDTH * error, rtol=1e-6)


def test_the_bounds_of_reals_are_scipys_whatever_their_offset() -> None:
    values = (1000 + np.random.default_rng(0).gamma(0.5, size=(3, 5000))).astype(np.float32)
    found = reference.bounds(examples.LOG_LOSS, jnp.asarray(values), WIDTH)
    signed = -values.astype(np.float64)
    error = scipy.stats.sem(signed, axis=1)
    # one float32 step at 1000 is 6e-5
    np.testing.assert_allclose(found.lower, signed.mean(axis=1) - WIDTH * error, atol=1e-4)
    np.testing.assert_allclose(found.upper, signed.mean(axis=1) + WIDTH * error, atol=1e-4)


@given(st.integers(2, 400), st.data())
def test_models_right_equally_often_stand_equally_whichever_examples_those_are(
    count: int, data: st.DataObject
) -> None:
    right = data.draw(st.integers(0, count))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    first = np.arange(count) < right
    values = np.stack([first, rng.permutation(first)]).astype(np.float32)
    one, other = reference.standing(examples.ACCURACY, jnp.asarray(values), 0.5)
    assert one == other


def test_a_single_example_has_no_standard_error_and_stands_nowhere() -> None:
    values = jnp.ones((2, 1))
    assert np.isnan(reference.bounds(examples.ACCURACY, values, WIDTH).lower).all()
    assert np.isneginf(reference.standing(examples.ACCURACY, values, WIDTH)).all()


def test_a_wider_bound_prefers_the_surer_model() -> None:
    """Of a real: a mean of 1 with little spread, and one of 1.1 with much."""
    sure = np.tile([0.9, 1.1], 50)
    bold = np.tile([0.1, 2.1], 50)
    values = jnp.asarray(np.stack([sure, bold]), jnp.float32)
    real = attrs.evolve(examples.LOG_LOSS, direction="maximize")
    assert int(jnp.argmax(reference.standing(real, values, 0.01))) == 1
    assert int(jnp.argmax(reference.standing(real, values, 1.96))) == 0


def test_without_a_width_models_stand_by_their_mean() -> None:
    values = (np.random.default_rng(0).random((4, 200)) < 0.7).astype(np.float32)
    standing = reference.standing(examples.ACCURACY, jnp.asarray(values), 0.0)
    np.testing.assert_allclose(standing, values.mean(axis=1), rtol=1e-6)


# ---------------------------------------------------------------- who wins


def test_the_highest_lower_bound_becomes_current() -> None:
    assert decided((0.7, 0.9), (0.6, 0.95), (0.5, 0.8))[0] == BEST
    assert decided((0.5, 0.9), (0.6, 0.95), (0.5, 0.8))[0] == CURRENT
    assert decided((0.5, 0.9), (0.4, 0.95), (0.6, 0.8))[0] == ACCEPTED


def test_the_winner_is_accepted_where_its_bound_lies_above_accepteds() -> None:
    assert decided((0.85, 0.9), (0.6, 0.7), (0.5, 0.8)) == (BEST, True)
    assert decided((0.6, 0.7), (0.85, 0.9), (0.5, 0.8)) == (CURRENT, True)
    assert decided((0.8, 0.9), (0.6, 0.7), (0.5, 0.8)) == (BEST, False)


def test_of_equals_best_comes_before_current_and_current_before_accepted() -> None:
    assert decided((1, 1), (1, 1), (1, 1)) == (BEST, False)
    assert decided((0, 1), (0.5, 0.9), (0.5, 0.8)) == (CURRENT, False)


def test_a_model_without_finite_bounds_loses() -> None:
    nan = float("nan")
    assert decided((nan, nan), (0.6, 0.7), (0.5, 0.65)) == (CURRENT, False)
    assert decided((0.9, 0.95), (nan, nan), (nan, nan)) == (BEST, False)
    assert decided((nan, nan), (nan, nan), (nan, nan)) == (CURRENT, False)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=3))
def test_accepted_never_replaces_itself(pairs: list[tuple[float, float]]) -> None:
    winner, is_accepted = decided(*((min(pair), max(pair)) for pair in pairs))
    assert winner != ACCEPTED or not is_accepted
