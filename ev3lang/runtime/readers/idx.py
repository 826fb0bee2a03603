"""The files of MNIST and its kin: one array each, plain or packed by gzip."""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np

from ev3lang.catalog.signature import Value
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.foreign import foreign
from ev3lang.runtime.readers.fitting import check_declared, fitted
from ev3lang.runtime.readers.opening import check_size, file_at
from ev3lang.runtime.readers.table import (
    Column,
    Found,
    check_row_counts,
    missing_field,
    only_named,
    shape_of,
)
from ev3lang.runtime.readers.wanted import Wanted

# Numbers stand with the most significant byte first.
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

FILES = {"image": "images", "label": "labels"}
"""Field to the option that names its file."""

PACKED = b"\x1f\x8b"
"""The first bytes of what gzip writes."""

HELP = "fetch the file again"


def read(
    options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path, wanted: Wanted
) -> Found:
    """Fields `image` and `label` of a file each; images may be declared with one channel.

    Headers are compared with the spec, and with the files' sizes, before anything is allocated.
    Raises DataError. Source of the format: LeCun, Cortes and Burges (1998), The MNIST database.
    """
    paths = {field: file_at(folder, str(options[option])) for field, option in FILES.items()}
    both = " and ".join(str(path) for path in paths.values())
    only_named(both, columns)
    for column in columns:
        if column.stored_name not in FILES:
            raise missing_field(both, column, tuple(FILES), "field")
    headers = {column: _header(paths[column.stored_name]) for column in columns}
    check_row_counts(both, {None: {each.name: h.shape[0] for each, h in headers.items()}})
    wanted.chosen(both, (None,))
    wanted.check_rows(both, {None: headers[columns[0]].shape[0]})
    sizes: dict[str, int] = {}
    fields = {}
    for column, header in headers.items():
        path, shape = paths[column.stored_name], header.shape
        if len(shape) == 3 and shape_of(column.type) == (*shape[1:], 1):
            shape = (*shape, 1)
        check_declared(path, column, header.dtype, shape[1:], sizes)
        values = _array(path, header).reshape(shape)
        fields[column.name] = fitted(path, column, values, sizes)
    return Found({None: fields})


@attrs.frozen(eq=False)
class _Header:
    """What the start of a file says of its array, `[B, *dimensions]`."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Of the numbers that follow it."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def own_bytes(self) -> int:
        return 4 + 4 * len(self.shape)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """A file, unpacked where it is packed, and whether it is."""
    with foreign(path, help=HELP), path.open("rb") as opened:
        is_packed = opened.read(2) == PACKED
        opened.seek(0)
        if not is_packed:
            yield opened, False
            return
        with gzip.open(opened) as unpacked:
            yield unpacked, True  # type: ignore[misc]


def _header(path: Path) -> _Header:
    with _opened(path) as (opened, is_packed):
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
    header = _Header(dtype, struct.unpack(f">{dimensions}I", sizes))
    stored = path.stat().st_size
    if not is_packed and stored - header.own_bytes != header.size_bytes:
        raise _other_size(path, header, stored - header.own_bytes)
    check_size(path, "its array", header.size_bytes, stored if is_packed else None)
    return header


def _array(path: Path, header: _Header) -> np.ndarray:
    """The one array of a file, `[B, *dimensions]`."""
    with _opened(path) as (opened, _):
        opened.read(header.own_bytes)
        values = np.empty(math.prod(header.shape), header.dtype)
        into = values.view(np.uint8).data
        held = 0
        while held < len(into) and (count := opened.readinto(into[held:])):  # type: ignore[attr-defined]
            held += count
        if held < header.size_bytes or opened.read(1):
            raise _other_size(path, header, held)
    return values.reshape(header.shape)


def _other_size(path: Path, header: _Header, held: int) -> DataError:
    sign = "x".join(map(str, header.shape))
    more = "" if held < header.size_bytes else " or more"
    return DataError(
        f"{path} is damaged: its header says {sign} numbers of {header.dtype.itemsize} bytes, and "
        f"{held:,} bytes{more} follow",
        HELP,
    )
