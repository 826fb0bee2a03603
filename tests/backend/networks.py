"""Plans of small networks, trained weights for them and batches, for tests of growth."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ev3lang.backend import models
from ev3lang.backend.models import Params
from ev3lang.catalog.index import GROWTH, LAYERS
from ev3lang.catalog.signature import Type
from ev3lang.plan.plan import LayerPlan, Layers, ModelPlan, Operation

KEY = jax.random.key(0)

Stage = tuple[str, dict[str, Any]]


def layers(shape: tuple[int, ...], *stages: Stage) -> tuple[LayerPlan, ...]:
    """Layers with the catalogue's defaults; `inner` gives the pipe of `residual` and `repeat`."""
    done: list[LayerPlan] = []
    for name, given_ in stages:
        entry = LAYERS[name]
        options = {option.name: option.default for option in entry.options} | given_
        if "layers" in options and name in ("residual", "repeat"):
            inner = Layers(layers(shape, *options["layers"]))
            options["layers"] = inner.layers[-1].output
            output = entry.shape(shape, options)
            options["layers"] = inner
        else:
            output = entry.shape(shape, options)
        done.append(LayerPlan(name, tuple(options.items()), shape, output))
        shape = output
    return tuple(done)


def model(shape: tuple[int, ...], *stages: Stage, **facts: Any) -> ModelPlan:
    done = layers(shape, *stages)
    takes: Any = LAYERS[done[0].name].takes
    output = Type("f32", done[-1].output)
    return ModelPlan("net", shape, output, Layers(done), True, takes=takes, **facts)


def mlp(hidden: tuple[int, ...], activation: str = "relu") -> ModelPlan:
    given_ = {"hidden": hidden, "activation": activation, "width": 3}
    return model((2, 3), ("mlp", given_))


def resnet(stages: tuple[int, ...], size: int = 6, **given_: Any) -> ModelPlan:
    options = {"stages": stages, "width": 4, "groups": 2, "outputs": 3}
    return model((size, size, 2), ("resnet", options | given_))


def transformer(heads: int = 2, depth: int = 4, **given_: Any) -> ModelPlan:
    width = heads * depth
    options = {"layers": 1, "heads": heads, "width": width}
    return model(
        (5,),
        ("embed", {"width": width, "tokens": 7}),
        ("transformer", options | given_),
        ("mean_pool", {}),
        ("dense", {"width": 3}),
    )


def operation(name: str, **given_: Any) -> Operation:
    options = {option.name: option.default for option in GROWTH[name].options} | given_
    return Operation(name, tuple(options.items()))


def shapes(plan: ModelPlan) -> Any:
    return jax.eval_shape(functools.partial(models.init, plan), KEY)


def weights(plan: ModelPlan) -> Any:
    """Weights as if trained: no bias, scale or statistic is still what it started as."""
    rng = np.random.default_rng(0)

    def drawn(path: Any, leaf: Any) -> Array:
        name = path[-1].key
        size = (leaf.size / leaf.shape[-1]) ** -0.5 if leaf.ndim > 1 else 0.3
        array = rng.normal(name == "scale", size, leaf.shape)
        # A variance is positive.
        return jnp.asarray(np.exp(array) if name == "var" else array, jnp.float32)

    return jax.tree_util.tree_map_with_path(drawn, shapes(plan))


def batch(plan: ModelPlan, size: int = 6) -> Array:
    rng = np.random.default_rng(1)
    if plan.takes == "tokens":
        return jnp.asarray(rng.integers(-1, 7, (size, *plan.input)))
    return jnp.asarray(rng.normal(size=(size, *plan.input)), jnp.float32)


def max_output_change(
    model: ModelPlan, params: Params, grown: ModelPlan, grown_params: Params, x: Array
) -> float:
    """The greatest difference between outputs before and after, as a part of the largest output.

    x   [B, *model.input]; nothing is dropped, and batch norm goes by its running statistics
    """
    return float(output_change(model, grown)(params, grown_params, x))


@functools.lru_cache(maxsize=16)
def output_change(model: ModelPlan, grown: ModelPlan) -> Callable[[Params, Params, Array], Array]:
    """`max_output_change` of these plans as one program: (params, grown_params, x) -> [] float32.

    It is compiled for the shape of `x` when it is first called, in any thread and with any
    numbers; then it is there.
    """

    def change(params: Params, grown_params: Params, x: Array) -> Array:
        before, after = models.apply(model, params, x), models.apply(grown, grown_params, x)
        largest = jnp.max(jnp.abs(before))
        return jnp.max(jnp.abs(after - before)) / jnp.where(largest > 0, largest, 1.0)

    return jax.jit(change)
