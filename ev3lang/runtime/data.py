"""The data of a run: read, checked, derived, split in four and normalised, as NumPy arrays."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import numpy as np

from ev3lang.catalog.index import SOURCES
from ev3lang.catalog.signature import Type
from ev3lang.check.typed import SPLITS
from ev3lang.plan.plan import DataPlan, Derived, Field, Known, Normalized
from ev3lang.runtime import probabilities, whole
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers import READERS
from ev3lang.runtime.readers.fitting import REALS
from ev3lang.runtime.readers.opening import unreadable
from ev3lang.runtime.readers.table import Column, Found
from ev3lang.runtime.readers.wanted import Wanted
from ev3lang.runtime.splits import drawn_sizes, seeded, split_indices

Tables: TypeAlias = dict[str, dict[str, np.ndarray]]
"""Split to field to all its examples, `[B, *dimensions]`; float32, uint8, int32 for labels and
tokens, bool. `explore` holds `f"{field} known"`, [B] bool, beside a field that a part shows."""

Columns: TypeAlias = dict[str, np.ndarray]

Scale: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Mean and standard deviation, [] or one for each channel, float64."""

BLOCK_BYTES = 2**20
"""What is checked or measured at a time, so that no second copy of the data is made."""

PIECES = 16
"""How many slices of its examples a column is reordered in, one after the other."""

LARGE_GAP = 0.01
"""How far a split's size can be from its share before the report says so."""


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
    warnings     what a reader of the report should know of the files and the splits
    words        what text fields are numbered by
    classes      the names of a label's classes in order, where the data have them
    """

    tables: Tables
    statistics: Mapping[str, Scale] = attrs.Factory(dict)
    scales: Mapping[str, Scale] = attrs.Factory(dict)
    files: tuple[FileRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    words: Mapping[str, tuple[str, ...]] = attrs.Factory(dict)
    classes: Mapping[str, tuple[str, ...]] = attrs.Factory(dict)


def read(plan: DataPlan, folder: Path = Path()) -> Dataset:
    """The examples of every split, with derived fields; nothing for an endless source.

    folder   of the spec: what its paths are relative to
    u8 stays as it is, and fields that are augmented too: the program scales and normalises them.
    All others are normalised here.
    Raises DataError where the data don't fit the plan: a file that is not what is declared, a
    label out of range, a value that is not a finite number, a split without examples, a batch
    larger than the explore split, a file that can't be read.
    """
    if plan.split is None:
        return Dataset({})
    found = _read_source(plan, folder)
    parts, lost = found.parts, found.warnings
    files = _records(plan, folder)
    words: dict[str, tuple[str, ...]] = {}
    for name, type_ in plan.fields:
        if type_.kind == "text":
            words[name] = _number_words(_named(plan, folder), name, type_, parts)
    tables: Tables = {use: {} for use in SPLITS}
    rows = {part: rows_of(columns) for part, columns in parts.items()}
    groups: list[np.ndarray] = []
    for part in list(parts):
        columns = parts.pop(part)
        masks = {known.field: known.mask for known in plan.known if known.mask is not None}
        _check_columns(_named(plan, folder), dict(plan.fields), columns, part, masks)
        _derive(plan, columns, part)
        if plan.split.method == "grouped" and plan.split.by is not None:
            groups.append(columns[plan.split.by].copy())
        _deal_out(plan, part, columns, tables)
    if groups:
        _check_groups(plan, folder, groups)
        _check_apart(plan, folder, tables)
    for name, type_ in plan.fields:
        if type_.kind == "id":
            _number_names(name, tables)
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
        (*lost, *_size_warnings(plan, tables, rows), *_warnings(plan, tables)),
        words,
        {**found.classes, **_classes_of_words(plan, words)},
    )


def _classes_of_words(
    plan: DataPlan, words: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """The names of classes that are a column of words, as in `label = species as class[3]`."""
    return {
        each.name: words[each.value.name]
        for each in plan.derived
        if each.type.kind == "class" and isinstance(each.value, Field) and each.value.name in words
    }


def _in_program(plan: DataPlan) -> frozenset[str]:
    """Fields that the program scales and normalises."""
    small = {name for name, type_ in plan.fields if type_.kind == "u8"}
    return frozenset(small | {each.field for each in plan.augmented})


# ---------------------------------------------------------------- sources


def _read_source(plan: DataPlan, folder: Path) -> Found:
    """Every field of each part that the split draws from, in the source's order of rows.

    All parts as one where the split doesn't tell them apart. With it what was not read, in words.
    """
    if plan.source not in READERS:
        known = _SKLEARN.get(plan.source)
        columns = _generate(plan) if known is None else known()
        return Found({None: columns}, classes=_names(plan.source))
    origins = dict(plan.origins)
    declared = tuple(Column(name, type_, origins.get(name)) for name, type_ in plan.fields)
    wanted = _wanted(plan)
    found = READERS[plan.source](_values(plan), declared, folder, wanted)
    is_whole = None in wanted.parts and None not in found.parts
    return attrs.evolve(found, parts={None: _joined(found.parts)}) if is_whole else found


def _wanted(plan: DataPlan) -> Wanted:
    """What the plan asks of its file beside the fields."""
    split = plan.split
    assert split is not None
    words = [] if split.by is None else [f"{split.method} by {split.by}"]
    words += [] if split.block is None else [f"in blocks of {split.block} examples"]
    words += [] if split.groups is None else [f"in {split.groups} groups"]
    words += [] if split.largest is None else [f"of up to {split.largest} examples"]
    words += [f"seed {split.seed}"] if split.seed else []
    rows: dict[str | None, int] = {} if plan.rows is None else {None: plan.rows}
    return Wanted(
        tuple(dict.fromkeys(split.parts)),
        plan.is_pooled,
        rows | dict(plan.rows_in),
        " ".join(words),
    )


def _values(plan: DataPlan) -> dict[str, Any]:
    return dict(plan.options)


def _named(plan: DataPlan, folder: Path) -> str:
    """What an error calls the source: its files, or the name of the data where it has none."""
    paths = _paths(plan, folder)
    return ", ".join(str(path) for path in paths) if paths else plan.name


def _paths(plan: DataPlan, folder: Path) -> list[Path]:
    """Where a source's options say that its files and folders are."""
    kinds = {option.name: option.kind for option in SOURCES[plan.source].options}
    return [
        folder / str(value)
        for name, value in plan.options
        if kinds.get(name) == "path" and value is not None
    ]


def rows_of(columns: Columns) -> int:
    """How many examples there are in a table."""
    return len(next(iter(columns.values())))


def _check_apart(plan: DataPlan, folder: Path, tables: Tables) -> None:
    """Raises DataError where one group is in two splits, which a file's own parts may have."""
    split = plan.split
    assert split is not None, "an endless source has no groups"
    assert split.by is not None, "groups are of a field"
    held = {use: np.unique(table[split.by]) for use, table in tables.items()}
    for one, other in combinations(SPLITS, 2):
        shared = np.intersect1d(held[one], held[other])
        if len(shared):
            raise DataError(
                f"{_named(plan, folder)}: {len(shared):,} groups by {split.by} are in both the "
                f"{one} and the {other} split, such as {shared[0]}; parts of the file share them",
                f"draw the splits from one part, so that a {split.by} is in one split alone",
                is_spec_fault=True,
                field=split.by,
            )


def _check_groups(plan: DataPlan, folder: Path, groups: Sequence[np.ndarray]) -> None:
    """Raises DataError where there are more or fewer groups, or larger ones, than the spec says.

    groups   of each part's examples, [B] each
    """
    split = plan.split
    assert split is not None, "an endless source has no groups"
    if split.groups is None:
        return
    _, sizes = np.unique(np.concatenate(groups), return_counts=True)
    largest = int(sizes.max(initial=0))
    if len(sizes) == split.groups and largest <= (split.largest or largest):
        return
    said = f"{split.groups:,}" + (f" of up to {split.largest:,}" if split.largest else "")
    raise DataError(
        f"{_named(plan, folder)} has {len(sizes):,} groups by {split.by}, the largest of "
        f"{largest:,} examples, and the spec says {said}",
        f"write `grouped by {split.by} in {len(sizes)} groups of up to {largest} examples` if the "
        "file is whole",
        field=split.by,
    )


def _joined(parts: Mapping[str | None, Columns]) -> Columns:
    """All parts as one, field by field, each part's own array let go. `parts` is used up."""
    columns = list(parts.values())
    if len(columns) == 1:
        return columns[0]
    return {
        name: np.concatenate([column.pop(name) for column in columns]) for name in list(columns[0])
    }


def _records(plan: DataPlan, folder: Path) -> tuple[FileRecord, ...]:
    """What the source was read from, by the paths of the spec.

    Raises DataError for a file that can't be read, of all that a folder holds.
    """
    kinds = {option.name: option.kind for option in SOURCES[plan.source].options}
    return tuple(
        _record(str(value), folder / str(value))
        for name, value in plan.options
        if kinds.get(name) == "path" and value is not None
    )


def _record(written: str, path: Path) -> FileRecord:
    """A file's size and sum; a folder's are of all that is in it, the sum by name and content."""
    if not path.is_dir():
        return FileRecord(written, path.stat().st_size, _sha256(path))
    inside = [each for each in sorted(path.rglob("*")) if each.is_file()]
    lines = [f"{_sha256(each)}  {each.relative_to(path).as_posix()}\n" for each in inside]
    size_bytes = sum(each.stat().st_size for each in inside)
    return FileRecord(written, size_bytes, hashlib.sha256("".join(lines).encode()).hexdigest())


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


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


def _names(source: str) -> dict[str, tuple[str, ...]]:
    """What scikit-learn calls the classes of its sets."""
    from sklearn import datasets

    if source not in ("sklearn.iris", "sklearn.wine", "sklearn.breast_cancer"):
        return {}
    bunch = getattr(datasets, source.replace("sklearn.", "load_"))()
    return {"label": tuple(map(str, bunch.target_names))}


_SKLEARN: dict[str, Callable[[], Columns]] = {
    "sklearn.digits": _digits,
    "sklearn.iris": _iris,
    "sklearn.wine": _wine,
    "sklearn.breast_cancer": _breast_cancer,
    "sklearn.diabetes": _diabetes,
}


# ---------------------------------------------------------------- checks


def _number_words(
    source: str, name: str, type_: Type, parts: Mapping[str | None, Columns]
) -> tuple[str, ...]:
    """Puts in the place of words where they stand among all words in order: [B] int32.

    The words of all parts count, so that one has the same number in each. Returns them.
    """
    columns = [part[name].astype(str) for part in parts.values()]
    words = np.unique(np.concatenate([np.unique(column) for column in columns]))
    (declared,) = type_.dimensions
    if isinstance(declared, int) and len(words) > declared:
        listed = ", ".join(words[:8]) + (", ..." if len(words) > 8 else "")
        raise DataError(
            f"{source}: {name} has {len(words)} different words ({listed}), and {type_} has room "
            f"for {declared}",
            f"declare `{name}: text[{len(words)}]`",
            field=name,
        )
    for part, column in zip(parts.values(), columns, strict=True):
        part[name] = np.searchsorted(words, column).astype(np.int32)
    return tuple(words.tolist())


def _number_names(name: str, tables: Tables) -> None:
    """Puts numbers in the place of names that are text: which is the same as which is all we ask.

    Objects have no bytes of their own that a record of the data could tell apart.
    """
    columns = [table[name] for table in tables.values()]
    if any(column.dtype.kind == "O" for column in columns):
        names = np.unique(np.concatenate(columns).astype(str))
        for table in tables.values():
            table[name] = np.searchsorted(names, table[name].astype(str)).astype(np.int32)


def _check_columns(
    source: str,
    fields: Mapping[str, Type],
    columns: Columns,
    part: str | None = None,
    masks: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Raises DataError for the first value that its field's type doesn't allow.

    masks   of a field that some examples show, the field that says which
    """
    of_part = "" if part is None else f" of {part}"
    for name, type_ in fields.items():
        column = columns[name]
        match type_.kind:
            case "class":
                _check_range(source, name, type_, column, 0, "labels 0 to", of_part)
            case "tokens":
                _check_range(source, name, type_, column, -1, "tokens -1 (padding) to", of_part)
            case _ if np.issubdtype(column.dtype, np.floating):
                _check_finite(source, name, column, of_part)
                if type_.kind in ("probs", "log_probs"):
                    shows = columns[masks[name]].astype(bool) if name in masks else None
                    _check_sums(source, name, type_, column, of_part, shows)


def _check_range(
    source: str, name: str, type_: Type, column: np.ndarray, lowest: int, words: str, of_part: str
) -> None:
    count = type_.dimensions[0]
    # a count with a name is any
    highest = count - 1 if isinstance(count, int) else np.iinfo(column.dtype).max
    if not column.size or (column.min() >= lowest and column.max() <= highest):
        return
    is_wrong = ((column < lowest) | (column > highest)).reshape(len(column), -1)
    wrong = np.flatnonzero(is_wrong.any(axis=1))
    row = int(wrong[0])
    value = int(column[row].reshape(-1)[np.argmax(is_wrong[row])])
    limit = f"{words} {highest}" if isinstance(count, int) else "no numbers below 0"
    raise DataError(
        f"{source}: {name} is {value} in row {row + 1}{of_part}, but {type_} has {limit} "
        f"({_rows_like_it(len(wrong))})",
        "declare as many as the data hold, or mend the rows",
        field=name,
        row=row + 1,
    )


def _check_finite(source: str, name: str, column: np.ndarray, of_part: str) -> None:
    is_finite = np.concatenate(
        [np.isfinite(block).reshape(len(block), -1).all(axis=1) for block in blocks(column)]
    )
    broken = np.flatnonzero(~is_finite)
    if len(broken):
        row = int(broken[0])
        raise DataError(
            f"{source}: {name} holds a value that is not a finite number in row {row + 1}{of_part} "
            f"({_rows_like_it(len(broken))})",
            "fill in or leave out these rows before the run",
            field=name,
            row=row + 1,
        )


def _check_sums(
    source: str,
    name: str,
    type_: Type,
    column: np.ndarray,
    of_part: str,
    shows: np.ndarray | None,
) -> None:
    """Raises DataError for the first example that is no distribution.

    shows   [B] bool, the examples that have one, which others fill with anything; None for all
    """
    rows = None if shows is None else np.flatnonzero(shows)
    fault = probabilities.fault(column if rows is None else column[rows], type_.kind)
    if fault is not None:
        row = fault.row if rows is None else int(rows[fault.row])
        meaning = "probabilities" if type_.kind == "probs" else "logarithms of probabilities"
        scores = Type("logits", type_.dimensions)
        raise DataError(
            f"{source}: {name} {fault.what} in row {row + 1}{of_part}, but {type_} are "
            f"{meaning}: none is below 0 and their sum is 1 ({_rows_like_it(fault.count)})",
            f"store probabilities, or declare `{name}: {scores}` if they are scores before a "
            "softmax",
            field=name,
            row=row + 1,
        )


def _rows_like_it(count: int) -> str:
    return "the only such row" if count == 1 else f"{count} such rows"


def blocks(column: np.ndarray) -> Iterator[np.ndarray]:
    """A column a few rows at a time, as views."""
    rows = max(1, BLOCK_BYTES * len(column) // max(1, column.nbytes))
    for begin in range(0, len(column), rows):
        yield column[begin : begin + rows]


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
    drawn = 0 if plan.evaluate is None else plan.evaluate * plan.batch
    for use in ("assess", "adapt"):
        if drawn > counts[use]:
            raise DataError(
                f"an evaluation of {drawn} is larger than the {use} split of {plan.name}, which "
                f"has {counts[use]} of its {rows} examples",
                "draw fewer batches, or take `evaluate` out: then the split is used whole",
                is_spec_fault=True,
            )


def _size_warnings(plan: DataPlan, tables: Tables, rows: Mapping[str | None, int]) -> Iterator[str]:
    """How far splits are from their shares, where groups or equal times had to stay whole."""
    split = plan.split
    assert split is not None
    if split.method == "stratified":
        return
    what = {"grouped": "a group", "ordered": "what is of one time"}[split.method]
    for use, share, part in zip(SPLITS, split.shares, split.parts, strict=True):
        held = rows_of(tables[use]) / rows[part]
        if abs(held - share) > LARGE_GAP:
            yield (
                f"the {use} split has {held:.1%} of the examples rather than {share:.1%}: {what} "
                f"by {split.by} stays whole"
            )


def _warnings(plan: DataPlan, tables: Tables) -> Iterator[str]:
    """What is odd about data that can be used."""
    labels = [name for name, type_ in plan.fields if type_.kind == "class"]
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
    order = np.concatenate(indices)
    ends = np.cumsum([len(chosen) for chosen in indices])
    for field in list(columns):
        dealt = _reordered(columns.pop(field), order)
        for use, chosen, end, each in zip(SPLITS, indices, ends, split.parts, strict=True):
            if each == part:
                tables[use][field] = dealt[end - len(chosen) : end]


def _reordered(column: np.ndarray, order: np.ndarray) -> np.ndarray:
    """`column[order]`, in the column's own memory where that can be written.

    A slice of every example at a time: a second copy of the largest field would double what
    reading takes. `order` names no row twice, and is no longer than the column.
    """
    if not (column.flags.writeable and column.flags.c_contiguous):
        return column[order]
    rows = column.reshape(len(column), -1)
    width = max(1, -(-rows.shape[1] // PIECES))
    for begin in range(0, rows.shape[1], width):
        piece = rows[:, begin : begin + width]
        piece[: len(order)] = piece[order]
    return column[: len(order)]


def _known(plan: DataPlan, known: Known, explore: Columns) -> np.ndarray:
    """[B] bool: which examples of explore show a field, by its mask or a seeded draw."""
    if known.mask is not None:
        shows = explore[known.mask].astype(bool)
        if not shows.any():
            raise DataError(
                f"{known.field} is known where {known.mask}, which holds for none of the "
                f"{len(shows)} examples of explore",
                "mark some examples, or give explore a larger share",
                field=known.mask,
            )
        return shows
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
    is_label = {**dict(plan.fields), **{each.name: each.type for each in plan.derived}}[
        known.field
    ].kind in ("class", "bool", "text")
    _, strata = np.unique(column if is_label else np.zeros(len(column)), return_inverse=True)
    shows = np.zeros(len(column), bool)
    for stratum, count in enumerate(drawn_sizes(np.bincount(strata), known.count)):
        shows[order[strata[order] == stratum][:count]] = True
    return shows


# ---------------------------------------------------------------- fields


def _derive(plan: DataPlan, columns: Columns, part: str | None) -> None:
    """Adds the fields that are computed from others, in the order of the plan."""
    for derived in plan.derived:
        columns[derived.name] = computed(plan.name, derived, columns, part)


def computed(source: str, derived: Derived, columns: Columns, part: str | None) -> np.ndarray:
    """A derived field, computed exactly and brought to what memory holds of its type."""
    name, of_part = derived.name, "" if part is None else f" of {part}"
    try:
        # a copy: the column itself is reordered later
        found = np.array(whole.value(derived.value, columns))
    except whole.BeyondError as error:
        raise DataError(
            f"{source}: {name} can't be computed in row {error.row + 1}{of_part}: it {error.why}",
            "leave such rows out, or compute with smaller numbers",
            field=name,
            row=error.row + 1,
        ) from error
    if derived.type.kind == "class":
        found = found.astype(np.int64)
    _check_columns(source, {name: derived.type}, {name: found}, part)
    if derived.type.kind in REALS:
        return found.astype(np.float32)
    if found.dtype == np.int64:
        is_beyond = (found < whole.INT32.min) | (found > whole.INT32.max)
        if is_beyond.any():
            row = int(np.argmax(is_beyond.reshape(len(found), -1).any(axis=1)))
            beyond = found[row].reshape(-1)[np.argmax(is_beyond[row])]
            raise DataError(
                f"{source}: {name} is {beyond:,} in row {row + 1}{of_part}, and whole numbers of "
                f"a program end at {whole.INT32.max:,}",
                "make it smaller, or a real: `derive … as real`",
                field=name,
                row=row + 1,
            )
        return found.astype(np.int32)
    return found


def _scale(column: np.ndarray, normalized: Normalized) -> Scale:
    """Mean and deviation of a field by channel (its last axis), as given or over explore.

    A channel that never varies becomes 0 for its constant, rather than a division by zero.
    """
    channels = column.shape[-1] if column.ndim > 1 else 1
    size = 255.0 if column.dtype == np.uint8 else 1.0

    def average(of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        # over rows first: a sum along the short axis of channels is several times slower
        sums = np.zeros(math.prod(column.shape[1:]))
        for block in blocks(column):
            rows = block.reshape(len(block), -1).astype(np.float64)
            rows /= size
            sums += of(rows.reshape(len(block), -1, channels)).reshape(rows.shape).sum(axis=0)
        return sums.reshape(-1, channels).sum(axis=0) / (column.size / channels)

    mean = np.asarray(normalized.mean) if normalized.mean is not None else None
    if mean is None:
        mean = average(lambda values: values)
    if normalized.std is not None:
        std = np.asarray(normalized.std)
    else:
        center = mean if normalized.mean is None else average(lambda values: values)
        std = np.sqrt(average(lambda values: np.square(values - center)))
        # what a constant's mean is rounded by, in relation to it: units may be of any size
        std = np.where(std > 1e-12 * np.abs(center), std, 1.0)
    if column.ndim == 1:
        mean, std = mean.reshape(()), std.reshape(())
    return mean.astype(np.float64), std.astype(np.float64)


def _normalize(table: Columns, field: str, scale: Scale) -> None:
    """Brings a field to mean 0 and standard deviation 1, in its own memory where that holds it."""
    mean, std = scale
    column = table[field]
    is_own = column.dtype == np.float32 and column.flags.writeable
    done = column if is_own else np.empty(column.shape, np.float32)
    for into, block in zip(blocks(done), blocks(column), strict=True):
        into[...] = (block.astype(np.float64) - mean) / std
    table[field] = done


def examples_in_two_splits(tables: Tables, fields: Sequence[str]) -> dict[str, int]:
    """How many examples of each split after explore are the same as one in a split before it.

    fields   those to compare: the inputs, since a label can differ and the answer still leak
    """
    columns = {
        use: [np.ascontiguousarray(tables[use][name]) for name in fields]
        for use in SPLITS
        if use in tables
    }
    codes = {use: _row_codes(each) for use, each in columns.items()}
    uses = list(columns)
    nothing = np.empty(0, np.uint64)
    seen: set[bytes] = set()
    counts = {}
    for place, use in enumerate(uses):
        # only rows whose codes meet are compared by their bytes
        before, after = (
            np.isin(codes[use], np.concatenate([nothing, *(codes[each] for each in others)]))
            for others in (uses[:place], uses[place + 1 :])
        )
        met = np.flatnonzero(before | after).tolist()
        digests = {row: _row_digest(columns[use], row) for row in met}
        if place:
            counts[use] = sum(digest in seen for digest in digests.values())
        seen.update(digests.values())
    return counts


def _row_codes(columns: Sequence[np.ndarray]) -> np.ndarray:
    """A number for each row, [B] uint64, that is the same for rows of the same bytes."""
    codes = np.zeros(len(columns[0]), np.uint64)
    draw = np.random.Generator(np.random.PCG64(0))
    for column in columns:
        rows = column.reshape(len(column), -1)
        width = rows.shape[1] * rows.itemsize
        factors = draw.integers(1, 2**63, -(-width // 4), np.uint64) * np.uint64(2) + np.uint64(1)
        block = max(1, BLOCK_BYTES // max(1, width))
        for begin in range(0, len(rows), block):
            raw = np.ascontiguousarray(rows[begin : begin + block]).view(np.uint8)
            raw = np.pad(raw.reshape(-1, width), ((0, 0), (0, -width % 4)))
            words = raw.view(np.uint32).astype(np.uint64)
            codes[begin : begin + block] += (words * factors).sum(axis=1, dtype=np.uint64)
    return codes


def _row_digest(columns: Sequence[np.ndarray], row: int) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for column in columns:
        digest.update(column[row].tobytes())
    return digest.digest()
