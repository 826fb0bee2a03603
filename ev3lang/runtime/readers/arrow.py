"""Tables of Arrow as the arrays of a data set: what csv, parquet and huggingface have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers import images
from ev3lang.runtime.readers.fitting import TEXT, check_declared, fill, memory_dtype, rows_of
from ev3lang.runtime.readers.opening import check_size
from ev3lang.runtime.readers.table import Column, Parts, missing_field, shape_of

SPLIT = "split"
"""The column that says which part of the file a row is of."""

BATCH_BYTES = 4 * 2**20
MOST_ROWS = 65_536
MOST_COLUMNS = 4
"""Columns that are read side by side: each takes a page or two of memory while it is."""


@attrs.frozen
class Stored:
    """Where a field lies in a table: in one column, or in some that stand side by side."""

    column: Column
    names: tuple[str, ...]

    @property
    def is_joined(self) -> bool:
        return isinstance(self.column.origin, tuple)


@attrs.frozen
class _Piece:
    """A column of a field, and its place among those that stand side by side in it."""

    field: Stored
    name: str
    place: int

    @property
    def column(self) -> Column:
        """The field under the column's own name, for what is said of its values."""
        if not self.field.is_joined:
            return self.field.column
        return attrs.evolve(self.field.column, origin=self.name)

    def shape_of_field(self, values: np.ndarray) -> tuple[int, ...]:
        """The dimensions of one example, whose columns fill them row by row."""
        if not self.field.is_joined:
            return values.shape[1:]
        return _as_declared(self.field.column, (len(self.field.names),))


def find(file: object, columns: Sequence[Column], names: Sequence[str]) -> tuple[Stored, ...]:
    """Where each field lies in a table of these columns; raises DataError for one it lacks."""
    return tuple(_found(file, column, names) for column in columns)


def batch_rows(fields: Sequence[Stored]) -> int:
    """How many rows make a batch of about `BATCH_BYTES`, by the largest field."""
    largest = max(
        math.prod(size for size in shape_of(each.column.type) if isinstance(size, int))
        for each in fields
    )
    return max(1, min(MOST_ROWS, BATCH_BYTES // (4 * largest)))


def read(
    file: object,
    fields: Sequence[Stored],
    batches: Callable[[list[str]], Iterable[pa.RecordBatch]],
    row_parts: pa.ChunkedArray | None,
    rows: int,
) -> Parts:
    """The fields' arrays of every part, filled a few columns and a few rows at a time.

    batches     from names of columns to their rows, in order
    row_parts   [rows] the part of each row, None where the file has none
    Raises DataError for a value that is missing or doesn't fit, naming its row.
    """
    if rows == 0:
        raise DataError(f"{file} has no rows", "write the examples into the file")
    names, codes = _coded(file, row_parts, rows)
    counts = np.bincount(codes, minlength=len(names)) if codes is not None else np.array([rows])
    parts: list[dict[str, np.ndarray]] = [{} for _ in names]
    sizes: dict[str, int] = {}
    pieces = [_Piece(each, name, k) for each in fields for k, name in enumerate(each.names)]
    for start in range(0, len(pieces), MOST_COLUMNS):
        group = pieces[start : start + MOST_COLUMNS]
        filled = np.zeros(len(names), np.int64)
        first = 0
        for batch in batches(list(dict.fromkeys(piece.name for piece in group))):
            if first + len(batch) > rows:
                break
            taken = _taken(codes, first, len(batch), len(names))
            for piece in group:
                values = _values(file, piece, batch, first)
                shape = piece.shape_of_field(values)
                check_declared(file, piece.field.column, values.dtype, shape, sizes)
                for part, count, done, places in zip(parts, counts, filled, taken, strict=True):
                    into = _place(file, piece, part, (int(count), *shape), values.dtype)
                    _fill(file, piece, into[int(done) :], values, places, first)
            filled += [len(batch) if places is None else len(places) for places in taken]
            first += len(batch)
        if first != rows:
            raise DataError(
                f"{file} is damaged: it says that it has {rows} rows, and it has not",
                "write the file again",
            )
    return {
        name: {field.column.name: part[field.column.name] for field in fields}
        for name, part in zip(names, parts, strict=True)
    }


def kind_of(type_: pa.DataType) -> np.dtype[Any] | None:
    """The NumPy dtype of a column of scalars, `TEXT` for strings; None for what no field holds."""
    if pa.types.is_dictionary(type_):
        return kind_of(type_.value_type)
    if _is_text(type_):
        return TEXT
    if pa.types.is_decimal(type_):
        return np.dtype(np.float64)
    is_number = pa.types.is_integer(type_) or pa.types.is_floating(type_)
    return np.dtype(type_.to_pandas_dtype()) if is_number or pa.types.is_boolean(type_) else None


# ---------------------------------------------------------------- where a field lies


def _found(file: object, column: Column, names: Sequence[str]) -> Stored:
    if not isinstance(column.origin, tuple):
        if column.stored_name not in names:
            raise missing_field(file, column, names)
        stored: tuple[str, ...] = (column.stored_name,)
    else:
        first, last = column.origin
        if last > len(names):
            raise DataError(
                f"{file} has {len(names)} columns, and {column.name} is from columns {first} "
                f"to {last}",
                "the first column is 1",
                field=column.name,
            )
        stored = tuple(names[first - 1 : last])
    for name in stored:
        if names.count(name) > 1:
            raise DataError(
                f"{file} has {names.count(name)} columns that are named `{name}`",
                "rename all but one of them",
                field=column.name,
            )
    return Stored(column, stored)


# ---------------------------------------------------------------- parts


def _coded(
    file: object, row_parts: pa.ChunkedArray | None, rows: int
) -> tuple[list[str | None], np.ndarray | None]:
    """The names of the parts in order of appearance, and the number of each row's part."""
    if row_parts is None:
        return [None], None
    if kind_of(row_parts.type) is None:
        raise DataError(
            f"{file}: column `{SPLIT}` holds {row_parts.type}, and it names the part of each row",
            "store names there, or rename the column",
        )
    named = pc.fill_null(row_parts.cast(pa.string()), "").combine_chunks().dictionary_encode()
    names: list[str | None] = list(named.dictionary.to_pylist())
    codes = named.indices.to_numpy().astype(np.int32)
    if "" in names:
        row = int(np.argmax(codes == names.index(""))) + 1
        raise DataError(
            f"{file}: column `{SPLIT}` says nothing in row {row}",
            "name a part in every row",
            row=row,
        )
    assert len(codes) == rows, "the column is as long as the table"
    return names, codes


def _taken(codes: np.ndarray | None, first: int, count: int, parts: int) -> list[np.ndarray | None]:
    """For each part the places in a batch of its rows; None for the whole batch."""
    if codes is None:
        return [None]
    here = codes[first : first + count]
    if count and (here == here[0]).all():
        nothing = np.empty(0, np.int64)
        return [None if part == here[0] else nothing for part in range(parts)]
    return [np.flatnonzero(here == part) for part in range(parts)]


def _place(
    file: object,
    piece: _Piece,
    part: dict[str, np.ndarray],
    shape: tuple[int, ...],
    stored: np.dtype[Any],
) -> np.ndarray:
    """A part's array of the piece's field; made when its first values come."""
    name = piece.field.column.name
    if name not in part:
        dtype = memory_dtype(piece.field.column.type, stored)
        check_size(file, name, math.prod(shape) * dtype.itemsize)
        part[name] = np.empty(shape, dtype)
    return part[name]


def _fill(
    file: object,
    piece: _Piece,
    into: np.ndarray,
    values: np.ndarray,
    places: np.ndarray | None,
    first: int,
) -> None:
    """Puts the values of a part's rows, at `places` of the batch, where they stay."""
    row_of = rows_of(values.shape, first)
    if places is not None:
        values = values[places]
        row_of = _row_among(places, values.shape, first)
    if not len(values):
        return
    into = into[: len(values)]
    if piece.field.is_joined:
        into = into.reshape(len(values), -1)[:, piece.place]
    fill(file, piece.column, into, values, row_of)


def _row_among(places: np.ndarray, shape: Sequence[int], first: int) -> Callable[[int], int]:
    row_of = rows_of(shape)
    return lambda place: first + int(places[row_of(place)])


# ---------------------------------------------------------------- values of a batch


def _values(file: object, piece: _Piece, batch: pa.RecordBatch, first: int) -> np.ndarray:
    """A column's values in a batch, `[rows, *dimensions]` of the stored dtype."""
    array = batch.column(batch.schema.get_field_index(piece.name))
    if piece.field.is_joined:
        return _scalars(file, piece.column, array, first)
    return _of_column(file, piece.column, array, first)


def _as_declared(column: Column, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The declared dimensions, where numbers in one row are as many; else the shape as it is."""
    known = tuple(size for size in shape_of(column.type) if isinstance(size, int))
    is_whole = len(known) == len(shape_of(column.type)) and len(shape) == 1
    return known if is_whole and math.prod(known) == shape[0] else shape


def _of_column(file: object, column: Column, array: pa.Array, first: int) -> np.ndarray:
    if isinstance(array, pa.ExtensionArray):
        type_ = array.type
        values = _of_column(file, column, array.storage, first)
        shape = tuple(getattr(type_, "shape", values.shape[1:]))
        return values.reshape(len(values), *shape)
    if _is_picture(array.type):
        return _pictures(file, column, array, first)
    if _is_list(array.type):
        return _lists(file, column, array, first)
    return _scalars(file, column, array, first)


def _scalars(file: object, column: Column, array: pa.Array, first: int) -> np.ndarray:
    """Numbers, truths or text, one for each row."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if kind_of(array.type) is None:
        raise _unreadable_type(file, column, array.type)
    _check_present(file, column, array, first)
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    return array.to_numpy(zero_copy_only=False)


def _lists(file: object, column: Column, array: pa.Array, first: int) -> np.ndarray:
    """Lists of one length, level by level; those of tokens may be shorter and end in -1."""
    rows = len(array)
    shape: list[int] = []
    per_row = 1
    while _is_list(array.type):
        _check_present(file, column, array, first, per_row)
        inner = array.flatten()
        lengths = _lengths(array)
        if column.type.kind == "tokens" and not shape and not _is_list(inner.type):
            return _padded(file, column, inner, lengths, first)
        size = int(lengths[0]) if len(lengths) else 0
        if (lengths != size).any():
            place = int(np.argmax(lengths != size))
            row = first + place // per_row + 1
            raise DataError(
                f"{file}: {column.name} has {lengths[place]} numbers in row {row}, and {size} in "
                f"row {first + 1}",
                f"{column.type} needs as many in every row",
                field=column.name,
                row=row,
            )
        shape.append(size)
        per_row *= size
        array = inner
    _check_present(file, column, array, first, max(1, per_row))
    kind = kind_of(array.type)
    if kind is None or kind == TEXT:
        raise _unreadable_type(file, column, array.type)
    values = _scalars(file, column, array, first)
    # An image may lie in one list, row by row.
    return values.reshape(rows, *_as_declared(column, tuple(shape)))


def _padded(
    file: object, column: Column, inner: pa.Array, lengths: np.ndarray, first: int
) -> np.ndarray:
    """Sequences of tokens, [rows, length], with -1 behind the end of each."""
    (length,) = shape_of(column.type)
    if not isinstance(length, int):
        raise DataError(
            f"{file}: {column.name} holds lists, and {column.type} does not say how long they get",
            f"write a number: `{column.name}: tokens[{column.type.dimensions[0]}, "
            f"{int(lengths.max(initial=0))}]`",
            is_spec_fault=True,
            field=column.name,
        )
    dtype = kind_of(inner.type)
    if dtype is None or dtype.kind not in "iu":
        raise _unreadable_type(file, column, inner.type)
    if (lengths > length).any():
        place = int(np.argmax(lengths > length))
        row = first + place + 1
        raise DataError(
            f"{file}: {column.name} has {lengths[place]} tokens in row {row}, and {column.type} "
            f"holds {length}",
            f"declare `{column.name}: tokens[{column.type.dimensions[0]}, {lengths.max()}]`, or "
            "cut the longer ones",
            field=column.name,
            row=row,
        )
    is_token = np.arange(length) < lengths[:, None]
    _check_present_tokens(file, column, inner, is_token, first)
    values = np.full(is_token.shape, -1, np.int64)
    values[is_token] = inner.to_numpy(zero_copy_only=False)
    return values


def _pictures(file: object, column: Column, array: pa.Array, first: int) -> np.ndarray:
    """Images that are stored as their PNG or JPEG files, `[rows, height, width, channels]`."""
    images.check_column(file, column)
    _check_present(file, column, array, first)
    if pa.types.is_struct(array.type):
        array = array.field("bytes")
        _check_present(file, column, array, first)
    decoded = [
        images.decoded(f"{file}, row {first + place + 1}", column, value.as_py())
        for place, value in enumerate(array)
    ]
    return np.stack(decoded)


def _check_present(
    file: object, column: Column, array: pa.Array, first: int, per_row: int = 1
) -> None:
    """Raises DataError for the first row that has no value."""
    if array.null_count:
        row = first + int(np.argmax(array.is_null().to_numpy(zero_copy_only=False))) // per_row + 1
        raise _missing(file, column, row)
    if kind_of(array.type) is TEXT and len(array):
        is_empty = pc.equal(array, pa.scalar("", array.type)).to_numpy(zero_copy_only=False)
        if is_empty.any():
            raise _missing(file, column, first + int(np.argmax(is_empty)) + 1)


def _check_present_tokens(
    file: object, column: Column, inner: pa.Array, is_token: np.ndarray, first: int
) -> None:
    if inner.null_count:
        place = int(np.argmax(inner.is_null().to_numpy(zero_copy_only=False)))
        raise _missing(file, column, first + int(np.nonzero(is_token)[0][place]) + 1)


def _missing(file: object, column: Column, row: int) -> DataError:
    return DataError(
        f"{file}: {column.stored_name} has no value in row {row}",
        "fill in or leave out such rows before the run",
        field=column.name,
        row=row,
    )


def _unreadable_type(file: object, column: Column, type_: pa.DataType) -> DataError:
    return DataError(
        f"{file}: {column.stored_name} holds {type_} in the file, and the spec declares "
        f"{column.type}",
        "store it as numbers, true and false, text, or lists of numbers",
        field=column.name,
    )


def _is_text(type_: pa.DataType) -> bool:
    is_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(check(type_) for check in is_text)


def _is_picture(type_: pa.DataType) -> bool:
    """Whether it may hold encoded pictures: as bytes, or as Hugging Face stores them."""
    if pa.types.is_struct(type_):
        return type_.get_field_index("bytes") >= 0
    return bool(pa.types.is_binary(type_) or pa.types.is_large_binary(type_))


def _is_list(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(type_)
        or pa.types.is_large_list(type_)
        or pa.types.is_fixed_size_list(type_)
    )


def _lengths(array: pa.Array) -> np.ndarray:
    """How many items each list holds."""
    if pa.types.is_fixed_size_list(array.type):
        return np.full(len(array), array.type.list_size, np.int64)
    return np.diff(array.offsets.to_numpy())
