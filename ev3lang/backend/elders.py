"""Weights of one of several architectures: what accepted is once current has grown beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend.pytree import pytree

Array: TypeAlias = jax.Array
PyTree: TypeAlias = Any


@pytree
@attrs.frozen(eq=False)
class OneOf:
    """Weights that are of one architecture or another, in a program that is compiled for all.

    Of S models side by side every array has a leading axis S, `place` too.
    """

    params: tuple[PyTree, ...]  # of current's architecture, then of each of `Plan.elders`
    place: Array  # [] int32, which of them count; the others may be anything

    def of(self, name: str) -> OneOf:
        """One model of the group."""
        return OneOf(tuple(params[name] for params in self.params), self.place)


def is_of_current(weights: PyTree | OneOf) -> Array:
    """Whether weights have current's architecture, [] bool."""
    return weights.place == 0 if isinstance(weights, OneOf) else jnp.bool_(True)


def current_of(weights: PyTree | OneOf) -> PyTree:
    """The weights where they have current's architecture, else anything of its shape."""
    return weights.params[0] if isinstance(weights, OneOf) else weights


def among(current: PyTree, elders: Sequence[PyTree]) -> PyTree | OneOf:
    """Current's weights in the form of what may have an elder's architecture.

    elders   weights of each elder's architecture, whatever they are
    """
    return OneOf((current, *elders), jnp.int32(0)) if elders else current


def like(weights: PyTree | OneOf, current: PyTree) -> PyTree | OneOf:
    """Weights of current's architecture in the form that other weights have.

    What they don't fill is as in `weights`, so that the two can be told apart leaf by leaf.
    """
    if not isinstance(weights, OneOf):
        return current
    others = weights.params[1:]
    return OneOf((current, *others), jnp.zeros_like(weights.place))
