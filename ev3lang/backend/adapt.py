"""Adapt: whether current becomes accepted, by rule `gate`, and when a run ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import gate
from ev3lang.backend.assess import means, measure_finite
from ev3lang.backend.expressions import Networks
from ev3lang.backend.pytree import pytree
from ev3lang.backend.state import Decision, RunState, Values, pick
from ev3lang.backend.streams import Fields
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import Condition, ObjectivePlan, Plan

Array: TypeAlias = jax.Array

LOST_LIMIT = 50
"""Iterations in a row that may lose every candidate."""


@pytree
@attrs.frozen(eq=False)
class Verdict:
    """What was known from assess, what was asked, and the bit that came back."""

    wins: Array  # [] int32
    losses: Array  # [] int32
    power: Array  # [] float32
    log_level: Array  # [] float32
    decision: Array  # [] int32, a Decision


def decide(
    plan: Plan,
    state: RunState,
    networks: Networks,
    split: Callable[[], Fields],
    ratio: float,
    may_ask: Array,
) -> tuple[RunState, Verdict]:
    """One iteration's decision: asked if assess promises that the test will pass.

    split     the adapt split; called only inside the query
    ratio     examples in adapt over examples in assess
    may_ask   [] bool, False where the iteration has lost every candidate
    """
    level = gate.level(state.log_budget)
    wins, losses = _evidence(plan, state)
    power = gate.power(wins, losses, ratio, level)
    is_asked = may_ask & gate.is_asked(wins, losses, power)
    is_accepted = _ask(plan, state, networks, split, level, is_asked)
    left = gate.budget_after(state.log_budget, is_accepted)
    state = _accept(state, is_accepted)
    state = attrs.evolve(state, log_budget=jnp.where(is_asked, left, state.log_budget))
    return state, Verdict(wins, losses, power, level, _decision(is_asked, is_accepted))


def close(
    plan: Plan,
    state: RunState,
    networks: Networks,
    split: Callable[[], Fields],
    ratio: float,
    is_closing: Array,
) -> tuple[RunState, Verdict]:
    """The last query, at all that is left of the budget; after it none can be asked.

    is_closing   [] bool, whether the run's own stop has come; if not, nothing happens
    """
    wins, losses = _evidence(plan, state)
    power = gate.power(wins, losses, ratio, state.log_budget)
    is_asked = is_closing & (wins > losses) & ~jnp.isneginf(state.log_budget)
    is_accepted = _ask(plan, state, networks, split, state.log_budget, is_asked)
    verdict = Verdict(wins, losses, power, state.log_budget, _decision(is_asked, is_accepted))
    left = jnp.where(is_closing, -jnp.inf, state.log_budget)
    return attrs.evolve(_accept(state, is_accepted), log_budget=left), verdict


def _evidence(plan: Plan, state: RunState) -> tuple[Array, Array]:
    objective = plan.rule.claims[0].measure
    return discordant(objective, state.current_values, state.accepted_values)


def discordant(objective: ObjectivePlan, values: Values, than: Values) -> tuple[Array, Array]:
    """How many examples the first alone, and the second alone, gets right: [] int32 each.

    Where less is better, right is what the objective says no to.
    """
    assert objective.is_binary, f"rule gate counts right and wrong; {objective.name} is neither"
    gains = objective.sign * (values[objective.name] - than[objective.name])
    return jnp.sum(gains > 0, dtype=jnp.int32), jnp.sum(gains < 0, dtype=jnp.int32)


def _ask(
    plan: Plan,
    state: RunState,
    networks: Networks,
    split: Callable[[], Fields],
    level: Array,
    is_asked: Array,
) -> Array:
    """The bit: current against accepted on the whole adapt split, [] bool.

    An output that isn't finite is a plain rejection. The models are applied only if asked: both
    sides of a `cond` outside the inner loops.
    """
    objective = plan.rule.claims[0].measure

    def query() -> Array:
        fields = split()
        current, is_finite = measure_finite([objective], fields, networks.holding(state.current))
        accepted, _ = measure_finite([objective], fields, networks.holding(state.accepted))
        return is_finite & gate.passes(*discordant(objective, current, accepted), level)

    return jax.lax.cond(is_asked, query, lambda: jnp.bool_(False))


def _accept(state: RunState, is_accepted: Array) -> RunState:
    """Current in the place of accepted, where the bit says so."""
    return attrs.evolve(
        state,
        accepted=pick(is_accepted, state.current, state.accepted),
        accepted_values=pick(is_accepted, state.current_values, state.accepted_values),
        accepted_steps=pick(is_accepted, state.current_steps, state.accepted_steps),
    )


def _decision(is_asked: Array, is_accepted: Array) -> Array:
    answered = jnp.where(is_accepted, Decision.ACCEPTED, Decision.REJECTED)
    return jnp.where(is_asked, answered, Decision.NOT_ASKED).astype(jnp.int32)


# ---------------------------------------------------------------- the end of a run

ROUNDING = 1e-6
"""How far a float32 mean may lie beside a bound that it equals.

98 of 100 can come out an ulp below 0.98. Two shares of fewer than a million examples never lie
this close.
"""


def holds(value: Array, sign: str, bound: float) -> Array:
    """Whether `value sign bound`, [] bool; what differs by rounding alone is equal."""
    slack = ROUNDING * max(1.0, abs(bound))
    is_above, is_below = value > bound + slack, value < bound - slack
    match sign:
        case ">":
            return is_above
        case ">=":
            return ~is_below
        case "<":
            return is_below
        case "<=":
            return ~is_above
        case "==":
            return ~(is_above | is_below)
        case "!=":
            return is_above | is_below
        case _:
            raise ValueError(f"no comparison: {sign!r}")


def outcome(plan: Plan, state: RunState) -> Array:
    """[] int32, the Outcome after an iteration; conditions read the accepted model on assess.

    Where several ends come at once, what the spec hopes for is named before what it puts up with.
    """
    accepted = means(plan.measures, state.accepted_values)
    place = {objective.name: m for m, objective in enumerate(plan.measures)}

    def is_met(condition: Condition) -> Array:
        return holds(accepted[place[condition.objective]], condition.operator, condition.value)

    ends = [(Outcome.ALL_LOST, state.lost_in_a_row >= LOST_LIMIT)]
    if plan.stop.when_targets_met:
        targets = [
            is_met(Condition(each.name, ">=" if each.sign > 0 else "<=", each.target))
            for each in plan.objectives
            if each.target is not None
        ]
        ends.append((Outcome.TARGETS, jnp.all(jnp.stack(targets))))
    for conditions in plan.stop.any_of:
        is_reached = jnp.all(jnp.stack([is_met(each) for each in conditions]))
        ends.append((Outcome.CONDITION, is_reached))
    if plan.stop.iterations is not None:
        ends.append((Outcome.ITERATIONS, state.iteration >= plan.stop.iterations))
    code = jnp.int32(Outcome.RUNNING)
    for end, is_reached in reversed(ends):
        code = jnp.where(is_reached, jnp.int32(end), code)
    return first(state.outcome, code)


def first(kept: Array, later: Array) -> Array:
    """The outcome that came first: RUNNING gives way, nothing else does."""
    return jnp.where(kept == Outcome.RUNNING, later, kept)
