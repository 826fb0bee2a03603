"""Splits by group, by time and by part keep what must not be torn apart together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ev3lang.plan.plan import Split
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.splits import drawn_sizes, split_indices

SHARES = (0.55, 0.15, 0.2, 0.1)


def grouped(
    groups: np.ndarray, shares: tuple[float, ...] = SHARES, seed: int = 0
) -> list[set[int]]:
    split = Split(shares, "patient", seed, "grouped")  # type: ignore[arg-type]
    return [set(part.tolist()) for part in split_indices(len(groups), split, "visits", groups)]


@given(st.lists(st.integers(1, 6), min_size=60, max_size=120), st.integers(0, 9))
def test_no_group_is_in_two_splits_and_every_row_in_one(sizes: list[int], seed: int) -> None:
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    parts = grouped(groups, seed=seed)
    assert sorted(row for part in parts for row in part) == list(range(len(groups)))
    held = [set(groups[list(part)].tolist()) for part in parts]
    assert sum(map(len, held)) == len(sizes)
    for part, share in zip(parts, SHARES, strict=True):
        # whoever lacks most is served, so that nobody has more than one group too many
        assert len(part) - share * len(groups) < max(sizes)


def test_groups_are_drawn_by_the_seed() -> None:
    groups = np.repeat(np.array([f"p{number}" for number in range(100)], dtype=object), 3)
    assert grouped(groups) == grouped(groups)
    assert grouped(groups) != grouped(groups, seed=1)


def test_groups_beyond_the_shares_are_left_out() -> None:
    groups = np.repeat(np.arange(100), 2)
    parts = grouped(groups, (0.4, 0.2, 0.1, 0.1))
    assert [len(part) for part in parts] == [80, 40, 20, 20]


@pytest.mark.parametrize(
    ("sizes", "words"),
    [([20] * 5, "has 5 groups by patient, too few"), ([500, *[1] * 40], "would hold")],
)
def test_a_split_that_rests_on_one_group_is_an_error(sizes: list[int], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        grouped(np.repeat(np.arange(len(sizes)), sizes))
    assert caught.value.is_spec_fault
    assert caught.value.field == "patient"


@given(st.lists(st.integers(0, 60), min_size=80, max_size=200))
def test_later_splits_have_later_values_and_equal_ones_are_together(days: list[int]) -> None:
    by = np.asarray(days)
    try:
        parts = split_indices(len(by), Split(SHARES, "day", 0, "ordered"), "visits", by)
    except DataError:
        # so many rows of one day that they would fill a split's place
        assume(False)
    assert sorted(np.concatenate(parts)) == list(range(len(by)))
    for earlier, later in pairwise(parts):
        assert by[earlier].max() < by[later].min()


def test_distinct_times_are_cut_at_the_shares() -> None:
    by = np.random.default_rng(0).permutation(200)
    parts = split_indices(200, Split(SHARES, "day", 0, "ordered"), "visits", by)
    assert [len(part) for part in parts] == [110, 30, 40, 20]


def test_one_time_for_all_is_an_error() -> None:
    with pytest.raises(DataError, match="too many examples have the same day"):
        split_indices(50, Split(SHARES, "day", 0, "ordered"), "visits", np.zeros(50))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=12), st.data())
def test_a_draw_of_so_many_is_exact_in_proportion_and_has_every_class_it_can(
    counts: list[int], data: st.DataObject
) -> None:
    assume(sum(counts))
    count = data.draw(st.integers(1, sum(counts)))
    sizes = drawn_sizes(counts, count)
    assert sizes.sum() == count
    assert ((sizes >= 0) & (sizes <= counts)).all()
    there = np.asarray(counts) > 0
    if count >= there.sum():
        assert (sizes[there] >= 1).all()
    quotas = np.asarray(counts) * count / sum(counts)
    if quotas[there].min() >= 1:
        assert np.abs(sizes - quotas).max() < 1 + 1e-9
