"""Models that grow: larger arrays with the same outputs, and what optimizers keep of them."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ev3lang.backend import models
from ev3lang.backend.keys import named
from ev3lang.backend.models import Params
from ev3lang.plan.growth.copies import SILENT, Along, Growth, Path, Recipe, Start
from ev3lang.plan.growth.grown import growth
from ev3lang.plan.memory import slots
from ev3lang.plan.plan import ModelPlan, Operation, OptimizerPlan

PyTree: TypeAlias = Any
Numbers: TypeAlias = NDArray[np.float64]


def grow(model: ModelPlan, params: Params, operation: Operation, key: Array) -> Params:
    """The weights of `grown_plan(model, operation)`, which computes what the model computes.

    params    as `models.init` gives them, statistics too
    key       [] of `jax.random.key`, of what is drawn
    returns   nested dicts of float32 arrays. Outputs of `models.apply` agree to float error,
              but for `fresh`, whose weights are `models.init`'s
    Raises Unfit, a ValueError, where the operator can't keep this model's function.

    A copied unit has the weights that make it from the unit it copies. The weights that it is
    multiplied by are divided among the copies, and noise tells these shares apart: normal, of
    `noise` standard deviations of the array, with sum 0 over the copies of a unit, so that
    outputs stay whatever its size. It stands there, and not in a factor for each copy, because
    of optimizers that divide by the size of gradients: under them copies whose shares are
    multiples of each other would stay alike. Where a transformer's vectors grow by no whole
    factor, new numbers are 0 until trained: they are multiplied by fresh weights.
    Source: Chen, Goodfellow and Shlens (2016), arXiv:1511.05641; Wang et al. (2023),
    arXiv:2310.07999, for layer norm.

    Computed by NumPy on the host in float64, since each shape of an array would be one more small
    program to compile.
    """
    grown = growth(model, operation)
    if grown.recipes is None:
        return jax.jit(functools.partial(models.init, grown.plan))(key)
    seed = tuple(int(word) for word in np.asarray(jax.random.key_data(key)).ravel())
    made: Params = {}
    for path, shape in _arrays(_shaped(grown.plan)):
        recipe = grown.recipes[path]
        rng = np.random.default_rng((*seed, zlib.crc32("/".join(path).encode())))
        if recipe.old is None:
            array = _start(recipe.start, shape.shape, rng)
        else:
            array = _grown(_at(params, recipe.old), recipe, grown.noise, rng)
        assert array.shape == shape.shape, f"{path} is {array.shape}, and not {shape.shape}"
        _put(made, path, jnp.asarray(array, shape.dtype))
    return made


def grow_group(
    plans: Iterable[ModelPlan], params: Mapping[str, Params], operation: Operation, key: Array
) -> dict[str, Params]:
    """A group's weights for `grown_plans(plans, operation)`: what is explored has grown.

    params    each model's weights under its name; of models without any, none are given
    key       [] of `jax.random.key`, folded with each model's name
    Raises Unfit, a ValueError, where one of them can't take the operator.
    """
    return {
        model.name: grow(model, params[model.name], operation, named(key, model.name))
        if model.is_explored
        else params[model.name]
        for model in plans
        if model.name in params
    }


def max_output_change(
    model: ModelPlan, params: Params, grown: ModelPlan, grown_params: Params, x: Array
) -> float:
    """The greatest difference between outputs before and after, as a part of the largest output.

    x   [B, *model.input]; nothing is dropped, and batch norm goes by its running statistics
    """
    before, after = (
        np.asarray(jax.jit(functools.partial(models.apply, plan))(own, x), np.float64)
        for plan, own in ((model, params), (grown, grown_params))
    )
    largest = float(np.max(np.abs(before)))
    return float(np.max(np.abs(after - before))) / (largest or 1.0)


# ---------------------------------------------------------------- arrays


def _grown(old: Any, recipe: Recipe, noise: float, rng: np.random.Generator) -> Numbers:
    array = np.asarray(old, np.float64)
    # Zeros, with which a new block ends, get draws of the size of a fresh array's.
    size = float(np.std(array)) or float((array.size / array.shape[-1]) ** -0.5)
    for axis, along in enumerate(recipe.axes):
        if along is not None:
            grown = _along(np.moveaxis(array, axis, 0), along, noise, size, rng)
            array = np.moveaxis(grown, 0, axis)
    return array


def _along(
    array: Numbers, along: Along, noise: float, size: float, rng: np.random.Generator
) -> Numbers:
    """An array whose first axis grows.

    noise   in `size`, the array's standard deviation
    """
    source, gain = _sources(along), along.copies.gain
    silent = source == SILENT
    if along.role == "read":
        drawn = rng.normal(0.0, size, (len(source), *array.shape[1:]))
        taken = array[source] / _column(_counts(source, len(array))[source], array)
        grown = taken + noise * _apart(drawn, source, len(array))
        grown[silent] = drawn[silent]
        return grown
    if along.role == "made" and along.copies.has_silent:
        # Layer norm takes the mean away, so that none of it need be in the units. With mean 0,
        # further zeros change the variance by a factor alone, which the gain makes good.
        array = array - np.mean(array, axis=0)
    grown = array[source] * {"made": gain, "scale": 1 / gain, "bias": 1.0}[along.role]
    grown[silent] = 1 / gain if along.role == "scale" else 0.0
    return grown


def _sources(along: Along) -> NDArray[np.int64]:
    """For each number along the axis the old one, or SILENT."""
    source = np.asarray(along.copies.source)
    first = along.copies.before * np.arange(along.places)[:, None]
    return np.where(source == SILENT, SILENT, source + first).ravel()


def _counts(source: NDArray[np.int64], before: int) -> NDArray[np.int64]:
    """How many copies each old unit has."""
    return np.bincount(source[source != SILENT], minlength=before)


def _apart(drawn: Numbers, source: NDArray[np.int64], before: int) -> Numbers:
    """Draws whose sum over the copies of a unit is 0."""
    sums = np.zeros((before, *drawn.shape[1:]))
    is_copy = source != SILENT
    np.add.at(sums, source[is_copy], drawn[is_copy])
    means = sums / _column(_counts(source, before), sums)
    return drawn - means[source]


def _column(numbers: NDArray[Any], beside: Numbers) -> NDArray[Any]:
    """One number for each place of the first axis."""
    return numbers.reshape(-1, *(1,) * (beside.ndim - 1))


def _start(start: Start, shape: tuple[int, ...], rng: np.random.Generator) -> Numbers:
    """A new array. The draws are those of `models.init`."""
    match start:
        case "zeros":
            return np.zeros(shape)
        case "ones":
            return np.ones(shape)
        case "identity":
            return np.eye(shape[0])
        case "lecun":
            inputs = np.prod(shape[:-1])
            return _cut_off(rng, shape) / (CUT_OFF_STD * np.sqrt(inputs))
        case "he":
            outputs = np.prod(shape) / shape[-2]
            return rng.standard_normal(shape) * np.sqrt(2 / outputs)


CUT_OFF_STD = 0.87962566103423978
"""Standard deviation of a normal distribution that is cut off at two of its own."""


def _cut_off(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    drawn = rng.standard_normal(shape)
    while np.any(is_far := np.abs(drawn) > 2):
        drawn[is_far] = rng.standard_normal(int(np.sum(is_far)))
    return drawn


def _shaped(model: ModelPlan) -> Params:
    """The shapes of a model's arrays, in their place."""
    return jax.eval_shape(functools.partial(models.init, model), jax.random.key(0))


def _arrays(tree: Params, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _arrays(value, (*path, name))
        else:
            yield (*path, name), value


def _at(tree: Params, path: Path) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _put(tree: Params, path: Path, value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


# ---------------------------------------------------------------- optimizers

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
    returns     of the structure of `fresh`

    Gradients are shared where weights are copied, and copied where weights are shared: of a unit
    with n copies each gets an n-th. So averages of gradients are divided along the axes that make
    units, averages of their squares by the square, and are copied along the axes that are
    multiplied by them, all up to the noise between copies. Of new layers and of silent units they
    are 0. Counts of steps go on, so that schedules do. A link whose state isn't of that kind, and
    chains of several that keep gradients, start anew.
    """
    explored = [model for model in plans if model.is_explored and model.name in params]
    grown = {model.name: growth(model, operation) for model in explored}
    if not is_carried(optimizer) or any(each.recipes is None for each in grown.values()):
        return fresh
    learned = {name: models.parted(params[name])[0] for name in grown}
    return _Carrying(learned, grown).state(opt_state, fresh)


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
        if not isinstance(old, dict):
            leaves, structure = jax.tree.flatten(self.learned)
            ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
            parts = np.split(np.asarray(old), ends)
            shaped = [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
            tree = self._tree(jax.tree.unflatten(structure, shaped), power)
            return jnp.asarray(self._vector(tree), fresh.dtype)
        tree = self._tree(old, power)
        return jax.tree.map(lambda leaf, start: jnp.asarray(leaf, start.dtype), tree, fresh)

    def _tree(self, old: PyTree, power: int) -> Params:
        tree: Params = {}
        for name, grown in self.grown.items():
            assert grown.recipes is not None
            for path, shape in _arrays(models.parted(_shaped(grown.plan))[0]):
                recipe = grown.recipes[path]
                if recipe.old is None:
                    array = np.zeros(shape.shape)
                else:
                    array = _moments(_at(old[name], recipe.old), recipe, power)
                _put(tree, (name, *path), array)
        return tree

    @staticmethod
    def _vector(tree: PyTree) -> Numbers:
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def _shapes(tree: PyTree) -> tuple[Any, list[tuple[int, ...]]]:
    return jax.tree.structure(tree), [np.shape(leaf) for leaf in jax.tree.leaves(tree)]


def _moments(old: Any, recipe: Recipe, power: int) -> Numbers:
    """Averages of gradients, or with power 2 of their squares, of an array that grows."""
    array = np.asarray(old, np.float64)
    for axis, along in enumerate(recipe.axes):
        if along is None:
            continue
        source, gain = _sources(along), along.copies.gain
        grown = np.moveaxis(array, axis, 0)[source]
        if along.role != "read":
            shares = 1 / _counts(source, array.shape[axis])[source]
            scaled = {"made": 1 / gain, "scale": gain, "bias": 1.0}[along.role]
            grown = grown * _column(shares * scaled, grown) ** power
        grown[source == SILENT] = 0.0
        array = np.moveaxis(grown, 0, axis)
    return array
