"""`sweep`: its axes, and every point of them, checked before the first one runs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping

import attrs

from ev3lang.check import errors, seeds, typed
from ev3lang.check.checking import Checking
from ev3lang.diagnostics.diagnostic import Diagnostic, Label
from ev3lang.syntax import tree

MOST_POINTS = 10_000


@attrs.frozen
class Axis:
    """A param, or `seed`, and the values it takes."""

    name: tree.Name
    values: tuple[tree.Expression, ...]


@attrs.frozen(eq=False)
class Point:
    """One combination of a sweep; that without settings is the one run of a spec without sweep.

    settings  each axis's value as `--set` and `--seed` take it, in the order of the axes
    program   the experiment with them
    """

    settings: Mapping[str, str]
    program: typed.TypedProgram


def axes(checking: Checking, block: tree.Sweep) -> tuple[Axis, ...]:
    """The axes of a sweep; those at fault are reported and left out."""
    found: dict[str, Axis] = {}
    params = [
        name for name, each in checking.names.declared.items() if isinstance(each, tree.Param)
    ]
    for written in block.axes:
        name = written.name
        if name.text != "seed" and name.text not in params:
            checking.report(errors.unknown_name(name, (*params, "seed"), "param"))
            continue
        if name.text in found:
            checking.report(errors.duplicate_name(name, found[name.text].name.span))
            continue
        values = _values(checking, written)
        if values is not None and name.text == "seed":
            values = _seeds(checking, values)
        if values is not None:
            found[name.text] = Axis(name, values)
    points = math.prod(len(axis.values) for axis in found.values())
    if points > MOST_POINTS:
        checking.report(errors.too_many_points(block.keyword_span, points, MOST_POINTS))
        return ()
    return tuple(found.values())


def _values(checking: Checking, axis: tree.Axis) -> tuple[tree.Expression, ...] | None:
    match axis.values:
        case tree.ListOf(items=items):
            if not items:
                checking.report(errors.empty_range(axis.values.span, "this list has no value"))
                return None
            seen: dict[object, tree.Expression] = {}
            for item in items:
                if item in seen:
                    checking.report(errors.repeated_value(item.span, seen[item].span))
                seen.setdefault(item, item)
            return tuple(items)
        case tree.Range(
            low=tree.Number(unit=None, value=int() as low),
            high=tree.Number(unit=None, value=int() as high),
        ):
            if low > high:
                why = f"{low} to {high} has no value: write the smaller end first"
                checking.report(errors.empty_range(axis.values.span, why))
                return None
            if high - low >= MOST_POINTS:
                checking.report(
                    errors.too_many_points(axis.values.span, high - low + 1, MOST_POINTS)
                )
                return None
            return tuple(
                tree.Number(value, span=axis.values.span) for value in range(low, high + 1)
            )
        case _:
            checking.report(
                errors.wrong_type(
                    axis.values.span,
                    "a list `[16, 32]` or a range of whole numbers `0 to 3`",
                    f"`{axis.values.span.text}`",
                )
            )
            return None


def _seeds(
    checking: Checking, values: tuple[tree.Expression, ...]
) -> tuple[tree.Expression, ...] | None:
    """The values of a seed; None, reported, where one is none."""
    return values if all(seeds.seed_of(checking, each) is not None for each in values) else None


def points(axes: tuple[Axis, ...]) -> Iterator[dict[str, tree.Expression]]:
    """Every combination of the axes' values, the last axis changing fastest."""
    for values in itertools.product(*(axis.values for axis in axes)):
        yield {axis.name.text: value for axis, value in zip(axes, values, strict=True)}


def checked_points(axes: tuple[Axis, ...]) -> Iterator[dict[str, tree.Expression]]:
    """The combinations that a check can tell apart: a seed changes nothing that is checked."""
    return points(tuple(axis for axis in axes if axis.name.text != "seed"))


def with_seeds(
    axes: tuple[Axis, ...], point: Mapping[str, tree.Expression]
) -> Iterator[dict[str, tree.Expression]]:
    """A checked combination with each seed, in the order of the axes."""
    for seed in next((axis.values for axis in axes if axis.name.text == "seed"), (None,)):
        yield {
            name: value
            for name, value in ((axis.name.text, point.get(axis.name.text, seed)) for axis in axes)
            if value is not None
        }


def at_point(diagnostic: Diagnostic, point: Mapping[str, tree.Expression]) -> Diagnostic:
    """A diagnostic that only some points of a sweep give, with the point's values beside it."""
    labels = tuple(
        Label(value.span, f"with {name} = {as_text(value)}") for name, value in point.items()
    )
    return attrs.evolve(diagnostic, labels=(*diagnostic.labels, *labels))


def as_text(value: tree.Expression) -> str:
    """A value as `--set` takes it: a path stands there without quotes."""
    match value:
        case tree.String():
            return value.value
        case tree.Number(unit=None, value=int()):
            # One of a range has the whole range as its place.
            return str(value.value)
        case _:
            return value.span.text
