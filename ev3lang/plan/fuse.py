"""How a plan's candidates are lowered: which share a loop, and how they lie in it."""

from __future__ import annotations

from typing import Literal

from ev3lang.plan.plan import (
    Descent,
    Forward,
    FusedPlan,
    Layers,
    ModelPlan,
    Plan,
    RollOuts,
    subexpressions,
)
from ev3lang.plan.simplify import simplify
from ev3lang.plan.work import multiplications

STACKED_BELOW = 1_000_000
"""Multiplications of one forward pass over a batch below which stacking pays on a CPU.

Medians of one iteration on 2 CPU cores, 4 candidates of 100 steps, ms:

| net (input 2 or 64, two hidden layers) | multiplications | one body | stacked |
| --- | --- | --- | --- |
| 2-8-8-2, batch 32          |     3,000 |  3.1 |  2.0 |
| 2-32-32-2, batch 32        |    37,000 |  4.8 |  4.0 |
| 2-64-64-2, batch 32        |   139,000 |  8.8 |  7.6 |
| 64-32-32-10, batch 128     |   434,000 | 18.9 | 15.1 |
| 64-64-64-10, batch 128     | 1,131,000 | 36.8 | 31.5 |
| 64-128-128-10, batch 128   | 3,310,000 | 87   | 96   |

Below, the cost is that of starting operations, and stacking starts a quarter of them. Above, the
independent candidates of one body run side by side on the cores, and a stacked product is split
less well.

Nets with convolutions are never stacked: theirs become grouped ones. As above, 20 steps on images
of 8 x 8, batch 64:

| net                                           | candidates | one body | apart | stacked |
| --- | --- | --- | --- | --- |
| conv 8, max_pool, conv 16, group_norm, dense  | 2 |  48 |  63 |  51 |
| the same                                      | 4 |  86 |  92 |  86 |
| conv 32, conv 64, avg_pool, conv 64, dense    | 2 | 368 | 359 | 858 |
"""


def fuse(plan: Plan, platform: str) -> FusedPlan:
    """The plan, its expressions simplified, with the lowering chosen for a platform.

    platform   `cpu`, `gpu`, `tpu`: what the program will run on
    Candidates of one roll-out length and batch share a loop. The choice looks at each group's
    models and losses, never at how many candidates there are: adding one changes nothing else.
    """
    plan = simplify(plan)
    groups: dict[tuple[int, int, int, int], list[int]] = {}
    for index, candidate in enumerate(plan.descents):
        alike = (candidate.steps, candidate.longest, candidate.batch, candidate.parts)
        groups.setdefault(alike, []).append(index)
    return FusedPlan(
        plan,
        tuple(
            RollOuts(tuple(group), longest, _lowering(plan, group, platform))
            for (_, longest, _, _), group in groups.items()
        ),
        _of_members(plan, platform),
    )


def _of_members(plan: Plan, platform: str) -> Literal["vmap", "apart"]:
    """As the descents, but for what lies in their optimizers and losses."""
    explored = [model for model in plan.models if model.is_explored]
    if any(model.module is not None or _stays_apart(model.layers) for model in explored):
        return "apart"
    batch = max((each.batch for each in plan.evolutions), default=plan.data.batch)
    work = batch * sum(multiplications(model) for model in explored)
    return "vmap" if platform != "cpu" or work < STACKED_BELOW else "apart"


def _lowering(plan: Plan, group: list[int], platform: str) -> Literal["one body", "vmap", "apart"]:
    # Stacked candidates read one batch; each with a batch of its own gains little by it.
    if plan.batches == "fresh":
        return "one body"
    # What the user's functions do can't be known: whether it stacks neither.
    if plan.externs:
        return "one body"
    candidates = [plan.descents[index] for index in group]
    if any(each.parts > 1 or _averages(each) for each in candidates):
        return "one body"
    # Losses of known examples alone read batches of their own.
    if plan.data.known:
        return "one body"
    explored = [model for model in plan.models if model.is_explored]
    if len({_applications(candidate, explored) for candidate in candidates}) > 1:
        return "one body"
    if any(model.module is not None or _stays_apart(model.layers) for model in explored):
        return "one body"
    # Elsewhere a step of a dense net is bound by the launches of its operations at any size here.
    if platform != "cpu":
        return "vmap"
    work = candidates[0].batch * sum(multiplications(model) for model in explored)
    return "vmap" if work < STACKED_BELOW else "one body"


def _applications(candidate: Descent, explored: list[ModelPlan]) -> frozenset[Forward]:
    """Where a loss applies explored models: candidates that agree in it can be stacked."""
    names = {model.name for model in explored}
    return frozenset(
        part
        for part in subexpressions(candidate.loss)
        if isinstance(part, Forward) and part.model in names
    )


def _averages(candidate: Descent) -> bool:
    return any(link.name == "params_ema" for link in candidate.optimizer.links)


_APART = frozenset({"conv", "resnet", "batch_norm"})
"""Layers whose nets are never stacked: convolutions, and running statistics of their own."""


def _stays_apart(layers: Layers) -> bool:
    return any(
        layer.name in _APART
        or any(isinstance(value, Layers) and _stays_apart(value) for _, value in layer.options)
        for layer in layers.layers
    )
