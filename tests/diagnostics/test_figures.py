"""Chances and shares in words, at the ends where digits run out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.diagnostics import figures


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0.0, "0%"),
        (1.0, "100%"),
        (0.9815, "98.2%"),
        (0.97, "97%"),
        (0.9997, "99.97%"),
        (0.99996, "99.996%"),
        (1e-4, "0.01%"),
        (0.000125, "0.01%"),
        (1.5625e-8, "1.6e-06%"),
        (1 - 1e-9, "100%"),
        (math.nan, "not finite"),
    ],
)
def test_a_share_keeps_what_tells_it_from_none_and_all(fraction: float, text: str) -> None:
    assert figures.share(fraction) == text


@given(st.floats(1e-300, 1 - 1e-6))
def test_no_share_between_is_told_as_none_or_all(fraction: float) -> None:
    for text in (figures.share(fraction), figures.share_cell(fraction), figures.chance(fraction)):
        assert 0 < float(text.removesuffix("%")) < 100


@pytest.mark.parametrize(
    ("log_p", "text"),
    [
        (math.log(0.0026), "0.0026"),
        (0.0, "1"),
        (-700.0, "9.9e-305"),
        # exp(-1000) = 10^(-434.294...), and 10^0.7055 = 5.076
        (-1000.0, "5.1e-435"),
        (-100_000.0, "3.6e-43430"),
    ],
)
def test_a_p_value_below_every_float_keeps_its_digits(log_p: float, text: str) -> None:
    assert figures.log_chance(log_p) == text
    assert figures.least_float(log_p) > 0


def test_a_forecast_below_a_threshold_is_not_told_as_above_it() -> None:
    assert figures.likelihood(0.8996) == "89%"
    assert figures.likelihood(0.63) == "63%"
    assert figures.likelihood(0.004) == "less than 1%"
    assert figures.likelihood(0.9999) == "more than 99%"
    assert figures.likelihood(0.0) == "0%"


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.05 / 12, "0.417%"), (0.05, "5%"), (0.9999, "99.99%"), (1.0, "100%")],
)
def test_a_chance_has_three_digits(probability: float, text: str) -> None:
    assert figures.chance(probability) == text
