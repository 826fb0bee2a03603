"""Chances of evidence against SciPy's distributions and against the tests run on drawn data."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ev3lang.backend import betting, gate
from ev3lang.check import bounds
from ev3lang.plan import power

FIRST, LAST = 0.0025, 0.05


# ---------------------------------------------------------------- McNemar


def fewest_wins(discordant: int, level: float) -> int:
    """The fewest wins whose binomial tail is within the level, by SciPy; too many where none."""
    tails = stats.binom.sf(np.arange(discordant + 1) - 1, discordant, 0.5)
    passing = np.flatnonzero(tails <= level)
    return int(passing[0]) if len(passing) else discordant + 1


def mcnemar_power(examples: int, share: float, gain: float, level: float) -> float:
    counts = np.arange(examples + 1)
    chance = 0.5 * (1 + gain / share)
    passed = [stats.binom.sf(fewest_wins(int(d), level) - 1, d, chance) for d in counts]
    return float(stats.binom.pmf(counts, examples, share) @ passed)


@pytest.mark.parametrize(
    ("examples", "share", "gain", "level"),
    [
        (269, 0.1, 0.05, FIRST),
        (269, 0.05, 0.03, LAST),
        (1000, 0.1, 0.04, FIRST),
        (2700, 0.1, 0.02, LAST),
        (60, 0.5, 0.3, 0.01),
        (20, 1.0, 0.7, FIRST),
        (9, 0.3, 0.3, FIRST),
        (300, 0.1, 0.0, LAST),
    ],
)
def test_the_chance_of_mcnemars_test_is_the_sum_over_all_results(
    examples: int, share: float, gain: float, level: float
) -> None:
    expected = mcnemar_power(examples, share, gain, level)
    assert power.mcnemar_power(examples, share, gain, level) == pytest.approx(expected, abs=1e-9)


@given(
    examples=st.integers(5, 200),
    share=st.floats(0.02, 1.0),
    part=st.floats(0.0, 1.0),
    level=st.sampled_from([FIRST, LAST, 1e-4, 0.2]),
)
@settings(max_examples=30, deadline=None)
def test_the_chance_of_mcnemars_test_is_exact_for_any_split(
    examples: int, share: float, part: float, level: float
) -> None:
    expected = mcnemar_power(examples, share, part * share, level)
    found = power.mcnemar_power(examples, share, part * share, level)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("share", [0.05, 0.1])
@pytest.mark.parametrize("level", [FIRST, LAST])
def test_the_gain_that_is_found_is_the_smallest_with_that_chance(
    share: float, level: float
) -> None:
    gain = power.mcnemar_gain(2000, share, level)
    assert gain is not None
    assert mcnemar_power(2000, share, gain, level) >= 0.9
    assert mcnemar_power(2000, share, 0.995 * gain, level) < 0.9


def test_no_gain_is_found_on_too_few_examples() -> None:
    # Nine wins without a loss are needed, and so many seldom differ among 20.
    assert power.mcnemar_gain(20, 0.1, FIRST) is None
    assert power.mcnemar_gain(4, 0.9, LAST) is None


def test_more_data_show_smaller_gains_at_about_one_over_the_root() -> None:
    gains = [power.mcnemar_gain(n, 0.1, FIRST) for n in (1000, 4000, 16_000)]
    assert None not in gains
    first, second, third = (each for each in gains if each is not None)
    assert first / second == pytest.approx(2, rel=0.05)
    assert second / third == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("level", [FIRST, LAST])
def test_among_many_examples_the_normal_distribution_takes_over_smoothly(level: float) -> None:
    many = int(power.MANY / 0.1)
    below, above = (power.mcnemar_gain(n, 0.1, level) for n in (many - 10, many + 10))
    assert below is not None and above is not None
    assert below == pytest.approx(above, rel=5e-3)
    # No sum over all results, however many there are.
    least = power.mcnemar_gain(10**9, 0.1, level)
    assert least is not None and 1e-5 < least < 1e-4


@pytest.mark.parametrize("level", [1e-15, 0.9, 0.999])
def test_any_level_has_a_figure(level: float) -> None:
    for gain in (
        power.mcnemar_gain(5000, 0.1, level),
        power.mcnemar_asked(0.1, 5000, 5000, level),
        power.normal_gain(0.01, level),
    ):
        assert gain is not None and math.isfinite(gain)


@pytest.mark.parametrize("level", [0.5, 0.05, 0.0025, 1 / 32, 1 / 1024])
def test_the_least_wins_are_the_fewest_that_pass_without_a_loss(level: float) -> None:
    wins = bounds.least_wins(level)
    assert 0.5**wins <= level * (1 + 1e-9) < 0.5 ** (wins - 1)


def test_what_assess_must_show_makes_the_forecast_nine_in_ten() -> None:
    for share, on_assess, examples in ((0.1, 2000, 2000), (0.05, 1000, 4000), (0.1, 4000, 500)):
        gain = power.mcnemar_asked(share, on_assess, examples, FIRST)
        assert gain is not None
        wins, ratio = gain * on_assess, examples / on_assess
        observed = wins / math.sqrt(share * on_assess + 1) - 0.5
        shift = observed * math.sqrt(ratio) - stats.norm.isf(FIRST)
        assert stats.norm.cdf(shift / math.sqrt(1 + ratio)) == pytest.approx(0.9)


def test_what_assess_must_show_is_where_the_rule_itself_asks() -> None:
    gain = power.mcnemar_asked(0.1, 4000, 2000, FIRST)
    assert gain is not None
    wins, losses = round(2000 * (0.1 + gain)), round(2000 * (0.1 - gain))
    forecast = gate.power(jnp.int32(wins), jnp.int32(losses), 0.5, jnp.log(FIRST))
    assert float(forecast) == pytest.approx(gate.LEAST_POWER, abs=0.02)

    def outcomes(gain: float) -> power.Outcomes:
        return power.excesses(power.around(0.2, gain), 0.0, 1.0)

    asked = power.betting_asked(outcomes, 1.0, 2000, FIRST, 1000)
    assert asked is not None
    (high, _), (low, _) = outcomes(asked)
    excess = jnp.array([high, low] * 500)
    stake = betting.bet(excess, 2000, jnp.log(FIRST))
    forecast = betting.power(excess, stake, 2000, jnp.log(FIRST))
    assert float(forecast) == pytest.approx(gate.LEAST_POWER, abs=0.02)


def test_where_more_must_be_won_than_differ_all_that_differ_are_won() -> None:
    gain = power.mcnemar_asked(0.1, 270, 269, FIRST)
    assert gain is not None
    wins, ratio = gain * 270, 269 / 270
    shift = (wins / math.sqrt(wins + 1) - 0.5) * math.sqrt(ratio) - stats.norm.isf(FIRST)
    assert stats.norm.cdf(shift / math.sqrt(1 + ratio)) == pytest.approx(0.9)
    assert power.mcnemar_asked(0.1, 15, 15, FIRST) is None


# ---------------------------------------------------------------- betting


def test_more_than_differ_can_be_gained_only_where_more_differ() -> None:
    assert power.answers(0.1, 0.3) == power.answers(0.3, 0.3)
    for outcomes in (power.answers(0.1, 0.05), power.answers(0.1, 0.3)):
        assert sum(chance for _, chance in outcomes) == pytest.approx(1)
        assert min(chance for _, chance in outcomes) >= 0


def share_won(outcomes: power.Outcomes, examples: int, level: float, runs: int) -> float:
    """How often the betting test of DESIGN passes on drawn excesses."""
    rng = np.random.default_rng(7)
    values, chances = (np.array(each) for each in zip(*outcomes, strict=True))
    square = max(float(chances @ values**2), 4 / examples)
    stake = min(0.95, math.sqrt(-2 * math.log(level) / (examples * square)))
    won = 0
    for _ in range(runs // 500):
        drawn = rng.choice(values, size=(500, examples), p=chances)
        wealth = np.cumsum(np.log1p(stake * drawn), axis=1).max(axis=1)
        won += int((wealth >= -math.log(level)).sum())
    return won / runs


@pytest.mark.parametrize("examples", [269, 2000])
@pytest.mark.parametrize("level", [FIRST, LAST])
@pytest.mark.parametrize("margin", [0.0, 0.005])
def test_a_margin_is_passed_about_as_often_as_is_told(
    examples: int, level: float, margin: float
) -> None:
    def outcomes(gain: float) -> power.Outcomes:
        return power.excesses(power.answers(0.1, gain), margin, 1 + margin)

    gain = power.betting_gain(outcomes, 0.1, examples, level, examples)
    assert gain is not None
    # 2000 runs have a standard error of 0.7%; the rest is Brownian motion's for single steps.
    assert share_won(outcomes(gain), examples, level, 2000) == pytest.approx(0.9, abs=0.04)


@pytest.mark.parametrize("deviation", [0.05, 0.2])
@pytest.mark.parametrize("level", [FIRST, LAST])
def test_a_gain_in_bounded_values_is_found_about_as_often_as_is_told(
    deviation: float, level: float
) -> None:
    def outcomes(gain: float) -> power.Outcomes:
        return power.excesses(power.around(deviation, gain), 0.0, 1.0)

    gain = power.betting_gain(outcomes, 1.0, 1000, level, 1000)
    assert gain is not None
    assert share_won(outcomes(gain), 1000, level, 2000) == pytest.approx(0.9, abs=0.03)


def test_a_betting_test_seldom_passes_without_a_gain() -> None:
    outcomes = power.excesses(power.answers(0.1, 0.0), 0.0, 1.0)
    assert power.betting_power(outcomes, 1000, LAST, 1000) <= 0.05


def test_the_least_excess_just_wins_the_largest_bet() -> None:
    least = bounds.least_excess(FIRST, 640)
    assert 640 * math.log1p(0.95 * least) == pytest.approx(-math.log(FIRST))
    assert bounds.examples_for(FIRST, least) == 640


def test_guards_of_one_point_need_the_examples_that_were_computed_beforehand() -> None:
    identical = 0.01 / 1.01
    needed = [bounds.examples_for(level, identical) for level in (0.05, 0.0025, 1e-4)]
    assert needed == [320, 640, 984]


def test_assess_must_show_more_than_is_found() -> None:
    def outcomes(gain: float) -> power.Outcomes:
        return power.excesses(power.around(0.2, gain), 0.0, 1.0)

    found = power.betting_gain(outcomes, 1.0, 1000, FIRST, 1000)
    asked = power.betting_asked(outcomes, 1.0, 1000, FIRST, 1000)
    assert found is not None and asked is not None
    # Two noises instead of one, and half a standard error against the choice of the best.
    error = 0.2 / math.sqrt(1000)
    assert asked == pytest.approx(found + error * (1.2816 * (math.sqrt(2) - 1) + 0.5), rel=0.06)


# ---------------------------------------------------------------- challengers


def median_iterations(share: float, gain: float, examples: int, level: float) -> float:
    """Iterations until the mixture of bets passes, over 200 drawn runs."""
    rng = np.random.default_rng(3)
    stakes = np.geomspace(0.02, 0.5, 8)
    chances = [(share - gain) / 2, 1 - share, (share + gain) / 2]
    counts = rng.multinomial(examples, chances, size=(200, 60))
    growth = np.log1p(stakes[:, None] * np.array([-1.0, 0.0, 1.0]))
    logs = np.cumsum(counts @ growth.T, axis=1)
    highest = logs.max(axis=-1)
    mixture = highest + np.log(np.exp(logs - highest[..., None]).mean(axis=-1))
    is_passed = mixture >= -math.log(level)
    first = np.where(is_passed.any(axis=1), is_passed.argmax(axis=1) + 1, 99)
    return float(np.median(first))


@pytest.mark.parametrize("gain", [0.005, 0.01, 0.02, 0.05])
def test_a_challenger_takes_about_the_iterations_that_are_told(gain: float) -> None:
    told = power.challenger_iterations(power.answers(0.1, gain), 2048, 0.025)
    assert told is not None
    drawn = median_iterations(0.1, gain, 2048, 0.025)
    assert told == pytest.approx(drawn, rel=0.15, abs=1)


def test_a_challenger_whose_gain_is_too_small_is_dropped_first() -> None:
    assert power.challenger_iterations(power.answers(0.1, 0.001), 2048, 0.025) is None
    assert power.challenger_iterations(power.answers(0.1, 0.0), 2048, 0.025) is None


# ---------------------------------------------------------------- standard errors


def test_a_normal_difference_is_found_nine_times_in_ten() -> None:
    error = 0.01
    gain = power.normal_gain(error, FIRST)
    needed = stats.norm.isf(FIRST) * error
    assert stats.norm.sf((needed - gain) / error) == pytest.approx(0.9)


def test_two_unpaired_bounds_lie_apart_nine_times_in_ten() -> None:
    gain = power.apart_gain(0.3, 2048, 1.96)
    error = 0.3 / math.sqrt(2048)
    chance = stats.norm.sf(2 * 1.96 * error, loc=gain, scale=math.sqrt(2) * error)
    assert chance == pytest.approx(0.9)
