"""NumPy's files of several arrays: what each holds."""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np
from numpy.lib import format as npy

from ev3lang.catalog.signature import Type
from ev3lang.new.table import MOST_VALUES, Column, NewSpecError, Table, of_numbers
from ev3lang.runtime.foreign import foreign
from ev3lang.runtime.readers.opening import file_at

ENDING = ".npy"
AGAIN = "write the file again with numpy.savez"


@attrs.frozen(eq=False)
class _Array:
    """An array of the file by its header; `values` where there is one scalar for each example."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    values: np.ndarray | None = None


_Parts: TypeAlias = "dict[str, dict[str, _Array]]"
"""Part of the file, empty where it has none, to field to its array."""


def npz_table(data: str) -> Table:
    """An npz file. Raises DataError and NewSpecError."""
    parts: _Parts = {}
    for name, array in _arrays(file_at(Path(), data)).items():
        part, _, field = name.rpartition("/")
        if array.shape:
            parts.setdefault(part, {})[field] = array
    if "" in parts and len(parts) > 1:
        del parts[""]
    if not parts:
        raise NewSpecError(
            f"{data} holds no arrays with an entry for each example", "np.savez writes one"
        )
    rows = {part: _common_rows(arrays) for part, arrays in parts.items()}
    fields = dict.fromkeys(field for arrays in parts.values() for field in arrays)
    columns = tuple(_column(field, parts, rows) for field in fields)
    total = sum(rows.values())
    if not total:
        raise NewSpecError(f"{data} has no rows", "each array has one entry an example")
    return Table("npz", columns, total, path=data, parts={} if "" in parts else rows)


def _arrays(path: Path) -> dict[str, _Array]:
    """Every array by its name in the file, those with an axis of examples alone with values."""
    with foreign(f"{path} is no npz file, or", help=AGAIN):
        archive = zipfile.ZipFile(path)
    with archive:
        return {
            member.filename.removesuffix(ENDING): _array(archive, path, member)
            for member in archive.infolist()
            if member.filename.endswith(ENDING)
        }


def _array(archive: zipfile.ZipFile, path: Path, member: zipfile.ZipInfo) -> _Array:
    name = member.filename.removesuffix(ENDING)
    with foreign(f"{path}: {name}", help=AGAIN), archive.open(member) as opened:
        version = npy.read_magic(opened)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, _, dtype = read(opened)
        size = math.prod(shape) * dtype.itemsize
        if len(shape) != 1 or dtype.kind not in "biufUS":
            return _Array(dtype, shape)
        # its header may promise more than there is
        content = opened.read(member.file_size)
        if len(content) != size:
            raise ValueError(f"{len(content):,} bytes follow, and its header says {size:,}")
        return _Array(dtype, shape, np.frombuffer(content, dtype))


def _common_rows(arrays: Mapping[str, _Array]) -> int:
    """The length that most arrays have; of equals the greatest."""
    lengths = Counter(array.shape[0] for array in arrays.values())
    return max(lengths, key=lambda length: (lengths[length], length))


def _column(field: str, parts: _Parts, rows: Mapping[str, int]) -> Column:
    """A field of all parts; one that a part lacks, or that is otherwise there, is of no use."""
    found = []
    for part, arrays in parts.items():
        where = f" in {part}" if part else ""
        array = arrays.get(field)
        if array is None:
            return Column(field, "none", trouble=f"there is none{where}")
        if array.shape[0] != rows[part]:
            entries = f"{array.shape[0]} entries{where}"
            return Column(field, "none", trouble=f"{entries}, and most arrays have {rows[part]}")
        found.append(array)
    first = found[0]
    if any(each.dtype != first.dtype or each.shape[1:] != first.shape[1:] for each in found[1:]):
        is_text = all(
            each.dtype.kind == first.dtype.kind and first.dtype.kind in "US" for each in found
        )
        if not is_text:
            return Column(field, "none", trouble="its parts differ in type or shape")
    if first.values is None:
        return _without_values(field, first)
    values = np.concatenate([each.values for each in found if each.values is not None])
    return _of_values(field, values)


def _without_values(field: str, array: _Array) -> Column:
    kind, shape = array.dtype.kind, array.shape[1:]
    if kind == "O":
        return Column(field, "none", trouble="pickled objects: store numbers, or text as dtype=str")
    if kind not in "iuf":
        what = {"b": "truths", "U": "words", "S": "words"}.get(kind)
        several = f"several {what} for each example" if what else f"no field holds {array.dtype}"
        return Column(field, "none", trouble=several)
    if 0 in shape:
        return Column(field, "none", trouble="nothing in it")
    name = "u8" if array.dtype == np.uint8 else "f32"
    return Column(field, "array", type=str(Type(name, shape)))


def _of_values(title: str, values: np.ndarray) -> Column:
    kinds: Mapping[str, Any] = {
        "b": "bool",
        "i": "whole",
        "u": "whole",
        "f": "real",
        "U": "words",
        "S": "words",
    }
    kind = kinds[values.dtype.kind]
    if kind == "words":
        texts = [_text(each) for each in values]
        is_filled = np.asarray([bool(each) for each in texts])
        unique: list[Any] = sorted({each for each in texts if each})
    else:
        is_filled = np.isfinite(values) if kind == "real" else np.ones(len(values), bool)
        unique = np.unique(values[is_filled]).tolist()
    missing = int(len(values) - is_filled.sum())
    if not unique:
        return Column(title, "none", missing=missing, trouble="every entry is empty")
    shown = tuple(unique) if len(unique) <= MOST_VALUES else ()
    column = Column(title, kind, missing=missing, distinct=len(unique), values=shown)
    return of_numbers(column, values[is_filled]) if kind in ("real", "whole") else column


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
