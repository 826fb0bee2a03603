"""How many tokens sequences have: what a mean over them needs to know before a run."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from ev3lang.plan.plan import (
    Apply,
    Expr,
    ObjectivePlan,
    Plan,
    fields_of,
    is_token_mean,
    models_of,
    subexpressions,
)
from ev3lang.plan.simplify import with_measures
from ev3lang.runtime import whole
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.whole import Columns


def with_reaches(plan: Plan, tables: Mapping[str, Columns]) -> Plan:
    """The plan, knowing of each measure how far one example's value can pass the mean's range.

    tables   split to field to its examples, `[B, *dimensions]`; empty for an endless source
    A sequence counts in a mean over tokens by how many it has. Raises DataError for a split
    without a token to average over, and for a sequence without one where sequences are averaged.
    """
    for expr in plan.values:
        for part in _means(expr):
            _counts(plan, part, tables)

    def known(measure: ObjectivePlan) -> ObjectivePlan:
        reach = 1.0
        for part in _means(measure.value):
            for counts in _counts(plan, part, tables).values():
                reach = max(reach, float(counts.max() / counts.mean()))
        return attrs.evolve(measure, reach=reach) if reach > 1 else measure

    return with_measures(plan, known)


def over_tokens(value: Expr, values: np.ndarray, fields: Columns) -> np.ndarray:
    """A token mean's values of sequences, so that they deviate as its estimate does: [B] float64.

    values   [B] each sequence's sum over the mean number of tokens
    Their mean is the same, and their deviations are those of a ratio of two sums: how long the
    sequences are is no part of them. Other values are given back as they are. Source: Cochran
    (1977), Sampling Techniques, 3rd edition, section 6.3.
    """
    wide = values.astype(np.float64)
    if not is_token_mean(value) or not _means(value):
        return wide
    (mean,) = _means(value)
    counts = _targets(mean.inputs[1], fields)
    expected = wide.mean() * counts / counts.mean()
    deviations = wide - expected
    # what float32 leaves is no deviation: where all tokens are alike, so are all sequences
    deviations[np.abs(deviations) <= 1e-6 * np.abs(expected)] = 0
    return wide.mean() + deviations


def _targets(target: Expr, fields: Columns) -> np.ndarray:
    """How many targets each sequence has, [B] int."""
    columns = {name: np.asarray(fields[name]) for name in fields_of(target)}
    counts: np.ndarray = np.sum(np.asarray(whole.value(target, columns)) >= 0, axis=-1)
    return counts


def _means(expr: Expr) -> list[Apply]:
    """The means over the places of sequences whose targets are fields or made of them."""
    return [
        part
        for part in subexpressions(expr)
        if isinstance(part, Apply)
        and "over" in dict(part.options)
        and not models_of(part.inputs[1])
    ]


def _counts(plan: Plan, mean: Apply, tables: Mapping[str, Columns]) -> dict[str, np.ndarray]:
    """Of each split, the targets of each sequence, [B] int; none of a mean over sequences."""
    found: dict[str, np.ndarray] = {}
    target, over = mean.inputs[1], dict(mean.options)["over"]
    for use, table in tables.items():
        counts = _targets(target, table)
        field = fields_of(target)[0]
        if not counts.any():
            raise DataError(
                f"{plan.data.name}: no sequence of the {use} split has a target in "
                f"`{whole.text(target)}`, and `{mean.function}` is a mean over targets",
                "give the split sequences that have one: two tokens, for the next one",
                field=field,
            )
        if over == "tokens":
            found[use] = counts
        elif not counts.all():
            raise DataError(
                f"{plan.data.name}: {int((counts == 0).sum())} of {len(counts)} sequences of the "
                f"{use} split have no target in `{whole.text(target)}`, and "
                f"`{mean.function}(…, over: sequences)` is the mean of each sequence's own",
                "leave them out of the file, or take the mean over tokens: `over: tokens`",
                field=field,
            )
    return found
