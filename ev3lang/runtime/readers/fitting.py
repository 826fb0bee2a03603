"""Stored numbers compared with what a spec declares, and brought to what memory holds of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ev3lang.catalog.signature import SCORES, Type
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers.table import Column, shape_of

REALS = ("f32", "bf16", "real", "ratio", "pp", "duration", *SCORES)
WHOLE = ("i32", "int", "class", "tokens")
TRUTHS = ("bool", "multi")
STRINGS = ("text", "id")

TEXT = np.dtype(object)
"""How a reader says that a column holds text: nothing else may be an object."""

SCALE = "scale the field down before it is stored"

# By kind of the declared type: the NumPy kinds that may stand in a file, and how we say it.
_STORED = {
    **dict.fromkeys(REALS, ("fiu", "numbers")),
    **dict.fromkeys(SCORES, ("f", "floating-point numbers")),
    **dict.fromkeys(WHOLE, ("iu", "whole numbers")),
    **dict.fromkeys(TRUTHS, ("biu", "true and false, or 0 and 1")),
    "u8": ("u", "bytes from 0 to 255 (uint8)"),
    "text": ("OUS", "text"),
    "id": ("OUSiu", "text or whole numbers"),
}


def memory_dtype(type_: Type, stored: np.dtype[Any]) -> np.dtype[Any]:
    """What an array of the type has in memory."""
    if type_.kind in REALS:
        return np.dtype(np.float32)
    if type_.kind in WHOLE:
        return np.dtype(np.int32)
    if type_.kind in TRUTHS:
        return np.dtype(bool)
    if type_.kind == "u8":
        return np.dtype(np.uint8)
    return np.dtype(np.int64) if stored.kind in "iu" else TEXT


def check_declared(
    file: object,
    column: Column,
    stored: np.dtype[Any],
    shape: Sequence[int],
    sizes: dict[str, int],
) -> None:
    """Raises DataError where a file holds something else than the spec declares.

    stored, shape   dtype and dimensions of one example in the file
    sizes           the sizes of named dimensions so far; new ones are put in
    """
    declared = shape_of(column.type)
    is_kind = stored.kind in _STORED[column.type.kind][0]
    if column.type.kind == "u8":
        is_kind = stored == np.uint8
    is_shape = len(shape) == len(declared) and all(
        size == (sizes.setdefault(each, size) if isinstance(each, str) else each)
        for size, each in zip(shape, declared, strict=True)
    )
    if not is_kind or not is_shape:
        raise mismatch(file, column, stored, shape)
    if 0 in shape:
        raise DataError(
            f"{file}: {column.stored_name} is {_said(stored, shape)} in the file: examples without "
            "a number",
            "store what the spec declares",
            field=column.name,
        )


def mismatch(
    file: object, column: Column, stored: np.dtype[Any], shape: Sequence[int]
) -> DataError:
    """The error for a field of another kind or shape, with the declaration that would fit."""
    fitting = _fitting(column.type, stored, tuple(shape))
    if fitting is None or fitting == str(column.type):
        help = f"store {column.name} as {_STORED[column.type.kind][1]}"
        if shape_of(column.type):
            help += f" of shape [{', '.join(map(str, shape_of(column.type)))}]"
    else:
        help = f"declare `{column.name}: {fitting}`, or store what the spec declares"
    return DataError(
        f"{file}: {column.stored_name} is {_said(stored, shape)} in the file, and the spec "
        f"declares {column.type}",
        help,
        field=column.name,
    )


def fill(
    file: object,
    column: Column,
    into: np.ndarray,
    values: np.ndarray,
    row_of: Callable[[int], int],
) -> None:
    """Puts values where memory holds them; both of one shape.

    row_of   from a value's place in `values`, flat, to its example, counted from 0
    Raises DataError for the first value that does not fit: a whole number or a float beyond 32
    bits, a number that is neither 0 nor 1 for a truth, bytes that are no text.
    """
    if into.dtype == TEXT:
        if values.dtype.kind == "U":
            _check_text(file, column, values, row_of)
        into[...] = values if values.dtype.kind != "S" else _decoded(file, column, values, row_of)
        return
    _check_whole(file, column, into.dtype, values, row_of)
    with np.errstate(over="ignore", invalid="ignore"):
        np.copyto(into, values, casting="unsafe")
    if into.dtype == np.float32 and values.dtype.kind == "f" and values.dtype.itemsize > 4:
        wrong = np.isinf(into) & np.isfinite(values)
        _refuse(file, column, values, wrong, row_of, "is beyond float32", SCALE)


def fitted(
    file: object, column: Column, values: np.ndarray, sizes: dict[str, int], first_row: int = 0
) -> np.ndarray:
    """A whole array `[B, *dimensions]` checked and brought to its form in memory.

    The array itself is given back where it has that form already.
    """
    check_declared(file, column, values.dtype, values.shape[1:], sizes)
    dtype = memory_dtype(column.type, values.dtype)
    if values.dtype == dtype:
        return values
    into = np.empty(values.shape, dtype)
    fill(file, column, into, values, rows_of(values.shape, first_row))
    return into


def rows_of(shape: Sequence[int], first_row: int = 0) -> Callable[[int], int]:
    """From a place in a flat array of that shape, row by row, to its row."""
    size = max(1, int(np.prod(shape[1:], dtype=np.int64)))
    return lambda place: first_row + place // size


def _check_whole(
    file: object,
    column: Column,
    dtype: np.dtype[Any],
    values: np.ndarray,
    row_of: Callable[[int], int],
) -> None:
    """Raises DataError for whole numbers that the dtype in memory can't hold."""
    if dtype.kind == "b" and values.dtype.kind != "b":
        wrong = (values != 0) & (values != 1)
        _refuse(file, column, values, wrong, row_of, "is neither 0 nor 1", "mend the row")
    elif dtype.kind == "i" and not np.can_cast(values.dtype, dtype, "safe"):
        limits = np.iinfo(dtype)
        # Minimum and maximum need no array of truths as large as the values.
        if values.size and (values.min() < limits.min or values.max() > limits.max):
            wrong = (values < limits.min) | (values > limits.max)
            _refuse(file, column, values, wrong, row_of, f"is beyond {dtype.name}", SCALE)


def _refuse(
    file: object,
    column: Column,
    values: np.ndarray,
    wrong: np.ndarray,
    row_of: Callable[[int], int],
    why: str,
    help: str,
) -> None:
    """Raises DataError for the first value that is wrong, if any is."""
    if not wrong.any():
        return
    place = int(np.argmax(wrong.ravel()))
    row = row_of(place) + 1
    raise DataError(
        f"{file}: {column.name} is {values.ravel()[place]} in row {row}, which {why}",
        help,
        field=column.name,
        row=row,
    )


def _check_text(
    file: object, column: Column, values: np.ndarray, row_of: Callable[[int], int]
) -> None:
    """Raises DataError for numbers in the place of characters that Unicode has none for."""
    width = values.dtype.itemsize // 4
    if not values.size or not width:
        return
    codes = (
        np.ascontiguousarray(values)
        .reshape(-1)
        .view(np.dtype("u4").newbyteorder(values.dtype.byteorder))
        .reshape(-1, width)
    )
    wrong = ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any(axis=1)
    if wrong.any():
        row = row_of(int(np.argmax(wrong))) + 1
        raise DataError(
            f"{file}: {column.name} holds characters in row {row} that Unicode doesn't have",
            "store text by numpy.asarray(values, dtype=str)",
            field=column.name,
            row=row,
        )


def _decoded(
    file: object, column: Column, values: np.ndarray, row_of: Callable[[int], int]
) -> np.ndarray:
    """Bytes as text."""
    texts = np.empty(values.shape, object)
    for place, value in enumerate(values.ravel()):
        try:
            texts.ravel()[place] = value.decode()
        except UnicodeDecodeError as error:
            row = row_of(place) + 1
            raise DataError(
                f"{file}: {column.name} holds bytes in row {row} that are no UTF-8 text",
                "store text as UTF-8",
                field=column.name,
                row=row,
            ) from error
    return texts


def _said(stored: np.dtype[Any], shape: Sequence[int]) -> str:
    name = "text" if stored.kind in "OUS" else stored.name
    return f"{name}[{', '.join(map(str, shape))}]" if shape else name


def _fitting(declared: Type, stored: np.dtype[Any], shape: tuple[int, ...]) -> str | None:
    """The type that a spec could declare for what is stored; None where the language has none."""
    kind = declared.kind
    is_kind = stored == np.uint8 if kind == "u8" else stored.kind in _STORED[kind][0]
    if is_kind and kind == "tokens" and len(shape) == 1:
        return str(Type(kind, (declared.dimensions[0], *shape)))
    if is_kind and kind in (*SCORES, "multi") and len(shape) == 1:
        return str(Type(kind, shape))
    if is_kind and kind in ("class", "bool") and len(shape) == 1 and stored.kind in "bu":
        return str(Type("multi", shape))
    if is_kind and kind in ("f32", "bf16", "u8", "i32"):
        return str(Type(kind, shape))
    if stored.kind in "OUS":
        return None if shape else "id"
    if stored.kind == "b":
        return str(Type("multi", shape)) if len(shape) == 1 else None if shape else "bool"
    kinds = {"f": "f32", "i": "i32", "u": "u8" if stored == np.uint8 else "i32"}
    return str(Type(kinds[stored.kind], shape)) if stored.kind in kinds else None
