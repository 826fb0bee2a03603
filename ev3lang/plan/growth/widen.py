"""Wider layers: units are copied, and what is multiplied by a unit is shared by its copies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from ev3lang.plan.growth.copies import (
    SILENT,
    Along,
    Copies,
    Larger,
    NothingGrows,
    Path,
    Recipe,
    Unfit,
    more,
    written,
)
from ev3lang.plan.growth.widths import After, Use, Width, Widths, groups_after, widths
from ev3lang.plan.plan import ModelPlan, Operation


def widen(model: ModelPlan, operation: Operation) -> Larger:
    """More units in every hidden layer, in the embedding and in every block.

    A width of n units has the nearest whole number to factor x n, and one more at least. Heads
    and the groups of a group norm stay whole: there the factor is of their number, except that
    for a whole factor each group has each of its units as often and there are as many groups. A
    resnet whose channels double goes on doubling: its factor is that of its first stage.
    Raises Unfit for a model that can't keep its function so.
    Source: Chen, Goodfellow and Shlens (2016), arXiv:1511.05641, section 2.2.
    """
    return _grown(model, operation, lambda found: found.growing)


def widen_stage(model: ModelPlan, operation: Operation) -> Larger:
    """As `widen`, in one stage of a resnet, or in one hidden layer of a model without any.

    Hidden layers are dense layers, convolutions and embeddings, and what is added to them. Alone, a
    layer that is twice as wide makes the loss twice as steep in the weights behind it: sgd(0.1,
    momentum: 0.9) came to 8 to 48% more loss over the 100 steps behind `widen_stage(2)` of an mlp
    of [32, 32] on digits; plain sgd(0.1) and adamw came to less than 1% more.
    """
    return _grown(model, operation, lambda found: _stage(found, operation))


def _grown(
    model: ModelPlan, operation: Operation, chosen: Callable[[Widths], list[Width]]
) -> Larger:
    found = widths(model)
    growing = chosen(found)
    if not growing:
        raise NothingGrows(
            f"{written(operation)} finds no layer that can be wider: all widths are those of the "
            "data or of the output"
        )
    after = _after(growing, _factor(operation))

    def recipes() -> Mapping[Path, Recipe]:
        copies = {each: _copies(each, after, operation) for each in found.made if each.into is None}

        def along(use: Use | None) -> Along | None:
            how = None if use is None else copies[use.width.one]
            return None if use is None or how is None else Along(how, use.role, use.places)

        return {path: Recipe(path, tuple(map(along, axes))) for path, axes in found.arrays.items()}

    return Larger(found.rebuilt(after), recipes)


def _factor(operation: Operation) -> float:
    return float(dict[str, Any](operation.options)["factor"])


def _stage(found: Widths, operation: Operation) -> list[Width]:
    """The widths of one stage or hidden layer. Raises Unfit where it can't grow alone."""
    number = int(dict[str, Any](operation.options)["stage"])
    stages = max((each.stage or 0 for each in found.growing), default=0)
    count = stages or len(found.hidden)
    if number > count:
        what = "stage" if stages else "hidden layer"
        raise Unfit(f"{written(operation)} names {what} {number}, and there are {count} to widen")
    if not stages:
        return [found.hidden[number - 1]]
    chosen = [each for each in found.growing if each.stage == number]
    after = _after(chosen, _factor(operation))
    if any(each.around in chosen and each not in chosen for each in found.growing):
        raise Unfit(
            f"{written(operation)}: with `shortcut: identity` the next stage holds as many "
            "channels and zeros around them: only the last stage can be wider alone"
        )
    if any(each.groups and after(each) % each.size for each in chosen):
        raise Unfit(
            f"{written(operation)} would need other groups in one stage of a resnet: take a "
            "whole factor, such as 2x"
        )
    return chosen


def _after(growing: list[Width], factor: float) -> After:
    """How many units a width has where these grow."""

    def after(width: Width) -> int:
        own = width.one
        if own.follows is not None:
            return own.times * after(own.follows)
        return own.granule * more(own.size // own.granule, factor) if own in growing else own.size

    return after


# ---------------------------------------------------------------- which unit copies which


def _copies(width: Width, after: After, operation: Operation) -> Copies | None:
    """How a width grows, None where it doesn't. Raises Unfit where norms would see a change."""
    if after(width) == width.size:
        return None
    copies = Copies(width.size, _sources(width, after))
    if width.is_normed and not copies.is_even:
        if not width.can_be_silent or width.groups:
            raise Unfit(
                f"{written(operation)} would change what layer_norm makes of {width.size} units: "
                "copied as often as each other they keep their mean and variance, so take a "
                "whole factor, such as 2x"
            )
        silent = (SILENT,) * (after(width) - width.size)
        return attrs.evolve(copies, source=(*range(width.size), *silent))
    for groups in sorted(width.groups):
        if not copies.keeps(groups, groups_after(width, groups, after)):
            raise Unfit(
                f"{written(operation)} would change what group_norm makes of {width.size} "
                f"channels in {groups} groups: take a whole factor, such as 2x, or "
                "`shortcut: projection`"
            )
    return copies


def _sources(width: Width, after: After) -> tuple[int, ...]:
    size, wide = width.size, after(width)
    if width.around is not None:
        return _around(width, width.around, after)
    if wide % size == 0 and not width.head:
        return _each(size, wide)
    # Whole heads and groups one after the other, from the first on again where they are used up.
    group = width.head or math.lcm(1, *(size // groups for groups in width.groups))
    return tuple(
        first % (size // group) * group + place
        for first in range(wide // group)
        for place in range(group)
    )


def _each(size: int, wide: int) -> tuple[int, ...]:
    """Each unit several times, its copies beside each other: groups and their shares stay."""
    return tuple(place // (wide // size) for place in range(wide))


def _around(width: Width, inner: Width, after: After) -> tuple[int, ...]:
    """Channels of zeros around those of the width before, half of them on each side."""
    size, wide = width.size - inner.size, after(width) - after(inner)
    first = size // 2
    middle = _sources(inner, after) if after(inner) != inner.size else tuple(range(inner.size))
    zeros = [place if place < first else place + inner.size for place in range(size)]
    is_whole = size > 0 and wide % size == 0
    outer = [zeros[place] for place in (_each(size, wide) if is_whole else _cycle(size, wide))]
    split = wide // 2
    return (*outer[:split], *(first + place for place in middle), *outer[split:])


def _cycle(size: int, wide: int) -> tuple[int, ...]:
    return tuple(place % size for place in range(wide))
