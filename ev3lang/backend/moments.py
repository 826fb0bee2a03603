"""What optimizers keep of models that grow: averages of gradients, as of the larger arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs
import jax
import numpy as np

from ev3lang.backend import models
from ev3lang.backend.growth import Numbers, arrays, at, column, counts, put, shaped, sources
from ev3lang.backend.models import Params
from ev3lang.plan.growth.copies import SILENT, Growth, Recipe
from ev3lang.plan.growth.grown import growths
from ev3lang.plan.memory import slots
from ev3lang.plan.plan import ModelPlan, Operation, OptimizerPlan

PyTree: TypeAlias = Any

POWERS: Mapping[str, int] = {
    "mu": 1, "trace": 1, "nu": 2, "nu_max": 2, "sum_of_squares": 2,
}  # fmt: skip
"""What optax calls averages and sums of gradients, and of their squares."""

CARRIED = frozenset(
    {
        "adabelief", "adagrad", "adam", "adamw", "amsgrad", "lamb", "lion", "nadam", "nadamw",
        "radam", "rmsprop", "scale_by_adam", "scale_by_amsgrad", "scale_by_belief",
        "scale_by_lion", "scale_by_radam", "scale_by_rms", "scale_by_rss", "scale_by_stddev",
        "scale_by_yogi", "sgd", "signum", "trace", "yogi",
    }
)  # fmt: skip
"""Links whose fields of these names are averages of gradients as they come.

Of others a field may be an average of steps, or of largest gradients, which grow otherwise.
"""


def is_carried(optimizer: OptimizerPlan) -> bool:
    """Whether an optimizer's state outlasts growth: one link keeps gradients, as `CARRIED` says."""
    keeping = [each for each in optimizer.links if slots(OptimizerPlan("", (each,)))]
    if any(each.name == "rmsprop" and dict(each.options).get("momentum") for each in keeping):
        # Its momentum is of steps.
        return False
    return len(keeping) <= 1 and all(each.name in CARRIED for each in keeping)


def grow_opt_state(
    plans: Iterable[ModelPlan],
    params: Mapping[str, Params],
    operation: Operation,
    optimizer: OptimizerPlan,
    opt_state: PyTree,
    fresh: PyTree,
) -> PyTree:
    """An optimizer's state for the grown weights; `fresh` where there is no right one.

    params      each explored model's weights before growth, under its name
    opt_state   before growth, over the learned weights of the explored models by name, as trees
                or as one vector of all their numbers
    fresh       what the optimizer starts the grown weights with
    returns     of the structure of `fresh`; averages are arrays of NumPy

    Gradients are shared where weights are copied, and copied where weights are shared: of a unit
    with n copies each gets an n-th. So averages of gradients are divided along the axes that make
    units, averages of their squares by the square, and are copied along the axes that are
    multiplied by them, all up to the noise between copies. Of new layers and of silent units they
    are 0. Counts of steps go on, so that schedules do. A link whose state isn't of that kind, and
    chains of several that keep gradients, start anew.
    """
    explored = [model for model in plans if model.is_explored and model.name in params]
    found = growths(explored, operation)
    grown = {model.name: found[model.name] or _staying(model) for model in explored}
    if not is_carried(optimizer) or any(each.recipes is None for each in grown.values()):
        return fresh
    learned = {name: models.parted(params[name])[0] for name in grown}
    return _Carrying(learned, grown).state(opt_state, fresh)


def _staying(model: ModelPlan) -> Growth:
    """The growth of a model that stays as it is."""
    return Growth(model, {path: Recipe(path) for path, _ in arrays(shaped(model))})


@attrs.frozen(eq=False)
class _Carrying:
    """Averages of gradients carried over a growth."""

    learned: Params
    grown: Mapping[str, Growth]

    def state(self, old: PyTree, fresh: PyTree) -> PyTree:
        if hasattr(old, "_fields"):
            return self._link(old, fresh)
        if isinstance(old, tuple):
            return tuple(map(self.state, old, fresh))
        return old if _shapes(old) == _shapes(fresh) else fresh

    def _link(self, old: Any, fresh: Any) -> Any:
        """A link's state, whole or not at all: its averages and its count belong together."""
        fields: dict[str, Any] = {}
        for name in old._fields:
            before, start = getattr(old, name), getattr(fresh, name)
            power = POWERS.get(name)
            if power is not None and self._is_of_weights(before):
                fields[name] = self._moments(before, start, power)
            elif isinstance(before, tuple):
                fields[name] = self.state(before, start)
            elif _shapes(before) == _shapes(start):
                fields[name] = before
            else:
                return fresh
        return type(old)(**fields)

    def _is_of_weights(self, tree: PyTree) -> bool:
        count = sum(leaf.size for leaf in jax.tree.leaves(self.learned))
        return _shapes(tree) in (_shapes(self.learned), _shapes(np.empty(count)))

    def _moments(self, old: PyTree, fresh: PyTree, power: int) -> PyTree:
        # small nets are one vector, and beyond a size they no longer are
        tree = self._tree(old if isinstance(old, dict) else self._whole(old), power)
        if not isinstance(fresh, dict):
            return np.asarray(self._vector(tree), fresh.dtype)
        return jax.tree.map(lambda leaf, start: np.asarray(leaf, start.dtype), tree, fresh)

    def _whole(self, vector: Any) -> Params:
        """The arrays that one vector holds one after the other."""
        leaves, structure = jax.tree.flatten(self.learned)
        ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
        parts = np.split(np.asarray(vector), ends)
        whole = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
        found: Params = jax.tree.unflatten(structure, whole)
        return found

    def _tree(self, old: PyTree, power: int) -> Params:
        tree: Params = {}
        for name, grown in self.grown.items():
            assert grown.recipes is not None
            for path, shape in arrays(models.parted(shaped(grown.plan))[0]):
                recipe = grown.recipes[path]
                if recipe.old is None:
                    array = np.zeros(shape.shape, np.float32)
                else:
                    array = _moments(at(old[name], recipe.old), recipe, power)
                put(tree, (name, *path), array)
        return tree

    @staticmethod
    def _vector(tree: PyTree) -> Numbers:
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def _shapes(tree: PyTree) -> tuple[Any, list[tuple[int, ...]]]:
    return jax.tree.structure(tree), [np.shape(leaf) for leaf in jax.tree.leaves(tree)]


def _moments(old: Any, recipe: Recipe, power: int) -> Numbers:
    """Averages of gradients, or with power 2 of their squares, of an array that grows."""
    array = np.asarray(old, np.float32)
    for axis, along in enumerate(recipe.axes):
        if along is None:
            continue
        source, gain = sources(along), along.copies.gain
        if along.role != "read":
            shares = 1 / counts(source, array.shape[axis]).astype(np.float32)
            scaled = {"made": 1 / gain, "scale": gain, "bias": 1.0}[along.role]
            array = array * column(shares * scaled, array, axis) ** power
        array = np.take(array, source, axis)
        if along.copies.has_silent:
            np.moveaxis(array, axis, 0)[source == SILENT] = 0.0
    return array
