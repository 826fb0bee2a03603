"""NumPy's files of several arrays, read straight to where they stay and never unpickled."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np
from numpy.lib import format as npy

from ev3lang.catalog.signature import Value
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.foreign import FOREIGN, cause, foreign
from ev3lang.runtime.readers.fitting import check_declared, fill, memory_dtype
from ev3lang.runtime.readers.opening import check_size, file_at
from ev3lang.runtime.readers.table import (
    Column,
    Found,
    check_row_counts,
    missing_field,
    only_named,
)
from ev3lang.runtime.readers.wanted import Wanted

BLOCK_BYTES = 2**20
ENDING = ".npy"

AGAIN = "write the file again with numpy.savez"


@attrs.frozen(eq=False)
class _Array:
    """An array in the file, known by its header.

    place   of its first number in the member
    """

    member: zipfile.ZipInfo
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    place: int

    def row_of(self, first: int, place: int) -> int:
        """The example of a number, `place` behind number `first` of the member."""
        rows = self.shape[0]
        size = math.prod(self.shape[1:])
        return (first + place) % rows if self.is_fortran else (first + place) // size


def read(
    options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path, wanted: Wanted
) -> Found:
    """The declared arrays of an npz file; `train/image` is image of part train.

    Sizes and types are compared by the headers before anything is allocated, arrays that the
    spec does not declare, and parts that it doesn't draw from, are not read, and pickled objects
    are refused.
    Raises DataError.
    """
    path = file_at(folder, str(options["path"]))
    only_named(path, columns)
    try:
        archive = zipfile.ZipFile(path)
    except FOREIGN as error:
        raise DataError(
            f"{path} is no npz file, or the end of it is lost: {cause(error)}", AGAIN
        ) from error
    with archive:
        members = {
            info.filename.removesuffix(ENDING): info
            for info in archive.infolist()
            if info.filename.endswith(ENDING)
        }
        found = _parts(path, columns, members)
        chosen = wanted.chosen(path, found)
        sizes: dict[str, int] = {}
        parts = {
            part: {
                column: _header(archive, path, column, member, sizes)
                for column, member in _members(path, columns, members, part).items()
            }
            for part in chosen
        }
        counts = {
            part: {column.name: array.shape[0] for column, array in arrays.items()}
            for part, arrays in parts.items()
        }
        check_row_counts(path, counts)
        rows = {part: next(iter(of_part.values())) for part, of_part in counts.items()}
        for part in wanted.counted(chosen, found) - rows.keys():
            member = next(
                members[each] for each in map(partial(_stored, part), columns) if each in members
            )
            rows[part] = _rows(archive, path, member)
        wanted.check_rows(path, rows)
        for arrays in parts.values():
            for column, array in arrays.items():
                _check_kept(path, column, array)
        return Found(
            {
                part: {
                    column.name: _values(archive, path, column, array)
                    for column, array in arrays.items()
                }
                for part, arrays in parts.items()
            }
        )


def _stored(part: str | None, column: Column) -> str:
    """What the file calls a part's array."""
    return column.stored_name if part is None else f"{part}/{column.stored_name}"


def _parts(
    path: Path, columns: tuple[Column, ...], members: Mapping[str, zipfile.ZipInfo]
) -> tuple[str | None, ...]:
    """The parts of the file that have any of the columns; None for arrays of no part."""
    names = {column.stored_name for column in columns}
    parts: dict[str | None, None] = {}
    for member in members:
        prefix, _, name = member.rpartition("/")
        if member in names:
            parts[None] = None
        elif name in names:
            parts[prefix] = None
    if not parts:
        raise missing_field(path, columns[0], sorted(members), "array")
    return tuple(parts)


def _members(
    path: Path,
    columns: tuple[Column, ...],
    members: Mapping[str, zipfile.ZipInfo],
    part: str | None,
) -> dict[Column, zipfile.ZipInfo]:
    """The members of the file that hold the columns of a part."""
    prefix = "" if part is None else f"{part}/"
    for column in columns:
        if _stored(part, column) not in members:
            file = path if part is None else f"part {part} of {path}"
            known = [name.removeprefix(prefix) for name in members if name.startswith(prefix)]
            raise missing_field(file, column, known, "array")
    return {column: members[_stored(part, column)] for column in columns}


def _rows(archive: zipfile.ZipFile, path: Path, member: zipfile.ZipInfo) -> int:
    """How many examples an array has that is not read, by its header."""
    with _guarded(path, member):
        _require_known_packing(member)
        with archive.open(member) as opened:
            _, shape, _ = _described(opened)
    return shape[0] if shape else 0


def _header(
    archive: zipfile.ZipFile,
    path: Path,
    column: Column,
    member: zipfile.ZipInfo,
    sizes: dict[str, int],
) -> _Array:
    """What the file says of an array, compared with the column and with the member's size."""
    with _guarded(path, member):
        _require_known_packing(member)
        with archive.open(member) as opened:
            array = _Array(member, *_described(opened), opened.tell())
    if array.dtype.hasobject:
        raise DataError(
            f"{path}: {column.name} holds pickled Python objects, which could run code when read",
            "store numbers, or text by numpy.asarray(values, dtype=str)",
            field=column.name,
        )
    if not array.shape:
        raise DataError(
            f"{path}: {column.name} is a single {array.dtype.name}, not one for each example",
            "store an array whose first axis counts the examples",
            field=column.name,
        )
    check_declared(path, column, array.dtype, array.shape[1:], sizes)
    count = math.prod(array.shape)
    if member.file_size - array.place != count * array.dtype.itemsize:
        raise _broken(
            path,
            member,
            f"its header says {list(array.shape)} numbers of {array.dtype.name}, and "
            f"{member.file_size - array.place:,} bytes follow",
        )
    return array


def _check_kept(path: Path, column: Column, array: _Array) -> None:
    """Raises DataError for an array that the machine can't hold, in the file's form or in ours."""
    count = math.prod(array.shape)
    kept = memory_dtype(column.type, array.dtype).itemsize
    stored_bytes = min(array.member.compress_size, path.stat().st_size)
    check_size(path, column.name, count * max(array.dtype.itemsize, kept), stored_bytes)


def whole(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """An array of an archive as it is there, whose header is compared with the member's size.

    Raises what zipfile and NumPy do, which `FOREIGN` lists, ValueError for a header of another size
    and for pickled objects.
    """
    _require_known_packing(member)
    with archive.open(member) as opened:
        dtype, shape, is_fortran = _described(opened)
        if dtype.hasobject:
            raise ValueError("it holds pickled Python objects, which could run code when read")
        size = math.prod(shape) * dtype.itemsize
        if member.file_size - opened.tell() != size:
            raise ValueError(f"its header says {list(shape)} numbers of {dtype}, and it has others")
        data = opened.read()
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


def _require_known_packing(member: zipfile.ZipInfo) -> None:
    """Raises ValueError for what NumPy never writes, and packs by sizes of its own."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is packed by another method than NumPy's")


def _described(opened: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Dtype, shape and order of an array, from the start of its member."""
    version = npy.read_magic(opened)
    with warnings.catch_warnings():
        # that it was written by Python 2 doesn't matter
        warnings.simplefilter("ignore", UserWarning)
        if version == (1, 0):
            shape, is_fortran, dtype = npy.read_array_header_1_0(opened)
        elif version == (2, 0):
            shape, is_fortran, dtype = npy.read_array_header_2_0(opened)
    if version not in ((1, 0), (2, 0)):
        # Later versions differ in the names of structured fields alone, which no field has.
        raise ValueError(f"version {version} of the format, which only structured arrays need")
    return dtype, shape, is_fortran


def _values(archive: zipfile.ZipFile, path: Path, column: Column, array: _Array) -> np.ndarray:
    """The numbers of an array, read in blocks straight to where they stay."""
    dtype = memory_dtype(column.type, array.dtype)
    # An array in Fortran's order is the transposed array in ours, and stays so in memory.
    shape = array.shape[::-1] if array.is_fortran else array.shape
    into = np.empty(shape, dtype)
    flat = into.reshape(-1)
    size = array.dtype.itemsize
    block = max(1, BLOCK_BYTES // max(1, size))
    with _guarded(path, array.member), archive.open(array.member) as opened:
        opened.read(array.place)
        for first in range(0, flat.size, block):
            part = flat[first : first + block]
            data = opened.read(part.size * size)
            if len(data) != part.size * size:
                raise EOFError("it ends too early")
            values = np.frombuffer(data, array.dtype)
            fill(path, column, part, values, partial(array.row_of, first))
        # The check sum is compared at the end of the member.
        opened.read(1)
    return into.T if array.is_fortran else into


def _guarded(path: Path, member: zipfile.ZipInfo) -> AbstractContextManager[None]:
    return foreign(f"{path}: {member.filename.removesuffix(ENDING)}", *FOREIGN, help=AGAIN)


def _broken(path: Path, member: zipfile.ZipInfo, why: object) -> DataError:
    return DataError(
        f"{path}: {member.filename.removesuffix(ENDING)} is damaged: {why}",
        AGAIN,
    )
