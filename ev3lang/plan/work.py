"""How much a model is: its numbers, its depth, and the multiplications of a forward pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from ev3lang.catalog.networks import resnet_channels, resnet_convolutions
from ev3lang.check import limits, models, typed
from ev3lang.plan.plan import LayerPlan, Layers, Link, ModelPlan, Operation


def parameters(model: ModelPlan) -> int | None:
    """How many numbers a model learns, as the checker counts them; None for a user's class."""
    if model.module is not None:
        return None
    layers = _counted(model.layers)
    return models.parameters(
        typed.ModelInfo(model.name, (), model.input, model.output, layers, is_frozen=False)
    )


def layers(model: ModelPlan) -> int:
    """How many layers with weights a model has, those of blocks too."""
    return limits.layers(_counted(model.layers))


_WIDTHS = ("hidden", "width", "widths", "feed_forward")
"""Options of layers that say how wide they are."""


def widest_layer(model: ModelPlan) -> int:
    """The units of the widest layer, by the widths that its options state; 0 where none does."""
    return _widest(_counted(model.layers))


def _widest(infos: Iterable[typed.LayerInfo]) -> int:
    units = [0]
    for info in infos:
        for name, value in info.options:
            given = value if isinstance(value, tuple) else (value,)
            units += [each for each in given if name in _WIDTHS and isinstance(each, int)]
        units.append(_widest(info.inner))
    return max(units)


def _counted(layers: Layers) -> tuple[typed.LayerInfo, ...]:
    """Layers in the checker's form, which keeps an inner pipe apart from the options."""
    return tuple(
        typed.LayerInfo(
            each.name,
            tuple(
                (name, value)
                for name, value in each.options
                if not isinstance(value, (Layers, Link, Operation))
            ),
            _counted(next((v for _, v in each.options if isinstance(v, Layers)), Layers(()))),
            each.input,
            each.output,
        )
        for each in layers.layers
    )


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


def depth(model: ModelPlan) -> int:
    """The hidden layers of an mlp, blocks of a resnet, layers of a transformer.

    Of a pipe without any of them, the dense layers before its last.
    """
    named = [_depth_of(layer) for layer in model.layers.layers]
    if any(count is not None for count in named):
        return sum(count or 0 for count in named)
    return max(0, _dense_layers(model.layers) - 1)


def _depth_of(layer: LayerPlan) -> int | None:
    options: dict[str, Any] = dict(layer.options)
    match layer.name:
        case "mlp":
            return len(options["hidden"])
        case "resnet":
            return int(sum(options["stages"]))
        case "transformer":
            return int(options["layers"])
        case _:
            return None


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
            return int(options["n"]) * _dense_layers(options["layers"])
        case _:
            return 0


def summed(counts: Iterable[int | None]) -> int | None:
    """The sum of counts, None where one of them isn't known."""
    known = list(counts)
    return None if None in known else sum(each for each in known if each is not None)


# ---------------------------------------------------------------- activations


def activations(model: ModelPlan) -> int:
    """How many numbers the layers of one example's forward pass give, all together.

    About: what a compiler keeps of them is its own affair. Norms and activations count as the
    layer before them.
    """
    return sum(_results(model))


def widest(model: ModelPlan) -> int:
    """About how many numbers of one example have to be held at once where no gradient follows.

    The largest result of a layer, as what goes in and as what comes out.
    """
    return 2 * max(_results(model))


AT_ONCE = 2**24
"""Numbers that a layer may give where a whole split is measured: of larger nets it goes in pieces.

Of a transformer of 4 heads over 128 tokens, 3200 reviews would take 1.7 GB in one piece, for each
candidate; 64 MB and the time of one piece are what is left.
"""


def rows_at_once(model: ModelPlan) -> int:
    """How many examples a model is applied to at a time where a split is measured."""
    return max(1, AT_ONCE // widest(model))


def _results(model: ModelPlan) -> Iterator[int]:
    yield math.prod(model.input)
    yield from _of_pipe(model.layers)


def _of_pipe(layers: Layers) -> Iterator[int]:
    for layer in layers.layers:
        yield from _results_of(layer)


def _results_of(layer: LayerPlan) -> Iterator[int]:
    options: dict[str, Any] = dict(layer.options)
    match layer.name:
        case "dense" | "conv" | "embed" | "max_pool" | "avg_pool" | "mean_pool":
            yield math.prod(layer.output)
        case "mlp":
            yield from (*options["hidden"], layer.output[-1])
        case "resnet":
            convolutions = resnet_convolutions(layer.input, options)
            yield from (each.places * each.after for each in convolutions)
            yield layer.output[-1]
        case "attention":
            length, width = layer.input
            yield from _attended(length, width, int(options["heads"]))
        case "transformer":
            length, width = layer.input
            between = options["feed_forward"] or 4 * width
            for _ in range(int(options["layers"])):
                yield from _attended(length, width, int(options["heads"]))
                yield from (length * between, length * width)
        case "residual":
            yield from _of_pipe(options["layers"])
        case "repeat":
            for _ in range(int(options["n"])):
                yield from _of_pipe(options["layers"])


def _attended(length: int, width: int, heads: int) -> Iterator[int]:
    """Queries, keys and values of each place, a weight for each pair, and two results."""
    yield 3 * length * width
    yield heads * length**2
    yield from (length * width, length * width)
