"""Models that grow: larger arrays with the same outputs."""

from __future__ import annotations

import functools
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ev3lang.backend import models
from ev3lang.backend.keys import named
from ev3lang.backend.models import Params
from ev3lang.plan.growth.copies import SILENT, Along, Path, Recipe, Start
from ev3lang.plan.growth.grown import growth, growths
from ev3lang.plan.plan import ModelPlan, Operation

Numbers: TypeAlias = NDArray[np.float32]


def grow(model: ModelPlan, params: Params, operation: Operation, key: Array) -> Params:
    """The weights of `grown_plan(model, operation)`, which computes what the model computes.

    params    as `models.init` gives them, statistics too; of JAX or NumPy
    key       [] of `jax.random.key`, of what is drawn
    returns   nested dicts of float32 arrays, of NumPy. Outputs of `models.apply` agree to float
              error, but for `fresh`, whose weights are `models.init`'s
    Raises Unfit, a ValueError, where the operator can't keep this model's function.

    A copied unit has the weights that make it from the unit it copies. The weights that it is
    multiplied by are divided among the copies, and noise tells these shares apart: normal, of
    `noise` standard deviations of the array, with sum 0 over the copies of a unit, so that
    outputs stay whatever its size. It stands there, and not in a factor for each copy, because
    of optimizers that divide by the size of gradients: under them copies whose shares are
    multiples of each other would stay alike. Where a transformer's vectors grow by no whole
    factor, new numbers are 0 until trained: they are multiplied by fresh weights.

    How far two copies are apart, in sizes of the weights that make them, so many steps behind
    `widen(2x)` of an mlp of 16 hidden units on digits (medians over units, means of 3 seeds):

    noise    adamw(1e-3)          sgd(0.1, momentum: 0.9)
             200      1000        200      1000 steps
    0        0        0           0        0
    0.001    0.0002   0.0007      0.0001   0.0002
    0.1      0.02     0.07        0.01     0.02
    0.5      0.10     0.29        0.04     0.08
    1        0.17     0.44        0.12     0.19

    So about 0.5 is needed, the default. On digits it is worth little: accuracy on 597 others is
    0.964 after the 1000 steps of adamw with noise 0.5, and 0.965 with 0.001 and without growth
    (sgd: 0.973, 0.972, 0.973).
    Source: Chen, Goodfellow and Shlens (2016), arXiv:1511.05641; Wang et al. (2023),
    arXiv:2310.07999, for layer norm.

    Computed by NumPy on the host, since each shape of an array would be one more small program to
    compile. What is traced is so once for a plan: `warm` does it beforehand.
    """
    grown = growth(model, operation)
    if grown.recipes is None:
        return drawing(grown.plan)(key)
    seed = tuple(int(word) for word in np.asarray(jax.random.key_data(key)).ravel())
    old = jax.device_get(params)
    made: Params = {}
    for path, shape in arrays(shaped(grown.plan)):
        recipe = grown.recipes[path]
        words = (*seed, zlib.crc32("/".join(path).encode()))
        if recipe.old is None:
            array = _start(recipe.start, shape.shape, np.random.default_rng(words))
        else:
            array = _grown(at(old, recipe.old), recipe, grown.noise, words)
        assert array.shape == shape.shape, f"{path} is {array.shape}, and not {shape.shape}"
        put(made, path, np.asarray(array, shape.dtype))
    return made


def grow_group(
    plans: Iterable[ModelPlan], params: Mapping[str, Params], operation: Operation, key: Array
) -> dict[str, Params]:
    """A group's weights for `grown_plans(plans, operation)`: what is explored has grown.

    params    each model's weights under its name; of models without any, none are given
    key       [] of `jax.random.key`, folded with each model's name
    Raises Unfit, a ValueError, where one of them can't take the operator.
    """
    plans = tuple(plans)
    found = growths(plans, operation)
    return {
        model.name: grow(model, params[model.name], operation, named(key, model.name))
        if found.get(model.name) is not None
        else params[model.name]
        for model in plans
        if model.name in params
    }


def warm(plans: Iterable[ModelPlan], operation: Operation) -> None:
    """Traces what `grow_group` and `grow_opt_state` will need of these plans, and remembers it.

    For any thread. Without it they do the same, as fast the second time.
    Raises Unfit, a ValueError, where one of the explored models can't take the operator.
    """
    for name, grown in growths(plans, operation).items():
        if grown is not None:
            shaped(grown.plan)
            jax.random.key_data(named(jax.random.key(0), name))
            if grown.recipes is None:
                drawing(grown.plan)


# ---------------------------------------------------------------- plans, traced once


@functools.lru_cache(maxsize=64)
def shaped(model: ModelPlan) -> Params:
    """The shapes of a model's arrays, in their place."""
    return jax.eval_shape(functools.partial(models.init, model), jax.random.key(0))


@functools.lru_cache(maxsize=16)
def drawing(model: ModelPlan) -> Callable[[Array], Params]:
    """`models.init` of a model, compiled."""
    return jax.jit(functools.partial(models.init, model)).lower(jax.random.key(0)).compile()


# ---------------------------------------------------------------- arrays


def _grown(old: Any, recipe: Recipe, noise: float, words: tuple[int, ...]) -> Numbers:
    """An array of the larger model, from the one that it is copied from.

    words   what is drawn is drawn by
    """
    array = np.asarray(old, np.float32)
    if all(along is None for along in recipe.axes):
        return array
    for axis, along in enumerate(recipe.axes):
        if along is not None and along.role == "read":
            # Zeros, with which a new block ends, get draws of the size of a fresh array's.
            size = float(np.std(array)) or float((array.size / array.shape[-1]) ** -0.5)
            rng = np.random.default_rng(words)
            array = _read(array, axis, along, noise * size, size, rng)
        elif along is not None:
            array = _made(array, axis, along)
    return array


def _read(
    array: Numbers, axis: int, along: Along, noise: float, size: float, rng: np.random.Generator
) -> Numbers:
    """An array whose axis of units that it is multiplied by grows.

    noise   standard deviation of what tells shares apart
    size    of the weights of units that are new and 0
    """
    source = sources(along)
    shares = 1 / counts(source, array.shape[axis]).astype(np.float32)
    grown = np.take(array * column(shares, array, axis), source, axis)
    rows = np.moveaxis(grown, axis, 0)
    if noise:
        _tell_apart(rows, along, noise, rng)
    silent = source == SILENT
    if np.any(silent):
        rows[silent] = size * _normal(rng, (int(np.sum(silent)), *rows.shape[1:]))
    return grown


def _made(array: Numbers, axis: int, along: Along) -> Numbers:
    """An array whose axis of units that it makes grows, or one of their scales or biases."""
    source, gain = sources(along), along.copies.gain
    if along.role == "made" and along.copies.has_silent:
        # Layer norm takes the mean away, so that none of it need be in the units. With mean 0,
        # further zeros change the variance by a factor alone, which the gain makes good.
        mean = np.mean(array, axis, np.float64, keepdims=True)
        array = np.asarray(array - mean, np.float32)
    grown = np.take(array, source, axis)
    if along.copies.has_silent:
        grown *= {"made": gain, "scale": 1 / gain, "bias": 1.0}[along.role]
        rows = np.moveaxis(grown, axis, 0)
        rows[source == SILENT] = 1 / gain if along.role == "scale" else 0.0
    return grown


def _tell_apart(rows: Numbers, along: Along, noise: float, rng: np.random.Generator) -> None:
    """Adds noise to rows, whose sum over the copies of a unit is 0.

    With a further copy comes one draw, which is added to it and taken from those before it, each
    an equal part: Helmert's orthogonal contrasts. So each of n copies has the variance 1 - 1 / n
    of a draw, as if the mean had been taken from n draws.
    """
    for number, (own, *earlier) in enumerate(_further(along), 1):
        drawn = _normal(rng, (len(own), *rows.shape[1:]))
        drawn *= noise / (number * (number + 1)) ** 0.5
        for each in earlier:
            rows[each] -= drawn
        drawn *= number
        rows[own] += drawn


@functools.lru_cache(maxsize=1024)
def _further(along: Along) -> tuple[tuple[NDArray[np.int64], ...], ...]:
    """Where units have their second copy, and where the same units have their first one.

    Then where they have their third, with their first and second, and so on.
    """
    found: list[dict[int, int]] = []
    seen: Counter[int] = Counter()
    for place, unit in enumerate(sources(along).tolist()):
        if unit == SILENT:
            continue
        if seen[unit] == len(found):
            found.append({})
        found[seen[unit]][unit] = place
        seen[unit] += 1
    return tuple(
        tuple(
            np.asarray([copies[unit] for unit in found[number]])
            for copies in (found[number], *found[:number])
        )
        for number in range(1, len(found))
    )


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    return rng.standard_normal(shape, np.float32)


@functools.lru_cache(maxsize=1024)
def sources(along: Along) -> NDArray[np.int64]:
    """For each number along the axis the old one, or SILENT."""
    source = np.asarray(along.copies.source)
    first = along.copies.before * np.arange(along.places)[:, None]
    found = np.where(source == SILENT, SILENT, source + first).ravel()
    # Remembered, so that nobody may write into it.
    found.flags.writeable = False
    return found


def counts(source: NDArray[np.int64], before: int) -> NDArray[np.int64]:
    """How many copies each old unit has."""
    return np.bincount(source[source != SILENT], minlength=before)


def column(numbers: NDArray[Any], beside: Numbers, axis: int) -> NDArray[Any]:
    """One number for each place of an axis."""
    return numbers.reshape(-1, *(1,) * (beside.ndim - 1 - axis))


def _start(start: Start, shape: tuple[int, ...], rng: np.random.Generator) -> Numbers:
    """A new array. The draws are those of `models.init`."""
    match start:
        case "zeros":
            return np.zeros(shape, np.float32)
        case "ones":
            return np.ones(shape, np.float32)
        case "identity":
            return np.eye(shape[0], dtype=np.float32)
        case "lecun":
            return _cut_off(rng, shape) / (CUT_OFF_STD * math.prod(shape[:-1]) ** 0.5)
        case "he":
            outputs = math.prod(shape) / shape[-2]
            return _normal(rng, shape) * (2 / outputs) ** 0.5


CUT_OFF_STD = 0.87962566103423978
"""Standard deviation of a normal distribution that is cut off at two of its own."""


def _cut_off(rng: np.random.Generator, shape: tuple[int, ...]) -> Numbers:
    drawn = _normal(rng, shape)
    while np.any(is_far := np.abs(drawn) > 2):
        drawn[is_far] = _normal(rng, (int(np.sum(is_far)),))
    return drawn


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
