"""A value written out: names replaced by what they stand for, parameters by their arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from ev3lang.check import typed
from ev3lang.check.folding import can_fold, fold


def expand(
    expr: typed.Expr,
    values: Mapping[str, typed.Expr | None],
    arguments: Mapping[str, typed.Expr],
) -> typed.Expr:
    """The expression without references and parameters, with what is known by now worked out.

    values     what each declared name stands for; all that `expr` refers to must be there
    arguments  what each parameter stands for; a parameter without an argument stays
    """
    match expr:
        case typed.Parameter(name=name):
            return arguments.get(name, expr)
        case typed.Reference(name=name):
            value = values[name]
            assert value is not None, f"{name} is at fault and was to be refused before"
            own = {key: expand(each, values, arguments) for key, each in expr.arguments}
            return expand(value, values, own)
        case typed.Forward(inputs=inputs):
            return attrs.evolve(
                expr, inputs=tuple(expand(each, values, arguments) for each in inputs)
            )
        case typed.Apply():
            return _apply(expr, values, arguments)
        case _:
            return expr


def walk(expr: typed.Expr) -> Iterator[typed.Expr]:
    """The expression and all inside it, options too, outer before inner."""
    yield expr
    if isinstance(expr, (typed.Forward, typed.Apply)):
        for each in expr.inputs:
            yield from walk(each)
    if isinstance(expr, typed.Apply):
        for _, option in expr.options:
            if isinstance(option, typed.Expr):
                yield from walk(option)
    if isinstance(expr, typed.Reference):
        for _, argument in expr.arguments:
            yield from walk(argument)


def _apply(
    expr: typed.Apply,
    values: Mapping[str, typed.Expr | None],
    arguments: Mapping[str, typed.Expr],
) -> typed.Expr:
    inputs = tuple(expand(each, values, arguments) for each in expr.inputs)
    options = tuple(
        (name, _plain(expand(each, values, arguments)) if isinstance(each, typed.Expr) else each)
        for name, each in expr.options
    )
    if can_fold(expr.function) and all(isinstance(each, typed.Constant) for each in inputs):
        value = fold(
            expr.function, tuple(each.value for each in inputs if isinstance(each, typed.Constant))
        )
        if value is not None:
            return typed.Constant(value, expr.facts, span=expr.span)
    return attrs.evolve(expr, inputs=inputs, options=options)


def _plain(expr: typed.Expr) -> int | float | typed.Expr:
    return expr.value if isinstance(expr, typed.Constant) else expr
