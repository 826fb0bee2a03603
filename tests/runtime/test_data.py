"""The split is exact, disjoint and seeded; normalisation sees the explore split alone."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.catalog.signature import Type
from ev3lang.check.typed import split_sizes
from ev3lang.plan.plan import DataPlan, Normalized, Split
from ev3lang.runtime import data, splits
from ev3lang.runtime.faults import DataError

SHARES = (0.6, 0.15, 0.15, 0.1)

DIGITS = DataPlan(
    name="digits",
    source="sklearn.digits",
    options=(),
    fields=(("image", Type("f32", (8, 8, 1))), ("label", Type("class", (10,)))),
    derived=(),
    normalized=(Normalized("image"),),
    split=Split(SHARES, "label", 0),
    rows=1797,
    batch=128,
)
DIABETES = DataPlan(
    name="diabetes",
    source="sklearn.diabetes",
    options=(),
    fields=(("features", Type("f32", (10,))), ("target", Type("f32"))),
    derived=(),
    normalized=(Normalized("features"),),
    split=Split(SHARES, None, 0),
    rows=442,
    batch=32,
)

some_shares = st.lists(st.integers(1, 10), min_size=4, max_size=4).map(
    lambda weights: tuple(weight / sum(weights) for weight in weights)
)


def test_digits_are_split_by_largest_remainder() -> None:
    tables = data.read(DIGITS).tables
    assert [len(tables[use]["label"]) for use in data.SPLITS] == [1078, 270, 269, 180]
    assert tables["explore"]["image"].shape == (1078, 8, 8, 1)
    assert tables["explore"]["image"].dtype == np.float32
    assert tables["explore"]["label"].dtype == np.int32


def test_every_split_keeps_the_proportions_of_the_labels() -> None:
    tables = data.read(DIGITS).tables
    counts = np.bincount(np.concatenate([tables[use]["label"] for use in data.SPLITS]))
    assert counts.sum() == 1797
    for use, share in zip(data.SPLITS, SHARES, strict=True):
        assert np.abs(np.bincount(tables[use]["label"]) - counts * share).max() < 1.5


@given(st.integers(1, 5000), some_shares)
def test_sizes_use_every_row_and_are_within_one_of_their_share(
    rows: int, shares: tuple[float, ...]
) -> None:
    sizes = split_sizes(rows, shares)
    assert sum(sizes) == rows
    assert all(abs(size - rows * share) < 1 for size, share in zip(sizes, shares, strict=True))


@given(st.lists(st.integers(0, 80), min_size=1, max_size=12), some_shares)
def test_a_stratified_split_is_exact_and_has_every_class_that_can_be_everywhere(
    counts: list[int], shares: tuple[float, ...]
) -> None:
    table = splits.stratified_sizes(counts, shares)
    assert (table >= 0).all()
    assert table.sum(1).tolist() == counts
    for count, row in zip(counts, table, strict=True):
        assert count < 4 or row.min() >= 1
    if min(min(counts) * share for share in shares) >= 2:
        assert tuple(table.sum(0)) == split_sizes(sum(counts), shares)


def test_splits_are_disjoint_and_drawn_by_their_own_seed() -> None:
    split = Split(SHARES, None, 3)
    first = splits.split_indices(500, split, "digits", None)
    assert sorted(np.concatenate(first)) == list(range(500))
    again = splits.split_indices(500, split, "digits", None)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    other = splits.split_indices(500, attrs.evolve(split, seed=4), "digits", None)
    assert not (first[0] == other[0]).all()
    assert not (first[0] == splits.split_indices(500, split, "pictures", None)[0]).all()


def test_shares_below_all_leave_rows_unused() -> None:
    split = Split((0.5, 0.1, 0.1, 0.1), None, 0)
    parts = splits.split_indices(100, split, "digits", None)
    assert [len(part) for part in parts] == [50, 10, 10, 10]


def test_normalisation_uses_the_statistics_of_explore_alone() -> None:
    raw = data.read(attrs.evolve(DIABETES, normalized=())).tables
    normal = data.read(DIABETES).tables
    explore = raw["explore"]["features"].astype(np.float64)
    expected = (raw["report"]["features"] - explore.mean(0)) / explore.std(0)
    np.testing.assert_allclose(normal["report"]["features"], expected, atol=1e-4)
    np.testing.assert_allclose(normal["explore"]["features"].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(normal["explore"]["features"].std(0), 1, atol=1e-5)
    assert np.abs(normal["report"]["features"].mean(0)).max() > 1e-3


def test_an_image_is_normalised_by_channel() -> None:
    image = data.read(DIGITS).tables["explore"]["image"]
    assert image.mean() == pytest.approx(0, abs=1e-5)
    assert image.std() == pytest.approx(1, abs=1e-5)


def test_a_constant_feature_becomes_zero() -> None:
    def table(rows: int) -> dict[str, np.ndarray]:
        return {"features": np.full((rows, 2), 0.1, dtype=np.float32)}

    tables = {"explore": table(7), "report": table(3)}
    scale = data._scale(tables["explore"]["features"], Normalized("features"))
    for each in tables.values():
        data._normalize(each, "features", scale)
        np.testing.assert_allclose(each["features"], 0, atol=1e-6)


@pytest.mark.parametrize(("offset", "scale"), [(0, 1e-20), (1e6, 1), (0, 1e20), (1e-15, 1e-18)])
def test_normalising_works_in_any_unit(offset: float, scale: float) -> None:
    drawn = np.random.default_rng(0).normal(size=(1000, 1))
    column = (offset + scale * drawn).astype(np.float32)
    table = {"features": column.copy()}
    data._normalize(table, "features", data._scale(column, Normalized("features")))
    wide = column.astype(np.float64)
    expected = (wide - wide.mean()) / wide.std()
    np.testing.assert_allclose(table["features"], expected, rtol=1e-6, atol=1e-6)


def test_statistics_of_the_spec_are_taken_as_they_are() -> None:
    plan = attrs.evolve(DIGITS, normalized=(Normalized("image", mean=(8.0,), std=(4.0,)),))
    raw = data.read(attrs.evolve(DIGITS, normalized=())).tables["assess"]["image"]
    np.testing.assert_allclose(data.read(plan).tables["assess"]["image"], (raw - 8) / 4, atol=1e-6)


def test_examples_in_two_splits_are_found() -> None:
    counts = data.examples_in_two_splits(data.read(DIGITS).tables, ["image"])
    assert counts == {"assess": 0, "adapt": 0, "report": 0}
    columns = {"features": np.asarray([[1, 2], [3, 4], [1, 2], [5, 6]], dtype=np.float32)}
    tables = {
        "explore": {"features": columns["features"][:2]},
        "assess": {"features": columns["features"][2:]},
    }
    assert data.examples_in_two_splits(tables, ["features"]) == {"assess": 1}


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int32, bool])
@pytest.mark.parametrize("shape", [(), (3,), (5, 7)])
def test_copies_are_counted_as_a_set_of_rows_counts_them(
    dtype: type, shape: tuple[int, ...]
) -> None:
    draw = np.random.default_rng(3)
    tables = {
        use: {
            "x": draw.integers(0, 3, (rows, *shape)).astype(dtype),
            "y": draw.integers(0, 4, rows).astype(np.int32),
        }
        for use, rows in zip(data.SPLITS, (400, 90, 80, 70), strict=True)
    }
    seen: set[tuple[bytes, bytes]] = set()
    for use in data.SPLITS:
        rows = [(x.tobytes(), y.tobytes()) for x, y in zip(*tables[use].values(), strict=True)]
        if use != "explore":
            expected = sum(row in seen for row in rows)
            assert data.examples_in_two_splits(tables, ["x", "y"])[use] == expected
        seen.update(rows)


@pytest.mark.parametrize(
    ("plan", "words", "is_spec_fault"),
    [
        (attrs.evolve(DIGITS, batch=2000), "batch of 2000 is larger than the explore split", True),
        (
            attrs.evolve(DIGITS, batch=64, evaluate=5),
            "evaluation of 320 is larger than the assess split",
            True,
        ),
        (
            attrs.evolve(DIGITS, split=Split((1.0, 0, 0, 0), "label", 0)),
            "the assess split of digits is empty",
            True,
        ),
        (
            attrs.evolve(
                DIGITS, fields=(("image", Type("f32", (8, 8, 1))), ("label", Type("class", (9,))))
            ),
            "but class[9] has labels 0 to 8",
            False,
        ),
    ],
)
def test_data_that_do_not_fit_are_one_error(
    plan: DataPlan, words: str, is_spec_fault: bool
) -> None:
    with pytest.raises(DataError) as caught:
        data.read(plan)
    assert words in str(caught.value)
    assert caught.value.help
    assert caught.value.is_spec_fault is is_spec_fault


def test_a_value_that_is_no_number_names_its_row() -> None:
    column = np.ones((5, 2), dtype=np.float32)
    column[3, 1] = np.nan
    with pytest.raises(DataError, match="features .* row 4"):
        data._check_columns("d", {"features": Type("f32", (2,))}, {"features": column})
