"""Comparisons of float32 means with bounds that they may equal."""

from __future__ import annotations

import jax

Array = jax.Array

ROUNDING = 1e-6
"""How far a float32 mean may lie beside a bound that it equals.

98 of 100 can come out an ulp below 0.98. Two shares of fewer than a million examples never lie
this close.
"""


def holds(value: Array, sign: str, bound: float) -> Array:
    """Whether `value sign bound`, [] bool; what differs by rounding alone is equal."""
    slack = ROUNDING * max(1.0, abs(bound))
    is_above, is_below = value > bound + slack, value < bound - slack
    match sign:
        case ">":
            return is_above
        case ">=":
            return ~is_below
        case "<":
            return is_below
        case "<=":
            return ~is_above
        case "==":
            return ~(is_above | is_below)
        case "!=":
            return is_above | is_below
        case _:
            raise ValueError(f"no comparison: {sign!r}")
