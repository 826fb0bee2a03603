"""What a spec declares as probabilities has to be some, as exact as it was stored."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.runtime import probabilities

RNG = np.random.default_rng(0)

STORED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "float32": lambda probs: probs.astype(np.float32),
    "float16": lambda probs: probs.astype(np.float16),
    "bfloat16": lambda probs: probs.astype(ml_dtypes.bfloat16),
    "bytes": lambda probs: np.round(255 * probs) / 255,
    "two decimals": lambda probs: np.round(probs, 2),
    "four decimals": lambda probs: np.round(probs, 4),
}


def column(probs: np.ndarray, stored: str) -> np.ndarray:
    return STORED[stored](probs).astype(np.float32)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("classes", [2, 3, 10, 100])
@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0])
def test_probabilities_are_some_in_whatever_they_were_stored(
    stored: str, classes: int, sharpness: float
) -> None:
    probs = RNG.dirichlet(np.full(classes, sharpness), size=2000)
    assert probabilities.fault(column(probs, stored), "probs") is None


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16", "four decimals"])
@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_log_probabilities_are_some_in_whatever_they_were_stored(stored: str, classes: int) -> None:
    logits = 5 * RNG.normal(size=(2000, classes))
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert probabilities.fault(column(log_probs, stored), "log_probs") is None


@pytest.mark.parametrize(
    ("stored", "off"), [("float32", 0.002), ("float16", 0.004), ("bfloat16", 0.02)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_that_no_rounding_explains_is_found(stored: str, off: float, sign: int) -> None:
    probs = RNG.dirichlet(np.ones(5), size=50)
    probs[7] *= 1 + sign * off
    found = probabilities.fault(column(probs, stored), "probs")
    assert found is not None
    assert (found.row, found.count) == (7, 1)
    assert found.what.startswith("sums to ")


@given(st.integers(0, 49), st.floats(-1, -1e-4), st.integers(0, 2))
def test_a_negative_probability_is_found_where_the_sum_is_right(
    row: int, negative: float, place: int
) -> None:
    probs = RNG.dirichlet(np.ones(3), size=50)
    probs[row] = (1 - negative) / 2
    probs[row, place] = negative
    found = probabilities.fault(column(probs, "float32"), "probs")
    assert found == probabilities.Fault(row, 1, f"has a probability of {np.float32(negative):.4g}")


def test_what_arithmetic_leaves_below_zero_is_none() -> None:
    probs = np.array([[-6e-8, 1], [0.5, 0.5]], np.float32)
    assert probabilities.fault(probs, "probs") is None


def test_log_probabilities_of_any_size_are_compared() -> None:
    high = np.array([[0, -50], [800, 0]], np.float32)
    found = probabilities.fault(high, "log_probs")
    assert found is not None
    assert (found.row, found.what) == (1, "has probabilities that sum to inf")


def test_probabilities_at_each_of_many_places_are_checked_one_by_one() -> None:
    probs = RNG.dirichlet(np.ones(4), size=(20, 6)).astype(np.float32)
    assert probabilities.fault(probs, "probs") is None
    probs[11, 4] *= 0.5
    found = probabilities.fault(probs, "probs")
    assert found == probabilities.Fault(11, 1, "sums to 0.5")
    assert probabilities.fault(probs[:0], "probs") is None
