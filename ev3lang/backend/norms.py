"""Layers that bring numbers to mean 0 and variance 1: along one example, or over a batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from ev3lang.backend.passes import Pass

STATISTICS = "statistics"
"""The name under which a layer keeps what it has seen, apart from what it learns."""

BATCH_NORM_EPSILON = 1e-5
"""What keeps a channel that doesn't vary from a division by zero, as in flax."""


class LayerNorm(nnx.Module):
    """Mean 0 and variance 1 along the last axis, then a learned scale and bias."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, epsilon: float) -> None:
        # The fast variance, mean of squares less square of the mean, loses all digits of inputs
        # that are large and close together.
        self.norm = nnx.LayerNorm(shape[-1], epsilon=epsilon, use_fast_variance=False, rngs=rngs)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        del pass_
        return self.norm(x)


class GroupNorm(nnx.Module):
    """Mean 0 and variance 1 of each group of channels, then a learned scale and bias of each."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, groups: int) -> None:
        # As in `LayerNorm`: the fast variance loses digits.
        self.norm = nnx.GroupNorm(shape[-1], groups, use_fast_variance=False, rngs=rngs)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        del pass_
        return self.norm(x)


class BatchNorm(nnx.Module):
    """Mean 0 and variance 1 of each channel, then a learned scale and bias of each.

    In training the mean and variance are the batch's own, over examples and places, and the
    running ones keep `momentum` of themselves and take the rest from it; else they are the
    running ones. All of that is in float32 at least. Source: Ioffe and Szegedy (2015),
    arXiv:1502.03167; variances are those of the batch, not corrected for its size, as in flax.
    """

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, momentum: float) -> None:
        del rngs
        self.momentum = momentum
        self.scale = nnx.Param(jnp.ones(shape[-1]))
        self.bias = nnx.Param(jnp.zeros(shape[-1]))
        self.statistics = Statistics(shape[-1])

    def __call__(self, x: Array, pass_: Pass) -> Array:
        mean, var = self.statistics.mean[...], self.statistics.var[...]
        if pass_.is_training:
            wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
            axes = tuple(range(x.ndim - 1))
            batch_mean = jnp.mean(wide, axes)
            batch_var = jnp.mean(jnp.square(wide - batch_mean), axes)
            keep = self.momentum
            self.statistics.mean[...] = keep * mean + (1 - keep) * batch_mean
            self.statistics.var[...] = keep * var + (1 - keep) * batch_var
            mean, var = batch_mean, batch_var
        scale = self.scale[...] * jax.lax.rsqrt(var + BATCH_NORM_EPSILON)
        return ((x - mean) * scale + self.bias[...]).astype(x.dtype)


class Statistics(nnx.Module):
    """Running mean and variance of each channel: nothing descends them."""

    def __init__(self, channels: int) -> None:
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.var = nnx.BatchStat(jnp.ones(channels))
