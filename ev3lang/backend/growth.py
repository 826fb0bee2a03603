"""Models that grow: larger arrays with the same outputs."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ev3lang.backend import models
from ev3lang.backend.keys import named
from ev3lang.backend.models import Params
from ev3lang.plan.growth.copies import SILENT, Along, Path, Recipe, Start
from ev3lang.plan.growth.grown import growth
from ev3lang.plan.plan import ModelPlan, Operation

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
    for path, shape in arrays(shaped(grown.plan)):
        recipe = grown.recipes[path]
        rng = np.random.default_rng((*seed, zlib.crc32("/".join(path).encode())))
        if recipe.old is None:
            array = _start(recipe.start, shape.shape, rng)
        else:
            array = _grown(at(params, recipe.old), recipe, grown.noise, rng)
        assert array.shape == shape.shape, f"{path} is {array.shape}, and not {shape.shape}"
        put(made, path, jnp.asarray(array, shape.dtype))
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

    def outputs(params: Params, grown_params: Params, x: Array) -> tuple[Array, Array]:
        return models.apply(model, params, x), models.apply(grown, grown_params, x)

    before, after = (
        np.asarray(each, np.float64) for each in jax.jit(outputs)(params, grown_params, x)
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
    source, gain = sources(along), along.copies.gain
    silent = source == SILENT
    if along.role == "read":
        drawn = rng.normal(0.0, size, (len(source), *array.shape[1:]))
        taken = array[source] / column(counts(source, len(array))[source], array)
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


def sources(along: Along) -> NDArray[np.int64]:
    """For each number along the axis the old one, or SILENT."""
    source = np.asarray(along.copies.source)
    first = along.copies.before * np.arange(along.places)[:, None]
    return np.where(source == SILENT, SILENT, source + first).ravel()


def counts(source: NDArray[np.int64], before: int) -> NDArray[np.int64]:
    """How many copies each old unit has."""
    return np.bincount(source[source != SILENT], minlength=before)


def _apart(drawn: Numbers, source: NDArray[np.int64], before: int) -> Numbers:
    """Draws whose sum over the copies of a unit is 0."""
    sums = np.zeros((before, *drawn.shape[1:]))
    is_copy = source != SILENT
    np.add.at(sums, source[is_copy], drawn[is_copy])
    means = sums / column(counts(source, before), sums)
    return drawn - means[source]


def column(numbers: NDArray[Any], beside: Numbers) -> NDArray[Any]:
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


def shaped(model: ModelPlan) -> Params:
    """The shapes of a model's arrays, in their place."""
    return jax.eval_shape(functools.partial(models.init, model), jax.random.key(0))


def arrays(tree: Params, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from arrays(value, (*path, name))
        else:
            yield (*path, name), value


def at(tree: Params, path: Path) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def put(tree: Params, path: Path, value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value
