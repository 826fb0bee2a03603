"""How a roll-out holds weights: small nets as one vector, large ones as they are."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax.flatten_util import ravel_pytree

from ev3lang.backend.state import Params, PyTree

FLAT_BELOW = 10_000
"""Weights below which one vector pays.

An optimizer's step is then one operation for a net rather than one for each of its arrays: fewer
to start, and fewer to compile (of four candidates' iteration 0.9 s of 2.3). A large net would
only be copied once more a step.
"""


def held(params: Params) -> tuple[PyTree, Callable[[PyTree], Params]]:
    """The weights as a roll-out holds them, and the way back."""
    if sum(leaf.size for leaf in jax.tree.leaves(params)) < FLAT_BELOW:
        return ravel_pytree(params)
    return params, lambda same: same
