"""A text to be read and the places in it: all that a diagnostic needs to point."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from pathlib import Path

import attrs


@attrs.frozen(eq=False)
class Source:
    """One spec's text, with the name it is shown under (`-` for standard input)."""

    name: str
    text: str

    @property
    def folder(self) -> Path:
        """Where the file is: what the paths in a spec are relative to."""
        return Path(self.name).parent

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        """Offset of the first character of every line."""
        starts, at = [0], self.text.find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.text.find("\n", at + 1)
        return tuple(starts)

    def position(self, offset: int) -> Position:
        """The line and column of an offset in characters, both from 1."""
        line = bisect_right(self.line_starts, offset)
        return Position(line, offset - self.line_starts[line - 1] + 1)

    def line(self, number: int) -> str:
        """The text of a line, counted from 1, without its line break."""
        start = self.line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : len(self.text) if end < 0 else end].rstrip("\r")


@attrs.frozen(order=True)
class Position:
    """A place for people and editors: line and column from 1, counted in characters."""

    line: int
    column: int


@attrs.frozen(repr=False)
class Span:
    """Characters `start` to `end` (exclusive) of a source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def first(self) -> Position:
        return self.source.position(self.start)

    @property
    def last(self) -> Position:
        """The position just behind the last character."""
        return self.source.position(self.end)

    def to(self, other: Span) -> Span:
        """From where this one starts to where the other ends."""
        return Span(self.source, self.start, other.end)

    def __repr__(self) -> str:
        return f"{self.source.name}:{self.first.line}:{self.first.column}"
