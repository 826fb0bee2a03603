"""Expressions rewritten to the same value, computed better."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ev3lang.catalog.signature import Type
from ev3lang.plan.plan import (
    Apply,
    Claim,
    Evolution,
    Expr,
    ObjectivePlan,
    Plan,
    rewritten,
)


def simplify(plan: Plan) -> Plan:
    """The plan with every expression rewritten; equal values, but for what rounding had lost."""
    return attrs.evolve(
        with_measures(plan, _objective),
        descents=tuple(attrs.evolve(c, loss=stable(c.loss)) for c in plan.descents),
        shown=tuple(attrs.evolve(s, value=stable(s.value)) for s in plan.shown),
        baselines=tuple(attrs.evolve(b, loss=stable(b.loss)) for b in plan.baselines),
    )


def with_measures(plan: Plan, change: Callable[[ObjectivePlan], ObjectivePlan]) -> Plan:
    """The plan with something else for each measure, wherever it stands."""

    def claim(one: Claim) -> Claim:
        return attrs.evolve(one, measure=change(one.measure))

    return attrs.evolve(
        plan,
        objectives=tuple(map(change, plan.objectives)),
        ranking=attrs.evolve(plan.ranking, keys=tuple(map(change, plan.ranking.keys))),
        rule=attrs.evolve(plan.rule, claims=tuple(map(claim, plan.rule.claims))),
        guards=tuple(attrs.evolve(g, claim=claim(g.claim)) for g in plan.guards),
        others=tuple(
            attrs.evolve(each, objective=change(each.objective))
            if isinstance(each, Evolution)
            else each
            for each in plan.others
        ),
    )


def _objective(objective: ObjectivePlan) -> ObjectivePlan:
    return attrs.evolve(objective, value=stable(objective.value))


_OF_LOGS = (
    "kl_divergence",
    "log_loss",
    "roc_auc",
    "average_precision",
    "macro_roc_auc",
    "argmax",
    "top_k",
)
"""Functions that take the logarithm of probabilities, or only their order."""


def stable(expr: Expr) -> Expr:
    """Logarithms and ranks of a softmax taken of `log_softmax` instead.

    Softmax rounds confident scores to 0 and 1: a logarithm is then infinite with a gradient that
    is not a number, and examples tie that differ. `log_softmax` loses nothing.
    """

    def change(_: Expr, expr: Expr) -> Expr:
        if isinstance(expr, Apply) and expr.function in _OF_LOGS:
            return attrs.evolve(expr, inputs=tuple(_logarithmic(part) for part in expr.inputs))
        return expr

    return rewritten(expr, change)


def _logarithmic(probs: Expr) -> Expr:
    if isinstance(probs, Apply) and probs.function == "softmax":
        type_ = Type("log_probs", probs.type.dimensions)
        return attrs.evolve(probs, function="log_softmax", type=type_)
    return probs
