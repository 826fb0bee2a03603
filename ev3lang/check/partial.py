"""A file with syntax errors: which further faults can be believed of what could be read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.syntax import tree

_WORD = re.compile(r'"(?:[^"\\\n]|\\.)*"|#[^\n]*|(?P<word>[^\W\d]\w*)')

_NAMELESS = re.compile(
    r"\s*(?:(?:data|model|loss|let|objective|metric|optimizer|param|group|archive|derive|fn)"
    r"\s*(?![\w\s])|:|rows\b)"
)
"""The beginning of a line that has lost the name it declares, so that any name may be it."""


def believable(
    found: Sequence[Diagnostic], faults: Sequence[Diagnostic], syntax_tree: tree.SyntaxTree
) -> tuple[Diagnostic, ...]:
    """The errors that no part lost to a syntax error could explain.

    faults   the syntax errors
    A name may be declared in what couldn't be read; a block that lost a statement is not blamed
    for missing it; a line that is broken is blamed once. Warnings wait until the file is whole.
    """
    absences = ("missing-part", "no-leading-objective")
    source = syntax_tree.span.source
    places = [each.span for each in faults if each.span is not None and each.span.source is source]
    lines = {line for span in places for line in range(span.first.line, span.last.line + 1)}
    broken = [
        each.span
        for each in syntax_tree.declarations
        if any(each.span.start <= place.start <= each.span.end for place in places)
    ]
    lost = _lost_words(syntax_tree)
    loses_a_name = any(_NAMELESS.match(source.line(line)) for line in lines)

    def is_believable(diagnostic: Diagnostic) -> bool:
        span = diagnostic.span
        if diagnostic.severity != "error" or span is None:
            return span is None
        if diagnostic.code in absences or span.source is not source:
            return diagnostic.code not in absences
        is_inside = any(each.start <= span.start and span.end <= each.end for each in broken)
        if is_inside and diagnostic.code.startswith("missing-"):
            return False
        if diagnostic.code == "unknown-name" and (loses_a_name or span.text in lost):
            return False
        return span.first.line not in lines

    return tuple(each for each in found if is_believable(each))


def _lost_words(syntax_tree: tree.SyntaxTree) -> frozenset[str]:
    """The words of the text that stand in no node: what was skipped, beside the grammar's own."""
    kept = {node.span.start for node in tree.walk(syntax_tree) if isinstance(node, tree.Name)}
    text = syntax_tree.span.source.text
    return frozenset(
        match["word"]
        for match in _WORD.finditer(text)
        if match["word"] is not None and match.start() not in kept
    )
