"""NumPy's files of several arrays, read straight to where they stay and never unpickled."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np
from numpy.lib import format as npy

from ev3lang.catalog.signature import Value
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers.fitting import check_declared, fill, memory_dtype
from ev3lang.runtime.readers.opening import check_size, file_at
from ev3lang.runtime.readers.table import (
    Column,
    Parts,
    check_row_counts,
    missing_field,
    only_named,
)

BLOCK_BYTES = 2**20
ENDING = ".npy"

# What zipfile and NumPy raise for a member that is not what its headers say.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError)


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


def read(options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path) -> Parts:
    """The declared arrays of an npz file; `train/image` is image of part train.

    Sizes and types are compared by the headers before anything is allocated, arrays that the
    spec does not declare are not read, and pickled objects are refused.
    Raises DataError.
    """
    path = file_at(folder, str(options["path"]))
    only_named(path, columns)
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(
            f"{path} is no npz file, or the end of it is lost",
            "write it again with numpy.savez",
        ) from error
    with archive:
        found = _find(archive, path, columns)
        sizes: dict[str, int] = {}
        parts: dict[str | None, dict[str, _Array]] = {
            part: {
                column.name: _header(archive, path, column, member, sizes)
                for column, member in zip(columns, members, strict=True)
            }
            for part, members in found.items()
        }
        check_row_counts(
            path,
            {
                part: {name: array.shape[0] for name, array in arrays.items()}
                for part, arrays in parts.items()
            },
        )
        return {
            part: {
                column.name: _values(archive, path, column, arrays[column.name])
                for column in columns
            }
            for part, arrays in parts.items()
        }


def _find(
    archive: zipfile.ZipFile, path: Path, columns: tuple[Column, ...]
) -> dict[str | None, list[zipfile.ZipInfo]]:
    """For each part of the file the members that hold the columns, in their order."""
    members = {
        info.filename.removesuffix(ENDING): info
        for info in archive.infolist()
        if info.filename.endswith(ENDING)
    }
    names = {column: column.stored_name for column in columns}
    parts: dict[str | None, None] = {}
    for member in members:
        prefix, _, name = member.rpartition("/")
        if member in names.values():
            parts[None] = None
        elif name in names.values():
            parts[prefix] = None
    if not parts:
        raise missing_field(path, columns[0], sorted(members), "array")
    found: dict[str | None, list[zipfile.ZipInfo]] = {}
    for part in parts:
        prefix = "" if part is None else f"{part}/"
        known = [name.removeprefix(prefix) for name in members if name.startswith(prefix)]
        for column, stored in names.items():
            if prefix + stored not in members:
                file = path if part is None else f"part {part} of {path}"
                raise missing_field(file, column, known, "array")
        found[part] = [members[prefix + stored] for stored in names.values()]
    return found


def _header(
    archive: zipfile.ZipFile,
    path: Path,
    column: Column,
    member: zipfile.ZipInfo,
    sizes: dict[str, int],
) -> _Array:
    """What the file says of an array, compared with the column and with the member's size."""
    try:
        with archive.open(member) as opened:
            array = _Array(member, *_described(opened), opened.tell())
    # RuntimeError: it is encrypted; TokenError: NumPy takes a bad header for one of Python 2.
    except (*_BROKEN, RuntimeError, tokenize.TokenError) as error:
        raise _broken(path, member, error) from error
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
    check_size(path, column.name, count * array.dtype.itemsize, member.compress_size)
    return array


def _described(opened: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Dtype, shape and order of an array, from the start of its member."""
    version = npy.read_magic(opened)
    if version == (1, 0):
        shape, is_fortran, dtype = npy.read_array_header_1_0(opened)
    elif version == (2, 0):
        shape, is_fortran, dtype = npy.read_array_header_2_0(opened)
    else:
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
    try:
        with archive.open(array.member) as opened:
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
    except _BROKEN as error:
        raise _broken(path, array.member, error) from error
    return into.T if array.is_fortran else into


def _broken(path: Path, member: zipfile.ZipInfo, why: object) -> DataError:
    return DataError(
        f"{path}: {member.filename.removesuffix(ENDING)} is damaged: {why}",
        "write the file again with numpy.savez",
    )
