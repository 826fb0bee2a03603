"""What a test of acceptance can show at best, by its level and its examples: pure arithmetic."""

from __future__ import annotations

import math

FIRST_QUERY = 20
"""Rule `gate` asks its first question at a twentieth of the budget."""

LARGEST_BET = 0.95
"""The most that a betting test stakes on an example."""

TAIL = 20
"""Resamples that a bootstrap takes for one at the level's own share: 20 / level of them."""

MOST_RESAMPLES = 200_000
"""What a bootstrap takes at most: it isn't asked at a level that needs more."""


def least_wins(level: float) -> int:
    """The fewest examples that the new model alone must get right, none being lost.

    Under the hypothesis "no better" each is a fair coin at best, so k in a row have chance 2^-k.
    """
    return math.ceil(-math.log2(level) - 1e-9)


def least_excess(level: float, examples: int) -> float:
    """The smallest mean that a betting test can show, as a share of the largest; may be above 1.

    No bet grows a mean of y faster than log(1 + 0.95 y) an example, by Jensen's inequality.
    """
    return math.expm1(min(-math.log(level) / examples, 700.0)) / LARGEST_BET


def examples_for(level: float, excess: float) -> int:
    """The fewest examples on which a betting test can show a mean of that share, > 0."""
    return math.ceil(-math.log(level) / math.log1p(LARGEST_BET * excess) - 1e-9)


def fullness(rows: int | None, groups: int | None, largest: int | None) -> float:
    """How full a group is in the mean, as a share of the largest; 1 where that isn't known."""
    return rows / groups / largest if rows and groups and largest else 1.0


def blocks(examples: int, least: int) -> int:
    """How many blocks of at least so many examples there are, at most."""
    return max(1, examples // least)


def is_affordable(level: float) -> bool:
    """Whether a bootstrap at this level needs no more resamples than it may take."""
    return level >= TAIL / MOST_RESAMPLES


# ---------------------------------------------------------------- gains of values in a range


def excess_scale(
    low: float, high: float, *, is_falling: bool, factor: float, margin: float
) -> float:
    """The most by which a gain can miss or pass a margin, for a measure from low to high.

    is_falling   whether less is better
    factor       how much of accepted's own value counts in a gain
    """
    least, most = _gains(low, high, is_falling, factor)
    return max(abs(least - margin), abs(most - margin))


def best_excess(
    low: float, high: float, *, is_falling: bool, factor: float, margin: float
) -> tuple[float, bool]:
    """How far a gain passes a margin at best, over the most it can; and whether of equal models.

    Where two identical models pass the margin they are the case that counts: nobody expects more
    of a guard. Else it is a perfect model beside the worst.
    """
    sign = -1 if is_falling else 1
    scale = excess_scale(low, high, is_falling=is_falling, factor=factor, margin=margin)
    if factor != 0:
        equal = max(sign * (1 - factor) * bound for bound in (low, high))
        if equal > margin:
            return (equal - margin) / scale, True
    return (_gains(low, high, is_falling, factor)[1] - margin) / scale, False


def _gains(low: float, high: float, is_falling: bool, factor: float) -> tuple[float, float]:
    """The least and the largest gain."""
    if is_falling:
        low, high = -high, -low
    worst, best = (high, low) if factor >= 0 else (low, high)
    return low - factor * worst, high - factor * best
