"""The widths of a model: which axes of its arrays run over the same units, and grow together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from ev3lang.catalog.networks import EXPANSION, resnet_widths
from ev3lang.plan.growth.copies import Path, Role
from ev3lang.plan.plan import LayerPlan, Layers, ModelPlan


@attrs.define(eq=False)
class Width:
    """A number of units. Joined with another it is one with it: read it through `one`.

    is_fixed        the data's or the output's: it can't grow
    is_hidden       whether it counts as a hidden layer of its own
    stage           of a resnet, counted from 1; a stem's, where it goes into the blocks as it is
    granule         units that come at once: of a head, of a group
    groups          group norms over it, by how many groups they have
    head            units that are copied together and stay in order; 0 where they needn't
    is_normed       layer norm takes means over it
    can_be_silent   whether it may have units that are 0: dense layers, convolutions and embeddings
                    make it, and nothing but layer norm sees it before it is multiplied by weights
    follows, times  the width that it is so many times as large as
    around          the width whose units stand in its middle: a shortcut that adds zeros
    """

    size: int
    is_fixed: bool = False
    is_hidden: bool = True
    stage: int | None = None
    granule: int = 1
    groups: set[int] = attrs.Factory(set)
    head: int = 0
    is_normed: bool = False
    can_be_silent: bool = True
    follows: Width | None = None
    times: int = 1
    around: Width | None = None
    into: Width | None = None

    @property
    def one(self) -> Width:
        return self if self.into is None else self.into.one

    @property
    def is_bound(self) -> bool:
        """Whether it can't grow, by itself or with what it follows."""
        own = self.one
        return own.is_fixed or (own.follows is not None and own.follows.is_bound)

    def come_in(self, granule: int) -> None:
        own = self.one
        own.granule = math.lcm(own.granule, granule)

    def join(self, other: Width) -> None:
        """Both run over the same units from here on; the earlier of them stands for both."""
        first, second = self.one, other.one
        if first is second:
            return
        first.come_in(second.granule)
        first.is_fixed |= second.is_fixed
        first.is_hidden |= second.is_hidden
        first.groups |= second.groups
        first.is_normed |= second.is_normed
        first.can_be_silent &= second.can_be_silent
        second.into = first


@attrs.frozen
class Axis:
    """The last axis of what goes from layer to layer.

    places      how often it has each unit: a flattened image has each channel for every pixel
    is_normed   whether layer norm has just been over it
    """

    width: Width
    places: int = 1
    is_normed: bool = False


@attrs.frozen
class Use:
    """What an axis of an array has to do with a width."""

    width: Width
    role: Role
    places: int = 1


After: TypeAlias = Callable[[Width], int]
"""How many units a width has after growth."""

Options: TypeAlias = dict[str, Any]
Rebuild: TypeAlias = Callable[[After], Options]
"""A layer's options that growth changes."""

Paths: TypeAlias = list[Path]
"""Where the arrays of a layer stand: several places where `repeat` has it several times."""


@attrs.define(eq=False)
class Widths:
    """A model's widths.

    arrays   for each of its arrays, what its axes are over; None for those that never grow
    made     all widths in their order, joined ones too
    """

    model: ModelPlan
    arrays: dict[Path, tuple[Use | None, ...]] = attrs.Factory(dict)
    made: list[Width] = attrs.Factory(list)
    rebuild: Callable[[After], Layers] = attrs.field(init=False)

    @property
    def hidden(self) -> list[Width]:
        """The hidden layers that can grow, each once, as `widen_stage` counts them."""
        return [each for each in self.growing if each.is_hidden]

    @property
    def growing(self) -> list[Width]:
        """Every width that can grow by itself, each once."""
        own = [each for each in self.made if each.into is None and each.follows is None]
        return [each for each in own if not each.is_fixed]

    def rebuilt(self, after: After) -> ModelPlan:
        """The model with other widths."""
        return attrs.evolve(self.model, layers=self.rebuild(after))

    def new(self, size: int, **facts: Any) -> Width:
        self.made.append(Width(size, **facts))
        return self.made[-1]

    def array(self, paths: Paths, name: str, *axes: Use | None) -> None:
        for path in paths:
            self.arrays[(*path, *name.split("."))] = axes

    def linear(self, paths: Paths, name: str, read: Use, made: Width) -> None:
        """The kernel and the bias of a dense layer."""
        self.array(paths, f"{name}.kernel", read, Use(made, "made"))
        self.array(paths, f"{name}.bias", Use(made, "made"))

    def layer_norm(self, paths: Paths, name: str, axis: Axis) -> None:
        width = axis.width.one
        width.is_normed = True
        if axis.is_normed or axis.places > 1:
            width.can_be_silent = False
        self.array(paths, f"{name}.scale", Use(width, "scale", axis.places))
        self.array(paths, f"{name}.bias", Use(width, "bias", axis.places))


def widths(model: ModelPlan) -> Widths:
    """The widths of a model made of layers of ours."""
    assert model.module is None, "the arrays of a user's class are its own"
    found = Widths(model)
    data = None if model.takes == "tokens" else Axis(found.new(model.input[-1], is_fixed=True))
    axis, found.rebuild = _pipe(found, model.layers, [()], data)
    if axis is not None:
        axis.width.one.is_fixed = True
    return found


def read(axis: Axis | None, places: int = 1) -> Use:
    """The axis multiplied by weights."""
    assert axis is not None, "tokens are embedded first"
    if not axis.is_normed:
        axis.width.one.can_be_silent = False
    return Use(axis.width, "read", axis.places * places)


def _pipe(
    found: Widths, layers: Layers, paths: Paths, axis: Axis | None
) -> tuple[Axis | None, Callable[[After], Layers]]:
    rebuilds: list[Callable[[After], LayerPlan]] = []
    for place, layer in enumerate(layers.layers):
        before = axis
        inside = [(*path, f"{layer.name}_{place}") for path in paths]
        axis, options = LAYERS[layer.name](found, layer, inside, before)
        rebuilds.append(_rebuilding(layer, before, axis, options))
    return axis, lambda after: Layers(tuple(rebuild(after) for rebuild in rebuilds))


def _rebuilding(
    layer: LayerPlan, before: Axis | None, behind: Axis | None, options: Rebuild
) -> Callable[[After], LayerPlan]:
    def rebuild(after: After) -> LayerPlan:
        changed = options(after)
        return LayerPlan(
            layer.name,
            tuple((name, changed.get(name, value)) for name, value in layer.options),
            _shape(layer.input, before, after),
            _shape(layer.output, behind, after),
        )

    return rebuild


def _shape(shape: tuple[int, ...], axis: Axis | None, after: After) -> tuple[int, ...]:
    return shape if axis is None else (*shape[:-1], after(axis.width) * axis.places)


# ---------------------------------------------------------------- layers


def _same(after: After) -> Options:
    del after
    return {}


def _kept(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis | None, Rebuild]:
    """A layer that is linear in each unit, the same for all, and learns nothing."""
    del found, layer, paths
    return axis, _same


def _bent(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis | None, Rebuild]:
    """A layer that bends each unit and learns nothing."""
    del found, layer, paths
    _bend(axis)
    return axis, _same


def _bend(axis: Axis | None) -> None:
    if axis is not None:
        axis.width.one.can_be_silent = False


def _flatten(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis | None, Rebuild]:
    del found, paths
    assert axis is not None
    places = axis.places * math.prod(layer.input[:-1])
    return attrs.evolve(axis, places=places), _same


def _dense(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis, Rebuild]:
    made = found.new(layer.output[-1])
    found.linear(paths, "linear", read(axis), made)
    return Axis(made), lambda after: {"width": after(made)}


def _conv(found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None) -> tuple[Axis, Rebuild]:
    made = found.new(layer.output[-1])
    found.array(paths, "conv.kernel", None, None, read(axis), Use(made, "made"))
    found.array(paths, "conv.bias", Use(made, "made"))
    return Axis(made), lambda after: {"width": after(made)}


def _embed(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis, Rebuild]:
    del axis
    made = found.new(layer.output[-1])
    found.array(paths, "table.embedding", None, Use(made, "made"))
    return Axis(made), lambda after: {"width": after(made)}


def _mlp(found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None) -> tuple[Axis, Rebuild]:
    before = read(axis, math.prod(layer.input[:-1]))
    hidden: list[Width] = []
    for place, size in enumerate(dict[str, Any](layer.options)["hidden"]):
        hidden.append(found.new(size, can_be_silent=False))
        found.linear(paths, f"hidden_{place}", before, hidden[-1])
        before = Use(hidden[-1], "read")
    made = found.new(layer.output[-1])
    found.linear(paths, "output", before, made)
    return Axis(made), lambda after: {
        "hidden": tuple(after(each) for each in hidden),
        "width": after(made),
    }


def _batch_norm(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis | None, Rebuild]:
    del layer
    assert axis is not None
    _bend(axis)
    for name in ("scale", "bias", "statistics.mean", "statistics.var"):
        found.array(paths, name, Use(axis.width, "made", axis.places))
    return axis, _same


def _group_norm(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis | None, Rebuild]:
    assert axis is not None
    _bend(axis)
    width, groups = axis.width, int(dict[str, Any](layer.options)["groups"])
    if axis.places > 1:
        # Its groups run over places and units at once: left as it is.
        width.one.is_fixed = True
    else:
        width.one.groups.add(groups)
        width.come_in(width.size // groups)
    for name in ("norm.scale", "norm.bias"):
        found.array(paths, name, Use(width, "made", axis.places))
    return axis, lambda after: {"groups": groups_after(width, groups, after)}


def groups_after(width: Width, groups: int, after: After) -> int:
    """Groups of a group norm behind growth.

    As many where each has each of its units several times; else there are more groups, each with
    as many units.
    """
    size = after(width)
    return groups if size % width.size == 0 else size // (width.size // groups)


def _layer_norm(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis | None, Rebuild]:
    del layer
    assert axis is not None
    found.layer_norm(paths, "norm", axis)
    return attrs.evolve(axis, is_normed=True), _same


def _residual(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis | None, Rebuild]:
    inner = dict[str, Any](layer.options)["layers"]
    behind, rebuild = _pipe(found, inner, [(*path, "layers") for path in paths], axis)
    return _joined(axis, behind), lambda after: {"layers": rebuild(after)}


def _repeat(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis | None, Rebuild]:
    options: dict[str, Any] = dict(layer.options)
    passes = [(*path, f"pass_{place}") for path in paths for place in range(options["n"])]
    behind, rebuild = _pipe(found, options["layers"], passes, axis)
    return _joined(axis, behind), lambda after: {"layers": rebuild(after)}


def _joined(before: Axis | None, behind: Axis | None) -> Axis | None:
    """What goes in and what comes out are added, or one takes the other's place."""
    if before is None or behind is None:
        return behind
    before.width.join(behind.width)
    if before.is_normed != behind.is_normed:
        _bend(before)
    if before.places != behind.places:
        before.width.one.is_fixed = True
    return before


def _attention(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis, Rebuild]:
    depth = layer.input[-1] // int(dict[str, Any](layer.options)["heads"])
    assert axis is not None
    _attend(found, paths, axis, depth)
    if axis.is_normed:
        # What comes out is no longer what layer norm made, and has the same width.
        axis = attrs.evolve(axis, is_normed=False)
    return axis, lambda after: {"heads": after(axis.width) // depth}


def _attend(found: Widths, paths: Paths, axis: Axis, depth: int) -> None:
    """Queries, keys and values by head, and what is made of them, as wide as what is read."""
    width = axis.width
    width.come_in(depth)
    heads = found.new(width.size, is_hidden=False, head=depth, follows=width)
    for name in ("query", "key", "value"):
        found.linear(paths, name, read(axis), heads)
    found.linear(paths, "output", Use(heads, "read"), width)


def _transformer(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis, Rebuild]:
    options: dict[str, Any] = dict(layer.options)
    assert axis is not None
    if axis.is_normed:
        # Places and blocks are added to what a norm has made, whose mean isn't 0.
        _bend(axis)
    width, depth = axis.width, layer.input[-1] // int(options["heads"])
    stream, normed = Axis(width), Axis(width, is_normed=True)
    size = options["feed_forward"]
    facts: dict[str, Any] = {"is_hidden": False, "can_be_silent": False}
    if size is None:
        between = found.new(4 * width.size, follows=width, times=4, **facts)
    else:
        between = found.new(size, **facts)
    if options["positions"] == "learned":
        found.array(paths, "positions", None, Use(width, "made"))
    blocks = [(*path, f"block_{place}") for path in paths for place in range(options["layers"])]
    found.layer_norm(blocks, "first_norm.norm", stream)
    _attend(found, [(*path, "attention") for path in blocks], normed, depth)
    found.layer_norm(blocks, "second_norm.norm", stream)
    found.linear(blocks, "up", read(normed), between)
    found.linear(blocks, "down", Use(between, "read"), width)
    found.layer_norm(paths, "norm.norm", stream)
    return normed, lambda after: {
        "heads": after(width) // depth,
        "width": after(width),
        "feed_forward": None if size is None else after(between),
    }


def _resnet(
    found: Widths, layer: LayerPlan, paths: Paths, axis: Axis | None
) -> tuple[Axis, Rebuild]:
    options: dict[str, Any] = dict(layer.options)
    width, block = options["width"], options["block"]
    groups = options["groups"] if options["norm"] == "group" else None
    inner = resnet_widths(options)

    def channels(size: int, stage: int, around: Width | None = None) -> Width:
        # Those of a stage grow alike, and all stages do while they double.
        of_norm = set() if groups is None else {groups}
        units = groups or (width if options.get("widths") is None or stage < 0 else inner[stage])
        facts: dict[str, Any] = {"groups": of_norm, "around": around, "stage": stage + 1}
        return found.new(size, is_hidden=False, granule=size // units, **facts)

    def conv_norm(names: Paths, before: Use, made: Width) -> None:
        found.array(names, "kernel", None, None, before, Use(made, "made"))
        of_norm = (
            ("scale", "bias", "statistics.mean", "statistics.var")
            if groups is None
            else ("norm.scale", "norm.bias")
        )
        for name in of_norm:
            found.array(names, f"norm.{name}", Use(made, "made"))

    goes_in = width == inner[0] * EXPANSION[block]
    stem = stream = channels(width, 0 if goes_in else -1)
    conv_norm(_in(paths, "stem"), read(axis), stem)
    blocks = iter(range(sum(options["stages"])))
    insides: list[Width] = []
    for stage, (count, inside) in enumerate(zip(options["stages"], inner, strict=True)):
        for place in range(count):
            names = _in(paths, f"block_{next(blocks)}")
            before, size = stream, inside * EXPANSION[block]
            changes = size != before.size or (stage > 0 and not place)
            if changes and options["shortcut"] == "projection":
                stream = channels(size, stage)
                conv_norm(_in(names, "projection"), Use(before, "read"), stream)
            elif changes:
                stream = channels(size, stage, around=before)
            between = [channels(inside, stage) for _ in range(BETWEEN[block])]
            steps = itertools.pairwise([before, *between, stream])
            for number, (one, next_) in enumerate(steps):
                conv_norm(_in(names, f"conv_{number}"), Use(one, "read"), next_)
        insides.append(between[0])
    made = found.new(layer.output[-1])
    found.linear(paths, "output", Use(stream, "read"), made)

    def rebuild(after: After) -> Options:
        grown = tuple(after(each) for each in insides)
        doubling = resnet_widths({**options, "width": after(stem)})
        return {
            "width": after(stem),
            "widths": None if options.get("widths") is None and grown == doubling else grown,
            "groups": options["groups"] if groups is None else groups_after(stem, groups, after),
            "outputs": after(made),
        }

    return Axis(made), rebuild


BETWEEN = {"basic": 1, "bottleneck": 2}
"""Convolutions of a block before its last one, each of which has a width inside the block."""


def _in(paths: Iterable[Path], name: str) -> Paths:
    return [(*path, name) for path in paths]


LAYERS: Mapping[str, Callable[[Widths, LayerPlan, Paths, Axis | None], Any]] = {
    "mlp": _mlp,
    "flatten": _flatten,
    "dense": _dense,
    "dropout": _kept,
    "layer_norm": _layer_norm,
    "conv": _conv,
    "resnet": _resnet,
    "embed": _embed,
    "attention": _attention,
    "transformer": _transformer,
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "max_pool": _bent,
    "avg_pool": _kept,
    "mean_pool": _kept,
    "residual": _residual,
    "repeat": _repeat,
    **dict.fromkeys(
        (
            "relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "tanh", "sigmoid",
        ),
        _bent,
    ),
}  # fmt: skip
