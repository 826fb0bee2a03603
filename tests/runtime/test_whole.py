"""Whole numbers are exact where they are derived, and never wrap around in a program."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.backend import losses, models
from ev3lang.backend.expressions import Networks, evaluate
from ev3lang.catalog.signature import Type
from ev3lang.compile import load
from ev3lang.plan.plan import Apply, Constant, Expr, Field
from ev3lang.runtime import whole
from ev3lang.runtime.data import read
from ev3lang.runtime.faults import DataError
from tests.runtime.test_files import X, block, store, written

STAMP = np.random.default_rng(0).integers(1_700_000_000, 1_710_000_000, 200).astype(np.int32)
DAY = np.random.default_rng(1).integers(19_000, 20_000, 200).astype(np.int32)
SMALL = np.random.default_rng(2).integers(-3, 4, (200, 2)).astype(np.int32)
FIELDS = "x: f32[3]\nlabel: class[4]\nstamp: i32\nday: i32\npair: i32[2]"
WHOLE = Type("int")


def stored(folder: Path, **changed: np.ndarray) -> None:
    fields = {"x": X, "label": np.arange(200) % 4, "stamp": STAMP, "day": DAY, "pair": SMALL}
    store(folder, **{**fields, **changed})


def spec(folder: Path, lines: str = "", more: str = "") -> Path:
    path = written(folder, block(f"{FIELDS}\n{lines}"))
    path.write_text(path.read_text("utf-8") + more, "utf-8")
    return path


def derived(folder: Path, lines: str, *names: str) -> list[np.ndarray]:
    """All rows of derived fields beside those of `stamp`, `day` and `pair`, split by split."""
    stored(folder)
    experiment = load(spec(folder, lines))
    tables = read(experiment.plan.data, folder).tables
    return [
        np.concatenate([table[name] for table in tables.values()])
        for name in (*names, "stamp", "day", "pair")
    ]


# ---------------------------------------------------------------- derived


@pytest.mark.parametrize(
    ("value", "law"),
    [
        ("(stamp * 2) mod 5 == 0", lambda s, d, p: (s * 2) % 5 == 0),
        ("(stamp + stamp) mod 7 == 1", lambda s, d, p: (s + s) % 7 == 1),
        ("(-stamp - stamp) mod 3 == 1", lambda s, d, p: (-s - s) % 3 == 1),
        ("(day ^ 3) mod 11 == 4", lambda s, d, p: d**3 % 11 == 4),
        ("abs(day * -1000000) mod 13 == 2", lambda s, d, p: abs(d * -1_000_000) % 13 == 2),
        ("sum(pair * stamp) > 0", lambda s, d, p: (p * s[:, None]).sum(1) > 0),
        ("stamp * stamp > 2907000000000000000", lambda s, d, p: s * s > 2_907_000_000_000_000_000),
        ("max(stamp * 2, 3410000000) == 3410000000", lambda s, d, p: s * 2 <= 3_410_000_000),
    ],
)
def test_a_derived_label_is_exact(tmp_path: Path, value: str, law) -> None:
    found, stamp, day, pair = derived(tmp_path, f"derive yes = {value} as class[2]", "yes")
    expected = law(*(each.astype(np.int64) for each in (stamp, day, pair)))
    assert found.dtype == np.int32
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(found, expected)


def test_a_derived_number_of_more_than_32_bits_is_a_real_or_refused(tmp_path: Path) -> None:
    found, stamp, *_ = derived(tmp_path, "derive twice = stamp * 2 as real", "twice")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, (stamp.astype(np.int64) * 2).astype(np.float32))
    with pytest.raises(DataError, match=r"twice is 3,4\d\d,\d\d\d,\d\d\d in row 1, and") as caught:
        derived(tmp_path, "derive twice = stamp * 2", "twice")
    assert (caught.value.field, caught.value.row) == ("twice", 1)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("stamp ^ 3 mod 2 == 0", "row 1: it is about 4.9"),
        ("stamp * stamp * stamp > 0", "beyond 64 bits"),
        ("day mod (day - day) == 0", "row 1: it divides by 0"),
    ],
)
def test_what_64_bits_cannot_hold_is_refused(tmp_path: Path, value: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        derived(tmp_path, f"derive odd = {value}", "odd")
    assert (caught.value.field, caught.value.row) == ("odd", 1)


def test_other_functions_take_the_nearest_real(tmp_path: Path) -> None:
    lines = "derive share = (stamp * 2) / day\nderive size = log(stamp * 4)"
    lines += "\nderive far = stamp * 2 < 1.5"
    share, size, far, stamp, day, _ = derived(tmp_path, lines, "share", "size", "far")
    wide = stamp.astype(np.float64)
    np.testing.assert_allclose(share, 2 * wide / day, rtol=2e-7)
    np.testing.assert_allclose(size, np.log(4 * wide), rtol=2e-7)
    assert share.dtype == size.dtype == np.float32
    assert not far.any()


numbers = st.integers(-(2**31), 2**31 - 1)


@given(
    st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8), st.sampled_from(["+", "-", "*"])
)
def test_operations_are_those_of_pythons_numbers(rows: list[tuple[int, int]], sign: str) -> None:
    columns = {
        name: np.array([row[place] for row in rows], np.int32)
        for place, name in enumerate(("a", "b"))
    }
    expr = Apply(sign, (Field("a", WHOLE), Field("b", WHOLE)), WHOLE, "example")
    expected = [{"+": a + b, "-": a - b, "*": a * b}[sign] for a, b in rows]
    assert whole.value(expr, columns).tolist() == expected


# ---------------------------------------------------------------- in a program


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("(stamp + stamp) > 0", r"`stamp \+ stamp` is 3,4.* where stamp is 17\d{8}, and"),
        ("stamp * day > 0", r"`stamp \* day` is .* where day is \d+ and stamp is 17"),
        ("day ^ 4 > 0", r"`day \^ 4` is"),
        ("sum(pair * stamp) == 0", r"`pair \* stamp` is"),
        ("stamp - 3000000000 < 0", "`stamp - 3000000000` needs 3,000,000,000"),
        ("(argmax(net(x)) * 1000000000) > 5", "may be anything from 0 to 3,000,000,000"),
        ("day mod (label - label) == 0", r"`day mod \(label - label\)` divides by 0"),
    ],
)
def test_a_program_that_could_wrap_around_is_refused(
    tmp_path: Path, value: str, words: str
) -> None:
    stored(tmp_path)
    path = spec(tmp_path, more=f"metric odd = {value}\nreport {{ show odd }}\n")
    with pytest.raises(DataError, match=words) as caught:
        load(path).compile()
    assert caught.value.help


@pytest.mark.parametrize(
    ("value", "law"),
    [
        ("(stamp - 1700000000) * 100 > 500000000", lambda s, d: (s - 1_700_000_000) * 100 > 5e8),
        ("day ^ 2 mod 2 == 1", lambda s, d: d % 2 == 1),
        # bounds alone would not show that it fits
        ("(stamp - stamp) * stamp == 0", lambda s, d: s == s),
        ("stamp < 3000000000", lambda s, d: s == s),
        ("clip(stamp, low: -3000000000, high: 3000000000) > 0", lambda s, d: s == s),
        ("stamp > -3000000000", lambda s, d: s == s),
        ("parameters(net) * 1000000000 > 5000000000", lambda s, d: s == s),
    ],
)
def test_a_program_that_cannot_wrap_around_is_right(tmp_path: Path, value: str, law) -> None:
    stored(tmp_path)
    plan = load(spec(tmp_path, more=f"metric odd = {value}\nreport {{ show odd }}\n")).plan
    tables = read(plan.data, tmp_path).tables
    whole.check(plan, tables)
    (model,), (shown,), table = plan.models, plan.shown, tables["report"]
    networks = Networks({model.name: model}, {model.name: models.init(model, jax.random.key(0))})
    fields = {name: jnp.asarray(column) for name, column in table.items()}
    found = evaluate(shown.value, fields, networks)
    expected = law(table["stamp"].astype(np.int64), table["day"].astype(np.int64))
    np.testing.assert_array_equal(np.broadcast_to(found, expected.shape), expected)


def test_errors_of_whole_numbers_do_not_wrap_around() -> None:
    first = np.array([2_000_000_000, -(2**31), 1_700_000_001, 5], np.int32)
    second = np.array([-2_000_000_000, 2**31 - 1, 1_700_000_000, 3], np.int32)
    gap = first.astype(np.float64) - second
    for name, law in [("squared_error", np.square(gap)), ("absolute_error", np.abs(gap))]:
        np.testing.assert_allclose(losses.TABLE[name](first, second), law, rtol=2e-7)


def test_an_expression_is_written_as_a_spec_writes_it() -> None:
    a, b = Field("a", WHOLE), Field("b", WHOLE)

    def joined(sign: str, *parts: Expr) -> Apply:
        return Apply(sign, parts, WHOLE, "example")

    expr = joined("*", joined("+", a, Constant(2, WHOLE)), joined("negate", b))
    assert whole.text(joined("abs", expr)) == "abs((a + 2) * (-b))"
