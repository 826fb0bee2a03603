"""Strategies, growth operators and augmentations: calls that are no values."""

from __future__ import annotations

from collections.abc import Mapping

from ev3lang.catalog.signature import Operation, Value
from ev3lang.check import errors, expressions, typed
from ev3lang.check.arguments import bind
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
    values = None if bound is None else expressions.option_values(checking, bound, entry.options)
    if values is None:
        return None
    options: list[tuple[str, Value | None]] = []
    for option, value in values:
        assert value is None or isinstance(value, int | float | bool | str | tuple), (
            "only a loss has parameters, so an option here is known"
        )
        options.append((option, value))
    return typed.OperationInfo(entry.name, tuple(options))
