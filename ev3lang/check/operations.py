"""Strategies, growth operators and augmentations: calls that are no values."""

from __future__ import annotations

from collections.abc import Mapping

from ev3lang.catalog.signature import Operation
from ev3lang.check import errors, expressions
from ev3lang.check.arguments import bind
from ev3lang.check.checking import Checking
from ev3lang.syntax import tree


def operation(
    checking: Checking,
    written: tree.Expression,
    table: Mapping[str, Operation],
    what: str,
) -> str | None:
    """The name of the operation that is called with fitting options; None, reported, otherwise."""
    if not isinstance(written, (tree.Call, tree.Name)):
        checking.report(errors.wrong_type(written.span, f"a {what}", f"`{written.span.text}`"))
        return None
    name = written.function if isinstance(written, tree.Call) else written
    entry = table.get(name.text)
    if entry is None:
        checking.report(errors.unknown_name(name, table, what))
        return None
    bound = bind(checking, written, [option.name for option in entry.options])
    if bound is None or expressions.option_values(checking, bound, entry.options) is None:
        return None
    return entry.name
