"""Weighted sums of probabilities: which of them are probabilities again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from ev3lang.check import typed
from ev3lang.check.expand import expand

Weight: TypeAlias = Mapping[tuple[str, ...], float]
"""A polynomial in a loss's parameters: a factor for each product of them, `()` for none.

`1 - share` is `{(): 1, ("share",): -1}`.
"""

ONE: Weight = {(): 1.0}

CLOSE = 1e-6
"""What weights may miss 1 by, as those of thirds written out do."""


def is_mixture(expr: typed.Expr, values: Mapping[str, typed.Expr | None]) -> bool:
    """Whether a sum of arrays is a mean of probabilities: no weight below 0, 1 in total.

    values   what declared names stand for
    A weight that depends on a loss's parameter counts as none below 0; `least_weight` tells once
    the loss has its arguments.
    """
    weights = _weights(expand(expr, values, {}))
    if weights is None:
        return False
    known = [each.get((), 0.0) for each in weights if _is_known(each)]
    total = _sum(weights)
    return all(each >= 0 for each in known) and all(
        abs(factor) <= CLOSE for factor in _sum((total, {(): -1.0})).values()
    )


def total_weight(expr: typed.Expr, values: Mapping[str, typed.Expr | None]) -> float | None:
    """What the weights of a sum of probabilities come to.

    None where it is no such sum, or where that depends on a loss's arguments.
    """
    weights = _weights(expand(expr, values, {}))
    if weights is None:
        return None
    total = _sum(weights)
    return total.get((), 0.0) if _is_known(total) else None


def least_weight(expr: typed.Expr) -> float | None:
    """The least weight of a mean of probabilities, written out; None for another expression."""
    if not (isinstance(expr, typed.Apply) and expr.function in _JOINING):
        return None
    if expr.facts.type.kind != "probs":
        return None
    weights = _weights(expr)
    if weights is None or not all(map(_is_known, weights)):
        return None
    return min(each.get((), 0.0) for each in weights)


_JOINING = ("+", "*", "/")


def _weights(expr: typed.Expr) -> tuple[Weight, ...] | None:
    """The weight of each of the probabilities that are summed; None for any other expression."""
    if not (isinstance(expr, typed.Apply) and expr.function in _JOINING):
        return (ONE,) if expr.facts.type.kind == "probs" else None
    left, right = expr.inputs
    if expr.function == "+":
        summed = _weights(left), _weights(right)
        return None if summed[0] is None or summed[1] is None else (*summed[0], *summed[1])
    if expr.function == "*" and left.facts.level == "constant":
        left, right = right, left
    factor = _of_number(right)
    parts = _weights(left)
    if factor is None or parts is None:
        return None
    if expr.function == "/":
        factor = _inverse(factor)
    return None if factor is None else tuple(_product(factor, each) for each in parts)


def _of_number(expr: typed.Expr) -> Weight | None:
    """A number as a polynomial in parameters; None for what is none."""
    match expr:
        case typed.Constant(value=value):
            return {(): float(value)}
        case typed.Parameter(name=name):
            return {(name,): 1.0}
        case typed.Apply(function="negate", inputs=(inner,)):
            negated = _of_number(inner)
            return None if negated is None else _product({(): -1.0}, negated)
        case typed.Apply(function=function, inputs=(first, second)) if function in "+-*/":
            a, b = _of_number(first), _of_number(second)
            if a is None or b is None:
                return None
            if function == "*":
                return _product(a, b)
            if function != "/":
                return _sum((a, b if function == "+" else _product({(): -1.0}, b)))
            inverse = _inverse(b)
            return None if inverse is None else _product(a, inverse)
    return None


def _is_known(weight: Weight) -> bool:
    """Whether it has no parameter in it."""
    return weight.keys() <= {()}


def _inverse(weight: Weight) -> Weight | None:
    divisor = weight.get((), 0.0)
    return {(): 1 / divisor} if divisor and _is_known(weight) else None


def _sum(parts: Iterable[Weight]) -> Weight:
    total: dict[tuple[str, ...], float] = {}
    for part in parts:
        for names, factor in part.items():
            total[names] = total.get(names, 0.0) + factor
    return {names: factor for names, factor in total.items() if factor}


def _product(a: Weight, b: Weight) -> Weight:
    return _sum(
        {tuple(sorted(names + others)): factor * other}
        for names, factor in a.items()
        for others, other in b.items()
    )
