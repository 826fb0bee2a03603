"""The grammar's tables: which step follows which word, and what a rule makes of its parts."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs

from ev3lang import regular
from ev3lang.syntax.words import Tree

STARTS = ("file", "lone_expression")


@attrs.frozen(eq=False)
class Rule:
    """One way to write something.

    name     of the tree that it makes
    origin   what it stands for in other rules
    size     how many parts it takes off the parser's stack
    shape    a letter for each child: a part that is `KEPT`, the children of a part that is
             `OPENED`, or None for one that is `MISSING`
    is_open  whether an only child stands for the whole
    """

    KEPT: ClassVar = "k"
    OPENED: ClassVar = "o"
    MISSING: ClassVar = "m"

    name: str
    origin: str
    size: int
    shape: str
    is_open: bool

    def build(self, parts: list[Any]) -> Any:
        """The tree of these parts; it may go on with the list of the first one that is opened."""
        children: list[Any] = []
        rest = iter(parts)
        for letter in self.shape:
            if letter == self.KEPT:
                children.append(next(rest))
            elif letter == self.MISSING:
                children.append(None)
            elif children:
                children += next(rest).children
            else:
                # A list of a thousand items grows by one at a time.
                children = next(rest).children
        return children[0] if self.is_open and len(children) == 1 else Tree(self.name, children)


@attrs.frozen(eq=False)
class Tables:
    """What a parser of the grammar must know.

    steps    for each state, by kind of token or origin of a rule: the state to go to, or ~n to
             reduce by rule n
    starts   by what is to be read: the first state, and the last
    words    the text of each kind of token that has only one
    lexemes  a pattern for all tokens, a group each; a word of the grammar is read as a NAME
    ignored  the kinds of tokens that mean nothing
    """

    steps: tuple[Mapping[str, int], ...]
    rules: tuple[Rule, ...]
    starts: Mapping[str, tuple[int, int]]
    words: Mapping[str, str]
    lexemes: str
    ignored: frozenset[str]


@functools.cache
def tables() -> Tables:
    """The tables, from the user's cache if they are there: building them takes half a second."""
    text = grammar_text()
    path = _cached_path(text)
    kept = read_tables(path)
    if kept is not None:
        return kept
    from ev3lang.syntax.grammar import build_tables

    built = build_tables(text)
    write_tables(built, path)
    return built


def grammar_text() -> str:
    """The grammar: in the package where it is installed, at the top of the tree in a checkout."""
    package = Path(__file__).parents[1]
    # Not by importlib.resources: it takes as long to import as a page takes to parse.
    shipped = package / "grammars" / "ev3.lark"
    path = shipped if shipped.is_file() else package.parent / "grammars" / "ev3.lark"
    return path.read_text(encoding="utf-8")


def _cached_path(text: str) -> Path:
    import platformdirs

    makers = (Path(__file__), Path(__file__).with_name("grammar.py"))
    made_from = text.encode() + b"".join(maker.read_bytes() for maker in makers)
    return platformdirs.user_cache_path("ev3lang") / f"grammar-{zlib.crc32(made_from):08x}.tables"


def read_tables(path: Path) -> Tables | None:
    """The tables in a file, None where it can't be read or isn't as it was written."""
    try:
        content = regular.read_bytes(path)
    except OSError:
        return None
    check, _, data = content.partition(b"\n")
    if check != _check(data):
        return None
    try:
        fields = json.loads(data)
    except ValueError:
        return None
    return Tables(
        steps=tuple(fields["steps"]),
        rules=tuple(Rule(*rule) for rule in fields["rules"]),
        starts={name: (first, last) for name, (first, last) in fields["starts"].items()},
        words=fields["words"],
        lexemes=fields["lexemes"],
        ignored=frozenset(fields["ignored"]),
    )


def write_tables(tables: Tables, path: Path) -> None:
    """Keep the tables for the next time, if the folder takes them."""
    import tempfile

    fields = attrs.asdict(tables, recurse=False)
    fields["rules"] = [attrs.astuple(rule) for rule in tables.rules]
    fields["ignored"] = sorted(tables.ignored)
    data = json.dumps(fields, separators=(",", ":")).encode()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_check(data) + b"\n" + data)
            # Others read the whole file or none: they may start at the same time.
            os.replace(name, path)
        except OSError:
            os.unlink(name)


def _check(data: bytes) -> bytes:
    return b"%08x" % zlib.crc32(data)
