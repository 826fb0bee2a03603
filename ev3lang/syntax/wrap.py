"""The lines of one statement: broken where its author broke it, and where it grows too wide.

A break stands behind an opening bracket (then the closing one begins a line too), behind `,`, an
operator or the `=` of a declaration, and before `with`, `|`, `or` and `then`. One that is written
on the other side of such a word moves over it; any other is taken away.
"""

from __future__ import annotations

from collections.abc import Sequence

from ev3lang.syntax.gaps import Gap
from ev3lang.syntax.spacing import BLOCK, Word, is_apart, join

WIDTH = 100  # of a block on one line, and of what is broken
WIDEST = 120  # a line somewhat wider is its author's choice and stays
INDENT = 2

_CLOSERS = {"LPAR": "RPAR", "LSQB": "RSQB"}

# How loosely what a break divides is held together: the loosest is broken first.
_BEFORE = {"WITH": 0, "VBAR": 2, "OR": 3, "THEN": 3}
_BEHIND = {
    "EQUAL": 0,
    "COMMA": 1,
    "AND": 4,
    **dict.fromkeys(("COMPARISON", "IN"), 5),
    **dict.fromkeys(("PLUS", "MINUS"), 6),
    **dict.fromkeys(("STAR", "SLASH", "MOD"), 7),
    "CIRCUMFLEX": 8,
}
_OPENER = 9
_LEVELS = 10
_ALWAYS = 3  # up to here a break is right even where the line above it stays too wide
_NO_PLACE = 1 << 30


def wrap(words: Sequence[Word], gaps: Sequence[Gap], indent: int) -> list[str] | None:
    """The statement's lines, or None where they end in a block that is too wide for its line.

    gaps    one before each word, of which the first is not looked at
    indent  of the first line, in columns
    """
    return _Wrapping(words, gaps).lines(indent)


class _Wrapping:
    """Words, and before which of them a line ends.

    openers  for each word the index of the innermost bracket around it, a closer's own included
    closers  the closer of each opener
    columns  where each word would start and end if nothing were broken
    places   for each word how tightly a break before it is held, nesting included
    breaks   whether a line begins with it; a last one for what follows
    """

    def __init__(self, words: Sequence[Word], gaps: Sequence[Gap]) -> None:
        self.words, self.gaps = words, gaps
        self.openers: list[int | None] = []
        self.closers: dict[int, int] = {}
        self.columns: list[tuple[int, int]] = []
        self.places: list[int] = []
        open_: list[int] = []
        end = 0
        for index, word in enumerate(words):
            before = words[index - 1] if index else None
            start = end + (before is not None and is_apart(before, word))
            end = start + len(word.text)
            self.columns.append((start, end))
            self.places.append(_place(before, word, len(open_)))
            self.openers.append(open_[-1] if open_ else None)
            if word.kind in _CLOSERS:
                open_.append(index)
            elif word.kind in _CLOSERS.values():
                self.closers[open_.pop()] = index
        self.breaks = self.written_breaks()

    # ------------------------------------------------------------ breaks

    def written_breaks(self) -> list[bool]:
        """The author's, each where it belongs."""
        breaks = [*[False] * len(self.words), True]
        for index in range(1, len(self.words)):
            if self.gaps[index].has_comment:
                breaks[index] = True
            elif self.gaps[index].is_broken:
                belongs = self.nearest_place(index)
                if belongs is not None:
                    breaks[belongs] = True
        for opener, closer in self.closers.items():
            if not self.gaps[closer].has_comment:
                breaks[closer] = breaks[opener + 1]
        return breaks

    def nearest_place(self, index: int) -> int | None:
        """Where a break written before this word belongs, None where it is to be taken away."""
        if self.places[index] < _NO_PLACE:
            return index
        if self.words[index].kind in _BEHIND and self.places[index + 1] < _NO_PLACE:
            return index + 1
        return index - 1 if self.words[index - 1].kind in _BEFORE else None

    def best_place(self, first: int, stop: int, room: int) -> int | None:
        """Where to break words that are wider than the room; None where nothing may be broken.

        The loosest place is taken, of equals the last with a line above it that fits.
        """
        places = self.places[first + 1 : stop]
        levels = sorted(set(places) - {_NO_PLACE})
        fitting = self.fitting(first, stop, room)
        for level in levels:
            for index in reversed(fitting):
                if self.places[index] == level:
                    return index
            if level % _LEVELS <= _ALWAYS:
                return first + 1 + places.index(level)
        return first + 1 + places.index(levels[0]) if levels else None

    def fitting(self, first: int, stop: int, room: int) -> range:
        """The words before which a break leaves a line that fits above."""
        index = first + 1
        while index < stop and self.width(first, index) <= room:
            index += 1
        return range(first + 1, index)

    def width(self, first: int, stop: int) -> int:
        return self.columns[stop - 1][1] - self.columns[first][0]

    # ------------------------------------------------------------ lines

    def lines(self, indent: int) -> list[str] | None:
        lines: list[str] = []
        indents: dict[int, int] = {}  # of the line that each opener stands in
        count = len(self.words)
        first = 0
        while first < count:
            own = self.indent_of(first, indent, indents)
            stop = self.breaks.index(True, first + 1)
            if self.words[stop - 1].kind == BLOCK and self.width(first, stop) > WIDTH - own:
                return None
            while self.width(first, stop) > WIDEST - own:
                place = self.best_place(first, stop, WIDTH - own)
                if place is None:
                    break
                self.breaks[place] = True
                if place - 1 in self.closers:
                    self.breaks[self.closers[place - 1]] = True
                stop = place
            if first > 0:
                for comment in self.gaps[first].comments:
                    # One above a closing bracket belongs to what the brackets hold.
                    deeper = INDENT if self.words[first].kind in _CLOSERS.values() else 0
                    lines.append(" " * (own + deeper) + comment.text)
            line = " " * own + join(self.words[first:stop])
            lines.append(with_trailing(line, self.gaps[stop]) if stop < count else line)
            indents.update((i, own) for i in range(first, stop) if i in self.closers)
            first = stop
        return lines

    def indent_of(self, first: int, indent: int, indents: dict[int, int]) -> int:
        """Of a line that begins with this word."""
        opener = self.openers[first]
        if first == 0:
            return indent
        if opener is None:
            return indent + INDENT
        is_closer = self.closers[opener] == first
        return indents[opener] + (0 if is_closer else INDENT)


def _place(before: Word | None, word: Word, depth: int) -> int:
    """How tightly a break between two words in so many brackets is held."""
    if before is None or word.kind in _CLOSERS.values():
        return _NO_PLACE
    if before.kind in _CLOSERS:
        return (depth - 1) * _LEVELS + _OPENER
    if before.kind in _BEHIND and not (before.kind == "EQUAL" and depth > 0):
        return depth * _LEVELS + _BEHIND[before.kind]
    if word.kind in _BEFORE:
        return depth * _LEVELS + _BEFORE[word.kind]
    return _NO_PLACE


def with_trailing(line: str, gap: Gap) -> str:
    """The line and the comment behind it, two columns apart."""
    return line if gap.trailing is None else f"{line}  {gap.trailing}"
