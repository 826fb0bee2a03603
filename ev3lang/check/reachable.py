"""Which whole numbers an expression of labels can come to, by trying every label."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from ev3lang.check import typed
from ev3lang.check.expand import expand, walk
from ev3lang.check.folding import Number, can_fold, fold

MOST_CASES = 100_000
"""Combinations of labels that are tried; of an expression with more nothing is known."""

Case = Mapping[str, Number]


def numbers(
    expr: typed.Expr, values: Mapping[str, typed.Expr | None]
) -> tuple[float, float] | None:
    """The least and the greatest value over all labels; None where that isn't known.

    values   what each declared name stands for
    An expression of labels and of what is true or false is worked out for every combination of
    them, so that both ends are reached. A number of a file may be anything.
    """
    whole = expand(expr, values, {})
    choices: dict[str, range] = {}
    for part in walk(whole):
        if isinstance(part, typed.Field):
            labels = _labels(part)
            if labels is None:
                return None
            choices[part.name] = labels
    if math.prod(map(len, choices.values())) > MOST_CASES:
        return None
    found = []
    for case in itertools.product(*choices.values()):
        value = _value(whole, dict(zip(choices, case, strict=True)))
        if value is None:
            return None
        found.append(value)
    return (min(found), max(found)) if found else None


def _labels(field: typed.Field) -> range | None:
    """The numbers that a field can hold."""
    kind, dimensions = field.facts.type.kind, field.facts.type.dimensions
    if kind == "bool":
        return range(2)
    if kind == "class" and isinstance(dimensions[0], int) and dimensions[0] <= MOST_CASES:
        return range(dimensions[0])
    return None


def _value(expr: typed.Expr, case: Case) -> Number | None:
    """An expression's value where each field has the value of a case; None where it has none."""
    match expr:
        case typed.Constant(value=value):
            return value
        case typed.Field(name=name):
            return case[name]
        case typed.Apply(function=function, inputs=inputs) if can_fold(function):
            found = [_value(each, case) for each in inputs]
            known = tuple(each for each in found if each is not None)
            return fold(function, known) if len(known) == len(found) else None
    return None
