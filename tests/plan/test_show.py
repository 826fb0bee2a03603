"""What a run would cost and could prove, against its own arrays and figures by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import attrs
import jax
import jax.numpy as jnp
import pytest
from scipy import stats

from ev3lang.analysis import analyze
from ev3lang.backend import betting, bootstrap, challenger, gate, models, optimizers
from ev3lang.catalog.index import OPTIMIZERS
from ev3lang.catalog.signature import Option, Type, Value
from ev3lang.check import bounds
from ev3lang.compile import experiment
from ev3lang.explain.preview import document, explain_preview
from ev3lang.plan import memory, power
from ev3lang.plan.plan import (
    Apply,
    Augmented,
    Averaged,
    Challenger,
    Claim,
    Evolution,
    Extern,
    Gate,
    Guard,
    Link,
    ObjectivePlan,
    Operation,
    OptimizerPlan,
    Perturbation,
    Plan,
    Reference,
    Test,
)
from ev3lang.plan.prospects import Column
from ev3lang.plan.show import examples_of, point_costs, preview
from ev3lang.plan.work import parameters
from ev3lang.runtime import data
from ev3lang.source import Source

SPECS = Path(__file__).resolve().parents[2] / "specs"


def planned(name: str) -> Plan:
    path = SPECS / f"{name}.ev3"
    return experiment(analyze(Source(str(path), path.read_text(encoding="utf-8")))).points[0].plan


@pytest.fixture(scope="module")
def first() -> Plan:
    return planned("first")


@pytest.fixture(scope="module")
def log_loss(first: Plan) -> ObjectivePlan:
    value = first.descents[0].loss
    return ObjectivePlan("log_loss", value, "minimize", None, (0.0, 5.0))


@pytest.fixture(scope="module")
def quality(first: Plan) -> ObjectivePlan:
    """A value of a set, between 0 and 1."""
    value = attrs.evolve(first.objectives[0].value, type=Type("real"), level="set")
    return ObjectivePlan("quality", value, "maximize", None, (0.0, 1.0))


def endless(plan: Plan) -> Plan:
    return attrs.evolve(
        plan, data=attrs.evolve(plan.data, split=None, rows=None, evaluate=8, batch=256)
    )


# ---------------------------------------------------------------- sizes and work


@pytest.mark.parametrize(
    "name",
    ["first", "distill", "digits_images", "labels", "patients", "sequences", "table", "two_tasks"],
)
def test_parameters_are_those_of_the_networks_that_would_be_built(name: str) -> None:
    for model in planned(name).models:
        assert parameters(model) == models.parameters(model)


def test_splits_have_the_sizes_that_reading_gives(first: Plan) -> None:
    tables = data.read(first.data, Path()).tables
    read = {use: len(next(iter(table.values()))) for use, table in tables.items()}
    assert examples_of(first.data) == read


def test_the_work_of_an_iteration_is_counted_by_hand(first: Plan) -> None:
    shown = preview(first)
    # 64 pixels, two hidden layers of 64, ten classes; a multiplication and an addition each.
    forward = 2 * (64 * 64 + 64 * 64 + 64 * 10)
    assert shown.models[0].flops == forward
    assert shown.work.explore == 3 * 100 * 128 * forward
    assert shown.work.assess == 270 * forward
    assert shown.work.adapt == 2 * 269 * forward
    assert (shown.work.before, shown.work.after) == (0, 0)


def test_candidates_of_other_kinds_cost_what_they_measure(first: Plan) -> None:
    accuracy = first.objectives[0]
    others = (
        Evolution("evolved", accuracy, 32, 0.05, 0.1, 10, 64),
        Perturbation("shaken", 0.01),
        Averaged("averaged", 5),
    )
    shown = preview(attrs.evolve(first, others=others))
    forward = shown.models[0].flops
    assert forward is not None
    assert [each.flops for each in shown.candidates[1:]] == [32 * 10 * 64 * forward, 0, 0]
    assert shown.work.assess == 4 * 270 * forward
    # current, accepted, four candidates, and the five that are averaged
    assert shown.memory.weights == 4 * (2 + 4 + 5) * 8970


def test_the_published_rule_measures_current_and_accepted_on_every_draw(first: Plan) -> None:
    rule = Reference((Claim(first.objectives[0], 1.0, 0.0, "mcnemar"),), 0.5, 1.96, 2)
    work = preview(attrs.evolve(first, rule=rule)).work
    forward = preview(first).models[0].flops
    assert forward is not None
    assert (work.assess, work.adapt) == (3 * 256 * forward, 3 * 256 * forward)


def test_calls_of_the_host_are_counted(first: Plan) -> None:
    extern = Extern("score", "scoring:score", True, (Type("logits", (10,)),), Type("real"))
    called = Apply(extern.function, (), Type("real"), "set")
    score = ObjectivePlan("score", called, "maximize", None, (0.0, 1.0))
    plan = attrs.evolve(first, objectives=(*first.objectives, score), externs=(extern,))
    (cost,) = preview(plan).externs
    assert (cost.is_host, cost.calls, cost.examples) == (True, 1, 270)
    evolved = Evolution("evolved", score, 32, 0.05, 0.1, 10, 64)
    (cost,) = preview(attrs.evolve(plan, others=(evolved,))).externs
    # two candidates on assess, and every member of every generation on a batch
    assert cost.calls == 2 + 32 * 10
    assert "ends a segment" in " ".join(explain_preview(preview(plan)).split())


def test_a_teacher_is_computed_once_unless_what_it_sees_changes() -> None:
    plan = planned("distill")
    student, teacher = (2 * each for each in (64 * 16 + 16 * 10, 64 * 256 + 256 * 256 + 2560))
    shown = preview(plan)
    assert {each.name: each.flops for each in shown.models} == {
        "student": student,
        "teacher": teacher,
    }
    batch, steps = plan.descents[0].batch, plan.descents[0].steps
    assert shown.candidates[1].flops == 3 * steps * batch * student
    start = next(each.start for each in plan.models if each.start is not None)
    assert shown.work.before is not None
    explore = examples_of(plan.data)["explore"]  # type: ignore[index]
    trained = start.length * (explore // batch) * 3 * batch * teacher  # type: ignore[union-attr]
    assert shown.work.before == trained + explore * teacher
    moving = Augmented("image", (Operation("gaussian_noise", (("scale", 0.1),)),))
    changed_plan = attrs.evolve(plan, data=attrs.evolve(plan.data, augmented=(moving,)))
    changed = preview(changed_plan)
    # All four candidates step through the same batches, and the teacher is asked once for all.
    assert changed.work.frozen == steps * batch * teacher
    assert changed.work.explore == steps * batch * (4 * 3 * student + teacher)
    assert changed.work.before == trained
    apart = preview(attrs.evolve(changed_plan, batches="fresh"))
    assert apart.work.frozen == 3 * steps * batch * teacher


def test_what_an_archives_members_say_is_no_work_before_the_run() -> None:
    text = (SPECS / "distill.ev3").read_text("utf-8")
    text = text.replace("descend hard, soft, soft(T: 4), parts", "descend hard, soft, from_peers")
    text = text.replace("loss parts =", "metric parts =").replace("show accuracy,", "show parts,")
    text = text.replace(
        "  stop after",
        "  after 3 iterations without progress { grow by widen(2x); limit size <= 5_000 }\n"
        "  stop after",
    )
    text += """
metric size = parameters(student)
archive peers of student { keep best accuracy per size }
loss from_peers = kl_divergence(softmax(peers(image)), softmax(student(image)))
"""
    plan = experiment(analyze(Source("peers.ev3", text))).plan
    assert [each.name for each in plan.archives] == ["peers"]
    assert preview(plan).work.before == preview(planned("distill")).work.before


def test_known_examples_that_are_fewer_than_a_batch_are_counted_as_they_are() -> None:
    shown = preview(planned("few_labels"))
    assert {each.name.split(" with ")[0]: each.batch for each in shown.candidates} == {
        "few_labels": 100,
        "taught": 128,
        "taught(T: 3)": 128,
    }


def test_a_baseline_takes_the_steps_of_all_candidates() -> None:
    plan = planned("few_labels")
    shown = preview(plan)
    student = 2 * (64 * 8 + 8 * 10)
    assert shown.work.after == 6 * 100 * 40 * 3 * 100 * student


def test_sweeps_are_told_by_their_settings_seeds_aside() -> None:
    path = SPECS / "sweep.ev3"
    runs = experiment(analyze(Source(str(path), path.read_text(encoding="utf-8"))))
    costs = point_costs(runs.points)
    assert [(dict(each.settings), each.runs) for each in costs] == [
        ({"width": "16"}, 4),
        ({"width": "32"}, 4),
        ({"width": "64"}, 4),
    ]
    for each in costs:
        width = int(each.settings["width"])
        assert each.parameters == 65 * width + (width + 1) * width + (width + 1) * 10
        forward = 2 * (64 * width + width * width + 10 * width)
        assert each.flops == 4 * 30 * (4 * 3 * 50 * 128 + 4 * 270) * forward


# ---------------------------------------------------------------- memory


def given(option: Option) -> Value | None:
    if option.default is not None or not option.is_required:
        return option.default
    return 10 if option.kind == "steps" else 0.1


LINKS = [
    entry.name
    for entry in OPTIMIZERS.values()
    # Averages of weights are the roll-out's own; schedules keep nothing.
    if entry.role != "schedule" and entry.name != optimizers.AVERAGE
]


@pytest.mark.parametrize("name", LINKS)
def test_an_optimizer_keeps_as_many_numbers_as_its_state_has(name: str) -> None:
    link = Link(name, tuple((each.name, given(each)) for each in OPTIMIZERS[name].options))
    plan = OptimizerPlan(name, (link,))
    params = {"kernel": jnp.zeros((200, 160)), "bias": jnp.zeros(160)}
    state = jax.eval_shape(optimizers.build(plan).init, params)
    kept = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state)) / (201 * 160)
    # Of the few that keep less for a matrix than for each weight the figure is an upper bound.
    is_factored = name in ("adafactor", "scale_by_factored_rms")
    assert memory.slots(plan) == (1 if is_factored else pytest.approx(kept, rel=0.15, abs=0.05))


@pytest.mark.parametrize(
    ("name", "options", "slots"),
    [
        ("sgd", {"momentum": 0.9}, 1),
        ("sgd", {}, 0),
        ("rmsprop", {"momentum": 0.9, "centered": True}, 3),
    ],
)
def test_momentum_is_kept_where_there_is_one(
    name: str, options: dict[str, Value], slots: int
) -> None:
    every = {each.name: given(each) for each in OPTIMIZERS[name].options} | options
    plan = OptimizerPlan(name, (Link(name, tuple(every.items())),))
    state = jax.eval_shape(optimizers.build(plan).init, jnp.zeros((50, 50)))
    kept = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state)) // 2500
    assert memory.slots(plan) == slots == kept


def test_weights_and_data_take_the_bytes_of_their_arrays(first: Plan) -> None:
    shown = preview(first).memory
    # current, accepted and one candidate; adam's two means
    assert shown.weights == 3 * 4 * 8970
    assert shown.optimizers == 2 * 4 * 8970
    tables = data.read(first.data, Path()).tables
    assert shown.data == sum(each.nbytes for table in tables.values() for each in table.values())
    assert preview(endless(first)).memory.data == 0


def test_activations_are_those_of_a_step_or_of_a_whole_split(first: Plan) -> None:
    # Pixels, two hidden layers and ten classes of 128 examples, and a gradient of each; float32.
    assert preview(first).memory.activations == 4 * 2 * 128 * (64 + 64 + 64 + 10)
    (descent,) = first.descents
    small = attrs.evolve(first, descents=(attrs.evolve(descent, batch=8),))
    assert preview(small).memory.activations == 4 * 270 * 2 * 64
    halves = attrs.evolve(first, descents=(attrs.evolve(descent, parts=2),), precision="bf16")
    assert preview(halves).memory.activations == 2 * max(2 * 64 * 202, 270 * 128)


# ---------------------------------------------------------------- evidence


def test_the_constants_are_those_that_the_backend_decides_by() -> None:
    assert bounds.LARGEST_BET == betting.LARGEST_BET
    assert pytest.approx(betting.STAKES) == power.STAKES
    assert (power.OLDEST, memory.CHALLENGERS) == (challenger.OLDEST, challenger.SLOTS)
    assert power.LIKELY == gate.LEAST_POWER
    assert math.log(1 / bounds.FIRST_QUERY) == pytest.approx(gate.LOG_SPENT)
    assert (bounds.TAIL, bounds.MOST_RESAMPLES) == (bootstrap.TAIL, bootstrap.MOST_RESAMPLES)


def test_gate_tells_the_first_question_and_the_last_one(first: Plan) -> None:
    evidence = preview(first).evidence
    (claim,) = evidence.claims
    assert (evidence.rule, evidence.delta, claim.unit) == ("gate", 0.05, "pp")
    assert [(each.question, each.level, each.kind) for each in claim.columns] == [
        ("first", 0.0025, "least"),
        ("first", 0.0025, "found"),
        ("first", 0.0025, "found"),
        ("first", 0.0025, "asked"),
        ("last", 0.05, "least"),
        ("last", 0.05, "found"),
        ("last", 0.05, "found"),
    ]
    assert [each.examples for each in claim.rows] == [269, 538, 1076, 2690]
    least, *_ = claim.rows[0].values
    assert least == 9 / 269
    # The chance of nine wins without a loss is the first within the level.
    assert stats.binomtest(9, 9, alternative="greater").pvalue <= 0.0025
    assert stats.binomtest(8, 8, alternative="greater").pvalue > 0.0025


def test_figures_fall_as_examples_grow(first: Plan, log_loss: ObjectivePlan) -> None:
    rules = (
        Gate((Claim(first.objectives[0], 1.0, 0.005, "betting"),), 0.05),
        Gate((Claim(log_loss, 1.0, 0.0, "betting"),), 0.05),
        Reference((Claim(log_loss, 1.0, 0.0, "betting"),), 0.5, 1.96, None),
    )
    for rule in rules:
        (claim,) = preview(attrs.evolve(first, rule=rule)).evidence.claims
        for figures in zip(*(row.values for row in claim.rows), strict=True):
            known = [each for each in figures if each is not None]
            assert known == sorted(known, reverse=True)
            assert len(known) >= 3


def test_a_margin_is_part_of_every_figure(first: Plan) -> None:
    accuracy = first.objectives[0]
    tables = []
    for margin in (0.001, 0.02):
        rule = Gate((Claim(accuracy, 1.0, margin, "betting"),), 0.05)
        (claim,) = preview(attrs.evolve(first, rule=rule)).evidence.claims
        tables.append(claim.rows[3].values)
    for small, large in zip(*tables, strict=True):
        assert small is not None and large is not None
        assert 0.012 < large - small < 0.025


def test_each_time_has_one_level(first: Plan) -> None:
    rule = Gate((Claim(first.objectives[0], 1.0, 0.0, "mcnemar"),), 0.05, is_each_time=True)
    evidence = preview(attrs.evolve(first, rule=rule)).evidence
    columns = evidence.claims[0].columns
    assert {(each.question, each.level) for each in columns} == {("each", 0.05)}
    # A question costs nothing, so none waits.
    assert [each.kind for each in columns] == ["least", "found", "found"]


def test_unknown_rows_are_told_for_sizes_that_are_assumed(first: Plan) -> None:
    unknown = attrs.evolve(first, data=attrs.evolve(first.data, rows=None))
    shown = preview(unknown)
    assert shown.sizes is None
    assert shown.work.explore is not None and shown.work.assess is None
    assert [each.examples for each in shown.evidence.claims[0].rows][:3] == [100, 300, 1000]
    assert all(each.times is None for each in shown.evidence.claims[0].rows)
    assert "question mark" in explain_preview(shown)


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_splits_of_next_to_nothing_show_nothing(first: Plan, rows: int) -> None:
    shown = preview(attrs.evolve(first, data=attrs.evolve(first.data, rows=rows)))
    assert set(shown.evidence.claims[0].rows[0].values) == {None}
    assert "out of reach" in explain_preview(shown)


def test_a_bootstrap_is_asked_until_rejections_have_spent_its_level(
    first: Plan, quality: ObjectivePlan
) -> None:
    claims = (Claim(quality, 1.0, 0.0, "bootstrap"),)
    (claim,) = preview(attrs.evolve(first, rule=Gate(claims, 0.05))).evidence.claims
    # 0.25% and 0.0125% are within 20 / 200,000 = 0.01%, and a twentieth of that isn't.
    assert claim.rejections == 2
    (claim,) = preview(attrs.evolve(first, rule=Gate(claims, 1e-4))).evidence.claims
    assert claim.rejections == 0
    assert [each is None for each in claim.rows[0].values] == [True, True, True, False, False]


def test_the_reason_for_rule_gate_is_told(first: Plan, quality: ObjectivePlan) -> None:
    accuracy = Claim(first.objectives[0], 1.0, 0.0, "mcnemar")
    fresh = endless(first)

    def why(plan: Plan, rule: Gate) -> str:
        return preview(attrs.evolve(plan, rule=rule)).evidence.why

    assert "finite" in why(first, Gate((accuracy,), 0.05))
    assert "the spec asks" in why(fresh, Gate((accuracy,), 0.05))
    assert "asks anew" in why(fresh, Gate((accuracy,), 0.05, is_each_time=True))
    assert "no value" in why(fresh, Gate((Claim(quality, 1.0, 0.0, "bootstrap"),), 0.05))


def test_a_challenger_is_told_in_iterations(first: Plan) -> None:
    rule = Challenger((Claim(first.objectives[0], 1.0, 0.0, "betting"),), 0.05)
    evidence = preview(attrs.evolve(endless(first), rule=rule)).evidence
    (claim,) = evidence.claims
    assert [each.gain for each in claim.columns] == [0.005, 0.01, 0.02, 0.05]
    assert claim.rows[0].examples == 2048
    # A planted gain of 1 pp was found after 5 iterations in simulated runs.
    assert claim.rows[0].values[1] == 5


def test_the_published_rule_is_told_by_its_bounds(first: Plan) -> None:
    rule = Reference((Claim(first.objectives[0], 1.0, 0.0, "mcnemar"),), 0.5, 1.96, 2)
    evidence = preview(attrs.evolve(first, rule=rule)).evidence
    (claim,) = evidence.claims
    assert (evidence.delta, evidence.widths) == (None, (0.5, 1.96))
    assert [each.examples for each in claim.rows] == [256, 512, 1024, 2560]
    error = math.sqrt(0.9 * 0.1 / 256)
    expected = error * (2 * 1.96 + math.sqrt(2) * stats.norm.isf(0.1))
    assert claim.rows[0].values[1] == pytest.approx(expected)


def test_guards_say_whether_they_can_be_proven(
    first: Plan, log_loss: ObjectivePlan, quality: ObjectivePlan
) -> None:
    accuracy = first.objectives[0]

    def guard(measure: ObjectivePlan, factor: float, margin: float, *, is_proven: bool) -> Guard:
        test: Test = "bootstrap" if measure is quality else "betting"
        claim = Claim(measure, factor, margin, test)
        return Guard("a guard", claim, is_strict=False, is_proven=is_proven)

    guards = (
        guard(accuracy, 1.0, -0.01, is_proven=True),
        guard(accuracy, 1.0, -0.05, is_proven=True),
        guard(accuracy, 0.0, 0.9, is_proven=True),
        guard(log_loss, 1.0, -0.01, is_proven=True),
        guard(quality, 1.0, -0.01, is_proven=True),
        guard(accuracy, 1.0, -0.01, is_proven=False),
    )
    told = preview(attrs.evolve(first, guards=guards)).evidence.guards
    assert [(each.needed, each.is_provable) for each in told] == [
        (640, False),
        (136, True),
        (60, True),
        (3163, False),
        (None, True),
        (None, None),
    ]
    fresh = Challenger((Claim(accuracy, 1.0, 0.0, "betting"),), 0.05)
    plan = attrs.evolve(endless(first), rule=fresh, guards=guards[:1])
    (proven,) = preview(plan).evidence.guards
    assert (proven.needed, proven.iterations, proven.is_provable) == (None, 1, True)


def test_best_excesses_never_leave_what_is_possible() -> None:
    for is_falling in (False, True):
        for factor in (0.0, 0.5, 1.0, 1.1):
            for margin in (-0.3, -0.01, 0.0, 0.2):
                facts = {"is_falling": is_falling, "factor": factor, "margin": margin}
                excess, _ = bounds.best_excess(0.0, 2.0, **facts)  # type: ignore[arg-type]
                sign = -1 if is_falling else 1
                gains = [
                    sign * (one - factor * other) for one in (0.0, 2.0) for other in (0.0, 2.0)
                ]
                scale = bounds.excess_scale(0.0, 2.0, **facts)  # type: ignore[arg-type]
                assert scale == pytest.approx(max(abs(gain - margin) for gain in gains))
                assert excess <= (max(gains) - margin) / scale + 1e-12


# ---------------------------------------------------------------- as a document


def test_a_document_holds_all_that_the_text_is_made_of(first: Plan) -> None:
    told = json.loads(json.dumps(document(preview(first)), allow_nan=False))
    assert told["format_version"] == "1.0"
    assert told["models"] == [
        {"name": "net", "parameters": 8970, "flops": 17664, "is_explored": True}
    ]
    columns = [Column(**each) for each in told["evidence"]["claims"][0]["columns"]]
    assert columns == list(preview(first).evidence.claims[0].columns)
