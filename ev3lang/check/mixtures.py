"""Weighted sums of probabilities: which of them are probabilities again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import attrs

from ev3lang.check import typed
from ev3lang.check.expand import inner_first

Weight: TypeAlias = Mapping[tuple[str, ...], float]
"""A polynomial in a loss's parameters: a factor for each product of them, `()` for none.

`1 - share` is `{(): 1, ("share",): -1}`.
"""

ONE: Weight = {(): 1.0}

CLOSE = 1e-6
"""What weights may miss 1 by, as those of thirds written out do."""


MOST_TERMS = 256
"""The most terms of a polynomial; whether more of them sum to 1 is not known."""


@attrs.frozen
class _Sum:
    """The weights of probabilities that are summed.

    total        of all of them
    least, most  of those that have no parameter in them; None where there are none
    is_known     whether that is all of them
    """

    total: Weight
    least: float | None
    most: float | None
    is_known: bool

    def plus(self, other: _Sum) -> _Sum:
        total = _sum((self.total, other.total))
        least = [each for each in (self.least, other.least) if each is not None]
        most = [each for each in (self.most, other.most) if each is not None]
        return _Sum(
            total,
            min(least, default=None),
            max(most, default=None),
            self.is_known and other.is_known,
        )

    def times(self, factor: Weight) -> _Sum | None:
        total = _product(factor, self.total)
        if total is None:
            return None
        if not _is_known(factor):
            return _Sum(total, None, None, is_known=False)
        number = factor.get((), 0.0)
        if number == 0:
            return _Sum(total, 0.0, 0.0, is_known=True)
        ends = [number * each for each in (self.least, self.most) if each is not None]
        return _Sum(total, min(ends, default=None), max(ends, default=None), self.is_known)


@attrs.frozen(eq=False)
class Mixtures:
    """What sums of probabilities come to, each part of them looked at once.

    All that is asked about is written out, as far as arguments are known.
    """

    _sums: dict[typed.Expr, _Sum | None] = attrs.field(factory=dict)
    _numbers: dict[typed.Expr, Weight | None] = attrs.field(factory=dict)

    def is_mixture(self, expr: typed.Expr) -> bool:
        """Whether a sum of arrays is a mean of probabilities: no weight below 0, 1 in total.

        A weight that depends on a loss's parameter counts as none below 0; `least_weight` tells
        once the loss has its arguments.
        """
        found = self._sum_of(expr)
        if found is None or (found.least is not None and found.least < 0):
            return False
        return all(abs(each) <= CLOSE for each in _sum((found.total, {(): -1.0})).values())

    def total_weight(self, expr: typed.Expr) -> float | None:
        """What the weights of a sum of probabilities come to.

        None where it is no such sum, or where that depends on a loss's arguments.
        """
        found = self._sum_of(expr)
        if found is None or not _is_known(found.total):
            return None
        return found.total.get((), 0.0)

    def least_weight(self, expr: typed.Expr) -> float | None:
        """The least weight of a mean of probabilities; None for another expression."""
        if not (isinstance(expr, typed.Apply) and expr.function in _JOINING):
            return None
        if expr.facts.type.kind != "probs":
            return None
        found = self._sum_of(expr)
        return None if found is None or not found.is_known else found.least

    def _sum_of(self, expr: typed.Expr) -> _Sum | None:
        for part in inner_first(expr, self._sums):
            self._numbers[part] = self._as_number(part)
            self._sums[part] = self._as_sum(part)
        return self._sums[expr]

    def _as_sum(self, expr: typed.Expr) -> _Sum | None:
        """The weights of the probabilities that are summed; None for any other expression."""
        if not (isinstance(expr, typed.Apply) and expr.function in _JOINING):
            return _Sum(ONE, 1.0, 1.0, is_known=True) if expr.facts.type.kind == "probs" else None
        left, right = expr.inputs
        if expr.function == "+":
            first, second = self._sums[left], self._sums[right]
            return None if first is None or second is None else first.plus(second)
        if expr.function == "*" and left.facts.level == "constant":
            left, right = right, left
        factor, parts = self._numbers[right], self._sums[left]
        if factor is not None and expr.function == "/":
            factor = _inverse(factor)
        return None if factor is None or parts is None else parts.times(factor)

    def _as_number(self, expr: typed.Expr) -> Weight | None:
        """A number as a polynomial in parameters; None for what is none."""
        match expr:
            case typed.Constant(value=value):
                return {(): float(value)}
            case typed.Parameter(name=name):
                return {(name,): 1.0}
            case typed.Apply(function="negate", inputs=(inner,)):
                number = self._numbers[inner]
                return None if number is None else _product({(): -1.0}, number)
            case typed.Apply(function=function, inputs=(first, second)) if function in "+-*/":
                a, b = self._numbers[first], self._numbers[second]
                return None if a is None or b is None else _joined(function, a, b)
        return None


_JOINING = ("+", "*", "/")


def _joined(function: str, a: Weight, b: Weight) -> Weight | None:
    """The sum, difference, product or quotient; None where it is no polynomial, or too long."""
    match function:
        case "+":
            return _sum((a, b))
        case "-":
            negative = _product({(): -1.0}, b)
            return None if negative is None else _sum((a, negative))
        case "*":
            return _product(a, b)
        case _:
            inverse = _inverse(b)
            return None if inverse is None else _product(a, inverse)


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


def _product(a: Weight, b: Weight) -> Weight | None:
    """The product; None where it has too many terms."""
    if len(a) * len(b) > MOST_TERMS:
        return None
    return _sum(
        {tuple(sorted(names + others)): factor * other}
        for names, factor in a.items()
        for others, other in b.items()
    )
