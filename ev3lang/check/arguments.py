"""Arguments of a call against a signature: who gets what, and whether it fits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from ev3lang.catalog.signature import Option, Type, Value
from ev3lang.catalog.units import UNITS
from ev3lang.check import errors, typed
from ev3lang.check.checking import Checking
from ev3lang.check.expand import walk
from ev3lang.check.limits import MOST_COUNT
from ev3lang.source import Span
from ev3lang.syntax import tree
from ev3lang.syntax.write import write_number


@attrs.frozen
class Bound:
    """The expressions that a call gives to each of a function's places, by name."""

    function: str
    span: Span
    given: Mapping[str, tree.Expression]

    def missing(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in self.given)


def bind(checking: Checking, call: tree.Call | tree.Name, places: Sequence[str]) -> Bound | None:
    """Give each argument its place; None, reported, where one has no place or two have the same."""
    if isinstance(call, tree.Name):
        return Bound(call.text, call.span, {})
    function = call.function.text
    given: dict[str, tree.Expression] = {}
    fits = True
    by_place = [each for each in call.arguments if each.name is None]
    if len(by_place) > len(places):
        checking.report(
            errors.too_many_arguments(function, len(places), by_place[len(places)].span)
        )
        return None
    for place, argument in zip(places, by_place, strict=False):
        given[place] = argument.value
    for argument in call.arguments:
        if argument.name is None:
            continue
        name = argument.name.text
        if name not in places:
            checking.report(errors.unknown_argument(function, argument.name, places))
            fits = False
        elif name in given:
            checking.report(errors.duplicate_argument(function, name, argument.span))
            fits = False
        else:
            given[name] = argument.value
    return Bound(function, call.span, given) if fits else None


COUNTED = ("int", "ints", "steps", "pixels")
"""Kinds of options that a program counts by."""


def bounds_of(option: Option, value: float = 0) -> str:
    """The allowed values of a numeric option, in words.

    value   one that isn't allowed: what no program can count is refused as such
    """
    if option.high is None and option.kind in COUNTED and value > MOST_COUNT:
        return f"at most {MOST_COUNT:_}"
    low = None if option.low is None else f"{option.low:g}"
    high = None if option.high is None else f"{option.high:g}"
    if low is not None and high is not None:
        return f"above {low} and at most {high}" if option.is_low_open else f"from {low} to {high}"
    if low is not None:
        return f"above {low}" if option.is_low_open else f"at least {low}"
    return f"at most {high}"


def is_within(option: Option, value: float) -> bool:
    """Whether a number keeps the option's bounds."""
    if option.low is not None and (
        value < option.low or (option.is_low_open and value == option.low)
    ):
        return False
    most = MOST_COUNT if option.high is None and option.kind in COUNTED else option.high
    return most is None or value <= most


def known_number(checking: Checking, expr: typed.Expr) -> float | None:
    """The number an expression comes to, None where it depends on a parameter or an example."""
    if expr.facts.level != "constant":
        return None
    if any(isinstance(each, typed.Parameter) for each in walk(expr)):
        return None
    number = checking.written_out(expr)
    return number.value if isinstance(number, typed.Constant) else None


_COUNTS = {"steps": "steps", "pixels": "pixels", "factor": "a factor, such as `2x`"}


def counted(
    checking: Checking, number: tree.Number, measures: str, words: str
) -> int | float | None:
    """A number with a unit of the given kind, in its base unit; None, reported, otherwise."""
    unit = _unit_of(checking, number)
    if unit is None and number.unit is not None:
        return None
    if unit is None or UNITS[unit].measures != measures:
        got = f"`{number.span.text}`" if unit else f"`{number.span.text}` without a unit"
        checking.report(errors.wrong_unit(number.span, got, words))
        return None
    value = UNITS[unit].in_base(number.value)
    if math.isinf(value):
        checking.report(errors.no_number(number.span, "large", number.span))
        return None
    is_count = measures not in ("duration", "factor", "ratio", "difference")
    if is_count and value > MOST_COUNT:
        checking.report(errors.uncountable(number.span, words, MOST_COUNT, _read(number)))
        return None
    if is_count and (not isinstance(number.value, int) or number.value < 1):
        checking.report(errors.out_of_range(number.span, words, "1 or more", _read(number)))
        return None
    if not is_count and value < 0:
        checking.report(errors.out_of_range(number.span, words, "0 or more", _read(number)))
        return None
    return value


def whole(checking: Checking, number: tree.Number, what: str) -> int | None:
    """A bare whole number from 1; None, reported, otherwise."""
    if number.unit is not None:
        checking.report(errors.wrong_unit(number.span, f"`{number.span.text}`", what))
        return None
    if not isinstance(number.value, int) or number.value < 1:
        checking.report(errors.out_of_range(number.span, what, "1 or more", _read(number)))
        return None
    if number.value > MOST_COUNT:
        checking.report(errors.uncountable(number.span, what, MOST_COUNT, _read(number)))
        return None
    return number.value


def _read(number: tree.Number) -> str:
    """The number as it is written; that of a param has the param's name as its place."""
    text = number.span.text
    return text if text[:1].isdigit() else write_number(number)


def _unit_of(checking: Checking, number: tree.Number) -> str | None:
    if number.unit is not None and number.unit not in UNITS:
        checking.report(errors.unknown_unit(number, UNITS))
        return None
    return number.unit


def literal(checking: Checking, option: Option, expression: tree.Expression) -> Value | None:
    """An option that is no number: bool, text, name or a count with a unit; None, reported."""
    what = f"`{option.name}`"
    match option.kind, expression:
        case "bool", tree.Name(text="true" | "false" as text):
            return text == "true"
        case (("text" | "path"), tree.String(value=value)):
            return value
        case "name", tree.Name(text=text):
            if text in option.choices:
                return text
            checking.report(errors.unknown_choice(expression, option.name, option.choices))
            return None
        case ("steps" | "pixels" | "factor") as kind, tree.Number():
            return counted(checking, expression, kind, f"{what} in {_COUNTS[kind]}")
    expected = {
        "bool": "`true` or `false`",
        "text": 'a text in quotes, "…"',
        "path": 'a path in quotes, "…", or a param of type path',
        "name": f"one of {', '.join(option.choices)}",
        **_COUNTS,
    }[option.kind]
    checking.report(
        errors.wrong_type(expression.span, f"{expected} for {what}", f"`{expression.span.text}`")
    )
    return None


def fits_number(kind: str, type_: Type) -> bool:
    """Whether a value of the type may stand for an option of the kind."""
    allowed = {
        "real": ("real", "int", "ratio"),
        "ratio": ("real", "int", "ratio"),
        "int": ("int",),
        "schedule": ("real", "int", "ratio"),
        "bool": ("bool",),
    }
    return type_.kind in allowed[kind]
