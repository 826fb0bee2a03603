"""The last accepted models, and the mean of them."""

from __future__ import annotations

from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend.elders import current_of, is_of_current
from ev3lang.backend.state import Params, Recent, RunState
from ev3lang.plan.plan import Averaged, Plan

Array: TypeAlias = jax.Array


def start(plan: Plan, params: Params) -> Recent | None:
    """Room for as many models as any candidate averages; None where none does."""
    most = max((each.count for each in plan.others if isinstance(each, Averaged)), default=0)
    if not most:
        return None
    return Recent(
        params=jax.tree.map(lambda leaf: jnp.zeros((most, *leaf.shape), leaf.dtype), params),
        count=jnp.int32(0),
    )


def remember(state: RunState, is_accepted: Array) -> RunState:
    """The state behind a decision: an accepted model is one of the last accepted from now on.

    is_accepted   [] bool, whether accepted has just changed
    A challenger from before a growth is accepted in a shape that has no mean with current's.
    """
    recent = state.recent
    if recent is None:
        return state
    is_accepted &= is_of_current(state.accepted)

    def put(kept: Array, new: Array) -> Array:
        # one place is written and no other copied: large models stand here several times
        place = recent.count % len(kept)
        return kept.at[place].set(jnp.where(is_accepted, new, kept[place]))

    params = jax.tree.map(put, recent.params, current_of(state.accepted))
    return attrs.evolve(state, recent=Recent(params, recent.count + is_accepted))


def mean(averaged: Averaged, recent: Recent, current: Params) -> tuple[Params, Array]:
    """The mean of the last accepted models' weights, and whether there are two at least, [] bool.

    Until `averaged.count` are there, of those there are; without any, the current ones, which
    nobody looks at. Running statistics are averaged with the rest.
    """
    count = jnp.minimum(recent.count, averaged.count)

    def of(kept: Array, now: Array) -> Array:
        places = jnp.arange(len(kept))
        ages = (recent.count - 1 - places) % len(kept)
        shares = (ages < count) / jnp.maximum(count, 1).astype(kept.dtype)
        return jnp.where(count > 0, jnp.tensordot(shares.astype(kept.dtype), kept, 1), now)

    return jax.tree.map(of, recent.params, current), recent.count >= 2
