"""The floor: the same gradient steps and forward passes, by hand in one program, and nothing else.

No choice, no evidence, no stop, no quarantine, nothing told: what any program has to pay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks import by_hand
from benchmarks.workloads import Workload
from ev3lang.backend import sources
from ev3lang.plan.plan import Plan


def bare(workload: Workload) -> Callable[[], None]:
    """A function that runs one iteration of bare work, its state kept between calls.

    All candidates take each step side by side in a scan. A net with convolutions has its steps
    written out instead: JAX's own gradients of one are slow inside a scan on a CPU (jax#12868).
    """
    plan = workload.plan
    (model,) = plan.models
    net = by_hand.net(model)
    is_unrolled = any(layer.name == "resnet" for layer in model.layers.layers)
    key = jax.random.key(plan.seed)
    params = net.start(key)
    chains = [chain(each.optimizer) for each in plan.descents]
    smoothing = [smooth(each.loss) for each in plan.descents]
    trained, _ = by_hand.parted(params)
    carried: list[Any] = [params, [chain.init(trained) for chain in chains], key]

    def loss(trained: Any, still: Any, x: jax.Array, y: jax.Array, smooth: float) -> Any:
        scores, after = net.forward(by_hand.joined(trained, still), x, True)
        return by_hand.entropy(scores, y, smooth), by_hand.parted(after)[1]

    def right(params: Any, fields: tuple[jax.Array, jax.Array]) -> jax.Array:
        scores, _ = net.forward(params, fields[0], False)
        return jnp.mean(jnp.argmax(scores, -1) == fields[1])

    def step(carry: Any, batch: Any) -> Any:
        followed = []
        for one_chain, share, (params, opt_state) in zip(chains, smoothing, carry, strict=True):
            trained, still = by_hand.parted(params)
            grads, still = jax.grad(loss, has_aux=True)(trained, still, *batch, share)
            updates, opt_state = one_chain.update(grads, opt_state, trained)
            params = by_hand.joined(optax.apply_updates(trained, updates), still)
            followed.append((params, opt_state))
        return followed, None

    @jax.jit
    def iteration(tables: Any, params: Any, opt_states: Any, key: jax.Array) -> Any:
        draw_key, key = jax.random.split(key)
        xs, ys = _batches(plan, tables, draw_key)
        carry = [(params, state) for state in opt_states]
        if is_unrolled:
            for place in range(plan.descents[0].steps):
                carry, _ = step(carry, (xs[place], ys[place]))
        else:
            carry, _ = jax.lax.scan(step, carry, (xs, ys))
        shares = [right(params, _evaluation(plan, tables, "assess", key)) for params, _ in carry]
        shares += [
            right(params, _evaluation(plan, tables, "adapt", draw_key)) for params, _ in carry[:2]
        ]
        return carry[0][0], [state for _, state in carry], key, jnp.stack(shares)

    tables = jax.device_put(workload.tables)

    def run() -> None:
        *carried[:], _ = jax.block_until_ready(iteration(tables, *carried))

    return run


def chain(optimizer: Any) -> optax.GradientTransformation:
    """A candidate's optimizer straight from optax."""
    (link,) = optimizer.links
    return getattr(optax, link.name)(**dict(link.options))


def smooth(loss: Any) -> float:
    """The label smoothing of a candidate's cross entropy."""
    return float(dict(loss.options)["label_smoothing"])


def _batches(plan: Plan, tables: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """[steps, batch, ...] inputs and labels: slices, in the order of the file."""
    batch, steps = plan.data.batch, plan.descents[0].steps
    if plan.data.is_endless:
        drawn = sources.two_moons(key, steps * batch, noise=0.3)
        return drawn["point"].reshape(steps, batch, 2), drawn["label"].reshape(steps, batch)
    inputs, labels = columns(plan, tables["explore"])
    epoch = len(inputs) // batch
    rows = (jnp.arange(steps) % epoch)[:, None] * batch + jnp.arange(batch)
    return inputs[rows], labels[rows]


def _evaluation(plan: Plan, tables: Any, split: str, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    if plan.data.is_endless:
        assert plan.data.evaluate is not None
        drawn = sources.two_moons(key, plan.data.evaluate * plan.data.batch, noise=0.3)
        return drawn["point"], drawn["label"]
    return columns(plan, tables[split])


def columns(plan: Plan, table: Any) -> tuple[Any, Any]:
    """Inputs and labels of a table: the first two fields of every workload."""
    (inputs, _), (labels, _) = plan.data.fields
    return table[inputs], table[labels]
