"""The report of a run as a value: what was asked, tried and accepted, and what it is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import Any, Literal, TypeAlias

import attrs

from ev3lang.check.typed import SPLITS
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import BaselinePlan, Descent, Plan
from ev3lang.runtime.events import Closed, Decision, Evidence, IterationDone, interval_json, number
from ev3lang.runtime.intervals import Interval

FORMAT_VERSION = "1.0"

Better: TypeAlias = Literal["higher", "lower"]


@attrs.frozen
class Quantity:
    """How to read a value: which direction is better (None: neither) and whether it is a share."""

    better: Better | None
    is_share: bool


@attrs.frozen
class Tried:
    """What became of a candidate over the run.

    gain  median over its iterations of its score minus current's before, on assess, in the unit
          of the ranking objective and signed so that more is better; None where it never had one
    """

    name: str
    what: str
    best: int
    moved: int
    quarantined: int
    gain: float | None


@attrs.frozen
class Acceptance:
    """One acceptance and what spoke for asking; of adapt nothing is told but that it passed.

    iteration     the one it happened in; that of the last for the closing query
    is_closing    whether it was the last query, at the run's own stop
    wins, losses  assess examples that only the new, only the old accepted model got right
    level         the chance to be wrong that the query spent
    """

    iteration: int
    is_closing: bool
    wins: int
    losses: int
    level: float


@attrs.frozen
class Comparison:
    """Accepted against another model on the same examples: `accepted` minus `other`."""

    other: str
    metric: str
    difference: Interval


@attrs.frozen
class Report:
    """All a reader needs who hasn't seen the spec.

    asked       what the spec asks for, a heading and a sentence each
    split       what the metrics were measured on: `report`, which nothing was chosen by, or
                `assess` for a run that ended otherwise than by its own stop
    metrics     model to metric to value; models are accepted, current and the baselines
    steps       model to the gradient steps that led to it
    baselines   name and words of each
    tables      model to metric to rows, for values that are tables, such as a confusion matrix
    queries     how often the adapt split was asked
    budget_left what is left of the chance to be wrong, as a share of the whole in [0, 1]
    timings     what took how many seconds
    """

    name: str
    spec: str
    device: str
    seed: int
    asked: tuple[tuple[str, str], ...]
    outcome: Outcome
    iterations: int
    rule: str
    ranked_by: str
    tried: tuple[Tried, ...]
    acceptances: tuple[Acceptance, ...]
    queries: int
    budget_left: float
    split: Literal["report", "assess"]
    quantities: Mapping[str, Quantity]
    steps: Mapping[str, int]
    baselines: tuple[tuple[str, str], ...]
    metrics: Mapping[str, Mapping[str, Interval]]
    tables: Mapping[str, Mapping[str, tuple[tuple[float, ...], ...]]]
    comparisons: tuple[Comparison, ...]
    timings: Mapping[str, float]
    warnings: tuple[str, ...]


# ---------------------------------------------------------------- what was asked


def asked(plan: Plan, splits: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    """The spec in sentences, each under a heading."""
    return (
        ("task", _task(plan)),
        ("data", _data(plan, splits)),
        ("each iteration", _iteration(plan)),
        ("accepting", rule_words(plan)),
        ("end", _stop(plan)),
    )


def rule_words(plan: Plan) -> str:
    """The acceptance rule and what it promises."""
    name = plan.rule.claims[0].measure.name
    return (
        f"the accepted model changes when {name} improves on the adapt split; the "
        f"chance that the run ever accepts a model that is no better is at most "
        f"{share(plan.rule.delta)} (rule gate, exact McNemar tests)"
    )


def candidate_words(candidate: Descent) -> str:
    """What a candidate does in an iteration."""
    return (
        f"{_counted(candidate.steps, 'step')} of {candidate.loss_name} by "
        f"{candidate.optimizer.name}, {candidate.batch} examples each"
    )


def baseline_words(baseline: BaselinePlan) -> str:
    """What a baseline is, for one who wonders what accepted is compared with."""
    count = "the accepted model" if baseline.is_same_lineage else "all candidates together"
    return (
        f"plain training from the same start, {baseline.loss_name} by {baseline.optimizer.name}, "
        f"as many gradient steps as {count}"
    )


def _task(plan: Plan) -> str:
    goals = []
    for objective in plan.objectives:
        target = ""
        if objective.target is not None:
            wanted = share(objective.target) if objective.is_binary else f"{objective.target:g}"
            target = f" (target {wanted})"
        goals.append(f"{objective.direction} {objective.name}{target}")
    return f"{plan.explored}: {_listed(goals)}"


def _data(plan: Plan, splits: Mapping[str, int]) -> str:
    if not splits:
        return f"{plan.data.name} from {plan.data.source}, endless: every batch is fresh"
    parts = ", ".join(f"{splits[use]} to {use}" for use in SPLITS)
    by = plan.data.split.by if plan.data.split is not None else None
    stratified = f", stratified by {by}" if by else ""
    total = sum(splits.values())
    return f"{plan.data.name} from {plan.data.source}, {total} examples: {parts}{stratified}"


def _iteration(plan: Plan) -> str:
    count = _counted(len(plan.candidates), "candidate")
    start, takes = ("starts", "takes") if len(plan.candidates) == 1 else ("start", "take")
    move = {
        "unless worse": "the best becomes current unless assess shows it to be worse",
        "when better": "the best becomes current when assess shows it to be better",
        "always": "the best becomes current",
    }[plan.move]
    steps = _either({candidate.steps for candidate in plan.descents})
    batch = _either({candidate.batch for candidate in plan.descents})
    return (
        f"{count} {start} from the current weights and {takes} {steps} gradient steps of {batch} "
        f"examples; assess ranks by {plan.ranking.words}; {move}"
    )


def _stop(plan: Plan) -> str:
    ends = []
    if plan.stop.iterations is not None:
        ends.append(f"after {_counted(plan.stop.iterations, 'iteration')}")
    if plan.stop.seconds is not None:
        ends.append(f"after {duration(plan.stop.seconds)}")
    for conditions in plan.stop.any_of:
        wanted = " and ".join(
            f"{each.objective} {each.operator} "
            + (share(each.value) if plan.objective(each.objective).is_binary else f"{each.value:g}")
            for each in conditions
        )
        ends.append(f"when {wanted}")
    if plan.stop.when_targets_met:
        ends.append("when all targets are met")
    return " or ".join(ends)


# ---------------------------------------------------------------- what was tried


@attrs.define
class Tally:
    """Adds up over a run what became of each candidate; give it every iteration in order."""

    plan: Plan
    acceptances: list[Acceptance] = attrs.field(factory=list)
    queries: int = 0
    iterations: int = 0
    budget_left: float = 1.0
    _best: dict[str, int] = attrs.field(factory=dict)
    _moved: dict[str, int] = attrs.field(factory=dict)
    _quarantined: dict[str, int] = attrs.field(factory=dict)
    _gains: dict[str, list[float]] = attrs.field(factory=dict)
    _current: float | None = None

    def add(self, done: IterationDone) -> None:
        key = self.plan.ranking.keys[0]
        ranked_by, sign = key.name, key.sign
        self.iterations = done.iteration
        for candidate in done.candidates:
            if candidate.is_quarantined:
                self._quarantined[candidate.name] = self._quarantined.get(candidate.name, 0) + 1
            elif self._current is not None:
                gain = sign * (candidate.scores[ranked_by].value - self._current)
                self._gains.setdefault(candidate.name, []).append(gain)
        if done.chosen is not None:
            self._best[done.chosen] = self._best.get(done.chosen, 0) + 1
            if done.has_moved:
                self._moved[done.chosen] = self._moved.get(done.chosen, 0) + 1
        current = done.current[ranked_by].value
        self._current = current if math.isfinite(current) else None
        self._decide(done.decision, done.evidence, is_closing=False)

    def close(self, closed: Closed) -> None:
        self._decide(closed.decision, closed.evidence, is_closing=True)

    def _decide(self, decision: Decision, evidence: Evidence, *, is_closing: bool) -> None:
        self.budget_left = evidence.budget_left
        self.queries += decision != "not_asked"
        if decision == "accepted":
            self.acceptances.append(
                Acceptance(
                    self.iterations, is_closing, evidence.wins, evidence.losses, evidence.level
                )
            )

    def tried(self) -> tuple[Tried, ...]:
        return tuple(
            Tried(
                name=candidate.name,
                what=candidate_words(candidate),
                best=self._best.get(candidate.name, 0),
                moved=self._moved.get(candidate.name, 0),
                quarantined=self._quarantined.get(candidate.name, 0),
                gain=median(gains) if (gains := self._gains.get(candidate.name)) else None,
            )
            for candidate in self.plan.descents
        )


# ---------------------------------------------------------------- numbers in words


def share(fraction: float) -> str:
    """0.9815 as `98.1%`, without a `.0`."""
    return f"{100 * fraction:.1f}".removesuffix(".0") + "%"


def duration(seconds: float) -> str:
    """`0.31 s`, `12 s`, `4 min 5 s`, `2 h 30 min`."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    large, small, of = (whole // 60, whole % 60, "min s")
    if whole >= 3600:
        large, small, of = (whole // 3600, whole % 3600 // 60, "h min")
    first, second = of.split()
    return f"{large} {first}" + (f" {small} {second}" if small else "")


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _either(numbers: set[int]) -> str:
    return " or ".join(str(number) for number in sorted(numbers))


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


# ---------------------------------------------------------------- as JSON


def to_json(report: Report) -> dict[str, Any]:
    """The value of `report.json`."""
    return {
        "format_version": FORMAT_VERSION,
        "name": report.name,
        "spec": report.spec,
        "device": report.device,
        "seed": report.seed,
        "asked": [{"heading": heading, "text": text} for heading, text in report.asked],
        "outcome": report.outcome.name.lower(),
        "outcome_words": report.outcome.words,
        "iterations": report.iterations,
        "acceptances": len(report.acceptances),
        "evidence": [attrs.asdict(acceptance) for acceptance in report.acceptances],
        "queries": report.queries,
        "budget_left": number(report.budget_left),
        "rule": report.rule,
        "ranked_by": report.ranked_by,
        "candidates": [
            {**attrs.asdict(tried), "gain": number(tried.gain)} for tried in report.tried
        ],
        "quantities": {name: attrs.asdict(each) for name, each in report.quantities.items()},
        "steps": dict(report.steps),
        "baselines": [{"name": name, "text": text} for name, text in report.baselines],
        "metrics": {
            report.split: {
                model: {name: interval_json(interval) for name, interval in values.items()}
                for model, values in report.metrics.items()
            }
        },
        "tables": {
            report.split: {
                model: {name: [list(row) for row in rows] for name, rows in tables.items()}
                for model, tables in report.tables.items()
            }
        },
        "comparisons": [
            {
                "model": "accepted",
                "other": each.other,
                "metric": each.metric,
                **interval_json(each.difference),
            }
            for each in report.comparisons
        ],
        "timings": dict(report.timings),
        "warnings": list(report.warnings),
    }


def from_json(value: Mapping[str, Any]) -> Report:
    """The report that `to_json` gave the value of.

    Raises ValueError for a value of another format.
    """
    if not isinstance(value, Mapping) or value.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"not a report of format {FORMAT_VERSION}")
    ((split, metrics),) = value["metrics"].items()
    return Report(
        name=value["name"],
        spec=value["spec"],
        device=value["device"],
        seed=value["seed"],
        asked=tuple((each["heading"], each["text"]) for each in value["asked"]),
        outcome=Outcome[value["outcome"].upper()],
        iterations=value["iterations"],
        rule=value["rule"],
        ranked_by=value["ranked_by"],
        tried=tuple(Tried(**each) for each in value["candidates"]),
        acceptances=tuple(Acceptance(**each) for each in value["evidence"]),
        queries=value["queries"],
        budget_left=value["budget_left"],
        split=split,
        quantities={name: Quantity(**each) for name, each in value["quantities"].items()},
        steps=value["steps"],
        baselines=tuple((each["name"], each["text"]) for each in value["baselines"]),
        metrics={
            model: {name: _interval(each) for name, each in values.items()}
            for model, values in metrics.items()
        },
        tables={
            model: {name: tuple(map(tuple, rows)) for name, rows in tables.items()}
            for model, tables in value["tables"][split].items()
        },
        comparisons=tuple(
            Comparison(each["other"], each["metric"], _interval(each))
            for each in value["comparisons"]
        ),
        timings=value["timings"],
        warnings=tuple(value["warnings"]),
    )


def _interval(value: Mapping[str, Any]) -> Interval:
    measured = math.nan if value["value"] is None else value["value"]
    return Interval(measured, value["low"], value["high"], value["examples"])
