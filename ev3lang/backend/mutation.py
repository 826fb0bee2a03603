"""Numbers of optimizers that change by drawn factors: what wins keeps its own."""

from __future__ import annotations

from typing import TypeAlias

import jax
import jax.numpy as jnp

from ev3lang.backend.keys import named
from ev3lang.backend.optimizers import Multipliers
from ev3lang.backend.state import RunState
from ev3lang.plan.plan import Plan

Array: TypeAlias = jax.Array


def start(plan: Plan) -> Array:
    """`[D, M]` float32 ones: nothing has changed yet."""
    return jnp.ones((len(plan.descents), len(plan.mutations)), jnp.float32)


def drawn(plan: Plan, state: RunState) -> Array:
    """What each descent multiplies its options by in this iteration, `[D, M]` float32.

    What it has kept, times a factor drawn by its name, the option's and the iteration.
    """
    if not plan.mutations:
        return state.factors

    def one(descent: str, option: str, factors: tuple[float, ...]) -> Array:
        key = named(state.key, "mutate", descent, option, state.iteration)
        return jnp.asarray(factors, jnp.float32)[jax.random.randint(key, (), 0, len(factors))]

    rows = [
        jnp.stack([one(each.name, change.option, change.factors) for change in plan.mutations])
        for each in plan.descents
    ]
    return state.factors * jnp.stack(rows) if rows else state.factors


def multipliers(plan: Plan, factors: Array) -> Multipliers:
    """A descent's factors, `[M]`, under the names of the options."""
    return {change.option: factors[m] for m, change in enumerate(plan.mutations)}


def kept(factors: Array, drawn: Array, winner: Array) -> Array:
    """The factors behind an iteration: those drawn where a descent has become current.

    factors, drawn   [D, M] float32, before it and in it
    winner           [] int32, the candidate that became current, -1 for none
    """
    wins = jnp.arange(len(factors)) == winner
    return jnp.where(wins[:, None], drawn, factors)
