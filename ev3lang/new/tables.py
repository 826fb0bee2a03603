"""Tables of text and of Arrow: what each column holds."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped, unused-ignore]
from pyarrow import csv as pacsv
from pyarrow import parquet as pq

from ev3lang.catalog.signature import Type
from ev3lang.new.table import MOST_VALUES, Column, NewSpecError, Table, of_numbers
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.foreign import cause, foreign
from ev3lang.runtime.readers.opening import file_at

SPLIT = "split"
"""The column that names the part of each row."""

TRUE, FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
NOTHING = tuple(pacsv.ConvertOptions().null_values)
"""Cells that a run takes for missing in a column of numbers."""

OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
BLOCK_BYTES = 2**24
CSV_HELP = "save it as csv with commas, a line of names, and UTF-8"
DATES = "dates, which no field holds: store days or seconds as numbers"


def csv_table(data: str) -> Table:
    """A text table. Raises DataError and NewSpecError."""
    texts = _texts(file_at(Path(), data))
    typed = [_typed(column) for column in texts.columns]
    return _table("csv", data, texts.column_names, typed, texts.num_rows)


def parquet_table(data: str) -> Table:
    """A parquet file. Raises DataError and NewSpecError."""
    path = file_at(Path(), data)
    faults = pa.ArrowException, OSError, RuntimeError
    with (
        foreign(f"{data} is no parquet file, or", *faults),
        pq.ParquetFile(path, page_checksum_verification=True) as opened,
    ):
        names = opened.schema_arrow.names
        rows = opened.metadata.num_rows
        # columns of one name can't be told apart
        are_known = len({*names}) == len(names)
        columns = [_column(opened, place) if are_known else "" for place in range(len(names))]
    return _table("parquet", data, names, columns, rows)


def _column(opened: Any, place: int) -> Any:
    """A column's values, or why they can't be read."""
    name = opened.schema_arrow.names[place]
    try:
        (column,) = opened.read([name]).columns
    except (pa.ArrowNotImplementedError, LookupError, ValueError) as error:
        if not pa.types.is_nested(opened.schema_arrow.field(place).type):
            raise
        return f"it can't be read: {cause(error)}"
    return column


# ---------------------------------------------------------------- text


def _texts(path: Path) -> Any:
    """Every column of a csv file as text."""
    names = _names(path)

    def read(**ways: Any) -> Any:
        return pacsv.read_csv(
            path,
            read_options=pacsv.ReadOptions(block_size=BLOCK_BYTES, use_threads=not ways),
            parse_options=pacsv.ParseOptions(newlines_in_values=True, **ways),
            convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )

    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        _check_text(path)
        broken: list[Any] = []

        def note(row: Any) -> str:
            broken.append(row)
            return "skip"

        # Arrow tells the row of a fault to a handler alone, and on one thread alone
        with foreign(f"{path} is no csv file, or", pa.ArrowException, OSError, help=CSV_HELP):
            read(invalid_row_handler=note)
        if not broken:
            raise _damaged(path, error) from error
        first = broken[0]
        raise DataError(
            f"{path} has {first.actual_columns} cells in row {first.number - 1}, and "
            f"{first.expected_columns} names",
            "put a cell with a comma or a line's end in quotes",
        ) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is no csv file, or is damaged: {cause(error)}", CSV_HELP)


def _check_text(path: Path) -> None:
    """Raises DataError for the first line that is no UTF-8."""
    with path.open("rb") as opened:
        for number, line in enumerate(opened, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path} is no UTF-8 text in line {number}", "save it as UTF-8 csv"
                ) from error


def _names(path: Path) -> list[str]:
    """The line of names."""
    with path.open("rb") as opened:
        start = opened.read(4)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16", "save it as UTF-8 csv")
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened_text:
            first_line = opened_text.readline()
            opened_text.seek(0)
            _check_separator(path, first_line)
            names = next(csv.reader(opened_text, strict=True), [])
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text: {error}", "save it as UTF-8 csv") from error
    except csv.Error as error:
        raise DataError(f"{path} has no line of names: {error}", CSV_HELP) from error
    if any("\0" in name for name in names):
        raise DataError(f"{path} has NUL characters in its line of names", CSV_HELP)
    return names


def _check_separator(path: Path, first_line: str) -> None:
    """Raises DataError where the line of names is separated by another mark than a comma."""
    if "," in first_line:
        return
    for separator, word in OTHER_SEPARATORS.items():
        if separator in first_line:
            raise DataError(
                f"{path} is separated by {word}, not commas",
                f"in Python: pandas.read_csv({str(path)!r}, sep={separator!r})"
                f".to_csv('commas.csv', index=False)",
            )


# ---------------------------------------------------------------- columns


def _table(
    source: str, data: str, names: Sequence[str], columns: Sequence[Any], rows: int
) -> Table:
    """A table of these columns, each an Arrow array or why it can't be read."""
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise NewSpecError(
            f"{data}: {names.count(twice)} columns are called {twice!r}", "give each its own name"
        )
    if not rows:
        raise NewSpecError(f"{data} has no rows", "the first line names the columns")
    found = []
    parts: Mapping[str, int] = {}
    for place, (title, cells) in enumerate(zip(names, columns, strict=True), 1):
        if title == SPLIT and not isinstance(cells, str):
            parts = _parts(cells)
            continue
        if isinstance(cells, str):
            found.append(Column(title, "none", place, trouble=cells))
        else:
            found.append(attrs.evolve(_of_arrow(title, cells), place=place))
    return Table(source, tuple(found), rows, path=data, parts=parts)


def _parts(cells: Any) -> dict[str, int]:
    try:
        counted = pc.value_counts(cells.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return {"": len(cells)}
    return {str(each["values"]): each["counts"].as_py() for each in counted}


def _typed(cells: Any) -> Any:
    """Cells of text as whole numbers, numbers or truths, where all that are filled are such."""
    trimmed = pc.utf8_trim_whitespace(cells)
    text = pc.if_else(pc.is_in(trimmed, pa.array(NOTHING)), None, trimmed)
    if text.null_count == len(text):
        return pa.nulls(len(text))
    # 007 is a code and no number
    has_codes = pc.any(pc.match_substring_regex(text, r"^[+-]?0[0-9]")).as_py()
    for type_ in () if has_codes else (pa.int64(), pa.float64()):
        try:
            return text.cast(type_)
        except pa.ArrowInvalid:
            continue
    if pc.all(pc.is_in(text.drop_null(), pa.array((*TRUE, *FALSE)))).as_py():
        return pc.if_else(pc.is_null(text), None, pc.is_in(text, pa.array(TRUE)))
    return pc.if_else(pc.equal(cells, ""), None, cells)


def _of_arrow(title: str, cells: Any) -> Column:
    type_ = cells.type
    if pa.types.is_null(type_):
        return Column(title, "none", missing=len(cells), trouble="every cell is empty")
    if pa.types.is_dictionary(type_):
        cells = cells.cast(type_.value_type)
        type_ = type_.value_type
    if pa.types.is_decimal(type_):
        cells, type_ = cells.cast(pa.float64()), pa.float64()
    if pa.types.is_boolean(type_):
        return _counted(title, "bool", cells)
    if pa.types.is_integer(type_):
        return _counted(title, "whole", cells)
    if pa.types.is_floating(type_):
        numbers = cells.cast(pa.float64())
        finite = pc.if_else(pc.is_finite(numbers), numbers, None)
        return _counted(title, "real", finite)
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        if not isinstance(cells, pa.ChunkedArray):
            cells = pa.chunked_array([cells])
        words = pc.if_else(pc.equal(cells, ""), None, cells)
        is_dates = _are_dates(words)
        if is_dates:
            return Column(title, "none", trouble=DATES, missing=words.null_count)
        return _counted(title, "words", words)
    if (
        pa.types.is_fixed_size_list(type_)
        or pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
    ):
        return _of_lists(title, cells)
    if pa.types.is_temporal(type_):
        return Column(title, "none", trouble=DATES)
    what = "pictures or bytes" if "binary" in str(type_) else str(type_)
    return Column(title, "none", trouble=f"no field holds {what} without its size")


def _are_dates(words: Any) -> bool:
    filled = words.drop_null()
    if not len(filled):
        return False
    try:
        filled.slice(0, 1000).cast(pa.timestamp("us"))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def _of_lists(title: str, cells: Any) -> Column:
    """Lists of numbers as one array an example, where all are equally long."""
    cells = cells.combine_chunks() if isinstance(cells, pa.ChunkedArray) else cells
    if isinstance(cells, pa.ChunkedArray):
        cells = pa.concat_arrays(cells.chunks)
    shape: list[int] = []
    while (
        pa.types.is_list(cells.type)
        or pa.types.is_large_list(cells.type)
        or (pa.types.is_fixed_size_list(cells.type))
    ):
        if cells.null_count:
            return Column(title, "none", trouble="lists, some of which are missing")
        lengths = {len(each) for each in cells}
        if len(lengths) != 1 or not max(lengths):
            return Column(title, "none", trouble="lists of different lengths")
        shape.append(max(lengths))
        cells = cells.flatten()
    is_number = pa.types.is_integer(cells.type) or pa.types.is_floating(cells.type)
    if not is_number or cells.null_count:
        return Column(title, "none", trouble="lists that don't hold a number in every place")
    kind = "u8" if pa.types.is_uint8(cells.type) else "f32"
    return Column(title, "array", type=str(Type(kind, tuple(shape))))


def _counted(title: str, kind: Any, cells: Any) -> Column:
    """A column of values that are compared with each other; null ones are missing."""
    filled = cells.drop_null()
    if not len(filled):
        return Column(title, "none", missing=len(cells), trouble="every cell is empty")
    unique = pc.unique(filled)
    values: tuple[Any, ...] = ()
    if len(unique) <= MOST_VALUES:
        values = tuple(sorted(unique.to_pylist()))
    column = Column(title, kind, missing=cells.null_count, distinct=len(unique), values=values)
    if kind in ("real", "whole"):
        return of_numbers(column, filled.to_numpy())
    return column
