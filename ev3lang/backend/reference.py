"""Rule `reference`: best, current and accepted compete by bounds of their own, as published.

Each model has an interval as if nobody had seen its examples but itself, and nothing bounds what a
whole run accepts: the rule is here to be compared with. Source: Ding et al. (2023), "Ever Evolving
Evaluator (EV3)", arXiv:2310.18893, and its code, whose `optimize` is assess, whose `decide` adapt.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend.pytree import pytree
from ev3lang.plan.plan import ObjectivePlan

Array: TypeAlias = jax.Array

BEST, CURRENT, ACCEPTED = range(3)
"""Who competes, in the order in which the first of equals wins."""


@pytree
@attrs.frozen(eq=False)
class Bounds:
    """A model's confidence bounds, signed so that more is better: [...] float32 each."""

    lower: Array
    upper: Array


@pytree
@attrs.frozen(eq=False)
class Contest:
    """What the three compete for, decided.

    winner       [] int32, BEST, CURRENT or ACCEPTED: whose weights become current
    is_accepted  [] bool, whether they become accepted as well
    """

    winner: Array
    is_accepted: Array


def bounds(objective: ObjectivePlan, values: Array, width: float) -> Bounds:
    """The objective's mean less and plus `width` standard errors.

    values   [..., B] float32, one for each example
    width    >= 0, in standard errors; at 0 both bounds are the mean
    returns  NaN for fewer than two examples, which have no standard error
    """
    mean, error = _mean_and_error(values, is_binary=objective.is_binary)
    middle = objective.sign * mean
    return Bounds(middle - width * error, middle + width * error)


def _mean_and_error(values: Array, *, is_binary: bool) -> tuple[Array, Array]:
    """Mean and standard error (that of a sample: B - 1 in the denominator), [...] float32 each.

    Right and wrong are counted: models that are right equally often are equal to the last bit,
    whichever examples those are. Reals are summed as differences from a first mean, for float32
    to lose nothing to their offset.
    """
    count = values.shape[-1]
    freedom = jnp.float32(count - 1)
    if is_binary:
        right = jnp.sum(values, axis=-1)
        return right / count, jnp.sqrt(right * (count - right) / freedom) / count
    near = jnp.mean(values, axis=-1)
    apart = values - near[..., None]
    rest = jnp.mean(apart, axis=-1)
    spread = jnp.sum(jnp.square(apart - rest[..., None]), axis=-1)
    return near + rest, jnp.sqrt(spread / freedom / count)


def decide(best: Bounds, current: Bounds, accepted: Bounds) -> Contest:
    """Who becomes current, and whether it becomes accepted as well.

    The highest lower bound wins; of equal ones best comes before current, current before
    accepted. The winner becomes accepted if its lower bound lies above accepted's upper one. A
    model without finite bounds loses; where none has them, current stays.
    """
    lower = jnp.stack([best.lower, current.lower, accepted.lower])
    is_known = jnp.isfinite(lower)
    winner = jnp.argmax(jnp.where(is_known, lower, -jnp.inf)).astype(jnp.int32)
    winner = jnp.where(jnp.any(is_known), winner, CURRENT)
    # False where either is NaN.
    is_accepted = lower[winner] > accepted.upper
    return Contest(winner, is_accepted)


def standing(objective: ObjectivePlan, values: Array, width: float) -> Array:
    """What assess ranks candidates by, [K] float32: lower bounds; -inf where there is none.

    values   [K, B] float32
    """
    lower = bounds(objective, values, width).lower
    return jnp.where(jnp.isnan(lower), -jnp.inf, lower)
