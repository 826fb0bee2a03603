"""The floor: the same gradient steps and forward passes, by hand in one scan, and nothing else.

No choice, no evidence, no stop, no quarantine, nothing told: what any program has to pay.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.workloads import STEPS, Workload
from ev3lang.backend import sources
from ev3lang.plan.plan import Plan

Params = list[tuple[jax.Array, jax.Array]]


def bare(workload: Workload) -> Callable[[], None]:
    """A function that runs one iteration of bare work, its state kept between calls."""
    plan = workload.plan
    key = jax.random.key(plan.seed)
    params = _start(plan, key)
    chains = [_chain(each.optimizer) for each in plan.candidates]
    smoothing = [dict(each.loss.options)["label_smoothing"] for each in plan.candidates]  # type: ignore[union-attr]
    carried: list[Any] = [params, [chain.init(params) for chain in chains], key]

    def loss(params: Params, x: jax.Array, y: jax.Array, smooth: float) -> jax.Array:
        log_probs = jax.nn.log_softmax(_forward(params, x))
        at_label = jnp.sum(
            jnp.where(y[:, None] == jnp.arange(log_probs.shape[-1]), log_probs, 0), -1
        )
        return -jnp.mean((1 - smooth) * at_label + smooth * jnp.mean(log_probs, -1))

    @jax.jit
    def iteration(tables: Any, params: Params, opt_states: Any, key: jax.Array) -> Any:
        draw_key, key = jax.random.split(key)
        xs, ys = _batches(plan, tables, draw_key)

        def step(carry: Any, batch: Any) -> Any:
            followed = []
            for chain, smooth, (params, opt_state) in zip(chains, smoothing, carry, strict=True):
                grads = jax.grad(loss)(params, *batch, smooth)
                updates, opt_state = chain.update(grads, opt_state, params)
                followed.append((optax.apply_updates(params, updates), opt_state))
            return followed, None

        carry, _ = jax.lax.scan(step, [(params, state) for state in opt_states], (xs, ys))
        right = [
            jnp.mean(jnp.argmax(_forward(params, x), -1) == y)
            for params, _ in carry
            for x, y in [_evaluation(plan, tables, "assess", draw_key)]
        ]
        right += [
            jnp.mean(jnp.argmax(_forward(params, x), -1) == y)
            for params in (carry[0][0], carry[1][0])
            for x, y in [_evaluation(plan, tables, "adapt", draw_key)]
        ]
        return carry[0][0], [state for _, state in carry], key, jnp.stack(right)

    tables = jax.device_put(workload.tables)

    def run() -> None:
        *carried[:], _ = jax.block_until_ready(iteration(tables, *carried))

    return run


def _start(plan: Plan, key: jax.Array) -> Params:
    (model,) = plan.models
    (layer,) = model.layers.layers
    options: dict[str, Any] = dict(layer.options)
    size = 1
    for dimension in layer.input:
        size *= dimension
    widths = (size, *options["hidden"], layer.output[0])
    return [
        (jax.random.normal(key, (a, b)) / jnp.sqrt(a), jnp.zeros(b)) for a, b in pairwise(widths)
    ]


def _forward(params: Params, x: jax.Array) -> jax.Array:
    x = x.reshape(x.shape[0], -1)
    for weights, bias in params[:-1]:
        x = jax.nn.relu(x @ weights + bias)
    weights, bias = params[-1]
    return x @ weights + bias


def _chain(optimizer: Any) -> optax.GradientTransformation:
    (link,) = optimizer.links
    return getattr(optax, link.name)(**dict(link.options))


def _batches(plan: Plan, tables: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """[STEPS, batch, ...] inputs and labels: slices, in the order of the file."""
    batch = plan.data.batch
    if plan.data.is_endless:
        drawn = sources.two_moons(key, STEPS * batch, noise=0.3)
        return drawn["point"].reshape(STEPS, batch, 2), drawn["label"].reshape(STEPS, batch)
    image, label = tables["explore"]["image"], tables["explore"]["label"]
    epoch = len(image) // batch
    rows = (jnp.arange(STEPS) % epoch)[:, None] * batch + jnp.arange(batch)
    return image[rows], label[rows]


def _evaluation(plan: Plan, tables: Any, split: str, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    if plan.data.is_endless:
        assert plan.data.evaluate is not None
        drawn = sources.two_moons(key, plan.data.evaluate * plan.data.batch, noise=0.3)
        return drawn["point"], drawn["label"]
    return tables[split]["image"], tables[split]["label"]
