"""Growth as data: for each array of the larger model, where its numbers come from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import attrs

from ev3lang.catalog.index import GROWTH
from ev3lang.plan.plan import ModelPlan, Operation

Path: TypeAlias = tuple[str, ...]
"""The names that lead to an array in a model's nested dicts of parameters."""

Role: TypeAlias = Literal["made", "read", "scale", "bias"]
"""What the numbers along an axis have to do with its units: they make them, are multiplied by
them, or are layer norm's scales and biases."""

Start: TypeAlias = Literal["zeros", "ones", "identity", "lecun", "he"]
"""What a new array holds; the last two are the draws of `models.init`."""

SILENT = -1
"""In the place of a source: a unit that is 0 at first, and that copies none."""


class Unfit(ValueError):
    """A growth that this model can't take, in words that say which of its layers forbids it.

    model   its name
    """

    model: str = ""


class NothingGrows(Unfit):
    """A growth that finds nothing in this model to make larger: beside others, it stays."""


@attrs.frozen
class Copies:
    """How the units along an axis become more.

    before   units before
    source   for each unit after, the old one that it copies, or SILENT. With silent units the
             others are larger by a factor: layer norm's variance is a mean over all units, and
             stays so
    """

    before: int
    source: tuple[int, ...]

    @property
    def has_silent(self) -> bool:
        return SILENT in self.source

    @property
    def gain(self) -> float:
        """What an old unit is multiplied by."""
        after = len(self.source)
        return (after / self.before) ** 0.5 if self.has_silent else 1.0

    @property
    def is_even(self) -> bool:
        """Whether each old unit has as many copies, so that means over units stay."""
        counts = Counter(self.source)
        return len(counts) == self.before and len(set(counts.values())) == 1

    def keeps(self, groups: int, groups_after: int) -> bool:
        """Whether each new group of neighbours copies an old one, each unit as many times."""
        old = self.before // groups
        new = len(self.source) // groups_after
        for first in range(0, len(self.source), new):
            counts = Counter(self.source[first : first + new])
            start = min(counts)
            whole = set(counts) == set(range(start, start + old)) and start % old == 0
            if not whole or len(set(counts.values())) > 1:
                return False
        return True


@attrs.frozen
class Along:
    """An array's axis over units that become more; flattened, it has them `places` times."""

    copies: Copies
    role: Role
    places: int = 1


@attrs.frozen
class Recipe:
    """How one array of the larger model is made.

    old     the array that it is copied from, None for a new one
    axes    which of its axes grow, and how; empty where none does
    start   what a new array holds
    """

    old: Path | None
    axes: tuple[Along | None, ...] = ()
    start: Start = "zeros"


@attrs.frozen
class Larger:
    """What an operator makes of a model's plan.

    recipes   a recipe for each array of it: raises Unfit where none keeps the function. None where
              all weights are drawn anew
    """

    plan: ModelPlan
    recipes: Callable[[], Mapping[Path, Recipe]] | None


@attrs.frozen
class Growth:
    """A larger model, and a recipe for each of its arrays.

    recipes   None where it starts anew, and the function isn't kept
    noise     standard deviation of what tells copies apart, in standard deviations of the array
    """

    plan: ModelPlan
    recipes: Mapping[Path, Recipe] | None
    noise: float = 0.0


def more(count: int, factor: float) -> int:
    """The nearest whole number to factor x count, above it at least; halves are rounded up."""
    return max(count + 1, math.floor(count * factor + 0.5))


def written(operation: Operation) -> str:
    """An operator as a spec has it, for messages: `fresh(deepen_every_stage(factor: 2x))`."""
    given = dict(operation.options)
    parts: list[str] = []
    if "stage" in given:
        parts.append(f"{given['stage']}")
    if given.get("factor") is not None:
        named = "factor: " if "count" in given else ""
        parts.append(f"{named}{given['factor']:g}x")
    elif "count" in given:
        parts.append(f"{given['count']}")
    if isinstance(operator := given.get("operator"), Operation):
        parts.append(written(operator))
    if "noise" in given and given["noise"] != _default(operation.name, "noise"):
        parts.append(f"noise: {given['noise']:g}")
    return f"{operation.name}({', '.join(parts)})"


def _default(operator: str, option: str) -> object:
    return next(each.default for each in GROWTH[operator].options if each.name == option)
