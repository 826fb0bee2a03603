"""What a run announces while it goes on, as values; a terminal or a log makes of them what it will.

No event tells anything of the adapt split but the one bit of a decision, and none carries a wall
time but those that say so: two runs of one seed write the same lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from ev3lang.outcome import Outcome
from ev3lang.plan.plan import Plan
from ev3lang.runtime.intervals import Interval

Decision: TypeAlias = Literal["accepted", "rejected", "not_asked"]

Scores: TypeAlias = Mapping[str, Interval]
"""Each objective's value on assess."""


@attrs.frozen
class RunStarted:
    """The spec is read and the folder made; nothing is computed yet.

    device   as people call it: `cpu`, `NVIDIA H100 80GB HBM3`
    splits   examples of each split, empty for an endless source
    """

    plan: Plan
    device: str
    folder: Path
    splits: Mapping[str, int]


@attrs.frozen
class Compiled:
    """The program is ready to run."""

    wall_s: float


@attrs.frozen
class CandidateDone:
    """One candidate's roll-out of one iteration.

    is_quarantined  whether a value that is no finite number took it out of this iteration
    """

    name: str
    scores: Scores
    is_quarantined: bool


@attrs.frozen
class Evidence:
    """What a decision went by, all of it from assess.

    wins, losses  assess examples that only current, only accepted gets right
    power         the predicted chance that a query would pass, in [0, 1]
    level         the chance to be wrong that the query spends, or would
    budget_left   what is left of the chance to be wrong after it, as a share of the whole
    """

    wins: int
    losses: int
    power: float
    level: float
    budget_left: float


@attrs.frozen
class IterationDone:
    """One iteration of explore, assess and adapt.

    iteration  from 1
    chosen     the candidate ranked best, None where all were quarantined
    has_moved  whether it became current
    why        the decision's reason in words
    current, accepted  their scores on assess after this iteration
    """

    iteration: int
    candidates: tuple[CandidateDone, ...]
    chosen: str | None
    has_moved: bool
    decision: Decision
    why: str
    evidence: Evidence
    current: Scores
    accepted: Scores


@attrs.frozen
class Closed:
    """The last query to the adapt split, at the run's own stop."""

    decision: Decision
    why: str
    evidence: Evidence


@attrs.frozen
class RunEnded:
    """No iteration follows; what is left is measuring."""

    outcome: Outcome
    iterations: int


@attrs.frozen
class Measuring:
    """What the run does after its last iteration, in words."""

    what: str


Event: TypeAlias = RunStarted | Compiled | IterationDone | Closed | RunEnded | Measuring

Listener: TypeAlias = Callable[[Event], None]


def line(event: Event) -> dict[str, Any] | None:
    """The event's line of `events.jsonl`, None for one that isn't written there."""
    match event:
        case IterationDone():
            return {
                "event": "iteration",
                "iteration": event.iteration,
                "candidates": [
                    {
                        "name": candidate.name,
                        "scores": _scores(candidate.scores),
                        "quarantined": candidate.is_quarantined,
                    }
                    for candidate in event.candidates
                ],
                "chosen": event.chosen,
                "moved": event.has_moved,
                "decision": event.decision,
                "why": event.why,
                "ledger": _ledger(event.evidence),
                "current": _scores(event.current),
                "accepted": _scores(event.accepted),
            }
        case Closed():
            return {
                "event": "closed",
                "decision": event.decision,
                "why": event.why,
                "ledger": _ledger(event.evidence),
            }
        case RunEnded():
            return {
                "event": "ended",
                "outcome": event.outcome.name.lower(),
                "iterations": event.iterations,
            }
        case _:
            return None


def interval_json(interval: Interval) -> dict[str, Any]:
    """`value`, `low`, `high` and `examples`, with null for what is unknown."""
    return {
        "value": number(interval.value),
        "low": number(interval.low),
        "high": number(interval.high),
        "examples": interval.examples,
    }


def number(value: float | None) -> float | None:
    """A number that JSON can hold: null for none and for what isn't finite."""
    return None if value is None or not math.isfinite(value) else value


def _scores(scores: Scores) -> dict[str, Any]:
    return {name: interval_json(interval) for name, interval in scores.items()}


def _ledger(evidence: Evidence) -> dict[str, Any]:
    return {
        "wins": evidence.wins,
        "losses": evidence.losses,
        "power": number(evidence.power),
        "level": number(evidence.level),
        "budget_left": number(evidence.budget_left),
    }
