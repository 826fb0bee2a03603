"""Deeper networks: new layers and blocks that change nothing until they are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from ev3lang.plan.growth.copies import Growth, Path, Recipe, Start, Unfit, written
from ev3lang.plan.growth.widths import widths
from ev3lang.plan.plan import LayerPlan, Layers, ModelPlan, Operation

DEEPER = ("mlp", "resnet", "transformer")


def deepen(model: ModelPlan, operation: Operation) -> Growth:
    """More layers at the end of every mlp, resnet and transformer of the pipe.

    A hidden layer of an mlp has the identity as its weights: relu leaves what relu has made as it
    is. A block of a resnet ends with a norm whose scale is 0, and one of a transformer with
    dense layers of zeros, so that it adds nothing; what stands before them is drawn anew. No two
    of their units are alike, so there is no tie to break.
    Raises Unfit for a model that has none of these, or an mlp with another activation.
    Source: Chen, Goodfellow and Shlens (2016), arXiv:1511.05641, section 2.3; Goyal et al.
    (2017), arXiv:1706.02677, section 5.1, for the scale; Zhang, Dauphin and Ma (2019),
    arXiv:1901.09321, for zeros at a block's end.
    """

    def deeper(layer: LayerPlan, count: int) -> tuple[dict[str, Any], dict[str, str | None]]:
        options: dict[str, Any] = dict(layer.options)
        match layer.name:
            case "mlp":
                hidden = options["hidden"]
                _require_relu(operation, options)
                names = [f"hidden_{len(hidden) + place}" for place in range(count)]
                return {"hidden": (*hidden, *(hidden[-1],) * count)}, dict.fromkeys(names)
            case "resnet":
                stages = options["stages"]
                return {"stages": (*stages[:-1], stages[-1] + count)}, _new_blocks(
                    sum(stages), count
                )
            case _:
                layers = options["layers"]
                return {"layers": layers + count}, _new_blocks(layers, count)

    return _grown(model, operation, deeper)


def deepen_every_stage(model: ModelPlan, operation: Operation) -> Growth:
    """More blocks at the end of every stage of a resnet, each as `deepen` adds it.

    Raises Unfit for other networks: they have no stages.
    """

    def deeper(layer: LayerPlan, count: int) -> tuple[dict[str, Any], dict[str, str | None]]:
        if layer.name != "resnet":
            raise Unfit(f"{written(operation)} is for a resnet: {layer.name} has no stages")
        stages = dict[str, Any](layer.options)["stages"]
        sources: list[str | None] = []
        first = 0
        for blocks in stages:
            sources += [f"block_{place}" for place in range(first, first + blocks)]
            sources += [None] * count
            first += blocks
        names = (f"block_{place}" for place in range(len(sources)))
        return {"stages": tuple(blocks + count for blocks in stages)}, dict(
            zip(names, sources, strict=True)
        )

    return _grown(model, operation, deeper)


def _grown(
    model: ModelPlan,
    operation: Operation,
    deeper: Callable[[LayerPlan, int], tuple[dict[str, Any], dict[str, str | None]]],
) -> Growth:
    """The model with options changed by `deeper`, which also says where blocks come from."""
    count = int(dict[str, Any](operation.options)["count"])
    layers: list[LayerPlan] = []
    sources: dict[Path, str | None] = {}
    for place, layer in enumerate(model.layers.layers):
        if layer.name not in DEEPER:
            layers.append(layer)
            continue
        options, blocks = deeper(layer, count)
        changed = tuple((name, options.get(name, value)) for name, value in layer.options)
        layers.append(attrs.evolve(layer, options=changed))
        sources |= {(f"{layer.name}_{place}", name): old for name, old in blocks.items()}
    if not sources:
        raise Unfit(f"{written(operation)} takes an mlp, a resnet or a transformer")
    grown = attrs.evolve(model, layers=Layers(tuple(layers)))
    starts = {
        f"{layer.name}_{place}": _START[layer.name](dict(layer.options))
        for place, layer in enumerate(model.layers.layers)
        if layer.name in DEEPER
    }

    def recipe(path: Path) -> Recipe:
        old = sources.get(path[:2], path[1]) if len(path) > 1 else None
        if path[:2] not in sources:
            return Recipe(path)
        if old is None:
            return Recipe(None, start=starts[path[0]](path[2:]))
        return Recipe((path[0], old, *path[2:]))

    return Growth(grown, {path: recipe(path) for path in widths(grown).arrays})


def _new_blocks(first: int, count: int) -> dict[str, str | None]:
    return dict.fromkeys(f"block_{first + place}" for place in range(count))


def _require_relu(operation: Operation, options: dict[str, Any]) -> None:
    if options["activation"] != "relu":
        raise Unfit(
            f"{written(operation)} takes an mlp with relu: {options['activation']} changes what "
            "it is given a second time"
        )
    if not options["hidden"]:
        raise Unfit(
            f"{written(operation)} takes an mlp with a hidden layer: the data may be negative, "
            "and relu would change them"
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
