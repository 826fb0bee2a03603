"""The bootstrap: what a set's value would be on other sets of as many examples.

It is an approximation, and the tests that rest on it promise their level only about. Whole units
are drawn (`backend.units`): groups, blocks of time, or single examples. Of few of them a resample
spreads too little, so what it tells of the tail is widened as Student's distribution is wider than
the normal one. Sources: Efron (1979), Annals of Statistics 7:1-26; Hesterberg (2015), American
Statistician 69:371-386, the expanded percentile interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from ev3lang.backend import expressions, gate, units
from ev3lang.backend.arithmetic import power_of_two
from ev3lang.backend.expressions import Memo, Networks
from ev3lang.backend.streams import Fields
from ev3lang.backend.units import Sample
from ev3lang.check.bounds import MOST_RESAMPLES, TAIL
from ev3lang.plan.plan import Expr

Array: TypeAlias = jax.Array
Difference: TypeAlias = Callable[[Array], Array]
"""From rows `[B]` of a set to the difference of two models' values on them, `[]`."""

RESAMPLES = 100
"""For a standard error."""

_TOGETHER = 32
"""Resamples that are evaluated side by side: more of them only take memory."""


def difference(
    value: Expr, fields: Fields, first: Networks, second: Networks, factor: float = 1.0
) -> Difference:
    """The first model's value less `factor` times the second's, as a function of rows.

    Models are applied once: a resample takes rows of their outputs.
    """
    applications = expressions.applications([value], first.plans)

    def outputs(networks: Networks) -> Memo:
        memo: Memo = {}
        for each in applications:
            expressions.evaluate(each, fields, networks, memo)
        return {each: memo[each] for each in applications}

    def on(rows: Array, networks: Networks, memo: Memo) -> Array:
        drawn = {name: field[rows] for name, field in fields.items()}
        known = {expr: output[rows] for expr, output in memo.items()}
        return jnp.asarray(expressions.evaluate(value, drawn, networks, known), jnp.float32)

    one = outputs(first)
    if factor == 0:
        return lambda rows: on(rows, first, one)
    other = outputs(second)
    return lambda rows: on(rows, first, one) - factor * on(rows, second, other)


def standard_error(difference: Difference, key: Array, sample: Sample) -> Array:
    """The standard deviation of a difference over resampled sets, [] float32.

    A resample on which the value is undefined doesn't count; NaN where it is on all.
    """
    rows = units.resampled(sample, key, RESAMPLES)
    found = jax.vmap(difference)(rows)
    unit = power_of_two(jnp.nanmax(jnp.abs(found)))
    return unit * jnp.nanstd(found / unit, ddof=1) * _of_few(sample.effective)


def _of_few(count: Array) -> Array:
    """How much further a sample's own deviation is than that of its resamples."""
    return jnp.sqrt(count / jnp.maximum(count - 1, 1))


def widening(count: Array, log_level: Array) -> Array:
    """How much further than resamples a difference of so many units lies at a level, [] float32.

    The quantile of Student's distribution over the normal one, by the first terms of Fisher's
    expansion, times the correction of the deviation. Source: Abramowitz and Stegun (1964), 26.7.5.
    """
    freedom = jnp.maximum(count - 1, 1)
    square = jnp.square(gate.upper_quantile(jnp.minimum(log_level, math.log(0.5))))
    first = (square + 1) / (4 * freedom)
    second = (5 * jnp.square(square) + 16 * square + 3) / (96 * freedom**2)
    return _of_few(count) * (1 + first + second)


def is_affordable(log_level: Array) -> Array:
    """Whether a test at this level needs no more resamples than it may take, [] bool."""
    return log_level >= math.log(TAIL / MOST_RESAMPLES)


def log_p(
    difference: Difference,
    key: Array,
    sample: Sample,
    gained: Array,
    margin: float,
    log_level: Array,
    sign: int,
) -> Array:
    """log of the share of resamples whose gain isn't above the margin, [] float32 in nats.

    gained   [] float32, the gain on the sample, from which those of resamples are widened
    sign     1 where more is better, -1 where less is: a gain is `sign * difference`
    It takes 20 over the level of them, and ends as soon as too many have missed: the share is
    then above the level, which is all that a test asks. A value that is undefined on a resample
    counts as a miss.
    """
    level = jnp.exp(log_level)
    wanted = jnp.minimum(jnp.ceil(TAIL / level), MOST_RESAMPLES)
    most_misses = level * (wanted + 1) - 1
    width = widening(sample.effective, log_level)

    def goes_on(carry: tuple[Array, Array]) -> Array:
        done, misses = carry
        return (done < wanted) & (misses <= most_misses)

    def some_more(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        done, misses = carry
        drawn = jax.random.fold_in(key, done.astype(jnp.int32))
        rows = units.resampled(sample, drawn, _TOGETHER)
        gains = gained + width * (sign * jax.vmap(difference)(rows) - gained)
        is_gain = gains > margin
        # the last draw may be more than is wanted
        is_counted = done + jnp.arange(_TOGETHER) < wanted
        return done + _TOGETHER, misses + jnp.sum(~is_gain & is_counted)

    start = (jnp.float32(0), jnp.float32(0))
    done, misses = jax.lax.while_loop(goes_on, some_more, start)
    return jnp.log((misses + 1) / (jnp.minimum(done, wanted) + 1))
