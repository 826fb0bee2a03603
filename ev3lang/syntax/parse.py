"""A text's syntax tree, and what keeps the text from being a spec."""

from __future__ import annotations

import functools
import re
from typing import Any

from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.source import Source, Span
from ev3lang.syntax import errors
from ev3lang.syntax.build import build
from ev3lang.syntax.comments import find_comments
from ev3lang.syntax.recovery import Grammar, Reader
from ev3lang.syntax.tables import tables
from ev3lang.syntax.tree import Declaration, Expression, Number, SyntaxTree
from ev3lang.syntax.words import Tree

LONGEST_FILE = 1_000_000
"""Characters of a spec; at this length it is none, and takes long."""

_BEFORE_FIRST_WORD = re.compile(r"(?:\s++|;|#[^\r\n]*+)*+")
_LIKE_AN_EDITION = re.compile(r"^\W*ev|\d\W*$")


def parse(source: Source) -> tuple[SyntaxTree, tuple[Diagnostic, ...]]:
    """The tree of all that could be read, and the mistakes in the order of the text.

    Raises nothing, whatever the text.
    """
    syntax_tree, _, diagnostics = _parse(source)
    return syntax_tree, diagnostics


def parse_tree(source: Source) -> Tree | None:
    """Every word of the text under the rules of the grammar, None where there are mistakes.

    Raises nothing, whatever the text.
    """
    _, words, diagnostics = _parse(source)
    return None if diagnostics else words


def _parse(source: Source) -> tuple[SyntaxTree, Tree, tuple[Diagnostic, ...]]:
    if len(source.text) > LONGEST_FILE:
        return _unread(source)
    begin = 1 if source.text.startswith("\ufeff") else 0
    grammar = _grammar("file")
    reader = Reader(grammar, source, begin)
    words = reader.read()
    nodes, in_words = build(words, source)
    edition, in_editions = _edition(source, begin, nodes, reader.diagnostics)
    declarations = tuple(node for node in nodes if isinstance(node, Declaration))
    whole = Span(source, 0, len(source.text))
    found = [*reader.diagnostics, *_beside(in_words, reader.diagnostics), *in_editions]
    found.sort(key=_place)
    syntax_tree = SyntaxTree(edition, declarations, find_comments(source), span=whole)
    return syntax_tree, words, tuple(found)


def _unread(source: Source) -> tuple[SyntaxTree, Tree, tuple[Diagnostic, ...]]:
    """A tree without anything of a text that is too long to be a spec."""
    diagnostic = errors.file_too_long(Span(source, 0, 1), LONGEST_FILE)
    whole = Span(source, 0, len(source.text))
    return SyntaxTree(None, (), (), span=whole), Tree("file", []), (diagnostic,)


def parse_expression(source: Source) -> tuple[Expression | None, tuple[Diagnostic, ...]]:
    """One expression by itself, such as the value of `--set`; None where it isn't one.

    Raises nothing, whatever the text.
    """
    reader = Reader(_grammar("lone_expression"), source, most_errors=1)
    parse_tree = reader.read()
    if reader.diagnostics:
        return None, tuple(reader.diagnostics)
    expression, in_words = build(parse_tree, source)
    return (None if in_words else expression), in_words


def _edition(
    source: Source, begin: int, nodes: tuple[Any, ...], syntax: list[Diagnostic]
) -> tuple[Number | None, list[Diagnostic]]:
    """The file's edition, which must be its first statement, and only that."""
    editions = [node for node in nodes if isinstance(node, Number)]
    found = [errors.misplaced_edition(node.span) for node in editions if node is not nodes[0]]
    if nodes and nodes[0] in editions:
        edition: Number = nodes[0]
        if edition.value != errors.EDITION:
            found.append(errors.unknown_edition(edition.span))
        return edition, found
    first_line = source.position(_first_word(source, begin)).line
    is_faulty = any(d.span is not None and d.span.first.line == first_line for d in syntax)
    is_faulty = is_faulty and bool(_LIKE_AN_EDITION.search(source.line(first_line)))
    if not editions and not is_faulty:
        found.append(errors.missing_edition(source, begin))
    return None, found


def _place(diagnostic: Diagnostic) -> tuple[int, int]:
    assert diagnostic.span is not None
    return diagnostic.span.start, diagnostic.span.end


def _first_word(source: Source, begin: int) -> int:
    """Offset of the first character that is neither blank nor in a comment."""
    match = _BEFORE_FIRST_WORD.match(source.text, begin)
    assert match is not None, "the pattern matches the empty text too"
    return match.end()


def _beside(diagnostics: tuple[Diagnostic, ...], syntax: list[Diagnostic]) -> list[Diagnostic]:
    """Those whose line has no other mistake: for a missing name the next word is taken."""
    lines = {diagnostic.span.first.line for diagnostic in syntax if diagnostic.span is not None}
    return [d for d in diagnostics if d.span is not None and d.span.first.line not in lines]


# ---------------------------------------------------------------- the grammar


@functools.cache
def _grammar(start: str) -> Grammar:
    return Grammar(tables(), start)
