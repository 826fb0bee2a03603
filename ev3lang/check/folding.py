"""Arithmetic on what is known while checking."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

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
}


def can_fold(function: str) -> bool:
    """Whether `fold` knows the function."""
    return function in _OPERATIONS


def fold(function: str, values: tuple[Number, ...]) -> Number | None:
    """The value of a function of numbers; None where it has none, such as 1 / 0."""
    try:
        value = _OPERATIONS[function](*values)
    except (ArithmeticError, ValueError):
        return None
    return None if isinstance(value, complex) or not math.isfinite(value) else value


Interval = tuple[float, float]


def fold_range(function: str, ranges: tuple[Interval | None, ...]) -> Interval | None:
    """Bounds of an operator's value from bounds of its operands, where the operator is monotone."""
    if any(each is None for each in ranges):
        return None
    known = [each for each in ranges if each is not None]
    match function, known:
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
