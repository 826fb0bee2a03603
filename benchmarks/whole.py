"""A whole run as one compiled function of its data and its key, for many runs of one plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from ev3lang.backend import emit, units
from ev3lang.backend.state import Params, Record, RunState
from ev3lang.backend.streams import Data
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Plan

Array: TypeAlias = jax.Array
Whole: TypeAlias = Callable[[Data, Array], tuple[RunState, Record, Record]]
"""(data, key) -> the state at the spec's own stop, the records of all iterations and the last
query's."""


def whole(plan: Plan, given: Mapping[str, Params] = MappingProxyType({})) -> Whole:
    """The plan's run from its start to its own stop, to be called with data of one shape.

    given   weights of models that don't start fresh
    The program is `emit`'s, without segments: the plan's stop must come in as many iterations as
    a segment can hold.
    """
    iterations = plan.stop.iterations
    assert iterations is not None, "the spec says after how many iterations it stops"
    assert iterations <= emit.SEGMENT, f"{iterations} iterations are more than a segment holds"
    fused = fuse(plan, jax.default_backend())

    @jax.jit
    def run(data: Data, key: Array) -> tuple[RunState, Record, Record]:
        state = emit.start(plan, data, dict(given), key)
        state, records, _, closing = emit.run(
            fused, data, state, jnp.int32(iterations), jnp.bool_(False)
        )
        return state, jax.tree.map(lambda rows: rows[:iterations], records), closing

    return run


def data_of(plan: Plan, tables: Mapping[str, Mapping[str, Any]]) -> Data:
    """Tables as a run reads them: the fields that the plan reads, of all but the report split."""
    read = emit.fields_read(plan)
    tables = {split: columns for split, columns in tables.items() if split != "report"}
    splits = {
        split: {name: jnp.asarray(columns[name]) for name in read}
        for split, columns in tables.items()
    }
    return Data(splits, {}, {}, units.of_splits(plan.data.split, tables))


ENDLESS = Data({split: {} for split in ("explore", "assess", "adapt")}, {}, {})
"""What a run reads of a source that draws in the program: nothing."""


def measured(plan: Plan, state: RunState, fields: Mapping[str, Any]) -> dict[str, dict[str, Array]]:
    """Every objective and shown value of `current` and `accepted` over the fields of a split."""
    fields = {name: jnp.asarray(each) for name, each in fields.items()}
    return {
        name: emit.report_values(plan, state.frozen | params, fields)
        for name, params in (("current", state.current), ("accepted", state.accepted))
    }
