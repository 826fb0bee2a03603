"""Rankings, guards and evidence in plain NumPy and SciPy, in double precision.

Written from what they mean, one candidate and one claim at a time; nothing of the compiled program
is used but the names of random keys.
"""

from __future__ import annotations

import math
import statistics
import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import attrs
import jax
import numpy as np
import scipy.special
import scipy.stats

from ev3lang.plan.plan import Claim, Guard, ObjectivePlan, Plan

Values = dict[str, np.ndarray]

STAKES = np.geomspace(0.02, 0.5, 8)


@attrs.frozen(eq=False)
class Groups:
    """Which examples count as one.

    of     each example's group
    most   the examples of the largest group that explore and assess have
    """

    of: np.ndarray
    most: int

    def sums(self, values: np.ndarray) -> np.ndarray:
        return np.array([values[self.of == name].sum() for name in np.unique(self.of)])

    def worth(self, excess: np.ndarray) -> np.ndarray:
        sizes = self.sums(np.ones(len(self.of)))
        return self.sums(excess) / np.maximum(sizes, self.most)


def worth(groups: Groups | None, excess: np.ndarray) -> np.ndarray:
    """What each bet is on: every example, or every group."""
    return excess if groups is None else groups.worth(excess)


def key_of(key: Any, *consumer: Any) -> Any:
    for part in consumer:
        key = jax.random.fold_in(key, zlib.crc32(part.encode()) if isinstance(part, str) else part)
    return key


def sign(objective: ObjectivePlan) -> int:
    return 1 if objective.direction == "maximize" else -1


def gains(claim: Claim, values: Values, accepted: Values) -> np.ndarray:
    name = claim.measure.name
    return sign(claim.measure) * (values[name] - claim.factor * accepted[name])


def kept(claim: Claim, values: Values) -> Values:
    """The values with each example's kept in the measure's range."""
    name = claim.measure.name
    low, high = claim.measure.range or (math.nan, math.nan)
    return {name: np.array([min(max(value, low), high) for value in values[name]])}


def is_gain(claim: Claim, values: Values, accepted: Values) -> bool:
    """Whether a gain passes the margin by values as they are and by those kept in the range."""
    plain = gains(claim, values, accepted)
    bounded = gains(claim, kept(claim, values), kept(claim, accepted))
    return bool(plain.mean() > claim.margin and bounded.mean() > claim.margin)


def excess(claim: Claim, values: Values, accepted: Values) -> np.ndarray:
    """Gains of what is kept in the range beyond the margin, over the most they can be."""
    gained = gains(claim, kept(claim, values), kept(claim, accepted))
    low, high = claim.measure.range or (math.nan, math.nan)
    most = [
        abs(sign(claim.measure) * (mine - claim.factor * theirs) - claim.margin)
        for mine in (low, high)
        for theirs in (low, high)
    ]
    return (gained - claim.margin) / max(most)


def keeps(guard: Guard, values: Values, accepted: Values) -> bool:
    gained = float(gains(guard.claim, values, accepted).mean())
    margin = guard.claim.margin
    slack = 1e-6 * max(1.0, abs(margin))
    return gained > margin + slack if guard.is_strict else gained >= margin - slack


# ---------------------------------------------------------------- ranking


def leading(plan: Plan, current: Values) -> int:
    """The key that leads: the one furthest from its target."""
    if plan.ranking.kind != "priority":
        return 0
    distances = []
    for key in plan.ranking.keys:
        assert key.target is not None
        unit = abs(key.target) if key.range is None else key.range[1] - key.range[0]
        distances.append(sign(key) * (key.target - current[key.name].mean()) / unit)
    return int(np.argmax(np.float32(distances)))


def best(
    plan: Plan,
    values: Sequence[Values],
    alive: Sequence[bool],
    leads: int,
    groups: Groups | None = None,
) -> int:
    """The best of the candidates that are alive, -1 for none; of equals the first by name."""
    left = [k for k in range(len(values)) if alive[k]]
    if not left:
        return -1

    def score(key: ObjectivePlan, k: int) -> float:
        return sign(key) * np.float32(values[k][key.name].mean())

    def first(among: list[int], standing: Any) -> int:
        return min(among, key=lambda k: (-standing(k), plan.candidates[k].name))

    keys = plan.ranking.keys
    if plan.ranking.kind == "priority":
        return first(left, lambda k: score(keys[leads], k))
    if plan.ranking.kind == "pareto":
        points = {k: [score(key, k) for key in keys] for k in left}
        front = [k for k in left if not any(_dominates(points[j], points[k]) for j in left)]
        corner = [
            min(points[k][place] for k in left)
            if key.range is None
            else min(
                *(sign(key) * bound for bound in key.range),
                *(points[k][place] for k in left),
            )
            for place, key in enumerate(keys)
        ]
        return first(
            front,
            lambda k: np.float32(math.prod(a - b for a, b in zip(points[k], corner, strict=True))),
        )
    for key in keys[:-1]:
        top = first(left, lambda k, key=key: score(key, k))
        left = [
            k
            for k in left
            if is_no_worse(sign(key) * (values[k][key.name] - values[top][key.name]), groups)
        ]
    return first(left, lambda k: score(keys[-1], k))


def _dominates(one: list[float], other: list[float]) -> bool:
    return all(a >= b for a, b in zip(one, other, strict=True)) and one != other


def is_no_worse(gained: np.ndarray, groups: Groups | None = None) -> bool:
    """Whether a mean is at most one paired standard error below 0, told in fractions.

    One example lost is a mean of exactly one standard error below 0.
    """
    if groups is not None:
        # about 0, as sums of groups: one group lost is exactly one standard error
        total, sums = Fraction(float(gained.sum())), groups.sums(gained)
        return bool(total >= 0 or total**2 <= sum(Fraction(float(each)) ** 2 for each in sums))
    mean = statistics.mean([Fraction(float(gain)) for gain in gained])
    squared_error = statistics.variance([Fraction(float(gain)) for gain in gained]) / len(gained)
    return bool(mean >= 0 or mean**2 <= squared_error)


def moves(
    plan: Plan, values: Values, before: Values, leads: int, groups: Groups | None = None
) -> bool:
    """Whether the best candidate becomes current, guards apart."""
    if plan.move == "always":
        return True

    def gained(key: ObjectivePlan) -> np.ndarray:
        return sign(key) * (values[key.name] - before[key.name])

    def follows(key: ObjectivePlan) -> bool:
        return (
            bool(gained(key).mean() > 0)
            if plan.move == "when better"
            else is_no_worse(gained(key), groups)
        )

    keys = plan.ranking.keys
    if plan.ranking.kind == "then":
        return follows(keys[0])
    if plan.ranking.kind == "priority":
        return follows(keys[leads])
    return all(map(follows, keys)) or any(gained(key).mean() > 0 for key in keys)


# ---------------------------------------------------------------- evidence


@attrs.frozen
class Seen:
    """What assess says of a claim."""

    wins: int
    losses: int
    favours: bool
    power: float


def seen(
    claim: Claim,
    current: Values,
    accepted: Values,
    count: int,
    log_level: float,
    groups: Groups | None = None,
) -> Seen:
    """What assess says; `count` examples or groups in adapt."""
    gained = gains(claim, current, accepted)
    size = len(gained)
    if claim.test == "mcnemar":
        wins, losses = int((gained > 0).sum()), int((gained < 0).sum())
        if np.isneginf(log_level):
            return Seen(wins, losses, wins > losses, 0.0)
        ratio = count / size
        standing = (wins - losses) / math.sqrt(wins + losses + 1)
        z = scipy.stats.norm.isf(math.exp(log_level))
        shift = (standing - 0.5) * math.sqrt(ratio) - z
        power = scipy.stats.norm.cdf(shift / math.sqrt(1 + ratio))
        return Seen(wins, losses, wins > losses, float(power))
    surplus = worth(groups, excess(claim, current, accepted))
    size = len(surplus)
    growth = np.log1p(_stake(surplus, count, log_level) * surplus)
    spread = growth.std(ddof=1)
    expected = count * (growth.mean() - 0.5 * spread / math.sqrt(size))
    deviation = spread * math.sqrt(count * (1 + count / size))
    power = scipy.stats.norm.cdf((expected + log_level) / max(deviation, 1e-12))
    return Seen(0, 0, is_gain(claim, current, accepted), float(power))


def passes(
    claim: Claim,
    on_adapt: tuple[Values, Values],
    on_assess: tuple[Values, Values],
    log_level: float,
    key: Any,
    groups: tuple[Groups | None, Groups | None] = (None, None),
) -> bool:
    """A claim's test on adapt; `key` is the query's own, `groups` those of adapt and assess."""
    gained = gains(claim, *on_adapt)
    if claim.test == "mcnemar":
        wins, losses = int((gained > 0).sum()), int((gained < 0).sum())
        log_p = scipy.stats.binom.logsf(wins - 1, wins + losses, 0.5)
        return bool(wins > losses and log_p <= log_level)
    surplus = worth(groups[0], excess(claim, *on_adapt))
    order = np.asarray(
        jax.random.permutation(key_of(key, claim.measure.name, "order"), len(surplus))
    )
    stake = _stake(worth(groups[1], excess(claim, *on_assess)), len(surplus), log_level)
    return bool(np.cumsum(np.log1p(stake * surplus[order])).max() >= -log_level)


def _stake(on_assess: np.ndarray, count: int, log_level: float) -> float:
    spread = max(float(np.mean(on_assess**2)), 4 / len(on_assess))
    return min(0.95, math.sqrt(-2 * log_level / (count * spread)))


# ---------------------------------------------------------------- challengers


@attrs.define
class Slot:
    """A challenger: its wealth at each stake, a row a test."""

    alpha: float
    age: int
    excess: float
    wealths: np.ndarray
    claim: int

    @property
    def evidence(self) -> float:
        """The mean wealth of the test that has the least."""
        return float(self.wealths.mean(axis=1).min())


def slots(state: Any) -> list[Slot | None]:
    """The challengers that a state holds."""
    held = state.challengers
    return [
        Slot(
            float(held.alpha[s]),
            int(held.age[s]),
            float(held.excess[s]),
            np.exp(np.asarray(held.log_wealths[s], np.float64)),
            int(held.claim[s]),
        )
        if bool(held.is_filled[s])
        else None
        for s in range(len(held.alpha))
    ]


def bet(plan: Plan, slot: Slot, values: Values, accepted: Values) -> None:
    """A challenger's wealth after one more draw."""
    guards = [guard.claim for guard in plan.guards if guard.is_proven]
    rows = [excess(claim, values, accepted) for claim in (plan.rule.claims[slot.claim], *guards)]
    slot.age += 1
    slot.excess += float(rows[0].mean())
    slot.wealths = np.stack(
        [
            wealth * np.prod(1 + STAKES[:, None] * row[None], axis=1)
            for wealth, row in zip(slot.wealths, rows, strict=True)
        ]
    )
