"""Losses that read fields which only part of explore shows: the examples they draw from."""

from __future__ import annotations

from collections.abc import Iterable

from ev3lang.plan.plan import (
    Apply,
    DataPlan,
    Expr,
    fields_of,
    holding,
    parts_of,
    subexpressions,
)


def pool(data: DataPlan, loss: Expr) -> tuple[str, ...]:
    """The partly known fields whose examples a loss draws its batches from; empty: from all.

    Those of a loss that has no term without one.
    """
    partial = {each.field for each in data.known}
    if not partial or not all(partial & set(fields_of(term)) for term in _terms(loss)):
        return ()
    return tuple(name for name in fields_of(loss) if name in partial)


def _terms(expr: Expr) -> Iterable[Expr]:
    """The terms of a sum that read examples."""
    of_examples = holding(expr, wanted=lambda part: part.level == "example")
    for part in subexpressions(expr, inside=_summands):
        if part in of_examples and not _summands(part):
            yield part


def _summands(expr: Expr) -> tuple[Expr, ...]:
    is_sum = isinstance(expr, Apply) and expr.function in ("+", "-", "negate")
    return parts_of(expr) if is_sum else ()
