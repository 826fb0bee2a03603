"""Diagnostics as text: for people, for logs, or in a format that a machine asked for."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import attrs

from ev3lang.diagnostics.diagnostic import FORMATS, Diagnostic, Edit, Fix
from ev3lang.printable import printable, printable_lines
from ev3lang.source import Position, Source, Span

# A line of output as (text, style) pieces, so that colour never changes what is laid out where.
Pieces: TypeAlias = list[tuple[str, str]]

PLAIN = ""
GUTTER = "blue"
STYLES = {"error": "bold red", "warning": "bold yellow"}
LABEL = "bold cyan"
HELP = "bold green"
REMOVED = "red"
ADDED = "green"

TAB_STOP = 4
WHOLE_SPAN_LINES = 4
LEAST_CODE_CELLS = 24

JOINER, EMOJI_STYLE = "\u200d", "\ufe0f"


def render(
    diagnostics: tuple[Diagnostic, ...],
    output_format: str,
    *,
    color: bool,
    width: int,
    files: Sequence[str] = (),
) -> str:
    """All of them, by file and position, each line ended.

    output_format  one of `FORMATS`; those for people and logs are empty where all is well, a
                   document for machines is whole even then
    color          whether `text` and `concise` carry ANSI colours
    width          cells a line of `text` may take; a longer line of code is cut around its span
    files          all that were checked: some documents name those without a fault too
    Raises ValueError for an unknown format.
    """
    in_order = sorted(diagnostics, key=_place)
    if output_format == "text":
        return _text(in_order, color, width)
    if output_format == "concise":
        return _concise(in_order, color)
    if output_format not in FORMATS:
        raise ValueError(f"output format {output_format!r}, expected one of {', '.join(FORMATS)}")
    # Only here: a check at a terminal doesn't wait for what machines read.
    from ev3lang.diagnostics.reports import REPORTS

    return REPORTS[output_format](in_order, files)


def _place(diagnostic: Diagnostic) -> tuple[str, int, int, str, str]:
    span = diagnostic.span
    if span is None:
        return ("", -1, -1, diagnostic.code, diagnostic.message)
    return (span.source.name, span.start, span.end, diagnostic.code, diagnostic.message)


# ---------------------------------------------------------------- logs


def _concise(diagnostics: Sequence[Diagnostic], color: bool) -> str:
    lines: list[Pieces] = []
    for diagnostic in diagnostics:
        place = f"{_address(diagnostic.span)}: " if diagnostic.span else ""
        lines.append([(place, PLAIN), *_headline(diagnostic, " ")])
    return _joined(lines, color)


def _headline(diagnostic: Diagnostic, separator: str) -> Pieces:
    return [
        (f"{diagnostic.severity}[{diagnostic.code}]", STYLES[diagnostic.severity]),
        (separator + printable(diagnostic.message), PLAIN),
    ]


def _address(span: Span) -> str:
    first = span.first
    return f"{printable(span.source.name)}:{first.line}:{first.column}"


# ---------------------------------------------------------------- people


def _text(diagnostics: Sequence[Diagnostic], color: bool, width: int) -> str:
    return "\n".join(_joined(_message(diagnostic, width), color) for diagnostic in diagnostics)


def _message(diagnostic: Diagnostic, width: int) -> list[Pieces]:
    hunks = [(fix, list(_hunks(fix))) for fix in diagnostic.fixes]
    excerpts = _excerpts(diagnostic)
    numbers = [mark.line for _, marks in excerpts for mark in marks]
    numbers += [row.line for _, rows in hunks for row in rows]
    page = _Page(gutter=len(str(max(numbers, default=1))), width=width)

    lines = [_headline(diagnostic, ": ")]
    for index, (span, marks) in enumerate(excerpts):
        lines.append([(" " * page.gutter + ("--> " if index == 0 else "::: "), GUTTER)])
        lines[-1].append((_address(span), PLAIN))
        lines.append(page.bar())
        lines.extend(page.code(span.source, marks))
    if diagnostic.help:
        lines.extend(page.note("help", diagnostic.help))
    for fix, rows in hunks:
        lines.extend(page.note("fix" if fix.safety == "safe" else "possible fix", fix.title))
        lines.extend(page.edit(row) for row in rows)
    return lines


@attrs.frozen
class _Mark:
    """What is underlined on one line: characters `start` to `end`, from 0."""

    line: int
    start: int
    end: int
    sign: str
    style: str
    text: str


@attrs.frozen
class _Row:
    """One line of a fix: `-` as it is, `+` as it would be; `focus` is what differs."""

    line: int
    sign: str
    text: str
    focus: tuple[int, int]


@attrs.frozen
class _View:
    """A line of code as it is shown, and the cell at which each shown character starts.

    first    the first character shown, counted in the whole line
    columns  one more than there are characters: the last is where the text ends
    """

    text: str
    first: int
    columns: tuple[int, ...]

    def cell(self, index: int) -> int:
        """The cell of a character of the line, or the nearest end where it was cut away."""
        return self.columns[min(max(index - self.first, 0), len(self.columns) - 1)]

    def width(self, index: int) -> int:
        return self.cell(index + 1) - self.cell(index)

    def holds(self, start: int, end: int) -> bool:
        """Whether all these characters are shown."""
        return self.first <= start and end <= self.first + len(self.columns) - 1

    def cells(self, start: int, end: int) -> tuple[int, int]:
        """The cells of a stretch: at least one, and whole where marks combine with a letter."""
        while self.first < start and self.holds(start, start + 1) and not self.width(start):
            start -= 1
        low = self.cell(start)
        return low, max(self.cell(end), low + 1)


@attrs.frozen
class _Page:
    """Where line numbers end and how wide a line may be, for one diagnostic."""

    gutter: int
    width: int

    @property
    def code_cells(self) -> int:
        return max(self.width - self.gutter - 3, LEAST_CODE_CELLS)

    def bar(self, sign: str = "|") -> Pieces:
        return [(" " * (self.gutter + 1) + sign, GUTTER)]

    def note(self, word: str, text: str) -> list[Pieces]:
        """`= help: …`, wrapped under its first word."""
        indent = self.gutter + 3 + len(word) + 2
        wrapped = textwrap.wrap(
            printable(" ".join(text.split())),
            max(self.width - indent, LEAST_CODE_CELLS),
            break_long_words=False,
            break_on_hyphens=False,
        )
        first: Pieces = [*self.bar("= "), (f"{word}: ", HELP), ("".join(wrapped[:1]), PLAIN)]
        return [first, *([(" " * indent + line, PLAIN)] for line in wrapped[1:])]

    def edit(self, row: _Row) -> Pieces:
        style = REMOVED if row.sign == "-" else ADDED
        number = f"{row.line:>{self.gutter}} {row.sign}"
        view = _view(row.text, row.focus, self.code_cells)
        return [(f"{number} {view.text}" if view.text else number, style)]

    def code(self, source: Source, marks: Sequence[_Mark]) -> Iterator[Pieces]:
        """The marked lines in order, each followed by its marks; what lies between is left out."""
        before = None
        for number, group in itertools.groupby(sorted(marks, key=_mark_order), _mark_line):
            if before is not None and number == before + 2:
                yield from self.line(source, before + 1, [])
            elif before is not None and number > before + 1:
                yield [(" " * (self.gutter - 1) + "...", GUTTER)]
            yield from self.line(source, number, list(group))
            before = number

    def line(self, source: Source, number: int, marks: list[_Mark]) -> Iterator[Pieces]:
        text = source.line(number)
        for together in _in_one_view(text, marks, self.code_cells):
            view = _view(text, _extent(together), self.code_cells)
            code = f" {view.text}" if view.text else ""
            yield [(f"{number:>{self.gutter}} |", GUTTER), (code, PLAIN)]
            for row in _mark_rows(view, together, self.code_cells):
                yield [*self.bar(), (" ", PLAIN), *row]


def _excerpts(diagnostic: Diagnostic) -> list[tuple[Span, list[_Mark]]]:
    """For each source that is spoken of: the span to name it by, and all that is marked in it."""
    primary = diagnostic.span
    style = STYLES[diagnostic.severity]
    # A label on the primary place itself is the words of the primary mark.
    own = [label.text for label in diagnostic.labels if label.span == primary]
    places = [] if primary is None else [(primary, "^", style, ", ".join(own))]
    places += [
        (label.span, "-", LABEL, label.text) for label in diagnostic.labels if label.span != primary
    ]
    excerpts: dict[Source, tuple[Span, list[_Mark]]] = {}
    for span, sign, mark_style, text in places:
        _, marks = excerpts.setdefault(span.source, (span, []))
        marks.extend(_marks(span, sign, mark_style, printable(text)))
    return list(excerpts.values())


def _marks(span: Span, sign: str, style: str, text: str) -> list[_Mark]:
    """A mark on every line of a short span, on the first and the last line of a long one."""
    first, last = span.first, span.last
    if last.column == 1 and last.line > first.line:
        # It ends with a line break: nothing of the line behind it is meant.
        last = Position(last.line - 1, len(span.source.line(last.line - 1)) + 1)
    numbers = range(first.line, last.line + 1)
    if len(numbers) > WHOLE_SPAN_LINES:
        numbers = range(first.line, last.line + 1, last.line - first.line)
    marks = []
    for number in numbers:
        line = span.source.line(number)
        start = first.column - 1 if number == first.line else len(line) - len(line.lstrip())
        end_column = last.column - 1 if number == last.line else len(line.rstrip())
        is_end = number == last.line
        if line.strip() or number in (first.line, last.line):
            start = min(start, len(line))
            end = max(start, end_column)
            marks.append(_Mark(number, start, end, sign, style, text if is_end else ""))
    return marks


def _mark_line(mark: _Mark) -> int:
    return mark.line


def _mark_order(mark: _Mark) -> tuple[int, int, int, str, str]:
    return (mark.line, mark.start, mark.end, mark.sign, mark.text)


def _extent(marks: Sequence[_Mark]) -> tuple[int, int]:
    """All that the marks of a line take in together."""
    start = min((mark.start for mark in marks), default=0)
    return start, max((mark.end for mark in marks), default=0)


def _in_one_view(text: str, marks: list[_Mark], cells: int) -> Iterator[list[_Mark]]:
    """All marks of a line at once where they fit, else each by itself."""
    extent = _extent(marks)
    if len(marks) < 2 or _view(text, extent, cells).holds(*extent):
        yield marks
    else:
        yield from ([mark] for mark in marks)


def _mark_rows(view: _View, marks: Sequence[_Mark], cells: int) -> Iterator[Pieces]:
    """The underlines of a line; marks share a row until one of them has something to say."""
    row: Pieces = []
    filled = 0
    for mark in marks:
        low, high = view.cells(mark.start, mark.end)
        if row and low <= filled:
            yield row
            row, filled = [], 0
        row += [(" " * (low - filled), PLAIN), (mark.sign * (high - low), mark.style)]
        filled = high
        if mark.text:
            words = _cells(mark.text)
            if high + 1 + words <= cells:
                yield [*row, (f" {mark.text}", mark.style)]
            else:
                yield row
                yield [(" " * max(0, min(low, cells - words)), PLAIN), (mark.text, mark.style)]
            row, filled = [], 0
    if row:
        yield row


def _hunks(fix: Fix) -> Iterator[_Row]:
    """The lines a fix changes, as they are and as they would be."""
    by_source: dict[Source, list[Edit]] = {}
    for edit in sorted(fix.edits, key=lambda edit: (edit.span.start, edit.span.end)):
        by_source.setdefault(edit.span.source, []).append(edit)
    for source, edits in by_source.items():
        added = 0
        while edits:
            first, last = edits[0].span.first.line, edits[0].span.last.line
            count = 1
            while count < len(edits) and edits[count].span.first.line <= last:
                last = max(last, edits[count].span.last.line)
                count += 1
            old, new = _changed(source, first, last, edits[:count])
            yield from _rows(old, new, first, first + added)
            added += len(new) - len(old)
            edits = edits[count:]


def _changed(
    source: Source, first: int, last: int, edits: Sequence[Edit]
) -> tuple[list[str], list[str]]:
    """Lines `first` to `last` without and with the edits."""
    start = source.line_starts[first - 1]
    end = source.line_starts[last - 1] + len(source.line(last))
    pieces, reached = [], start
    for edit in edits:
        pieces += [source.text[reached : edit.span.start], edit.text]
        reached = edit.span.end
    pieces.append(source.text[reached:end])
    return _lines(source.text[start:end]), _lines("".join(pieces))


def _lines(text: str) -> list[str]:
    return [line.rstrip("\r") for line in text.split("\n")]


def _rows(old: list[str], new: list[str], old_line: int, new_line: int) -> Iterator[_Row]:
    same = _same_start(old, new)
    old, new = old[same:], new[same:]
    same_end = _same_start(old[::-1], new[::-1])
    old, new = old[: len(old) - same_end], new[: len(new) - same_end]
    for sign, texts, others, line in (
        ("-", old, new, old_line + same),
        ("+", new, old, new_line + same),
    ):
        for index, text in enumerate(texts):
            other = others[index] if index < len(others) else ""
            start = _same_start(text, other)
            end = len(text) - _same_start(text[start:][::-1], other[start:][::-1])
            yield _Row(line + index, sign, text, (start, end))


def _same_start(a: Sequence[str], b: Sequence[str]) -> int:
    """How many items both begin with."""
    # By halves: comparing slices is far faster than comparing items, and a line may be very long.
    same, most = 0, min(len(a), len(b))
    while same < most:
        middle = (same + most + 1) // 2
        if a[:middle] == b[:middle]:
            same = middle
        else:
            most = middle - 1
    return same


# ---------------------------------------------------------------- cells


def _view(text: str, focus: tuple[int, int], cells: int) -> _View:
    """The line with tabs as spaces, cut around `focus` where it takes more than `cells`."""
    start, end = min(focus[0], len(text)), min(focus[1], len(text))
    # A line of a megabyte is measured near its focus alone. Four characters a cell leave room for
    # marks that combine.
    left, right = max(0, start - 4 * cells), min(len(text), start + 4 * cells)
    parts = _parts(text[left:right])
    columns = _columns(parts)
    start, end = start - left, min(end, right) - left
    if left == 0 and right == len(text) and columns[-1] <= cells:
        return _View("".join(parts), 0, columns)

    low, room = start, cells - 2
    before = max(0, room - (columns[end] - columns[start])) // 2
    while low > 0 and columns[start] - columns[low - 1] <= before:
        low -= 1
    if left == 0 and (columns[end] < cells or columns[start] < cells // 4):
        # Its beginning is worth more than equal parts of both sides.
        low, room = 0, cells - 1
    high = low
    while high < len(parts) and columns[high + 1] - columns[low] <= room:
        high += 1
    while low > 0 and columns[high] - columns[low - 1] <= room:
        low -= 1
    head = "…" if left + low > 0 else ""
    tail = "…" if left + high < len(text) else ""
    shift = len(head) - columns[low]
    return _View(
        f"{head}{''.join(parts[low:high])}{tail}",
        left + low,
        tuple(column + shift for column in columns[low : high + 1]),
    )


def _parts(text: str) -> list[str]:
    """What is shown for each character: tabs as spaces, the unshowable as a replacement."""
    parts: list[str] = []
    column = 0
    for index, piece in enumerate(printable_lines(text).split("\t")):
        if index:
            parts.append(" " * (TAB_STOP - column % TAB_STOP))
            column += len(parts[-1])
        parts.extend(piece)
        column += _cells(piece)
    return parts


def _columns(parts: Sequence[str]) -> tuple[int, ...]:
    """The cell at which each part starts, and the one behind the last."""
    columns = [0]
    start, joined = 0, ""
    for part in parts:
        # A joiner and what follows it share the cells of what they are joined to.
        if not (part in (JOINER, EMOJI_STYLE) or joined.endswith(JOINER)):
            start, joined = columns[-1], ""
        joined += part
        columns.append(max(columns[-1], start + _cells(joined)))
    return tuple(columns)


def _cells(text: str) -> int:
    """The cells of a terminal that a text without control characters takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _joined(lines: Iterable[Pieces], color: bool) -> str:
    if not color:
        return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)
    from rich.color import ColorSystem
    from rich.style import Style

    return "".join(
        "".join(
            Style.parse(style).render(text, color_system=ColorSystem.STANDARD) if style else text
            for text, style in line
        )
        + "\n"
        for line in lines
    )
