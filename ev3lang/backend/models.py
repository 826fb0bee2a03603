"""Networks as pure functions of their parameters; flax stays inside this file."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs
import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from ev3lang.backend import modules
from ev3lang.backend.attention import Attention, Embed, Transformer
from ev3lang.backend.convolutions import Padding, convolution
from ev3lang.backend.keys import named
from ev3lang.backend.norms import STATISTICS, BatchNorm, GroupNorm, LayerNorm
from ev3lang.backend.passes import Pass
from ev3lang.backend.residual import Resnet
from ev3lang.plan.plan import Layers, ModelPlan
from ev3lang.plan.work import depth, flops

Params: TypeAlias = dict[str, Any]
"""Nested dicts of float32 arrays: one for each weight and bias, and under the name `statistics`
what batch norm keeps of the batches it has seen."""


def init(model: ModelPlan, key: Array) -> Params:
    """Fresh parameters: weights LeCun normal, biases 0, scales 1, as flax has them.

    key       [] of `jax.random.key`; equal keys give equal parameters
    returns   nested dicts of float32 arrays; running statistics of mean 0 and variance 1
    Source: LeCun et al. (1998), Efficient BackProp, section 4.6: variance 1 / inputs; drawn from
    a normal distribution that is cut off at two standard deviations. Convolutions of a `resnet`:
    He et al. (2015), arXiv:1502.01852, variance 2 / outputs.
    """
    if model.module is not None:
        return modules.init(model.module, key)
    return _as_dict(_network(model, key))


def start(plans: Iterable[ModelPlan], given: Mapping[str, Params], key: Array) -> Params:
    """The weights that a run begins with, by model: as given, or drawn by the model's name."""
    return {
        model.name: given[model.name]
        if model.name in given
        else init(model, named(key, "weights", model.name))
        for model in plans
    }


def apply(
    model: ModelPlan,
    params: Params,
    x: Array,
    *,
    dropout_key: Array | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Array:
    """What the model makes of a batch; batch norm goes by its running statistics.

    params        as `init` gives them
    x             [B, *model.input], or [B] where that is one number; any real dtype, whole
                  numbers with -1 for padding where the model takes tokens
    dropout_key   [] of `jax.random.key`, or None: then nothing is dropped
    dtype         what the layers compute in
    returns       [B, *model.output.dimensions] float32, or float64 where `dtype` is
    """
    return _passed(model, params, x, Pass(dropout_key), dtype)[0]


def train(
    model: ModelPlan,
    params: Params,
    x: Array,
    *,
    dropout_key: Array | None = None,
    dtype: DTypeLike = jnp.float32,
) -> tuple[Array, Params]:
    """As `apply`, in training: batch norm goes by the batch, and the statistics move on.

    returns   the outputs, and the running statistics behind this batch as `parted` gives them
    """
    y, behind = _passed(model, params, x, Pass(dropout_key, is_training=True), dtype)
    return y, parted(behind())[1]


def _passed(
    model: ModelPlan, params: Params, x: Array, pass_: Pass, dtype: DTypeLike
) -> tuple[Array, Callable[[], Params]]:
    """The outputs, and the way to the parameters and statistics as they stand behind them."""
    learned, statistics = parted(params)
    params = joined(jax.tree.map(lambda leaf: leaf.astype(dtype), learned), statistics)
    # Layers take and give vectors at least, also where the model's input or output is one number.
    if math.prod(x.shape[1:]) == math.prod(model.input):
        x = x.reshape(x.shape[:1] + model.input)
    if model.takes == "tokens":
        pass_ = attrs.evolve(pass_, mask=x >= 0)
    else:
        x = x.astype(dtype)
    if model.module is not None:
        y, own = modules.passed(model.module, params, x, pass_)
        behind = functools.partial(modules.as_dict, own)
    else:
        network = nnx.merge(_skeleton(model)[0], params)
        y, behind = network(x, pass_), functools.partial(_as_dict, network)
    if model.output.has_sizes:
        y = y.reshape(x.shape[:1] + model.output.dimensions)
    return y.astype(jnp.promote_types(dtype, jnp.float32)), behind


def parted(params: Params) -> tuple[Params, Params]:
    """What a model learns, and the running statistics beside it, empty where it keeps none."""
    learned: Params = {}
    statistics: Params = {}
    for name, value in params.items():
        if name == STATISTICS:
            statistics[name] = value
        elif isinstance(value, dict):
            learned[name], still = parted(value)
            if still:
                statistics[name] = still
        else:
            learned[name] = value
    return learned, statistics


def joined(learned: Params, statistics: Params) -> Params:
    """Both parts of a model's weights as one tree again."""
    whole = dict(learned)
    for name, value in statistics.items():
        whole[name] = joined(learned[name], value) if name in learned else value
    return whole


def _as_dict(network: Pipe) -> Params:
    return nnx.to_pure_dict(nnx.state(network, (nnx.Param, nnx.BatchStat)))


def parameters(model: ModelPlan) -> int:
    """How many numbers the model learns. No array is built."""
    shapes = jax.eval_shape(functools.partial(init, model), jax.random.key(0))
    learned, _ = parted(shapes)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(learned))


def l2(params: Params) -> Array:
    """The sum of the squares of all that is learned: [] float32."""
    learned, _ = parted(params)
    return sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(learned)), jnp.zeros(()))


def _network(model: ModelPlan, key: Array) -> Pipe:
    return Pipe(model.layers, nnx.Rngs(params=key))


@functools.cache
def _skeleton(model: ModelPlan) -> tuple[Any, Any]:
    """The network's structure, and the shapes of its parameters in place of arrays.

    Building flax modules takes milliseconds and merging a structure with parameters
    microseconds, so that a trace that applies a model often builds it once.
    """
    network = nnx.eval_shape(functools.partial(_network, model), jax.random.key(0))
    graph, state = nnx.split(network)
    return graph, state


class Pipe(nnx.Module):
    """Layers one after the other, each under its name and place: `dense_1`.

    Like every module here it is called with a batch [B, ...] and the pass it is part of.
    """

    def __init__(self, layers: Layers, rngs: nnx.Rngs) -> None:
        self.names = tuple(f"{layer.name}_{place}" for place, layer in enumerate(layers.layers))
        for name, layer in zip(self.names, layers.layers, strict=True):
            setattr(self, name, LAYERS[layer.name](layer.input, rngs, **dict(layer.options)))

    def __call__(self, x: Array, pass_: Pass) -> Array:
        for place, name in enumerate(self.names):
            x = getattr(self, name)(x, pass_.at(place))
        return x


class Mlp(nnx.Module):
    """Flattens, then dense layers `hidden_0`, `hidden_1`, ... and `output`."""

    def __init__(
        self,
        shape: tuple[int, ...],
        rngs: nnx.Rngs,
        *,
        hidden: tuple[int, ...],
        activation: str,
        width: int,
    ) -> None:
        self.activation = ACTIVATIONS[activation]
        self.names = tuple(f"hidden_{place}" for place in range(len(hidden)))
        features = math.prod(shape)
        for name, size in zip(self.names, hidden, strict=True):
            setattr(self, name, nnx.Linear(features, size, rngs=rngs))
            features = size
        self.output = nnx.Linear(features, width, rngs=rngs)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        del pass_
        x = flatten(x)
        for name in self.names:
            x = self.activation(getattr(self, name)(x))
        return self.output(x)


class Dense(nnx.Module):
    """x W + b along the last axis."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, width: int) -> None:
        self.linear = nnx.Linear(shape[-1], width, rngs=rngs)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        del pass_
        return self.linear(x)


class Conv(nnx.Module):
    """A convolution over height and width, [B, H, W, C], plus a bias for each channel it makes."""

    def __init__(
        self,
        shape: tuple[int, ...],
        rngs: nnx.Rngs,
        *,
        width: int,
        kernel: int,
        stride: int,
        padding: Padding,
    ) -> None:
        self.stride = stride
        self.padding = padding
        self.conv = nnx.Conv(shape[-1], width, (kernel, kernel), rngs=rngs)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        del pass_
        # flax's own forward pass has JAX's gradients, which are slow inside a loop on a CPU.
        kernel, bias = self.conv.kernel[...], self.conv.bias
        assert bias is not None, "flax's default is to have one"
        return convolution(x, kernel, self.stride, self.padding) + bias[...]


class Dropout(nnx.Module):
    """0 with a chance, and scaled up otherwise so that the mean stays; nothing without a key."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, rate: float) -> None:
        del shape, rngs
        self.dropout = nnx.Dropout(rate)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        key = pass_.dropout_key
        return self.dropout(x, deterministic=key is None, rngs=key)


class Residual(nnx.Module):
    """The input plus what a pipe makes of it."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, layers: Layers) -> None:
        del shape
        self.layers = Pipe(layers, rngs)

    def __call__(self, x: Array, pass_: Pass) -> Array:
        return x + self.layers(x, pass_)


class Repeat(nnx.Module):
    """A pipe n times, each with parameters of its own: `pass_0`, `pass_1`, ..."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, n: int, layers: Layers) -> None:
        del shape
        self.names = tuple(f"pass_{place}" for place in range(n))
        for name in self.names:
            setattr(self, name, Pipe(layers, rngs))

    def __call__(self, x: Array, pass_: Pass) -> Array:
        for place, name in enumerate(self.names):
            x = getattr(self, name)(x, pass_.at(place))
        return x


class MeanPool(nnx.Module):
    """[B, ..., C] -> [B, C], the mean over all that is between, without what is padding."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs) -> None:
        del shape, rngs

    def __call__(self, x: Array, pass_: Pass) -> Array:
        if pass_.mask is None:
            return jnp.mean(x, axis=tuple(range(1, x.ndim - 1)))
        is_there = pass_.mask[..., None].astype(x.dtype)
        # A sequence that is all padding has a mean of 0.
        return jnp.sum(x * is_there, 1) / jnp.maximum(jnp.sum(is_there, 1), 1)


class Elementwise(nnx.Module):
    """A function without parameters."""

    def __init__(self, function: Callable[[Array], Array]) -> None:
        self.function = function

    def __call__(self, x: Array, pass_: Pass) -> Array:
        del pass_
        return self.function(x)


def flatten(x: Array) -> Array:
    """[B, ...] -> [B, D], rows of each example one after the other."""
    return x.reshape(x.shape[0], -1)


def max_pool(x: Array, *, size: int, stride: int | None) -> Array:
    """The greatest value in each window, [B, H, W, C]; windows lie wholly inside.

    stride   pixels from window to window; None: `size`, so that they don't overlap
    Windows that don't overlap are an axis of their own: of equal greatest values each gets its
    share of the gradient, and that takes a tenth of the time of scattering it to the first.
    """
    if stride is None or stride == size:
        batch, height, width, channels = x.shape
        rows, columns = height // size, width // size
        inside = x[:, : rows * size, : columns * size]
        return jnp.max(inside.reshape(batch, rows, size, columns, size, channels), (2, 4))
    return nnx.max_pool(x, (size, size), _strides(size, stride))


def avg_pool(x: Array, *, size: int, stride: int | None) -> Array:
    """The mean of each window, [B, H, W, C]; windows lie as for `max_pool`."""
    return nnx.avg_pool(x, (size, size), _strides(size, stride))


def _strides(size: int, stride: int | None) -> tuple[int, int]:
    step = size if stride is None else stride
    return step, step


def _without_parameters(function: Callable[..., Array]) -> Callable[..., Elementwise]:
    def layer(shape: tuple[int, ...], rngs: nnx.Rngs, **options: Any) -> Elementwise:
        del shape, rngs
        return Elementwise(functools.partial(function, **options))

    return layer


ACTIVATIONS: Mapping[str, Callable[..., Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
}

LAYERS: Mapping[str, Callable[..., Any]] = {
    "mlp": Mlp,
    "flatten": _without_parameters(flatten),
    "dense": Dense,
    "dropout": Dropout,
    "layer_norm": LayerNorm,
    "conv": Conv,
    "resnet": Resnet,
    "embed": Embed,
    "attention": Attention,
    "transformer": Transformer,
    "batch_norm": BatchNorm,
    "group_norm": GroupNorm,
    "max_pool": _without_parameters(max_pool),
    "avg_pool": _without_parameters(avg_pool),
    "mean_pool": MeanPool,
    "residual": Residual,
    "repeat": Repeat,
    **{name: _without_parameters(function) for name, function in ACTIVATIONS.items()},
}

TABLE: Mapping[str, Callable[[ModelPlan, Params], Any]] = {
    "parameters": lambda model, params: parameters(model),
    "flops": lambda model, params: flops(model),
    "depth": lambda model, params: depth(model),
    "l2": lambda model, params: l2(params),
}
