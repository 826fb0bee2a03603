"""Fronts: what none is better than in every respect. P keys, all so that more is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp

from ev3lang.backend.state import Front, Params
from ev3lang.plan.plan import ObjectivePlan

Array: TypeAlias = jax.Array

PLACES = 8
"""Models that a front keeps: of more, those with the largest hypervolume."""


def is_on_front(points: Array, alive: Array) -> Array:
    """Which of K points no other that is alive dominates, `[K]` bool.

    points   [K, P] float32
    alive    [K] bool
    One dominates another where it is at least as good in every key and better in one.
    """
    at_least = jnp.all(points[:, None] >= points[None], axis=-1)
    better = jnp.any(points[:, None] > points[None], axis=-1)
    dominates = at_least & better & alive[:, None]
    return alive & ~jnp.any(dominates, axis=0)


def worst(keys: Sequence[ObjectivePlan], points: Array, alive: Array) -> Array:
    """The corner that hypervolumes are measured from, `[P]`: the worst that is known or seen.

    A value that lies beyond a stated range is the worst seen; from the range's end its volume
    would be 0, whatever else it is best in.
    """
    seen = jnp.min(jnp.where(alive[:, None], points, jnp.inf), axis=0)
    return jnp.stack(
        [
            seen[place]
            if key.range is None
            else jnp.minimum(seen[place], min(key.sign * bound for bound in key.range))
            for place, key in enumerate(keys)
        ]
    )


def volumes(points: Array, corner: Array) -> Array:
    """The hypervolume between each point and the corner, `[K]` float32, >= 0.

    Source: Zitzler and Thiele (1999), IEEE Trans. Evol. Comput. 3:257-271.
    """
    return jnp.prod(jnp.maximum(points - corner, 0.0), axis=-1)


def start(current: Params, keys: int) -> Front:
    """A front without members."""
    return Front(
        params=jax.tree.map(lambda leaf: jnp.stack([leaf] * PLACES), current),
        scores=jnp.zeros((PLACES, keys), jnp.float32),
        iteration=jnp.zeros(PLACES, jnp.int32),
        is_filled=jnp.zeros(PLACES, bool),
        is_here=jnp.ones(PLACES, bool),
    )


def joined(
    front: Front,
    keys: Sequence[ObjectivePlan],
    weights: Params,
    scores: Array,
    may_join: Array,
    iteration: Array,
) -> Front:
    """The front with one more model, if none of its members dominates it.

    scores    [P] float32, as measured: a key's own sign is not turned yet
    may_join  [] bool
    """
    signs = jnp.asarray([key.sign for key in keys], jnp.float32)
    points = signs * jnp.concatenate([front.scores, scores[None]])
    alive = jnp.append(front.is_filled, may_join)
    stays = is_on_front(points, alive)
    # a member that another equals in everything is the one that came first
    is_known = jnp.any(jnp.all(points[:-1] == points[-1], axis=-1) & front.is_filled)
    stays = stays.at[-1].set(stays[-1] & ~is_known)
    standing = jnp.where(stays, volumes(points, worst(keys, points, alive)), -jnp.inf)
    least = jnp.argmin(standing[:-1])
    takes = stays[-1] & (standing[-1] > standing[least])
    here = takes & (jnp.arange(PLACES) == least)
    return Front(
        params=jax.tree.map(
            lambda old, new: jnp.where(here.reshape(-1, *[1] * new.ndim), new[None], old),
            front.params,
            weights,
        ),
        scores=jnp.where(here[:, None], scores[None], front.scores),
        iteration=jnp.where(here, iteration, front.iteration),
        is_filled=stays[:-1] | here,
        is_here=front.is_here | here,
    )
