"""Batches gathered on the host, of a split too large for the device: the rows that a draw gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TypeAlias

import attrs
import jax
import numpy as np

from ev3lang.backend import streams
from ev3lang.backend.descent import KNOWN
from ev3lang.backend.explore import count_of, stream_plans
from ev3lang.backend.keys import named
from ev3lang.backend.streams import Block, Data
from ev3lang.plan.plan import Plan, fields_of

HostFields: TypeAlias = dict[str, np.ndarray]

Blocks: TypeAlias = Callable[[int], Block]
"""From an iteration to a block that holds its batches; all blocks have equal shapes."""


@attrs.frozen(eq=False)
class HostStream:
    """A stream of batches whose split stays on the host; any iteration's can be had at once.

    fields   all that the candidates' losses and objectives read, `[B, *dimensions]`; a memory map
             is one too
    pool     the rows that it draws from, [N] int32
    order    from an epoch to the order of the pool in it, [N] int32
    batch    examples of a step
    steps    of an iteration
    """

    fields: Mapping[str, np.ndarray]
    pool: np.ndarray
    order: Callable[[int], np.ndarray]
    batch: int
    steps: int

    @property
    def iteration_bytes(self) -> int:
        """What the batches of one iteration take."""
        row_bytes = sum(
            field.dtype.itemsize * int(np.prod(field.shape[1:], dtype=int))
            for field in self.fields.values()
        )
        return self.steps * self.batch * row_bytes

    def rows(self, first: int, count: int) -> np.ndarray:
        """`[count, steps, batch]` int32 rows of the split, as `streams.draw` gives them."""
        in_epoch = len(self.pool) // self.batch
        drawn = np.arange(first * self.steps, (first + count) * self.steps)
        places = (drawn % in_epoch * self.batch)[:, None] + np.arange(self.batch)
        epochs = drawn // in_epoch
        found = np.empty(places.shape, np.int32)
        for epoch in np.unique(epochs):
            is_now = epochs == epoch
            found[is_now] = self.pool[self.order(int(epoch))[places[is_now]]]
        return found.reshape(count, self.steps, self.batch)

    def batches(self, first: int, count: int) -> HostFields:
        """The fields of `count` iterations, `[count, steps, batch, *dimensions]`."""
        rows = self.rows(first, count)
        return {name: np.take(field, rows, axis=0) for name, field in self.fields.items()}


Feeder: TypeAlias = Callable[[Mapping[str, HostStream]], Blocks]
"""Makes blocks of every stream's batches."""


def host_streams(
    plan: Plan, data: Data, explore: Mapping[str, np.ndarray]
) -> dict[str, HostStream]:
    """Every stream of a run by the plan's seed, under its name.

    data      pools, and how many examples explore has
    explore   its fields, on the host
    """
    key = jax.random.key(plan.seed)
    # A roll-out evaluates what its losses share on every stream, whichever of them reads it; and
    # an augmentation may mix the labels of a loss that doesn't read the augmented field.
    losses = [candidate.loss for candidate in plan.descents]
    read = fields_of(*losses, *(candidate.objective.value for candidate in plan.evolutions))
    augmented = [each.field for each in plan.data.augmented]
    columns = [*read, *augmented, *(f"{field} {KNOWN}" for field in read)]
    found = {}
    for name, stream in stream_plans(plan).items():
        count = count_of(data, stream.pool)
        pool = np.asarray(data.pools[stream.pool]) if stream.pool else np.arange(count)
        found[name] = HostStream(
            {column: explore[column] for column in columns if column in explore},
            pool.astype(np.int32),
            lru_cache(maxsize=2)(partial(_order, named(key, "batches", name), count)),
            min(stream.batch, count),
            stream.steps,
        )
    return found


_shuffled = jax.jit(streams.order, static_argnums=2)


def _order(key: jax.Array, count: int, epoch: int) -> np.ndarray:
    return np.asarray(_shuffled(key, np.int32(epoch), count))
