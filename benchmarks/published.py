"""A loop in the published reference's structure: the host leads every step.

Gradients and evaluations are jitted one by one; batches, optimizers and the sums of weights are
separate operations between them; the host loops over candidates and steps, and reads the bounds
of every iteration to choose. As google-research/ev3 does it, written anew for these workloads:
explore = propose, assess = optimize, adapt = decide, with unpaired bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.workloads import Workload
from ev3lang.backend import expressions, models, optimizers, streams
from ev3lang.backend.explore import networks
from ev3lang.backend.keys import named

Fields = dict[str, jax.Array]

POOL = 100_000
"""Examples that the reference draws from an endless source before it starts."""

RANK, DECIDE = 0.5, 4.0
"""Widths of the bounds in standard errors, as in the reference's own example."""


def loop(workload: Workload) -> Callable[[], None]:
    """A function that runs one iteration, its state kept between calls."""
    plan = workload.plan
    (model,) = plan.models
    (objective,) = plan.objectives
    key = jax.random.key(plan.seed)
    batches, assess, adapt = _data(workload, key)

    def applied(expr: Any, params: Any, fields: Fields) -> jax.Array:
        return expressions.evaluate(expr, fields, networks(plan, {model.name: params}))

    gradients = [
        jax.jit(jax.grad(lambda p, fields, loss=each.loss: applied(loss, p, fields).mean()))
        for each in plan.descents
    ]
    metric = jax.jit(lambda params, fields: applied(objective.value, params, fields))
    chains = [optimizers.build(each.optimizer) for each in plan.descents]
    current = models.init(model, named(key, "weights", model.name))
    opt_states = [chain.init(current) for chain in chains]
    state: dict[str, Any] = {"current": current, "stable": current, "opt_states": opt_states}

    def bounds(params: Any, fields: Fields, width: float) -> tuple[float, float]:
        values = metric(params, fields)
        mean, error = jnp.mean(values), jnp.std(values) / np.sqrt(values.shape[0])
        return float(mean - width * error), float(mean + width * error)

    def iteration() -> None:
        proposed = []
        for k, candidate in enumerate(plan.descents):
            params, opt_state = state["current"], state["opt_states"][k]
            for _ in range(candidate.steps):
                grads = gradients[k](params, next(batches))
                updates, opt_state = chains[k].update(grads, opt_state, state["current"])
                params = jax.tree.map(lambda p, u: p + u, params, updates)
            proposed.append(params)
            state["opt_states"][k] = opt_state
        fields = next(assess)
        best = max(proposed, key=lambda params: bounds(params, fields, RANK)[0])
        fields = next(adapt)
        evaluated = {
            name: (params, bounds(params, fields, DECIDE))
            for name, params in (
                ("best", best),
                ("current", state["current"]),
                ("stable", state["stable"]),
            )
        }
        params, (lower, _) = max(evaluated.values(), key=lambda pair: pair[1][0])
        state["current"] = params
        if lower > evaluated["stable"][1][1]:
            state["stable"] = params

    return iteration


def _data(
    workload: Workload, key: jax.Array
) -> tuple[Iterator[Fields], Iterator[Fields], Iterator[Fields]]:
    """Batches of explore, and evaluations of assess and adapt."""
    plan = workload.plan
    if not plan.data.is_endless:
        tables = {
            split: {name: jnp.asarray(field) for name, field in fields.items()}
            for split, fields in workload.tables.items()
        }
        explore = _batches(tables["explore"], plan.data.batch, key)
        return explore, _whole(tables["assess"]), _whole(tables["adapt"])
    assert plan.data.evaluate is not None
    evaluation = plan.data.evaluate * plan.data.batch
    pools = [streams.fresh(plan.data, named(key, split), POOL) for split in ("explore", "a", "d")]
    explore, assess, adapt = (
        _batches(pool, size, key)
        for pool, size in zip(pools, (plan.data.batch, evaluation, evaluation), strict=True)
    )
    return explore, assess, adapt


def _whole(fields: Fields) -> Iterator[Fields]:
    while True:
        yield fields


def _batches(fields: Fields, batch: int, key: jax.Array) -> Iterator[Fields]:
    """Slices of a pool that is shuffled whole at every epoch's end."""
    count = len(next(iter(fields.values())))
    while True:
        key, shuffle_key = jax.random.split(key)
        fields = {
            name: jax.random.permutation(shuffle_key, field) for name, field in fields.items()
        }
        for begin in range(0, count - batch + 1, batch):
            yield {
                name: jax.lax.dynamic_slice_in_dim(field, begin, batch)
                for name, field in fields.items()
            }
