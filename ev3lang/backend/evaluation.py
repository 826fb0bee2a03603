"""What assess and adapt measure on: a split, fresh examples, or a draw from a split.

Rule `reference` may draw from finite splits too, by shuffled epochs as batches are drawn: no
example stands twice in a draw, and an epoch ends where less than a draw is left of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import jax

from ev3lang.backend import streams
from ev3lang.backend.keys import named
from ev3lang.backend.streams import Data, Fields, Stream
from ev3lang.plan.plan import Plan, Reference

Array: TypeAlias = jax.Array
Rows: TypeAlias = Mapping[str, Array]
"""By use, the rows of its split that an iteration measures on, `[B]` int32; empty for all."""

USES = ("assess", "adapt")


def examples_drawn(plan: Plan) -> int | None:
    """How many examples an iteration draws from each split; None where it uses them whole."""
    rule = plan.rule
    if plan.data.is_endless or not isinstance(rule, Reference) or rule.evaluate is None:
        return None
    return rule.evaluate * plan.data.batch


def is_new_each_time(plan: Plan) -> bool:
    """Whether every iteration measures on other examples, so that no model's values last."""
    return plan.data.is_endless or examples_drawn(plan) is not None


def start(plan: Plan, data: Data, key: Array) -> dict[str, Stream]:
    """The streams of draws before the first; none where nothing is drawn from a split."""
    if examples_drawn(plan) is None:
        return {}
    return {
        _stream(use): streams.start(
            named(key, _stream(use)), len(next(iter(data.splits[use].values())))
        )
        for use in USES
    }


def draw(plan: Plan, key: Array, before: Mapping[str, Stream]) -> tuple[dict[str, Stream], Rows]:
    """The streams behind an iteration's draws, and the rows that were drawn.

    key      the run's
    before   all of its streams
    """
    count = examples_drawn(plan)
    if count is None:
        return {}, {}
    moved, rows = {}, {}
    for use in USES:
        name = _stream(use)
        drawn_by = named(key, name)
        moved[name], drawn = streams.draw(before[name], drawn_by, batch=count, steps=1)
        rows[use] = drawn[0]
    return moved, rows


def examples(plan: Plan, data: Data, key: Array, use: str, iteration: Array, rows: Rows) -> Fields:
    """The fields of what a use is measured on in an iteration.

    key    the run's, by which fresh examples are drawn
    rows   as `draw` gave them
    """
    split = data.splits[use]
    if use in rows:
        split = streams.gather(split, rows[use])
    return streams.examples(plan.data, split, data.scales, key, use, iteration)


def _stream(use: str) -> str:
    return f"evaluate {use}"
