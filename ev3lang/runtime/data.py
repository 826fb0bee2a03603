"""The data of a run: read, checked, derived, split in four and normalised, as NumPy arrays."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ev3lang.catalog.signature import Type
from ev3lang.check.typed import SPLITS, split_sizes
from ev3lang.plan.plan import DataPlan, Normalized, Split

Tables: TypeAlias = dict[str, dict[str, np.ndarray]]
"""Split to field to all its examples, `[B, *dimensions]`; float32, int32 for labels, bool."""

Columns: TypeAlias = dict[str, np.ndarray]


class DataError(Exception):
    """Data that can't be used as the spec says.

    help            what to do
    is_spec_fault   whether the spec asks for what the data can't give, rather than the data
                    being broken
    """

    def __init__(self, message: str, help: str, *, is_spec_fault: bool = False) -> None:
        super().__init__(message)
        self.help = help
        self.is_spec_fault = is_spec_fault


def read(plan: DataPlan) -> Tables:
    """The examples of every split, with derived fields, normalised; empty for an endless source.

    Raises DataError where the data don't fit the plan: a label out of range, a value that is not
    a finite number, a split without examples, a batch larger than the explore split.
    """
    if plan.split is None:
        return {}
    columns = _read_source(plan)
    _check_columns(plan.name, dict(plan.fields), columns)
    columns = _derived(plan, columns)
    rows = len(next(iter(columns.values())))
    labels = columns[plan.split.by] if plan.split.by is not None else None
    indices = split_indices(rows, plan.split, plan.name, labels)
    _check_sizes(plan, rows, indices)
    tables = {
        use: {name: column[chosen] for name, column in columns.items()}
        for use, chosen in zip(SPLITS, indices, strict=True)
    }
    for normalized in plan.normalized:
        _normalize(tables, normalized)
    return tables


# ---------------------------------------------------------------- sources


def _read_source(plan: DataPlan) -> Columns:
    """Every field of the source as it comes, in the source's order of rows."""
    if plan.source.startswith("sklearn."):
        return _SKLEARN[plan.source]()
    return _generate(plan)


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


def _check_columns(data: str, fields: Mapping[str, Type], columns: Columns) -> None:
    """Raises DataError for the first value that its field's type doesn't allow."""
    for name, type_ in fields.items():
        column = columns[name]
        if type_.kind == "class":
            _check_labels(data, name, type_, column)
        elif np.issubdtype(column.dtype, np.floating):
            _check_finite(data, name, column)


def _check_labels(data: str, name: str, type_: Type, column: np.ndarray) -> None:
    (classes,) = type_.dimensions
    assert isinstance(classes, int), f"{name} has an unknown count of classes"
    wrong = np.flatnonzero((column < 0) | (column >= classes))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{data}.{name} is {int(column[row])} in row {row + 1}, but {type_} has labels "
            f"0 to {classes - 1} ({len(wrong)} such rows)",
            "declare as many classes as the data hold, or mend the rows",
        )


def _check_finite(data: str, name: str, column: np.ndarray) -> None:
    broken = ~np.isfinite(column).reshape(len(column), -1).all(axis=1)
    if broken.any():
        row = int(np.flatnonzero(broken)[0])
        raise DataError(
            f"{data}.{name} holds a value that is not a finite number in row {row + 1} "
            f"({int(broken.sum())} such rows)",
            "fill in or leave out these rows before the run",
        )


def _check_sizes(plan: DataPlan, rows: int, indices: Sequence[np.ndarray]) -> None:
    assert plan.split is not None
    for use, share, chosen in zip(SPLITS, plan.split.shares, indices, strict=True):
        if not len(chosen):
            raise DataError(
                f"the {use} split of {plan.name} is empty: {share:.1%} of {rows} examples",
                f"give {use} a larger share",
                is_spec_fault=True,
            )
    if plan.batch > len(indices[0]):
        raise DataError(
            f"a batch of {plan.batch} is larger than the explore split of {plan.name}, "
            f"which has {len(indices[0])} of its {rows} examples",
            f"write `batch {len(indices[0])}` or less",
            is_spec_fault=True,
        )


# ---------------------------------------------------------------- the split


def split_indices(
    rows: int, split: Split, name: str, labels: np.ndarray | None
) -> tuple[np.ndarray, ...]:
    """Which rows go to explore, assess, adapt and report: disjoint, each in a drawn order.

    labels   [rows] whose proportions every split keeps, or None for a plain draw
    The draw depends on the split's seed and the name of the data alone.
    """
    seed = np.random.SeedSequence([split.seed, zlib.crc32(name.encode())])
    order = np.random.Generator(np.random.PCG64(seed)).permutation(rows)
    if labels is None:
        table = np.asarray([split_sizes(rows, split.shares)])
        strata = np.zeros(rows, dtype=np.int64)
    else:
        _, strata = np.unique(labels, return_inverse=True)
        table = stratified_sizes(np.bincount(strata).tolist(), split.shares)
    chosen: list[list[int]] = [[] for _ in SPLITS]
    # the use of the next example of each stratum, as it comes up in the drawn order
    ahead = [iter(np.repeat(np.arange(len(SPLITS)), counts)) for counts in table]
    for row in order:
        use = next(ahead[strata[row]], None)
        if use is not None:
            chosen[use].append(int(row))
    return tuple(np.asarray(each, dtype=np.int64) for each in chosen)


def stratified_sizes(class_counts: Sequence[int], shares: Sequence[float]) -> np.ndarray:
    """How many examples of each class each split gets.

    returns   [classes, splits] int; rows sum to what the shares leave of a class, columns to
              `split_sizes` of all rows wherever the next sentence allows it
    A class with as many examples as there are splits with a share is in every one of them.
    """
    used = [i for i, share in enumerate(shares) if share > 0]
    quotas = np.outer(class_counts, shares)
    table = np.asarray([split_sizes(count, shares) for count in class_counts])
    least = np.zeros_like(table)
    for label, count in enumerate(class_counts):
        if count >= len(used):
            least[label, used] = 1
    for label, use in zip(*np.nonzero(table < least), strict=True):
        table[label, np.argmax(table[label] - least[label])] -= 1
        table[label, use] += 1
    totals = np.asarray(split_sizes(int(sum(class_counts)), shares))
    while True:
        over, under = np.argmax(table.sum(0) - totals), np.argmin(table.sum(0) - totals)
        if table[:, over].sum() <= totals[over] or table[:, under].sum() >= totals[under]:
            return table
        # one example of the class that is least out of proportion by it moves over
        cost = (quotas - table)[:, over] - (quotas - table)[:, under]
        cost[table[:, over] <= least[:, over]] = np.inf
        if not np.isfinite(cost).any():
            return table
        least_harmed = np.argmin(np.round(cost, 9))
        table[least_harmed, over] -= 1
        table[least_harmed, under] += 1


# ---------------------------------------------------------------- fields


def _derived(plan: DataPlan, columns: Columns) -> Columns:
    """The columns and those computed from them, in the order of the plan."""
    if not plan.derived:
        return columns
    import jax.numpy as jnp

    from ev3lang.backend import expressions

    for derived in plan.derived:
        fields = {name: jnp.asarray(column) for name, column in columns.items()}
        value = np.asarray(expressions.evaluate(derived.value, fields))
        value = _labels(value) if derived.type.kind == "class" else value
        _check_columns(plan.name, {derived.name: derived.type}, {derived.name: value})
        columns = {**columns, derived.name: value}
    return columns


def _normalize(tables: Tables, normalized: Normalized) -> None:
    """Brings a field to mean 0 and standard deviation 1, channel by channel (its last axis).

    The statistics are those of the explore split alone. A channel that never varies there becomes
    0 for its constant, rather than a division by zero.
    """
    explore = tables["explore"][normalized.field].astype(np.float64)
    axes = tuple(range(max(1, explore.ndim - 1)))
    mean = explore.mean(axes) if normalized.mean is None else np.asarray(normalized.mean)
    std = explore.std(axes) if normalized.std is None else np.asarray(normalized.std)
    std = np.where(std > 1e-12 * np.maximum(1, np.abs(mean)), std, 1.0)
    for table in tables.values():
        values = table[normalized.field].astype(np.float64)
        table[normalized.field] = ((values - mean) / std).astype(np.float32)


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
        columns = [table[name].reshape(len(table[name]), -1) for name in fields]
        rows = [b"".join(column[i].tobytes() for column in columns) for i in range(len(columns[0]))]
        count += sum(row in seen for row in rows)
        seen.update(rows)
    return count
