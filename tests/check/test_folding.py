"""Arithmetic of known numbers: Python's exact value, or why there is none, in no time."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.analysis import analyze
from ev3lang.check.folding import fold, fold_range
from ev3lang.source import Source

LARGEST = 1.7976931348623157e308

WHOLE = st.integers(-(10**40), 10**40)


@given(st.integers(-50, 50), st.integers(-50, 50))
def test_a_power_of_whole_numbers_is_exact(base: int, power: int) -> None:
    found = fold("^", (base, power))
    if base == 0 and power < 0:
        assert found == "zero"
    elif power >= 0:
        assert found == base**power
    else:
        assert found == pytest.approx(float(Fraction(base) ** power), rel=1e-15)


@given(WHOLE, WHOLE)
def test_a_power_takes_no_time_and_stays_within_a_float(base: int, power: int) -> None:
    begin = time.process_time()
    found = fold("^", (base, power))
    assert time.process_time() - begin < 0.5
    assert isinstance(found, str) or abs(found) <= LARGEST


@pytest.mark.parametrize(
    ("function", "values", "fault"),
    [
        ("/", (1, 0), "zero"),
        ("/", (0.0, 0.0), "zero"),
        ("mod", (1, 0), "zero"),
        ("mod", (1.5, 0.0), "zero"),
        ("^", (0, -1), "zero"),
        ("^", (0.0, -0.5), "zero"),
        ("^", (9, 387420489), "large"),
        ("^", (10, 309), "large"),
        ("^", (10.0, 309.0), "large"),
        ("+", (LARGEST, LARGEST), "large"),
        ("*", (LARGEST, 2), "large"),
        ("*", (10**300, 10**300), "large"),
        ("/", (10**308, 1e-10), "large"),
        ("exp", (710,), "large"),
        ("^", (-8, 1 / 3), "real"),
        ("log", (0,), "real"),
        ("log", (-1,), "real"),
        ("sqrt", (-1,), "real"),
    ],
)
def test_what_has_no_value_says_why(function: str, values: tuple[float, ...], fault: str) -> None:
    assert fold(function, values) == fault


def test_options_of_a_function_come_after_its_inputs() -> None:
    assert fold("clip", (7, 0, 5)) == 5
    assert fold("clip", (-7, 0, 5)) == 0
    assert fold("mean", (7,)) == fold("sum", (7,)) == 7


def test_a_range_beyond_a_float_is_none() -> None:
    infinite = fold_range("+", ((0, LARGEST), (0, LARGEST)))
    assert infinite == (0, math.inf)
    assert fold_range("-", (infinite, infinite)) == (-math.inf, math.inf)
    assert fold_range("+", (fold_range("negate", (infinite,)), infinite)) == (-math.inf, math.inf)
    assert fold_range("+", ((math.inf, math.inf), (-math.inf, -math.inf))) is None


SPEC = """ev3 1
data digits = sklearn.digits() { normalize image }
PARAM
model net: image -> logits(label) = mlp(hidden: [8])
loss entropy = (LOSS) * cross_entropy(net(image), label)
objective accuracy = maximize argmax(net(image)) == label
explore net { descend entropy with adamw(RATE) for 10 steps }
assess net { rank by accuracy
  guard accuracy >= (GUARD) }
adapt net {
  accept when accuracy improves
  after 3 iterations without progress { grow by widen(2x)
    limit parameters(net) * (LIMIT) <= 1e9 }
  stop after 2 iterations
}
report { show accuracy * (SHOW) }
"""

FAULTS = {
    "9 ^ 9 ^ 9": "number-too-large",
    "7 ^ 1000000": "number-too-large",
    "1e308 * 10": "number-too-large",
    "exp(1000)": "number-too-large",
    "1e400": "number-too-large",
    "1" + "0" * 5000: "number-too-large",
    "1 / 0": "division-by-zero",
    "1 mod 0": "division-by-zero",
    "0 ^ -1": "division-by-zero",
    "(-8) ^ (1 / 3)": "no-real-number",
    "log(0)": "no-real-number",
}

PLAIN = {
    "PARAM": "", "LOSS": "1", "RATE": "0.001", "GUARD": "0.5", "LIMIT": "1", "SHOW": "1",
}  # fmt: skip


@pytest.mark.parametrize("place", PLAIN)
@pytest.mark.parametrize("written", FAULTS, ids=lambda each: each[:20])
def test_every_place_refuses_what_is_no_number(place: str, written: str) -> None:
    value = f"param given: real = {written}" if place == "PARAM" else written
    if place == "RATE" and written.endswith(")") and "(" in written[:4]:
        pytest.skip("a call in the place of a rate is a schedule")
    text = SPEC
    for name, plain in PLAIN.items():
        text = text.replace(name, value if name == place else plain)
    begin = time.process_time()
    found = analyze(Source("numbers.ev3", text)).diagnostics
    assert FAULTS[written] in {each.code for each in found if each.severity == "error"}
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("written", FAULTS, ids=lambda each: each[:20])
def test_what_is_set_from_outside_is_refused_too(written: str) -> None:
    text = SPEC.replace("PARAM", "param given: real = 1")
    for name, plain in PLAIN.items():
        text = text.replace(name, plain)
    found = analyze(Source("numbers.ev3", text), {"given": written}).diagnostics
    assert FAULTS[written] in {each.code for each in found}


def test_arguments_of_a_loss_are_refused_where_they_make_no_number() -> None:
    def codes(body: str, argument: str) -> set[str]:
        text = SPEC.replace(
            "PARAM", f"loss own(t: real) = {body} * cross_entropy(net(image), label)"
        )
        text = text.replace("(LOSS)", f"0 + own(t: {argument})").replace("LOSS", "1")
        for name, plain in PLAIN.items():
            text = text.replace(name, plain)
        text = text.replace("* cross_entropy(net(image), label)\nobjective", "\nobjective")
        return {d.code for d in analyze(Source("x.ev3", text)).diagnostics if d.severity == "error"}

    assert codes("10 ^ t", "3") == set()
    assert codes("10 ^ t", "400.0") == {"number-too-large"}
    assert codes("0 ^ t", "-1") == {"division-by-zero"}
    assert codes("log(t)", "0") == {"no-real-number"}
    assert codes("1 / (t - 2)", "2") == {"division-by-zero"}
    assert codes("clip(cross_entropy(net(image), label), 1, t)", "1") == {"out-of-range"}
