"""Which line breaks end a statement, and how far one statement may reach."""

from __future__ import annotations

from collections.abc import Iterator

from lark import Token
from lark.lark import PostLex

BRACKETS = {"LPAR": "RPAR", "LSQB": "RSQB"}
BRACES = {"LBRACE": "RBRACE"}

OPERATORS = frozenset(
    ("PLUS", "MINUS", "STAR", "SLASH", "CIRCUMFLEX", "MOD", "COMPARISON", "IN", "AND", "OR", "NOT")
)
_GOES_ON = OPERATORS | {"COMMA", "VBAR", "EQUAL", "WITH"}
_NOTHING_TO_END = frozenset(("END", "LBRACE"))

MARKS = (
    "LPAR",
    "RPAR",
    "LSQB",
    "RSQB",
    "LBRACE",
    "RBRACE",
    "COMMA",
    "COLON",
    "VBAR",
    "EQUAL",
    "PLUS",
    "MINUS",
    "STAR",
    "SLASH",
    "CIRCUMFLEX",
    "COMPARISON",
    "ARROW",
    "END",
)


def is_idle(end: Token, before: str | None, in_brackets: bool) -> bool:
    """Whether this END ends nothing: it stands where a statement can't end, or none has begun.

    before       type of the token it follows, None at the start of the text
    in_brackets  whether a `(` or `[` is open there
    """
    if before is None or before in _NOTHING_TO_END:
        return True
    return not end.startswith(";") and (in_brackets or before in _GOES_ON)


class Layout(PostLex):
    """Drops the line breaks that end nothing.

    All but the words of the grammar is read alike everywhere, so that a name which begins with a
    word (`within`) is never cut in two, and a misplaced mark is an error of the parser's.
    """

    always_accept = (
        *MARKS,
        "NAME",
        "DOTTED",
        "NUMBER",
        "PORTION",
        "STRING",
        "UNCLOSED",
        "ALIEN",
    )

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        before, open_brackets = None, 0
        for token in stream:
            if token.type == "END" and is_idle(token, before, open_brackets > 0):
                continue
            if token.type in BRACKETS:
                open_brackets += 1
            elif token.type in BRACKETS.values():
                open_brackets -= 1
            before = token.type
            yield token
