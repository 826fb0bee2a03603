"""How much work a model is: the multiplications of one example's forward pass."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from ev3lang.catalog.networks import resnet_channels, resnet_convolutions
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
            convolutions = list(resnet_convolutions(layer.input, options))
            return (
                sum(
                    each.places * each.kernel**2 * each.before * each.after for each in convolutions
                )
                + resnet_channels(options) * layer.output[-1]
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


def _of_layers(layers: Layers) -> int:
    return sum(_of_layer(layer) for layer in layers.layers)
