"""Which line breaks end a statement, and how far one statement may reach."""

from __future__ import annotations

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


JOINING = frozenset(("or", "then", "with"))
"""A line that begins with one of them goes on with the statement above."""

RESERVED = JOINING | {"not"}
"""The words that nothing can be named by: a line or an expression may begin with them. All others
are words only where the grammar can go on with them."""


def is_idle(end: str, before: str | None, in_brackets: bool) -> bool:
    """Whether this END ends nothing: it stands where a statement can't end, or none has begun.

    before       type of the token it follows, None at the start of the text
    in_brackets  whether a `(` or `[` is open there
    """
    if before is None or before in _NOTHING_TO_END:
        return True
    return not end.startswith(";") and (in_brackets or before in _GOES_ON)
