"""Operators and elementary functions on batches.

Values of one example stand along the first axis. Where ranks differ, the value with fewer axes is
aligned on the left and repeated along the axes that it lacks: [B] beside [B, D] is one number for
each row. A number without axes goes with everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

MOST_INT32 = 2**31 - 1
"""The largest whole number of an array; a larger one is a float32, infinite beyond 3.4e38."""


def align(left: ArrayLike, right: ArrayLike) -> tuple[Array, Array]:
    """Both values with one rank, new axes at the end, ready to be broadcast.

    left, right   [], [B] or [B, ...]
    """
    left, right = _number(left), _number(right)
    rank = max(left.ndim, right.ndim)
    return _with_rank(left, rank), _with_rank(right, rank)


def _with_rank(value: Array, rank: int) -> Array:
    if value.ndim in (0, rank):
        return value
    return value.reshape(value.shape + (1,) * (rank - value.ndim))


def _number(value: ArrayLike) -> Array:
    """The value as one to calculate with: bool counts as 0 or 1, u8 must not wrap around.

    A whole number of more than 32 bits is a real.
    """
    if isinstance(value, int) and not -(2**31) <= value < 2**31:
        value = float(value)
    if isinstance(value, int) and abs(value) > MOST_INT32:
        return jnp.asarray(float(value), jnp.float32)
    value = jnp.asarray(value)
    if value.dtype in (jnp.bool_, jnp.uint8):
        return value.astype(jnp.int32)
    return value


def _real(value: ArrayLike) -> Array:
    value = _number(value)
    return value if jnp.issubdtype(value.dtype, jnp.floating) else value.astype(jnp.float32)


def add(left: ArrayLike, right: ArrayLike) -> Array:
    """left + right."""
    return jnp.add(*align(left, right))


def subtract(left: ArrayLike, right: ArrayLike) -> Array:
    """left - right."""
    return jnp.subtract(*align(left, right))


def difference(left: ArrayLike, right: ArrayLike) -> Array:
    """left - right as a real: of whole numbers too, whose own difference could wrap around."""
    left, right = align(left, right)
    if jnp.issubdtype(left.dtype, jnp.integer) and jnp.issubdtype(right.dtype, jnp.integer):
        # halves of 16 bits are exact as float32, and their sum is rounded once
        high = ((left >> 16) - (right >> 16)).astype(jnp.float32)
        return high * 65536 + ((left & 0xFFFF) - (right & 0xFFFF)).astype(jnp.float32)
    return jnp.subtract(left, right)


def multiply(left: ArrayLike, right: ArrayLike) -> Array:
    """left * right."""
    return jnp.multiply(*align(left, right))


def divide(left: ArrayLike, right: ArrayLike) -> Array:
    """left / right, a real number for whole ones too."""
    return jnp.true_divide(*align(left, right))


def power(base: ArrayLike, exponent: ArrayLike) -> Array:
    """base ^ exponent.

    A whole exponent that is known now becomes multiplications: exact, with a gradient at 0, and a
    whole number where the base is one and the exponent not negative. All else is real.
    """
    if isinstance(exponent, float) and exponent.is_integer():
        exponent = int(exponent)
    if isinstance(exponent, int):
        return jnp.power(_number(base) if exponent >= 0 else _real(base), exponent)
    base, exponent = align(base, exponent)
    return jnp.power(_real(base), _real(exponent))


def mod(left: ArrayLike, right: ArrayLike) -> Array:
    """left mod right, with the sign of right."""
    return jnp.mod(*align(left, right))


def negate(value: ArrayLike) -> Array:
    """-value."""
    return jnp.negative(_number(value))


def equal(left: ArrayLike, right: ArrayLike) -> Array:
    """Whether both are equal, bool."""
    return jnp.equal(*align(left, right))


def not_equal(left: ArrayLike, right: ArrayLike) -> Array:
    """Whether both differ, bool."""
    return jnp.not_equal(*align(left, right))


def less(left: ArrayLike, right: ArrayLike) -> Array:
    """left < right, bool."""
    return jnp.less(*align(left, right))


def less_equal(left: ArrayLike, right: ArrayLike) -> Array:
    """left <= right, bool."""
    return jnp.less_equal(*align(left, right))


def greater(left: ArrayLike, right: ArrayLike) -> Array:
    """left > right, bool."""
    return jnp.greater(*align(left, right))


def greater_equal(left: ArrayLike, right: ArrayLike) -> Array:
    """left >= right, bool."""
    return jnp.greater_equal(*align(left, right))


def is_in(label: ArrayLike, classes: ArrayLike) -> Array:
    """Whether a label is one of an example's classes.

    label     [B] int32
    classes   [B, k] int32, as `top_k` gives them
    returns   [B] bool
    """
    return jnp.any(equal(label, classes), axis=-1)


def both(left: ArrayLike, right: ArrayLike) -> Array:
    """left and right, bool."""
    return jnp.logical_and(*align(left, right))


def either(left: ArrayLike, right: ArrayLike) -> Array:
    """left or right, bool."""
    return jnp.logical_or(*align(left, right))


def negation(value: ArrayLike) -> Array:
    """not value, bool."""
    return jnp.logical_not(value)


def clip(x: ArrayLike, *, low: ArrayLike, high: ArrayLike) -> Array:
    """x where it is between low and high, else the nearer of both."""
    return jnp.clip(_real(x), low, high)


def absolute(x: ArrayLike) -> Array:
    """The size of x, without its sign."""
    return jnp.abs(_number(x))


def exp(x: ArrayLike) -> Array:
    """e to the power of x."""
    return jnp.exp(_real(x))


def log(x: ArrayLike) -> Array:
    """The natural logarithm: -inf at 0, NaN below."""
    return jnp.log(_real(x))


def sqrt(x: ArrayLike) -> Array:
    """The square root: NaN below 0."""
    return jnp.sqrt(_real(x))


def nearest(x: ArrayLike) -> Array:
    """The nearest whole number, of two equally near ones the even one; its gradient is 0."""
    return jax.lax.stop_gradient(jnp.round(_real(x)))


def minimum(x: ArrayLike, y: ArrayLike) -> Array:
    """The lesser of both."""
    return jnp.minimum(*align(x, y))


def maximum(x: ArrayLike, y: ArrayLike) -> Array:
    """The greater of both."""
    return jnp.maximum(*align(x, y))


def mean(x: ArrayLike) -> Array:
    """The mean over an example's own dimensions: [B, ...] -> [B]."""
    x = _real(x)
    return jnp.mean(x, axis=tuple(range(1, x.ndim)))


def total(x: ArrayLike) -> Array:
    """The sum over an example's own dimensions: [B, ...] -> [B]."""
    x = _real(x)
    return jnp.sum(x, axis=tuple(range(1, x.ndim)))


def power_of_two(size: Array) -> Array:
    """The power of two in (size / 2, size], by which division is exact; 1 where there is none.

    size   [...] float32, at least 0
    """
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(size), jnp.int32)
    power = jax.lax.bitcast_convert_type(bits & jnp.int32(0x7F800000), jnp.float32)
    return jnp.where((power > 0) & jnp.isfinite(power), power, 1)


def in_own_unit(values: Array, axis: int) -> tuple[Array, Array]:
    """Values over a power of two, so that the largest of an axis is in [1, 2): squares stay finite.

    values    [...] float32
    returns   [...] and the units, with that axis of length 1
    """
    unit = power_of_two(jnp.max(jnp.abs(values), axis=axis, keepdims=True))
    return values / unit, unit


TABLE: Mapping[str, Callable[..., Array]] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "^": power,
    "mod": mod,
    "negate": negate,
    "==": equal,
    "!=": not_equal,
    "<": less,
    "<=": less_equal,
    ">": greater,
    ">=": greater_equal,
    "in": is_in,
    "and": both,
    "or": either,
    "not": negation,
    "clip": clip,
    "abs": absolute,
    "exp": exp,
    "log": log,
    "sqrt": sqrt,
    "round": nearest,
    "min": minimum,
    "max": maximum,
    "mean": mean,
    "sum": total,
}
