"""The sizes that a run may grow to and what they cost, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from ev3lang.analysis import analyze
from ev3lang.catalog.signature import Type
from ev3lang.compile import experiment
from ev3lang.explain.preview import MOST_ROWS, document, explain_preview
from ev3lang.plan.growing import GrowthCost, at_largest, stay
from ev3lang.plan.memory import memory
from ev3lang.plan.plan import (
    Apply,
    ArchivePlan,
    Challenger,
    Forward,
    Growing,
    Limit,
    Operation,
    Patience,
    Plan,
    Reference,
    StopPlan,
    Weights,
)
from ev3lang.plan.show import examples_of, point_costs, preview
from ev3lang.plan.stages import ladder
from ev3lang.plan.sweep import Point
from ev3lang.source import Source
from tests.plan.examples import (
    LOGITS,
    PLAN,
    candidate,
    cross_entropy,
    divergence,
    logits,
    mlp,
    point,
    sgd,
)

SPECS = Path(__file__).resolve().parents[2] / "specs"

WIDEN = Operation("widen", (("factor", 2.0), ("noise", 0.5)))
DEEPEN = Operation("deepen", (("count", 1),))
SIZE = Apply("parameters", (Weights("net"),), Type("real"), "model")
BLOCKS = Apply("depth", (Weights("net"),), Type("real"), "model")


def growing(
    *operations: Operation,
    choice: str = "only",
    most: int = 5000,
    lengthen: float | None = None,
    restarts: bool = False,
    plan: Plan = PLAN,
) -> Plan:
    """The plan, with growth after five iterations without progress."""
    limit = Limit(f"size <= {most}", SIZE, most, is_strict=False)
    grow = Growing(operations, choice, (limit,))  # type: ignore[arg-type]
    return attrs.evolve(plan, patience=Patience(5, lengthen, grow, restarts))


def stopping(plan: Plan, iterations: int | None) -> Plan:
    return attrs.evolve(plan, stop=StopPlan(iterations, None, (), False))


def growth(plan: Plan) -> GrowthCost:
    found = preview(plan).growth
    assert found is not None
    return found


def text(plan: Plan) -> str:
    return " ".join(explain_preview(preview(plan)).split())


DIGITS = attrs.evolve(PLAN, models=(mlp("net", 8, input=(8, 8, 1), output=Type("logits", (10,))),))
"""64 pixels, 8 units, 10 classes."""


# ---------------------------------------------------------------- sizes


def test_widened_digits_have_the_sizes_that_are_counted_by_hand() -> None:
    stages = growth(growing(WIDEN, plan=DIGITS)).stages
    widths = [8, 16, 32, 64]
    assert [each.parameters for each in stages] == [
        (64 + 1) * width + (width + 1) * 10 for width in widths
    ]
    assert [each.parameters for each in stages] == [610, 1210, 2410, 4810]
    assert [each.flops for each in stages] == [2 * (64 + 10) * width for width in widths]
    assert [each.operation for each in stages] == [None, "widen(2x)", "widen(2x)", "widen(2x)"]


def test_the_sizes_are_those_of_the_ladder() -> None:
    plan = growing(WIDEN, DEEPEN, choice="or", most=200_000, plan=DIGITS)
    stages, rungs = growth(plan).stages[1:], ladder(plan)
    assert [each.operation for each in stages] == [
        {"widen": "widen(2x)", "deepen": "deepen(1)"}[rung.operation.name] for rung in rungs
    ]
    assert {each.operation for each in stages} == {"widen(2x)", "deepen(1)"}


def test_a_size_begins_once_the_one_before_has_had_its_patience() -> None:
    # Its first iteration is always a new best, as there was none at that size.
    plan = growing(WIDEN)
    assert stay(plan) == 6
    assert [each.first for each in growth(plan).stages[:3]] == [1, 7, 13]
    # Under the published rule only an acceptance is progress.
    rule = Reference(plan.rule.claims, 0.5, 1.96, None)
    published = attrs.evolve(plan, rule=rule)
    assert [each.first for each in growth(published).stages[:3]] == [1, 6, 11]


def test_what_stops_growth_is_told_with_the_figure_that_is_too_large() -> None:
    plan = growing(WIDEN, DEEPEN, choice="best of", most=300)
    # 6-20-3, and then 6-40-3 or 6-20-20-3
    assert growth(plan).stages[-1].parameters == (6 + 1) * 20 + (20 + 1) * 3
    assert growth(plan).ends == (
        f"widen(2x) would come to {7 * 40 + 41 * 3}, beyond size <= 300",
        f"deepen(1) would come to {7 * 20 + 21 * 20 + 21 * 3}, beyond size <= 300",
    )
    assert "growth ends at the last size: widen(2x) would come to 403" in text(plan)


def test_growth_without_an_end_in_sight_is_told_so() -> None:
    plan = growing(DEEPEN, most=10_000_000)
    assert growth(plan).ends == ()
    assert "and so on: no limit stops growth" in text(plan)
    # and the table stays short
    rows = explain_preview(preview(plan)).split("\nGrowth\n")[1].split("\n\n")[0]
    assert (
        sum(
            line.startswith(("  start", "  … ")) or ". deepen" in line for line in rows.splitlines()
        )
        == MOST_ROWS
    )


# ---------------------------------------------------------------- work


FORWARD = 2 * (6 * 5 + 5 * 3)
"""Of 6-5-3, and so many times as much of each size that is twice as wide."""


def test_the_work_of_a_size_is_counted_by_hand() -> None:
    stages = growth(growing(WIDEN)).stages
    # 8 steps of 16 examples, each of three passes, and 200 examples to assess
    assert [each.work for each in stages[:3]] == [
        (3 * 8 * 16 + 200) * FORWARD * times for times in (1, 2, 4)
    ]


def test_the_range_of_all_iterations_is_from_no_growth_to_the_earliest() -> None:
    plan = growing(WIDEN, most=300)
    shown = preview(plan)
    iteration = (3 * 8 * 16 + 200) * FORWARD
    assert shown.work.explore is not None and shown.work.assess is not None
    assert shown.work.explore + shown.work.assess == iteration
    # 15 iterations: six at each of two sizes, the rest at the third and last
    assert growth(plan).work == iteration * (6 * 1 + 6 * 2 + 3 * 4)
    assert growth(stopping(plan, 6)).work == 6 * iteration
    assert growth(stopping(plan, None)).work is None
    told = explain_preview(shown)
    assert "earliest growth" in told and "no growth" in told


def test_every_growth_that_is_tried_costs_an_iteration() -> None:
    plan = growing(WIDEN, DEEPEN, choice="best of", most=300)
    _, second, third = growth(plan).stages
    # 6-5-5-3, and 6-10-10-3
    assert [each.parameters for each in second.alternatives] == [7 * 5 + 6 * 5 + 6 * 3]
    assert [each.flops for each in third.alternatives] == [2 * (60 + 100 + 30)]
    iteration = 3 * 8 * 16 + 200
    tried = 2 * (30 + 25 + 15) + 2 * (60 + 100 + 30)
    assert growth(plan).work == iteration * (FORWARD * (6 + 12 + 12) + tried)
    assert "told as if the first always won" in text(plan)


def test_roll_outs_become_longer_with_each_growth_and_go_on_at_the_last_size() -> None:
    descents = (candidate(cross_entropy(logits), sgd(0.1), most=18),)
    plan = growing(WIDEN, most=300, lengthen=1.5, plan=attrs.evolve(PLAN, descents=descents))
    assert [each.steps for each in growth(plan).stages] == [8, 12, 18]
    iteration = [(3 * steps * 16 + 200) * FORWARD for steps in (8, 12, 18)]
    assert [each.work for each in growth(plan).stages] == [
        cost * times for cost, times in zip(iteration, (1, 2, 4), strict=True)
    ]
    # With room for a fourth, it comes at the last size: 27 steps rather than 18.
    longer = attrs.evolve(descents[0], most=27)
    more = stopping(attrs.evolve(plan, descents=(longer,)), 20)
    last = (3 * 27 * 16 + 200) * FORWARD * 4
    assert growth(more).work == 6 * iteration[0] + 12 * iteration[1] + 24 * iteration[2] + 2 * last


def test_a_sweep_tells_the_range_of_all_runs() -> None:
    plan = growing(WIDEN, most=300)
    points = [Point({"seed": str(seed)}, attrs.evolve(plan, seed=seed)) for seed in range(3)]
    (cost,) = point_costs(points)
    iteration = (3 * 8 * 16 + 200) * FORWARD
    assert (cost.parameters, cost.flops) == (53, 3 * 15 * iteration)
    assert cost.most == 3 * iteration * 30
    told = explain_preview(preview(plan), [cost])
    assert "from no growth at all to each growth as early as can be" in told
    (still,) = point_costs([Point({"seed": "0"}, PLAN)])
    assert still.most == still.flops


# ---------------------------------------------------------------- members of archives


def taught(plan: Plan) -> Plan:
    """With a loss that applies an archive of the net by its depth."""
    loss = divergence(Forward("peers", (point,), LOGITS), logits)
    return attrs.evolve(
        plan,
        archives=(ArchivePlan("peers", "net", PLAN.objectives[0], BLOCKS),),
        by_members=(candidate(loss, sgd(0.1), loss_name="taught"),),
    )


def test_each_size_before_may_teach_a_candidate() -> None:
    plan = taught(growing(DEEPEN, most=113))
    stages = growth(plan).stages
    assert [each.parameters for each in stages] == [53, 83, 113]
    assert [each.members for each in stages] == [0, 1, 2]
    assert growth(plan).members == 3
    forward = [90, 140, 190]
    # The outputs of a member on examples that don't change are computed once.
    for each, own, members in zip(stages, forward, (0, 1, 2), strict=True):
        candidates = 1 + members
        assert each.taught == candidates * (3 * 8 * 16 + 200) * own
        assert each.work == (3 * 8 * 16 + 200) * own
    (cost,) = preview(plan).by_members
    assert cost.flops == 3 * 8 * 16 * 90
    assert "taught with sgd(0.1, None), by each member" in text(plan)
    assert "in later passes" not in text(plan)
    assert "in later passes 3 at most" in text(attrs.evolve(plan, passes=2))


def test_sizes_that_an_archive_holds_alike_are_one_member() -> None:
    # Wider nets are as deep, and the archive keeps the best for each depth.
    assert [each.members for each in growth(taught(growing(WIDEN))).stages][:4] == [0, 1, 1, 1]


# ---------------------------------------------------------------- memory


def test_memory_is_that_of_the_largest_size_within_the_run() -> None:
    plan = stopping(growing(WIDEN), 12)
    shown = preview(plan)
    sizes = examples_of(plan.data)
    assert at_largest(plan).architecture == ladder(plan)[0].architecture
    # Current, accepted and a candidate of 103 numbers; accepted may still have 53.
    assert shown.memory.weights == 4 * (3 * 103 + 53)
    assert shown.memory == memory(at_largest(plan), sizes)
    assert shown.memory.total == growth(plan).stages[1].memory
    assert preview(stopping(plan, 6)).memory.weights == 4 * 3 * 53
    # A program has room for two sizes before: that of its start, and an older accepted one.
    assert preview(stopping(plan, 13)).memory.weights == 4 * (3 * 203 + 53 + 103)


def test_growth_replaces_accepted_under_the_published_rule() -> None:
    rule = Reference(PLAN.rule.claims, 0.5, 1.96, None)
    plan = stopping(attrs.evolve(growing(WIDEN), rule=rule), 12)
    assert preview(plan).memory.weights == 4 * 3 * 203


def test_challengers_may_be_of_earlier_sizes_too() -> None:
    rule = Challenger(PLAN.rule.claims, 0.05)
    plan = stopping(attrs.evolve(growing(WIDEN), rule=rule), 12)
    # Current, accepted, two challengers, a candidate; three of them may be smaller.
    assert preview(plan).memory.weights == 4 * (5 * 103 + 3 * 53)


def test_members_and_what_archives_hold_take_their_weights() -> None:
    plan = stopping(taught(growing(DEEPEN, most=113)), 12)
    # At 83 numbers: current, accepted, two candidates, the archive's place; the member of 53.
    assert preview(plan).memory.weights == 4 * (5 * 83 + 53 + 53)


# ---------------------------------------------------------------- words


def test_what_grows_when_and_how_is_told_in_words() -> None:
    only = text(growing(WIDEN))
    assert "after 5 iterations without progress net grows by widen(2x), while size <= 5000" in only
    assert "each lasts 6 iterations or more" in only
    assert "there the run goes on until its stop" in only
    drawn = text(growing(WIDEN, DEEPEN, choice="or"))
    assert "widen(2x) or deepen(1), one drawn by the seed each time" in drawn
    assert "another one comes to other sizes" in drawn
    tried = text(growing(WIDEN, DEEPEN, choice="best of"))
    assert "each has one iteration, and assess ranks what they come to" in tried


def test_passes_and_restarts_are_told_with_the_iterations_that_they_take() -> None:
    plan = growing(WIDEN, most=300)
    passes = attrs.evolve(plan, passes=4)
    assert "4 passes, of 18 iterations or more each, and then the run ends" in text(passes)
    assert "15 iterations are too few for that: no pass is whole" in text(passes)
    assert "at most 2 are whole" in text(stopping(passes, 40))
    assert "too few" not in text(stopping(passes, 72))
    again = text(growing(WIDEN, most=300, restarts=True))
    assert "starts again from the smallest, with fresh weights, after 18 iterations" in again


def test_sizes_beyond_the_stop_are_told_so() -> None:
    plan = growing(WIDEN, most=300)
    assert "sizes from iterations after 12 are beyond its stop" in text(stopping(plan, 12))
    assert "beyond its stop" not in text(stopping(plan, 13))
    assert "the run ends after 6 iterations: it can't grow" in text(stopping(plan, 6))


def test_a_run_that_stays_as_it_is_tells_nothing_of_growth() -> None:
    assert preview(PLAN).growth is None
    told = explain_preview(preview(PLAN))
    assert "\nGrowth" not in told
    assert "\nWork\n" in told


def test_the_document_has_every_size() -> None:
    told = json.loads(json.dumps(document(preview(growing(WIDEN, DEEPEN, choice="best of")))))
    stage = told["growth"]["stages"][1]
    assert (stage["operation"], stage["first"], stage["parameters"]) == ("widen(2x)", 7, 103)
    assert stage["alternatives"][0]["operation"] == "deepen(1)"
    assert told["growth"]["choice"] == "best of"
    assert told["by_members"] == []
    assert document(preview(PLAN))["growth"] is None


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # 64-8-10, 64-16-10 and 64-32-10, as the seed of the file draws
        ("distill_and_grow", {610, 1210, 2410}),
        # one block a stage, then two
        ("images_from_file", {83_892, 181_108}),
    ],
)
def test_growth_of_a_spec_is_planned(name: str, parameters: set[int]) -> None:
    path = SPECS / f"{name}.ev3"
    runs = experiment(analyze(Source(str(path), path.read_text(encoding="utf-8"))))
    plan = runs.points[0].plan
    assert {each.parameters for each in growth(plan).stages} >= parameters
    told = explain_preview(preview(plan))
    assert max(map(len, told.splitlines())) <= 120
    assert "None" not in told
