"""Assess: every candidate by what really matters, the best of them, and whether it may lead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import expressions
from ev3lang.backend.expressions import Memo, Networks
from ev3lang.backend.keys import named
from ev3lang.backend.layout import explored_chains, held
from ev3lang.backend.pytree import pytree
from ev3lang.backend.rollout import Rolled, part, stack
from ev3lang.backend.state import Params, PyTree, Values, is_finite
from ev3lang.backend.streams import Fields
from ev3lang.plan.plan import Expr, Forward, FusedPlan, ObjectivePlan, Plan

Array: TypeAlias = jax.Array

RESAMPLES = 100
"""Bootstrap resamples for the standard error of a set objective's difference."""


@pytree
@attrs.frozen(eq=False)
class Ranking:
    """K candidates on assess, in the order of the plan, and the one ranked first."""

    scores: Array  # [K, M] float32, each objective's mean
    is_finite: Array  # [K] bool, False where quarantined
    best: Array  # [] int32, 0 where all are lost
    params: Params  # of the best
    values: Values  # of the best
    leads: Array  # [] bool, whether the best becomes current


def measure(objectives: Sequence[ObjectivePlan], fields: Fields, networks: Networks) -> Values:
    """Every objective's values over a split."""
    return measure_finite(objectives, fields, networks)[0]


def measure_finite(
    objectives: Sequence[ObjectivePlan], fields: Fields, networks: Networks
) -> tuple[Values, Array]:
    """Every objective's values, and whether they and all models' outputs are finite.

    A comparison makes a bool of anything: only the outputs show that it compared with a NaN.
    """
    memo: Memo = {}
    values = {
        objective.name: jnp.asarray(
            expressions.evaluate(objective.value, fields, networks, memo), jnp.float32
        )
        for objective in objectives
    }
    outputs = [value for expr, value in memo.items() if isinstance(expr, Forward)]
    return values, is_finite((values, outputs))


def means(objectives: Sequence[ObjectivePlan], values: Values) -> Array:
    """[..., M] float32, each objective's mean over its examples."""
    return jnp.stack(
        [
            jnp.mean(values[objective.name], axis=-1)
            if objective.value.level == "example"
            else values[objective.name]
            for objective in objectives
        ],
        axis=-1,
    )


def rank(
    fused: FusedPlan,
    fields: Fields,
    networks: Networks,
    rolled: Rolled,
    current: Params,
    current_values: Values,
    key: Array,
) -> Ranking:
    """The candidates measured and ranked, and whether the best becomes current.

    fields    the assess split
    key       [] the iteration's own, for the bootstrap of a set objective
    A candidate with a loss, weight, output or value that isn't finite is out. Of equal ones the
    first by name is best, so that their order in the file says nothing.
    """
    plan = fused.plan
    objective = plan.ranking.keys[0]
    _, restore = held(current, explored_chains(plan))

    def of_one(weights: PyTree) -> tuple[Values, Array]:
        values, is_measured = measure_finite(
            plan.measures, fields, networks.holding(restore(weights))
        )
        return values, is_measured & is_finite(weights)

    values, are_finite = _for_each(fused, of_one, rolled)
    are_finite &= jnp.isfinite(rolled.losses)
    scores = means(plan.measures, values)
    standing = objective.sign * scores[:, plan.measures.index(objective)]
    best = _first_by_name(plan, jnp.where(are_finite, standing, -jnp.inf))
    best_params, best_values = restore(part(rolled.weights, best)), part(values, best)
    leads = _leads(
        plan,
        (best_values, networks.holding(best_params)),
        (current_values, networks.holding(current)),
        fields,
        key,
    )
    leads &= jnp.any(are_finite)
    return Ranking(scores, are_finite, best, best_params, best_values, leads)


def _for_each(
    fused: FusedPlan, of_one: Callable[[PyTree], PyTree], rolled: Rolled
) -> tuple[Values, Array]:
    """What a function makes of each candidate's weights, `[K, ...]`; lowered as the roll-outs."""
    if all(group.lowering == "vmap" for group in fused.rollouts):
        return jax.vmap(of_one)(rolled.weights)
    return stack([of_one(part(rolled.weights, k)) for k in range(len(fused.plan.candidates))])


def _first_by_name(plan: Plan, standing: Array) -> Array:
    """The index of the highest of `[K]`, of equals the candidate whose name comes first."""
    by_name = sorted(range(len(plan.candidates)), key=lambda k: plan.candidates[k].name)
    order = jnp.asarray(by_name, jnp.int32)
    return order[jnp.argmax(standing[order])]


def _leads(
    plan: Plan,
    best: tuple[Values, Networks],
    current: tuple[Values, Networks],
    fields: Fields,
    key: Array,
) -> Array:
    """Whether the best candidate becomes current by the plan's rule, [] bool."""
    objective = plan.ranking.keys[0]
    gains = objective.sign * (best[0][objective.name] - current[0][objective.name])
    match plan.move:
        case "always":
            return jnp.bool_(True)
        case "when better":
            return jnp.sum(gains) > 0
        case "unless worse" if objective.value.level == "set":
            error = _bootstrap_error(objective.value, fields, best[1], current[1], key)
            return gains >= -error
        case "unless worse":
            return is_within_one_error(gains)


def is_within_one_error(gains: Array) -> Array:
    """Whether a mean is at most one standard error below 0, [] bool.

    gains    [B] float32, paired differences; [] for a value that no example has a part in, whose
             standard error is 0
    With sum S and sum of squares Q, S/n < -sqrt((Q - S^2/n) / (n (n - 1))) is S < 0 and S^2 > Q.
    For right and wrong both are whole numbers: losing one example more is exactly one standard
    error, a tie that the quotients would leave to rounding.
    """
    total, squares = jnp.sum(gains), jnp.sum(jnp.square(gains))
    return (total >= 0) | ((gains.ndim > 0) & (jnp.square(total) <= squares))


def _bootstrap_error(
    value: Expr, fields: Fields, first: Networks, second: Networks, key: Array
) -> Array:
    """The standard deviation of a set value's difference over resampled examples.

    Models are applied once: a resample takes rows of their outputs.
    Source: Efron (1979), Annals of Statistics 7:1-26.
    """
    applications = expressions.applications([value], first.plans)
    count = next(iter(fields.values())).shape[0]

    def outputs(networks: Networks) -> Memo:
        memo: Memo = {}
        for each in applications:
            expressions.evaluate(each, fields, networks, memo)
        return {each: memo[each] for each in applications}

    known = outputs(first), outputs(second)

    def difference(rows: Array) -> Array:
        drawn = {name: field[rows] for name, field in fields.items()}
        one, other = (
            expressions.evaluate(
                value, drawn, networks, {expr: output[rows] for expr, output in memo.items()}
            )
            for networks, memo in zip((first, second), known, strict=True)
        )
        return one - other

    rows = jax.random.randint(named(key, "resamples"), (RESAMPLES, count), 0, count)
    return jnp.std(jax.vmap(difference)(rows), ddof=1)
