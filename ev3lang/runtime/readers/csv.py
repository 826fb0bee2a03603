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
from ev3lang.runtime.readers import arrow
from ev3lang.runtime.readers.fitting import REALS, STRINGS, TRUTHS
from ev3lang.runtime.readers.opening import file_at
from ev3lang.runtime.readers.table import Column, Parts

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
HELP = "save it as csv with commas, a line of names, and UTF-8"


def read(options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path) -> Parts:
    """The declared columns of a csv file; a column `split` names the part of each row.

    Values are read as what the spec declares, never guessed: an id `007` stays text. A cell that
    is empty, `NA`, `nan` or the like has no value; in a column of text only the empty one.
    Raises DataError.
    """
    path = file_at(folder, str(options["path"]))
    names = _names(path)
    fields = arrow.find(path, columns, names)
    types = {name: _type_of(field.column) for field in fields for name in field.names}
    if arrow.SPLIT in names:
        types.setdefault(arrow.SPLIT, pa.string())
    try:
        table = _table(path, types)
    except pa.ArrowInvalid as error:
        raise _fault(path, fields, types, error) from error
    row_parts = table.column(arrow.SPLIT) if arrow.SPLIT in names else None
    size = arrow.batch_rows(fields)
    return arrow.read(
        path,
        fields,
        lambda wanted: table.select(wanted).to_batches(max_chunksize=size),
        row_parts,
        table.num_rows,
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


def _table(path: Path, types: Mapping[str, pa.DataType], **ways: Any) -> pa.Table:
    return pacsv.read_csv(
        path,
        read_options=pacsv.ReadOptions(block_size=BLOCK_BYTES, use_threads=not ways),
        parse_options=pacsv.ParseOptions(newlines_in_values=True, **ways),
        convert_options=pacsv.ConvertOptions(column_types=types, include_columns=list(types)),
    )


# ---------------------------------------------------------------- what is wrong


def _fault(
    path: Path,
    fields: tuple[arrow.Stored, ...],
    types: Mapping[str, pa.DataType],
    error: pa.ArrowInvalid,
) -> DataError:
    """What keeps Arrow from reading the file, which it says without a row: read once more."""
    not_text = _not_text(path)
    if not_text is not None:
        return not_text
    broken: list[Any] = []

    def note(row: Any) -> str:
        broken.append(row)
        return "skip"

    try:
        texts = _table(path, dict.fromkeys(types, pa.string()), invalid_row_handler=note)
    except pa.ArrowInvalid as wrong:
        return DataError(f"{path} is no csv file, or is damaged: {wrong}", HELP)
    if broken:
        # Arrow counts the line of names too.
        row = broken[0].number - 1
        return DataError(
            f"{path} has {broken[0].actual_columns} cells in row {row}, and "
            f"{broken[0].expected_columns} names",
            "put a cell with a comma or a line's end in quotes",
            row=row,
        )
    for field in fields:
        for name in field.names:
            row = _first_not(texts.column(name), types[name])
            if row is not None:
                cell = texts.column(name)[row].as_py()
                return DataError(
                    f"{path}: {name} is `{cell}` in row {row + 1}, which is not "
                    f"{WORDS[str(types[name])]}, and the spec declares {field.column.type}",
                    f"mend the row, or declare `{field.column.name}: id` for text",
                    field=field.column.name,
                    row=row + 1,
                )
    return DataError(f"{path} is no csv file, or is damaged: {error}", HELP)


def _first_not(cells: pa.ChunkedArray, type_: pa.DataType) -> int | None:
    """The first cell that is no value of the type, counted from 0; None where all are."""
    text = pc.utf8_trim_whitespace(cells)
    text = pc.if_else(pc.is_in(text, pa.array(NOTHING)), None, text)
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
