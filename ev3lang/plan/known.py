"""Losses that read fields which only part of explore shows: the examples they draw from."""

from __future__ import annotations

from collections.abc import Iterable

from ev3lang.plan.plan import Apply, DataPlan, Expr, fields_of, subexpressions


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
    if isinstance(expr, Apply) and expr.function in ("+", "-", "negate"):
        for part in expr.inputs:
            yield from _terms(part)
    elif any(part.level == "example" for part in subexpressions(expr)):
        yield expr
