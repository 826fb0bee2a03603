"""A file with syntax errors: which further faults can be believed of what could be read."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice
from typing import get_args

import attrs

from ev3lang.check.causes import ABSENT, KINDS, PRESUMED, kind_of, name_at, owner
from ev3lang.check.resolve import Declared
from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.source import Span
from ev3lang.syntax import tree
from ev3lang.syntax.tables import tables

_WORD = re.compile(r'"(?:[^"\\\n]|\\.)*"|#[^\n]*|(?P<word>[^\W\d]\w*)')
_TOKEN = re.compile(r'"[^"\n]*"|\w+|[^\s\w]')
_BOUNDARIES = ";{}\n"
_HEAD = re.compile(r"^[^\s#}]\w*", re.MULTILINE)

_NAMING = KINDS - {"use", "experiment", "explore", "assess", "adapt", "report", "sweep", "allow"}
"""The words before a name that others may use."""

_DATA_ITEMS = frozenset(("rows", "split", "normalize", "augment", "batch"))
"""The words that open a statement of a data block which isn't a field."""

_USED = re.compile(
    r'^[ \t]*(?P<use>use)\b|(?P<path>"[^"\n]*\.ev3")|"(?:[^"\\\n]|\\.)*"|#[^\n]*', re.M
)

_NEAR = 3
"""So many words before a syntax error may be its other half: `20 }` before a lone `iterations`."""


def believable(
    found: Sequence[Diagnostic], faults: Sequence[Diagnostic], syntax_tree: tree.SyntaxTree
) -> tuple[Diagnostic, ...]:
    """The errors that no part lost to a syntax error could explain.

    faults   the syntax errors
    A name may be declared in what couldn't be read; a block that lost a statement is not blamed
    for missing it, nor other parts for what it lacks; a broken line is blamed once, and so are two
    lines that one misplaced word breaks. Warnings wait until the file is whole.
    """
    source = syntax_tree.span.source
    places = [each.span for each in faults if each.span is not None and each.span.source is source]
    lines = {line for span in places for line in range(span.first.line, span.last.line + 1)}
    near = [(_words_before(span), span.end) for span in places]
    heads = _heads(source.text)
    broken = _broken(places, syntax_tree, heads)
    lost = _lost_words(syntax_tree)
    names = _names(syntax_tree)
    unread = {word for span in places for word in _first_words(span)} - names.declared
    loses_name = any(_may_lose_name(span, names, heads) for span in places)
    loses_file = _loses_file(syntax_tree)

    def is_believable(diagnostic: Diagnostic) -> bool:
        span, code = diagnostic.span, diagnostic.code
        if diagnostic.severity != "error" or span is None:
            return span is None
        presumed = ABSENT.get(code) or PRESUMED.get(code, frozenset())
        if code == "missing-part" or not presumed.isdisjoint(broken.kinds):
            return False
        if code == "unknown-name" and (loses_file or (loses_name and not diagnostic.fixes)):
            return False
        if span.source is not source:
            return True
        if name_at(diagnostic) in (lost if code == "unknown-name" else unread):
            return False
        if code.startswith("missing-") and owner(span, broken.declarations) is not None:
            return False
        labels = diagnostic.labels if code == "duplicate-name" else ()
        if any(each.first.line in lines for each in (span, *(label.span for label in labels))):
            return False
        return not any(start <= span.end <= end for start, end in near)

    return tuple(each for each in found if is_believable(each))


# ---------------------------------------------------------------- what is broken


@attrs.frozen
class _Broken:
    """The declarations with a syntax error in them, and the kinds of those and of the lost ones."""

    declarations: tuple[tree.Declaration, ...]
    kinds: frozenset[str]


def _broken(places: Sequence[Span], syntax_tree: tree.SyntaxTree, heads: _Heads) -> _Broken:
    declarations = []
    kinds: set[str] = set()
    for place in places:
        kinds |= heads.kinds_above(place)
        around = owner(place, syntax_tree.declarations)
        if around is not None:
            declarations.append(around)
            kinds.add(kind_of(around))
    return _Broken(tuple(declarations), frozenset(kinds))


@attrs.frozen
class _Heads:
    """The first words of all lines that aren't indented, and where they stand."""

    starts: tuple[int, ...]
    words: tuple[str, ...]

    def kinds_above(self, place: Span) -> frozenset[str]:
        """What the last of them declares: any kind where the word is amiss."""
        index = bisect_right(self.starts, place.start) - 1
        word = self.words[index] if index >= 0 else ""
        return frozenset({word}) if word in KINDS else KINDS


def _heads(text: str) -> _Heads:
    found = [(match.start(), match[0]) for match in _HEAD.finditer(text)]
    return _Heads(tuple(start for start, _ in found), tuple(word for _, word in found))


@attrs.frozen
class _Names:
    """The names that the tree declares, and those that it uses."""

    declared: frozenset[str]
    used: frozenset[str]


def _names(syntax_tree: tree.SyntaxTree) -> _Names:
    nodes = list(tree.walk(syntax_tree))
    declaring = (*get_args(Declared), tree.FieldItem, tree.DeriveItem)
    declared = [each.name for each in nodes if isinstance(each, declaring)]
    places = {each.span.start for each in declared}
    used = (e.text for e in nodes if isinstance(e, tree.Name) and e.span.start not in places)
    return _Names(frozenset(each.text for each in declared), frozenset(used))


def _first_words(place: Span) -> tuple[str, ...]:
    """The first ones of the statement around a place, or of what is left of it."""
    text = place.source.text
    start = 1 + max(text.rfind(mark, 0, place.start) for mark in _BOUNDARIES)
    words = (match[0] for match in _TOKEN.finditer(text, start))
    return tuple(islice(words, 3))


def _may_lose_name(place: Span, names: _Names, heads: _Heads) -> bool:
    """Whether what a statement declares has a name that can't be read, or that nothing uses."""
    first, second, *_ = (*_first_words(place), "", "")
    if first in _NAMING or first == "derive":
        return second not in names.used or second in tables().words.values()
    is_field = heads.kinds_above(place) == {"data"} and first not in _DATA_ITEMS
    return is_field and first not in names.used


def _loses_file(syntax_tree: tree.SyntaxTree) -> bool:
    """Whether a `use`, or the path of a spec, stands in no node: that file may declare any name."""
    uses = [each for each in syntax_tree.declarations if isinstance(each, tree.Use)]
    kept = {each.span.start for each in uses} | {each.path.span.start for each in uses}
    matches = _USED.finditer(syntax_tree.span.source.text)
    return any(m.lastgroup and m.start(m.lastgroup) not in kept for m in matches)


def _words_before(place: Span) -> int:
    """Where the few words before a place begin."""
    line = place.source.line_starts[max(0, place.first.line - 3)]
    words = list(_TOKEN.finditer(place.source.text, line, place.start))
    return words[-_NEAR:][0].start() if words else place.start


def _lost_words(syntax_tree: tree.SyntaxTree) -> frozenset[str]:
    """The words of the text that stand in no node and may be names: what was skipped."""
    kept = {node.span.start for node in tree.walk(syntax_tree) if isinstance(node, tree.Name)}
    text = syntax_tree.span.source.text
    reserved = frozenset(tables().words.values())
    return frozenset(
        match["word"]
        for match in _WORD.finditer(text)
        if match["word"] and match.start() not in kept and match["word"] not in reserved
    )
