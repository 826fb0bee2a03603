"""Source to TypedProgram: all that can be said of a spec without running it.

Command line, library and editor share this file. It loads neither jax nor numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from types import MappingProxyType

import attrs

from ev3lang.check import errors, seeds
from ev3lang.check.allowances import silenced
from ev3lang.check.checking import MOST_DEEP
from ev3lang.check.limits import may_be_large
from ev3lang.check.partial import believable
from ev3lang.check.program import check
from ev3lang.check.sweeps import Point
from ev3lang.check.typed import Facts, TypedProgram
from ev3lang.diagnostics.diagnostic import NOT_BUILT, Diagnostic, has_errors
from ev3lang.project import Read, read_file, used_files
from ev3lang.source import Source, Span
from ev3lang.syntax import tree
from ev3lang.syntax.parse import parse, parse_expression
from ev3lang.syntax.tree import Declaration


@attrs.frozen
class Analysis:
    """What became of a source.

    tree         as much of it as could be read
    points       every run that it asks for: one without settings, or one for each combination of
                 its sweep; none where there are errors, or parts that can't be run yet
    diagnostics  errors and warnings in the order of the text
    used         the files that it brings in by `use`
    types        what is known of each expression, by its place, in broken files too
    definitions  where each name is declared, by the place of its use, in broken files too
    declarations all of them and of the spec itself, but for `use`; empty where there are errors
    """

    source: Source
    tree: tree.SyntaxTree
    points: tuple[Point, ...]
    diagnostics: tuple[Diagnostic, ...]
    used: tuple[Source, ...] = ()
    declarations: tuple[Declaration, ...] = ()
    types: Mapping[Span, Facts] = MappingProxyType({})
    definitions: Mapping[Span, Span] = MappingProxyType({})

    @property
    def program(self) -> TypedProgram | None:
        """That of the first point; None where there is none."""
        return self.points[0].program if self.points else None

    def type_at(self, offset: int) -> tuple[Span, Facts] | None:
        """The smallest expression around an offset whose type is known, and what is known."""
        around = [
            (span, facts)
            for span, facts in self.types.items()
            if span.source is self.source and span.start <= offset < span.end
        ]
        return min(around, key=lambda each: each[0].end - each[0].start, default=None)

    def definition_at(self, offset: int) -> Span | None:
        """Where the name at an offset is declared."""
        return next(
            (
                place
                for span, place in self.definitions.items()
                if span.source is self.source and span.start <= offset < span.end
            ),
            None,
        )

    @property
    def whole(self) -> Source:
        """The spec with what it uses written into it: a file that stands by itself."""
        if not self.used:
            return self.source
        parts = ["ev3 1", *(each.span.text for each in self.declarations)]
        return Source(self.source.name, "\n\n".join(parts) + "\n")

    @property
    def refusals(self) -> tuple[Diagnostic, ...]:
        """The diagnostics as `run` sees them: what can't be run yet is an error there."""
        return tuple(
            attrs.evolve(each, severity="error") if each.code == NOT_BUILT else each
            for each in self.diagnostics
        )


def analyze(
    source: Source,
    overrides: Mapping[str, str] = MappingProxyType({}),
    read: Read = read_file,
    seed: int | None = None,
) -> Analysis:
    """Parse and check a source, with the files that it uses.

    overrides  params set from outside, each value as text: `{"width": "32"}`
    read       where the text of a used file comes from
    seed       instead of the spec's own
    Raises TypeError or ValueError for a seed that is none.
    """
    seed = None if seed is None else seeds.valid(seed)
    syntax_tree, found = parse(source)
    used = used_files(source, syntax_tree, read)
    found = (*found, *used.diagnostics)
    paths = {
        each.name.text
        for each in (*used.declarations, *syntax_tree.declarations)
        if isinstance(each, tree.Param) and each.type.head.text == "path"
    }
    values: dict[str, tree.Expression] = {}
    for name, text in overrides.items():
        given = Source(f"--set {name}", text)
        if name in paths:
            # A path needs no quotes on the command line.
            values[name] = tree.String(text, span=Span(given, 0, len(text)))
            continue
        value, faults = parse_expression(given)
        found = (*found, *faults)
        if value is not None:
            values[name] = value
    whole = (*used.declarations, *syntax_tree.declarations)
    if has_errors(used.diagnostics):
        # A used file that can't be read may declare any name.
        return Analysis(source, syntax_tree, (), found, used.sources)
    try:
        checked = check(
            attrs.evolve(syntax_tree, declarations=whole),
            values,
            default_name(source),
            seed,
            _review,
        )
    except RecursionError:
        # Each declaration nests less than the parser allows, and all of them together more than
        # Python does: nothing that a person writes, and no reason to fall over.
        deep = errors.too_deep(syntax_tree.declarations[0].keyword_span, MOST_DEEP)
        return Analysis(source, syntax_tree, (), in_order((*found, deep)), used.sources)
    if has_errors(found):
        more = believable(checked.diagnostics, found, syntax_tree)
        diagnostics = in_order((*found, *more))
    else:
        diagnostics = silenced(whole, (*found, *checked.diagnostics))
    return Analysis(
        source,
        syntax_tree,
        () if has_errors(found) else checked.points,
        diagnostics,
        used.sources,
        tuple(each for each in whole if not isinstance(each, tree.Use)),
        checked.types,
        checked.definitions,
    )


def _review(program: TypedProgram) -> Iterable[Diagnostic]:
    """What only sizes say of a program: nothing of a small one that doesn't grow."""
    patience = program.adapt.patience
    grows = patience is not None and patience.growing is not None
    if not grows and not may_be_large(program):
        return ()
    # Most checks don't wait for this import.
    from ev3lang.plan.reviews import review_growth, review_size

    too_large = tuple(review_size(program))
    return too_large if too_large or not grows else review_growth(program)


def in_order(diagnostics: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    """The diagnostics in the order of the text, those without a place first."""
    return tuple(sorted(diagnostics, key=lambda each: each.span.start if each.span else -1))


def default_name(source: Source) -> str:
    """The experiment's name where the spec gives none: that of its file."""
    stem = PurePath(source.name).stem
    return stem if stem not in ("", "-") else "experiment"
