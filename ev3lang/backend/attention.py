"""Sequences of tokens: embeddings, attention and the blocks of a transformer.

Sequences are [B, T] tokens or [B, T, width] vectors; `Pass.mask` says which places are no padding.
"""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from ev3lang.backend.norms import LayerNorm
from ev3lang.backend.passes import Pass

UNSEEN = -1e30
"""The score of a place that isn't looked at: its weight is 0 beside any real one."""

EPSILON = 1e-6
"""What keeps layer norm from a division by zero, as in flax."""


class Embed(nnx.Module):
    """A learned vector for each token; padding, a token below 0, is a vector of zeros."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, width: int, tokens: int) -> None:
        del shape
        self.table = nnx.Embed(tokens, width, rngs=rngs)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        del pass_
        # Not by the call: flax computes it in what the table was made in, whatever it is now.
        vectors = self.table.embedding[...][jnp.maximum(x, 0)]
        return jnp.where(x[..., None] >= 0, vectors, 0)


class Attention(nnx.Module):
    """Self-attention with several heads: each place takes a weighted mean of all places.

    A place that is padding is given to none; with `causal`, none is given a later one. Scores and
    their softmax are float32 at least.
    Source: Vaswani et al. (2017), arXiv:1706.03762, section 3.2.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        rngs: nnx.Rngs,
        *,
        heads: int,
        causal: bool,
        is_rotary: bool = False,
    ) -> None:
        width = shape[-1]
        self.heads, self.causal, self.is_rotary = heads, causal, is_rotary
        self.query = nnx.Linear(width, width, rngs=rngs)
        self.key = nnx.Linear(width, width, rngs=rngs)
        self.value = nnx.Linear(width, width, rngs=rngs)
        self.output = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        batch, length, width = x.shape
        depth = width // self.heads

        def heads(layer: nnx.Linear) -> Array:
            return layer(x).reshape(batch, length, self.heads, depth)

        query, key, value = heads(self.query), heads(self.key), heads(self.value)
        if self.is_rotary:
            query, key = rotated(query), rotated(key)
        wide = jnp.promote_types(x.dtype, jnp.float32)
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=wide)
        scores = scores / math.sqrt(depth)
        seen = _seen(length, pass_.mask, self.causal)
        if seen is not None:
            # A finite number: a row of padding alone would have no softmax otherwise.
            scores = jnp.where(seen, scores, UNSEEN)
        weights = jax.nn.softmax(scores, axis=-1).astype(x.dtype)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value)
        return self.output(mixed.reshape(batch, length, width))


def _seen(length: int, mask: Array | None, causal: bool) -> Array | None:
    """[B or 1, 1, T or 1, T] bool: which places (last) each place (before it) may look at."""
    seen = None if mask is None else mask[:, None, None, :]
    if causal:
        before = jnp.tril(jnp.ones((length, length), bool))[None, None]
        seen = before if seen is None else seen & before
    return seen


ROTATION_BASE = 10_000.0


def rotated(x: Array) -> Array:
    """Each pair of numbers turned by its place times a frequency of the pair's own.

    x         [B, T, heads, depth]; number i goes with number i + depth / 2
    returns   the same shape; products of two places' vectors depend on their distance alone
    Source: Su et al. (2021), arXiv:2104.09864, section 3.2.
    """
    half = x.shape[-1] // 2
    wide = jnp.promote_types(x.dtype, jnp.float32)
    frequency = ROTATION_BASE ** (-jnp.arange(half, dtype=wide) / half)
    angle = jnp.arange(x.shape[1], dtype=wide)[:, None] * frequency
    cos, sin = jnp.cos(angle)[:, None, :], jnp.sin(angle)[:, None, :]
    first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    turned = (first * cos - second * sin, first * sin + second * cos)
    return jnp.concatenate([*(each.astype(x.dtype) for each in turned), rest], axis=-1)


class Transformer(nnx.Module):
    """Blocks of attention and two dense layers, each added to what it was given, normed before.

    A layer norm ends it. Learned positions are added first; rotary ones turn queries and keys.
    Dropout acts on what attention and the dense layers give. `block_0`, `block_1`, ... Parameters:
    each block has 4 (width + 1) width of attention, (width + 1) feed_forward +
    (feed_forward + 1) width, and two norms of 2 width; the last norm 2 width; learned positions
    T width. Source: Vaswani et al. (2017), arXiv:1706.03762; norms before: Xiong et al. (2020),
    arXiv:2002.04745.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        rngs: nnx.Rngs,
        *,
        layers: int,
        heads: int,
        width: int,
        feed_forward: int | None,
        causal: bool,
        positions: Literal["learned", "rotary"],
        dropout: float,
    ) -> None:
        is_rotary = positions == "rotary"
        self.is_rotary = is_rotary
        if not is_rotary:
            draw = jax.nn.initializers.normal(0.02)
            self.positions = nnx.Param(draw(rngs.params(), (shape[0], width)))
        self.names = tuple(f"block_{place}" for place in range(layers))
        between = 4 * width if feed_forward is None else feed_forward
        for name in self.names:
            setattr(self, name, Block(shape, rngs, heads, between, causal, is_rotary, dropout))
        self.norm = LayerNorm(shape, rngs, epsilon=EPSILON)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        if not self.is_rotary:
            x = x + self.positions[...]
        for place, name in enumerate(self.names):
            x = getattr(self, name)(x, pass_.at(place))
        return self.norm(x, pass_)


class Block(nnx.Module):
    """Attention, then two dense layers with gelu between them, each around its input."""

    def __init__(
        self,
        shape: tuple[int, ...],
        rngs: nnx.Rngs,
        heads: int,
        between: int,
        causal: bool,
        is_rotary: bool,
        dropout: float,
    ) -> None:
        width = shape[-1]
        self.first_norm = LayerNorm(shape, rngs, epsilon=EPSILON)
        self.attention = Attention(shape, rngs, heads=heads, causal=causal, is_rotary=is_rotary)
        self.second_norm = LayerNorm(shape, rngs, epsilon=EPSILON)
        self.up = nnx.Linear(width, between, rngs=rngs)
        self.down = nnx.Linear(between, width, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        attended = self.attention(self.first_norm(x, pass_), pass_)
        x = x + self._dropped(attended, pass_.at(0))
        y = self.down(jax.nn.gelu(self.up(self.second_norm(x, pass_))))
        return x + self._dropped(y, pass_.at(1))

    def _dropped(self, x: Array, pass_: Pass) -> Array:
        key = pass_.dropout_key
        return self.dropout(x, deterministic=key is None, rngs=key)
