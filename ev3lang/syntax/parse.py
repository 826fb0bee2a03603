"""A text's syntax tree, and what keeps the text from being a spec."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import pickle
import re
import sys
from pathlib import Path
from typing import Any

import lark

from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.source import Source, Span
from ev3lang.syntax import errors
from ev3lang.syntax.build import build
from ev3lang.syntax.comments import find_comments
from ev3lang.syntax.layout import Layout
from ev3lang.syntax.recovery import Grammar, Reader
from ev3lang.syntax.tree import Declaration, Expression, Number, SyntaxTree

_STARTS = ("file", "lone_expression")
_BEFORE_FIRST_WORD = re.compile(r"(?:\s++|;|#[^\r\n]*+)*+")
_LIKE_AN_EDITION = re.compile(r"^\W*ev|\d\W*$")


def parse(source: Source) -> tuple[SyntaxTree, tuple[Diagnostic, ...]]:
    """The tree of all that could be read, and the mistakes in the order of the text.

    Raises nothing, whatever the text.
    """
    syntax_tree, _, diagnostics = _parse(source)
    return syntax_tree, diagnostics


def parse_tree(source: Source) -> lark.Tree[lark.Token] | None:
    """Every word of the text under the rules of the grammar, None where there are mistakes.

    Raises nothing, whatever the text.
    """
    _, words, diagnostics = _parse(source)
    return None if diagnostics else words


def _parse(
    source: Source,
) -> tuple[SyntaxTree, lark.Tree[lark.Token], tuple[Diagnostic, ...]]:
    begin = 1 if source.text.startswith("\ufeff") else 0
    grammar = _grammar("file")
    reader = Reader(grammar, source, begin)
    words = reader.read()
    nodes, in_words = build(words, source, _reserved())
    edition, in_editions = _edition(source, begin, nodes, reader.diagnostics)
    declarations = tuple(node for node in nodes if isinstance(node, Declaration))
    whole = Span(source, 0, len(source.text))
    found = [*reader.diagnostics, *_beside(in_words, reader.diagnostics), *in_editions]
    found.sort(key=_place)
    syntax_tree = SyntaxTree(edition, declarations, find_comments(source), span=whole)
    return syntax_tree, words, tuple(found)


def parse_expression(source: Source) -> tuple[Expression | None, tuple[Diagnostic, ...]]:
    """One expression by itself, such as the value of `--set`; None where it isn't one.

    Raises nothing, whatever the text.
    """
    reader = Reader(_grammar("lone_expression"), source, most_errors=1)
    parse_tree = reader.read()
    if reader.diagnostics:
        return None, tuple(reader.diagnostics)
    expression, in_words = build(parse_tree, source, frozenset())
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


# ---------------------------------------------------------------- the grammar's tables


@functools.cache
def _grammar(start: str) -> Grammar:
    return Grammar(_tables(), start)


@functools.cache
def _reserved() -> frozenset[str]:
    """The words of the grammar, which nothing declared may be named by."""
    return frozenset(word for word in _grammar("file").words.values() if word.isidentifier())


@functools.cache
def _tables() -> lark.Lark:
    """The parser, from the user's cache if it is there: building it takes half a second."""
    text = grammar_text()
    path = _cached_tables_path(text)
    tables = _read_tables(path)
    if tables is None:
        tables = build_tables(text)
        _write_tables(tables, path)
    return tables


def grammar_text() -> str:
    """The grammar: in the package where it is installed, at the top of the tree in a checkout."""
    package = Path(__file__).parents[1]
    # Not by importlib.resources: it takes as long to import as a page takes to parse.
    shipped = package / "grammars" / "ev3.lark"
    path = shipped if shipped.is_file() else package.parent / "grammars" / "ev3.lark"
    return path.read_text(encoding="utf-8")


def build_tables(text: str, *, strict: bool = False) -> lark.Lark:
    """The parser of a grammar; a strict one refuses conflicts and lexemes that collide.

    Raises lark.exceptions.LarkError where the grammar is at fault.
    """
    return lark.Lark(
        text,
        parser="lalr",
        lexer="contextual",
        start=list(_STARTS),
        keep_all_tokens=True,
        maybe_placeholders=True,
        postlex=Layout(),
        strict=strict,
    )


def _cached_tables_path(text: str) -> Path:
    # Not needed unless something is parsed, and what imports this module often parses nothing.
    import platformdirs

    accepted = " ".join(Layout.always_accept)
    made_from = "\0".join((text, accepted, lark.__version__, sys.version))
    key = hashlib.sha256(made_from.encode()).hexdigest()[:16]
    return platformdirs.user_cache_path("ev3lang") / f"grammar-{key}.tables"


class _TablesUnpickler(pickle.Unpickler):
    """Reads what `Lark.save` writes, which is plain data but for two classes."""

    def find_class(self, module: str, name: str) -> Any:
        for known in (lark.Token, Layout):
            if (module, name) == (known.__module__, known.__qualname__):
                return known
        raise pickle.UnpicklingError(f"tables hold no {module}.{name}")


def _read_tables(path: Path) -> lark.Lark | None:
    """The tables in a file, None where it can't be read or isn't as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(data).digest() != digest:
        return None
    try:
        return lark.Lark.load(_TablesUnpickler(io.BytesIO(data)).load())
    except pickle.UnpicklingError:
        return None


def _write_tables(tables: lark.Lark, path: Path) -> None:
    """Keep the tables for the next time, if the folder takes them."""
    import tempfile

    buffer = io.BytesIO()
    tables.save(buffer)
    data = buffer.getvalue()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            # Others read the whole file or none: they may start at the same time.
            os.replace(name, path)
        except OSError:
            os.unlink(name)


_DIGEST_BYTES = hashlib.sha256().digest_size
