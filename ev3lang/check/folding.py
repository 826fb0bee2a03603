"""Arithmetic on what is known while checking."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Literal

Number = int | float

_OPERATIONS: dict[str, Callable[..., Number]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
    "mod": operator.mod,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "and": lambda a, b: bool(a) and bool(b),
    "or": lambda a, b: bool(a) or bool(b),
    "not": operator.not_,
    "negate": operator.neg,
    "abs": abs,
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "round": round,
    "min": min,
    "max": max,
    "mean": lambda x: x,
    "sum": lambda x: x,
    "clip": lambda x, low, high: min(max(x, low), high),
}


LARGEST_BITS = 1024
"""Bits of the largest whole number: that of a float, so that each number can be either."""

Fault = Literal["zero", "large", "real"]
"""Why an operation has no value: a division by zero; beyond a float; no real number."""


def can_fold(function: str) -> bool:
    """Whether `fold` knows the function."""
    return function in _OPERATIONS


def fold(function: str, values: tuple[Number, ...]) -> Number | Fault:
    """The value of a function of numbers, or why it has none; options come after the inputs.

    Takes no time that grows with the numbers: a power is only computed where it is small enough.
    """
    try:
        if function == "^" and _is_beyond(*values):
            return "large"
        value = _OPERATIONS[function](*values)
        if isinstance(value, complex) or value != value:
            return "real"
        return value if math.isfinite(value) else "large"
    except ZeroDivisionError:
        return "zero"
    except OverflowError:
        return "large"
    except ValueError:
        return "real"


def _is_beyond(base: Number, power: Number) -> bool:
    """Whether a power of whole numbers has more digits than any float has."""
    if not isinstance(base, int) or not isinstance(power, int) or abs(base) < 2:
        return False
    return power > 0 and power * math.log2(abs(base)) > LARGEST_BITS


Interval = tuple[float, float]


def fold_range(function: str, ranges: tuple[Interval | None, ...]) -> Interval | None:
    """Bounds of an operator's value from bounds of its operands, where the operator is monotone."""
    if any(each is None for each in ranges):
        return None
    known = [(float(each[0]), float(each[1])) for each in ranges if each is not None]
    bounds = _bounds(function, known)
    # Infinity less infinity, where sums went beyond a float, is no bound.
    return None if bounds is None or any(map(math.isnan, bounds)) else bounds


def _bounds(function: str, ranges: list[Interval]) -> Interval | None:
    match function, ranges:
        case "+", [a, b]:
            return (a[0] + b[0], a[1] + b[1])
        case "-", [a, b]:
            return (a[0] - b[1], a[1] - b[0])
        case "*", [a, b]:
            products = [_product(x, y) for x in a for y in b]
            return (min(products), max(products))
        case "negate", [a]:
            return (-a[1], -a[0])
    return None


def _product(x: float, y: float) -> float:
    """With 0 times infinity as 0: the bound of a product that reaches neither."""
    return 0.0 if x == 0 or y == 0 else x * y
