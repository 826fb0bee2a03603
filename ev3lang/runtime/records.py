"""What the device tells of an iteration, as an event."""

from __future__ import annotations

import math
from typing import Any

from ev3lang.backend.state import Decision as DecisionCode
from ev3lang.backend.state import Record
from ev3lang.plan.plan import ObjectivePlan, Plan
from ev3lang.runtime.events import (
    CandidateDone,
    Closed,
    Decision,
    Evidence,
    IterationDone,
    Scores,
)
from ev3lang.runtime.intervals import Interval, wilson


def iteration(plan: Plan, record: Record, examples: int) -> IterationDone:
    """A record of the device as an event; `examples` is how many assess measures on."""
    chosen = int(record.chosen)
    evidence = _evidence(plan, record)
    decision = _DECISIONS[DecisionCode(int(record.decision))]
    return IterationDone(
        iteration=int(record.iteration),
        candidates=tuple(
            CandidateDone(
                name=candidate.name,
                scores=_scores(plan, record.scores[k], examples),
                is_quarantined=not bool(record.is_finite[k]),
            )
            for k, candidate in enumerate(plan.candidates)
        ),
        chosen=None if chosen < 0 else plan.candidates[chosen].name,
        has_moved=bool(record.moved),
        decision=decision,
        why=_why(decision, evidence, is_lost=chosen < 0),
        evidence=evidence,
        current=_scores(plan, record.current, examples),
        accepted=_scores(plan, record.accepted, examples),
    )


def closed(plan: Plan, record: Record) -> Closed:
    """The record of the last query as an event."""
    evidence = _evidence(plan, record)
    decision = _DECISIONS[DecisionCode(int(record.decision))]
    return Closed(decision, _why(decision, evidence, is_lost=False), evidence)


_DECISIONS: dict[DecisionCode, Decision] = {
    DecisionCode.NOT_ASKED: "not_asked",
    DecisionCode.REJECTED: "rejected",
    DecisionCode.ACCEPTED: "accepted",
}


def _evidence(plan: Plan, record: Record) -> Evidence:
    return Evidence(
        wins=int(record.wins),
        losses=int(record.losses),
        power=float(record.power),
        level=math.exp(float(record.log_level)),
        budget_left=math.exp(float(record.log_budget)) / plan.rule.delta,
    )


def _why(decision: Decision, evidence: Evidence, *, is_lost: bool) -> str:
    level = f"{100 * evidence.level:.2g}%"
    if decision == "accepted":
        return f"better on adapt at level {level}"
    if decision == "rejected":
        return f"not shown to be better on adapt at level {level}"
    if is_lost:
        return "every candidate was lost"
    counts = (
        f"on assess current alone is right {evidence.wins} times, accepted alone {evidence.losses}"
    )
    if evidence.wins <= evidence.losses:
        return f"{counts}: no gain to test"
    return f"{counts}: the test would pass with chance {evidence.power:.0%}, too little to ask"


def _scores(plan: Plan, values: Any, examples: int) -> Scores:
    return {
        objective.name: _score(objective, float(value), examples)
        for objective, value in zip(plan.measures, values, strict=True)
    }


def _score(objective: ObjectivePlan, value: float, examples: int) -> Interval:
    """A mean over assess with its interval; of reals and of sets the device tells no spread."""
    if objective.is_binary and math.isfinite(value):
        return wilson(round(value * examples), examples)
    return Interval(value, None, None, 0 if objective.value.level == "model" else examples)
