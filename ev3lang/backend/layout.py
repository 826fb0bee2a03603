"""How a roll-out holds weights: small nets as one vector, large ones as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs
import jax
from jax.flatten_util import ravel_pytree

from ev3lang.backend.models import joined, parted
from ev3lang.backend.pytree import pytree
from ev3lang.backend.state import Params, PyTree
from ev3lang.catalog.index import OPTIMIZERS
from ev3lang.plan.plan import OptimizerPlan, Plan

FLAT_BELOW = 10_000
"""Weights below which one vector pays.

An optimizer's step is then one operation for a net rather than one for each of its arrays: fewer
to start, and fewer to compile (of four candidates' iteration 0.9 s of 2.3). A large net would
only be copied once more a step.
"""


@pytree
@attrs.frozen(eq=False)
class Held:
    """The trained models' weights in a roll-out."""

    learned: PyTree  # one vector, or each model's arrays under its name: what optimizers see
    statistics: PyTree  # batch norm's running ones, which move on with every batch


def held(params: Params, chains: Iterable[OptimizerPlan]) -> tuple[Held, Callable[[Held], Params]]:
    """The weights as a roll-out with these optimizers holds them, and the way back.

    Where one of them works on each array apart, such as lamb, all stay as they are.
    """
    learned, statistics = parted(params)
    is_small = sum(leaf.size for leaf in jax.tree.leaves(learned)) < FLAT_BELOW
    if is_small and not any(works_per_array(chain) for chain in chains):
        vector, unravel = ravel_pytree(learned)
        return Held(vector, statistics), lambda held: joined(unravel(held.learned), held.statistics)
    return Held(learned, statistics), lambda held: joined(held.learned, held.statistics)


def works_per_array(chain: OptimizerPlan) -> bool:
    return chain.decays == "matrices" or any(
        OPTIMIZERS[link.name].per_array for link in chain.links
    )


def explored_chains(plan: Plan) -> list[OptimizerPlan]:
    """The optimizers whose roll-outs start from the same weights, held in the same way."""
    return [candidate.optimizer for candidate in plan.descents]
