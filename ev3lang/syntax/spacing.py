"""Where a space stands between two words of a line: the one way in which ev3 is written."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

# Kinds that the grammar has no terminal for: it tells them by where they stand.
SIGN = "SIGN"
FACTOR = "FACTOR"
BLOCK = "BLOCK"

_OPENERS = frozenset(("LPAR", "LSQB"))
_CLINGS_TO_NEXT = _OPENERS | {SIGN}
_CLINGS_TO_LAST = frozenset(("RPAR", "RSQB", "COMMA", "COLON", FACTOR))
_TAKES_BRACKETS = frozenset(("NAME", "DOTTED", "DECAY", "ALL", "CHECKPOINT"))


@attrs.frozen
class Word:
    """A name, numeral, string or mark.

    kind  the grammar's terminal, or SIGN for the minus of `-x`, FACTOR for the x of `2 x` (which
          is written `2x`), BLOCK for a whole `{ … }` on one line
    """

    kind: str
    text: str


def is_apart(left: Word, right: Word) -> bool:
    """Whether a space stands between two words of one line."""
    if left.kind in _CLINGS_TO_NEXT or right.kind in _CLINGS_TO_LAST:
        return False
    return not (right.kind in _OPENERS and left.kind in _TAKES_BRACKETS)


def join(words: Iterable[Word]) -> str:
    """The words on one line."""
    text, before = [], None
    for word in words:
        if before is not None and is_apart(before, word):
            text.append(" ")
        text.append(word.text)
        before = word
    return "".join(text)
