"""Sizes that have names: `f32[time, 64]` fits any time, the same one wherever it stands."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ev3lang.catalog.signature import Dimension, Type
from ev3lang.check import operators


def fits(wanted: Type, actual: Type, sizes: dict[str, Dimension]) -> bool:
    """Whether a value may stand where a declared type is wanted; names of sizes are solved.

    sizes   what each name stands for so far; added to, and meaningless after a False
    """
    if wanted.kind != actual.kind:
        number, place = operators.scalar(actual), operators.scalar(wanted)
        if number is not None and place is not None:
            return actual.kind != "class"
        if not all(each.is_tensor or each.is_scores for each in (wanted, actual)):
            return False
        # Scores go where a tensor is wanted; a tensor is not taken for scores.
        if wanted.is_scores:
            return False
    if len(wanted.dimensions) != len(actual.dimensions):
        return False
    return all(
        sizes.setdefault(name, size) == size if isinstance(name, str) else name == size
        for name, size in zip(wanted.dimensions, actual.dimensions, strict=True)
    )


def solved(type_: Type, sizes: Mapping[str, Dimension]) -> Type:
    """The type with its names of sizes replaced by what they stand for."""
    return attrs.evolve(
        type_, dimensions=tuple(sizes.get(str(each), each) for each in type_.dimensions)
    )
