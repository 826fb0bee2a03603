"""Text tables with a line of names."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pacsv

from ev3lang.catalog.signature import Value
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.foreign import cause
from ev3lang.runtime.readers import arrow
from ev3lang.runtime.readers.fitting import REALS, STRINGS, TRUTHS
from ev3lang.runtime.readers.opening import file_at, unreadable
from ev3lang.runtime.readers.table import Column, Found
from ev3lang.runtime.readers.wanted import Wanted

BLOCK_BYTES = 2**24
"""What is parsed at a time; a row is no longer."""

OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
NOTHING = tuple(pacsv.ConvertOptions().null_values)
WORDS = {
    "double": "a number",
    "int64": "a whole number",
    "uint8": "a whole number from 0 to 255",
    "bool": "true or false, 1 or 0",
}
MOST_SHOWN = 40
"""Characters of a cell that a message shows."""

HELP = "save it as csv with commas, a line of names, and UTF-8"


def read(
    options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path, wanted: Wanted
) -> Found:
    """The declared columns of a csv file; a column `split` names the part of each row.

    Values are read as what the spec declares, never guessed: an id `007` stays text. A cell that
    is empty, `NA`, `nan` or the like has no value; in a column of text only the empty one. Reading
    ends where there are more rows than the spec states.
    Raises DataError.
    """
    path = file_at(folder, str(options["path"]))
    names = _names(path)
    fields = arrow.find(path, columns, names)
    types = {name: _type_of(field.column) for field in fields for name in field.names}
    if arrow.SPLIT in names:
        types.setdefault(arrow.SPLIT, pa.string())
    try:
        table = _table(path, types, wanted)
    except OSError as error:
        raise unreadable(path, error) from error
    except pa.ArrowInvalid as error:
        table = _mended(path, fields, types, wanted, error)
    size = arrow.batch_rows(fields)
    return arrow.read(
        path,
        fields,
        lambda chosen: table.select(chosen).to_batches(max_chunksize=size),
        table.column(arrow.SPLIT).chunks if arrow.SPLIT in names else None,
        table.num_rows,
        wanted,
    )


def _names(path: Path) -> list[str]:
    """The line of names."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            names = next(csv.reader(opened, strict=True), [])
    except UnicodeDecodeError as error:
        fault = _not_text(path)
        assert fault is not None, "a line that can't be decoded"
        raise fault from error
    except OSError as error:
        raise unreadable(path, error) from error
    except csv.Error as error:
        raise DataError(f"{path} has no line of names: {error}", HELP) from error
    for separator, word in OTHER_SEPARATORS.items():
        if len(names) == 1 and separator in names[0]:
            raise DataError(f"{path} is separated by {word}, not commas", HELP)
    return names


def _type_of(column: Column) -> pa.DataType:
    """What a cell of the column is read as."""
    kind = column.type.kind
    if kind in REALS:
        return pa.float64()
    if kind in TRUTHS:
        return pa.bool_()
    if kind in STRINGS:
        return pa.string()
    return pa.uint8() if kind == "u8" else pa.int64()


def _table(path: Path, types: Mapping[str, pa.DataType], wanted: Wanted, **ways: Any) -> pa.Table:
    """The columns with these names, all rows; raises DataError at one too many for the spec."""
    options = {
        "read_options": pacsv.ReadOptions(block_size=BLOCK_BYTES, use_threads=not ways),
        "parse_options": pacsv.ParseOptions(newlines_in_values=True, **ways),
        "convert_options": pacsv.ConvertOptions(column_types=types, include_columns=list(types)),
    }
    if not wanted.rows or ways:
        return pacsv.read_csv(path, **options)
    batches = []
    counts: dict[str | None, int] = {}
    with pacsv.open_csv(path, **options) as opened:
        for batch in opened:
            batches.append(batch)
            for part, count in _counted(batch).items():
                counts[part] = counts.get(part, 0) + count
            wanted.check_not_beyond(path, counts)
        return pa.Table.from_batches(batches, opened.schema)


def _counted(batch: pa.RecordBatch) -> dict[str | None, int]:
    """The rows of each part in a batch."""
    if arrow.SPLIT not in batch.schema.names:
        return {None: len(batch)}
    found = pc.value_counts(batch.column(arrow.SPLIT))
    return dict(zip(*(each.to_pylist() for each in found.flatten()), strict=True))


# ---------------------------------------------------------------- what is wrong


def _mended(
    path: Path,
    fields: tuple[arrow.Stored, ...],
    types: Mapping[str, pa.DataType],
    wanted: Wanted,
    error: pa.ArrowInvalid,
) -> pa.Table:
    """The table that Arrow couldn't read for cells of rows that nobody asked for, without those.

    Arrow doesn't say in which row a fault is: all is read once more, as text. Raises DataError for
    a fault of the rows that are wanted.
    """
    not_text = _not_text(path)
    if not_text is not None:
        raise not_text from error
    broken: list[Any] = []

    def note(row: Any) -> str:
        broken.append(row)
        return "skip"

    try:
        texts = _table(path, dict.fromkeys(types, pa.string()), wanted, invalid_row_handler=note)
    except pa.ArrowInvalid as wrong:
        raise _damaged(path, wrong) from wrong
    if broken:
        # Arrow counts the line of names too.
        row = broken[0].number - 1
        raise DataError(
            f"{path} has {broken[0].actual_columns} cells in row {row}, and "
            f"{broken[0].expected_columns} names",
            "put a cell with a comma or a line's end in quotes",
            row=row,
        ) from error
    is_wanted = _are_wanted(texts, wanted)
    columns = {}
    for name, type_ in types.items():
        cells = texts.column(name)
        if name != arrow.SPLIT:
            cells = pc.if_else(is_wanted, cells, None)
            row_of_fault = _first_not(cells, type_)
            if row_of_fault is not None:
                column = next(each.column for each in fields if name in each.names)
                raise _wrong_cell(path, name, column, type_, cells, row_of_fault) from error
        columns[name] = _trimmed(cells).cast(type_) if type_ != pa.string() else cells
    if isinstance(is_wanted, pa.Scalar):
        raise _damaged(path, error) from error
    return pa.table(columns)


def _are_wanted(texts: pa.Table, wanted: Wanted) -> pa.ChunkedArray | pa.Scalar:
    """Which rows are of the parts that the splits draw from."""
    if None in wanted.parts or arrow.SPLIT not in texts.column_names:
        return pa.scalar(value=True)
    return pc.is_in(texts.column(arrow.SPLIT), pa.array(wanted.parts, pa.string()))


def _wrong_cell(
    path: Path,
    name: str,
    column: Column,
    type_: pa.DataType,
    cells: pa.ChunkedArray,
    row: int,
) -> DataError:
    cell = cells[row].as_py()
    shown = cell if len(cell) <= MOST_SHOWN else f"{cell[:MOST_SHOWN]}…"
    return DataError(
        f"{path}: {name} is `{shown}` in row {row + 1}, which is not "
        f"{WORDS[str(type_)]}, and the spec declares {column.type}",
        f"mend the row, or declare `{column.name}: id` for text",
        field=column.name,
        row=row + 1,
    )


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is no csv file, or is damaged: {cause(error)}", HELP)


def _trimmed(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells without the blanks around them; those that say nothing have no value."""
    text = pc.utf8_trim_whitespace(cells)
    return pc.if_else(pc.is_in(text, pa.array(NOTHING)), None, text)


def _first_not(cells: pa.ChunkedArray, type_: pa.DataType) -> int | None:
    """The first cell that is no value of the type, counted from 0; None where all are."""
    text = _trimmed(cells)
    first, end = 0, len(text)
    if _is_all(text, type_):
        return None
    while end - first > 1:
        middle = (first + end) // 2
        if _is_all(text.slice(first, middle - first), type_):
            first = middle
        else:
            end = middle
    return first


def _is_all(text: pa.ChunkedArray, type_: pa.DataType) -> bool:
    try:
        text.cast(type_)
    except pa.ArrowInvalid:
        return False
    return True


def _not_text(path: Path) -> DataError | None:
    """The error for the first line that is no UTF-8; None where all are."""
    with path.open("rb") as opened:
        for number, line in enumerate(opened, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return DataError(f"{path} is no UTF-8 text in line {number}", "save it as UTF-8")
    return None
