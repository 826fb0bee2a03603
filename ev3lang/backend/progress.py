"""Progress: how long a run has had none, and what it does about it."""

from __future__ import annotations

from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend.state import Progress, RunState
from ev3lang.plan.plan import Plan, Reference

Array: TypeAlias = jax.Array


def start(plan: Plan) -> Progress | None:
    """Nothing reached yet; None for a run that never asks."""
    if plan.patience is None:
        return None
    return Progress(
        stalled=jnp.int32(0),
        best=jnp.full(len(plan.ranking.keys), -jnp.inf, jnp.float32),
        stretch=jnp.float32(1),
        may_grow=jnp.bool_(plan.grows),
        is_due=jnp.bool_(False),
        is_trial=jnp.bool_(False),
    )


def is_due(state: RunState) -> Array:
    """Whether the host is to go on with another architecture, [] bool."""
    return jnp.bool_(False) if state.progress is None else state.progress.is_due


def is_trial(state: RunState) -> Array:
    """Whether the iteration is one of several of which assess keeps the best, [] bool."""
    return jnp.bool_(False) if state.progress is None else state.progress.is_trial


def lengthens(plan: Plan) -> bool:
    """Whether roll-outs may become longer, so that their length is no constant."""
    return plan.patience is not None and plan.patience.lengthen is not None


def lengths(plan: Plan, state: RunState) -> Array:
    """How many steps each descent takes in this iteration, `[D]` int32."""
    steps = jnp.asarray([each.steps for each in plan.descents], jnp.int32)
    if state.progress is None:
        return steps
    longest = jnp.asarray([each.longest for each in plan.descents], jnp.int32)
    stretched = jnp.round(steps * state.progress.stretch).astype(jnp.int32)
    return jnp.minimum(stretched, longest)


def followed(plan: Plan, state: RunState, is_accepted: Array, scores: Array) -> RunState:
    """The state behind an iteration's decision: where patience is at its end, roll-outs are
    stretched and the host is called for.

    Progress is an acceptance, or a score of current on assess that is better than any before; by
    a front or by priorities, of any of their keys. Under rule `reference` it is an acceptance
    alone, as published.

    scores   [M] float32, each measure of current on assess
    """
    if plan.patience is None:
        return state
    before = state.progress
    assert before is not None, "a run with patience keeps its progress"
    keys = plan.ranking.keys[:1] if plan.ranking.kind == "then" else plan.ranking.keys
    names = [measure.name for measure in plan.measures]
    reached = jnp.stack([key.sign * scores[names.index(key.name)] for key in keys])
    best = before.best[: len(keys)]
    is_better = jnp.any(reached > best) & (not isinstance(plan.rule, Reference))
    stalled = jnp.where(is_accepted | is_better, 0, before.stalled + 1)
    is_over = stalled >= plan.patience.iterations
    stretch = before.stretch
    if plan.patience.lengthen is not None:
        # beyond the longest roll-out there is nothing to stretch, and a float has an end
        most = max((each.longest / each.steps for each in plan.descents), default=1.0)
        longer = jnp.minimum(stretch * plan.patience.lengthen, most)
        stretch = jnp.where(is_over, longer, stretch)
    return attrs.evolve(
        state,
        progress=attrs.evolve(
            before,
            stalled=jnp.where(is_over, 0, stalled),
            best=before.best.at[: len(keys)].set(jnp.maximum(best, reached)),
            stretch=stretch,
            is_due=is_over & before.may_grow,
        ),
    )
