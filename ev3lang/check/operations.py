"""Strategies, growth operators and augmentations: calls that are no values."""

from __future__ import annotations

from collections.abc import Mapping

from ev3lang.catalog.index import GROWTH
from ev3lang.catalog.signature import Operation, Value
from ev3lang.check import errors, expressions, typed
from ev3lang.check.arguments import Bound, bind
from ev3lang.check.checking import Checking
from ev3lang.syntax import tree


def operation(
    checking: Checking,
    written: tree.Expression,
    table: Mapping[str, Operation],
    what: str,
) -> typed.OperationInfo | None:
    """The operation that is called, with all its options; None, reported, where they don't fit."""
    if not isinstance(written, (tree.Call, tree.Name)):
        checking.report(errors.wrong_type(written.span, f"a {what}", f"`{written.span.text}`"))
        return None
    name = written.function if isinstance(written, tree.Call) else written
    entry = table.get(name.text)
    if entry is None:
        checking.report(errors.unknown_name(name, table, what))
        return None
    bound = bind(checking, written, [option.name for option in entry.options])
    options = None if bound is None else _options(checking, entry, bound)
    return None if options is None else typed.OperationInfo(entry.name, options, span=written.span)


def _options(
    checking: Checking, entry: Operation, bound: Bound
) -> tuple[tuple[str, Value | typed.OperationInfo | None], ...] | None:
    """Every option's value in the catalogue's order; None, reported, where one doesn't fit."""
    plain = tuple(option for option in entry.options if option.kind != "operator")
    values = expressions.option_values(checking, bound, plain)
    if values is None:
        return None
    found: dict[str, Value | typed.OperationInfo | None] = {}
    for name, value in values:
        assert value is None or isinstance(value, int | float | bool | str | tuple), (
            "only a loss has parameters, so an option here is known"
        )
        found[name] = value
    for option in entry.options:
        if option.kind == "operator":
            inner = _operator(checking, entry, bound, option.name)
            if inner is None:
                return None
            found[option.name] = inner
    return tuple((option.name, found[option.name]) for option in entry.options)


def _operator(
    checking: Checking, entry: Operation, bound: Bound, place: str
) -> typed.OperationInfo | None:
    """The growth operator in the place of an option."""
    given = bound.given.get(place)
    if given is None:
        checking.report(errors.missing_argument(entry.name, [place], bound.span))
        return None
    if not isinstance(given, (tree.Call, tree.Name)):
        checking.report(errors.no_inner_operator(given.span, entry.name))
        return None
    name = given.function if isinstance(given, tree.Call) else given
    if name.text == entry.name:
        checking.report(errors.operator_in_itself(given.span, entry.name))
        return None
    table = {key: each for key, each in GROWTH.items() if key != entry.name}
    return operation(checking, given, table, "growth operator")
