"""Which numbers an expression of labels can come to, by trying every label."""

from __future__ import annotations

import itertools
import math

from ev3lang.check import typed
from ev3lang.check.expand import inner_first
from ev3lang.check.folding import Number, can_fold, fold

MOST_WORK = 200_000
"""Parts of an expression by combinations of labels: of one with more nothing is known."""


def numbers(whole: typed.Expr) -> tuple[Number, Number] | None:
    """The least and the greatest value over all labels; None where that isn't known.

    whole   an expression written out, without names
    An expression of labels and of what is true or false is worked out for every combination of
    them, so that both ends are reached. A number of a file may be anything.
    """
    parts = list(inner_first(whole))
    choices: dict[str, range] = {}
    for part in parts:
        if isinstance(part, typed.Field):
            labels = _labels(part)
            if labels is None:
                return None
            choices[part.name] = labels
    if len(parts) * math.prod(map(len, choices.values())) > MOST_WORK:
        return None
    found = []
    for case in itertools.product(*choices.values()):
        value = _value(parts, dict(zip(choices, case, strict=True)))
        if value is None:
            return None
        found.append(value)
    return min(found), max(found)


def _labels(field: typed.Field) -> range | None:
    """The numbers that a field can hold."""
    kind, dimensions = field.facts.type.kind, field.facts.type.dimensions
    if kind == "bool":
        return range(2)
    if kind == "class" and isinstance(dimensions[0], int):
        return range(dimensions[0])
    return None


def _value(parts: list[typed.Expr], case: dict[str, int]) -> Number | None:
    """The last part's value where each field has the value of a case; None where it has none.

    parts   of an expression, what one is made of before it
    """
    known: dict[typed.Expr, Number] = {}
    for part in parts:
        value: Number | str | None = None
        match part:
            case typed.Constant(value=value):
                pass
            case typed.Field(name=name):
                value = case[name]
            case typed.Apply(function=function, inputs=inputs, options=()) if can_fold(function):
                value = fold(function, tuple(known[each] for each in inputs))
        if not isinstance(value, int | float):
            return None
        known[part] = value
    return known[parts[-1]]
