"""Odd and damaged tables for `ev3lang new`: each becomes a spec that a run takes, or one message.

`attempt(seed, folder)` makes the table of a seed, writes it in one of three formats, may damage the
file, and asks for a spec. It returns what came of it and raises AssertionError where that is wrong.
"""

from __future__ import annotations

import csv
import datetime
import random
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
import pyarrow as pa
from pyarrow import parquet

from ev3lang.analysis import analyze
from ev3lang.check.typed import SPLITS
from ev3lang.diagnostics.diagnostic import has_errors
from ev3lang.new.spec import new_spec
from ev3lang.new.table import NewSpecError
from ev3lang.plan.lower import lower
from ev3lang.runtime import data
from ev3lang.runtime.faults import DataError
from ev3lang.source import Source
from ev3lang.syntax.format import format_source
from ev3lang.syntax.tables import tables

Values: TypeAlias = "list[Any]"
Table: TypeAlias = "list[tuple[str, Values]]"
"""Titles, which may repeat, and a cell for each row; None where there is none."""


@attrs.frozen
class Outcome:
    """What came of an attempt.

    what     the table and what was done to its file, in words
    refusal  the message and its help; None where a spec was written
    """

    what: str
    refusal: str | None


def attempt(seed: int, folder: Path) -> Outcome:
    """Asks for a spec of a seed's table, written into an empty folder.

    Raises AssertionError where a spec is written that doesn't check, that `fmt` would change or
    whose data a run refuses, or where a refusal isn't one line that says why and one that says what
    to do. Whatever else it raises is a traceback that a user would see.
    """
    draw = random.Random(seed)
    path, what = make(draw, folder)
    return ask(path, f"seed {seed}: {what}", *wishes(draw))


def wishes(draw: random.Random) -> tuple[str | None, str | None]:
    """What is asked for beside the table: a target and a task, or None."""
    target = draw.choice([None] * 8 + ["label", "c0", "c1", "no such column", ""])
    task = draw.choice([None] * 6 + ["regression", "classification"])
    return target, task


def ask(path: Path, what: str, target: str | None, task: str | None) -> Outcome:
    """Asks for a spec of a file; raises as `attempt` does."""
    out = path.parent / "specs" / "first.ev3"
    out.parent.mkdir()
    what = f"{what}, target {target}, task {task}"
    try:
        with _heard():
            draft = new_spec(None, str(path), target, task=task, out=out)
    except (NewSpecError, DataError) as error:
        _is_clear(what, str(error), error.help)
        return Outcome(what, f"{error}\n  {error.help}")
    _is_good(what, draft.text, out)
    for note in draft.notes:
        assert note.isprintable(), f"{what}: {note!r}"
    return Outcome(what, None)


@contextmanager
def _heard() -> Iterator[None]:
    """Raises what a library would print of an error that it passes over."""
    passed_over: list[BaseException | None] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: passed_over.append(unraisable.exc_value)
    try:
        yield
    finally:
        sys.unraisablehook = before
        assert not passed_over, f"{passed_over[0]!r} is printed and passed over"


def _is_clear(what: str, *lines: str) -> None:
    for line in lines:
        assert line.strip(), f"{what}: nothing is said"
        assert line.isprintable(), f"{what}: {line!r}"
        assert len(line) < 2000, f"{what}: {line}"


def _is_good(where: str, text: str, out: Path) -> None:
    source = Source(str(out), text)
    assert format_source(source) == text, f"{where}: fmt would change it\n{text}"
    analysis = analyze(source)
    assert not has_errors(analysis.refusals), f"{where}: {analysis.refusals}\n{text}"
    assert analysis.program is not None
    found = data.read(lower(analysis.program).data, source.folder)
    assert all(found.tables[use] for use in SPLITS), where


# ---------------------------------------------------------------- tables


def make(draw: random.Random, folder: Path) -> tuple[Path, str]:
    """A file with a table that may be odd, and what it is in words."""
    table, what = _table(draw)
    for mutation in draw.sample(list(MUTATIONS), draw.choice([0, 0, 1, 1, 2])):
        MUTATIONS[mutation](draw, table)
        what += f", {mutation}"
    suffix = draw.choice(["csv", "csv", "parquet", "npz"])
    path = folder / f"table.{suffix}"
    WRITERS[suffix](draw, table, path)
    if draw.random() < 0.1:
        damage = draw.choice(list(DAMAGES))
        path.write_bytes(DAMAGES[damage](draw, path.read_bytes()))
        what += f", {damage}"
    return path, f"{suffix}: {what}"


def _table(draw: random.Random) -> tuple[Table, str]:
    rows = draw.choice([0, 1, 2, 9, 10, 40, 150, *[300] * 8])
    usual = ["real", "real", "whole", "signs", "words", "truths", "groups", "count"]
    kinds = [
        draw.choice([*usual, *usual, *COLUMNS]) for _ in range(draw.choice([1, 2, 3, 5, 8, 60]))
    ]
    table: dict[str, Values] = {}
    for place, kind in enumerate(kinds):
        title = draw.choice([f"{kind} {place}", f"c{place}", _title(draw)])
        table[title] = COLUMNS[kind](draw, rows)
    return list(table.items()), f"{rows} rows of {', '.join(kinds[:8])}"


def _title(draw: random.Random) -> str:
    words = sorted(word for word in tables().words.values() if word.isidentifier())
    odd = [
        "",
        " ",
        "Unnamed: 0",
        "index",
        "größe",
        "名前",
        "a\nb",
        'a"b',
        "a\\b",
        "a,b",
        "\x1b[31m",
    ]
    odd += ["x" * 300, "1st", "Age (years)", "__index_level_0__", "true", "mlp", "real", "net"]
    odd += ["label", "target", "class", "y", "split", "guess", "relu", "f32", "train", "goal"]
    return draw.choice([*odd, draw.choice(words)])


def _real(draw: random.Random, rows: int) -> Values:
    scale = 10.0 ** draw.choice([-30, -6, 0, 0, 0, 5, 20, 37])
    return [draw.gauss(0, 1) * scale for _ in range(rows)]


def _whole(draw: random.Random, rows: int) -> Values:
    low, count = draw.choice([(0, 2), (1, 2), (-1, 3), (0, 5), (3, 6), (0, 500), (10**9, 900)])
    return [low + draw.randrange(count) for _ in range(rows)]


def _huge(draw: random.Random, rows: int) -> Values:
    return [
        draw.choice([2**31, 2**53 + 1, 2**62, -(2**62)]) + draw.randrange(9) for _ in range(rows)
    ]


def _signs(draw: random.Random, rows: int) -> Values:
    return [draw.choice([-1, 1]) for _ in range(rows)]


def _floats_of_classes(draw: random.Random, rows: int) -> Values:
    return [draw.choice([1.0, 2.0, 3.5]) for _ in range(rows)]


def _words(draw: random.Random, rows: int) -> Values:
    count = draw.choice([1, 2, 3, 12, 200])
    return [f"word {draw.randrange(count)}" for _ in range(rows)]


def _codes(draw: random.Random, rows: int) -> Values:
    return [f"{draw.randrange(40):03}" for _ in range(rows)]


def _truths(draw: random.Random, rows: int) -> Values:
    return [draw.random() < 0.5 for _ in range(rows)]


def _dates(draw: random.Random, rows: int) -> Values:
    first = datetime.date(2020, 1, 1)
    return [first + datetime.timedelta(days=draw.randrange(3000)) for _ in range(rows)]


def _count(draw: random.Random, rows: int) -> Values:
    return [draw.choice([0, 1]) + row for row in range(rows)]


def _groups(draw: random.Random, rows: int) -> Values:
    return [f"p{row // draw.choice([1, 4])}" for row in range(rows)]


def _same(draw: random.Random, rows: int) -> Values:
    return [draw.choice([0, 3.5, "same"])] * rows


def _mixed(draw: random.Random, rows: int) -> Values:
    return [draw.choice([1, 2.5, "three", True]) for _ in range(rows)]


def _lists(draw: random.Random, rows: int) -> Values:
    length = draw.choice([0, 1, 4])
    return [[draw.random()] * length for _ in range(rows)]


def _uneven(draw: random.Random, rows: int) -> Values:
    return [[1.0] * draw.randrange(3) for _ in range(rows)]


def _parts(draw: random.Random, rows: int) -> Values:
    names = draw.choice([["train", "test"], ["train", "validation", "test"], ["a", "b"], ["0", ""]])
    return [names[row % len(names)] for row in range(rows)]


def _nested(draw: random.Random, rows: int) -> Values:
    return [{"a": draw.random(), "b": [1]} for _ in range(rows)]


def _bytes(draw: random.Random, rows: int) -> Values:
    return [draw.randbytes(4) for _ in range(rows)]


COLUMNS: Mapping[str, Callable[[random.Random, int], Values]] = {
    "real": _real,
    "whole": _whole,
    "huge": _huge,
    "signs": _signs,
    "floats of classes": _floats_of_classes,
    "words": _words,
    "codes": _codes,
    "truths": _truths,
    "dates": _dates,
    "count": _count,
    "groups": _groups,
    "same": _same,
    "mixed": _mixed,
    "lists": _lists,
    "uneven": _uneven,
    "nested": _nested,
    "bytes": _bytes,
}


# ---------------------------------------------------------------- mutations of tables


def _with_gaps(draw: random.Random, table: Table) -> None:
    _, cells = draw.choice(table)
    for row in range(len(cells)):
        if draw.random() < 0.2:
            cells[row] = draw.choice([None, "", float("nan"), "NA"])


def _with_infinity(draw: random.Random, table: Table) -> None:
    _, cells = draw.choice(table)
    if cells:
        cells[draw.randrange(len(cells))] = draw.choice([float("inf"), -float("inf"), 1e300, "inf"])


def _with_twins(draw: random.Random, table: Table) -> None:
    table.append((table[0][0], list(draw.choice(table)[1])))


def _with_a_split(draw: random.Random, table: Table) -> None:
    table.insert(draw.randrange(len(table) + 1), ("split", _parts(draw, len(table[0][1]))))


def _with_a_label(draw: random.Random, table: Table) -> None:
    kind = draw.choice(["whole", "signs", "words", "truths", "real", "floats of classes"])
    title = draw.choice(["label", "Class", "y", "target"])
    table.insert(draw.randrange(len(table) + 1), (title, COLUMNS[kind](draw, len(table[0][1]))))


def _rare(draw: random.Random, table: Table) -> None:
    rows = len(table[0][1])
    table.append(("label", [int(row == 0) for row in range(rows)]))


def _uneven_columns(draw: random.Random, table: Table) -> None:
    title, cells = table[-1]
    table[-1] = title, cells[: len(cells) // 2]


MUTATIONS: Mapping[str, Callable[[random.Random, Table], None]] = {
    "gaps": _with_gaps,
    "infinity": _with_infinity,
    "two columns of one name": _with_twins,
    "a split": _with_a_split,
    "a label": _with_a_label,
    "a class of one": _rare,
    "columns of two lengths": _uneven_columns,
}


# ---------------------------------------------------------------- files


def _write_csv(draw: random.Random, table: Table, path: Path) -> None:
    longest = max(len(cells) for _, cells in table)
    delimiter = draw.choice([*[","] * 20, ";", "\t", "|"])
    encoding = draw.choice([*["utf-8"] * 20, "utf-8-sig", "utf-16", "latin-1"])
    quoting = draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
    ending = draw.choice(["\n", "\r\n"])
    with path.open("w", newline="", encoding=encoding, errors="replace") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=ending)
        writer.writerow([title for title, _ in table])
        for row in range(longest):
            writer.writerow([cells[row] for _, cells in table if row < len(cells)])


def _write_parquet(draw: random.Random, table: Table, path: Path) -> None:
    rows = len(table[0][1])
    arrays = [_as_arrow(draw, (cells + [None] * rows)[:rows]) for _, cells in table]
    titles = [title for title, _ in table]
    parquet.write_table(pa.Table.from_arrays(arrays, names=titles), path)


def _as_arrow(draw: random.Random, cells: Values) -> pa.Array:
    cells = [None if each == "" else each for each in cells]
    try:
        array = pa.array(cells)
    except (pa.ArrowTypeError, OverflowError, ValueError):
        array = pa.array([None if each is None else str(each) for each in cells])
    if draw.random() < 0.1 and pa.types.is_string(array.type):
        return array.dictionary_encode()
    return array


def _write_npz(draw: random.Random, table: Table, path: Path) -> None:
    arrays: dict[str, np.ndarray] = {}
    for title, cells in table:
        name = "".join(each for each in title if each.isprintable() and each not in "/\\") or "a"
        arrays[name[:50]] = _as_array(draw, cells)
    if draw.random() < 0.2:
        shape = draw.choice([(3,), (2, 2), (2, 2, 3), (0,)])
        arrays["image"] = np.zeros((len(table[0][1]), *shape), draw.choice([np.uint8, np.float32]))
    if draw.random() < 0.2:
        arrays["names"] = np.array(["a", "b", "c"])
    if draw.random() < 0.1:
        arrays["number"] = np.float64(3)
    if draw.random() < 0.15:
        ends = draw.choice([("train", "test"), ("a", "b")])
        arrays = {
            f"{part}/{name}": array[half::2]
            for half, part in enumerate(ends)
            for name, array in arrays.items()
            if array.ndim
        }
    np.savez(path, allow_pickle=True, **{k: v for k, v in arrays.items() if k != "file"})


def _as_array(draw: random.Random, cells: Values) -> np.ndarray:
    if draw.random() < 0.1:
        array = np.empty(len(cells), object)
        array[:] = cells
        return array
    try:
        return np.array(cells)
    except ValueError:
        return np.array([str(each) for each in cells])


WRITERS: Mapping[str, Callable[[random.Random, Table, Path], None]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
    "npz": _write_npz,
}


# ---------------------------------------------------------------- damages


def _cut(draw: random.Random, content: bytes) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _flipped(draw: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice([1, 3, 30])):
        if changed:
            changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _put_in(draw: random.Random, content: bytes) -> bytes:
    place = draw.randrange(len(content) + 1)
    odd: Sequence[bytes] = [b"\0", b'"', b"\r", b"\xff", b"\xef\xbb\xbf", b",,,", b"\n\n", b"\x1a"]
    return content[:place] + draw.choice(odd) + content[place:]


def _doubled(draw: random.Random, content: bytes) -> bytes:
    del draw
    return content + content


def _other_size(draw: random.Random, content: bytes) -> bytes:
    place = draw.randrange(max(1, len(content) - 4))
    return (
        content[:place]
        + struct.pack("<I", draw.choice([0, 2**31, 2**32 - 1]))
        + content[place + 4 :]
    )


DAMAGES: Mapping[str, Callable[[random.Random, bytes], bytes]] = {
    "nothing left": lambda draw, content: b"",
    "cut off": _cut,
    "bytes changed": _flipped,
    "bytes put in": _put_in,
    "doubled": _doubled,
    "another size": _other_size,
}
