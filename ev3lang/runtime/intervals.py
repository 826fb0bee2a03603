"""Intervals to show beside a measured value: what it may well be on other examples.

Where whole groups or blocks of examples count as one (`backend.units`), so they do here: a unit is
a sum over so many examples, and the mean over examples is a ratio of two sums over units.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import attrs
import numpy as np
from scipy.special import betaincinv, stdtrit

CONFIDENCE = 0.95


@attrs.frozen
class Interval:
    """A measured value and the bounds around it.

    low, high  None where nothing is known about the spread: fewer than two examples, or a value
               that belongs to the model and not to examples
    examples   how many examples it was measured on; 0 for a value of the model
    """

    value: float
    low: float | None
    high: float | None
    examples: int


def wilson(count: int, examples: int, confidence: float = CONFIDENCE) -> Interval:
    """The proportion `count / examples` with its score interval, which stays in [0, 1].

    Source: Wilson (1927), Journal of the American Statistical Association 22:209-212.
    """
    if examples == 0:
        return Interval(math.nan, None, None, 0)
    share = count / examples
    low, high = _wilson_bounds(share, examples, _normal_quantile(confidence))
    return Interval(share, low, high, examples)


def _wilson_bounds(share: float, examples: float, z: float) -> tuple[float, float]:
    """The shares of which this one is `z` standard errors away."""
    centre = (examples * share + z * z / 2) / (examples + z * z)
    half = z / (examples + z * z) * math.sqrt(examples * share * (1 - share) + z * z / 4)
    # rounding may leave a bound beside the value where the count is 0 or all
    return min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)


def tango(
    first_alone: int, second_alone: int, examples: int, confidence: float = CONFIDENCE
) -> Interval:
    """The difference of two proportions on the same examples, first minus second.

    first_alone   examples that only the first model gets right
    second_alone  examples that only the second model gets right
    returns       the difference with its score interval, which stays in [-1, 1]

    The bounds are the differences that a score test would just not reject. Source: Tango (1998),
    Statistics in Medicine 17:891-908, equations 8 to 10.
    """
    if examples == 0:
        return Interval(math.nan, None, None, 0)
    z = _normal_quantile(confidence)
    value = (first_alone - second_alone) / examples

    def score(difference: float) -> float:
        return _tango_score(first_alone, second_alone, examples, difference)

    # the score falls as the supposed difference rises
    low = _falls_to(lambda difference: score(difference) - z, -1.0, value)
    high = _falls_to(lambda difference: score(difference) + z, value, 1.0)
    return Interval(value, low, high, examples)


def student(values: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """The mean of real values with Student's interval.

    values   [B] real, one for each example; for a paired difference the differences
    Source: Student (1908), Biometrika 6:1-25.
    """
    examples = len(values)
    if examples == 0:
        return Interval(math.nan, None, None, 0)
    mean = float(np.mean(values, dtype=np.float64))
    if examples < 2:
        return Interval(mean, None, None, examples)
    error = float(np.std(values, ddof=1, dtype=np.float64)) / math.sqrt(examples)
    return student_of(mean, error, examples, confidence=confidence)


def student_of(
    mean: float,
    error: float,
    examples: int,
    units: float | None = None,
    confidence: float = CONFIDENCE,
) -> Interval:
    """A mean with Student's interval, from its standard error.

    units   how many of one size the error comes from; None: every example is one
    """
    count = examples if units is None else units
    if count < 2 or not math.isfinite(mean):
        return Interval(mean, None, None, examples)
    half = _students_quantile(count, confidence) * error
    return Interval(mean, mean - half, mean + half, examples)


# ---------------------------------------------------------------- groups of examples


def grouped_mean(
    sums: np.ndarray,
    sizes: np.ndarray,
    bounds: tuple[float, float] | None = None,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The mean over the examples of groups with Student's interval over groups.

    sums     [U] real, over the examples of each group
    sizes    [U], examples of each group
    bounds   of one example's value, where they are known: then the interval is that of a share of
             the way between them, which leans away from an end as the mean comes near to it
    The standard error is the jackknife's, each group left out once, with as many degrees of freedom
    as so many groups of one size have. Sources: Cochran (1977), Sampling Techniques, 3rd edition,
    section 6.17; Kish (1965), Survey Sampling, section 11.2C.
    """
    mean, error = _ratio(sums, sizes)
    examples, units = int(np.sum(sizes)), _effective(sizes)
    if bounds is None or not np.isfinite(bounds).all() or not bounds[0] <= mean <= bounds[1]:
        return student_of(mean, error, examples, units, confidence)
    low, width = bounds[0], bounds[1] - bounds[0]
    share = _share_of((mean - low) / width, error / width, math.inf, units, confidence)
    if share is None:
        return Interval(mean, None, None, examples)
    return Interval(mean, low + width * share[0], low + width * share[1], examples)


def grouped_share(sums: np.ndarray, sizes: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """A proportion of the examples of groups with an interval that stays in [0, 1].

    sums    [U], how many examples of each group count
    sizes   [U], examples of each group
    """
    share, error = _ratio(sums, sizes)
    return share_of(share, error, int(np.sum(sizes)), _effective(sizes), confidence)


def share_of(
    share: float, error: float, examples: int, units: float, confidence: float = CONFIDENCE
) -> Interval:
    """A proportion with its interval from the standard error over units, in [0, 1].

    units   how many of one size the error comes from
    It is the exact interval of as many single examples as would have that error, at most those
    that there are; fewer where the error itself comes from few units. Where no unit deviates, as of
    30 that are right in all, a unit counts as one example. Source: Korn and Graubard (1998), Survey
    Methodology 24:193-201.
    """
    found = _share_of(share, error, examples, units, confidence)
    low, high = (None, None) if found is None else found
    return Interval(share, low, high, examples)


def _share_of(
    share: float, error: float, most: float, units: float, confidence: float
) -> tuple[float, float] | None:
    """The bounds of `share_of` for at most so many examples; None where nothing is known."""
    if units < 2 or not math.isfinite(share):
        return None
    effective = units
    if error > 0 and 0 < share < 1:
        effective = min(most, share * (1 - share) / error**2)
    quantile = _students_quantile(units, confidence)
    effective *= (_normal_quantile(confidence) / quantile) ** 2
    right, wrong, tail = effective * share, effective * (1 - share), (1 - confidence) / 2
    low = float(betaincinv(right, wrong + 1, tail)) if right > 0 else 0.0
    high = float(betaincinv(right + 1, wrong, 1 - tail)) if wrong > 0 else 1.0
    return min(low, share), max(high, share)


def _effective(sizes: np.ndarray) -> float:
    """How many groups of one size say as much as these."""
    sizes = np.asarray(sizes, np.float64)
    return float(sizes.sum() ** 2 / np.sum(sizes**2))


def _ratio(sums: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """The mean over examples and its standard error by the jackknife over groups."""
    sums, sizes = np.asarray(sums, np.float64), np.asarray(sizes, np.float64)
    mean, count = float(sums.sum() / sizes.sum()), len(sums)
    if count < 2:
        return mean, math.nan
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    spread = np.sum(np.square(left_out - left_out.mean()))
    return mean, math.sqrt((count - 1) / count * float(spread))


# ---------------------------------------------------------------- values of a whole set


def bootstrap_interval(
    value: float, resampled: np.ndarray, examples: int, units: float | None = None
) -> Interval:
    """A value of a whole set with its percentile interval at 95%.

    resampled   [R] the value on sets of as many examples, drawn with replacement; for a paired
                difference the differences on the same sets
    units       how many of one size were drawn from, where whole groups were; None: every example
    The percentiles are further out, the fewer units there are, as Student's quantiles are. A set on
    which no resample differs has none: see `unvaried`. Sources: Efron (1979), Annals of Statistics
    7:1-26; Hesterberg (2015), American Statistician 69:371-386.
    """
    # a set metric may be undefined on a resample, such as recall without a positive example
    defined = resampled[np.isfinite(resampled)].astype(np.float64)
    count = examples if units is None else units
    if count < 2 or len(defined) < len(resampled) / 2 or np.ptp(defined) == 0:
        return Interval(value, None, None, examples)
    z = math.sqrt(count / (count - 1)) * _students_quantile(count, CONFIDENCE)
    tail = NormalDist().cdf(-z)
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(value, float(low), float(high), examples)


def unvaried(
    value: float,
    bounds: tuple[float, float],
    examples: int,
    counting: int,
    confidence: float = CONFIDENCE,
) -> Interval:
    """The interval of a value on which the examples at hand all agree, such as 30 right of 30.

    bounds     of the value, finite
    counting   how many independent examples, or groups, could have shown something else; where a
               value hangs on the rarest class, those of that class
    With so many alike, a share of the population that differs is below 1 - (alpha / 2) ** (1 / n),
    and moves the value by at most that share of the way to a bound. Of a proportion at its end it
    is the interval of Clopper and Pearson (1934), Biometrika 26:404-413.
    """
    if counting < 1 or not math.isfinite(value):
        return Interval(value, None, None, examples)
    low, high = bounds
    share = 1 - ((1 - confidence) / 2) ** (1 / counting)
    return Interval(value, value - share * (value - low), value + share * (high - value), examples)


def _students_quantile(units: float, confidence: float) -> float:
    """Two-sided, of Student's distribution with `units - 1` degrees of freedom, one at least."""
    return float(stdtrit(max(units - 1, 1.0), (1 + confidence) / 2))


def _normal_quantile(confidence: float) -> float:
    """Two-sided: 1.96 for 0.95."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _tango_score(first: int, second: int, n: int, difference: float) -> float:
    """How far the counts are from a supposed difference, in standard errors under it."""
    a = 2 * n
    b = -first - second + (2 * n - first + second) * difference
    c = -second * difference * (1 - difference)
    share = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * share + difference * (1 - difference))
    distance = first - second - n * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _falls_to(score: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero between the bounds, to 1e-12."""
    while high - low > 1e-12:
        middle = (low + high) / 2
        if score(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
