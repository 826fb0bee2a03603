"""The data of a run: read, checked, derived, split in four and normalised, as NumPy arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import numpy as np

from ev3lang.catalog.index import SOURCES
from ev3lang.catalog.signature import Type
from ev3lang.check.typed import SPLITS
from ev3lang.plan.plan import DataPlan, Derived, Known, Normalized, fields_of
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers import READERS
from ev3lang.runtime.readers.table import Column
from ev3lang.runtime.splits import seeded, split_indices, stratified_sizes

Tables: TypeAlias = dict[str, dict[str, np.ndarray]]
"""Split to field to all its examples, `[B, *dimensions]`; float32, uint8, int32 for labels and
tokens, bool. `explore` holds `f"{field} known"`, [B] bool, beside a field that a part shows."""

Columns: TypeAlias = dict[str, np.ndarray]

Scale: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Mean and standard deviation, [] or one for each channel, float32."""

BLOCK_ROWS = 4096
"""Rows whose statistics are taken at a time, so that no second copy of the data is made."""


@attrs.frozen
class FileRecord:
    """A file that was read, as it was."""

    path: str
    size_bytes: int
    sha256: str


@attrs.frozen(eq=False)
class Dataset:
    """What a run reads.

    tables       empty for an endless source
    statistics   of fields that are normalised in the program: u8 and augmented ones
    scales       of every normalised field, in the units of the field (u8: of [0, 1])
    files        what was read from the disk
    warnings     what a reader of the report should know
    """

    tables: Tables
    statistics: Mapping[str, Scale] = attrs.Factory(dict)
    scales: Mapping[str, Scale] = attrs.Factory(dict)
    files: tuple[FileRecord, ...] = ()
    warnings: tuple[str, ...] = ()


def read(plan: DataPlan, folder: Path = Path()) -> Dataset:
    """The examples of every split, with derived fields; nothing for an endless source.

    folder   of the spec: what its paths are relative to
    u8 stays as it is, and fields that are augmented too: the program scales and normalises them.
    All others are normalised here.
    Raises DataError where the data don't fit the plan: a file that is not what is declared, a
    label out of range, a value that is not a finite number, a split without examples, a batch
    larger than the explore split; OSError where a file can't be read.
    """
    if plan.split is None:
        return Dataset({})
    parts = _read_source(plan, folder)
    files = _records(plan, folder)
    tables: Tables = {use: {} for use in SPLITS}
    for part in list(parts):
        columns = _prepared(plan, part, parts.pop(part))
        _deal_out(plan, part, columns, tables)
    _check_sizes(plan, tables)
    scales: dict[str, Scale] = {}
    in_program = _in_program(plan)
    for normalized in plan.normalized:
        scales[normalized.field] = _scale(tables["explore"][normalized.field], normalized)
        if normalized.field not in in_program:
            for table in tables.values():
                _normalize(table, normalized.field, scales[normalized.field])
    for known in plan.known:
        tables["explore"][f"{known.field} known"] = _known(plan, known, tables["explore"])
    return Dataset(
        tables,
        {name: scale for name, scale in scales.items() if name in in_program},
        scales,
        files,
        tuple(_warnings(plan, tables)),
    )


def _in_program(plan: DataPlan) -> frozenset[str]:
    """Fields that the program scales and normalises."""
    small = {name for name, type_ in plan.fields if type_.kind == "u8"}
    return frozenset(small | {each.field for each in plan.augmented})


# ---------------------------------------------------------------- sources


def _read_source(plan: DataPlan, folder: Path) -> dict[str | None, Columns]:
    """Every field of each part of the source as it comes, in the source's order of rows."""
    if plan.source in READERS:
        origins = dict(plan.origins)
        columns = tuple(Column(name, type_, origins.get(name)) for name, type_ in plan.fields)
        return _wanted_parts(plan, READERS[plan.source](_values(plan), columns, folder))
    if plan.source in _SKLEARN:
        return {None: _SKLEARN[plan.source]()}
    return {None: _generate(plan)}


def _values(plan: DataPlan) -> dict[str, Any]:
    return dict(plan.options)


def _wanted_parts(plan: DataPlan, parts: dict[str | None, Columns]) -> dict[str | None, Columns]:
    """The parts that the split draws from; all in one where it draws from the whole."""
    assert plan.split is not None
    wanted = dict.fromkeys(plan.split.parts)
    named = [str(part) for part in parts if part is not None]
    for part in wanted:
        if part is None and None not in parts:
            # the spec doesn't tell the file's parts apart, so they are one
            parts = {None: _joined(parts)}
        elif part not in parts:
            has = f"it has {', '.join(named)}" if named else "it has no parts"
            raise DataError(
                f"{plan.name} has no part {part!r}: {has}",
                "draw the splits from a part that the file has, or from the whole",
                is_spec_fault=True,
            )
    return {part: parts[part] for part in wanted}


def _joined(parts: Mapping[str | None, Columns]) -> Columns:
    if len(parts) == 1:
        return next(iter(parts.values()))
    first = next(iter(parts.values()))
    return {name: np.concatenate([part[name] for part in parts.values()]) for name in first}


def _records(plan: DataPlan, folder: Path) -> tuple[FileRecord, ...]:
    """The plain files that a source's options name."""
    kinds = {option.name: option.kind for option in SOURCES[plan.source].options}
    found = []
    for name, value in plan.options:
        path = folder / str(value)
        if kinds.get(name) == "path" and path.is_file():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.append(FileRecord(str(value), path.stat().st_size, digest))
    return tuple(found)


def _generate(plan: DataPlan) -> Columns:
    """A finite draw from a generated source, keyed by the split's seed and the block's name."""
    import jax

    from ev3lang.backend.keys import named
    from ev3lang.backend.sources import TABLE
    from ev3lang.catalog.index import SOURCES

    assert plan.split is not None, f"{plan.name} is endless"
    assert plan.rows is not None, f"{plan.source} has no rows"
    rows_option = SOURCES[plan.source].rows_option
    options = {name: value for name, value in plan.options if name != rows_option}
    key = named(jax.random.key(plan.split.seed), "data", plan.name)
    drawn = TABLE[plan.source](key, plan.rows, **options)
    return {name: np.asarray(column) for name, column in drawn.items()}


def _digits() -> Columns:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return {"image": _reals(images).reshape(-1, 8, 8, 1), "label": _labels(labels)}


def _iris() -> Columns:
    from sklearn.datasets import load_iris

    features, labels = load_iris(return_X_y=True)
    return {"features": _reals(features), "label": _labels(labels)}


def _wine() -> Columns:
    from sklearn.datasets import load_wine

    features, labels = load_wine(return_X_y=True)
    return {"features": _reals(features), "label": _labels(labels)}


def _breast_cancer() -> Columns:
    from sklearn.datasets import load_breast_cancer

    features, labels = load_breast_cancer(return_X_y=True)
    return {"features": _reals(features), "label": _labels(labels)}


def _diabetes() -> Columns:
    from sklearn.datasets import load_diabetes

    features, target = load_diabetes(return_X_y=True)
    return {"features": _reals(features), "target": _reals(target)}


def _reals(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)


def _labels(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.int32)


_SKLEARN: dict[str, Callable[[], Columns]] = {
    "sklearn.digits": _digits,
    "sklearn.iris": _iris,
    "sklearn.wine": _wine,
    "sklearn.breast_cancer": _breast_cancer,
    "sklearn.diabetes": _diabetes,
}


# ---------------------------------------------------------------- checks


def _prepared(plan: DataPlan, part: str | None, columns: Columns) -> Columns:
    """The columns of a part, checked, words as numbers, with what is derived from them."""
    rows = len(next(iter(columns.values())))
    stated = plan.rows if part is None else dict(plan.rows_in).get(part)
    if stated is not None and stated != rows and plan.source in READERS:
        of_part = "" if part is None else f" in {part}"
        raise DataError(
            f"{plan.name} has {rows} rows{of_part}, and the spec says {stated}",
            f"write `rows {rows}{of_part}`, or mend the file",
            is_spec_fault=True,
        )
    for name, type_ in plan.fields:
        if type_.kind == "text":
            columns[name] = _categories(plan.name, name, type_, columns[name])
    _check_columns(plan.name, dict(plan.fields), columns)
    return _derived(plan, columns)


def _categories(data: str, name: str, type_: Type, column: np.ndarray) -> np.ndarray:
    """Words as their places among all words in sorted order: [B] int32."""
    words, places = np.unique(column.astype(str), return_inverse=True)
    (declared,) = type_.dimensions
    if isinstance(declared, int) and len(words) > declared:
        listed = ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
        raise DataError(
            f"{data}.{name} has {len(words)} different words ({listed}), and {type_} has room for "
            f"{declared}",
            f"declare `{name}: text[{len(words)}]`",
            field=name,
        )
    return places.reshape(-1).astype(np.int32)


def _check_columns(data: str, fields: Mapping[str, Type], columns: Columns) -> None:
    """Raises DataError for the first value that its field's type doesn't allow."""
    for name, type_ in fields.items():
        column = columns[name]
        match type_.kind:
            case "class":
                _check_range(data, name, type_, column, 0, "labels 0 to")
            case "tokens":
                _check_range(data, name, type_, column, -1, "tokens -1 (padding) to")
            case _ if np.issubdtype(column.dtype, np.floating):
                _check_finite(data, name, column)


def _check_range(
    data: str, name: str, type_: Type, column: np.ndarray, lowest: int, words: str
) -> None:
    count = type_.dimensions[0]
    assert isinstance(count, int), f"{name} has an unknown count"
    is_wrong = ((column < lowest) | (column >= count)).reshape(len(column), -1)
    wrong = np.flatnonzero(is_wrong.any(axis=1))
    if len(wrong):
        row = int(wrong[0])
        value = int(column[row].reshape(-1)[np.argmax(is_wrong[row])])
        raise DataError(
            f"{data}.{name} is {value} in row {row + 1}, but {type_} has {words} "
            f"{count - 1} ({len(wrong)} such rows)",
            "declare as many as the data hold, or mend the rows",
            field=name,
            row=row + 1,
        )


def _check_finite(data: str, name: str, column: np.ndarray) -> None:
    broken = np.flatnonzero(
        np.concatenate(
            [~np.isfinite(block).reshape(len(block), -1).all(axis=1) for block in _blocks(column)]
        )
    )
    if len(broken):
        row = int(broken[0])
        raise DataError(
            f"{data}.{name} holds a value that is not a finite number in row {row + 1} "
            f"({len(broken)} such rows)",
            "fill in or leave out these rows before the run",
            field=name,
            row=row + 1,
        )


def _blocks(column: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, len(column), BLOCK_ROWS):
        yield column[begin : begin + BLOCK_ROWS]


def _check_sizes(plan: DataPlan, tables: Tables) -> None:
    assert plan.split is not None
    counts = {use: len(next(iter(table.values()))) for use, table in tables.items()}
    rows = sum(counts.values())
    for use, share in zip(SPLITS, plan.split.shares, strict=True):
        if not counts[use]:
            raise DataError(
                f"the {use} split of {plan.name} is empty: {share:.1%} of {rows} examples",
                f"give {use} a larger share",
                is_spec_fault=True,
            )
    if plan.batch > counts["explore"]:
        raise DataError(
            f"a batch of {plan.batch} is larger than the explore split of {plan.name}, "
            f"which has {counts['explore']} of its {rows} examples",
            f"write `batch {counts['explore']}` or less",
            is_spec_fault=True,
        )


def _warnings(plan: DataPlan, tables: Tables) -> Iterator[str]:
    """What is odd about data that can be used."""
    labels = [name for name, type_ in plan.fields if type_.kind == "class"]
    for name in labels:
        shown = np.unique(tables["explore"][name])
        others = np.unique(np.concatenate([tables[use][name] for use in SPLITS[1:]]))
        missing = np.setdiff1d(others, shown)
        if len(missing):
            yield (
                f"explore has no example of {name} {', '.join(map(str, missing[:5]))}"
                + (", ..." if len(missing) > 5 else "")
            )
    for name, type_ in plan.fields:
        if type_.kind not in ("logits", "probs", "log_probs") or len(type_.dimensions) != 1:
            continue
        same = [each for each in labels if dict(plan.fields)[each].dimensions == type_.dimensions]
        for label in same:
            truth = tables["assess"][label]
            share = float(np.mean(np.argmax(tables["assess"][name], -1) == truth))
            chance = np.bincount(truth).max() / len(truth)
            if share <= chance:
                yield (
                    f"{name} agrees with {label} in {share:.1%} of the assess examples, no more "
                    "than always naming the commonest would: are its rows those of the file?"
                )


# ---------------------------------------------------------------- the split


def _deal_out(plan: DataPlan, part: str | None, columns: Columns, tables: Tables) -> None:
    """Adds a part's rows to the splits that draw from it. `columns` is used up."""
    split = plan.split
    assert split is not None
    explore, assess, adapt, report = (
        share if each == part else 0.0
        for share, each in zip(split.shares, split.parts, strict=True)
    )
    of_part = attrs.evolve(split, shares=(explore, assess, adapt, report))
    rows = len(next(iter(columns.values())))
    by = None if split.by is None else columns[split.by]
    name = plan.name if part is None else f"{plan.name}.{part}"
    indices = split_indices(rows, of_part, name, by)
    for field in list(columns):
        column = columns.pop(field)
        for use, chosen, each in zip(SPLITS, indices, split.parts, strict=True):
            if each == part:
                tables[use][field] = column[chosen]


def _known(plan: DataPlan, known: Known, explore: Columns) -> np.ndarray:
    """[B] bool: which examples of explore show a field, by its mask or a seeded draw."""
    if known.mask is not None:
        return explore[known.mask].astype(bool)
    assert plan.split is not None
    assert known.count is not None
    column = explore[known.field]
    if known.count > len(column):
        raise DataError(
            f"{known.field} is known for {known.count} examples, and explore has {len(column)}",
            f"write `{known.field} known for {len(column)} examples` or fewer",
            is_spec_fault=True,
            field=known.field,
        )
    order = seeded(plan.split, plan.name, "known", known.field).permutation(len(column))
    is_label = column.ndim == 1 and np.issubdtype(column.dtype, np.integer)
    _, strata = np.unique(column if is_label else np.zeros(len(column)), return_inverse=True)
    share = known.count / len(column)
    counts = stratified_sizes(np.bincount(strata).tolist(), (share, 1 - share))[:, 0]
    shows = np.zeros(len(column), bool)
    for stratum, count in enumerate(counts):
        shows[order[strata[order] == stratum][:count]] = True
    return shows


# ---------------------------------------------------------------- fields


def _derived(plan: DataPlan, columns: Columns) -> Columns:
    """The columns and those computed from them, in the order of the plan."""
    for derived in plan.derived:
        value = _computed(derived, columns)
        _check_columns(plan.name, {derived.name: derived.type}, {derived.name: value})
        columns[derived.name] = value
    return columns


def _computed(derived: Derived, columns: Columns) -> np.ndarray:
    import jax.numpy as jnp

    from ev3lang.backend import expressions

    fields = {}
    for name in fields_of(derived.value):
        field = jnp.asarray(columns[name])
        fields[name] = field / jnp.float32(255) if field.dtype == jnp.uint8 else field
    value = np.asarray(expressions.evaluate(derived.value, fields))
    if derived.type.kind == "class":
        return _labels(value)
    return value


def _scale(column: np.ndarray, normalized: Normalized) -> Scale:
    """Mean and deviation of a field by channel (its last axis), as given or over explore.

    A channel that never varies becomes 0 for its constant, rather than a division by zero.
    """
    axes = tuple(range(max(1, column.ndim - 1)))
    size = 255.0 if column.dtype == np.uint8 else 1.0

    def total(of: Callable[[np.ndarray], np.ndarray]) -> Any:
        sums = [of(block.astype(np.float64) / size).sum(axes) for block in _blocks(column)]
        return np.sum(sums, axis=0)

    count = column.size / (column.shape[-1] if column.ndim > 1 else 1)
    mean = np.asarray(normalized.mean) if normalized.mean is not None else None
    if mean is None:
        mean = total(lambda block: block) / count
    if normalized.std is not None:
        std = np.asarray(normalized.std)
    else:
        center = total(lambda block: block) / count
        std = np.sqrt(total(lambda block: np.square(block - center)) / count)
    std = np.where(std > 1e-12 * np.maximum(1, np.abs(mean)), std, 1.0)
    if column.ndim == 1:
        mean, std = mean.reshape(()), std.reshape(())
    return mean.astype(np.float64), std.astype(np.float64)


def _normalize(table: Columns, field: str, scale: Scale) -> None:
    """Brings a field to mean 0 and standard deviation 1, a block of rows at a time."""
    mean, std = scale
    column = table[field]
    done = np.empty(column.shape, np.float32)
    for begin in range(0, len(column), BLOCK_ROWS):
        block = column[begin : begin + BLOCK_ROWS].astype(np.float64)
        done[begin : begin + BLOCK_ROWS] = (block - mean) / std
    table[field] = done


def examples_in_two_splits(tables: Tables, fields: Sequence[str]) -> int:
    """How many examples outside explore are the same as one in a split before theirs.

    fields   those to compare: the inputs, since a label can differ and the answer still leak
    """
    seen: set[bytes] = set()
    count = 0
    for use in SPLITS:
        table = tables.get(use)
        if table is None:
            continue
        columns = [np.ascontiguousarray(table[name]) for name in fields]
        rows = [_row_digest(columns, row) for row in range(len(columns[0]))]
        count += sum(row in seen for row in rows)
        seen.update(rows)
    return count


def _row_digest(columns: Sequence[np.ndarray], row: int) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for column in columns:
        digest.update(column[row].tobytes())
    return digest.digest()
