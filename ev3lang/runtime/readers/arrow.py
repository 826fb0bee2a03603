"""Tables of Arrow as the arrays of a data set: what csv, parquet and huggingface have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ev3lang.runtime.faults import DataError
from ev3lang.runtime.foreign import foreign
from ev3lang.runtime.readers import images
from ev3lang.runtime.readers.fitting import TEXT, check_declared, fill, memory_dtype
from ev3lang.runtime.readers.opening import check_size
from ev3lang.runtime.readers.table import Column, Found, Notes, missing_field, shape_of
from ev3lang.runtime.readers.wanted import Wanted

SPLIT = "split"
"""The column that says which part of the file a row is of."""

BATCH_BYTES = 4 * 2**20
MOST_ROWS = 65_536
MOST_COLUMNS = 4
"""Columns that are read side by side: each takes a page or two of memory while it is."""

MOST_PARTS = 1000
"""Parts that the column `split` may name; one that names more says something else."""

_Rows: TypeAlias = "range | np.ndarray"
"""The row in the file, counted from 0, of each value of a batch."""


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
    row_parts: Iterable[pa.Array] | None,
    rows: int,
    wanted: Wanted,
    stored_bytes: int | None = None,
) -> Found:
    """The fields' arrays of every wanted part, filled a few columns and a few rows at a time.

    batches       from names of columns to their rows, in order
    row_parts     the part of each row, some rows at a time; None where the file has none
    rows          that the file says it has
    stored_bytes  what the file takes on disk, where what it says of itself isn't to be trusted
    Raises DataError for other numbers of rows than the spec states, before the fields are read,
    and for a value that is missing or doesn't fit, naming its row. Rows of other parts are not
    looked at.
    """
    if rows == 0:
        raise DataError(f"{file} has no rows", "write the examples into the file")
    if row_parts is None or None in wanted.rows:
        whole: dict[str | None, int] = {k: n for k, n in wanted.rows.items() if k is None}
        attrs.evolve(wanted, rows=whole).check_rows(file, {None: rows})
    names, codes = _coded(file, row_parts, rows, wanted)
    counts = np.bincount(codes, minlength=len(names)) if codes is not None else np.array([rows])
    chosen = wanted.chosen(file, names)
    wanted.check_rows(file, dict(zip(names, counts.tolist(), strict=True)))
    places = [names.index(part) for part in chosen]
    parts: list[dict[str, np.ndarray]] = [{} for _ in chosen]
    sizes: dict[str, int] = {}
    notes = Notes()
    pieces = [_Piece(each, name, k) for each in fields for k, name in enumerate(each.names)]
    for start in range(0, len(pieces), MOST_COLUMNS):
        group = pieces[start : start + MOST_COLUMNS]
        filled = [0] * len(chosen)
        first = 0
        for whole_batch in batches(list(dict.fromkeys(piece.name for piece in group))):
            if first + len(whole_batch) > rows:
                break
            batch, in_file, taken = _taken(codes, first, whole_batch, places)
            first += len(whole_batch)
            if not len(batch):
                continue
            with foreign(file, pa.ArrowException):
                batch.validate(full=True)
            for piece in group:
                values = _values(file, piece, batch, in_file, notes)
                shape = piece.shape_of_field(values)
                check_declared(file, piece.field.column, values.dtype, shape, sizes)
                for k, (part, own) in enumerate(zip(parts, taken, strict=True)):
                    into = _place(
                        file, piece, part, (counts[places[k]], *shape), values.dtype, stored_bytes
                    )
                    _fill(file, piece, into[filled[k] :], values, own, in_file)
            filled = [
                done + (len(batch) if own is None else len(own))
                for done, own in zip(filled, taken, strict=True)
            ]
        if first != rows:
            raise DataError(
                f"{file} is damaged: it says that it has {rows} rows, and it has not",
                "write the file again",
            )
    return Found(
        {
            name: {field.column.name: part[field.column.name] for field in fields}
            for name, part in zip(chosen, parts, strict=True)
        },
        notes.warnings(),
    )


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
    file: object, row_parts: Iterable[pa.Array] | None, rows: int, wanted: Wanted
) -> tuple[list[str | None], np.ndarray | None]:
    """The names of the parts in order of appearance, and the number of each row's part.

    Raises DataError as soon as a part has more rows than the spec states.
    """
    if row_parts is None:
        return [None], None
    names: dict[str, int] = {}
    counts: dict[str | None, int] = {}
    codes = np.empty(rows, np.int32)
    first = 0
    for array in row_parts:
        if kind_of(array.type) is None:
            raise DataError(
                f"{file}: column `{SPLIT}` holds {array.type}, and it names the part of each row",
                "store names there, or rename the column",
            )
        with foreign(file, pa.ArrowException, UnicodeError):
            named = pc.fill_null(array.cast(pa.string()), "").dictionary_encode()
            here = named.dictionary.to_pylist()
        own = named.indices.to_numpy()
        if "" in here:
            row = first + int(np.argmax(own == here.index(""))) + 1
            raise DataError(
                f"{file}: column `{SPLIT}` says nothing in row {row}",
                "name a part in every row",
                row=row,
            )
        for name in here:
            names.setdefault(name, len(names))
        if len(names) > MOST_PARTS:
            raise DataError(
                f"{file}: column `{SPLIT}` names more than {MOST_PARTS} parts",
                "rename the column if it says something else than the part of each row",
            )
        for name, count in zip(here, np.bincount(own, minlength=len(here)).tolist(), strict=True):
            counts[name] = counts.get(name, 0) + count
        wanted.check_not_beyond(file, counts)
        if first + len(own) > rows:
            break
        codes[first : first + len(own)] = np.array([names[name] for name in here], np.int32)[own]
        first += len(own)
    if first != rows:
        raise DataError(
            f"{file} is damaged: it says that it has {rows} rows, and column `{SPLIT}` has not",
            "write the file again",
        )
    return list(names), codes


def _taken(
    codes: np.ndarray | None, first: int, batch: pa.RecordBatch, parts: Sequence[int]
) -> tuple[pa.RecordBatch, _Rows, list[np.ndarray | None]]:
    """The rows of a batch that are of these parts, where they are in the file, and whose they are.

    first     the batch's first row in the file
    returns   for each part the places in what is left of the batch; None for all of it
    """
    in_file = range(first, first + len(batch))
    if codes is None:
        return batch, in_file, [None]
    here = codes[first : first + len(batch)]
    is_wanted = np.isin(here, parts)
    rows: _Rows = in_file
    if not is_wanted.all():
        batch = batch.filter(pa.array(is_wanted))
        rows, here = first + np.flatnonzero(is_wanted), here[is_wanted]
    if len(here) and (here == here[0]).all():
        nothing = np.empty(0, np.int64)
        return batch, rows, [None if part == here[0] else nothing for part in parts]
    return batch, rows, [np.flatnonzero(here == part) for part in parts]


def _place(
    file: object,
    piece: _Piece,
    part: dict[str, np.ndarray],
    shape: tuple[int, ...],
    stored: np.dtype[Any],
    stored_bytes: int | None,
) -> np.ndarray:
    """A part's array of the piece's field; made when its first values come."""
    name = piece.field.column.name
    if name not in part:
        dtype = memory_dtype(piece.field.column.type, stored)
        check_size(file, name, math.prod(map(int, shape)) * dtype.itemsize, stored_bytes)
        part[name] = np.empty(shape, dtype)
    return part[name]


def _fill(
    file: object,
    piece: _Piece,
    into: np.ndarray,
    values: np.ndarray,
    places: np.ndarray | None,
    rows: _Rows,
) -> None:
    """Puts the values of a part's rows, at `places` of the batch, where they stay."""
    if places is not None:
        values = values[places]
        rows = np.asarray(rows)[places]
    if not len(values):
        return
    into = into[: len(values)]
    if piece.field.is_joined:
        into = into.reshape(len(values), -1)[:, piece.place]
    size = max(1, math.prod(values.shape[1:]))
    fill(file, piece.column, into, values, lambda place: int(rows[place // size]))


# ---------------------------------------------------------------- values of a batch


def _values(
    file: object, piece: _Piece, batch: pa.RecordBatch, rows: _Rows, notes: Notes
) -> np.ndarray:
    """A column's values in a batch, `[rows, *dimensions]` of the stored dtype."""
    array = batch.column(batch.schema.get_field_index(piece.name))
    with foreign(f"{file}: {piece.column.stored_name}", pa.ArrowException, UnicodeError):
        if piece.field.is_joined:
            return _scalars(file, piece.column, array, rows)
        return _of_column(file, piece.column, array, rows, notes)


def _as_declared(column: Column, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The declared dimensions, where numbers in one row are as many; else the shape as it is."""
    known = tuple(size for size in shape_of(column.type) if isinstance(size, int))
    is_whole = len(known) == len(shape_of(column.type)) and len(shape) == 1
    return known if is_whole and math.prod(known) == shape[0] else shape


def _of_column(
    file: object, column: Column, array: pa.Array, rows: _Rows, notes: Notes
) -> np.ndarray:
    if isinstance(array, pa.ExtensionArray):
        type_ = array.type
        values = _of_column(file, column, array.storage, rows, notes)
        shape = tuple(getattr(type_, "shape", values.shape[1:]))
        return values.reshape(len(values), *shape)
    if _is_picture(array.type):
        return _pictures(file, column, array, rows, notes)
    if _is_list(array.type):
        return _lists(file, column, array, rows)
    return _scalars(file, column, array, rows)


def _scalars(file: object, column: Column, array: pa.Array, rows: _Rows) -> np.ndarray:
    """Numbers, truths or text, one for each row."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if kind_of(array.type) is None:
        raise _unreadable_type(file, column, array.type)
    _check_present(file, column, array, rows)
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.float64())
    return array.to_numpy(zero_copy_only=False)


def _lists(file: object, column: Column, array: pa.Array, rows: _Rows) -> np.ndarray:
    """Lists of one length, level by level; those of tokens may be shorter and end in -1."""
    count = len(array)
    shape: list[int] = []
    per_row = 1
    while _is_list(array.type):
        _check_present(file, column, array, rows, per_row)
        inner = array.flatten()
        lengths = _lengths(array)
        if column.type.kind == "tokens" and not shape and not _is_list(inner.type):
            return _padded(file, column, inner, lengths, rows)
        size = int(lengths[0]) if len(lengths) else 0
        if (lengths != size).any():
            place = int(np.argmax(lengths != size))
            row = int(rows[place // per_row]) + 1
            raise DataError(
                f"{file}: {column.name} has {lengths[place]} numbers in row {row}, and {size} in "
                f"row {int(rows[0]) + 1}",
                f"{column.type} needs as many in every row",
                field=column.name,
                row=row,
            )
        shape.append(size)
        per_row *= size
        array = inner
    _check_present(file, column, array, rows, max(1, per_row))
    kind = kind_of(array.type)
    if kind is None or kind == TEXT:
        raise _unreadable_type(file, column, array.type)
    values = _scalars(file, column, array, rows)
    # An image may lie in one list, row by row.
    return values.reshape(count, *_as_declared(column, tuple(shape)))


def _padded(
    file: object, column: Column, inner: pa.Array, lengths: np.ndarray, rows: _Rows
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
        row = int(rows[place]) + 1
        raise DataError(
            f"{file}: {column.name} has {lengths[place]} tokens in row {row}, and {column.type} "
            f"holds {length}",
            f"declare `{column.name}: tokens[{column.type.dimensions[0]}, {lengths.max()}]`, or "
            "cut the longer ones",
            field=column.name,
            row=row,
        )
    is_token = np.arange(length) < lengths[:, None]
    _check_present_tokens(file, column, inner, is_token, rows)
    values = np.full(is_token.shape, -1, np.int64)
    values[is_token] = inner.to_numpy(zero_copy_only=False)
    return values


def _pictures(
    file: object, column: Column, array: pa.Array, rows: _Rows, notes: Notes
) -> np.ndarray:
    """Images that are stored as their PNG or JPEG files, `[rows, height, width, channels]`."""
    images.check_column(file, column)
    _check_present(file, column, array, rows)
    if pa.types.is_struct(array.type):
        array = array.field("bytes")
        _check_present(file, column, array, rows)
    decoded: list[np.ndarray] = []
    for row, value in zip(rows, array, strict=True):
        where = f"{file}, row {int(row) + 1}"
        pixels = images.decoded(where, column, value.as_py(), notes)
        if decoded and pixels.shape != decoded[0].shape:
            first = f"that in row {int(rows[0]) + 1}"
            raise images.other_size(where, column, pixels.shape, first, decoded[0].shape)
        decoded.append(pixels)
    return np.stack(decoded)


def _check_present(
    file: object, column: Column, array: pa.Array, rows: _Rows, per_row: int = 1
) -> None:
    """Raises DataError for the first row that has no value."""
    if array.null_count:
        place = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise _missing(file, column, int(rows[place // per_row]) + 1)
    if kind_of(array.type) is TEXT and len(array):
        is_empty = pc.equal(array, pa.scalar("", array.type)).to_numpy(zero_copy_only=False)
        if is_empty.any():
            raise _missing(file, column, int(rows[int(np.argmax(is_empty)) // per_row]) + 1)


def _check_present_tokens(
    file: object, column: Column, inner: pa.Array, is_token: np.ndarray, rows: _Rows
) -> None:
    if inner.null_count:
        place = int(np.argmax(inner.is_null().to_numpy(zero_copy_only=False)))
        raise _missing(file, column, int(rows[int(np.nonzero(is_token)[0][place])]) + 1)


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
