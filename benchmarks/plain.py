"""What most people write: a Python loop over one jitted gradient step.

Losses, gradients and updates of a candidate are one jitted function, evaluation another; the host
leads every step, and reads the shares of an iteration to choose.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import by_hand
from benchmarks.floor import chain, columns, smooth
from benchmarks.workloads import Workload


def loop(workload: Workload) -> Callable[[], None]:
    """A function that runs one iteration, its state kept between calls."""
    plan = workload.plan
    (model,) = plan.models
    net = by_hand.net(model)
    params = net.start(jax.random.key(plan.seed))
    chains = [chain(each.optimizer) for each in plan.descents]
    trained, _ = by_hand.parted(params)
    state: dict[str, Any] = {
        "current": params,
        "accepted": params,
        "opt_states": [each.init(trained) for each in chains],
    }
    tables = {
        split: tuple(map(jnp.asarray, columns(plan, table)))
        for split, table in workload.tables.items()
    }
    batches = _batches(tables["explore"], plan.data.batch)
    steps = [
        _step(net, one, smooth(each.loss)) for one, each in zip(chains, plan.descents, strict=True)
    ]

    @jax.jit
    def right(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean(jnp.argmax(net.forward(params, x, False)[0], -1) == y)

    def iteration() -> None:
        ended = []
        for k, candidate in enumerate(plan.descents):
            params, opt_state = state["current"], state["opt_states"][k]
            for _ in range(candidate.steps):
                params, opt_state = steps[k](params, opt_state, *next(batches))
            ended.append(params)
            state["opt_states"][k] = opt_state
        state["current"] = max(ended, key=lambda params: float(right(params, *tables["assess"])))
        shares = [float(right(state[name], *tables["adapt"])) for name in ("current", "accepted")]
        if shares[0] > shares[1]:
            state["accepted"] = state["current"]

    return iteration


def _step(net: by_hand.Net, one: optax.GradientTransformation, share: float) -> Any:
    def loss(trained: Any, still: Any, x: jax.Array, y: jax.Array) -> Any:
        scores, after = net.forward(by_hand.joined(trained, still), x, True)
        return by_hand.entropy(scores, y, share), by_hand.parted(after)[1]

    @jax.jit
    def step(params: Any, opt_state: Any, x: jax.Array, y: jax.Array) -> Any:
        trained, still = by_hand.parted(params)
        grads, still = jax.grad(loss, has_aux=True)(trained, still, x, y)
        updates, opt_state = one.update(grads, opt_state, trained)
        return by_hand.joined(optax.apply_updates(trained, updates), still), opt_state

    return step


def _batches(table: tuple[Any, ...], batch: int) -> Any:
    """Batches of shuffled epochs, for ever."""
    generator = np.random.default_rng(0)
    count = len(table[0])
    while True:
        order = generator.permutation(count)
        for begin in range(0, count - batch + 1, batch):
            rows = order[begin : begin + batch]
            yield tuple(column[rows] for column in table)
