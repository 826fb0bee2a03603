"""What the adapt split can't prove, known once the data are read and before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ev3lang.backend import evaluation, units
from ev3lang.diagnostics.figures import chance
from ev3lang.plan.plan import Gate, Plan
from ev3lang.plan.prospects import too_few


def shortfall(plan: Plan, tables: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Why nothing can be accepted, whatever the models do; nothing where something can.

    tables   of all splits, as they were read
    The checker says the same where the spec tells how many examples and groups there are.
    """
    if plan.data.split is None or evaluation.examples_drawn(plan) is not None:
        return
    rule = plan.rule
    if not isinstance(rule, Gate):
        return
    count, full, words = _deciding(plan, tables)
    needed = too_few(plan, count, full)
    if needed is not None:
        yield (
            f"nothing can be accepted: {count} {words} can't show a gain at "
            f"{chance(1 - rule.delta)} confidence, and at least {needed} are needed; give adapt a "
            "larger share, or ask for less confidence"
        )


def _deciding(plan: Plan, tables: Mapping[str, Mapping[str, Any]]) -> tuple[int, float, str]:
    """How many units decide, how full they are in the mean, and what they are called."""
    split = plan.data.split
    assert split is not None, "fresh examples never run out"
    found = units.of_splits(split, tables).get("adapt")
    if found is None:
        return len(next(iter(tables["adapt"].values()))), 1.0, "adapt examples"
    filled = np.asarray(found.sizes) / np.maximum(np.asarray(found.sizes), float(found.most))
    what = f"groups by {split.by}" if split.method == "grouped" else "blocks"
    return found.count, float(filled.mean()), f"{what} in adapt"
