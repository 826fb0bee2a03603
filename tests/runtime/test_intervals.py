"""Intervals against statsmodels, SciPy and their own definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from ev3lang.runtime.intervals import (
    bootstrap_interval,
    grouped_mean,
    grouped_share,
    student,
    tango,
    unvaried,
    wilson,
)

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
pairs = st.integers(1, 300).flatmap(
    lambda n: st.integers(0, n).flatmap(
        lambda first: st.tuples(st.just(first), st.integers(0, n - first), st.just(n))
    )
)


@given(counts, st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_statsmodels(drawn: tuple[int, int], confidence: float) -> None:
    count, examples = drawn
    interval = wilson(count, examples, confidence)
    low, high = proportion_confint(count, examples, alpha=1 - confidence, method="wilson")
    assert interval.low == pytest.approx(low, abs=1e-9)
    assert interval.high == pytest.approx(high, abs=1e-9)
    assert interval.value == count / examples


@given(pairs)
def test_tango_holds_the_difference_and_mirrors(drawn: tuple[int, int, int]) -> None:
    first, second, examples = drawn
    interval, mirrored = tango(first, second, examples), tango(second, first, examples)
    assert -1 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.low == pytest.approx(-mirrored.high, abs=1e-9)
    assert interval.high == pytest.approx(-mirrored.low, abs=1e-9)


def score_by_maximum_likelihood(first: int, second: int, n: int, difference: float) -> float:
    """The score statistic, its nuisance share found by maximising the likelihood."""
    low, high = max(0.0, -difference), (1 - difference) / 2

    def loss(share: float) -> float:
        parts = (
            (first, share + difference),
            (second, share),
            (n - first - second, 1 - 2 * share - difference),
        )
        return -sum(k * math.log(max(p, 1e-300)) for k, p in parts if k)

    share = optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-13}
    ).x
    variance = n * (2 * share + difference * (1 - difference))
    return (first - second - n * difference) / math.sqrt(variance)


@pytest.mark.parametrize(
    ("first", "second", "n"), [(9, 3, 40), (1, 7, 270), (20, 0, 60), (4, 4, 25)]
)
def test_tango_bounds_are_where_the_score_test_turns(first: int, second: int, n: int) -> None:
    interval = tango(first, second, n)
    z = stats.norm.ppf(0.975)
    assert score_by_maximum_likelihood(first, second, n, interval.low) == pytest.approx(z, abs=1e-3)
    assert score_by_maximum_likelihood(first, second, n, interval.high) == pytest.approx(
        -z, abs=1e-3
    )


def test_tango_without_a_discordant_pair_has_a_closed_form() -> None:
    """Then the score is -sqrt(n d / (1 - d)), which is z where d = z^2 / (n + z^2)."""
    z2 = stats.norm.ppf(0.975) ** 2
    interval = tango(0, 0, 44)
    assert interval.high == pytest.approx(z2 / (44 + z2), abs=1e-9)
    assert interval.low == pytest.approx(-z2 / (44 + z2), abs=1e-9)


@pytest.mark.parametrize(("gain", "lose"), [(0.1, 0.05), (0.05, 0.05), (0.3, 0.1)])
def test_tango_covers_the_true_difference(gain: float, lose: float) -> None:
    """Exact coverage by enumerating all tables of 40 pairs; the paper gives .944 to .962."""
    n, covered = 40, 0.0
    for first in range(n + 1):
        for second in range(n + 1 - first):
            chance = stats.multinomial.pmf(
                [first, second, n - first - second], n, [gain, lose, 1 - gain - lose]
            )
            if chance > 1e-9:
                interval = tango(first, second, n)
                covered += chance * (interval.low <= gain - lose <= interval.high)
    assert 0.93 < covered < 0.98


@settings(max_examples=50)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=50))
def test_student_agrees_with_scipy(values: list[float]) -> None:
    interval = student(np.asarray(values))
    error = stats.sem(values)
    if error > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
        assert interval.low == pytest.approx(low, rel=1e-6, abs=1e-6)
        assert interval.high == pytest.approx(high, rel=1e-6, abs=1e-6)


def test_the_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=400)
    resampled = values[draw.integers(0, 400, (4000, 400))].mean(1)
    interval = bootstrap_interval(float(values.mean()), resampled, 400)
    normal = student(values)
    assert interval.low == pytest.approx(normal.low, abs=0.01)
    assert interval.high == pytest.approx(normal.high, abs=0.01)


def test_a_set_value_that_is_mostly_undefined_has_no_interval() -> None:
    undefined = np.asarray([math.nan, math.nan, 0.5])
    assert bootstrap_interval(0.5, undefined, 10).low is None
    assert bootstrap_interval(0.5, np.asarray([0.4, 0.5, math.nan]), 10).low is not None


def test_nothing_is_claimed_without_examples() -> None:
    assert wilson(0, 0).low is None
    assert tango(0, 0, 0).high is None
    assert student(np.asarray([3.0])).low is None
    assert math.isnan(student(np.asarray([])).value)


# ---------------------------------------------------------------- groups


def _drawn_groups(rng: np.random.Generator, count: int) -> np.ndarray:
    """Sizes of groups, some ten times as large as others."""
    return np.ceil(rng.gamma(1.5, 8, count)).astype(int)


@pytest.mark.parametrize("groups", [12, 20, 60])
def test_the_interval_of_a_share_covers_where_whole_groups_are_right_or_wrong(groups: int) -> None:
    """Labels are drawn for whole patients; intervals over examples miss in half of all draws."""
    rng = np.random.default_rng(groups)
    trials, truth = 800, 0.5
    covered = over_examples = 0
    for _ in range(trials):
        sizes = _drawn_groups(rng, groups)
        # a group of its own mind: right in nearly all of its examples, or in few
        chances = np.where(rng.random(groups) < 0.5, 0.9, 0.1)
        sums = rng.binomial(sizes, chances)
        found = grouped_share(sums, sizes)
        plain = wilson(int(sums.sum()), int(sizes.sum()))
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert plain.low is not None
        assert plain.high is not None
        covered += found.low <= truth <= found.high
        over_examples += plain.low <= truth <= plain.high
    assert covered / trials >= 0.93
    assert over_examples / trials < 0.75


@pytest.mark.parametrize("groups", [12, 60])
def test_the_interval_of_a_mean_covers_where_groups_differ(groups: int) -> None:
    rng = np.random.default_rng(groups)
    covered = 0
    for _ in range(800):
        sizes = _drawn_groups(rng, groups)
        sums = sizes * rng.normal(size=groups) + np.sqrt(sizes) * rng.normal(size=groups)
        found = grouped_mean(sums, sizes)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
    assert covered / 800 >= 0.93


def test_the_interval_of_a_bounded_mean_covers_where_groups_are_near_the_ends() -> None:
    """The mean of values in 0 to 1 that are near 0 or 1 for whole groups."""
    rng = np.random.default_rng(8)
    covered = 0
    for _ in range(800):
        sizes = _drawn_groups(rng, 20)
        means = np.where(rng.random(20) < 0.5, 0.02, 0.98)
        found = grouped_mean(sizes * means, sizes, (0.0, 1.0))
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1
        covered += found.low <= 0.5 <= found.high
    assert covered / 800 >= 0.93


def test_groups_of_one_example_have_about_the_intervals_of_examples() -> None:
    right = np.repeat([1, 0], [170, 30])
    ones = np.ones(200, int)
    plain, grouped = wilson(170, 200), grouped_share(right, ones)
    exact = proportion_confint(170, 200, alpha=0.05, method="beta")
    assert (grouped.low, grouped.high) == pytest.approx(exact, abs=1e-3)
    assert grouped.low == pytest.approx(plain.low, abs=1e-2)
    values = np.random.default_rng(0).normal(size=50)
    assert grouped_mean(values, np.ones(50, int)).low == pytest.approx(student(values).low)


def test_a_share_that_no_group_departs_from_counts_groups() -> None:
    """Twenty patients, all right: as many single examples, 17.5 since t(19) is 2.093 for 1.96."""
    found = grouped_share(np.full(20, 30), np.full(20, 30))
    assert found.high == 1
    assert found.low == pytest.approx(0.025 ** (1 / 17.54), abs=1e-3)


def test_a_bootstrap_of_few_groups_covers() -> None:
    """The mean over ten groups by resampling groups, which alone covers in 90% of draws."""
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        means = rng.normal(size=10)
        resampled = means[rng.integers(0, 10, (1000, 10))].mean(axis=1)
        found = bootstrap_interval(float(means.mean()), resampled, 300, 10)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
    assert covered / 400 >= 0.93


# ---------------------------------------------------------------- values without a spread


def test_thirty_of_thirty_is_not_certain() -> None:
    """The exact interval of a proportion at its end."""
    found = unvaried(1.0, (0.0, 1.0), 300, 30)
    low, high = proportion_confint(30, 30, alpha=0.05, method="beta")
    assert found.low == pytest.approx(low)
    assert found.high == high == 1
    assert unvaried(0.0, (0.0, 1.0), 300, 30).high == pytest.approx(1 - low)


def test_resamples_that_never_differ_are_no_interval() -> None:
    assert bootstrap_interval(1.0, np.ones(1000), 30).low is None
