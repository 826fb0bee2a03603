"""Which examples speak together: whole groups, or blocks of time, as the units of evidence.

Examples of one patient, or of one week, are alike, so that their number says little about how much
is known. A unit is what is drawn independently: its gains are summed, and tests, bets, resamples
and standard errors count units. Without groups every example is a unit of its own.

In a test a unit is worth the sum of its examples' excess over the most examples that a unit counts
with, which lies in [-1, 1] and has mean 0 or less where the model is no better: the bets of
`backend.betting` are exact for it. The most is that of explore and assess, which know nothing of
adapt. A larger unit on adapt counts as its mean, with the weight of that many examples; that is the
only way in which the mean over such units differs from the mean over examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs
import jax
import jax.numpy as jnp
import numpy as np

from ev3lang.backend.arithmetic import in_own_unit
from ev3lang.backend.pytree import pytree
from ev3lang.plan.plan import Split

Array: TypeAlias = jax.Array


@pytree
@attrs.frozen(eq=False)
class Units:
    """The units of one split.

    of       [B] int32 in [0, U), each example's unit
    sizes    [U] float32, examples of each unit, at least 1
    most     [] float32, the examples that a unit counts with at most
    order    [B] int32, the rows unit by unit
    begins   [U] int32, where each unit begins in `order`
    """

    of: Array
    sizes: Array
    most: Array
    order: Array
    begins: Array

    @property
    def count(self) -> int:
        """How many units there are."""
        return int(self.sizes.shape[0])

    @property
    def effective(self) -> Array:
        """How many units of one size say as much, [] float32: fewer than there are if uneven.

        Source: Kish (1965), Survey Sampling, section 11.2C.
        """
        return jnp.square(jnp.sum(self.sizes)) / jnp.sum(jnp.square(self.sizes))


@attrs.frozen(eq=False)
class Sample:
    """Examples that something is measured on, and the units among them; None: each example."""

    fields: dict[str, Array]  # [B, *dimensions] each
    units: Units | None = None

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return len(next(iter(self.fields.values())))

    @property
    def count(self) -> int:
        """How many units there are."""
        return self.examples if self.units is None else self.units.count

    @property
    def effective(self) -> Array:
        """How many units of one size say as much, [] float32."""
        return jnp.float32(self.examples) if self.units is None else self.units.effective


def numbers(split: Split | None, table: Mapping[str, Any]) -> np.ndarray | None:
    """Each example's unit, [B] int32 counted from 0; None where every example is its own.

    table   a split's fields as they were read, in the split's order
    Blocks of time are consecutive examples, at least as many as the spec says, cut where the time
    changes; what is left at the end goes with the last block.
    """
    if split is None or split.by is None or not split.has_units:
        return None
    by = np.asarray(table[split.by])
    if split.method == "grouped":
        return np.unique(by, return_inverse=True)[1].reshape(-1).astype(np.int32)
    assert split.block is not None, "examples in order have units where blocks are stated"
    return _blocks(by, split.block)


def _blocks(by: np.ndarray, least: int) -> np.ndarray:
    changes = np.flatnonzero(by[1:] != by[:-1]) + 1
    begins = [0]
    for place in changes.tolist():
        if place - begins[-1] >= least:
            begins.append(place)
    if len(begins) > 1 and len(by) - begins[-1] < least:
        begins.pop()
    starts = np.zeros(len(by), np.int32)
    starts[begins[1:]] = 1
    return np.cumsum(starts, dtype=np.int32)


def of_splits(split: Split | None, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Units]:
    """The units of every split but explore; none where every example is its own.

    tables   of all splits, explore too, whose largest unit counts
    """
    found = {use: numbers(split, table) for use, table in tables.items()}
    each = {use: number for use, number in found.items() if number is not None}
    if not each:
        return {}
    most = max(int(np.bincount(each[use]).max()) for use in ("explore", "assess"))
    return {use: units(number, most) for use, number in each.items() if use != "explore"}


def units(of: np.ndarray, most: int | None = None) -> Units:
    """Units by each example's number, [B] int in [0, U) of which none is left out."""
    sizes = np.bincount(of)
    assert sizes.min() > 0, "every unit has an example"
    return Units(
        jnp.asarray(of, jnp.int32),
        jnp.asarray(sizes, jnp.float32),
        jnp.float32(sizes.max() if most is None else most),
        jnp.asarray(np.argsort(of, kind="stable"), jnp.int32),
        jnp.asarray(np.concatenate([[0], np.cumsum(sizes)[:-1]]), jnp.int32),
    )


def sums(units: Units | None, values: Array) -> Array:
    """The sum of each unit's values, `[..., U]` of `[..., B]`."""
    if units is None:
        return values
    by_example = jnp.moveaxis(values, -1, 0)
    return jnp.moveaxis(jax.ops.segment_sum(by_example, units.of, units.count), 0, -1)


def worth(units: Units | None, excess: Array) -> Array:
    """What each unit is worth in a test, `[..., U]` float32 in [-1, 1].

    excess   [..., B] float32 in [-1, 1], what each example is worth
    """
    if units is None:
        return excess
    return sums(units, excess) / jnp.maximum(units.sizes, units.most)


def standard_error(units: Units | None, values: Array) -> Array:
    """Of the mean over examples, [...] float32 of `[..., B]`.

    With units it is that of a ratio, the sum of values over the number of examples, linearised:
    each unit deviates by its sum less what the mean would give its size. Source: Cochran (1977),
    Sampling Techniques, 3rd edition, section 6.3.
    """
    examples = values.shape[-1]
    # in a unit of their own, so that squares of small values are not 0, nor those of large infinite
    values, unit = in_own_unit(values, -1)
    if units is None:
        return unit[..., 0] * jnp.std(values, axis=-1) / float(np.sqrt(max(examples - 1, 1)))
    mean = jnp.mean(values, axis=-1, keepdims=True)
    deviations = sums(units, values - mean)
    spread = jnp.sum(jnp.square(deviations), axis=-1)
    deviation = jnp.sqrt(spread * (units.count / max(units.count - 1, 1)))
    return unit[..., 0] * deviation / examples


def resampled(sample: Sample, key: Array, resamples: int) -> Array:
    """Rows of resampled sets, `[resamples, examples]` int32.

    Whole units are drawn with replacement until they fill a set; the last is cut to fit.
    """
    units, examples = sample.units, sample.examples
    drawn = jax.random.randint(key, (resamples, examples), 0, sample.count)
    return drawn if units is None else jax.vmap(lambda each: _filled(units, each))(drawn)


def _filled(units: Units, drawn: Array) -> Array:
    """The rows of units one after the other, [B] int32.

    drawn   [B] int32, more units than fill the set
    """
    ends = jnp.cumsum(units.sizes[drawn].astype(jnp.int32))
    places = jnp.arange(len(drawn))
    at = jnp.searchsorted(ends, places, side="right")
    unit = drawn[at]
    inside = places - (ends[at] - units.sizes[unit].astype(jnp.int32))
    return units.order[units.begins[unit] + inside]
