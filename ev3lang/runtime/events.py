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

    is_quarantined  whether it is out of this iteration: for a value that is no finite number, or
                    a set's value out of its range
    broken          the guards that it breaks, as the spec writes them
    steps           gradient steps that it took, 0 for a candidate of another kind
    lost_by         the measures that are not finite; empty where its loss or weights took it out
    out_of_range    the measures of a whole set that are finite and out of their range
    beyond          of each measure with a value for each example, on how many assess examples that
                    lies beyond a stated range: nothing is lost by it, tests count the nearer end
    extents         of each measure its least and its greatest value on assess
    """

    name: str
    scores: Scores
    is_quarantined: bool
    broken: tuple[str, ...] = ()
    lost_by: tuple[str, ...] = ()
    steps: int = 0
    out_of_range: tuple[str, ...] = ()
    beyond: Mapping[str, int] = attrs.field(factory=dict)
    extents: Mapping[str, tuple[float, float]] = attrs.field(factory=dict)


@attrs.frozen
class Evidence:
    """What a decision went by, all of it from assess or from a challenger's fresh examples.

    objective     what was to improve
    wins, losses  assess examples that only current, only accepted gets right; None where an
                  example isn't right or wrong
    gain, error   current's mean gain over accepted and its standard error, in the objective's
                  unit, signed so that more is better; None where no gain is looked at
    power         the predicted chance that a query would pass, in [0, 1]; None without queries
    level         the chance to be wrong that the query spends, or would; of a challenger, what
                  it may spend in all; None where no rule bounds it
    budget_left   what is left of the chance to be wrong after it, as a share of the whole; None
                  where no rule bounds it
    wealth        what bets on the challenger nearest to acceptance have made of 1, None for none
    age           iterations that it has gathered evidence, 0 for none
    """

    objective: str
    wins: int | None
    losses: int | None
    gain: float | None
    error: float | None
    power: float | None
    level: float | None
    budget_left: float | None
    wealth: float | None = None
    age: int = 0


@attrs.frozen
class IterationDone:
    """One iteration of explore, assess and adapt.

    iteration  from 1
    chosen     the candidate ranked best, None where all were quarantined
    has_moved  whether it became current
    why        the decision's reason in words
    leading    the objective that the ranking went by, None where it isn't one alone
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
    leading: str | None = None


@attrs.frozen
class Warned:
    """Something that the run puts up with and the user should know, in words."""

    what: str


@attrs.frozen
class SearchChanged:
    """The search goes on otherwise than before, for want of progress.

    iteration  the last one before
    what       in words
    steps      gradient steps that each descent takes from now on
    """

    iteration: int
    what: str
    steps: Mapping[str, int]


@attrs.frozen
class Trial:
    """What a growth that was tried came to in its one iteration."""

    operation: str
    parameters: int
    scores: Scores


@attrs.frozen
class Grown:
    """The explored models go on in another size.

    iteration    the last one before
    operation    as a spec writes it, `widen(2x)`; None where they start again from the smallest
    parameters   of each explored model from now on
    max_output_change   the greatest difference of outputs before and after on assess examples, as
                 a part of the largest output; None where the function isn't kept
    number_of_pass   which of the run's passes goes on, from 1
    trials       of `best of`, each growth that was tried, in the order of the spec; else empty
    tried_by     the objectives that assess ranked them by
    members      the models that archives hold from now on
    """

    iteration: int
    operation: str | None
    parameters: Mapping[str, int]
    max_output_change: float | None
    number_of_pass: int = 1
    trials: tuple[Trial, ...] = ()
    tried_by: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


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


@attrs.frozen
class Training:
    """How far plain training is, of a baseline or of a model before the run.

    what          in words
    step, steps   done, and how many there are
    """

    what: str
    step: int
    steps: int


@attrs.frozen
class PointStarted:
    """A point of a sweep begins; its own events follow.

    number, count  from 1, and how many there are
    beside         how many points after it run at the same time, without events here
    settings       in words: `seed 2, width 16`
    """

    number: int
    count: int
    settings: str
    beside: int = 0


@attrs.frozen
class PointEnded:
    """What a point of a sweep came to, in words."""

    number: int
    count: int
    settings: str
    words: str
    is_failed: bool


Event: TypeAlias = (
    RunStarted
    | Compiled
    | IterationDone
    | SearchChanged
    | Grown
    | Warned
    | Closed
    | RunEnded
    | Measuring
    | Training
    | PointStarted
    | PointEnded
)

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
                        "broken": list(candidate.broken),
                        "lost_by": list(candidate.lost_by),
                        "out_of_range": list(candidate.out_of_range),
                        "beyond_range": {
                            name: {
                                "examples": count,
                                "least": number(candidate.extents[name][0]),
                                "greatest": number(candidate.extents[name][1]),
                            }
                            for name, count in candidate.beyond.items()
                        },
                        "steps": candidate.steps,
                    }
                    for candidate in event.candidates
                ],
                "chosen": event.chosen,
                "moved": event.has_moved,
                "leading": event.leading,
                "decision": event.decision,
                "why": event.why,
                "ledger": _ledger(event.evidence),
                "current": _scores(event.current),
                "accepted": _scores(event.accepted),
            }
        case SearchChanged():
            return {
                "event": "search",
                "iteration": event.iteration,
                "what": event.what,
                "steps": dict(event.steps),
            }
        case Grown():
            return {
                "event": "growth",
                "iteration": event.iteration,
                "pass": event.number_of_pass,
                "operation": event.operation,
                "parameters": dict(event.parameters),
                "max_output_change": number(event.max_output_change),
                "trials": [trial_json(trial) for trial in event.trials],
                "tried_by": list(event.tried_by),
                "members": list(event.members),
            }
        case Closed():
            return {
                "event": "closed",
                "decision": event.decision,
                "why": event.why,
                "ledger": _ledger(event.evidence),
            }
        case Warned():
            return {"event": "warning", "what": event.what}
        case RunEnded():
            return {
                "event": "ended",
                "outcome": event.outcome.name.lower(),
                "iterations": event.iterations,
            }
        case _:
            return None


def trial_json(trial: Trial) -> dict[str, Any]:
    """`operation`, `parameters` and `scores`."""
    return {
        "operation": trial.operation,
        "parameters": trial.parameters,
        "scores": _scores(trial.scores),
    }


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
        "objective": evidence.objective,
        "wins": evidence.wins,
        "losses": evidence.losses,
        "gain": number(evidence.gain),
        "error": number(evidence.error),
        "power": number(evidence.power),
        "level": number(evidence.level),
        "budget_left": number(evidence.budget_left),
        "wealth": number(evidence.wealth),
        "age": evidence.age,
    }
