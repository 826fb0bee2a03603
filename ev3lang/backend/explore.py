"""Explore: every candidate sets out from the current weights, most by gradient steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp
import numpy as np

from ev3lang.backend import evolution, mutation, optimizers, progress, recent, streams
from ev3lang.backend.descent import KNOWN
from ev3lang.backend.expressions import Networks
from ev3lang.backend.keys import named
from ev3lang.backend.layout import Held, explored_chains, held
from ev3lang.backend.pytree import pytree
from ev3lang.backend.rollout import Batches, Rolled, Task, joined, roll_out
from ev3lang.backend.state import Params, PyTree, RunState
from ev3lang.backend.streams import Block, Data, Fields, Stream
from ev3lang.plan.known import pool
from ev3lang.plan.plan import (
    Averaged,
    DataPlan,
    Descent,
    Evolution,
    Expr,
    FusedPlan,
    Layers,
    OptimizerPlan,
    Perturbation,
    Plan,
    RollOuts,
    fields_of,
)

Array: TypeAlias = jax.Array


@pytree
@attrs.frozen(eq=False)
class Explored:
    """What K candidates have come to; the first D of them are descents."""

    weights: Held  # [K, ...]
    opt_states: tuple[PyTree, ...]  # D, behind the roll-outs
    losses: Array  # [K] float32, mean over the steps; NaN for those that descend none
    is_present: Array  # [K] bool, False for those that are not there yet
    factors: Array  # [D, M] float32, what the descents' mutated options were multiplied by
    steps: Array  # [D] int32, gradient steps of the descents

    @property
    def is_sound(self) -> Array:
        """[K] bool, False for those that are absent or met a loss that isn't finite."""
        descends = jnp.arange(len(self.losses)) < len(self.opt_states)
        return self.is_present & (jnp.isfinite(self.losses) | ~descends)


def explore(
    fused: FusedPlan, state: RunState, data: Data, block: Block | None = None
) -> tuple[dict[str, Stream], Explored]:
    """The streams behind the batches that were read, and every candidate, in order.

    block   holds the batches where the explore split stays on the host
    """
    plan = fused.plan
    moved_streams, batches = _draw(plan, state, data, block)
    factors = mutation.drawn(plan, state)
    lengths = progress.lengths(plan, state)
    weights, losses, is_present = [], [], []
    opt_states: tuple[PyTree, ...] = ()
    if plan.descents:
        rolled = _rolled(fused, state, data, batches, factors, lengths)
        weights, losses = [rolled.weights], [rolled.losses]
        is_present, opt_states = [jnp.ones(len(plan.descents), bool)], rolled.opt_states
    for other in plan.others:
        one, is_there = _other(fused, other, state, data, batches)
        weights.append(jax.tree.map(lambda leaf: leaf[None], one))
        losses.append(jnp.full(1, jnp.nan, jnp.float32))
        is_present.append(is_there[None])
    return moved_streams, Explored(
        weights[0]
        if len(weights) == 1
        else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *weights),
        opt_states,
        jnp.concatenate(losses),
        jnp.concatenate(is_present),
        factors,
        lengths,
    )


def _other(
    fused: FusedPlan,
    candidate: Evolution | Perturbation | Averaged,
    state: RunState,
    data: Data,
    batches: dict[str, Batches],
) -> tuple[Held, Array]:
    """The weights of a candidate that descends no gradient, and whether it is there, [] bool."""
    plan = fused.plan
    start, restore = held(state.current, explored_chains(plan))
    match candidate:
        case Evolution():
            population = evolution.Population(
                networks=networks(plan, state.frozen),
                start=start,
                restore=restore,
                trained=explored_models(plan),
                key=named(state.key, "evolve", candidate.name, state.iteration),
                batches=jax.tree.map(
                    lambda each: each[: candidate.generations],
                    batches[stream_name(plan, candidate)],
                ),
                read=partial(read, plan.data, data),
                is_stacked=fused.members == "vmap",
            )
            return evolution.evolved(candidate, population), jnp.bool_(True)
        case Perturbation():
            key = named(state.key, "perturb", candidate.name, state.iteration)
            return evolution.perturbed(candidate, start, key), jnp.bool_(True)
        case Averaged():
            assert state.recent is not None, "what is averaged is remembered"
            mean, is_there = recent.mean(candidate, state.recent, state.current)
            return held(mean, explored_chains(plan))[0], is_there


def _rolled(
    fused: FusedPlan,
    state: RunState,
    data: Data,
    batches: dict[str, Batches],
    factors: Array,
    lengths: Array,
) -> Rolled:
    """Every descent's roll-out, in order; `lengths` [D] int32 are their steps."""
    plan = fused.plan
    start, restore = held(state.current, explored_chains(plan))
    groups = []
    for group in fused.rollouts:
        candidates = [plan.descents[k] for k in group.candidates]
        task = Task(
            losses=[candidate.loss for candidate in candidates],
            chains=[
                optimizers.build(plan.descents[k].optimizer, mutation.multipliers(plan, factors[k]))
                for k in group.candidates
            ],
            averages=[optimizers.average_decay(candidate.optimizer) for candidate in candidates],
            networks=networks(plan, state.frozen),
            start=start,
            restore=restore,
            trained=explored_models(plan),
            parts=candidates[0].parts,
            opt_states=[_opt_state(plan, state, k) for k in group.candidates],
            keys=_dropout_keys(plan, group, state),
            batches=jax.tree.map(lambda each, steps=group.steps: each[:steps], batches),
            count=lengths[group.candidates[0]] if progress.lengthens(plan) else None,
            stream_of=[stream_name(plan, candidate) for candidate in candidates],
            read=partial(read, plan.data, data),
        )
        groups.append(roll_out(group.lowering, task))
    return joined(groups, [k for group in fused.rollouts for k in group.candidates])


def _opt_state(plan: Plan, state: RunState, k: int) -> PyTree:
    """What a candidate's optimizer starts from: its lasting state, or a fresh one."""
    candidate = plan.descents[k]
    if candidate.keeps_state:
        return state.opt_states[k]
    return start_optimizer(plan, candidate.optimizer, state.current)


def networks(plan: Plan, params: Params) -> Networks:
    """The plan's models with these weights; those that aren't explored never drop anything."""
    still = frozenset(model.name for model in plan.models if not model.is_explored)
    dtype = jnp.bfloat16 if plan.precision == "bf16" else jnp.float32
    return Networks(
        {model.name: model for model in plan.models},
        params,
        still=still,
        dtype=dtype,
        externs={each.function: each for each in plan.externs},
        elders=tuple({model.name: model for model in each} for each in plan.elders),
    )


def explored_models(plan: Plan) -> frozenset[str]:
    return frozenset(model.name for model in plan.models if model.is_explored)


def start_optimizer(plan: Plan, optimizer: OptimizerPlan, params: Params) -> PyTree:
    """An optimizer's state before its first step, for weights as the roll-outs hold them."""
    return optimizers.build(optimizer).init(held(params, explored_chains(plan))[0].learned)


# ---------------------------------------------------------------- batches


def pool_name(data: DataPlan, loss: Expr) -> str:
    """The name of the rows that a loss draws from, empty for all of explore."""
    return " and ".join(pool(data, loss))


def rows_of(data: DataPlan, candidate: Descent | Evolution) -> str:
    """The name of the rows that a candidate draws from, empty for all of explore.

    What a set's objective makes of a batch can't leave out examples: all of it has to be known.
    """
    if isinstance(candidate, Descent):
        return pool_name(data, candidate.loss)
    value = candidate.objective.value
    if value.level == "example":
        return pool_name(data, value)
    partly = {each.field for each in data.known}
    names = [name for name in fields_of(value) if name in partly]
    return f"all of {' and '.join(names)}" if len(names) > 1 else "".join(names)


def pools(plan: Plan, explore: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By their names, the rows of explore that losses and candidates draw from: [N] int each.

    explore   its fields, and for each that only some examples know which those are, `[B]` bool
    """
    found = {}
    for loss in (*plan.losses, *(each.objective.value for each in plan.evolutions)):
        names = pool(plan.data, loss)
        if names:
            knows = [explore[f"{name} {KNOWN}"] for name in names]
            found[pool_name(plan.data, loss)] = np.flatnonzero(np.any(knows, axis=0))
    for candidate in plan.evolutions:
        name = rows_of(plan.data, candidate)
        if name and name not in found:
            partly = [each.field for each in plan.data.known]
            read = [each for each in fields_of(candidate.objective.value) if each in partly]
            knows = [explore[f"{each} {KNOWN}"] for each in read]
            found[name] = np.flatnonzero(np.all(knows, axis=0))
    return found


def stream_name(plan: Plan, candidate: Descent | Evolution) -> str:
    """The stream that a candidate reads: one for all of its batch size and rows, or its own."""
    if plan.batches == "fresh":
        return candidate.name
    rows = rows_of(plan.data, candidate)
    return f"batches of {candidate.batch}" + (f" with {rows} known" if rows else "")


@attrs.frozen
class StreamPlan:
    """A stream of batches: of how many examples, for how many steps at most, of which rows."""

    batch: int
    steps: int
    pool: str


def stream_plans(plan: Plan) -> dict[str, StreamPlan]:
    """Every stream that the candidates read, by its name."""
    found: dict[str, StreamPlan] = {}
    candidates: tuple[Descent | Evolution, ...] = (*plan.descents, *plan.evolutions)
    for candidate in candidates:
        name = stream_name(plan, candidate)
        steps = candidate.longest if isinstance(candidate, Descent) else candidate.generations
        steps = max(steps, found[name].steps if name in found else 0)
        found[name] = StreamPlan(candidate.batch, steps, rows_of(plan.data, candidate))
    return found


def start_streams(plan: Plan, key: Array, data: Data) -> dict[str, Stream]:
    """Every stream at its start; none for endless data."""
    if plan.data.is_endless:
        return {}
    return {
        name: streams.start(named(key, "batches", name), count_of(data, stream.pool))
        for name, stream in stream_plans(plan).items()
    }


def count_of(data: Data, rows: str) -> int:
    """How many examples of explore a loss may draw from."""
    if rows:
        return len(data.pools[rows])
    return len(next(iter(data.splits["explore"].values())))


def _draw(
    plan: Plan, state: RunState, data: Data, block: Block | None
) -> tuple[dict[str, Stream], dict[str, Batches]]:
    """The streams behind this iteration's batches, and for each its `[steps, ...]`."""
    moved: dict[str, Stream] = {}
    batches: dict[str, Batches] = {}
    for name, stream in stream_plans(plan).items():
        key = named(state.key, "batches", name)
        augment_key = named(state.key, "augment", name, state.iteration)
        if plan.data.is_endless:
            draw_key = named(key, state.iteration)
            batches[name] = draw_fresh(plan.data, draw_key, augment_key, stream.batch, stream.steps)
        else:
            moved[name], rows = streams.draw(
                state.streams[name],
                key,
                # known examples that are fewer than a batch are used whole
                batch=min(stream.batch, count_of(data, stream.pool)),
                steps=stream.steps,
                count=_count(plan, state, name),
            )
            if stream.pool:
                rows = data.pools[stream.pool][rows]
            drawn = rows if block is None else block.at(state.iteration, name)
            batches[name] = (drawn, step_keys(plan.data, augment_key, stream.steps))
    return moved, batches


def _count(plan: Plan, state: RunState, name: str) -> Array | None:
    """How many batches of a stream this iteration reads, None for as many as it ever does."""
    if not progress.lengthens(plan):
        return None
    lengths = progress.lengths(plan, state)
    read = [lengths[k] for k, each in enumerate(plan.descents) if stream_name(plan, each) == name]
    read += [
        jnp.int32(each.generations) for each in plan.evolutions if stream_name(plan, each) == name
    ]
    return jnp.max(jnp.stack(read))


def step_keys(data: DataPlan, key: Array, steps: int) -> Array | None:
    """`[steps]` keys of what is augmented, None where nothing is."""
    if not data.augmented:
        return None
    return jax.vmap(lambda step: named(key, step))(jnp.arange(steps))


def read(plan: DataPlan, data: Data, batch: Batches) -> Fields:
    """The fields of one step's batch: gathered and prepared, or as they were drawn."""
    if plan.is_endless:
        return dict(batch)
    drawn, augment_key = batch
    is_fed = isinstance(drawn, dict)
    fields = drawn if is_fed else streams.gather(data.splits["explore"], drawn)
    return streams.prepared(plan, fields, data.scales, augment_key)


def draw_fresh(data: DataPlan, key: Array, augment_key: Array, batch: int, steps: int) -> Fields:
    """Batches of an endless source for a whole roll-out, `[steps, batch, ...]`.

    All at once, outside the loop over steps: a tiny net's step is shorter than a draw.
    """
    keys = jax.vmap(lambda step: named(key, step))(jnp.arange(steps))
    if not data.augmented:
        return jax.vmap(lambda step_key: streams.fresh(data, step_key, batch))(keys)
    draws = keys, step_keys(data, augment_key, steps)
    return jax.vmap(lambda one, other: streams.fresh(data, one, batch, other))(*draws)


# ---------------------------------------------------------------- dropout


def uses_dropout(plan: Plan) -> bool:
    return any(
        model.module is not None or _drops(model.layers)
        for model in plan.models
        if model.is_explored
    )


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
    names = [plan.descents[k].name for k in group.candidates]
    keys = jnp.stack([named(state.key, "dropout", name, state.iteration) for name in names])
    at_step = jax.vmap(named, (0, None))
    return jax.vmap(at_step, (None, 0))(keys, jnp.arange(group.steps))
