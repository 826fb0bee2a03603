"""Chances and shares in words: none that is above 0 is written as 0, none below 100% as 100%."""

from __future__ import annotations

import math
import sys

MOST_DECIMALS = 4
"""Of a share in percent; one that is closer to 0 is written with a power of ten."""

ROUNDING = 5e-7
"""What is closer to 1 is taken for 1: float32 has no more digits."""


def share(fraction: float) -> str:
    """`98.2%` for 0.9815, `97%`; with as many decimals as keep it apart from 0% and from 100%."""
    if not math.isfinite(fraction):
        return "not finite"
    return _percent(fraction, 1).replace(".0%", "%")


def share_cell(fraction: float) -> str:
    """`97.0%`: as `share`, with a decimal in any case, so that a column's points stand in line."""
    return _percent(fraction, 1) if math.isfinite(fraction) else "not finite"


def likelihood(fraction: float) -> str:
    """A predicted chance: `63%`; cut, not rounded, so that 89.96% is not told as 90%."""
    if fraction >= 1:
        return "100%"
    if 0 < fraction < 0.01:
        return "less than 1%"
    return "more than 99%" if fraction > 0.99 else f"{math.floor(100 * fraction + 1e-6)}%"


def chance(probability: float) -> str:
    """`0.417%` for 0.05 / 12: three digits, and as many more as keep it apart from 100%."""
    text = f"{100 * probability:.3g}%"
    return _percent(probability, 1) if text == "100%" and probability < 1 else text


def log_chance(log_probability: float) -> str:
    """`0.0026`, or `1.3e-412` where no float is as small, from a natural logarithm."""
    if math.exp(log_probability) >= sys.float_info.min:
        return f"{math.exp(log_probability):.2g}"
    return _power_of_ten(log_probability)


def least_float(log_probability: float) -> float:
    """exp of it, and where that is below every normal float the least of them: never 0.

    A bound on a probability is still one when it is larger.
    """
    return max(math.exp(min(log_probability, 0.0)), sys.float_info.min)


def _power_of_ten(logarithm: float) -> str:
    exponent = math.floor(logarithm / math.log(10))
    digits = 10 ** (logarithm / math.log(10) - exponent)
    if f"{digits:.1f}" == "10.0":
        digits, exponent = 1.0, exponent + 1
    return f"{digits:.2g}e{exponent}"


def _percent(fraction: float, decimals: int) -> str:
    """At least so many decimals, and as many more as tell it from 0 and from 1."""
    apart = min(abs(fraction), abs(1 - fraction))
    if fraction in (0, 1) or abs(1 - fraction) < ROUNDING:
        return f"{100 * fraction:.{decimals}f}%"
    for count in range(decimals, MOST_DECIMALS + 1):
        if round(100 * apart, count) > 0:
            return f"{100 * fraction:.{count}f}%"
    return f"{100 * fraction:.1e}%"
