"""Source to TypedProgram: all that can be said of a spec without running it.

Command line, library and editor share this file. It loads neither jax nor numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from types import MappingProxyType

import attrs

from ev3lang.check.program import check
from ev3lang.check.typed import TypedProgram
from ev3lang.diagnostics.diagnostic import Diagnostic, has_errors
from ev3lang.source import Source
from ev3lang.syntax import tree
from ev3lang.syntax.parse import parse, parse_expression


@attrs.frozen
class Analysis:
    """What became of a source.

    tree         as much of it as could be read
    program      None where there are errors, or parts that can't be run yet
    diagnostics  errors and warnings in the order of the text
    """

    source: Source
    tree: tree.SyntaxTree
    program: TypedProgram | None
    diagnostics: tuple[Diagnostic, ...]

    @property
    def refusals(self) -> tuple[Diagnostic, ...]:
        """The diagnostics as `run` sees them: what can't be run yet is an error there."""
        return tuple(
            attrs.evolve(each, severity="error") if each.code == "not-built-yet" else each
            for each in self.diagnostics
        )


def analyze(source: Source, overrides: Mapping[str, str] = MappingProxyType({})) -> Analysis:
    """Parse and check a source.

    overrides  params set from outside, each value as text: `{"width": "32"}`
    """
    syntax_tree, found = parse(source)
    values: dict[str, tree.Expression] = {}
    for name, text in overrides.items():
        value, faults = parse_expression(Source(f"--set {name}", text))
        found = (*found, *faults)
        if value is not None:
            values[name] = value
    if has_errors(found):
        # A file that can't be read whole would be blamed for names that stand in what is missing.
        return Analysis(source, syntax_tree, None, found)
    program, more = check(syntax_tree, values, default_name(source))
    return Analysis(source, syntax_tree, program, (*found, *more))


def default_name(source: Source) -> str:
    """The experiment's name where the spec gives none: that of its file."""
    stem = PurePath(source.name).stem
    return stem if stem not in ("", "-") else "experiment"
