"""Groups and blocks as the units of evidence, against statsmodels, NumPy and simulated truths."""

from __future__ import annotations

import math

import attrs
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings

from ev3lang.backend import assess, betting, bootstrap, claims, units
from ev3lang.backend.claims import Side
from ev3lang.backend.units import Sample
from ev3lang.plan.plan import Claim, Split
from tests.plan import examples

GROUPED = Split((0.25, 0.25, 0.25, 0.25), "who", 0, "grouped")
BLOCKS = attrs.evolve(GROUPED, by="day", method="ordered", block=3)


def _groups(rng: np.random.Generator, count: int, largest: int) -> np.ndarray:
    """Numbers of groups of uneven sizes, in a drawn order."""
    return rng.permutation(np.repeat(np.arange(count), rng.integers(1, largest + 1, count)))


# ---------------------------------------------------------------- which examples are a unit


def test_without_groups_or_blocks_every_example_is_a_unit() -> None:
    table = {"who": np.asarray(["a", "b", "a"]), "day": np.arange(3)}
    assert units.numbers(None, table) is None
    assert units.numbers(attrs.evolve(GROUPED, method="stratified"), table) is None
    assert units.numbers(attrs.evolve(BLOCKS, block=None), table) is None


def test_a_group_is_all_examples_of_one_name() -> None:
    found = units.numbers(GROUPED, {"who": np.asarray(["b", "a", "b", "c"])})
    assert found is not None
    np.testing.assert_array_equal(found, [1, 0, 1, 2])


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1]),
        # one day stays whole, and what is left at the end goes with the block before it
        ([0, 1, 1, 1, 2, 3, 4, 5], [0, 0, 0, 0, 1, 1, 1, 1]),
        ([7, 7, 7, 7], [0, 0, 0, 0]),
        ([0, 1], [0, 0]),
    ],
)
def test_blocks_are_cut_where_the_time_changes(days: list[int], expected: list[int]) -> None:
    found = units.numbers(BLOCKS, {"day": np.asarray(days)})
    assert found is not None
    np.testing.assert_array_equal(found, expected)


def test_the_most_is_that_of_explore_and_assess() -> None:
    """What a bet is scaled by must not depend on the examples that decide."""
    tables = {
        use: {"who": np.repeat(np.arange(len(sizes)), sizes)}
        for use, sizes in {
            "explore": [2, 5],
            "assess": [3, 1],
            "adapt": [9, 1],
            "report": [2],
        }.items()
    }
    found = units.of_splits(GROUPED, tables)
    assert set(found) == {"assess", "adapt", "report"}
    assert {float(each.most) for each in found.values()} == {5.0}


# ---------------------------------------------------------------- sums and standard errors


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_worth_is_the_sum_over_the_most_and_at_most_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    of = _groups(rng, 12, 9)
    excess = rng.uniform(-1, 1, len(of)).astype(np.float32)
    found = np.asarray(units.worth(units.units(of, 4), jnp.asarray(excess)))
    for unit in range(12):
        size = np.sum(of == unit)
        assert found[unit] == pytest.approx(excess[of == unit].sum() / max(size, 4), abs=1e-6)
    assert np.all(np.abs(found) <= 1)


def test_the_standard_error_is_that_of_a_clustered_regression() -> None:
    """statsmodels divides by N - 1 as well, which a mean of a ratio doesn't."""
    rng = np.random.default_rng(3)
    of = _groups(rng, 40, 12)
    values = (rng.normal(size=40)[of] + rng.normal(size=len(of))).astype(np.float32)
    fit = sm.OLS(values.astype(float), np.ones(len(of))).fit(
        cov_type="cluster", cov_kwds={"groups": of, "use_correction": False}
    )
    expected = float(fit.bse[0]) * math.sqrt(40 / 39)
    assert float(units.standard_error(units.units(of), jnp.asarray(values))) == pytest.approx(
        expected, rel=1e-4
    )
    assert expected > 2 * values.std() / math.sqrt(len(of))


def test_of_single_examples_it_is_the_ordinary_one() -> None:
    values = np.random.default_rng(0).normal(size=50).astype(np.float32)
    ordinary = values.std(ddof=1) / math.sqrt(50)
    for of in (None, units.units(np.arange(50))):
        assert float(units.standard_error(of, jnp.asarray(values))) == pytest.approx(
            ordinary, rel=1e-5
        )


def test_current_moves_by_the_standard_error_of_groups() -> None:
    """A loss of thirty examples in one group of many that are level is one unit's bad luck."""
    gains = np.zeros(300, np.float32)
    gains[:30] = -1
    of = units.units(np.repeat(np.arange(10), 30))
    assert not assess.is_within_one_error(jnp.asarray(gains))
    assert assess.is_within_one_error(jnp.asarray(gains), of)


# ---------------------------------------------------------------- resamples


def test_resamples_are_of_whole_groups() -> None:
    of = _groups(np.random.default_rng(1), 20, 7)
    sample = Sample({"x": jnp.zeros(len(of))}, units.units(of))
    rows = np.asarray(units.resampled(sample, jax.random.key(0), 50))
    assert rows.shape == (50, len(of))
    for drawn in rows:
        place = 0
        while place < len(drawn):
            whole = np.flatnonzero(of == of[drawn[place]])
            np.testing.assert_array_equal(
                drawn[place : place + len(whole)], whole[: len(drawn) - place]
            )
            place += len(whole)


def test_each_group_is_drawn_as_often() -> None:
    of = np.repeat(np.arange(4), [1, 2, 3, 10])
    sample = Sample({"x": jnp.zeros(len(of))}, units.units(of))
    rows = np.asarray(units.resampled(sample, jax.random.key(0), 4000))
    first = np.bincount(of[rows[:, 0]], minlength=4) / 4000
    np.testing.assert_allclose(first, 0.25, atol=0.03)


def test_the_bootstrap_of_a_mean_spreads_as_groups_do() -> None:
    rng = np.random.default_rng(5)
    of = np.repeat(np.arange(60), 10)
    values = jnp.asarray(rng.normal(size=60)[of] + 0.1 * rng.normal(size=600), jnp.float32)
    grouped = Sample({"x": values}, units.units(of))
    found = bootstrap.standard_error(
        lambda rows: jnp.mean(values[rows]), jax.random.key(1), grouped
    )
    assert float(found) == pytest.approx(
        float(units.standard_error(grouped.units, values)), rel=0.25
    )


@pytest.mark.parametrize("freedom", [9, 29, 200])
def test_few_units_widen_as_students_distribution_does(freedom: int) -> None:
    import scipy.stats

    for level in (0.05, 0.0025):
        expected = math.sqrt((freedom + 1) / freedom) * (
            scipy.stats.t.isf(level, freedom) / scipy.stats.norm.isf(level)
        )
        found = float(bootstrap.widening(jnp.float32(freedom + 1), jnp.log(level)))
        assert found == pytest.approx(expected, rel=0.02)


# ---------------------------------------------------------------- a promise that holds


def _side(values: np.ndarray) -> Side:
    return Side({"accuracy": jnp.asarray(values, jnp.float32)}, None)  # type: ignore[arg-type]


def test_bets_on_groups_hold_their_level_where_bets_on_examples_do_not() -> None:
    """Patients of thirty examples are won or lost whole, as often each: no model is better."""
    level, groups, size, trials = 0.05, 40, 30, 400
    claim = Claim(examples.ACCURACY, 1.0, 0.0, "betting")
    of = np.repeat(np.arange(groups), size)
    grouped, single = units.units(of), None
    field = {"x": jnp.zeros(len(of))}

    @jax.jit
    def outcomes(current: jax.Array, accepted: jax.Array, key: jax.Array) -> jax.Array:
        sides = Side({"accuracy": current}, None), Side({"accuracy": accepted}, None)  # type: ignore[arg-type]
        on_assess = {"accuracy": current}, {"accuracy": accepted}
        return jnp.stack(
            [
                claims.test(
                    claim, *sides, on_assess, each, Sample(field, each), jnp.log(level), key
                ).passes
                for each in (grouped, single)
            ]
        )

    rng = np.random.default_rng(0)
    passed = np.zeros(2)
    for trial in range(trials):
        won = rng.random(groups) < 0.5
        current = np.repeat(won, size).astype(np.float32)
        accepted = 1 - current
        passed += np.asarray(outcomes(current, accepted, jax.random.key(trial)))
    by_groups, by_examples = passed / trials
    # three standard errors of a share of 5% in 400 trials
    assert by_groups <= level + 3 * math.sqrt(level * (1 - level) / trials)
    assert by_examples > 0.3


def test_a_gain_in_every_group_is_found() -> None:
    """A gain of 30 pp in each of 40 groups: 0.95 of it grows a wealth of 1 to e^10."""
    claim = Claim(examples.ACCURACY, 1.0, 0.0, "betting")
    of = np.repeat(np.arange(40), 10)
    current = np.tile([1, 1, 1, 1, 1, 1, 0, 0, 0, 0], 40).astype(np.float32)
    accepted = np.tile([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], 40).astype(np.float32)
    sample = Sample({"x": jnp.zeros(400)}, units.units(of))
    seen = {"accuracy": jnp.asarray(current)}, {"accuracy": jnp.asarray(accepted)}
    log_level = jnp.log(0.0025)
    outlook = claims.outlook(
        claim, _side(current), _side(accepted), sample, 40, log_level, jax.random.key(0)
    )
    assert float(outlook.gain) == pytest.approx(0.3)
    assert float(outlook.power) > 0.9
    proof = claims.test(
        claim,
        _side(current),
        _side(accepted),
        seen,
        sample.units,
        sample,
        log_level,
        jax.random.key(0),
    )
    assert proof.passes
    assert float(proof.log_p) == pytest.approx(-40 * math.log1p(0.95 * 0.3), rel=0.2)
    assert (
        float(
            betting.bet(
                units.worth(sample.units, seen[0]["accuracy"] - seen[1]["accuracy"]), 40, log_level
            )
        )
        <= 0.95
    )
