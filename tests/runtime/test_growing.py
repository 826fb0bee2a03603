"""Runs whose models grow: what goes on, what stays, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ev3lang
from ev3lang.analysis import analyze
from ev3lang.backend import models, succession
from ev3lang.backend.emit import Program, emit
from ev3lang.backend.growth import grow_group
from ev3lang.backend.keys import named
from ev3lang.backend.state import Params, RunState
from ev3lang.compile import experiment
from ev3lang.outcome import Outcome
from ev3lang.plan import stages
from ev3lang.plan.fuse import fuse
from ev3lang.runtime import data
from ev3lang.runtime.ahead import Facts, told
from ev3lang.runtime.events import Closed, Grown, IterationDone, RunEnded, Warned
from ev3lang.runtime.growing import Stages
from ev3lang.runtime.sweep import sweep
from ev3lang.source import Source
from tests.runtime.ran import Ran, plan_of, ran

SPEC = """\
ev3 1

data iris = sklearn.iris() {{
  split explore 40%, assess 25%, adapt 25%, report 10% stratified by label
  batch 16
  normalize features
}}
model net: features -> logits(label) = mlp(hidden: [2])

loss entropy = cross_entropy(net(features), label)
{declared}
objective accuracy = maximize argmax(net(features)) == label
metric size = parameters(net)

explore net {{ descend {losses} for {steps} steps }}
assess net {{ rank by {ranking} }}
adapt net {{
  accept when accuracy improves{confidence}
  after {patience} iterations without progress {{
    {growth}
    limit size <= {limit}
  }}
  {further}
  stop after {iterations} iterations
}}
report {{
  show accuracy, size
  baseline plain = descend entropy with sgd(0.1)
}}
"""

DEFAULTS: dict[str, Any] = {
    "declared": "",
    "losses": "entropy with sgd(0.1, momentum: 0.9)",
    "steps": 4,
    "ranking": "accuracy",
    "confidence": "",
    "patience": 2,
    "growth": "grow by widen(2x)",
    "limit": 60,
    "further": "",
    "iterations": 16,
}

SIZES = {width: 4 * width + width + width * 3 + 3 for width in (2, 4, 8)}
"""Weights and biases of nets with one hidden layer, counted by hand."""


def spec(**changed: Any) -> str:
    return SPEC.format(**{**DEFAULTS, **changed})


@pytest.fixture(scope="module")
def widened(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return ran(spec(), tmp_path_factory.mktemp("runs") / "widened")


def test_a_run_grows_to_its_limit_and_goes_on_there(widened: Ran) -> None:
    assert widened.sizes == [SIZES[4]], "8 units would pass the limit"
    (ended,) = widened.of(RunEnded)
    assert ended == RunEnded(Outcome.ITERATIONS, 16)
    assert [event.iteration for event in widened.of(IterationDone)] == list(range(1, 17))
    assert widened.result.report.metrics["current"]["size"].value == SIZES[4]


def test_outputs_before_and_after_growth_agree(widened: Ran) -> None:
    (grown,) = widened.of(Grown)
    assert 0 <= grown.max_output_change < 1e-5
    lines = (widened.result.folder / "events.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    place = next(n for n, each in enumerate(told) if each["event"] == "growth")
    assert told[place]["max_output_change"] == grown.max_output_change
    assert told[place - 1]["iteration"] == told[place]["iteration"] == grown.iteration


def test_growth_waits_for_its_patience(widened: Ran) -> None:
    """Counted again from the events: neither an acceptance nor a new best of current."""
    (grown,) = widened.of(Grown)
    best, stalled = -1.0, 0
    for event in widened.of(IterationDone):
        reached = event.current["accuracy"].value
        is_progress = event.decision == "accepted" or reached > best
        best, stalled = max(best, reached), 0 if is_progress else stalled + 1
        if stalled == 2:
            assert event.iteration == grown.iteration
            break


def test_one_seed_grows_in_one_way(widened: Ran, tmp_path: Path) -> None:
    again = ran(spec(), tmp_path / "again")
    for name in ("events.jsonl", "accepted/weights.npz"):
        first, second = (each.result.folder / name for each in (widened, again))
        assert first.read_bytes() == second.read_bytes(), name


def test_the_accepted_model_is_saved_with_the_size_that_it_has(widened: Ran) -> None:
    model = ev3lang.load_model(widened.result.folder)
    count = sum(leaf.size for leaf in jax.tree.leaves(model.params))
    delivered = widened.result.report.metrics[widened.result.report.delivered]
    assert count == delivered["size"].value
    dataset = data.read(plan_of(spec()).data, Path())
    report, (mean, std) = dataset.tables["report"], dataset.scales["features"]
    raw = report["features"] * std + mean
    right = np.argmax(model(raw), -1) == report["label"]
    assert np.mean(right) == delivered["accuracy"].value


def test_the_baseline_takes_the_steps_of_every_stage(widened: Ran) -> None:
    steps = sum(c.steps for event in widened.of(IterationDone) for c in event.candidates)
    assert widened.result.report.steps["plain"] == steps == 16 * 4


@pytest.mark.exact
def test_streamed_batches_lead_to_the_same_growth(tmp_path: Path) -> None:
    text = spec(iterations=10).partition("report {")[0]
    resident = ran(text, tmp_path / "resident")
    streamed = ran(text, tmp_path / "streamed", stream_above_bytes=0)
    assert resident.sizes
    first, second = (each.result.folder / "events.jsonl" for each in (resident, streamed))
    assert first.read_bytes() == second.read_bytes()


# ---------------------------------------------------------------- the step itself


@attrs.frozen(eq=False)
class Stage:
    """A run in the middle: its stages, and the state that it has come to, on the host."""

    stages: Stages
    state: RunState

    @property
    def facts(self) -> Facts:
        return Facts.of(told(self.state))


def stage(text: str, iterations: int) -> Stage:
    plan = plan_of(text)
    dataset = data.read(plan.data, Path())
    first = stages.at(plan, plan.architecture)
    program = emit(fuse(first, "cpu"), dataset.tables, dataset.statistics)
    state = program.init(jax.random.key(plan.seed))
    state, *_ = program.segment(state, iterations, False)
    return Stage(Stages(plan, jax.devices("cpu")[0], {}, first, program), succession.on_host(state))


@pytest.fixture
def third() -> Iterator[Stage]:
    found = stage(spec(patience=9), 3)
    yield found
    found.stages.close()


def test_growth_hands_on_evidence_and_takes_up_weights(third: Stage) -> None:
    before = third.state
    architecture = third.stages.plan.architecture
    step = third.stages.step(before, third.facts)
    after = succession.on_host(step.state)
    key = named(jax.random.key(0), "growth", 0)
    assert step.way.operation is not None
    by_hand = grow_group(architecture, before.current, step.way.operation, key)
    for one, other in zip(jax.tree.leaves(by_hand), jax.tree.leaves(after.current), strict=True):
        np.testing.assert_array_equal(one, other)
    accepted = after.accepted
    assert accepted.place == 1, "accepted keeps the shape that it had"
    for one, other in zip(
        jax.tree.leaves(before.accepted), jax.tree.leaves(accepted.params[1]), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    for name in ("iteration", "log_budget", "accepted_steps", "current_steps", "descended"):
        assert getattr(before, name) == getattr(after, name), name
    for name in ("accepted_values", "current_values"):
        for measure, values in getattr(before, name).items():
            np.testing.assert_array_equal(values, getattr(after, name)[measure])
    assert after.progress.stalled == 0
    assert np.all(np.isneginf(after.progress.best))


def test_what_was_measured_before_growth_is_what_would_be_measured_after_it(third: Stage) -> None:
    step = third.stages.step(third.state, third.facts)
    kept = succession.on_host(step.state).current_values
    anew = third.stages.program.appraise(step.state).current_values
    for name, values in kept.items():
        np.testing.assert_allclose(values, anew[name], rtol=1e-5)


def test_an_elder_is_judged_as_it_was(third: Stage) -> None:
    """The next program gives accepted, of another shape, the values that its own program gave."""
    step = third.stages.step(third.state, third.facts)
    elders = third.stages.plan.elders
    program = third.stages.program
    state = step.state
    fields = program.examples(state.key, "adapt")
    old = third.stages.programs[elders[0]].measure(third.state.accepted, fields)
    place = {model.name: model for model in elders[0]}
    x = fields["features"]
    by_hand = models.apply(place["net"], state.accepted.params[1]["net"], x)
    right = jnp.argmax(by_hand, -1) == fields["label"]
    np.testing.assert_array_equal(old["accuracy"], right)


def test_nothing_is_compiled_at_a_step_into_a_prepared_stage(third: Stage) -> None:
    """On the device's own account, so that a small program for one array counts as well."""
    compiled: list[str] = []

    def note(event: str, duration_s: float, **others: str | int) -> None:
        del duration_s, others
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        third.stages.look_ahead(third.facts)
        third.stages.close()
        assert compiled, "what is compiled is heard of"
        compiled.clear()
        step = third.stages.step(third.state, third.facts)
        jax.block_until_ready(third.stages.program.segment(step.state, 1, False))
        assert not compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(note)


def test_a_prepared_stage_is_compiled_once(third: Stage) -> None:
    third.stages.look_ahead(third.facts)
    step = third.stages.step(third.state, third.facts)
    program = third.stages.program
    traced = list(program.traces)
    state, *_ = program.segment(step.state, 2, False)
    program.segment(state, 1, False)
    assert program.traces == traced
    assert traced.count("segment") == 1


# ---------------------------------------------------------------- choices


def test_a_draw_of_growths_depends_on_the_seed_alone() -> None:
    plan = plan_of(spec(growth="grow by widen(2x) or deepen(1)", limit=1000))
    ladders = {
        seed: [each.operation.name for each in stages.ladder(attrs.evolve(plan, seed=seed))[:4]]
        for seed in range(12)
    }
    assert len({tuple(each) for each in ladders.values()}) > 4
    assert ladders[3] == [
        each.operation.name for each in stages.ladder(attrs.evolve(plan, seed=3))[:4]
    ]


def test_the_best_of_several_growths_goes_on_and_adapt_is_not_asked(tmp_path: Path) -> None:
    tried = ran(
        spec(growth="grow by best of widen(2x), deepen(1)", limit=40, iterations=10),
        tmp_path / "run",
    )
    grown = tried.of(Grown)
    assert grown
    iterations = {event.iteration: event for event in tried.of(IterationDone)}
    assert sorted(iterations) == list(range(1, 11))
    losers = 0
    for event in grown:
        if len(event.trials) < 2:
            continue
        best = max(event.trials, key=lambda each: each.scores["accuracy"].value)
        chosen = next(each for each in event.trials if each.operation == event.operation)
        gap = best.scores["accuracy"].value - chosen.scores["accuracy"].value
        assert gap <= 1 / np.sqrt(37), "at most a standard error behind"
        trial = iterations[event.iteration + 1]
        assert trial.decision == "not_asked"
        assert trial.current["accuracy"] == chosen.scores["accuracy"]
        losers += len(event.trials) - 1
    assert losers
    # what the others descended was descended, too
    assert tried.result.report.steps["plain"] == (10 + losers) * 4


def test_a_fresh_network_must_pass_the_test(tmp_path: Path) -> None:
    fresh = ran(spec(growth="grow by fresh(widen(2x))", iterations=12), tmp_path / "run")
    (grown,) = fresh.of(Grown)
    assert grown.max_output_change is None
    events = {event.iteration: event for event in fresh.of(IterationDone)}
    before, after = events[grown.iteration], events[grown.iteration + 1]
    if after.decision != "accepted":
        assert after.accepted == before.accepted
    size = fresh.result.report.metrics[fresh.result.report.delivered]["size"].value
    is_accepted = any(
        event.decision == "accepted"
        for event in (*fresh.of(IterationDone), *fresh.of(Closed))
        if getattr(event, "iteration", 99) > grown.iteration
    )
    assert size == (SIZES[4] if is_accepted else SIZES[2])


# ---------------------------------------------------------------- passes


@pytest.fixture(scope="module")
def passes(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    text = spec(
        declared="archive peers of net { keep best accuracy per size }\n"
        "loss taught = kl_divergence(softmax(peers(features)), softmax(net(features)))",
        losses="entropy, taught with sgd(0.1, momentum: 0.9)",
        limit=SIZES[4],
        further="repeat 2 passes from smallest",
        iterations=60,
        steps=30,
        confidence=" with confidence 95% each time",
    )
    return ran(text, tmp_path_factory.mktemp("runs") / "passes")


def test_the_last_pass_ends_the_run_by_its_own_stop(passes: Ran) -> None:
    (ended,) = passes.of(RunEnded)
    assert ended.outcome is Outcome.PASSES
    assert ended.iterations < 60
    assert len(passes.of(Closed)) == 1, "the last query is made"
    assert passes.result.report.split == "report"


def test_each_pass_starts_from_the_smallest_with_other_weights(passes: Ran) -> None:
    grown = passes.of(Grown)
    assert [(each.number_of_pass, each.operation, each.parameters["net"]) for each in grown] == [
        (1, "widen(2x)", SIZES[4]),
        (2, None, SIZES[2]),
        (2, "widen(2x)", SIZES[4]),
    ]
    again = grown[1].iteration
    events = {event.iteration: event for event in passes.of(IterationDone)}
    assert events[again + 1].accepted["accuracy"].value >= events[again].accepted["accuracy"].value
    assert events[1].current["accuracy"] != events[again + 1].current["accuracy"]


def test_members_teach_from_the_next_stage_on(passes: Ran) -> None:
    """Who is in an archive can be told from the acceptances, and they are told of one by one."""
    members: set[str] = set()
    size, due = SIZES[2], {event.iteration: event for event in passes.of(Grown)}
    expected: set[str] = set()
    for event in passes.of(IterationDone):
        taught = [each.name for each in event.candidates if each.name.startswith("taught")]
        assert sorted(taught) == sorted(
            f"taught with sgd(0.1, momentum: 0.9) from {name}" for name in members
        )
        if event.decision == "accepted":
            expected.add(f"peers at {size}")
        if event.iteration in due:
            step = due[event.iteration]
            members, size = set(step.members), step.parameters["net"]
            assert members == expected
    assert members, "a run of this length accepts something"


def test_archived_models_are_measured_and_saved_with_their_sizes(passes: Ran) -> None:
    report = passes.result.report
    assert report.archived
    for name in report.archived:
        size = int(name.rpartition(" ")[2].replace(",", ""))
        assert report.metrics[name]["size"].value == size
        saved = ev3lang.load_model(passes.result.folder / "archive" / f"peers-{size}")
        assert sum(leaf.size for leaf in jax.tree.leaves(saved.params)) == size
    told = json.loads((passes.result.folder / "report.json").read_text())
    assert tuple(told["archived"]) == report.archived


def test_teachers_whose_outputs_were_computed_before_may_change() -> None:
    """A program that is taught other weights does what one made for them does."""
    plan = plan_of(
        spec(
            declared="archive peers of net { keep best accuracy per size }\n"
            "loss taught = kl_divergence(softmax(peers(features)), softmax(net(features)))",
            losses="taught, entropy with sgd(0.1)",
            further="repeat 2 passes from smallest",
        )
    )
    dataset = data.read(plan.data, Path())
    member = stages.member(plan.archives[0], plan.architecture[0])
    fused = fuse(stages.at(plan, plan.architecture, (), [member]), "cpu")
    name = member.model.name
    first, second = (
        {name: jax.device_get(models.init(member.model, jax.random.key(seed)))} for seed in (1, 2)
    )

    def losses(program: Program, given: dict[str, Params]) -> np.ndarray:
        state = program.init(jax.random.key(0))
        state = attrs.evolve(state, frozen=given)
        return np.asarray(program.step(state)[1].loss)

    changed = emit(fused, dataset.tables, dataset.statistics, first)
    before = losses(changed, first)
    changed.teach(second)
    fresh = emit(fused, dataset.tables, dataset.statistics, second)
    np.testing.assert_array_equal(losses(changed, second), losses(fresh, second))
    assert np.any(before != losses(changed, second))


# ---------------------------------------------------------------- what else a run may have


def test_a_front_keeps_members_of_every_size(tmp_path: Path) -> None:
    found = ran(
        spec(
            declared="objective small = minimize parameters(net)",
            ranking="pareto(accuracy, small)",
            limit=SIZES[8],
            iterations=14,
        ),
        tmp_path / "run",
    )
    grown = found.of(Grown)
    assert grown
    sizes = {0: SIZES[2]} | {each.iteration: each.parameters["net"] for each in grown}
    report = found.result.report
    assert report.front
    for member in report.front:
        began = max(each for each in sizes if each < member.iteration)
        assert report.metrics[member.name]["size"].value == sizes[began]
        number = member.name.rpartition(" ")[2]
        saved = ev3lang.load_model(found.result.folder / "front" / number)
        count = sum(leaf.size for leaf in jax.tree.leaves(saved.params))
        assert count == sizes[began]
    assert len({report.metrics[each.name]["size"].value for each in report.front}) > 1


ENDLESS = """\
ev3 1
data moons = two_moons() { batch 64 }
model net: point -> logits(label) = mlp(hidden: [2])
loss entropy = cross_entropy(net(point), label)
objective accuracy = maximize argmax(net(point)) == label
metric size = parameters(net)
explore net { descend entropy with sgd(0.1) for 10 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  after 2 iterations without progress { grow by widen(2x); limit size <= 30 }
  stop after 24 iterations
}
report { show accuracy, size }
"""


def test_challengers_outlive_a_growth() -> None:
    found = stage(ENDLESS, 4)
    before = found.state.challengers
    assert before is not None and before.is_filled.any(), "four iterations find a challenger"
    step = found.stages.step(found.state, found.facts)
    after = succession.on_host(step.state).challengers
    for name in ("is_filled", "claim", "age", "alpha", "excess", "log_wealths", "started"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert list(after.params.place[before.is_filled]) == [1] * int(before.is_filled.sum())
    for one, other in zip(
        jax.tree.leaves(before.params), jax.tree.leaves(after.params.params[1]), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    # and their evidence grows on: fresh examples are measured by the shape that they have
    state, *_ = found.stages.program.segment(step.state, 1, False)
    aged = succession.on_host(state).challengers
    stayed = before.is_filled & aged.is_filled & (aged.age == before.age + 1)
    assert stayed.any() or int(state.accepted_steps) > 0
    found.stages.close()


def test_under_rule_reference_growth_replaces_accepted(tmp_path: Path) -> None:
    text = spec(
        growth="grow by fresh(widen(2x))",
        further="rule reference(assess: 0.5, decide: 1.96)",
        iterations=14,
        patience=1,
    )
    found = ran(text, tmp_path / "run")
    assert found.of(Grown)
    assert found.result.report.metrics[found.result.report.delivered]["size"].value == SIZES[4]


def test_runs_of_a_sweep_grow_each_on_its_own(tmp_path: Path) -> None:
    text = spec(iterations=8) + "sweep { seed in 0 to 1 }\n"
    whole = experiment(analyze(Source("spec.ev3", text)))
    sweep(whole.points, whole.source, out=tmp_path / "sweep")
    reports = [
        path for path in (tmp_path / "sweep").rglob("report.json") if "net" not in path.parts
    ]
    assert len(reports) == 2
    for path in reports:
        assert json.loads(path.read_text())["iterations"] == 8


def test_a_growth_that_memory_has_no_room_for_is_given_up(tmp_path: Path) -> None:
    text = spec(growth="grow by widen(100x)", limit=10**14, iterations=12).replace(
        "hidden: [2]", "hidden: [600, 600]"
    )
    found = ran(text, tmp_path / "run")
    assert not found.of(Grown)
    (warned,) = [each for each in found.of(Warned) if "given up" in each.what]
    assert "bytes of weights" in warned.what
    (ended,) = found.of(RunEnded)
    assert ended == RunEnded(Outcome.ITERATIONS, 12)
    model = ev3lang.load_model(found.result.folder)
    assert (
        sum(leaf.size for leaf in jax.tree.leaves(model.params)) == 600 * (4 + 1 + 600 + 1 + 3) + 3
    )
    assert any("growth was given up" in each for each in found.result.report.warnings)
