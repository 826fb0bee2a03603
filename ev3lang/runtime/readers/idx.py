"""The files of MNIST and its kin: one array each, plain or packed by gzip."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from ev3lang.catalog.signature import Value
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers.fitting import fitted
from ev3lang.runtime.readers.opening import check_size, file_at
from ev3lang.runtime.readers.table import (
    Column,
    Parts,
    check_row_counts,
    missing_field,
    only_named,
    shape_of,
)

# Numbers stand with the most significant byte first.
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

FILES = {"image": "images", "label": "labels"}
"""Field to the option that names its file."""

HELP = "fetch the file again"


def read(options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path) -> Parts:
    """Fields `image` and `label` of a file each; images may be declared with one channel.

    Raises DataError. Source of the format: LeCun, Cortes and Burges (1998), The MNIST database.
    """
    fields: dict[str, np.ndarray] = {}
    paths = {field: file_at(folder, str(options[option])) for field, option in FILES.items()}
    both = " and ".join(str(path) for path in paths.values())
    only_named(both, columns)
    sizes: dict[str, int] = {}
    for column in columns:
        if column.stored_name not in FILES:
            raise missing_field(both, column, tuple(FILES), "field")
        path = paths[column.stored_name]
        values = _array(path)
        if values.ndim == 3 and shape_of(column.type) == (*values.shape[1:], 1):
            values = values[..., np.newaxis]
        fields[column.name] = fitted(path, column, values, sizes)
    check_row_counts(both, {None: {name: len(values) for name, values in fields.items()}})
    return {None: fields}


def _array(path: Path) -> np.ndarray:
    with path.open("rb") as opened:
        is_packed = opened.read(2) == b"\x1f\x8b"
        opened.seek(0)
        if not is_packed:
            return _numbers(path, opened, None)
        try:
            with gzip.open(opened) as unpacked:
                return _numbers(path, unpacked, path.stat().st_size)  # type: ignore[arg-type]
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is damaged: {error}", HELP) from error


def _numbers(path: Path, opened: IO[bytes], packed_bytes: int | None) -> np.ndarray:
    """The one array of a file, `[B, *dimensions]`."""
    magic = opened.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in DTYPES or magic[3] == 0:
        raise DataError(
            f"{path} is no idx file: it starts with {magic.hex(' ')}",
            "such files start with 00 00 08 03 for images and 00 00 08 01 for labels",
        )
    dtype, dimensions = np.dtype(DTYPES[magic[2]]), magic[3]
    sizes = opened.read(4 * dimensions)
    if len(sizes) < 4 * dimensions:
        raise DataError(f"{path} ends within its header", HELP)
    shape = struct.unpack(f">{dimensions}I", sizes)
    size_bytes = math.prod(shape) * dtype.itemsize
    if packed_bytes is None:
        held = path.stat().st_size - 4 - 4 * dimensions
        if held != size_bytes:
            raise _other_size(path, shape, dtype, held)
    check_size(path, "its array", size_bytes, packed_bytes)
    values = np.empty(shape, dtype)
    into = values.data.cast("B") if size_bytes else memoryview(bytearray())
    held = 0
    while held < size_bytes and (count := opened.readinto(into[held:])):  # type: ignore[attr-defined]
        held += count
    if held < size_bytes or opened.read(1):
        raise _other_size(path, shape, dtype, held)
    return values


def _other_size(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic], held: int
) -> DataError:
    sign = "x".join(map(str, shape))
    more = "" if held < math.prod(shape) * dtype.itemsize else " or more"
    return DataError(
        f"{path} is damaged: its header says {sign} numbers of {dtype.itemsize} bytes, and "
        f"{held:,} bytes{more} follow",
        HELP,
    )
