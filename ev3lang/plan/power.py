"""The chance that evidence is found: what each test of acceptance makes of a true gain.

Python's own arithmetic throughout, so that `plan` starts at once. The tests themselves are the
backend's; `tests/plan/test_power.py` holds both to the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import NormalDist
from typing import TypeAlias

from ev3lang.check.bounds import LARGEST_BET

LIKELY = 0.9
"""The chance of passing from which rule `gate` asks, and which a gain is said to be found with."""

STAKES = tuple(0.02 * 25 ** (k / 7) for k in range(8))
"""The bets of rule `challenger`, on a logarithmic scale from 0.02 to 0.5."""

OLDEST = 32
"""Iterations after which a challenger that isn't accepted makes room."""

MANY = 10_000
"""Discordant examples from which on the normal distribution stands for the binomial.

The gains that are found then differ by less than 1 in 200.
"""

Outcomes: TypeAlias = Sequence[tuple[float, float]]
"""What an example's gain may be, each with its chance."""

_NORMAL = NormalDist()


def _quantile(level: float) -> float:
    """The z that a standard normal value exceeds with that chance."""
    return -_NORMAL.inv_cdf(level)


# ---------------------------------------------------------------- right and wrong: McNemar


def mcnemar_power(examples: int, share: float, gain: float, level: float) -> float:
    """The chance that the exact McNemar test shows a gain.

    share   of the examples, those on which one model is right and the other wrong, in (0, 1]
    gain    true difference of the shares of right answers, in [0, share]
    Exact: the discordant examples are binomial, and so are the wins among them.
    """
    return _mcnemar(examples, share, level)(gain)


def mcnemar_gain(examples: int, share: float, level: float, power: float = LIKELY) -> float | None:
    """The smallest gain that the test shows with that chance; None where no gain of it is."""
    return _smallest(_mcnemar(examples, share, level), 0.0, share, power)


def _mcnemar(examples: int, share: float, level: float) -> Callable[[float], float]:
    """From a gain to the chance that it is shown."""
    if examples * share > MANY:
        return partial(_mcnemar_among_many, examples, share, _quantile(level))
    return partial(_mcnemar_power, list(_critical(examples, share, level)), share)


def _mcnemar_among_many(examples: int, share: float, quantile: float, gain: float) -> float:
    """By the normal distribution of wins less losses."""
    deviation = math.sqrt(examples * max(share - gain**2, 1e-12))
    return _NORMAL.cdf((examples * gain - quantile * math.sqrt(examples * share)) / deviation)


_Critical: TypeAlias = tuple[int, float, int]
"""Discordant examples, the chance of so many, and the fewest wins among them that pass."""


def _critical(examples: int, share: float, level: float) -> Iterator[_Critical]:
    """Every likely count of discordant examples on which some result passes."""
    middle, reach = examples * share, 8 * math.sqrt(examples * share * (1 - share)) + 1
    first = max(1, math.floor(middle - reach))
    wins, tail = _fewest_wins(first, level)
    for discordant in range(first, min(examples, math.ceil(middle + reach)) + 1):
        if wins <= discordant:
            yield discordant, _point(discordant, examples, share), wins
        # P(X >= wins) for one coin more; it grows, and by less than a whole step of wins.
        tail += 0.5 * _point(wins - 1, discordant, 0.5)
        if tail > level:
            tail -= _point(wins, discordant + 1, 0.5)
            wins += 1


def _fewest_wins(discordant: int, level: float) -> tuple[int, float]:
    """The fewest wins that pass, one more than there are where none do, and their tail's chance."""
    wins, tail = discordant + 1, 0.0
    while wins > 0 and tail + (more := _point(wins - 1, discordant, 0.5)) <= level:
        wins, tail = wins - 1, tail + more
    return wins, tail


def _mcnemar_power(critical: Sequence[_Critical], share: float, gain: float) -> float:
    chance = 0.5 * (1 + gain / share)
    total = 0.0
    tail = before = -1.0
    last = 0
    for discordant, weight, wins in critical:
        if tail < 0 or discordant != last + 1:
            tail = sum(_point(k, discordant, chance) for k in range(wins, discordant + 1))
        else:
            tail += chance * _point(int(before) - 1, last, chance)
            if wins > before:
                tail -= _point(int(before), discordant, chance)
        last, before = discordant, wins
        total += weight * tail
    return total


def _point(k: int, n: int, chance: float) -> float:
    """P(X = k) for X ~ Binomial(n, chance)."""
    if not 0 <= k <= n:
        return 0.0
    if chance in (0.0, 1.0):
        return float(k == n * chance)
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(chance) + (n - k) * math.log1p(-chance))


# ---------------------------------------------------------------- bounded values: betting


def answers(share: float, gain: float) -> Outcomes:
    """Gains of right and wrong answers: `share` of the examples differ, by `gain` in the mean.

    Where the gain is more than that, so many differ and all are won.
    """
    share = max(share, gain)
    return ((1.0, (share + gain) / 2), (0.0, 1 - share), (-1.0, (share - gain) / 2))


def around(deviation: float, gain: float) -> Outcomes:
    """Gains one standard deviation above and below their mean, as often each."""
    return ((gain + deviation, 0.5), (gain - deviation, 0.5))


def excesses(outcomes: Outcomes, margin: float, scale: float) -> Outcomes:
    """How far gains pass a margin, over the most they can: within [-1, 1]."""
    return tuple(
        (min(1.0, max(-1.0, (value - margin) / scale)), chance) for value, chance in outcomes
    )


def betting_power(outcomes: Outcomes, examples: int, level: float, on_assess: int) -> float:
    """The chance that a betting test passes, for excesses with these outcomes.

    on_assess  how many examples the bet is chosen on
    About: the logarithm of the wealth as Brownian motion with its own drift and spread.
    """
    drift, deviation = _wealth(outcomes, examples, level, on_assess)
    return _reached(examples * drift, math.sqrt(examples) * deviation, -math.log(level))


def _reached(drift: float, deviation: float, height: float) -> float:
    """The chance that Brownian motion has been at a height > 0 by the time that it is here.

    drift, deviation   of where it is then
    Source: Cox and Miller (1965), The Theory of Stochastic Processes, 5.7.
    """
    if deviation < 1e-9:
        return float(drift >= height)
    straight = _NORMAL.cdf((drift - height) / deviation)
    # The paths that were there and came back: in logarithms, as one factor may overflow.
    back = _NORMAL.cdf((-height - drift) / deviation)
    lift = 2 * drift * height / deviation**2
    return min(1.0, straight + (math.exp(lift + math.log(back)) if back > 0 else 0.0))


def _wealth(outcomes: Outcomes, examples: int, level: float, on_assess: int) -> tuple[float, float]:
    """Mean and standard deviation of what an example adds to the wealth's logarithm."""
    square = max(_mean(outcomes, lambda y: y * y), 4 / on_assess)
    stake = min(LARGEST_BET, math.sqrt(-2 * math.log(level) / (examples * square)))
    return _step(outcomes, stake)


def _step(outcomes: Outcomes, stake: float) -> tuple[float, float]:
    drift = _mean(outcomes, lambda y: math.log1p(stake * y))
    variance = _mean(outcomes, lambda y: (math.log1p(stake * y) - drift) ** 2)
    return drift, math.sqrt(variance)


def betting_gain(
    outcomes: Callable[[float], Outcomes],
    most: float,
    examples: int,
    level: float,
    on_assess: int,
    power: float = LIKELY,
) -> float | None:
    """The smallest gain that a betting test shows with that chance; None where none is.

    outcomes  from a gain to its excesses
    most      the largest gain there is
    """
    return _smallest(
        lambda gain: betting_power(outcomes(gain), examples, level, on_assess), 0.0, most, power
    )


def betting_asked(
    outcomes: Callable[[float], Outcomes],
    most: float,
    examples: int,
    level: float,
    on_assess: int,
) -> float | None:
    """The gain on assess from which rule `gate` asks for a betting test; None where none will do.

    Solves the rule's own forecast, the normal predictive distribution of the wealth's logarithm.
    """

    def forecast(gain: float) -> float:
        seen = outcomes(gain)
        drift, deviation = _wealth(seen, examples, level, on_assess)
        expected = examples * (drift - 0.5 * deviation / math.sqrt(on_assess))
        error = deviation * math.sqrt(examples * (1 + examples / on_assess))
        return _NORMAL.cdf((expected + math.log(level)) / max(error, 1e-12))

    return _smallest(forecast, 0.0, most, LIKELY)


def challenger_iterations(outcomes: Outcomes, examples: int, level: float) -> int | None:
    """Iterations of fresh examples after which a challenger is accepted, in the median.

    examples  of each iteration
    None where it is dropped for its age first. About: the logarithm of the richest stake's wealth
    as Brownian motion, the others' beside it at their medians.
    """
    steps = [_step(outcomes, stake) for stake in STAKES]
    for iterations in range(1, OLDEST + 1):
        drawn = iterations * examples
        logs = [drawn * drift for drift, _ in steps]
        highest = max(logs)
        drift, deviation = steps[logs.index(highest)]
        mean = math.log(sum(math.exp(each - highest) for each in logs) / len(logs))
        height = -math.log(level) - mean
        if _reached(drawn * drift, math.sqrt(drawn) * deviation, height) >= 0.5:
            return iterations
    return None


def _mean(outcomes: Outcomes, function: Callable[[float], float]) -> float:
    return sum(chance * function(value) for value, chance in outcomes)


# ---------------------------------------------------------------- standard errors


def normal_gain(error: float, level: float, power: float = LIKELY) -> float:
    """The smallest gain that a test of a normal difference shows with that chance.

    error  the difference's standard error
    """
    return error * (_quantile(level) + _NORMAL.inv_cdf(power))


def asked_standing(on_assess: int, examples: int, level: float) -> float:
    """The gain on assess from which rule `gate` asks, in standard errors.

    on_assess, examples   counts of the assess and the adapt split
    Solves the rule's own forecast for 90%: Phi(((z - 0.5) sqrt(r) - z(level)) / sqrt(1 + r)).
    """
    ratio = examples / on_assess
    distance = _quantile(level) + _NORMAL.inv_cdf(LIKELY) * math.sqrt(1 + ratio)
    return distance / math.sqrt(ratio) + 0.5


def mcnemar_asked(share: float, on_assess: int, examples: int, level: float) -> float | None:
    """The gain on assess from which rule `gate` asks, where `share` of the examples differ.

    Where that is more than the share, so many examples differ as are won; None where no result
    on assess would do.
    """
    standing = asked_standing(on_assess, examples, level)
    wins = standing * math.sqrt(share * on_assess + 1)
    if wins > share * on_assess:
        wins = standing * (standing + math.sqrt(standing**2 + 4)) / 2
    return wins / on_assess if wins <= on_assess else None


def apart_gain(deviation: float, examples: int, width: float, power: float = LIKELY) -> float:
    """The gain at which two unpaired bounds lie apart with that chance, for equal spreads.

    deviation  of one example's value
    width      of each bound, in standard errors
    """
    error = deviation / math.sqrt(examples)
    return error * (2 * width + _NORMAL.inv_cdf(power) * math.sqrt(2))


def _smallest(
    chance: Callable[[float], float], low: float, high: float, wanted: float
) -> float | None:
    """Where a rising chance reaches what is wanted, to 1 in 2000 of the gain."""
    if high <= low or chance(high) < wanted:
        return None
    while high - low > 5e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if chance(middle) >= wanted else (middle, high)
    return high
