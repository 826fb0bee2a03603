"""Claims on the adapt split: what assess promises of a test, and the test itself."""

from __future__ import annotations

import math
from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import betting, bootstrap, gate
from ev3lang.backend import units as units_of
from ev3lang.backend.comparing import holds
from ev3lang.backend.expressions import Networks
from ev3lang.backend.keys import named
from ev3lang.backend.pytree import pytree
from ev3lang.backend.state import Values, is_finite
from ev3lang.backend.units import Sample, Units
from ev3lang.plan.plan import Claim, Guard, ObjectivePlan

Array: TypeAlias = jax.Array


@attrs.frozen(eq=False)
class Side:
    """A model as a claim sees it: its values on a split, and how to have others."""

    values: Values
    networks: Networks


@pytree
@attrs.frozen(eq=False)
class Outlook:
    """What assess says of a claim that is to be tested on adapt."""

    wins: Array  # [] int32, examples on which current alone is right; 0 where none can be
    losses: Array  # [] int32, examples on which accepted alone is
    gain: Array  # [] float32, the mean gain that is to be tested, or the set's
    error: Array  # [] float32, its standard error
    favours: Array  # [] bool, whether the gain is above the margin
    power: Array  # [] float32 in [0, 1], the predicted chance that the test passes


@pytree
@attrs.frozen(eq=False)
class Proof:
    """What a test on adapt came to; nothing of it but the bit may leave the device in a run."""

    passes: Array  # [] bool
    wins: Array  # [] int32
    losses: Array  # [] int32
    log_p: Array  # [] float32 in nats, log of the p-value or of a bound on it
    # [] bool, False where a value is not finite, or a set's is out of its range: no test then
    is_sound: Array = attrs.field(factory=lambda: jnp.bool_(True))


def gains(claim: Claim, values: Values, accepted: Values) -> Array:
    """How much more a model is worth than `factor` times accepted: `[B]`, or `[]` of a set."""
    name = claim.measure.name
    return claim.measure.sign * (values[name] - claim.factor * accepted[name])


def bounded(measure: ObjectivePlan, values: Array) -> Array:
    """An objective's values, each kept in the range that is known of it: `[..., B]` float32.

    A betting test is about the mean of these. The range is the spec's and was fixed before any
    data were read, so what it does to an example's value depends on that example alone. Examples
    that are independent stay so, no value can leave [-1, 1] in `excess`, and a test of "the mean
    of the bounded gains is at most the margin" holds its level whatever the values are. No value
    of adapt has to be rejected for its size, so none can spend evidence by itself. What is not
    bounded this way is a claim about the mean of the values as they are: one example beyond the
    range could turn that, and no number of examples could rule it out.
    """
    known = measure.example_range
    return values if known is None else jnp.clip(values, *known)


def bounded_gains(claim: Claim, values: Values, accepted: Values) -> Array:
    """Gains of the values that a betting test sees, each kept in its range: `[B]`."""
    measure = claim.measure
    first, second = (bounded(measure, each[measure.name]) for each in (values, accepted))
    return measure.sign * (first - claim.factor * second)


def excess(claim: Claim, values: Values, accepted: Values) -> Array:
    """How far bounded gains pass the margin, over the most they can: `[B]` float32 in [-1, 1].

    NaN where a value is.
    """
    assert math.isfinite(claim.scale), f"{claim.measure.name} has no known range"
    return (bounded_gains(claim, values, accepted) - claim.margin) / claim.scale


def keeps(guard: Guard, values: Values, accepted: Values) -> Array:
    """Whether a model keeps a guard on the examples that the values are of, [] bool."""
    gained = jnp.mean(gains(guard.claim, values, accepted))
    kept = holds(gained, ">" if guard.is_strict else ">=", guard.claim.margin)
    return kept & jnp.isfinite(gained)


def keeps_all(guards: tuple[Guard, ...], values: Values, accepted: Values) -> Array:
    """Whether a model keeps every guard, [] bool."""
    kept = [keeps(guard, values, accepted) for guard in guards]
    return jnp.all(jnp.stack(kept)) if kept else jnp.bool_(True)


def outlook(
    claim: Claim,
    current: Side,
    accepted: Side,
    assess: Sample,
    deciding: int,
    log_level: Array,
    key: Array,
) -> Outlook:
    """What assess says of a claim.

    deciding   how many units decide: examples, groups or blocks of the adapt split
    log_level  [] float32 in nats, of the test to come
    """
    gained = gains(claim, current.values, accepted.values)
    ratio = deciding / assess.count
    none = jnp.int32(0)
    if claim.test == "mcnemar":
        assert claim.measure.is_binary, f"McNemar counts right and wrong; {claim} is neither"
        assert assess.units is None, f"McNemar counts examples, and {claim} is of units"
        wins, losses = gate.discordant(gained)
        mean, count = jnp.mean(gained), assess.count
        error = jnp.sqrt(jnp.maximum(wins + losses - jnp.square(mean) * count, 0)) / count
        predicted = gate.power(wins, losses, ratio, log_level)
        return Outlook(wins, losses, mean, error, wins > losses, predicted)
    if claim.test == "betting":
        kept = bounded_gains(claim, current.values, accepted.values)
        mean, error = jnp.mean(kept), units_of.standard_error(assess.units, kept)
        worth = units_of.worth(assess.units, excess(claim, current.values, accepted.values))
        stake = betting.bet(worth, deciding, log_level)
        predicted = betting.power(worth, stake, deciding, log_level)
        # A gain that only the range makes is none that the spec wants tested.
        favours = (mean > claim.margin) & (jnp.mean(gained) > claim.margin)
        return Outlook(none, none, mean, error, favours, predicted)
    difference = _difference(claim, assess, current, accepted)
    error = bootstrap.standard_error(difference, key, assess)
    # on so few examples that no resample differs nothing is known
    standing = jnp.where(error > 0, (gained - claim.margin) / error, 0.0)
    predicted = gate.predicted(standing, ratio, log_level) * bootstrap.is_affordable(log_level)
    return Outlook(none, none, gained, error, gained > claim.margin, predicted)


def test(
    claim: Claim,
    current: Side,
    accepted: Side,
    on_assess: tuple[Values, Values],
    assess: Units | None,
    adapt: Sample,
    log_level: Array,
    key: Array,
) -> Proof:
    """The claim's test on the adapt split.

    current, accepted  with their values on adapt
    on_assess          their values on assess, which a bet is chosen by
    assess             the units of assess
    log_level          [] float32 in nats
    key                of the order in which units are bet on, and of resamples
    """
    gained = gains(claim, current.values, accepted.values)
    none = jnp.int32(0)
    if claim.test == "mcnemar":
        wins, losses = gate.discordant(gained)
        return Proof(
            gate.passes(wins, losses, log_level), wins, losses, gate.log_tail(wins, losses)
        )
    if claim.test == "betting":
        seen = units_of.worth(assess, excess(claim, *on_assess))
        stake = betting.bet(seen, adapt.count, log_level)
        surplus = excess(claim, current.values, accepted.values)
        worth = units_of.worth(adapt.units, surplus)
        order = jax.random.permutation(named(key, "order"), adapt.count)
        wealth = betting.log_wealth(worth[order], stake)
        is_won = is_finite(surplus) & (wealth >= -log_level + betting.MARGIN)
        return Proof(is_won, none, none, -wealth)
    log_p = bootstrap.log_p(
        _difference(claim, adapt, current, accepted),
        named(key, "resamples"),
        adapt,
        gained,
        claim.margin,
        log_level,
        claim.measure.sign,
    )
    is_shown = (log_p <= log_level) & (gained > claim.margin) & bootstrap.is_affordable(log_level)
    return Proof(is_shown, none, none, log_p)


def _difference(
    claim: Claim, sample: Sample, current: Side, accepted: Side
) -> bootstrap.Difference:
    return bootstrap.difference(
        claim.measure.value, sample.fields, current.networks, accepted.networks, claim.factor
    )
