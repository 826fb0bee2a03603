"""A spec in the one layout: every word and comment as written, only what lies between changes.

- A statement a line, two columns deeper in each block. A block `{ a; b }` that is written on one
  line stays on it as long as it fits into 100 columns.
- One space around operators and behind `,` and `:`, none inside brackets or at a line's end.
- Blank lines stay, at most one in a row, none behind `{` or before `}`.
- A comment stays on its line or on a line of its own; one behind code stands two spaces off.
- A statement stays broken where its author broke it (`wrap.py` tells where that may be). A line
  wider than 120 columns is broken where it is held together most loosely, to fit into 100.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ev3lang.source import Source
from ev3lang.syntax.gaps import Gap, read_gaps
from ev3lang.syntax.layout import JOINING
from ev3lang.syntax.parse import parse_tree
from ev3lang.syntax.spacing import BLOCK, FACTOR, SIGN, Word, join
from ev3lang.syntax.words import Token, Tree
from ev3lang.syntax.wrap import INDENT, with_trailing, wrap

_NO_GAP = Gap()


def format_source(source: Source) -> str | None:
    """The text in normal layout, None where it has mistakes of syntax.

    Formatting the result again changes nothing, and its syntax tree and comments are those of the
    source. Raises nothing, whatever the text.
    """
    parsed = parse_tree(source)
    if parsed is None:
        return None
    text = _read(source, parsed)
    statements, _ = text.statements(0)
    lines = text.lines(statements, len(text.words), 0)
    return "".join(f"{line}\n" for line in lines)


@attrs.frozen
class _Statement:
    """Words `first` to `stop` (exclusive), and the block behind them."""

    first: int
    stop: int
    block: _Block | None = None


@attrs.frozen
class _Block:
    """What stands between the words `opener` and `closer`."""

    opener: int
    closer: int
    statements: tuple[_Statement, ...]


@attrs.frozen
class _Text:
    """Words, with a gap before each and one behind the last.

    starts  the words that a statement begins with, but for those behind a `{`
    """

    words: tuple[Word, ...]
    gaps: tuple[Gap, ...]
    starts: frozenset[int]

    # ------------------------------------------------------------ reading

    def statements(self, index: int) -> tuple[tuple[_Statement, ...], int]:
        """Those from a word on, up to the `}` of their block or the end, and where that is."""
        found = []
        while index < len(self.words) and self.words[index].kind != "RBRACE":
            first = index
            index += 1
            while not self.is_statement_end(index):
                index += 1
            stop, block = index, None
            if index < len(self.words) and self.words[index].kind == "LBRACE":
                inside, closer = self.statements(index + 1)
                block = _Block(index, closer, inside)
                index = closer + 1
            found.append(_Statement(first, stop, block))
        return tuple(found), index

    def is_statement_end(self, index: int) -> bool:
        if index == len(self.words) or index in self.starts:
            return True
        return self.words[index].kind in ("LBRACE", "RBRACE")

    # ------------------------------------------------------------ writing

    def lines(self, statements: tuple[_Statement, ...], end: int, indent: int) -> list[str]:
        """The statements of a block, each with its comments.

        end  the word behind the last of them
        """
        lines: list[str] = []
        for statement in statements:
            if lines and self.words[statement.first].text in JOINING:
                lines[-1] += ";"
            self.add_space_above(lines, statement.first, indent)
            if lines and self.gaps[statement.first].is_after_blank:
                lines.append("")
            lines += self.lines_of(statement, indent)
        self.add_space_above(lines, end, indent)
        return lines

    def add_space_above(self, lines: list[str], index: int, indent: int) -> None:
        """The comments above a word: one that trails the line before, and lines of their own."""
        gap = self.gaps[index]
        if lines:
            lines[-1] = with_trailing(lines[-1], gap)
        for comment in gap.comments:
            if lines and comment.is_after_blank:
                lines.append("")
            lines.append(" " * indent + comment.text)

    def lines_of(self, statement: _Statement, indent: int) -> list[str]:
        words = self.words[statement.first : statement.stop]
        gaps = self.gaps[statement.first : statement.stop]
        block = statement.block
        if block is None:
            return _wrapped(words, gaps, indent)
        one_line = self.one_line(block)
        if one_line is not None:
            lines = wrap((*words, one_line), (*gaps, _NO_GAP), indent)
            if lines is not None:
                return lines
        lines = _wrapped((*words, self.words[block.opener]), (*gaps, _NO_GAP), indent)
        lines[-1] = with_trailing(lines[-1], self.gaps[block.opener + 1])
        inside = self.lines(block.statements, block.closer, indent + INDENT)
        if not inside and lines[-1].endswith("{"):
            return [*lines[:-1], lines[-1] + "}"]
        return [*lines, *inside, " " * indent + "}"]

    def one_line(self, block: _Block) -> Word | None:
        """The block as it is written on one line, None where it isn't."""
        if any(gap.is_broken for gap in self.gaps[block.opener + 1 : block.closer + 1]):
            return None
        inside = "; ".join(join(self.one_line_words(each)) for each in block.statements)
        return Word(BLOCK, f"{{ {inside} }}" if inside else "{}")

    def one_line_words(self, statement: _Statement) -> Iterator[Word]:
        yield from self.words[statement.first : statement.stop]
        if statement.block is not None:
            block = self.one_line(statement.block)
            assert block is not None, "it stands inside of one that is written on one line"
            yield block


def _wrapped(words: tuple[Word, ...], gaps: tuple[Gap, ...], indent: int) -> list[str]:
    lines = wrap(words, gaps, indent)
    assert lines is not None, "no block stands among the words"
    return lines


def _read(source: Source, parsed: Tree) -> _Text:
    words: list[Word] = []
    between: list[str] = []
    starts = set()
    end = 1 if source.text.startswith("\ufeff") else 0
    for token, rule in parsed.tokens():
        if token.type == "END":
            starts.add(len(words))
            continue
        between.append(source.text[end : token.start])
        words.append(Word(_kind(token, rule), str(token)))
        end = token.end
    between.append(source.text[end:])
    return _Text(tuple(words), tuple(read_gaps(between)), frozenset(starts))


def _kind(token: Token, rule: str) -> str:
    if token.type == "MINUS" and rule in ("unary", "signed"):
        return SIGN
    if token == "x" and rule == "number":
        return FACTOR
    return token.type
