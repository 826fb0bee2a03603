"""A Pygments lexer of the language: `pygmentize -l ev3`, Sphinx, MkDocs and the like use it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import ClassVar

from pygments.lexer import Lexer
from pygments.token import (
    Comment,
    Error,
    Keyword,
    Literal,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Text,
    _TokenType,
)

from ev3lang.catalog.index import (
    AUGMENTATIONS,
    FUNCTIONS,
    GROWTH,
    LAYERS,
    OPERATORS,
    OPTIMIZERS,
    PERTURBATIONS,
    RULES,
    SOURCES,
    STRATEGIES,
)
from ev3lang.catalog.signature import KINDS
from ev3lang.catalog.units import UNITS
from ev3lang.source import Source
from ev3lang.syntax.parse import parse_tree
from ev3lang.syntax.tables import tables

_PATTERN = re.compile(
    r"""
      (?P<comment>\#[^\r\n]*)
    | (?P<string>"(?:[^"\\\r\n]|\\[^\r\n])*")
    | (?P<number>\d+(?:_\d+)*(?:\.\d+)?(?:[eE][+-]?\d+)?(?:%|x(?!\w))?)
    | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)
    | (?P<operator>==|!=|<=|>=|->|[<>=+\-*/^|])
    | (?P<mark>[()\[\]{},:;])
    | (?P<space>\s+)
    | (?P<alien>.)
    """,
    re.VERBOSE | re.ASCII,
)
_PLAIN: dict[str, _TokenType] = {
    "comment": Comment.Single,
    "string": String.Double,
    "number": Number,
    "operator": Operator,
    "mark": Punctuation,
    "space": Text.Whitespace,
    "alien": Error,
}


@functools.cache
def _words() -> frozenset[str]:
    """The words of the grammar."""
    return frozenset(word for word in tables().words.values() if word.isidentifier())


@functools.cache
def _builtins() -> frozenset[str]:
    families = (
        FUNCTIONS,
        LAYERS,
        OPTIMIZERS,
        SOURCES,
        AUGMENTATIONS,
        STRATEGIES,
        PERTURBATIONS,
        GROWTH,
        RULES,
    )
    return frozenset(name for family in families for name in family)


class Ev3Lexer(Lexer):
    """Words of the grammar, types, units and built-ins of the ev3 language."""

    name = "ev3"
    url = ""
    aliases: ClassVar[list[str]] = ["ev3"]
    filenames: ClassVar[list[str]] = ["*.ev3"]

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, _TokenType, str]]:
        """Each piece of the text with its place and kind; together they are the text."""
        names = _names(text)
        before = ""
        for match in _PATTERN.finditer(text):
            kind, piece = match.lastgroup or "alien", match[0]
            found = _PLAIN.get(kind)
            if found is None:
                after = text[match.end() :].lstrip(" \t")[:1]
                is_word = piece in _words() and match.start() not in names
                found = _kind_of_name(piece, after, before, is_word=is_word)
            yield match.start(), found, piece
            if kind not in ("space", "comment"):
                before = kind

    @staticmethod
    def analyse_text(text: str) -> float:
        """How sure one can be that a text is in the language."""
        return 1.0 if re.match(r"(\s|#[^\n]*\n)*ev3 1\b", text) else 0.0


def _names(text: str) -> frozenset[int]:
    """Where words of the grammar stand as names; nowhere in a text that isn't whole."""
    parsed = parse_tree(Source("", text))
    tokens = () if parsed is None else parsed.tokens()
    return frozenset(token.start for token, _ in tokens if token.type == "NAME")


def _kind_of_name(name: str, after: str, before: str, *, is_word: bool) -> _TokenType:
    """A name's kind, by what stands around it: a word before `:` or `(` is a plain name."""
    if before == "number" and name in UNITS:
        return Literal
    if after == ":":
        return Name.Variable if is_word else Name.Attribute
    if name in _builtins() and (after == "(" or not is_word):
        return Name.Builtin
    if name in KINDS:
        return Keyword.Type
    if name in OPERATORS:
        return Operator.Word
    if is_word:
        return Keyword
    return Name.Constant if name in ("true", "false") else Name
