"""A value written out: names replaced by what they stand for, parameters by their arguments.

What is written out is a graph rather than a tree: a part that stands in several places is one
object, made once and looked at once. So `let b = a + a`, again and again, costs what it takes to
read it, though written as a text it would double each time.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from types import MappingProxyType
from typing import TypeAlias

import attrs

from ev3lang.check import typed
from ev3lang.check.folding import Fault, can_fold, fold

MOST_COPIES = 20_000
"""Parts that losses have, all together, written out for each of the arguments they are given."""

MOST_LEVELS = 400
"""Levels of an expression that is written out, from the outermost part to the innermost."""


class TooLarge(Exception):
    """Written out, an expression has more parts or levels than it may have; the words say which."""


_Arguments: TypeAlias = tuple[tuple[str, typed.Expr], ...]
_Place: TypeAlias = tuple[typed.Expr, _Arguments]
"""An expression and what the parameters in it stand for."""


@attrs.define(eq=False)
class Expansion:
    """Expressions without references and parameters, with what is known by now worked out.

    values   what each declared name stands for; it may grow, and no value in it may change
    Each expression is written out once for each set of arguments, and kept.
    """

    values: Mapping[str, typed.Expr | None]
    _made: dict[_Place, typed.Expr] = attrs.field(factory=dict)
    _levels: dict[typed.Expr, int] = attrs.field(factory=dict)
    _first_alike: dict[tuple[object, ...], typed.Expr] = attrs.field(factory=dict)
    _alike: dict[typed.Expr, typed.Expr] = attrs.field(factory=dict)
    _copies: int = 0

    def of(
        self,
        expr: typed.Expr,
        arguments: Mapping[str, typed.Expr] = MappingProxyType({}),
    ) -> typed.Expr:
        """The expression written out; all that it refers to must be among the values.

        arguments   what each parameter stands for; a parameter without an argument stays
        Raises TooLarge.
        """
        start = (expr, tuple(arguments.items()))
        waiting = [start]
        while waiting:
            place = waiting[-1]
            missing = [each for each in self._needs(place) if each not in self._made]
            if missing:
                waiting += reversed(missing)
                continue
            waiting.pop()
            if place not in self._made:
                self._keep(place, self._written(place))
        return self._made[start]

    def _keep(self, place: _Place, made: typed.Expr) -> None:
        below = (self._levels[each] for each in parts_of(made))
        levels = 1 + max(below, default=0)
        if levels > MOST_LEVELS:
            raise TooLarge(f"more than {MOST_LEVELS} levels")
        is_copy = bool(place[1])
        self._copies += is_copy
        if is_copy and self._copies > MOST_COPIES:
            raise TooLarge(f"more than {MOST_COPIES:,} parts")
        self._levels[made] = levels
        self._made[place] = made

    def _needs(self, place: _Place) -> list[_Place]:
        """What has to be written out before."""
        expr, arguments = place
        if not isinstance(expr, typed.Reference):
            return [(each, arguments) for each in parts_of(expr)]
        own = [(each, arguments) for _, each in expr.arguments]
        if any(each not in self._made for each in own):
            return own
        return [self._value_of(expr, arguments)]

    def _value_of(self, reference: typed.Reference, arguments: _Arguments) -> _Place:
        """What a name stands for, with the arguments that it is given, written out before."""
        value = self.values[reference.name]
        assert value is not None, f"{reference.name} is at fault and was to be refused before"
        given = tuple(
            (name, self._one_of_alike(self._made[each, arguments]))
            for name, each in reference.arguments
        )
        return value, given

    def _one_of_alike(self, argument: typed.Expr) -> typed.Expr:
        """The first of the arguments that are written alike: a loss is written out once for it.

        argument   a number, or what a number is computed from
        """
        if argument not in self._alike:
            inside = tuple(map(self._one_of_alike, parts_of(argument)))
            match argument:
                case typed.Constant(value=value):
                    key: tuple[object, ...] = (repr(value), argument.facts.type)
                case typed.Parameter(name=name):
                    key = (name,)
                case typed.Apply(function=function) if len(inside) == len(argument.inputs):
                    key = (function, argument.options, inside)
                case _:
                    key = (argument,)
            self._alike[argument] = self._first_alike.setdefault(key, argument)
        return self._alike[argument]

    def _written(self, place: _Place) -> typed.Expr:
        expr, arguments = place
        match expr:
            case typed.Parameter(name=name):
                return dict(arguments).get(name, expr)
            case typed.Reference():
                return self._made[self._value_of(expr, arguments)]
            case typed.Forward(inputs=inputs):
                made = tuple(self._made[each, arguments] for each in inputs)
                return expr if _are(made, inputs) else attrs.evolve(expr, inputs=made)
            case typed.Apply():
                return self._applied(expr, arguments)
            case _:
                return expr

    def _applied(self, expr: typed.Apply, arguments: _Arguments) -> typed.Expr:
        inputs = tuple(self._made[each, arguments] for each in expr.inputs)
        options = tuple(
            (name, _plain(self._made[each, arguments]) if isinstance(each, typed.Expr) else each)
            for name, each in expr.options
        )
        if not _are(inputs, expr.inputs) or options != expr.options:
            expr = attrs.evolve(expr, inputs=inputs, options=options)
        value = value_of(expr)
        if value is None or isinstance(value, str):
            return expr
        return typed.Constant(value, expr.facts, span=expr.span)


def value_of(expr: typed.Apply) -> int | float | Fault | None:
    """The value of a function of numbers, or why it has none; None where they aren't known."""
    given = [each.value if isinstance(each, typed.Constant) else None for each in expr.inputs]
    given += [each if isinstance(each, int | float) else None for _, each in expr.options]
    numbers = tuple(each for each in given if each is not None)
    if not can_fold(expr.function) or len(numbers) < len(given):
        return None
    return fold(expr.function, numbers)


def parts_of(expr: typed.Expr) -> tuple[typed.Expr, ...]:
    """What an expression is made of, one level down: inputs, then options and arguments."""
    match expr:
        case typed.Forward(inputs=inputs):
            return inputs
        case typed.Apply(inputs=inputs, options=options):
            return (*inputs, *(each for _, each in options if isinstance(each, typed.Expr)))
        case typed.Reference(arguments=arguments):
            return tuple(each for _, each in arguments)
        case _:
            return ()


def walk(*exprs: typed.Expr) -> Iterator[typed.Expr]:
    """The expressions and all inside them, options too, each once and outer before inner."""
    seen: set[typed.Expr] = set()
    waiting = list(reversed(exprs))
    while waiting:
        expr = waiting.pop()
        if expr not in seen:
            seen.add(expr)
            yield expr
            waiting += reversed(parts_of(expr))


def inner_first(
    expr: typed.Expr, known: Container[typed.Expr] = frozenset()
) -> Iterator[typed.Expr]:
    """The expression and all inside it, each once, what it is made of before it.

    known   what is left out, with all inside it; it may grow meanwhile
    """
    seen: set[typed.Expr] = set()
    waiting = [] if expr in known else [expr]
    while waiting:
        last = waiting[-1]
        missing = [each for each in parts_of(last) if each not in seen and each not in known]
        if missing:
            waiting += reversed(missing)
            continue
        waiting.pop()
        if last not in seen:
            seen.add(last)
            yield last


def _are(made: tuple[typed.Expr, ...], before: tuple[typed.Expr, ...]) -> bool:
    """Whether nothing was changed: what is shared stays shared, and nothing is copied."""
    return all(one is other for one, other in zip(made, before, strict=True))


def _plain(expr: typed.Expr) -> int | float | typed.Expr:
    return expr.value if isinstance(expr, typed.Constant) else expr
