"""Explore: every candidate rolls out its gradient steps from the current weights."""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp

from ev3lang.backend import optimizers, streams
from ev3lang.backend.expressions import Networks
from ev3lang.backend.keys import named
from ev3lang.backend.layout import explored_chains, held
from ev3lang.backend.rollout import Batches, Rolled, Task, joined, roll_out
from ev3lang.backend.state import Params, PyTree, RunState
from ev3lang.backend.streams import Fields, Stream
from ev3lang.plan.plan import (
    Candidate,
    DataPlan,
    FusedPlan,
    Layers,
    OptimizerPlan,
    Plan,
    RollOuts,
)

Array: TypeAlias = jax.Array


def explore(fused: FusedPlan, state: RunState, split: Fields) -> tuple[dict[str, Stream], Rolled]:
    """The streams behind the batches that were read, and every candidate's roll-out.

    split    the explore split's fields; empty for endless data
    returns  roll-outs in the order of the plan
    """
    plan = fused.plan
    start, restore = held(state.current, explored_chains(plan))
    moved_streams, batches = _draw(plan, state)
    groups = []
    for group in fused.rollouts:
        candidates = [plan.candidates[k] for k in group.candidates]
        task = Task(
            losses=[candidate.loss for candidate in candidates],
            chains=[optimizers.build(candidate.optimizer) for candidate in candidates],
            averages=[optimizers.average_decay(candidate.optimizer) for candidate in candidates],
            networks=networks(plan, state.frozen),
            start=start,
            restore=restore,
            trained=explored_models(plan),
            parts=candidates[0].parts,
            opt_states=[_opt_state(plan, state, k) for k in group.candidates],
            keys=_dropout_keys(plan, group, state),
            batches=jax.tree.map(lambda each, steps=group.steps: each[:steps], batches),
            stream_of=[stream_name(plan, candidate) for candidate in candidates],
            read=dict if plan.data.is_endless else partial(streams.gather, split),
        )
        groups.append(roll_out(group.lowering, task))
    return moved_streams, joined(groups, [k for group in fused.rollouts for k in group.candidates])


def _opt_state(plan: Plan, state: RunState, k: int) -> PyTree:
    """What a candidate's optimizer starts from: its lasting state, or a fresh one."""
    candidate = plan.candidates[k]
    if candidate.keeps_state:
        return state.opt_states[k]
    return start_optimizer(plan, candidate.optimizer, state.current)


def networks(plan: Plan, params: Params) -> Networks:
    """The plan's models with these weights; those that aren't explored never drop anything."""
    still = frozenset(model.name for model in plan.models if not model.is_explored)
    dtype = jnp.bfloat16 if plan.precision == "bf16" else jnp.float32
    return Networks({model.name: model for model in plan.models}, params, still=still, dtype=dtype)


def explored_models(plan: Plan) -> frozenset[str]:
    return frozenset(model.name for model in plan.models if model.is_explored)


def start_optimizer(plan: Plan, optimizer: OptimizerPlan, params: Params) -> PyTree:
    """An optimizer's state before its first step, for weights as the roll-outs hold them."""
    return optimizers.build(optimizer).init(held(params, explored_chains(plan))[0].learned)


# ---------------------------------------------------------------- batches


def stream_name(plan: Plan, candidate: Candidate) -> str:
    """The stream that a candidate reads: one for all of its batch size, or its own."""
    return candidate.name if plan.batches == "fresh" else f"batches of {candidate.batch}"


def stream_sizes(plan: Plan) -> dict[str, tuple[int, int]]:
    """Each stream's batch size, and the most steps that a candidate reads of it."""
    sizes: dict[str, tuple[int, int]] = {}
    for candidate in plan.candidates:
        name = stream_name(plan, candidate)
        _, steps = sizes.get(name, (0, 0))
        sizes[name] = (candidate.batch, max(steps, candidate.steps))
    return sizes


def start_streams(plan: Plan, key: Array, count: int) -> dict[str, Stream]:
    """Every stream at its start, over `count` examples; none for endless data."""
    if plan.data.is_endless:
        return {}
    return {name: streams.start(named(key, "batches", name), count) for name in stream_sizes(plan)}


def _draw(plan: Plan, state: RunState) -> tuple[dict[str, Stream], dict[str, Batches]]:
    """The streams behind this iteration's batches, and for each its `[steps, batch, ...]`."""
    moved: dict[str, Stream] = {}
    batches: dict[str, Batches] = {}
    for name, (batch, steps) in stream_sizes(plan).items():
        key = named(state.key, "batches", name)
        if plan.data.is_endless:
            batches[name] = draw_fresh(plan.data, named(key, state.iteration), batch, steps)
        else:
            moved[name], batches[name] = streams.draw(
                state.streams[name], key, batch=batch, steps=steps
            )
    return moved, batches


def draw_fresh(data: DataPlan, key: Array, batch: int, steps: int) -> Fields:
    """Batches of an endless source for a whole roll-out, `[steps, batch, ...]`.

    All at once, outside the loop over steps: a tiny net's step is shorter than a draw.
    """
    keys = jax.vmap(lambda step: named(key, step))(jnp.arange(steps))
    return jax.vmap(lambda step_key: streams.fresh(data, step_key, batch))(keys)


# ---------------------------------------------------------------- dropout


def uses_dropout(plan: Plan) -> bool:
    return any(_drops(model.layers) for model in plan.models if model.is_explored)


def _drops(layers: Layers) -> bool:
    return any(
        layer.name == "dropout"
        or (layer.name == "transformer" and dict(layer.options)["dropout"] != 0)
        or any(isinstance(value, Layers) and _drops(value) for _, value in layer.options)
        for layer in layers.layers
    )


def _dropout_keys(plan: Plan, group: RollOuts, state: RunState) -> Array | None:
    """`[steps, K]` keys, of each candidate by its name; None where nothing is dropped."""
    if not uses_dropout(plan):
        return None
    names = [plan.candidates[k].name for k in group.candidates]
    keys = jnp.stack([named(state.key, "dropout", name, state.iteration) for name in names])
    at_step = jax.vmap(named, (0, None))
    return jax.vmap(at_step, (None, 0))(keys, jnp.arange(group.steps))
