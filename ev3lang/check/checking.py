"""What the parts of the checker share while they look at one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import attrs

from ev3lang.check import errors, typed
from ev3lang.check.expand import Expansion
from ev3lang.check.mixtures import Mixtures
from ev3lang.check.resolve import FieldSymbol, ResolvedProgram
from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.source import Span
from ev3lang.syntax import tree

MOST_DEEP = 50
"""Declarations that may need each other in a row; nothing that a person writes comes near."""


@attrs.define
class Checking:
    """The file's names, what has been found out about them, and the diagnostics so far.

    Declarations are checked when first asked for, so that they may stand in any order; None in
    a table means that a declaration is at fault and that this was reported. `runs` is how many
    the sweep has.
    """

    names: ResolvedProgram
    overrides: Mapping[str, tree.Expression]
    runs: int = 1
    found: list[Diagnostic] = attrs.field(factory=list)
    used: set[str] = attrs.field(factory=set)
    types: dict[Span, typed.Facts] = attrs.field(factory=dict)
    params: dict[str, typed.Constant | None] = attrs.field(factory=dict)
    paths: dict[str, str] = attrs.field(factory=dict)
    field_infos: dict[tuple[str, str], typed.FieldInfo | None] = attrs.field(factory=dict)
    models: dict[str, typed.ModelInfo | None] = attrs.field(factory=dict)
    values: dict[str, typed.Expr | None] = attrs.field(factory=dict)
    losses: dict[str, typed.LossInfo | None] = attrs.field(factory=dict)
    optimizers: dict[str, typed.OptimizerInfo | None] = attrs.field(factory=dict)
    mixtures: Mixtures = attrs.field(factory=Mixtures)
    _open: list[tree.Name] = attrs.field(factory=list)
    _expansion: Expansion = attrs.field(init=False)
    _known: set[Diagnostic] = attrs.field(init=False)

    @_known.default
    def _known_at_first(self) -> set[Diagnostic]:
        return set(self.found)

    @_expansion.default
    def _expansion_of_values(self) -> Expansion:
        return Expansion(self.values)

    def written_out(self, expr: typed.Expr) -> typed.Expr:
        """The expression without names and parameters, as far as arguments are known.

        Raises `expand.TooLarge` of one that was not inferred before.
        """
        return self._expansion.of(expr)

    def report(self, diagnostic: Diagnostic) -> None:
        """Keep a diagnostic, once: a faulty part may be looked at from several sides."""
        if diagnostic not in self._known:
            self._known.add(diagnostic)
            self.found.append(diagnostic)

    def report_first(self, diagnostic: Diagnostic) -> None:
        """Keep a diagnostic unless there is one with its code: others would be its echoes."""
        if all(each.code != diagnostic.code for each in self.found):
            self.report(diagnostic)

    @contextmanager
    def opening(self, name: tree.Name, use: tree.Node) -> Iterator[bool]:
        """Mark a declaration as being checked; gives False, reported, if it already is.

        So too where more declarations than anyone writes need each other in a row.
        """
        cycle = [each.text for each in self._open]
        if name.text in cycle:
            through = self._open[cycle.index(name.text) :]
            self.report(errors.circular(name, use.span, tuple(each.text for each in through)))
            yield False
            return
        if len(cycle) == MOST_DEEP:
            self.report(errors.too_deep(name.span, MOST_DEEP))
            yield False
            return
        self._open.append(name)
        try:
            yield True
        finally:
            self._open.pop()

    def field(self, name: tree.Name | tree.Member) -> FieldSymbol | None:
        """The field a name stands for; None, reported, for one that two blocks share."""
        bare = name.name if isinstance(name, tree.Member) else name
        symbols = self.names.fields.get(bare.text, ())
        if isinstance(name, tree.Member):
            symbols = tuple(symbol for symbol in symbols if symbol.data == name.owner.text)
        if len(symbols) > 1:
            self.report(errors.ambiguous_field(bare, tuple(symbol.data for symbol in symbols)))
            return None
        if not symbols:
            if isinstance(name, tree.Member) and name.owner.text not in self.names.declared:
                self.report(errors.unknown_name(name.owner, self.names.declared))
            elif not self.names.has_unknown_fields:
                known = self.fields_of(name.owner.text) if isinstance(name, tree.Member) else None
                self.report(errors.unknown_field(bare, known or tuple(self.names.fields)))
            return None
        self.used.add(bare.text)
        self.used.add(symbols[0].data)
        return symbols[0]

    def fields_of(self, data: str) -> tuple[str, ...]:
        """The names of a data block's fields."""
        return tuple(
            name
            for name, symbols in self.names.fields.items()
            if any(symbol.data == data for symbol in symbols)
        )


Item = TypeVar("Item", bound=tree.Node)


def only(
    checking: Checking, items: Iterable[tree.Node], kind: type[Item], what: str
) -> Item | None:
    """The one statement of its kind in a block; a second one is reported."""
    found = [item for item in items if isinstance(item, kind)]
    for again in found[1:]:
        checking.report(errors.duplicate_statement(again.span, found[0].span, what))
    return found[0] if found else None
