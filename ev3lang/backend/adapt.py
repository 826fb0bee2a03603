"""Adapt: whether current becomes accepted, by the plan's rule, and when a run ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import challenger, claims, gate, reference
from ev3lang.backend.assess import Ranking, means, measure_finite
from ev3lang.backend.claims import Outlook, Proof, Side
from ev3lang.backend.comparing import holds
from ev3lang.backend.elders import OneOf, like
from ev3lang.backend.expressions import Networks
from ev3lang.backend.keys import named
from ev3lang.backend.pytree import pytree
from ev3lang.backend.state import PROOFS, Decision, Params, Proofs, RunState, pick
from ev3lang.backend.streams import Fields
from ev3lang.backend.units import Sample
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import Claim, Condition, Gate, ObjectivePlan, Plan, Reference

Array: TypeAlias = jax.Array

LOST_LIMIT = 50
"""Iterations in a row that may lose every candidate."""


@pytree
@attrs.frozen(eq=False)
class Verdict:
    """What was known from assess, what was asked, and the bit that came back."""

    wins: Array  # [] int32
    losses: Array  # [] int32
    gain: Array  # [] float32
    error: Array  # [] float32
    power: Array  # [] float32
    log_level: Array  # [] float32
    decision: Array  # [] int32, a Decision
    log_evidence: Array  # [] float32
    age: Array  # [] int32


@attrs.frozen(eq=False)
class Splits:
    """What a decision is made on.

    assess    what the state's values of current and accepted are on
    adapt     the split or draw that decides; called only inside a query
    count     how many units adapt has: examples, groups or blocks
    """

    assess: Sample
    adapt: Callable[[], Sample]
    count: int


def decide(
    plan: Plan, state: RunState, networks: Networks, splits: Splits, may_ask: Array
) -> tuple[RunState, Verdict]:
    """One iteration's decision by rule `gate`: asked if assess promises that the test will pass.

    may_ask   [] bool, False where the iteration has lost every candidate
    """
    assert isinstance(plan.rule, Gate)
    level = state.log_budget if plan.rule.is_each_time else gate.level(state.log_budget)
    outlook = _outlook(plan, state, networks, splits, level)
    is_likely = jnp.bool_(plan.rule.is_each_time) | (outlook.power >= gate.LEAST_POWER)
    is_asked = may_ask & outlook.favours & is_likely & _keeps(plan, state)
    state, is_accepted = _ask(plan, state, networks, splits, level, is_asked)
    if not plan.rule.is_each_time:
        left = gate.budget_after(state.log_budget, is_accepted)
        state = attrs.evolve(state, log_budget=jnp.where(is_asked, left, state.log_budget))
    return state, _verdict(outlook, level, is_asked, is_accepted)


def close(
    plan: Plan, state: RunState, networks: Networks, splits: Splits, is_closing: Array
) -> tuple[RunState, Verdict]:
    """The last query, at all that is left of the budget; after it none can be asked.

    is_closing   [] bool, whether the run's own stop has come; if not, nothing happens
    Only rule `gate` over a run has one: where every decision has its own level, or evidence adds
    up by itself, nothing is left to ask.
    """
    if not isinstance(plan.rule, Gate) or plan.rule.is_each_time:
        return state, nothing_asked(state)
    outlook = _outlook(plan, state, networks, splits, state.log_budget)
    is_asked = is_closing & outlook.favours & _keeps(plan, state)
    is_asked &= ~jnp.isneginf(state.log_budget)
    level = state.log_budget
    state, is_accepted = _ask(plan, state, networks, splits, level, is_asked)
    left = jnp.where(is_closing, -jnp.inf, state.log_budget)
    state = attrs.evolve(state, log_budget=left)
    return state, _verdict(outlook, level, is_asked, is_accepted)


def challenge(
    plan: Plan, state: RunState, networks: Networks, fields: Fields
) -> tuple[RunState, Verdict]:
    """One iteration's decision by rule `challenger`, before its candidates are ranked.

    fields   the iteration's evaluation draw, which the state's values are on
    """
    state, news = challenger.weigh(plan, state, fields, networks)
    is_accepted = news.decision == Decision.ACCEPTED
    none = jnp.int32(0)
    proof = Proof(is_accepted, none, none, -news.log_evidence)
    state = _proven(state, proof, news.claim, news.log_level)
    verdict = attrs.evolve(
        nothing_asked(state),
        decision=news.decision,
        log_level=news.log_level,
        log_evidence=news.log_evidence,
        age=news.age,
    )
    return state, verdict


def compete(
    plan: Plan, state: RunState, networks: Networks, fields: Fields, ranking: Ranking
) -> reference.Contest:
    """Best, current and accepted against each other by rule `reference`.

    fields   the adapt split or a draw from it
    A model whose outputs aren't finite on adapt has no bounds, as has a best one that may not lead
    since it breaks a guard that current keeps. Where every candidate is lost nothing changes.
    """
    rule = plan.rule
    assert isinstance(rule, Reference)

    def bounds(params: Params | OneOf, may_win: Array) -> reference.Bounds:
        measured = _Measured.of((rule.objective,), fields, networks.holding(params))
        found = reference.bounds(
            rule.objective, measured.side.values[rule.objective.name], rule.decide
        )
        is_bound = measured.is_sound & may_win
        return jax.tree.map(lambda bound: jnp.where(is_bound, bound, jnp.nan), found)

    contest = reference.decide(
        bounds(ranking.params, jnp.all(ranking.keeps[ranking.best]) | ~_keeps(plan, state)),
        bounds(state.current, jnp.bool_(True)),
        bounds(state.accepted, jnp.bool_(True)),
    )
    any_finite = jnp.any(ranking.is_finite)
    return reference.Contest(
        jnp.where(any_finite, contest.winner, reference.CURRENT),
        contest.is_accepted & any_finite,
    )


def settle(
    plan: Plan, state: RunState, contest: reference.Contest, may_ask: Array
) -> tuple[RunState, Verdict]:
    """The state behind a contest whose best, had it won, is current by now.

    may_ask   [] bool, False where the iteration has lost every candidate
    A winner that breaks a guard on assess is not accepted.
    """
    goes_back = contest.winner == reference.ACCEPTED
    state = attrs.evolve(
        state,
        current=pick(goes_back, state.accepted, state.current),
        current_values=pick(goes_back, state.accepted_values, state.current_values),
        current_steps=pick(goes_back, state.accepted_steps, state.current_steps),
    )
    is_accepted = contest.is_accepted & _keeps(plan, state)
    state = _accepted(state, is_accepted)
    return state, attrs.evolve(nothing_asked(state), decision=_decision(may_ask, is_accepted))


def nothing_asked(state: RunState) -> Verdict:
    """The verdict where there was no question."""
    whole, real = jnp.int32(0), jnp.float32(0)
    return Verdict(whole, whole, real, real, real, state.log_budget, whole, real, whole)


def _keeps(plan: Plan, state: RunState) -> Array:
    """Whether current keeps every guard on assess, [] bool."""
    return claims.keeps_all(plan.guards, state.current_values, state.accepted_values)


def _outlook(
    plan: Plan, state: RunState, networks: Networks, splits: Splits, level: Array
) -> Outlook:
    """What assess says of the leading claim, and how likely all that must be shown will be."""
    current = Side(state.current_values, networks.holding(state.current))
    accepted = Side(state.accepted_values, networks.holding(state.accepted))
    key = named(state.key, "outlook", state.iteration)

    def of(claim: Claim) -> Outlook:
        return claims.outlook(claim, current, accepted, splits.assess, splits.count, level, key)

    leading = _at([of(claim) for claim in plan.rule.claims], state.leading)
    guards = [of(claim) for claim in plan.proven]
    powers = jnp.stack([leading.power, *(guard.power for guard in guards)])
    favours = jnp.stack([leading.favours, *(guard.favours for guard in guards)])
    return attrs.evolve(leading, power=jnp.min(powers), favours=jnp.all(favours))


def _at(outlooks: list[Outlook], place: Array) -> Outlook:
    if len(outlooks) == 1:
        return outlooks[0]
    found: Outlook = jax.tree.map(lambda *each: jnp.stack(each)[place], *outlooks)
    return found


def _ask(
    plan: Plan,
    state: RunState,
    networks: Networks,
    splits: Splits,
    level: Array,
    is_asked: Array,
) -> tuple[RunState, Array]:
    """The state behind a query, and its bit: current against accepted on adapt, [] bool.

    An output that isn't finite is a plain rejection. The models are applied only if asked: both
    sides of a `cond` outside the inner loops. All that must be shown is tested at one level.
    """
    asked = (*plan.rule.claims, *plan.proven)
    measures = tuple({claim.measure.name: claim.measure for claim in asked}.values())
    on_assess = state.current_values, state.accepted_values
    key = named(state.key, "query", state.iteration)
    networks = networks.in_secret()

    def query() -> Proof:
        adapt = splits.adapt()
        current, accepted = (
            _Measured.of(measures, adapt.fields, networks.holding(params))
            for params in (state.current, state.accepted)
        )

        def proof(claim: Claim) -> Proof:
            drawn = named(key, claim.measure.name)
            sides = current.side, accepted.side
            return claims.test(claim, *sides, on_assess, splits.assess.units, adapt, level, drawn)

        tests = [lambda claim=claim: proof(claim) for claim in plan.rule.claims]
        leading = tests[0]() if len(tests) == 1 else jax.lax.switch(state.leading, tests)
        is_sound = current.is_sound & accepted.is_sound
        passes = [leading.passes, is_sound, *(proof(claim).passes for claim in plan.proven)]
        return attrs.evolve(leading, passes=jnp.all(jnp.stack(passes)), is_sound=is_sound)

    def no_query() -> Proof:
        none = jnp.int32(0)
        return Proof(jnp.bool_(False), none, none, jnp.float32(0))

    proof = jax.lax.cond(is_asked, query, no_query)
    is_accepted = proof.passes
    state = _accepted(state, is_accepted)
    return _proven(state, proof, state.leading, level), is_accepted


def _accepted(state: RunState, is_accepted: Array) -> RunState:
    """The state with current in the place of accepted, where `is_accepted`."""
    return attrs.evolve(
        state,
        accepted=pick(is_accepted, like(state.accepted, state.current), state.accepted),
        accepted_values=pick(is_accepted, state.current_values, state.accepted_values),
        accepted_steps=pick(is_accepted, state.current_steps, state.accepted_steps),
    )


@attrs.frozen(eq=False)
class _Measured:
    side: Side
    is_sound: Array

    @classmethod
    def of(
        cls, measures: tuple[ObjectivePlan, ...], fields: Fields, networks: Networks
    ) -> _Measured:
        values, is_sound = measure_finite(measures, fields, networks)
        return cls(Side(values, networks), is_sound)


def _proven(state: RunState, proof: Proof, claim: Array, log_level: Array) -> RunState:
    """The state with what adapt said of an acceptance kept for the report."""
    kept = state.proofs
    here = proof.passes & (jnp.arange(PROOFS) == kept.count % PROOFS)
    return attrs.evolve(
        state,
        proofs=Proofs(
            count=kept.count + proof.passes,
            iteration=jnp.where(here, state.iteration, kept.iteration),
            claim=jnp.where(here, claim, kept.claim),
            wins=jnp.where(here, proof.wins, kept.wins),
            losses=jnp.where(here, proof.losses, kept.losses),
            log_p=jnp.where(here, proof.log_p, kept.log_p),
            log_level=jnp.where(here, log_level, kept.log_level),
            unsound=kept.unsound + ~proof.is_sound,
        ),
    )


def _decision(is_asked: Array, is_accepted: Array) -> Array:
    """[] int32, the Decision."""
    answered = jnp.where(is_accepted, Decision.ACCEPTED, Decision.REJECTED)
    return jnp.where(is_asked, answered, Decision.NOT_ASKED).astype(jnp.int32)


def _verdict(outlook: Outlook, level: Array, is_asked: Array, is_accepted: Array) -> Verdict:
    return Verdict(
        outlook.wins,
        outlook.losses,
        outlook.gain,
        outlook.error,
        outlook.power,
        level,
        _decision(is_asked, is_accepted),
        jnp.float32(0),
        jnp.int32(0),
    )


# ---------------------------------------------------------------- the end of a run


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
