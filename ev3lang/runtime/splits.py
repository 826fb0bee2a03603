"""Which rows go to explore, assess, adapt and report."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

import numpy as np

from ev3lang.check.typed import SPLITS, split_sizes
from ev3lang.plan.plan import Split
from ev3lang.runtime.faults import DataError


def split_indices(
    rows: int, split: Split, name: str, by: np.ndarray | None
) -> tuple[np.ndarray, ...]:
    """Which rows go to explore, assess, adapt and report: disjoint, each in a drawn order.

    rows     of the part that the shares are of
    by       [rows] what the split's method reads, or None for a plain draw
    returns  [count] int64 for each split
    The draw depends on the split's seed and the name of the data alone. Raises DataError where
    groups can't be dealt out.
    """
    if by is None:
        return _dealt(_order(rows, split, name), np.asarray([split_sizes(rows, split.shares)]))
    match split.method:
        case "stratified":
            _, strata = np.unique(by, return_inverse=True)
            table = stratified_sizes(np.bincount(strata).tolist(), split.shares)
            return _dealt(_order(rows, split, name), table, strata)
        case "grouped":
            return _grouped(rows, split, name, by)
        case "ordered":
            return _ordered(split, name, by)


def seeded(split: Split, *names: str) -> np.random.Generator:
    """The split's own random numbers, for what these names say."""
    words = [zlib.crc32(name.encode()) for name in names]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([split.seed, *words])))


def _order(rows: int, split: Split, name: str) -> np.ndarray:
    return seeded(split, name).permutation(rows)


def _dealt(
    order: np.ndarray, table: np.ndarray, strata: np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    """Rows in a drawn order, so many of each stratum to each split as a table says."""
    chosen: list[list[np.ndarray]] = [[] for _ in SPLITS]
    places: list[list[np.ndarray]] = [[] for _ in SPLITS]
    kinds = np.zeros(len(order), np.int64) if strata is None else strata[order]
    for stratum, counts in enumerate(table):
        own = np.flatnonzero(kinds == stratum)
        for use, (begin, count) in enumerate(zip(_begins(counts), counts, strict=True)):
            places[use].append(own[begin : begin + count])
            chosen[use].append(order[own[begin : begin + count]])
    return tuple(
        np.concatenate(rows)[np.argsort(np.concatenate(at), kind="stable")].astype(np.int64)
        for rows, at in zip(chosen, places, strict=True)
    )


def _begins(counts: Iterable[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(list(counts))[:-1]]).astype(np.int64)


def _grouped(rows: int, split: Split, name: str, by: np.ndarray) -> tuple[np.ndarray, ...]:
    """Whole groups, in a drawn order, each to the split that lacks most of its share.

    The order is of groups, not of rows: large groups come no earlier than small ones, and which
    split is next doesn't depend on the group that comes. So each split has a fair draw of groups.
    """
    order = _order(rows, split, name)
    _, groups, sizes = np.unique(by[order], return_inverse=True, return_counts=True)
    used = [use for use, share in enumerate(split.shares) if share > 0]
    if len(sizes) < 2 * len(used):
        raise DataError(
            f"{name} has {len(sizes)} groups by {split.by}, too few for {len(used)} splits of two "
            "groups at least",
            "split by a finer group, or plainly if its examples don't depend on each other",
            is_spec_fault=True,
            field=split.by,
        )
    # what no share asks for is a split of its own
    wanted = np.asarray([*split.shares, 1 - sum(split.shares)]) * len(order)
    wanted = np.where(wanted > 1e-6, wanted, -np.inf)
    lacking = wanted.copy()
    held = np.zeros(len(wanted), np.int64)
    use_of = np.empty(len(sizes), np.int64)
    for group in seeded(split, name, "groups").permutation(len(sizes)):
        use = int(np.argmax(lacking))
        use_of[group] = use
        lacking[use] -= sizes[group]
        held[use] += 1
    for use in used:
        if held[use] < 2:
            largest = by[order][np.argmax(groups.reshape(-1) == np.argmax(sizes))]
            raise DataError(
                f"the {SPLITS[use]} split of {name} would hold {held[use]} of {len(sizes)} groups "
                f"by {split.by}; the largest, {largest}, has {sizes.max()} of {len(order)} "
                "examples",
                f"give {SPLITS[use]} a larger share, so that it doesn't rest on one group",
                is_spec_fault=True,
                field=split.by,
            )
    uses = use_of[groups.reshape(-1)]
    return tuple(order[uses == use].astype(np.int64) for use in range(len(SPLITS)))


def _ordered(split: Split, name: str, by: np.ndarray) -> tuple[np.ndarray, ...]:
    """Explore has the least values, report the greatest; equal ones stay together."""
    order = np.argsort(by, kind="stable")
    values = by[order]
    changes = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [len(by)]])
    ends = np.cumsum(split_sizes(len(by), split.shares))
    # to the nearest place where the value changes
    near = [int(changes[np.argmin(np.abs(changes - end))]) for end in ends]
    begins = [0, *near[:-1]]
    for use, share, begin, end in zip(SPLITS, split.shares, begins, near, strict=True):
        if share > 0 and end <= begin:
            raise DataError(
                f"the {use} split of {name} is empty: too many examples have the same {split.by}",
                f"order by a finer field, or give {use} a larger share",
                is_spec_fault=True,
                field=split.by,
            )
    return tuple(order[b:e].astype(np.int64) for b, e in zip(begins, near, strict=True))


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


def drawn_sizes(class_counts: Sequence[int] | np.ndarray, count: int) -> np.ndarray:
    """How many examples of each class are among `count` of all, in proportion.

    class_counts   [classes] int, summing to `count` at least
    returns        [classes] int that sum to `count`, each within one of its proportion unless
                   that would leave a class out: none is, where `count` has one for each
    """
    counts = np.asarray(class_counts)
    least = np.minimum(counts, 1) if count >= np.count_nonzero(counts) else np.zeros_like(counts)
    quotas = counts * (count / counts.sum())
    sizes = np.maximum(np.floor(quotas + 1e-9).astype(np.int64), least)
    while sizes.sum() > count:
        sizes[np.argmax(np.where(sizes > least, sizes - quotas, -np.inf))] -= 1
    while sizes.sum() < count:
        sizes[np.argmax(np.where(sizes < counts, quotas - sizes, -np.inf))] += 1
    return sizes
