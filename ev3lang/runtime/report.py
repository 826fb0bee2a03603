"""The report of a run as a value: what was asked, tried and accepted, and what it is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import attrs

from ev3lang.check.typed import SPLITS
from ev3lang.diagnostics.figures import chance, share
from ev3lang.outcome import Outcome
from ev3lang.plan.growth.copies import written
from ev3lang.plan.plan import (
    Averaged,
    BaselinePlan,
    Candidate,
    Challenger,
    Claim,
    Descent,
    Evolution,
    Gate,
    Growing,
    ObjectivePlan,
    Perturbation,
    Plan,
    Reference,
    Test,
)
from ev3lang.plan.work import parameters
from ev3lang.runtime.codec import Json, Special
from ev3lang.runtime.events import (
    Closed,
    Decision,
    Evidence,
    Grown,
    IterationDone,
    SearchChanged,
    Trial,
    interval_json,
    number,
    trial_json,
)
from ev3lang.runtime.intervals import Interval

FORMAT_VERSION = "1.0"

Better: TypeAlias = Literal["higher", "lower"]
Split: TypeAlias = Literal["report", "assess"]
Table: TypeAlias = tuple[tuple[float, ...], ...]

Delivered: TypeAlias = Literal["accepted", "start"]


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
class Proof:
    """What the examples that decide said of an acceptance, told once the evidence is closed.

    wins, losses  examples that only the new, only the old accepted model got right; None where
                  an example isn't right or wrong
    p             the p-value, or a bound on it: 1 over what bets made of 1; never 0, as one below
                  every normal float is given as the least of them
    log_p         its natural logarithm, however small it is; None in reports that lack it
    """

    wins: int | None
    losses: int | None
    p: float
    log_p: float | None = None


@attrs.frozen
class Acceptance:
    """One acceptance, what spoke for asking, and what answered.

    iteration     the one it happened in; that of the last for the closing query
    is_closing    whether it was the last query, at the run's own stop
    objective     what improved
    wins, losses  assess examples that only the new, only the old accepted model got right; None
                  where an example isn't right or wrong
    gain, error   on assess, with its standard error; None under a rule that looks at neither
    level         the chance to be wrong that it could spend; None where no rule bounds it
    budget_left   what was left behind it, as a share of the whole
    age           iterations that a challenger had gathered evidence, else 0
    proof         None in a run that didn't end by its own stop
    """

    iteration: int
    is_closing: bool
    objective: str
    wins: int | None
    losses: int | None
    gain: float | None
    error: float | None
    level: float | None
    budget_left: float | None
    age: int
    proof: Proof | None = None


@attrs.frozen
class Stage:
    """What a run did while its explored models had one size.

    operation       what led to it, as a spec writes it; None for a start from the smallest
    number_of_pass  from 1
    parameters      of each explored model
    first, last     iterations; `last` is the one before `first` where none followed
    steps           gradient steps of all candidates
    acceptances     those in its iterations, and that of the last query if it was the last stage
    best, final     of current on assess, by the first key of the ranking: the best of all its
                    iterations and that of the last; None without one
    max_output_change   the greatest difference of outputs that growth made, as a part of the
                    largest output; None where the function wasn't kept, and at a start
    members         the models that archives held, by name
    trials          the growths that `best of` tried, in the order of the spec
    tried_by        the objectives that assess ranked them by
    """

    operation: str | None
    number_of_pass: int
    parameters: Mapping[str, int]
    first: int
    last: int
    steps: int = 0
    acceptances: int = 0
    best: float | None = None
    final: float | None = None
    max_output_change: float | None = None
    members: tuple[str, ...] = ()
    trials: tuple[Trial, ...] = ()
    tried_by: tuple[str, ...] = ()


@attrs.frozen
class FrontMember:
    """A model that none found in the run is better than in everything ranked by."""

    name: str
    iteration: int


@attrs.frozen
class Comparison:
    """The delivered model against another on the same examples: its value minus `other`'s."""

    other: str
    metric: str
    difference: Interval


@attrs.frozen
class Report:
    """All a reader needs who hasn't seen the spec.

    asked       what the spec asks for, a heading and a sentence each
    changes     of the search, for want of progress, in words
    split       what the metrics were measured on: `report`, which nothing was chosen by, or
                `assess` for a run that ended otherwise than by its own stop
    delivered   the name that metrics and steps have for the model that the run delivers:
                `accepted`, or `start` where nothing was accepted and it is the one it started with
    metrics     model to metric to value; models are the delivered one, current and the baselines
    steps       model to the gradient steps that led to it
    baselines   name and words of each
    tables      model to metric to rows, for values that are tables, such as a confusion matrix
    claim       what a reader may conclude of all acceptances together
    front       the models of the ranking's front, none for a ranking without one
    archived    the members of archives, by the names that `metrics` has for them
    queries     how often the adapt split was asked, or how many challengers were judged
    budget_left what is left of the chance to be wrong, as a share of the whole in [0, 1]; None
                where no rule bounds it
    timings     what took how many seconds
    stages      the sizes of the explored models one after the other; none where they never change
    accepted_stage   which of them the accepted model has its size from
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
    changes: tuple[str, ...]
    acceptances: tuple[Acceptance, ...]
    claim: str
    front: tuple[FrontMember, ...]
    queries: int
    budget_left: float | None
    split: Split
    quantities: Mapping[str, Quantity]
    steps: Mapping[str, int]
    baselines: tuple[tuple[str, str], ...]
    metrics: Mapping[str, Mapping[str, Interval]]
    tables: Mapping[str, Mapping[str, Table]]
    comparisons: tuple[Comparison, ...]
    timings: Mapping[str, float]
    warnings: tuple[str, ...]
    stages: tuple[Stage, ...] = ()
    accepted_stage: int = 0
    archived: tuple[str, ...] = ()
    delivered: Delivered = "accepted"


# ---------------------------------------------------------------- what was asked


def asked(
    plan: Plan, splits: Mapping[str, int], units: Mapping[str, int] = MappingProxyType({})
) -> tuple[tuple[str, str], ...]:
    """The spec in sentences, each under a heading."""
    return (
        ("task", _task(plan)),
        ("data", _data(plan, splits, units)),
        ("each iteration", _iteration(plan)),
        ("accepting", rule_words(plan)),
        *((("guards", words),) if (words := guard_words(plan)) else ()),
        *((("without progress", patience_words(plan)),) if plan.patience is not None else ()),
        *((("archives", archive_words(plan)),) if plan.archives else ()),
        ("end", _stop(plan)),
    )


def rule_words(plan: Plan) -> str:
    """The acceptance rule, why it is the one, and what it promises."""
    return _rule(plan) if plan.runs == 1 else f"{_rule(plan)}; {sweep_words(plan)}"


def sweep_words(plan: Plan) -> str:
    """What the rule promises of all runs of the plan's sweep together."""
    rule = plan.rule
    if isinstance(rule, Reference) or (isinstance(rule, Gate) and rule.is_each_time):
        return (
            f"the sweep has {plan.runs} runs, and since nothing bounds one of them, no part of a "
            "confidence can make up for their number"
        )
    return (
        f"the chance that any of the {plan.runs} runs of the sweep ever accepts a model that is no "
        f"better is at most {_about(plan)}{chance(plan.runs * rule.delta)}, and "
        f"{chance(rule.delta)} is the part of each"
    )


def _rule(plan: Plan) -> str:
    rule = plan.rule
    change = f"the accepted model changes when {_improves(plan)}"
    match rule:
        case Gate(is_each_time=True):
            return (
                f"{change} on {_deciding(plan)}; each decision may be wrong with a chance of at "
                f"most {_about(plan)}{chance(rule.delta)}, and nothing bounds the run (rule gate, "
                f"each time, {_tests(plan)})"
            )
        case Gate():
            return (
                f"{change} on {_deciding(plan)}; the chance that the run ever accepts a model "
                f"that is no better is at most {_about(plan)}{chance(rule.delta)} (rule gate, "
                f"{_tests(plan)})"
            )
        case Challenger():
            return (
                f"{change} on examples drawn after the challenger was frozen; the chance that the "
                f"run ever accepts a model that is no better is at most {chance(rule.delta)} (rule "
                "challenger, since every iteration has fresh examples: bets add up over them)"
            )
        case Reference():
            return (
                f"{change} by bounds that lie apart, {rule.decide:g} standard errors wide (rule "
                "reference, as published: nothing bounds the run, and in simulation up to 59% of "
                "runs of 200 iterations accepted a model that was no better)"
            )


def guard_words(plan: Plan) -> str:
    """What no accepted model may break, empty where there is no guard."""
    guards = []
    for guard in plan.guards:
        kept = f", {kept}" if (kept := kept_words(guard.claim)) else ""
        guards.append(guard.name + (f" (shown on adapt as well{kept})" if guard.is_proven else ""))
    return f"none is accepted that breaks {_listed(guards)}" if guards else ""


def patience_words(plan: Plan) -> str:
    """What happens when progress stops; for a plan with patience."""
    patience = plan.patience
    assert patience is not None
    lacking = "with neither an acceptance nor a new best of current"
    if isinstance(plan.rule, Reference):
        lacking = "without an acceptance"
    parts = []
    if patience.growing is not None:
        parts.append(f"{plan.explored} grows by {_growing(patience.growing)}")
    if patience.lengthen is not None:
        longest = max((each.longest for each in plan.descents), default=0)
        times = f"{patience.lengthen:g} times as long"
        parts.append(f"roll-outs become {times}, up to {longest} steps")
    does = " and ".join(parts) or "nothing happens"
    words = f"after {_counted(patience.iterations, 'iteration')} {lacking}, {does}"
    return f"{words}{_again(plan)}" if plan.grows else words


def archive_words(plan: Plan) -> str:
    """What archives keep and what becomes of it; for a plan with archives."""
    kept = [
        f"{each.name}: the accepted {each.model} with the best {each.best.name} for each of its "
        "sizes"
        for each in plan.archives
    ]
    teaches = "each is a frozen teacher from the next growth or start on, of one candidate"
    if len(plan.by_members) > 1:
        teaches += " for each loss and optimizer"
    return f"{'; '.join(kept)}; {teaches}"


def _growing(growing: Growing) -> str:
    names = [written(each) for each in growing.operations]
    by = {
        "only": " and ".join(names),
        "or": f"{' or '.join(names)}, one drawn by the seed,",
        "best of": f"the best of {_listed(names)}, each tried for one iteration,",
    }[growing.choice]
    limits = _listed([each.name for each in growing.limits]) if growing.limits else ""
    return f"{by} while {limits}" if limits else by.removesuffix(",")


def _again(plan: Plan) -> str:
    """What follows where nothing can grow any more, and what becomes of accepted."""
    assert plan.patience is not None
    again = "; it goes on at the largest size"
    if plan.passes is not None:
        again = (
            f"; at the largest size a pass ends, and of {_counted(plan.passes, 'pass', 'passes')} "
            "each starts from the smallest size with fresh weights"
        )
    elif plan.patience.restarts:
        again = "; at the largest size it starts again from the smallest, with fresh weights"
    if isinstance(plan.rule, Reference):
        return f"{again}; accepted is replaced each time, untested, as published"
    return f"{again}; accepted keeps its size until a model is shown to be better"


def _improves(plan: Plan) -> str:
    claims = plan.rule.claims
    margin = claims[0].margin
    by = f" by {_amount(claims[0])}" if margin else ""
    if len(claims) == 1:
        kept = kept_words(claims[0])
        return f"{claims[0].measure.name}{f', {kept},' if kept else ''} improves{by}"
    names = " or ".join(
        claim.measure.name + (f" ({kept})" if (kept := kept_words(claim)) else "")
        for claim in claims
    )
    return f"the objective that leads, {names}, improves{by}"


def kept_words(claim: Claim) -> str:
    """What a test does with values beyond a stated range; empty where there can be none."""
    if claim.clipped is None:
        return ""
    low, high = claim.clipped
    return f"each value kept in {low:g} to {high:g}"


def kept_name(measure: ObjectivePlan) -> str:
    """The name of the mean that a bounded claim is about: `mae in 0 to 20000`."""
    assert measure.range is not None
    low, high = measure.range
    return f"{measure.name} in {low:g} to {high:g}"


def _amount(claim: Claim) -> str:
    if claim.measure.is_share:
        return f"{100 * claim.margin:g} pp"
    return f"{claim.margin:g}"


def _deciding(plan: Plan) -> str:
    return "a draw of fresh examples" if plan.data.is_endless else "the adapt split"


_TESTS: dict[Test, str] = {
    "mcnemar": "exact McNemar tests",
    "betting": "betting tests, exact for the mean of values kept in their range",
    "bootstrap": "paired bootstrap tests, which hold their level only about",
}


def _tests(plan: Plan) -> str:
    return _listed([_TESTS[test] for test in _kinds(plan)])


def _kinds(plan: Plan) -> list[Test]:
    tests = [claim.test for claim in (*plan.rule.claims, *plan.proven)]
    return list(dict.fromkeys(test for test in tests if test is not None))


def _about(plan: Plan) -> str:
    return "about " if plan.is_approximate else ""


def candidate_words(candidate: Candidate) -> str:
    """What a candidate does in an iteration."""
    match candidate:
        case Descent():
            return (
                f"{_counted(candidate.steps, 'step')} of {candidate.loss_name} by "
                f"{candidate.optimizer.name}, {candidate.batch} examples each"
            )
        case Evolution():
            return (
                f"{_counted(candidate.generations, 'generation')} of {candidate.population} "
                f"members by {candidate.objective.name}, {candidate.batch} examples each"
            )
        case Perturbation():
            return f"normal noise of standard deviation {candidate.scale:g} on every weight"
        case Averaged():
            return (
                f"the mean of the last {candidate.count} accepted models, from the second "
                "acceptance on"
            )


def baseline_words(baseline: BaselinePlan) -> str:
    """What a baseline is, for one who wonders what accepted is compared with."""
    count = "the accepted model" if baseline.is_same_lineage else "all candidates together"
    return (
        f"plain training from the same start, {baseline.loss_name} by {baseline.optimizer.name}, "
        f"as many gradient steps as {count}"
    )


def claim_words(
    plan: Plan, acceptances: int, outcome: Outcome, examples: int, units: int | None = None
) -> str:
    """What a reader may conclude of all acceptances together.

    examples   that a decision is made on
    units      the groups or blocks that they are; None where each counts by itself
    """
    if not acceptances:
        return (
            "Nothing was accepted. Nothing was shown to be better than the model the run started "
            "with, and the figures of `start` are that model's."
        )
    rule = plan.rule
    names = "the objective that led"
    if len(rule.claims) == 1:
        kept = kept_words(rule.claims[0])
        names = rule.claims[0].measure.name + (f", {kept}," if kept else "")
    many = "the acceptance" if acceptances == 1 else f"any of the {acceptances} acceptances"
    if isinstance(rule, Reference) or (isinstance(rule, Gate) and rule.is_each_time):
        return (
            f"The rule bounds no error over the run: that {names} improved with each acceptance is "
            "what the report split can show, not what the acceptances prove."
        )
    margin = f" by more than {_amount(rule.claims[0])}" if rule.claims[0].margin else ""
    kind = "fresh examples each" if plan.data.is_endless else "examples that chose nothing else"
    text = (
        f"The chance that {many} did not improve {names}{margin} is at most "
        f"{_about(plan)}{chance(rule.delta)}, by {_tests(plan)}, on {examples} {kind}"
    )
    if units is not None:
        text += f", counted as {units} {unit_words(plan)}"
        split = plan.data.split
        if split is not None and split.method == "ordered":
            text += ", for the time that they cover, if blocks are independent of each other"
    if isinstance(rule, Challenger):
        text = text.replace(_tests(plan), "bets that add up over iterations")
    if "bootstrap" in _kinds(plan):
        text += "; the bootstrap is an approximation"
    if not outcome.is_own_stop:
        text += "; the run was cut short, so its last query was not made"
    return text + "."


def _task(plan: Plan) -> str:
    goals = []
    for objective in plan.objectives:
        target = ""
        if objective.target is not None:
            wanted = share(objective.target) if objective.is_binary else f"{objective.target:g}"
            target = f" (target {wanted})"
        goals.append(f"{objective.direction} {objective.name}{target}")
    return f"{plan.explored}: {_listed(goals)}"


def _data(plan: Plan, splits: Mapping[str, int], units: Mapping[str, int]) -> str:
    if not splits:
        return f"{plan.data.name} from {plan.data.source}, endless: every batch is fresh"
    parts = ", ".join(f"{splits[use]} to {use}" for use in SPLITS)
    by = plan.data.split.by if plan.data.split is not None else None
    drawn = f", {plan.data.split.method} by {by}" if plan.data.split and by else ""
    total = sum(splits.values())
    text = f"{plan.data.name} from {plan.data.source}, {total} examples: {parts}{drawn}"
    if not units:
        return text
    counts = ", ".join(f"{units[use]} in {use}" for use in SPLITS if use in units)
    return f"{text}; tests and intervals count {unit_words(plan)}, {counts}"


def unit_words(plan: Plan) -> str:
    """What counts as one example in tests and intervals."""
    split = plan.data.split
    if split is None or not split.has_units:
        return "examples"
    if split.method == "grouped":
        return f"whole groups by {split.by}"
    return f"blocks of at least {split.block} examples in a row"


def _iteration(plan: Plan) -> str:
    move = {
        "unless worse": "the best becomes current unless assess shows it to be worse",
        "when better": "the best becomes current when assess shows it to be better",
        "always": "the best becomes current",
    }[plan.move]
    if isinstance(plan.rule, Reference):
        less = (
            f"the mean less {plan.rule.assess:g} standard errors"
            if plan.rule.assess
            else "the mean"
        )
        move = (
            f"what counts there is {less}; on adapt "
            f"best, current and accepted compete by the mean less {plan.rule.decide:g} standard "
            "errors, and the winner becomes current"
        )
    changes = "".join(
        f"; each optimizer's {each.option} is multiplied by "
        f"{' or '.join(f'{factor:g}' for factor in each.factors)}, for good where it wins"
        for each in plan.mutations
    )
    return f"{_candidates(plan)}{changes}; assess ranks by {plan.ranking.words}; {move}"


def _candidates(plan: Plan) -> str:
    """How many candidates do what."""
    count, is_one = _counted(len(plan.candidates), "candidate"), len(plan.candidates) == 1
    steps = _either({candidate.steps for candidate in plan.descents})
    batch = _either({candidate.batch for candidate in plan.descents})
    gradient = f"{steps} gradient steps of {batch} examples"
    if not plan.others:
        start, takes = ("starts", "takes") if is_one else ("start", "take")
        return f"{count} {start} from the current weights and {takes} {gradient}"
    generations = _either({candidate.generations for candidate in plan.evolutions})
    kinds = [
        (Descent, f"takes {gradient}", f"take {gradient}"),
        (
            Evolution,
            f"evolves for {generations} generations",
            f"evolve for {generations} generations",
        ),
        (Perturbation, "adds noise to the current weights", "add noise to the current weights"),
        (Averaged, "averages accepted models", "average accepted models"),
    ]
    parts = []
    for kind, of_one, of_more in kinds:
        members = sum(isinstance(candidate, kind) for candidate in plan.candidates)
        if members:
            parts.append(f"{members} {of_one if members == 1 else of_more}")
    return f"of {count} {_listed(parts)}"


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
    """Adds up over a run what became of each candidate and each size of the explored models.

    Give it every event in order, and the plan as it was lowered.
    """

    plan: Plan
    acceptances: list[Acceptance] = attrs.field(factory=list)
    changes: list[str] = attrs.field(factory=list)
    queries: int = 0
    iterations: int = 0
    budget_left: float | None = None
    _best: dict[str, int] = attrs.field(factory=dict)
    _moved: dict[str, int] = attrs.field(factory=dict)
    _quarantined: dict[str, int] = attrs.field(factory=dict)
    _gains: dict[str, list[float]] = attrs.field(factory=dict)
    _lost_by: dict[tuple[str, str], tuple[int, tuple[int, str]]] = attrs.field(factory=dict)
    _current: float | None = None
    _taught: dict[str, None] = attrs.field(factory=dict)
    _stages: list[Stage] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        if self.plan.grows:
            sizes = {model.name: parameters(model) or 0 for model in self.plan.architecture}
            self._stages.append(Stage(None, 1, sizes, first=1, last=0))

    def add(self, done: IterationDone) -> None:
        key = self.plan.ranking.keys[0]
        ranked_by, sign = key.name, key.sign
        self.iterations = done.iteration
        known = {candidate.name for candidate in self.plan.candidates}
        for candidate in done.candidates:
            if candidate.name not in known:
                self._taught[candidate.name] = None
            faults = [(name, "not finite") for name in candidate.lost_by]
            faults += [(name, "out of its range") for name in candidate.out_of_range]
            for fault in faults:
                count, first = self._lost_by.get(fault, (0, (done.iteration, candidate.name)))
                self._lost_by[fault] = count + 1, first
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
        self._stay(done)
        self._decide(done.decision, done.evidence, is_closing=False)

    def _stay(self, done: IterationDone) -> None:
        """Adds an iteration to the stage that it is in."""
        if not self._stages:
            return
        before, value = self._stages[-1], self._current
        sign = self.plan.ranking.keys[0].sign
        found = [each for each in (before.best, value) if each is not None]
        self._stages[-1] = attrs.evolve(
            before,
            last=done.iteration,
            steps=before.steps + sum(each.steps for each in done.candidates),
            best=max(found, key=lambda each: sign * each, default=None),
            final=value,
        )

    def change(self, changed: SearchChanged) -> None:
        self.changes.append(f"after iteration {changed.iteration}: {changed.what}")

    def grow(self, grown: Grown) -> None:
        self._stages.append(
            Stage(
                operation=grown.operation,
                number_of_pass=grown.number_of_pass,
                parameters=dict(grown.parameters),
                first=grown.iteration + 1,
                last=grown.iteration,
                max_output_change=grown.max_output_change,
                members=grown.members,
                trials=grown.trials,
                tried_by=grown.tried_by,
            )
        )
        if grown.max_output_change is None:
            # What the next candidates start from has not been measured.
            self._current = None

    def close(self, closed: Closed) -> None:
        self._decide(closed.decision, closed.evidence, is_closing=True)

    def _decide(self, decision: Decision, evidence: Evidence, *, is_closing: bool) -> None:
        self.budget_left = evidence.budget_left
        self.queries += decision != "not_asked"
        if decision == "accepted":
            if self._stages:
                stage = self._stages[-1]
                self._stages[-1] = attrs.evolve(stage, acceptances=stage.acceptances + 1)
            self.acceptances.append(
                Acceptance(
                    iteration=self.iterations,
                    is_closing=is_closing,
                    objective=evidence.objective,
                    wins=evidence.wins,
                    losses=evidence.losses,
                    gain=evidence.gain,
                    error=evidence.error,
                    level=evidence.level,
                    budget_left=evidence.budget_left,
                    age=evidence.age,
                )
            )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Which measures cost candidates their iteration, and where each first did."""
        return tuple(
            f"{name} was {fault} for {_counted(count, 'candidate')}, first for {candidate} in "
            f"iteration {iteration}"
            for (name, fault), (count, (iteration, candidate)) in self._lost_by.items()
        )

    def tried(self) -> tuple[Tried, ...]:
        """Every candidate that there was at any time, the plan's own first."""
        what = {candidate.name: candidate_words(candidate) for candidate in self.plan.candidates}
        what |= {name: self._taught_words(name) for name in self._taught}
        return tuple(
            Tried(
                name=name,
                what=words,
                best=self._best.get(name, 0),
                moved=self._moved.get(name, 0),
                quarantined=self._quarantined.get(name, 0),
                gain=median(gains) if (gains := self._gains.get(name)) else None,
            )
            for name, words in what.items()
        )

    def _taught_words(self, name: str) -> str:
        """What a candidate does that members of archives teach."""
        descent = next(
            each for each in self.plan.by_members if name.startswith(f"{each.name} from ")
        )
        return f"{candidate_words(descent)}, from {name.removeprefix(f'{descent.name} from ')}"

    def stages(self) -> tuple[Stage, ...]:
        """The sizes of the explored models one after the other; none of a run without growth."""
        return tuple(self._stages)

    @property
    def delivered(self) -> Delivered:
        """`start` where nothing has taken the place of the model that the run started with."""
        # Under rule `reference` growth replaces accepted, untested.
        is_replaced = isinstance(self.plan.rule, Reference) and len(self._stages) > 1
        return "accepted" if self.acceptances or is_replaced else "start"

    @property
    def accepted_stage(self) -> int:
        """Which of the stages the accepted model has its size from."""
        if isinstance(self.plan.rule, Reference):
            # Whatever the models go on as replaces accepted.
            return max(0, len(self._stages) - 1)
        if not self.acceptances:
            return 0
        last = self.acceptances[-1]
        # A challenger was frozen before it gathered evidence.
        frozen_in = last.iteration - last.age
        begun = [k for k, each in enumerate(self._stages) if each.first <= frozen_in]
        return max(begun, default=0)


# ---------------------------------------------------------------- numbers in words


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


def _counted(count: int, noun: str, nouns: str | None = None) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {nouns or noun + 's'}"


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
        "evidence": [_acceptance_json(acceptance) for acceptance in report.acceptances],
        "claim": report.claim,
        "front": [attrs.asdict(member) for member in report.front],
        "archived": list(report.archived),
        "delivered": report.delivered,
        "queries": report.queries,
        "budget_left": number(report.budget_left),
        "rule": report.rule,
        "ranked_by": report.ranked_by,
        "changes": list(report.changes),
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
                "model": report.delivered,
                "other": each.other,
                "metric": each.metric,
                **interval_json(each.difference),
            }
            for each in report.comparisons
        ],
        "timings": dict(report.timings),
        "warnings": list(report.warnings),
        "stages": [_stage_json(stage) for stage in report.stages],
        "accepted_stage": report.accepted_stage,
    }


def from_json(value: Any) -> Report:
    """The report that `to_json` gave the value of.

    Raises ValueError with the place for a value of another format, and for one that doesn't hold
    together: a model or a quantity that is named and isn't there.
    """
    return from_document(Json(value))


def from_document(json: Json) -> Report:
    """The report of a document, as `from_json`."""
    require_format(json, "a report", FORMAT_VERSION)
    measured = json["metrics"]
    there = tuple(name for name, _ in measured.items())
    split: Split = "report" if there == ("report",) else "assess"
    if there != (split,):
        measured.fail("is not of the report split alone, or of assess alone")
    report = Report(
        name=json["name"].as_(str),
        spec=json["spec"].as_(str),
        device=json["device"].as_(str),
        seed=json["seed"].as_(int),
        asked=tuple((each["heading"].as_(str), each["text"].as_(str)) for each in json["asked"]),
        outcome=json["outcome"].as_(Outcome),
        iterations=json["iterations"].as_(int),
        rule=json["rule"].as_(str),
        ranked_by=json["ranked_by"].as_(str),
        tried=json["candidates"].as_(tuple[Tried, ...]),
        changes=json["changes"].as_(tuple[str, ...]),
        acceptances=json["evidence"].as_(tuple[Acceptance, ...]),
        claim=json["claim"].as_(str),
        front=json["front"].as_(tuple[FrontMember, ...]),
        archived=_since(json, "archived", tuple[str, ...], ()),
        # Reports of earlier releases say `accepted` of a start too.
        delivered=_since(json, "delivered", Delivered, "accepted"),
        queries=json["queries"].as_(int),
        budget_left=json["budget_left"].as_(float | None),
        split=split,
        quantities=json["quantities"].as_(Mapping[str, Quantity]),
        steps=json["steps"].as_(Mapping[str, int]),
        baselines=tuple(
            (each["name"].as_(str), each["text"].as_(str)) for each in json["baselines"]
        ),
        metrics=measured[split].as_(Mapping[str, Mapping[str, Interval]], INTERVALS),
        tables=json["tables"][split].as_(Mapping[str, Mapping[str, Table]]),
        comparisons=tuple(
            Comparison(each["other"].as_(str), each["metric"].as_(str), interval_of(each))
            for each in json["comparisons"]
        ),
        timings=json["timings"].as_(Mapping[str, float]),
        warnings=json["warnings"].as_(tuple[str, ...]),
        # Reports of runs before models could grow have neither.
        stages=_since(json, "stages", tuple[Stage, ...], ()),
        accepted_stage=_since(json, "accepted_stage", int, 0),
    )
    _require_whole(report, json)
    return report


def require_format(json: Json, what: str, version: str) -> None:
    """Raises ValueError for a document of another format."""
    found = json.get("format_version")
    if found is None or found.value != version:
        raise ValueError(f"not {what} of format {version}")


def _since(json: Json, name: str, kind: Any, missing: Any) -> Any:
    """A part that earlier reports don't have."""
    found = json.get(name)
    return missing if found is None else found.as_(kind, INTERVALS)


def _require_whole(report: Report, json: Json) -> None:
    """Raises ValueError where one part names what another should have."""
    if report.delivered not in report.metrics:
        json["metrics"][report.split].fail(f"has no {report.delivered}")
    for place, comparison in enumerate(report.comparisons):
        require_quantity(comparison.metric, report.quantities, f"comparisons[{place}].metric")
    require_quantity(report.ranked_by, report.quantities, "ranked_by")
    for place, stage in enumerate(report.stages):
        for name in stage.tried_by:
            require_quantity(name, report.quantities, f"stages[{place}].tried_by")
            if any(name not in trial.scores for trial in stage.trials):
                raise ValueError(f"stages[{place}].trials has no score by {name!a}")
    for model, tables in report.tables.items():
        for name, rows in tables.items():
            if not rows or any(len(row) != len(rows[0]) for row in rows):
                raise ValueError(f"the table {name!a} of {model!a} has rows of several lengths")


def require_quantity(name: str, quantities: Mapping[str, Quantity], at: str) -> None:
    """Raises ValueError for a value that the document doesn't say how to read."""
    if name not in quantities:
        raise ValueError(f"{at} is {name!a}, which is none of quantities")


def _acceptance_json(acceptance: Acceptance) -> dict[str, Any]:
    """With null for numbers that aren't finite, which JSON doesn't have."""
    return {
        name: number(value) if isinstance(value, float) else value
        for name, value in attrs.asdict(acceptance).items()
    }


def _stage_json(stage: Stage) -> dict[str, Any]:
    return {
        **attrs.asdict(stage, recurse=False),
        "parameters": dict(stage.parameters),
        "max_output_change": number(stage.max_output_change),
        "members": list(stage.members),
        "trials": [trial_json(each) for each in stage.trials],
        "tried_by": list(stage.tried_by),
    }


def interval_of(json: Json) -> Interval:
    """The interval that `interval_json` gave the value of. Raises ValueError."""
    measured = json["value"].as_(float | None)
    return Interval(
        math.nan if measured is None else measured,
        json["low"].as_(float | None),
        json["high"].as_(float | None),
        json["examples"].as_(int),
    )


INTERVALS: Special = {Interval: interval_of}
