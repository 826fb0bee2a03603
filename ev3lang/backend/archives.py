"""Archives: the best accepted model of the architecture that is explored now."""

from __future__ import annotations

from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend.elders import current_of, is_of_current
from ev3lang.backend.state import Archived, Params, RunState
from ev3lang.plan.plan import Plan

Array: TypeAlias = jax.Array


def start(plan: Plan, current: Params) -> Archived | None:
    """Nothing accepted yet; None without archives."""
    count = len(plan.archives)
    if not count:
        return None
    return Archived(
        params=jax.tree.map(lambda leaf: jnp.stack([leaf] * count), current),
        scores=jnp.full(count, -jnp.inf, jnp.float32),
        is_filled=jnp.zeros(count, bool),
    )


def keep(plan: Plan, state: RunState, is_accepted: Array, scores: Array) -> RunState:
    """The state behind a decision: an accepted model stays if none was better on assess.

    is_accepted   [] bool, whether accepted has just changed
    scores        [M] float32, each measure of it on assess
    """
    before = state.archived
    if before is None:
        return state
    names = [measure.name for measure in plan.measures]
    reached = jnp.stack(
        [each.best.sign * scores[names.index(each.best.name)] for each in plan.archives]
    )
    takes = is_accepted & is_of_current(state.accepted) & (reached > before.scores)

    def put(kept: Array, new: Array) -> Array:
        return jnp.where(takes.reshape(-1, *[1] * new.ndim), new[None], kept)

    return attrs.evolve(
        state,
        archived=Archived(
            params=jax.tree.map(put, before.params, current_of(state.accepted)),
            scores=jnp.where(takes, reached, before.scores),
            is_filled=before.is_filled | takes,
        ),
    )
