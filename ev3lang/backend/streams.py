"""Batches drawn in the program: rows of a finite split by shuffled epochs, or fresh examples."""

from __future__ import annotations

from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import expressions, sources
from ev3lang.backend.keys import named
from ev3lang.backend.pytree import pytree
from ev3lang.plan.plan import DataPlan

Array: TypeAlias = jax.Array
Fields: TypeAlias = dict[str, Array]
"""Each field's examples, `[B, *dimensions]`."""


@pytree
@attrs.frozen(eq=False)
class Stream:
    """Where the batches of one consumer stand: in a shuffled epoch of its split."""

    permutation: Array  # [N] int32, the epoch's order of the split's rows
    cursor: Array  # [] int32, rows of it already drawn
    epoch: Array  # [] int32, from 0


def start(key: Array, count: int) -> Stream:
    """The stream over `count` rows at the start of its first epoch."""
    zero = jnp.int32(0)
    return Stream(permutation=_shuffle(key, zero, count), cursor=zero, epoch=zero)


def draw(stream: Stream, key: Array, *, batch: int, steps: int) -> tuple[Stream, Array]:
    """The rows of the next `steps` batches.

    key       [] the stream's own, the same at every call; epoch e is shuffled by (key, e)
    returns   the stream behind them, and [steps, batch] int32 rows of the split

    An epoch ends where less than a batch is left of it. Only the order is carried through the
    `cond`, outside the roll-out that reads the rows: one that carried weights would copy them
    every step, and a shuffle in every step would cost more than a small net's gradient.
    """
    count = stream.permutation.shape[0]
    assert batch <= count, f"a batch of {batch} from {count} examples passed the checks"

    def next_epoch(stream: Stream) -> Stream:
        epoch = stream.epoch + 1
        return Stream(_shuffle(key, epoch, count), jnp.int32(0), epoch)

    def one_batch(stream: Stream, _: None) -> tuple[Stream, Array]:
        is_over = stream.cursor + batch > count
        stream = jax.lax.cond(is_over, next_epoch, lambda same: same, stream)
        rows = jax.lax.dynamic_slice_in_dim(stream.permutation, stream.cursor, batch)
        return attrs.evolve(stream, cursor=stream.cursor + batch), rows

    return jax.lax.scan(one_batch, stream, length=steps)


def _shuffle(key: Array, epoch: Array, count: int) -> Array:
    return jax.random.permutation(named(key, epoch), count).astype(jnp.int32)


def gather(fields: Fields, rows: Array) -> Fields:
    """The rows of every field: `[..., *dimensions]` for rows `[...]`."""
    # Rows come from a permutation, so none is out of bounds and none needs to be checked.
    return {name: field.at[rows].get(mode="promise_in_bounds") for name, field in fields.items()}


def fresh(data: DataPlan, key: Array, count: int) -> Fields:
    """`count` new examples of an endless source, derived and normalised as the plan says."""
    fields = sources.draw(data.source, key, count, data.options)
    for derived in data.derived:
        fields[derived.name] = expressions.evaluate(derived.value, fields)
    for normalized in data.normalized:
        # An endless source has no explore split to measure: the spec states both.
        assert normalized.mean is not None
        assert normalized.std is not None
        value = fields[normalized.field] - jnp.asarray(normalized.mean, jnp.float32)
        fields[normalized.field] = value / jnp.asarray(normalized.std, jnp.float32)
    return fields


def examples(data: DataPlan, split: Fields, key: Array, *draw: str | Array) -> Fields:
    """What a split is measured on: all of a finite one, else a fresh draw.

    key, draw   the run's key and what the draw is named by: the split, and an iteration
    """
    if not data.is_endless:
        return split
    assert data.evaluate is not None, f"{data.name} is endless and has no evaluation draw"
    return fresh(data, named(key, *draw), data.evaluate * data.batch)
