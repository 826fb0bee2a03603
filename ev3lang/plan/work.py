"""How much work a model is: the multiplications of one example's forward pass."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from ev3lang.plan.plan import LayerPlan, Layers, ModelPlan


def flops(model: ModelPlan) -> int:
    """Floating-point operations of one example's forward pass.

    A multiplication and its addition are two. What is counted are products with weights and the
    two products of attention; norms, activations, biases and pooling are not, as is usual.
    """
    return 2 * multiplications(model)


def multiplications(model: ModelPlan) -> int:
    """How many multiplications of weights one example's forward pass takes."""
    return _of_layers(model.layers)


def _of_layer(layer: LayerPlan) -> int:
    options: dict[str, Any] = dict(layer.options)
    match layer.name:
        case "dense":
            return math.prod(layer.input) * layer.output[-1]
        case "conv":
            return math.prod(layer.output) * int(options["kernel"]) ** 2 * layer.input[-1]
        case "mlp":
            widths = (math.prod(layer.input), *options["hidden"], layer.output[-1])
            return sum(before * after for before, after in pairwise(widths))
        case "resnet":
            return (
                sum(
                    places * kernel**2 * before * after
                    for places, kernel, before, after in _residual_convolutions(layer)
                )
                + _last_channels(options) * layer.output[-1]
            )
        case "attention":
            return _of_attention(*layer.input)
        case "transformer":
            length, width = layer.input
            between = options["feed_forward"] or 4 * width
            block = _of_attention(length, width) + 2 * length * width * between
            return int(options["layers"]) * block
        case "residual":
            return _of_layers(options["layers"])
        case "repeat":
            return int(options["n"]) * _of_layers(options["layers"])
        case _:
            return 0


def _of_attention(length: int, width: int) -> int:
    """Four matrices for each place, and the scores and means of all pairs of places."""
    return 4 * length * width**2 + 2 * length**2 * width


def _residual_convolutions(layer: LayerPlan) -> Iterator[tuple[int, int, int, int]]:
    """A resnet's convolutions: places, pixels along the kernel's side, channels in and out."""
    options: dict[str, Any] = dict(layer.options)
    height, sideways, channels = layer.input
    width, is_bottleneck = int(options["width"]), options["block"] == "bottleneck"
    kernel, stride = (7, 2) if options["stem"] == "imagenet" else (3, 1)
    height, sideways = -(-height // stride), -(-sideways // stride)
    yield height * sideways, kernel, channels, width
    if options["stem"] == "imagenet":
        height, sideways = -(-height // 2), -(-sideways // 2)
    channels = width
    for stage, count in enumerate(options["stages"]):
        inside = width * 2**stage
        outside = inside * (4 if is_bottleneck else 1)
        for place in range(count):
            stride = 2 if stage and not place else 1
            before = height * sideways
            height, sideways = -(-height // stride), -(-sideways // stride)
            places = height * sideways
            if is_bottleneck:
                yield before, 1, channels, inside
                yield places, 3, inside, inside
                yield places, 1, inside, outside
            else:
                yield places, 3, channels, inside
                yield places, 3, inside, outside
            has_shortcut = stride > 1 or channels != outside
            if has_shortcut and options["shortcut"] == "projection":
                yield places, 1, channels, outside
            channels = outside


def _last_channels(options: Mapping[str, Any]) -> int:
    expansion = 4 if options["block"] == "bottleneck" else 1
    return int(options["width"]) * int(2 ** (len(options["stages"]) - 1)) * expansion


def _of_layers(layers: Layers) -> int:
    return sum(_of_layer(layer) for layer in layers.layers)
