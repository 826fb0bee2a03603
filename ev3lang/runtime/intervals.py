"""Intervals to show beside a measured value: what it may well be on other examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import attrs
import numpy as np
from scipy.special import stdtrit

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
    z = _normal_quantile(confidence)
    share = count / examples
    centre = (count + z * z / 2) / (examples + z * z)
    half = z / (examples + z * z) * math.sqrt(examples * share * (1 - share) + z * z / 4)
    # rounding may leave a bound beside the value where the count is 0 or all
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(share, min(low, share), max(high, share), examples)


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
    return student_of(mean, error, examples, confidence)


def student_of(
    mean: float, error: float, examples: int, confidence: float = CONFIDENCE
) -> Interval:
    """A mean with Student's interval, from its standard error."""
    if examples < 2 or not math.isfinite(mean):
        return Interval(mean, None, None, examples)
    half = float(stdtrit(examples - 1, (1 + confidence) / 2)) * error
    return Interval(mean, mean - half, mean + half, examples)


def bootstrap_interval(
    value: float, resampled: np.ndarray, examples: int, confidence: float = CONFIDENCE
) -> Interval:
    """A value of a whole set with its percentile interval.

    resampled   [R] the value on sets of as many examples, drawn with replacement; for a paired
                difference the differences on the same sets
    Source: Efron (1979), Annals of Statistics 7:1-26.
    """
    # a set metric may be undefined on a resample, such as recall without a positive example
    defined = resampled[np.isfinite(resampled)]
    if examples < 2 or len(defined) < len(resampled) / 2:
        return Interval(value, None, None, examples)
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined.astype(np.float64), [tail, 1 - tail])
    return Interval(value, float(low), float(high), examples)


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
