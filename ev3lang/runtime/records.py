"""What the device tells of an iteration, as an event."""

from __future__ import annotations

import math
import sys
from typing import Any

from ev3lang.backend.gate import LEAST_POWER
from ev3lang.backend.state import Decision as DecisionCode
from ev3lang.backend.state import Proofs, Record
from ev3lang.diagnostics.figures import chance, least_float, likelihood
from ev3lang.plan.plan import Challenger, Gate, ObjectivePlan, Plan, Reference, Rule
from ev3lang.runtime.events import (
    CandidateDone,
    Closed,
    Decision,
    Evidence,
    IterationDone,
    Scores,
    SearchChanged,
)
from ev3lang.runtime.intervals import Interval, share_of, student_of, wilson
from ev3lang.runtime.report import Proof


def iteration(
    plan: Plan, record: Record, examples: int, units: float | None = None
) -> IterationDone:
    """A record of the device as an event.

    examples   that assess measures on
    units      the groups or blocks that they are, as so many of one size; None: each by itself
    """
    chosen = int(record.chosen)
    evidence = _evidence(plan, record)
    decision = _DECISIONS[DecisionCode(int(record.decision))]
    return IterationDone(
        iteration=int(record.iteration),
        candidates=tuple(
            CandidateDone(
                name=candidate.name,
                scores=_scores(plan, record.scores[k], record.errors[k], examples, units),
                is_quarantined=not bool(record.is_finite[k]),
                broken=tuple(
                    guard.name
                    for guard, is_kept in zip(plan.guards, record.keeps[k], strict=True)
                    if not is_kept
                ),
                steps=int(record.steps[k]) if k < len(plan.descents) else 0,
                lost_by=tuple(
                    measure.name
                    for m, measure in enumerate(plan.measures)
                    if not record.is_sound[k, m] and not _is_out_of_range(measure, record, k, m)
                ),
                out_of_range=tuple(
                    measure.name
                    for m, measure in enumerate(plan.measures)
                    if _is_out_of_range(measure, record, k, m)
                ),
                beyond={
                    measure.name: int(record.beyond[k, m])
                    for m, measure in enumerate(plan.measures)
                    if measure.value.level == "example"
                    and record.is_sound[k, m]
                    and record.beyond[k, m]
                },
                extents={
                    measure.name: (float(record.extents[k, m, 0]), float(record.extents[k, m, 1]))
                    for m, measure in enumerate(plan.measures)
                },
            )
            for k, candidate in enumerate(plan.candidates)
            if record.is_present[k]
        ),
        chosen=None if chosen < 0 else plan.candidates[chosen].name,
        has_moved=bool(record.moved),
        decision=decision,
        why=_why(plan, decision, evidence, is_lost=chosen < 0, gained=_gained(plan, record)),
        evidence=evidence,
        current=_scores(plan, record.current, record.current_errors, examples, units),
        accepted=_scores(plan, record.accepted, record.accepted_errors, examples, units),
        leading=plan.ranking.keys[int(record.leading)].name
        if plan.ranking.kind == "priority"
        else None,
    )


def _is_out_of_range(measure: ObjectivePlan, record: Record, k: int, m: int) -> bool:
    """Whether a candidate's value of a whole set or a model is finite and out of its range."""
    is_whole = measure.value.level != "example" and math.isfinite(record.scores[k, m])
    return is_whole and not record.is_sound[k, m]


def changed(before: IterationDone, after: IterationDone) -> SearchChanged | None:
    """What was changed of the search between two iterations, None for nothing."""
    first, second = (
        {each.name: each.steps for each in done.candidates if each.steps}
        for done in (before, after)
    )
    # Candidates that an archive's members teach may have joined in between.
    both = first.keys() & second.keys()
    if all(first[name] == second[name] for name in both):
        return None
    longest = max(second.values())
    is_longer = any(first[name] < second[name] for name in both)
    what = (
        f"roll-outs lengthened to at most {longest} steps, for want of progress"
        if is_longer
        else f"roll-outs of at most {longest} steps again, as the search starts anew"
    )
    return SearchChanged(before.iteration, what, second)


def closed(plan: Plan, record: Record) -> Closed:
    """The record of the last query as an event."""
    evidence = _evidence(plan, record)
    decision = _DECISIONS[DecisionCode(int(record.decision))]
    why = _why(plan, decision, evidence, is_lost=False, gained=_gained(plan, record))
    return Closed(decision, why, evidence)


_DECISIONS: dict[DecisionCode, Decision] = {
    DecisionCode.NOT_ASKED: "not_asked",
    DecisionCode.REJECTED: "rejected",
    DecisionCode.ACCEPTED: "accepted",
}


def _evidence(plan: Plan, record: Record) -> Evidence:
    rule = plan.rule
    claim = rule.claims[int(record.leading) if len(rule.claims) > 1 else 0]
    is_gate, is_binary = isinstance(rule, Gate), claim.test == "mcnemar"
    level = None if isinstance(rule, Reference) else _level(float(record.log_level))
    has_challenger = isinstance(rule, Challenger) and int(record.age) > 0
    return Evidence(
        objective=claim.measure.name,
        wins=int(record.wins) if is_gate and is_binary else None,
        losses=int(record.losses) if is_gate and is_binary else None,
        gain=float(record.gain) if is_gate else None,
        error=float(record.error) if is_gate else None,
        power=float(record.power) if is_gate else None,
        level=level if is_gate or has_challenger else None,
        budget_left=_left(rule, float(record.log_budget)),
        wealth=_wealth(float(record.log_evidence)) if has_challenger else None,
        age=int(record.age),
    )


def proof(plan: Plan, proofs: Proofs, row: int) -> Proof:
    """What the deciding examples said of an acceptance, for a run whose evidence is closed."""
    claim = plan.rule.claims[int(proofs.claim[row])]
    is_counted = isinstance(plan.rule, Gate) and claim.test == "mcnemar"
    return Proof(
        wins=int(proofs.wins[row]) if is_counted else None,
        losses=int(proofs.losses[row]) if is_counted else None,
        p=least_float(float(proofs.log_p[row])),
        log_p=min(float(proofs.log_p[row]), 0.0),
    )


def _wealth(log_evidence: float) -> float:
    """What bets made of 1: one beyond a float's range is enough for any level, and none is 0."""
    return max(math.exp(min(log_evidence, 700.0)), sys.float_info.min)


def _level(log_level: float) -> float:
    """The level of a logarithm, 0 only where nothing is left to spend."""
    return 0.0 if log_level == -math.inf else least_float(log_level)


def _left(rule: Rule, log_budget: float) -> float | None:
    """What is left of a run's chance to be wrong, None where its rule bounds none."""
    if isinstance(rule, Reference) or (isinstance(rule, Gate) and rule.is_each_time):
        return None
    return _level(log_budget) / rule.delta


def _gained(plan: Plan, record: Record) -> float:
    """What current gains over accepted on assess by values as they are, whatever their range.

    After an acceptance both are one model.
    """
    claims = plan.rule.claims
    measure = claims[int(record.leading) if len(claims) > 1 else 0].measure
    place = [each.name for each in plan.measures].index(measure.name)
    return measure.sign * float(record.current[place] - record.accepted[place])


def _why(
    plan: Plan, decision: Decision, evidence: Evidence, *, is_lost: bool, gained: float
) -> str:
    match plan.rule:
        case Reference():
            return _why_bounds(decision, has_guards=bool(plan.guards))
        case Challenger() as rule:
            return _why_challenged(rule, decision, evidence)
        case Gate() as rule:
            return _why_asked(rule, decision, evidence, is_lost=is_lost, gained=gained)


def _why_bounds(decision: Decision, *, has_guards: bool) -> str:
    if decision == "accepted":
        return "on adapt its lower bound lies above accepted's upper bound"
    if decision == "not_asked":
        return "every candidate was lost"
    breaks = ", or the winner breaks a guard" if has_guards else ""
    return f"on adapt the best lower bound does not lie above accepted's upper bound{breaks}"


def _why_challenged(rule: Challenger, decision: Decision, evidence: Evidence) -> str:
    if evidence.wealth is None or evidence.level is None:
        return "no challenger so far"
    iterations = f"{evidence.age} iteration" + ("" if evidence.age == 1 else "s")
    wealth = f"bets on it made {evidence.wealth:.3g} of 1 in {iterations}"
    needed = f"{1 / evidence.level:.3g} are needed"
    if decision == "accepted":
        return f"a challenger is better: {wealth}, {needed}"
    if decision == "rejected":
        return f"a challenger is dropped; {wealth}, {needed}"
    return f"a challenger gathers evidence: {wealth}, {needed}"


def _why_asked(
    rule: Gate, decision: Decision, evidence: Evidence, *, is_lost: bool, gained: float
) -> str:
    assert evidence.level is not None and evidence.power is not None
    level = chance(evidence.level)
    if decision == "accepted":
        return f"better on adapt at level {level}"
    if decision == "rejected":
        return f"not shown to be better on adapt at level {level}"
    if is_lost:
        return "every candidate was lost"
    if evidence.wins is not None and evidence.losses is not None:
        found = (
            f"on assess current alone is right {evidence.wins} times, "
            f"accepted alone {evidence.losses}"
        )
        is_gain = evidence.wins > evidence.losses
    else:
        assert evidence.gain is not None
        found = f"on assess {evidence.objective} gains {evidence.gain:.3g} ± {evidence.error:.2g}"
        is_gain = evidence.gain > rule.claims[0].margin
        claim = next(each for each in rule.claims if each.measure.name == evidence.objective)
        if claim.measure.clips:
            found += " with values kept in its range"
            if is_gain and gained <= claim.margin:
                return f"{found}, {gained:.3g} as they are: no gain to test"
    if not is_gain:
        return f"{found}: no gain to test"
    if evidence.power >= LEAST_POWER or rule.is_each_time:
        return f"{found}: current breaks a guard, or a proven one has no gain to test"
    predicted = likelihood(evidence.power)
    return f"{found}: the test would pass with chance {predicted}, too little to ask"


def _scores(plan: Plan, values: Any, errors: Any, examples: int, units: float | None) -> Scores:
    return {
        measure.name: _score(measure, float(value), float(error), examples, units)
        for measure, value, error in zip(plan.measures, values, errors, strict=True)
    }


def _score(
    measure: ObjectivePlan, value: float, error: float, examples: int, units: float | None
) -> Interval:
    """A value on assess with its interval; of a set's value the device tells no spread."""
    if measure.value.level != "example":
        return Interval(value, None, None, 0 if measure.value.level == "model" else examples)
    if measure.is_binary and units is not None:
        return share_of(value, error, examples, units)
    if measure.is_binary and math.isfinite(value):
        return wilson(round(value * examples), examples)
    return student_of(value, error, examples, units)
