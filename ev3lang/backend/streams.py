"""Batches drawn in the program: rows of a finite split by shuffled epochs, or fresh examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import augmentations, expressions, sources
from ev3lang.backend.keys import named
from ev3lang.backend.pytree import pytree
from ev3lang.backend.units import Units
from ev3lang.plan.plan import DataPlan

Array: TypeAlias = jax.Array
Fields: TypeAlias = dict[str, Array]
"""Each field's examples, `[B, *dimensions]`."""

Scales: TypeAlias = Mapping[str, tuple[Array, Array]]
"""Mean and standard deviation of each field that is normalised in the program."""


@pytree
@attrs.frozen(eq=False)
class Data:
    """All that a program reads of a finite source; nothing of an endless one.

    splits   explore, assess, adapt (and report, beside the run) to their fields
    scales   of fields that are normalised in the program
    pools    by the fields that a loss needs known, the rows of explore that know them: [N] int32
    units    of assess, adapt and report, where several examples count as one
    """

    splits: dict[str, Fields]
    scales: dict[str, tuple[Array, Array]]
    pools: dict[str, Array]
    units: dict[str, Units] = attrs.Factory(dict)


@pytree
@attrs.frozen(eq=False)
class Block:
    """The batches of consecutive iterations, brought from the host."""

    begin: Array  # [] int32, iterations before the first of them
    fields: dict[str, Fields]  # each stream's, [iterations, steps, batch, *dimensions]

    def at(self, iteration: Array, stream: str) -> Fields:
        """A stream's batches in one iteration, `[steps, batch, *dimensions]`."""
        place = iteration - self.begin
        return {
            name: jax.lax.dynamic_index_in_dim(field, place, keepdims=False)
            for name, field in self.fields[stream].items()
        }


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
    return Stream(permutation=order(key, zero, count), cursor=zero, epoch=zero)


def draw(
    stream: Stream, key: Array, *, batch: int, steps: int, count: Array | None = None
) -> tuple[Stream, Array]:
    """The rows of the next `steps` batches, or of the next `count` of at most so many.

    key       [] the stream's own, the same at every call; epoch e is shuffled by (key, e)
    returns   the stream behind them, and [steps, batch] int32 rows of the split; zeros from
              `count` on

    An epoch ends where less than a batch is left of it. Only the order is carried through the
    `cond`, outside the roll-out that reads the rows: one that carried weights would copy them
    every step, and a shuffle in every step would cost more than a small net's gradient.
    """
    size = stream.permutation.shape[0]
    assert batch <= size, f"a batch of {batch} from {size} examples passed the checks"

    def next_epoch(stream: Stream) -> Stream:
        epoch = stream.epoch + 1
        return Stream(order(key, epoch, size), jnp.int32(0), epoch)

    def one_batch(stream: Stream, _: None) -> tuple[Stream, Array]:
        is_over = stream.cursor + batch > size
        stream = jax.lax.cond(is_over, next_epoch, lambda same: same, stream)
        rows = jax.lax.dynamic_slice_in_dim(stream.permutation, stream.cursor, batch)
        return attrs.evolve(stream, cursor=stream.cursor + batch), rows

    if count is None:
        return jax.lax.scan(one_batch, stream, length=steps)

    def at(step: Array, carry: tuple[Stream, Array]) -> tuple[Stream, Array]:
        stream, rows = one_batch(carry[0], None)
        return stream, carry[1].at[step].set(rows)

    return jax.lax.fori_loop(0, count, at, (stream, jnp.zeros((steps, batch), jnp.int32)))


def order(key: Array, epoch: Array, count: int) -> Array:
    """An epoch's order of `count` rows, [count] int32."""
    return jax.random.permutation(named(key, epoch), count).astype(jnp.int32)


def gather(fields: Fields, rows: Array) -> Fields:
    """The rows of every field: `[..., *dimensions]` for rows `[...]`."""
    # Rows come from a permutation, so none is out of bounds and none needs to be checked.
    return {name: field.at[rows].get(mode="promise_in_bounds") for name, field in fields.items()}


def fresh(data: DataPlan, key: Array, count: int, augment_key: Array | None = None) -> Fields:
    """`count` new examples of an endless source, derived, prepared as the plan says.

    augment_key   what augmentations draw from; None outside of exploring
    """
    fields = sources.draw(data.source, key, count, data.options)
    for derived in data.derived:
        fields[derived.name] = expressions.evaluate(derived.value, fields)
    scales: dict[str, tuple[Array, Array]] = {}
    for normalized in data.normalized:
        # An endless source has no explore split to measure: the spec states both.
        assert normalized.mean is not None
        assert normalized.std is not None
        scales[normalized.field] = (
            jnp.asarray(normalized.mean, jnp.float32),
            jnp.asarray(normalized.std, jnp.float32),
        )
    return prepared(data, fields, scales, augment_key)


def prepared(
    data: DataPlan, fields: Fields, scales: Scales, augment_key: Array | None = None
) -> Fields:
    """A batch as models take it: u8 in [0, 1], then augmented, then normalised, then mixed.

    scales        of the fields that are normalised here
    augment_key   [] of `jax.random.key`, or None: then nothing is augmented
    Fields that need nothing are given back as they are.
    """
    found = {
        name: field / jnp.float32(255) if field.dtype == jnp.uint8 else field
        for name, field in fields.items()
    }
    draws = []
    if augment_key is not None:
        draws = [(each, named(augment_key, each.field)) for each in data.augmented]
        draws = [(each, key) for each, key in draws if each.field in found]
    for each, key in draws:
        found[each.field] = augmentations.augmented(each, key, found[each.field])
    for name, (mean, std) in scales.items():
        if name in found:
            found[name] = (found[name] - mean) / std
    # Last, so that the partners' fields are as prepared as the own.
    for each, key in draws:
        found = augmentations.mixed(each, key, found)
    return found


def examples(
    data: DataPlan, split: Fields, scales: Scales, key: Array, *draw: str | Array
) -> Fields:
    """What a split is measured on: all of a finite one, else a fresh draw.

    key, draw   the run's key and what the draw is named by: the split, and an iteration
    """
    if not data.is_endless:
        return prepared(data, split, scales)
    assert data.evaluate is not None, f"{data.name} is endless and has no evaluation draw"
    return fresh(data, named(key, *draw), data.evaluate * data.batch)
