"""A plan, its events and its report, written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ev3lang.catalog.signature import Type
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import (
    Apply,
    BaselinePlan,
    Claim,
    DataPlan,
    Descent,
    Field,
    Forward,
    Gate,
    LayerPlan,
    Layers,
    Link,
    ModelPlan,
    ObjectivePlan,
    OptimizerPlan,
    Plan,
    Ranking,
    Shown,
    Split,
    StopPlan,
)
from ev3lang.runtime import report as reports
from ev3lang.runtime.events import (
    CandidateDone,
    Closed,
    Compiled,
    Event,
    Evidence,
    IterationDone,
    RunEnded,
    RunStarted,
)
from ev3lang.runtime.intervals import Interval, tango, wilson
from ev3lang.runtime.report import Report, Tally

LABEL = Type("class", (3,))
FEATURES = Field("features", Type("f32", (4,)))
LOGITS = Forward("net", (FEATURES,), Type("logits", (3,)))
RIGHT = Apply(
    "==",
    (Apply("argmax", (LOGITS,), LABEL, "example"), Field("label", LABEL)),
    Type("bool"),
    "example",
)
ENTROPY = Apply(
    "cross_entropy",
    (LOGITS, Field("label", LABEL)),
    Type("real"),
    "example",
    (("label_smoothing", 0.0),),
)
SGD = OptimizerPlan("sgd(0.1)", (Link("sgd", (("learning_rate", 0.1),)),))


def candidate(name: str, steps: int = 10) -> Descent:
    return Descent(name, ENTROPY, "entropy", SGD, steps, 16)


ACCURACY = ObjectivePlan("accuracy", RIGHT, "maximize", 0.95, (0.0, 1.0))

PLAN = Plan(
    name="flowers",
    seed=3,
    data=DataPlan(
        name="iris",
        source="sklearn.iris",
        options=(),
        fields=(("features", FEATURES.type), ("label", LABEL)),
        derived=(),
        normalized=(),
        split=Split((0.6, 0.15, 0.15, 0.1), "label", 0),
        rows=150,
        batch=16,
    ),
    models=(
        ModelPlan(
            "net",
            (4,),
            LOGITS.type,
            Layers((LayerPlan("dense", (("width", 3), ("bias", True)), (4,), (3,)),)),
            True,
        ),
    ),
    explored="net",
    descents=(candidate("entropy with sgd(0.1)"), candidate("entropy with adamw(1e-3)")),
    batches="shared",
    objectives=(
        ACCURACY,
        ObjectivePlan("log_loss", ENTROPY, "minimize", None, None),
    ),
    ranking=Ranking("then", (ACCURACY,)),
    move="unless worse",
    rule=Gate((Claim(ACCURACY, 1.0, 0.0, "mcnemar"),), 0.05),
    stop=StopPlan(30, 120.0, (), False),
    shown=(Shown("accuracy", RIGHT, "higher", (0.0, 1.0)),),
    baselines=(BaselinePlan("plain", ENTROPY, "entropy", SGD, False, 16),),
)

SPLITS = {"explore": 90, "assess": 23, "adapt": 22, "report": 15}


def iteration(number: int, *, decision: str = "not_asked", lost: bool = False) -> IterationDone:
    right = min(22, 8 + number // 2)
    scores = {
        "accuracy": wilson(right, 23),
        "log_loss": Interval(1.2 / number, None, None, 23),
    }
    first, second = (each.name for each in PLAN.descents)
    return IterationDone(
        iteration=number,
        candidates=(CandidateDone(first, scores, False), CandidateDone(second, scores, lost)),
        chosen=first,
        has_moved=True,
        decision=decision,  # type: ignore[arg-type]
        why="assess shows no gain yet",
        evidence=evidence(5, 1, 0.93, 0.0025, 0.9 if decision == "accepted" else 1.0),
        current=scores,
        accepted=scores if decision == "accepted" else {**scores, "accuracy": wilson(8, 23)},
    )


def evidence(wins: int, losses: int, power: float, level: float, left: float) -> Evidence:
    """What speaks for a gain in accuracy on 23 assess examples."""
    gain = (wins - losses) / 23
    return Evidence("accuracy", wins, losses, gain, 0.05, power, level, left)


def some_events(folder: Path) -> Iterator[Event]:
    yield RunStarted(PLAN, "cpu", folder, SPLITS)
    yield Compiled(0.62)
    for number in range(1, 31):
        decision = "accepted" if number == 12 else "rejected" if number == 20 else "not_asked"
        yield iteration(number, decision=decision, lost=number == 5)
    yield Closed("accepted", "the last query passed", evidence(3, 1, 0.5, 0.04, 0.0))
    yield RunEnded(Outcome.ITERATIONS, 30)


def some_report(folder: Path) -> Report:
    """The report that `some_events` lead to."""
    tally = Tally(PLAN)
    for event in some_events(folder):
        if isinstance(event, IterationDone):
            tally.add(event)
        elif isinstance(event, Closed):
            tally.close(event)
    values = {"accuracy": wilson(14, 15), "size": Interval(15.0, None, None, 0)}
    return Report(
        name=PLAN.name,
        spec="flowers.ev3",
        device="cpu",
        seed=PLAN.seed,
        asked=reports.asked(PLAN, SPLITS),
        outcome=Outcome.ITERATIONS,
        iterations=tally.iterations,
        rule=reports.rule_words(PLAN),
        ranked_by=PLAN.ranking.keys[0].name,
        tried=tally.tried(),
        changes=(),
        acceptances=tuple(tally.acceptances),
        claim=reports.claim_words(PLAN, len(tally.acceptances), Outcome.ITERATIONS, 22),
        front=(),
        queries=tally.queries,
        budget_left=tally.budget_left,
        split="report",
        quantities={
            "accuracy": reports.Quantity("higher", True),
            "size": reports.Quantity(None, False),
        },
        steps={"accepted": 120, "current": 300, "plain": 600},
        baselines=(("plain", reports.baseline_words(PLAN.baselines[0])),),
        metrics={"accepted": values, "current": values, "plain": {"accuracy": wilson(9, 15)}},
        tables={"accepted": {"confusion": ((5.0, 0.0), (1.0, 9.0))}},
        comparisons=(
            reports.Comparison("current", "accuracy", tango(0, 0, 15)),
            reports.Comparison("plain", "accuracy", tango(6, 0, 15)),
        ),
        timings={"compile_s": 0.62, "training_s": 75.0, "first_iteration_s": 2.5},
        warnings=("1 example stands in two splits",),
    )
