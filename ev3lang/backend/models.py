"""Networks as pure functions of their parameters; flax stays inside this file."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from ev3lang.backend.convolutions import Padding, convolution
from ev3lang.plan.plan import LayerPlan, Layers, ModelPlan

Params: TypeAlias = dict[str, Any]
"""Nested dicts of float32 arrays, one for each weight and bias."""


def init(model: ModelPlan, key: Array) -> Params:
    """Fresh parameters: weights LeCun normal, biases 0, scales 1, as flax has them.

    key       [] of `jax.random.key`; equal keys give equal parameters
    returns   nested dicts of float32 arrays
    Source: LeCun et al. (1998), Efficient BackProp, section 4.6: variance 1 / inputs; drawn from
    a normal distribution that is cut off at two standard deviations.
    """
    return nnx.to_pure_dict(nnx.state(_network(model, key), nnx.Param))


def apply(model: ModelPlan, params: Params, x: Array, *, dropout_key: Array | None) -> Array:
    """What the model makes of a batch.

    params        as `init` gives them
    x             [B, *model.input], or [B] where that is one number; any real dtype
    dropout_key   [] of `jax.random.key`, or None: then nothing is dropped
    returns       [B, *model.output.dimensions] float32
    """
    graph, _ = _skeleton(model)
    batch = x.shape[:1]
    # Layers take and give vectors at least, also where the model's input or output is one number.
    y = nnx.merge(graph, params)(x.reshape(batch + model.input).astype(jnp.float32), dropout_key)
    return y.reshape(batch + model.output.dimensions)


def parameters(model: ModelPlan) -> int:
    """How many numbers the model learns. No array is built."""
    _, state = _skeleton(model)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.to_pure_dict(state)))


def depth(model: ModelPlan) -> int:
    """The hidden layers of an mlp; of a pipe, the dense layers before its last."""
    return max(0, _dense_layers(model.layers) - 1)


def _dense_layers(layers: Layers) -> int:
    return sum(_dense_layers_of(layer) for layer in layers.layers)


def _dense_layers_of(layer: LayerPlan) -> int:
    options: dict[str, Any] = dict(layer.options)
    match layer.name:
        case "dense":
            return 1
        case "mlp":
            return len(options["hidden"]) + 1
        case "residual":
            return _dense_layers(options["layers"])
        case "repeat":
            return options["n"] * _dense_layers(options["layers"])
        case _:
            return 0


def l2(params: Params) -> Array:
    """The sum of the squares of all parameters: [] float32."""
    return sum((jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(params)), jnp.zeros(()))


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

    Like every module here it is called with a batch [B, ...] and a key for dropout, or None.
    """

    def __init__(self, layers: Layers, rngs: nnx.Rngs) -> None:
        self.names = tuple(f"{layer.name}_{place}" for place, layer in enumerate(layers.layers))
        for name, layer in zip(self.names, layers.layers, strict=True):
            setattr(self, name, LAYERS[layer.name](layer.input, rngs, **dict(layer.options)))

    def __call__(self, x: Array, dropout_key: Array | None) -> Array:
        for place, name in enumerate(self.names):
            x = getattr(self, name)(x, _key_of(dropout_key, place))
        return x


def _key_of(dropout_key: Array | None, place: int) -> Array | None:
    return None if dropout_key is None else jax.random.fold_in(dropout_key, place)


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

    def __call__(self, x: Array, dropout_key: Array | None) -> Array:
        del dropout_key
        x = flatten(x)
        for name in self.names:
            x = self.activation(getattr(self, name)(x))
        return self.output(x)


class Dense(nnx.Module):
    """x W + b along the last axis."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, width: int) -> None:
        self.linear = nnx.Linear(shape[-1], width, rngs=rngs)

    def __call__(self, x: Array, dropout_key: Array | None) -> Array:
        del dropout_key
        return self.linear(x)


class LayerNorm(nnx.Module):
    """Mean 0 and variance 1 along the last axis, then a learned scale and bias."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, epsilon: float) -> None:
        # The fast variance, mean of squares less square of the mean, loses all digits of inputs
        # that are large and close together.
        self.norm = nnx.LayerNorm(shape[-1], epsilon=epsilon, use_fast_variance=False, rngs=rngs)

    def __call__(self, x: Array, dropout_key: Array | None) -> Array:
        del dropout_key
        return self.norm(x)


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

    def __call__(self, x: Array, dropout_key: Array | None) -> Array:
        del dropout_key
        # flax's own forward pass has JAX's gradients, which are slow inside a loop on a CPU.
        kernel, bias = self.conv.kernel[...], self.conv.bias
        assert bias is not None, "flax's default is to have one"
        return convolution(x, kernel, self.stride, self.padding) + bias[...]


class GroupNorm(nnx.Module):
    """Mean 0 and variance 1 of each group of channels, then a learned scale and bias of each."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, groups: int) -> None:
        # As in `LayerNorm`: the fast variance loses digits.
        self.norm = nnx.GroupNorm(shape[-1], groups, use_fast_variance=False, rngs=rngs)

    def __call__(self, x: Array, dropout_key: Array | None) -> Array:
        del dropout_key
        return self.norm(x)


class Dropout(nnx.Module):
    """0 with a chance, and scaled up otherwise so that the mean stays; nothing without a key."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, rate: float) -> None:
        del shape, rngs
        self.dropout = nnx.Dropout(rate)

    def __call__(self, x: Array, dropout_key: Array | None) -> Array:
        return self.dropout(x, deterministic=dropout_key is None, rngs=dropout_key)


class Residual(nnx.Module):
    """The input plus what a pipe makes of it."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, layers: Layers) -> None:
        del shape
        self.layers = Pipe(layers, rngs)

    def __call__(self, x: Array, dropout_key: Array | None) -> Array:
        return x + self.layers(x, dropout_key)


class Repeat(nnx.Module):
    """A pipe n times, each with parameters of its own: `pass_0`, `pass_1`, ..."""

    def __init__(self, shape: tuple[int, ...], rngs: nnx.Rngs, *, n: int, layers: Layers) -> None:
        del shape
        self.names = tuple(f"pass_{place}" for place in range(n))
        for name in self.names:
            setattr(self, name, Pipe(layers, rngs))

    def __call__(self, x: Array, dropout_key: Array | None) -> Array:
        for place, name in enumerate(self.names):
            x = getattr(self, name)(x, _key_of(dropout_key, place))
        return x


class Elementwise(nnx.Module):
    """A function without parameters."""

    def __init__(self, function: Callable[[Array], Array]) -> None:
        self.function = function

    def __call__(self, x: Array, dropout_key: Array | None) -> Array:
        del dropout_key
        return self.function(x)


def flatten(x: Array) -> Array:
    """[B, ...] -> [B, D], rows of each example one after the other."""
    return x.reshape(x.shape[0], -1)


def max_pool(x: Array, *, size: int, stride: int | None) -> Array:
    """The greatest value in each window, [B, H, W, C]; windows lie wholly inside.

    stride   pixels from window to window; None: `size`, so that they don't overlap
    """
    return nnx.max_pool(x, (size, size), _strides(size, stride))


def avg_pool(x: Array, *, size: int, stride: int | None) -> Array:
    """The mean of each window, [B, H, W, C]; windows lie as for `max_pool`."""
    return nnx.avg_pool(x, (size, size), _strides(size, stride))


def _strides(size: int, stride: int | None) -> tuple[int, int]:
    step = size if stride is None else stride
    return step, step


def mean_pool(x: Array) -> Array:
    """[B, ..., C] -> [B, C], the mean over all that is between."""
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1)))


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
    "group_norm": GroupNorm,
    "max_pool": _without_parameters(max_pool),
    "avg_pool": _without_parameters(avg_pool),
    "mean_pool": _without_parameters(mean_pool),
    "residual": Residual,
    "repeat": Repeat,
    **{name: _without_parameters(function) for name, function in ACTIVATIONS.items()},
}

TABLE: Mapping[str, Callable[[ModelPlan, Params], Any]] = {
    "parameters": lambda model, params: parameters(model),
    "depth": lambda model, params: depth(model),
    "l2": lambda model, params: l2(params),
}
