"""What a run is worth: `specs/first.ev3` beside plain training, and the three ways to move.

And how far accepted ends behind current, there and in `specs/few_labels.ev3`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import optax

import ev3lang
from benchmarks import workloads
from ev3lang.backend import models
from ev3lang.backend.emit import SEGMENT, Program, emit
from ev3lang.backend.keys import named
from ev3lang.outcome import Outcome
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Plan
from ev3lang.runtime import data

SPECS = Path(__file__).parent.parent / "specs"
SPEC = SPECS / "first.ev3"
SEEDS = range(10)
MORE_SEEDS = range(10, 40)
"""Where accepted ends far behind current in one run of ten, ten runs don't tell how far it does."""

MOVES = ("unless worse", "when better", "always")


def measure() -> dict[str, Any]:
    """Accuracy on report in per cent, seed by seed: current and accepted, and plain training."""
    first = ev3lang.load(SPEC).plan
    tables = data.read(first.data).tables
    four = attrs.evolve(
        workloads.b().plan, models=first.models, objectives=first.objectives, stop=first.stop
    )
    steps = first.descents[0].steps * (first.stop.iterations or 0)
    few_labels = ev3lang.load(SPECS / "few_labels.ev3").compile()
    plain = [_plain(first, tables, seed, steps) for seed in SEEDS]
    return {
        "about": f"{SPEC.name}, accuracy on the report split in %, seeds 0 to {SEEDS[-1]}",
        "gradient_steps": steps,
        "plain adamw(1e-3), as many steps": _summary(plain),
        "one candidate": {move: _runs(_moving(first, tables, move)) for move in MOVES},
        "four candidates": {move: _runs(_moving(four, tables, move)) for move in MOVES},
        "few_labels.ev3": _runs(few_labels),
        "few_labels.ev3, seeds 10 to 39": _runs(few_labels, MORE_SEEDS),
    }


def _moving(plan: Plan, tables: data.Tables, move: Any) -> Program:
    return emit(fuse(attrs.evolve(plan, move=move), jax.default_backend()), tables)


def _runs(program: Program, seeds: Iterable[int] = SEEDS) -> dict[str, Any]:
    current, accepted, moved = [], [], []
    for seed in seeds:
        state = program.init(jax.random.key(seed))
        moves = iterations = 0
        while int(state.outcome) == Outcome.RUNNING:
            state, records, filled, _ = program.segment(state, SEGMENT, False)
            moves += int(np.sum(np.asarray(records.moved)[: int(filled)]))
            iterations += int(filled)
        moved.append(moves / iterations)
        fields = program.examples(state.key, "report")
        for worth, params in ((current, state.current), (accepted, state.accepted)):
            right = program.measure(state.frozen | params, fields)["accuracy"]
            worth.append(100 * float(np.mean(right)))
    behind = np.subtract(current, accepted)
    return {
        "current": _summary(current),
        "accepted": _summary(accepted),
        "accepted within 1.5 pp of current": (
            f"{int(np.sum(np.abs(behind) <= 1.5))} of {len(behind)}"
        ),
        "accepted behind current, mean": round(float(np.mean(behind)), 2),
        "iterations that moved": statistics.mean(moved),
    }


def _summary(worth: list[float]) -> dict[str, Any]:
    return {"mean": round(statistics.mean(worth), 2), "each": [round(each, 2) for each in worth]}


def _plain(plan: Plan, tables: data.Tables, seed: int, steps: int) -> float:
    """Accuracy on report of a loop as anyone would write it, from the run's own start weights."""
    (model,) = plan.models
    explore, report = tables["explore"], tables["report"]
    params = models.init(model, named(jax.random.key(seed), "weights", model.name))
    chain = optax.adamw(1e-3)
    rng = np.random.default_rng(seed)

    @jax.jit
    def step(params: Any, opt_state: Any, image: Any, label: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            logits = models.apply(model, params, image, dropout_key=None)
            return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

        updates, opt_state = chain.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    opt_state = chain.init(params)
    count, batch = len(explore["label"]), plan.descents[0].batch
    done = 0
    while done < steps:
        order = rng.permutation(count)
        for begin in range(0, count - batch + 1, batch)[: steps - done]:
            rows = order[begin : begin + batch]
            params, opt_state = step(
                params, opt_state, explore["image"][rows], explore["label"][rows]
            )
            done += 1
    logits = models.apply(model, params, jnp.asarray(report["image"]), dropout_key=None)
    return 100 * float(np.mean(np.argmax(logits, -1) == report["label"]))
