"""Deeper networks: new layers and blocks that change nothing until they are trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import attrs

from ev3lang.plan.growth.copies import (
    Larger,
    NothingGrows,
    Path,
    Recipe,
    Start,
    Unfit,
    more,
    written,
)
from ev3lang.plan.growth.widths import widths
from ev3lang.plan.plan import LayerPlan, Layers, ModelPlan, Operation

DEEPER = ("mlp", "resnet", "transformer")


Deeper: TypeAlias = tuple[dict[str, Any], dict[str, str | None]]
"""A layer's options that change, and for each new name in it the old one, None for what is new."""


def deepen(model: ModelPlan, operation: Operation) -> Larger:
    """More layers at the end of every mlp, resnet and transformer of the pipe.

    A hidden layer of an mlp has the identity as its weights: relu leaves what relu has made as it
    is. A block of a resnet ends with a norm whose scale is 0, and one of a transformer with
    dense layers of zeros, so that it adds nothing; what stands before them is drawn anew. No two
    of their units are alike, so there is no tie to break.

    The function stays, and its curvature does not: an identity between two dense layers is as
    steep in its weights as what surrounds it. The largest eigenvalue of the loss's Hessian on
    digits went from 4.4 to 11.1 and from 2.6 to 10.2 for an mlp of 16 units, while `widen(2x)`
    left 5.9 and 2.9. Plain gradient descent bears 2 / learning_rate, and less on small batches:
    behind `deepen` of an mlp, sgd(0.1) came to a loss 11% higher over the next 100 steps
    ([32, 32]; 9% lower for [16]), and with momentum 0.9 to two to four times the loss. A fresh
    optimizer state, or the identity scaled against its neighbours, was no remedy; an mlp that is
    as deep from the start has twice the loss at that learning rate as well. So an mlp deepens
    under an optimizer that sizes its steps (adamw: 13% lower), or at a learning rate that suits
    the deeper one (momentum 0.9 with 0.01: 4 to 11% lower; with 0.03 still 17 to 42% higher).
    Blocks of resnets and transformers, which start by adding nothing, don't need that.
    Raises Unfit for a model that has none of these, or an mlp without a hidden layer; the recipes
    do for an mlp with another activation.
    Source: Chen, Goodfellow and Shlens (2016), arXiv:1511.05641, section 2.3; Goyal et al.
    (2017), arXiv:1706.02677, section 5.1, for the scale; Zhang, Dauphin and Ma (2019),
    arXiv:1901.09321, for zeros at a block's end.
    """
    count = int(dict[str, Any](operation.options)["count"])

    def deeper(layer: LayerPlan) -> Deeper:
        options: dict[str, Any] = dict(layer.options)
        match layer.name:
            case "mlp":
                hidden = options["hidden"]
                if not hidden:
                    raise Unfit(
                        f"{written(operation)} takes an mlp with a hidden layer: the data may be "
                        "negative, and relu would change them"
                    )
                names = [f"hidden_{len(hidden) + place}" for place in range(count)]
                return {"hidden": (*hidden, *(hidden[-1],) * count)}, dict.fromkeys(names)
            case "resnet":
                stages = options["stages"]
                return _with_blocks(stages, (*stages[:-1], stages[-1] + count))
            case _:
                layers = options["layers"]
                names = [f"block_{layers + place}" for place in range(count)]
                return {"layers": layers + count}, dict.fromkeys(names)

    return _grown(model, operation, deeper)


def deepen_every_stage(model: ModelPlan, operation: Operation) -> Larger:
    """More blocks at the end of every stage of a resnet, each as `deepen` adds it.

    With `factor` a stage has so many times as many blocks: the nearest whole number, and one more
    at least. Raises Unfit for other networks: they have no stages.
    """
    given: dict[str, Any] = dict(operation.options)
    factor, count = given["factor"], given["count"]

    def deeper(layer: LayerPlan) -> Deeper:
        if layer.name != "resnet":
            raise Unfit(f"{written(operation)} is for a resnet: {layer.name} has no stages")
        stages = dict[str, Any](layer.options)["stages"]
        return _with_blocks(
            stages,
            tuple(
                blocks + count if factor is None else more(blocks, float(factor))
                for blocks in stages
            ),
        )

    return _grown(model, operation, deeper)


def _with_blocks(before: tuple[int, ...], after: tuple[int, ...]) -> Deeper:
    """A resnet with so many blocks in each stage, the new ones behind the others."""
    sources: list[str | None] = []
    first = 0
    for old, all_ in zip(before, after, strict=True):
        sources += [f"block_{place}" for place in range(first, first + old)]
        sources += [None] * (all_ - old)
        first += old
    return {"stages": after}, {f"block_{place}": old for place, old in enumerate(sources)}


def _grown(model: ModelPlan, operation: Operation, deeper: Callable[[LayerPlan], Deeper]) -> Larger:
    """The model with options changed by `deeper`, which also says where blocks come from."""
    layers: list[LayerPlan] = []
    sources: dict[Path, str | None] = {}
    starts: dict[str, Callable[[Path], Start]] = {}
    for place, layer in enumerate(model.layers.layers):
        if layer.name not in DEEPER:
            layers.append(layer)
            continue
        options, blocks = deeper(layer)
        changed = tuple((name, options.get(name, value)) for name, value in layer.options)
        layers.append(attrs.evolve(layer, options=changed))
        name = f"{layer.name}_{place}"
        sources |= {(name, block): old for block, old in blocks.items()}
        starts[name] = _START[layer.name](dict(layer.options))
    if not sources:
        raise NothingGrows(f"{written(operation)} takes an mlp, a resnet or a transformer")
    grown = attrs.evolve(model, layers=Layers(tuple(layers)))

    def recipe(path: Path) -> Recipe:
        if path[:2] not in sources:
            return Recipe(path)
        old = sources[path[:2]]
        if old is None:
            return Recipe(None, start=starts[path[0]](path[2:]))
        return Recipe((path[0], old, *path[2:]))

    def recipes() -> Mapping[Path, Recipe]:
        for layer in model.layers.layers:
            _require_relu(operation, layer)
        return {path: recipe(path) for path in widths(grown).arrays}

    return Larger(grown, recipes)


def _require_relu(operation: Operation, layer: LayerPlan) -> None:
    activation = dict(layer.options).get("activation") if layer.name == "mlp" else "relu"
    if activation != "relu":
        raise Unfit(
            f"{written(operation)} takes an mlp with relu: {activation} changes what it is given "
            "a second time"
        )


# ---------------------------------------------------------------- what new arrays hold


def _start_of_mlp(options: dict[str, Any]) -> Callable[[Path], Start]:
    del options
    return lambda path: "identity" if path[-1] == "kernel" else "zeros"


def _start_of_resnet(options: dict[str, Any]) -> Callable[[Path], Start]:
    last = {"basic": "conv_1", "bottleneck": "conv_2"}[options["block"]]

    def start(path: Path) -> Start:
        match path[-1]:
            case "kernel":
                return "he"
            case "scale":
                return "zeros" if path[0] == last else "ones"
            case "var":
                return "ones"
            case _:
                return "zeros"

    return start


def _start_of_transformer(options: dict[str, Any]) -> Callable[[Path], Start]:
    del options

    def start(path: Path) -> Start:
        adds = path[-2] == "down" or path[:2] == ("attention", "output")
        if path[-1] == "kernel":
            return "zeros" if adds else "lecun"
        return "ones" if path[-1] == "scale" else "zeros"

    return start


_START: dict[str, Callable[[dict[str, Any]], Callable[[Path], Start]]] = {
    "mlp": _start_of_mlp,
    "resnet": _start_of_resnet,
    "transformer": _start_of_transformer,
}
