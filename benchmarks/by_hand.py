"""The workloads' nets written by hand in jax.numpy, as a careful person would for one net alone.

Each is a pair of functions: start weights, and a forward pass that gives scores and, in training,
the weights with batch norm's running statistics moved on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.plan.plan import ModelPlan

Array: TypeAlias = jax.Array
Params: TypeAlias = Any

MOMENTUM = 0.9
EPSILON = 1e-5


@attrs.frozen
class Net:
    """A net by hand.

    start     (key) -> params, a nested dict; what `still` names in it isn't trained
    forward   (params, x, is_training) -> scores [B, C] and params as they are afterwards
    """

    start: Callable[[Array], Params]
    forward: Callable[[Params, Array, bool], tuple[Array, Params]]


def net(model: ModelPlan) -> Net:
    """The net of a workload's model, by the names of its layers."""
    names = [layer.name for layer in model.layers.layers]
    if names == ["mlp"]:
        return _mlp(model)
    if names == ["resnet"]:
        return _resnet(model)
    assert names == ["embed", "transformer", "mean_pool", "dense"], names
    return _encoder(model)


def _options(model: ModelPlan, place: int) -> dict[str, Any]:
    return dict(model.layers.layers[place].options)


def _matrix(key: Array, inputs: int, outputs: int) -> dict[str, Array]:
    weights = jax.random.normal(key, (inputs, outputs)) / math.sqrt(inputs)
    return {"weights": weights, "bias": jnp.zeros(outputs)}


def _dense(params: Params, x: Array) -> Array:
    return x @ params["weights"] + params["bias"]


# ---------------------------------------------------------------- a dense net


def _mlp(model: ModelPlan) -> Net:
    widths = (math.prod(model.input), *_options(model, 0)["hidden"], *model.output.dimensions)

    def start(key: Array) -> Params:
        return {"layers": [_matrix(key, int(a), int(b)) for a, b in pairwise(widths)]}

    def forward(params: Params, x: Array, is_training: bool) -> tuple[Array, Params]:
        del is_training
        y = x.reshape(x.shape[0], -1)
        for layer in params["layers"][:-1]:
            y = jax.nn.relu(_dense(layer, y))
        return _dense(params["layers"][-1], y), params

    return Net(start, forward)


# ---------------------------------------------------------------- a residual net


def _resnet(model: ModelPlan) -> Net:
    """Stages of basic blocks with batch norm and projections, a 3 x 3 stem."""
    options = _options(model, 0)
    assert options["norm"] == "batch"
    assert options["block"] == "basic"
    stages, width = options["stages"], options["width"]
    channels = model.input[-1]

    def start(key: Array) -> Params:
        keys = iter(jax.random.split(key, 100))
        params: Params = {"stem": _conv(next(keys), 3, channels, width), "blocks": []}
        inside = width
        for stage, count in enumerate(stages):
            for place in range(count):
                outside = width * 2**stage
                block = {
                    "first": _conv(next(keys), 3, inside, outside),
                    "second": _conv(next(keys), 3, outside, outside),
                }
                if inside != outside or (stage and not place):
                    block["across"] = _conv(next(keys), 1, inside, outside)
                params["blocks"].append(block)
                inside = outside
        params["dense"] = _matrix(next(keys), inside, int(model.output.dimensions[0]))
        return params

    def forward(params: Params, x: Array, is_training: bool) -> tuple[Array, Params]:
        moved: Params = {"blocks": [], "dense": params["dense"]}
        y, moved["stem"] = _conv_norm(params["stem"], x, 1, is_training)
        y = jax.nn.relu(y)
        for block in params["blocks"]:
            stride = 2 if "across" in block else 1
            z, first = _conv_norm(block["first"], y, stride, is_training)
            z, second = _conv_norm(block["second"], jax.nn.relu(z), 1, is_training)
            after = {"first": first, "second": second}
            if "across" in block:
                y, after["across"] = _conv_norm(block["across"], y, stride, is_training)
            y = jax.nn.relu(y + z)
            moved["blocks"].append(after)
        return _dense(params["dense"], jnp.mean(y, (1, 2))), moved

    return Net(start, forward)


def _conv(key: Array, size: int, inputs: int, outputs: int) -> Params:
    scale = math.sqrt(2 / (size * size * outputs))
    return {
        "kernel": scale * jax.random.normal(key, (size, size, inputs, outputs)),
        "scale": jnp.ones(outputs),
        "bias": jnp.zeros(outputs),
        "still": {"mean": jnp.zeros(outputs), "var": jnp.ones(outputs)},
    }


def _conv_norm(params: Params, x: Array, stride: int, is_training: bool) -> tuple[Array, Params]:
    y = jax.lax.conv_general_dilated(
        x,
        params["kernel"],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    still = params["still"]
    if is_training:
        mean = jnp.mean(y, (0, 1, 2))
        var = jnp.mean(jnp.square(y), (0, 1, 2)) - jnp.square(mean)
        still = {
            name: MOMENTUM * still[name] + (1 - MOMENTUM) * jax.lax.stop_gradient(value)
            for name, value in (("mean", mean), ("var", var))
        }
    else:
        mean, var = still["mean"], still["var"]
    scale = params["scale"] * jax.lax.rsqrt(var + EPSILON)
    return (y - mean) * scale + params["bias"], {**params, "still": still}


# ---------------------------------------------------------------- an encoder of tokens


def _encoder(model: ModelPlan) -> Net:
    """Pre-norm blocks with learned positions; the mean over what isn't padding, then dense."""
    options = _options(model, 1)
    layers, heads, width = options["layers"], options["heads"], options["width"]
    between = options["feed_forward"] or 4 * width
    (length,) = model.input
    vocabulary = _options(model, 0)["tokens"]

    def start(key: Array) -> Params:
        keys = iter(jax.random.split(key, 100))
        return {
            "embedding": jax.random.normal(next(keys), (vocabulary, width)) * 0.1,
            "positions": jax.random.normal(next(keys), (length, width)) * 0.02,
            "blocks": [
                {
                    "first": _norm(width),
                    "in": _matrix(next(keys), width, 3 * width),
                    "out": _matrix(next(keys), width, width),
                    "second": _norm(width),
                    "up": _matrix(next(keys), width, between),
                    "down": _matrix(next(keys), between, width),
                }
                for _ in range(layers)
            ],
            "last": _norm(width),
            "dense": _matrix(next(keys), width, int(model.output.dimensions[0])),
        }

    def forward(params: Params, x: Array, is_training: bool) -> tuple[Array, Params]:
        del is_training
        mask = x >= 0
        y = jnp.where(mask[..., None], params["embedding"][jnp.maximum(x, 0)], 0)
        y = y + params["positions"]
        for block in params["blocks"]:
            y = y + _attend(block, _layer_norm(block["first"], y), mask, heads)
            z = jax.nn.gelu(_dense(block["up"], _layer_norm(block["second"], y)))
            y = y + _dense(block["down"], z)
        y = _layer_norm(params["last"], y)
        total = jnp.sum(jnp.where(mask[..., None], y, 0), 1)
        count = jnp.maximum(jnp.sum(mask, 1), 1)
        return _dense(params["dense"], total / count[:, None]), params

    return Net(start, forward)


def _norm(width: int) -> Params:
    return {"scale": jnp.ones(width), "bias": jnp.zeros(width)}


def _layer_norm(params: Params, x: Array) -> Array:
    mean = jnp.mean(x, -1, keepdims=True)
    var = jnp.mean(jnp.square(x - mean), -1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(var + 1e-6) * params["scale"] + params["bias"]


def _attend(block: Params, x: Array, mask: Array, heads: int) -> Array:
    batch, length, width = x.shape
    parts = _dense(block["in"], x).reshape(batch, length, 3, heads, width // heads)
    query, key, value = parts[:, :, 0], parts[:, :, 1], parts[:, :, 2]
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(width // heads)
    scores = jnp.where(mask[:, None, None, :], scores, -1e30)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value)
    return _dense(block["out"], mixed.reshape(batch, length, width))


# ---------------------------------------------------------------- descent


def parted(params: Params) -> tuple[Params, Params]:
    """What is trained, and the running statistics, each with None in the other's places."""

    def is_still(path: Any) -> bool:
        return any(getattr(step, "key", None) == "still" for step in path)

    paths = jax.tree_util.tree_map_with_path(lambda path, leaf: is_still(path), params)
    return (
        jax.tree.map(lambda still, leaf: None if still else leaf, paths, params),
        jax.tree.map(lambda still, leaf: leaf if still else None, paths, params),
    )


def joined(trained: Params, still: Params) -> Params:
    """Both parts as one tree again."""
    return jax.tree.map(
        lambda a, b: b if a is None else a, trained, still, is_leaf=lambda leaf: leaf is None
    )


def entropy(scores: Array, labels: Array, smooth: float) -> Array:
    """Mean cross entropy of labels smoothed evenly over the classes."""
    log_probs = jax.nn.log_softmax(scores)
    at_label = jnp.sum(jnp.where(labels[:, None] == jnp.arange(scores.shape[-1]), log_probs, 0), -1)
    return -jnp.mean((1 - smooth) * at_label + smooth * jnp.mean(log_probs, -1))
