"""Claims: betting tests, bootstraps and fronts against NumPy, SciPy and simulation."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ev3lang.backend import betting, bootstrap, claims, fronts
from ev3lang.backend.claims import Side
from ev3lang.backend.expressions import NO_NETWORKS
from ev3lang.backend.units import Sample
from ev3lang.catalog.signature import Type
from ev3lang.plan.plan import Apply, Claim, Constant, Field, Guard, Mean, ObjectivePlan

REAL = Type("real")
SCORE = ObjectivePlan("score", Field("score", REAL), "maximize", None, (0.0, 1.0))
LOSS = ObjectivePlan("loss", Field("loss", REAL), "minimize", None, (0.0, 5.0))
RIGHT = ObjectivePlan("right", Field("right", Type("bool")), "maximize", None, (0.0, 1.0))

skewed = np.array([-1.0, 0.05]), np.array([1 / 21, 20 / 21])
"""Values of mean 0 that are nearly always a small gain."""


def by_hand(excess: np.ndarray, on_assess: np.ndarray, level: float) -> tuple[float, float]:
    """The betting test in double precision: its stake and the log of its greatest wealth."""
    n, n_a = len(excess), len(on_assess)
    spread = max(float(np.mean(on_assess**2)), 4 / n_a)
    stake = min(0.95, math.sqrt(2 * math.log(1 / level) / (n * spread)))
    wealth = max(np.cumsum(np.log1p(stake * excess)).max(), 0.0)
    return stake, float(wealth)


def test_a_betting_test_is_the_formulas() -> None:
    rng = np.random.default_rng(0)
    for size, level in itertools.product((50, 500, 20_000), (0.05, 2.5e-3, 1e-9)):
        on_assess, excess = rng.uniform(-1, 1, size), rng.uniform(-0.8, 1, size)
        stake, wealth = by_hand(excess, on_assess, level)
        ours = betting.bet(jnp.asarray(on_assess, jnp.float32), size, jnp.log(level))
        assert float(ours) == pytest.approx(stake, rel=1e-4)
        found = betting.log_wealth(jnp.asarray(excess, jnp.float32), ours)
        assert float(found) == pytest.approx(wealth, rel=1e-3, abs=1e-3)


def test_a_betting_test_holds_its_level_for_skewed_values_of_mean_0() -> None:
    runs, size, level = 20_000, 300, 0.02
    rng = np.random.default_rng(1)
    draws = rng.choice(skewed[0], size=(2, runs, size), p=skewed[1]).astype(np.float32)

    @jax.jit
    @jax.vmap
    def is_won(on_assess: jax.Array, excess: jax.Array) -> jax.Array:
        stake = betting.bet(on_assess, size, jnp.log(level))
        return betting.log_wealth(excess, stake) >= -jnp.log(level) + betting.MARGIN

    false = int(np.sum(is_won(*draws)))
    assert false <= scipy.stats.binom.ppf(0.999, runs, level)
    assert false > 0, "a test that never rejects proves nothing here"


@pytest.mark.parametrize(("gain", "count"), [(0.1, 300), (0.15, 300), (0.05, 2000)])
def test_the_predicted_power_of_a_bet_is_what_comes_true(gain: float, count: int) -> None:
    """Over draws of both splits a forecast comes true as often as it says."""
    runs, level = 4000, 2.5e-3
    rng = np.random.default_rng(2)
    low, high = 0.15 - gain / 2, 0.15 + gain / 2
    values = np.array([-1.0, 0.0, 1.0], np.float32)
    draws = rng.choice(values, size=(2, runs, count), p=[low, 1 - low - high, high])

    @jax.jit
    @jax.vmap
    def of_one(on_assess: jax.Array, excess: jax.Array) -> tuple[jax.Array, jax.Array]:
        stake = betting.bet(on_assess, count, jnp.log(level))
        is_won = betting.log_wealth(excess, stake) >= -jnp.log(level)
        return betting.power(on_assess, stake, count, jnp.log(level)), is_won

    predicted, is_won = map(np.asarray, of_one(*draws.astype(np.float32)))
    asked = predicted >= 0.9
    if asked.sum() > 200:
        assert is_won[asked].mean() > 0.88
    # shrunk by half a standard error, it may not promise more than comes
    assert predicted.mean() <= is_won.mean() + 0.02


def test_the_wealth_of_a_mixture_stays_1_on_average_when_nothing_is_gained() -> None:
    rng = np.random.default_rng(3)
    excess = rng.choice(skewed[0], size=(200_000, 8), p=skewed[1]).astype(np.float32)
    start = jnp.zeros((len(excess), len(betting.STAKES)))
    wealth = np.exp(betting.log_mixture(betting.grown(start, jnp.asarray(excess))))
    error = wealth.std() / math.sqrt(len(wealth))
    assert abs(wealth.mean() - 1) < 4 * error


def test_two_draws_grow_a_mixture_as_one_of_both() -> None:
    rng = np.random.default_rng(4)
    excess = jnp.asarray(rng.uniform(-1, 1, 64), jnp.float32)
    start = jnp.zeros(len(betting.STAKES))
    at_once = betting.grown(start, excess)
    in_turn = betting.grown(betting.grown(start, excess[:40]), excess[40:])
    np.testing.assert_allclose(at_once, in_turn, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- whole claims


def sides(claim: Claim, first: np.ndarray, second: np.ndarray) -> tuple[Side, Side]:
    name = claim.measure.name
    return (
        Side({name: jnp.asarray(first, jnp.float32)}, NO_NETWORKS),
        Side({name: jnp.asarray(second, jnp.float32)}, NO_NETWORKS),
    )


def proof_of(claim: Claim, first: np.ndarray, second: np.ndarray, level: float) -> claims.Proof:
    one, other = sides(claim, first, second)
    fields = {claim.measure.name: jnp.asarray(first, jnp.float32)}
    return claims.test(
        claim,
        one,
        other,
        (one.values, other.values),
        None,
        Sample(fields),
        jnp.log(level),
        jax.random.key(0),
    )


def test_a_claim_about_right_and_wrong_is_mcnemars() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.random(400) < 0.9, rng.random(400) < 0.8
    proof = proof_of(Claim(RIGHT, 1.0, 0.0, "mcnemar"), first, second, 1e-3)
    wins, losses = int((first & ~second).sum()), int((second & ~first).sum())
    assert (int(proof.wins), int(proof.losses)) == (wins, losses)
    expected = scipy.stats.binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue
    assert math.exp(float(proof.log_p)) == pytest.approx(expected, rel=1e-3)


def test_a_margin_asks_for_more_than_a_gain() -> None:
    rng = np.random.default_rng(6)
    second = rng.uniform(0.2, 0.6, 2000)
    first = second + 0.1 + rng.normal(0, 0.05, 2000)
    assert bool(proof_of(Claim(SCORE, 1.0, 0.05, "betting"), first, second, 1e-3).passes)
    assert not bool(proof_of(Claim(SCORE, 1.0, 0.12, "betting"), first, second, 1e-3).passes)


def test_less_is_better_where_the_direction_says_so() -> None:
    rng = np.random.default_rng(7)
    second = rng.uniform(2, 4, 2000)
    claim = Claim(LOSS, 1.0, 0.0, "betting")
    assert bool(proof_of(claim, second - 1, second, 1e-3).passes)
    assert not bool(proof_of(claim, second, second - 1, 1e-3).passes)


def test_a_fixed_bound_is_proven_without_the_accepted_model() -> None:
    rng = np.random.default_rng(8)
    right, nothing = rng.random(2000) < 0.95, np.full(2000, np.nan)
    assert bool(proof_of(Claim(RIGHT, 0.0, 0.9, "betting"), right, np.zeros(2000), 1e-3).passes)
    assert not bool(
        proof_of(Claim(RIGHT, 0.0, 0.96, "betting"), right, np.zeros(2000), 1e-3).passes
    )
    assert not bool(proof_of(Claim(RIGHT, 1.0, 0.0, "betting"), right, nothing, 1e-3).passes)


def test_a_value_beyond_the_range_counts_as_its_nearer_end() -> None:
    """One error of 30,245 among 8,091 does not spend the evidence of all others."""
    rng = np.random.default_rng(9)
    accepted = rng.uniform(3000, 9000, 8091)
    current = np.maximum(accepted - 3170, 0)
    measure = ObjectivePlan("mae", Field("mae", REAL), "minimize", None, (0.0, 20_000.0))
    claim = Claim(measure, 1.0, 0.0, "betting")
    current[17] = 30_245
    found = proof_of(claim, current, accepted, 2.5e-3)
    at_the_end = proof_of(claim, np.minimum(current, 20_000), accepted, 2.5e-3)
    assert bool(found.passes)
    assert float(found.log_p) == float(at_the_end.log_p)
    excess = np.asarray(
        claims.excess(claim, *({"mae": jnp.asarray(m)} for m in (current, accepted)))
    )
    assert excess[17] == pytest.approx((accepted[17] - 20_000) / 20_000, rel=1e-5)


def test_a_value_that_is_not_finite_is_a_plain_rejection() -> None:
    first, second = np.full(500, 0.9), np.full(500, 0.2)
    claim = Claim(SCORE, 1.0, 0.0, "betting")
    first[3] = np.nan
    assert not bool(proof_of(claim, first, second, 1e-3).passes)


def test_a_bounded_claim_holds_its_level_for_values_far_beyond_the_range() -> None:
    """The bounded mean is no better; the mean as it is, moved by one value in 50, seems far so."""
    runs, size, level = 4000, 200, 0.05
    claim = Claim(SCORE, 1.0, 0.0, "betting")
    rng = np.random.default_rng(10)
    # kept in 0 to 1 they are 0.5, 0 and 1, of mean 0.5
    values = np.array([0.5, -0.1, 40.0], np.float32)
    draws = rng.choice(values, size=(2, runs, size), p=[0.96, 0.02, 0.02])

    @jax.jit
    @jax.vmap
    def is_won(on_assess: jax.Array, on_adapt: jax.Array) -> jax.Array:
        equal = {"score": jnp.full(size, 0.5)}
        one = Side({"score": on_adapt}, NO_NETWORKS)
        other = Side(equal, NO_NETWORKS)
        on_both = {"score": on_assess}, equal
        key = jax.random.key(0)
        adapt = Sample(equal)
        return claims.test(claim, one, other, on_both, None, adapt, jnp.log(level), key).passes

    false = int(np.sum(is_won(*draws)))
    assert 0 < false <= scipy.stats.binom.ppf(0.999, runs, level)


def test_a_gain_that_the_range_alone_makes_is_not_tested() -> None:
    """Half of the errors are halved, and one of ten grows from the range's end to ten times it."""
    before = np.tile([2.0, 2.0, 2.0, 2.0, 5.0], 40)
    after = np.tile([1.0, 1.0, 1.0, 1.0, 50.0], 40)
    claim = Claim(LOSS, 1.0, 0.0, "betting")
    assess, key = Sample({"loss": jnp.asarray(before)}), jax.random.key(0)
    seen = claims.outlook(claim, *sides(claim, after, before), assess, 200, jnp.log(0.05), key)
    assert float(seen.gain) == pytest.approx(0.8)
    assert not bool(seen.favours)
    after[4::5] = 6.0
    seen = claims.outlook(claim, *sides(claim, after, before), assess, 200, jnp.log(0.05), key)
    assert bool(seen.favours)


@pytest.mark.parametrize("size", [1, 2])
def test_few_examples_and_ties_everywhere_are_no_evidence(size: int) -> None:
    same = np.full(size, 0.5)
    for claim in (Claim(SCORE, 1.0, 0.0, "betting"), Claim(RIGHT, 1.0, 0.0, "mcnemar")):
        proof = proof_of(claim, same, same, 0.05)
        assert not bool(proof.passes)
        one, other = sides(claim, same, same)
        fields = {claim.measure.name: jnp.asarray(same)}
        seen = claims.outlook(
            claim, one, other, Sample(fields), 100, jnp.log(0.05), jax.random.key(0)
        )
        assert not bool(seen.favours)
        assert np.isfinite(float(seen.power))


def mean_score() -> ObjectivePlan:
    """A value of a set whose bootstrap is known: the mean of a field."""
    return ObjectivePlan("score", Mean(Field("score", REAL)), "maximize", None, None)


def set_claim(margin: float = 0.0) -> Claim:
    return Claim(mean_score(), 0.0, margin, "bootstrap")


def set_tested(values: np.ndarray, margin: float, level: float) -> claims.Proof:
    claim = set_claim(margin)
    fields = {"score": jnp.asarray(values, jnp.float32)}
    side = Side({"score": jnp.mean(fields["score"])}, NO_NETWORKS)
    on_assess = side.values, side.values
    return claims.test(
        claim, side, side, on_assess, None, Sample(fields), jnp.log(level), jax.random.key(1)
    )


def test_a_bootstrap_of_a_mean_is_about_a_z_test() -> None:
    rng = np.random.default_rng(9)
    values = rng.normal(0.1, 1.0, 400)
    z = values.mean() / (values.std() / math.sqrt(400))
    expected = scipy.stats.norm.sf(z)
    proof = set_tested(values, 0.0, 1e-3)
    assert math.exp(float(proof.log_p)) >= 1e-3
    loose = set_tested(values, 0.0, min(0.9, 2 * expected))
    assert bool(loose.passes)
    assert math.exp(float(loose.log_p)) == pytest.approx(expected, rel=0.6)
    assert not bool(set_tested(values, 0.0, expected / 3).passes)


def test_a_bootstrap_that_needs_too_many_resamples_is_not_made() -> None:
    values = np.linspace(0.5, 1.0, 50)
    assert bool(set_tested(values, 0.0, 1e-3).passes)
    assert not bool(set_tested(values, 0.0, 5e-5).passes)
    assert not bool(bootstrap.is_affordable(jnp.log(5e-5)))


def test_a_value_undefined_on_a_resample_counts_against_the_claim() -> None:
    """A ratio whose denominator some resamples leave out: 0/0 there."""
    ratio = Apply(
        "/",
        (Mean(Field("score", REAL)), Mean(Field("score", REAL))),
        REAL,
        "set",
    )
    measure = ObjectivePlan("score", ratio, "maximize", None, None)
    claim = Claim(measure, 0.0, 0.5, "bootstrap")
    rare = np.zeros(10)
    rare[0] = 1.0
    fields = {"score": jnp.asarray(rare, jnp.float32)}
    side = Side({"score": jnp.float32(1)}, NO_NETWORKS)
    proof = claims.test(
        claim, side, side, (side.values,) * 2, None, Sample(fields), jnp.log(0.1), jax.random.key(0)
    )
    assert not bool(proof.passes)


# ---------------------------------------------------------------- guards


@pytest.mark.parametrize(
    ("margin", "is_strict", "kept"),
    [(0.5, False, True), (0.5, True, False), (0.4, True, True), (0.6, False, False)],
)
def test_a_guard_is_kept_at_its_bound_unless_it_is_strict(
    margin: float, is_strict: bool, kept: bool
) -> None:
    guard = Guard("score >= bound", Claim(SCORE, 0.0, margin, "betting"), is_strict, False)
    values = {"score": jnp.full(10, 0.5)}
    assert bool(claims.keeps(guard, values, values)) is kept


def test_a_guard_is_broken_by_what_is_no_number() -> None:
    guard = Guard("score >= 0", Claim(SCORE, 0.0, 0.0, "betting"), False, False)
    values = {"score": jnp.full(10, jnp.nan)}
    assert not bool(claims.keeps(guard, values, values))


# ---------------------------------------------------------------- fronts

points = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12
)


def is_dominated(point: tuple[int, ...], others: list[tuple[int, ...]]) -> bool:
    return any(
        all(b >= a for a, b in zip(point, other, strict=True)) and other != point
        for other in others
    )


@given(points)
@settings(max_examples=60, deadline=None)
def test_a_front_is_what_nothing_dominates(found: list[tuple[int, ...]]) -> None:
    ours = fronts.is_on_front(jnp.asarray(found, jnp.float32), jnp.ones(len(found), bool))
    assert ours.tolist() == [not is_dominated(point, found) for point in found]


@given(points)
@settings(max_examples=25, deadline=None)
def test_a_front_that_is_kept_holds_none_that_is_dominated(found: list[tuple[int, ...]]) -> None:
    keys = [
        ObjectivePlan(name, Constant(0, REAL), direction, None, (0.0, 4.0))
        for name, direction in (("a", "maximize"), ("b", "minimize"), ("c", "maximize"))
    ]
    front = fronts.start({"w": jnp.zeros(1)}, 3)
    for number, (a, b, c) in enumerate(found):
        front = fronts.joined(
            front,
            keys,
            {"w": jnp.full(1, float(number))},
            jnp.asarray([a, 4 - b, c], jnp.float32),
            jnp.bool_(True),
            jnp.int32(number),
        )
    kept = [found[int(front.params["w"][place, 0])] for place in np.flatnonzero(front.is_filled)]
    assert len(set(kept)) == len(kept)
    assert not any(is_dominated(point, found) for point in kept)
    whole = {point for point in found if not is_dominated(point, found)}
    assert len(kept) == min(len(whole), fronts.PLACES)


def test_the_hypervolume_is_the_box_to_the_worst_corner() -> None:
    volumes = fronts.volumes(jnp.asarray([[1.0, -2.0], [0.5, -1.0]]), jnp.asarray([0.0, -5.0]))
    np.testing.assert_allclose(volumes, [3.0, 2.0])
