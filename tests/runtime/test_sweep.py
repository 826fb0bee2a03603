"""Sweeps of small specs: every point is a run of its own, and one table stands over all."""

from __future__ import annotations

import io
import json
import math
import signal
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ev3lang.analysis import analyze
from ev3lang.compile import Experiment, SpecError, experiment, load
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import Challenger, Gate, Plan, Reference
from ev3lang.runtime import report as reports
from ev3lang.runtime import sweep_report, terminal
from ev3lang.runtime.events import Event, IterationDone, PointEnded, PointStarted, RunStarted
from ev3lang.runtime.faults import MemoryFault
from ev3lang.runtime.interrupts import computed, interruptible
from ev3lang.runtime.intervals import Interval
from ev3lang.runtime.kept import Kept
from ev3lang.runtime.run import run
from ev3lang.runtime.sweep import SweepResult, sweep
from ev3lang.source import Source
from tests.runtime.examples import some_events

SPEC = """\
ev3 1

param width: int = 4

data iris = sklearn.iris() { batch 16; normalize features }
model net: features -> logits(label) = mlp(hidden: [width])

loss entropy = cross_entropy(net(features), label)
objective accuracy = maximize argmax(net(features)) == label

explore net { descend entropy with sgd(0.1) for 10 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves with confidence 95% over the run
  stop after 4 iterations
}
"""

SWEEP = f"{SPEC}sweep {{ width in [4, 6]; seed in 0 to 1 }}\n"

NAMES = [
    "001-width=4,seed=0",
    "002-width=4,seed=1",
    "003-width=6,seed=0",
    "004-width=6,seed=1",
]


def asked(text: str, **options: Any) -> Experiment:
    return experiment(analyze(Source("iris.ev3", text), **options))


@attrs.frozen
class Told:
    result: SweepResult
    events: list[Event]

    @property
    def statuses(self) -> list[str]:
        return [point.status for point in self.result.report.points]

    @property
    def written(self) -> dict[str, Any]:
        return json.loads((self.result.folder / "sweep.json").read_text())  # type: ignore[no-any-return]


def told(text: str, out: Path, **options: Any) -> Told:
    spec = asked(text)
    events: list[Event] = []
    options.setdefault("listen", events.append)
    return Told(sweep(spec.points, spec.source, out=out, on="cpu", **options), events)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return told(SWEEP, tmp_path_factory.mktemp("sweeps") / "first")


# ---------------------------------------------------------------- which points


def test_a_spec_without_sweep_has_one_point_without_settings() -> None:
    (point,) = asked(SPEC).points
    assert point.settings == {}
    assert point.plan == asked(SPEC).plan


def test_every_combination_is_a_point_and_seeds_change_fastest() -> None:
    text = f"{SPEC}sweep {{ seed in [7, 3]; width in [4, 6] }}\n"
    points = asked(text).points
    assert [dict(point.settings) for point in points] == [
        {"seed": "7", "width": "4"},
        {"seed": "3", "width": "4"},
        {"seed": "7", "width": "6"},
        {"seed": "3", "width": "6"},
    ]
    assert [point.plan.seed for point in points] == [7, 3, 7, 3]


def test_what_is_set_from_outside_is_no_axis() -> None:
    assert [dict(p.settings) for p in asked(SWEEP, overrides={"width": "9"}).points] == [
        {"seed": "0"},
        {"seed": "1"},
    ]
    fixed = asked(SWEEP, overrides={"width": "6"}, seed=1)
    assert not fixed.is_sweep
    assert fixed.plan == asked(SPEC, overrides={"width": "6"}, seed=1).plan


def test_settings_are_texts_that_set_takes() -> None:
    text = SPEC.replace("param width: int = 4", "param width: int = 4\nparam rate: real = 0.1\n")
    text = text.replace("sgd(0.1)", "sgd(rate)") + "sweep { rate in [1e-3, 0.5]; width in 3 to 4 }"
    for point in asked(text).points:
        alone = asked(text, overrides=dict(point.settings)).plan
        assert attrs.evolve(point.plan, rule=alone.rule, runs=1) == alone


def test_a_library_user_chooses_a_point(tmp_path: Path) -> None:
    path = tmp_path / "iris.ev3"
    path.write_text(SWEEP)
    loaded = load(path)
    with pytest.raises(ValueError, match="a sweep of 4 runs over width, seed: take one of"):
        loaded.compile()
    with pytest.raises(SpecError, match="repeated|unused|nothing uses"):
        load_text(tmp_path, SPEC.replace("[width]", "[4]") + "sweep { width in [1, 2] }\n")
    program = loaded.compile(point=loaded.points[3])
    assert program.fused.plan == loaded.points[3].plan
    assert load(path, {"width": "4"}, seed=0).compile() is not None


def load_text(folder: Path, text: str) -> Experiment:
    (folder / "other.ev3").write_text(text)
    return load(folder / "other.ev3")


# ---------------------------------------------------------------- the confidence they share


def delta(plan: Plan) -> float:
    assert isinstance(plan.rule, Gate | Challenger)
    return plan.rule.delta


def test_the_chance_to_be_wrong_is_divided_among_the_runs() -> None:
    plans = [point.plan for point in asked(SWEEP).points]
    assert sum(map(delta, plans)) == pytest.approx(0.05, rel=1e-12)
    assert {plan.runs for plan in plans} == {4}
    words = reports.rule_words(plans[0])
    assert "any of the 4 runs of the sweep" in words
    assert "at most 5%, and 1.25% is the part of each" in words


def test_fresh_examples_share_the_confidence_too() -> None:
    text = SPEC.replace(
        "data iris = sklearn.iris() { batch 16; normalize features }",
        "data moons = two_moons(noise: 0.3) { batch 32 }",
    ).replace("features", "point")
    text = text.replace("stop after", "evaluate 2 batches\n  stop after")
    plans = [p.plan for p in asked(text + "sweep { seed in 0 to 4 }\n").points]
    assert [type(plan.rule) for plan in plans] == [Challenger] * 5
    assert sum(map(delta, plans)) == pytest.approx(0.05, rel=1e-12)


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        ("accept when accuracy improves with confidence 95% each time", Gate),
        (
            "accept when accuracy improves\n  rule reference(assess: 0.5, decide: 1.96)",
            Reference,
        ),
    ],
)
def test_a_rule_that_bounds_no_run_says_that_nothing_is_corrected(rule: str, kind: type) -> None:
    text = SWEEP.replace("accept when accuracy improves with confidence 95% over the run", rule)
    for point in asked(text).points:
        assert isinstance(point.plan.rule, kind)
        assert "no part of a confidence can make up for their number" in reports.rule_words(
            point.plan
        )
        if isinstance(point.plan.rule, Gate):
            assert point.plan.rule.delta == 0.05


# ---------------------------------------------------------------- each point is a run


def test_every_point_has_a_whole_run_folder(done: Told) -> None:
    where = done.result.folder
    assert sorted(each.name for each in where.iterdir()) == ["points", "spec.ev3", "sweep.json"]
    assert sorted(each.name for each in (where / "points").iterdir()) == NAMES
    for name in NAMES:
        inside = where / "points" / name
        assert sorted(each.name for each in inside.iterdir()) == [
            "accepted",
            "events.jsonl",
            "report.json",
            "run.json",
            "spec.ev3",
        ]
        report = reports.from_json(json.loads((inside / "report.json").read_text()))
        assert "1.25% is the part of each" in report.rule
    record = json.loads((where / "points" / NAMES[3] / "run.json").read_text())
    assert (record["seed"], record["flags"]["set"]) == (1, {"width": "6"})
    assert record["runs_of_sweep"] == 4


@pytest.mark.parametrize("number", [1, 4])
def test_a_point_is_the_same_run_as_alone_with_its_part_of_the_confidence(
    done: Told, tmp_path: Path, number: int
) -> None:
    """5% over four runs is 98.75% for one."""
    point = done.result.report.points[number - 1]
    text = SPEC.replace("95%", "98.75%")
    alone = asked(text, overrides={"width": point.settings["width"]})
    plan = attrs.evolve(alone.plan, seed=int(point.settings["seed"]))
    result = run(plan, alone.source, out=tmp_path / "alone", on="cpu")
    assert point.folder is not None
    for name in ("events.jsonl", "accepted/weights.npz"):
        one = (done.result.folder / point.folder / name).read_bytes()
        assert one == (result.folder / name).read_bytes(), name


def test_seeds_of_one_shape_are_compiled_once_and_data_read_once(tmp_path: Path) -> None:
    spec, kept = asked(SWEEP), Kept()
    programs, datasets = [], []
    for number, point in enumerate(spec.points):
        run(point.plan, spec.source, out=tmp_path / str(number), on="cpu", kept=kept)
        programs.append(kept.program(point.plan, lambda: pytest.fail("it is kept")))
        datasets.append(kept.dataset(point.plan.data, spec.source.folder))
    first, again, other, last = programs
    assert first is again
    assert other is last
    assert first is not other
    assert first.traces.count("segment") == other.traces.count("segment") == 1
    assert all(dataset is datasets[0] for dataset in datasets)
    kept.forget_all_but(())
    assert kept.dataset(spec.points[0].plan.data, spec.source.folder) is not datasets[0]


def test_models_whose_weights_depend_on_the_seed_are_not_shared(tmp_path: Path) -> None:
    """A frozen model is drawn by the seed, and its outputs are data of the program."""
    text = SPEC.replace(
        "loss entropy",
        "model still: features -> logits(label) = mlp(hidden: [3])\nloss entropy",
    ).replace(
        "cross_entropy(net(features), label)",
        "cross_entropy(net(features), label) + kl_divergence(softmax(still(features)), "
        "softmax(net(features)))",
    )
    swept = told(f"{text}sweep {{ seed in 0 to 1 }}\n", tmp_path / "swept", most_lanes=2)
    alone = asked(text.replace("95%", "97.5%"), seed=1)
    result = run(alone.plan, alone.source, out=tmp_path / "alone", on="cpu")
    folder = swept.result.report.points[1].folder
    assert folder is not None
    one = (swept.result.folder / folder / "events.jsonl").read_bytes()
    assert one == (result.folder / "events.jsonl").read_bytes()


def test_side_by_side_every_seed_is_its_own_run_and_ends_at_its_own_iteration(
    tmp_path: Path,
) -> None:
    """One that has ended waits for the others without a further query; sums may differ by 1e-6."""
    text = SPEC.replace("after 4 iterations", "after 6 iterations or when accuracy >= 25%")
    text += "sweep { seed in 0 to 2 }\n"
    apart = told(text, tmp_path / "apart")
    beside = told(text, tmp_path / "beside", most_lanes=4)
    started = [event for event in beside.events if isinstance(event, PointStarted)]
    assert [(event.number, event.beside) for event in started] == [(1, 2)]
    assert len({point.iterations for point in apart.result.report.points}) > 1
    for one, other in zip(apart.result.report.points, beside.result.report.points, strict=True):
        assert attrs.evolve(one, metrics={}) == attrs.evolve(other, metrics={})
        assert one.folder is not None
        assert decisions(apart, one.folder) == decisions(beside, one.folder)
        with (
            np.load(apart.result.folder / one.folder / "accepted" / "weights.npz") as alone,
            np.load(beside.result.folder / one.folder / "accepted" / "weights.npz") as along,
        ):
            for name in alone.files:
                np.testing.assert_allclose(along[name], alone[name], atol=1e-5)


def decisions(swept: Told, folder: str) -> list[tuple[str, str | None]]:
    text = (swept.result.folder / folder / "events.jsonl").read_text()
    found = [json.loads(line) for line in text.splitlines()]
    return [(line["event"], line.get("decision")) for line in found]


def test_runs_that_end_by_time_are_not_side_by_side(tmp_path: Path) -> None:
    text = SPEC.replace("stop after 4 iterations", "stop after 4 iterations or after 5 min")
    told_ = told(f"{text}sweep {{ seed in 0 to 1 }}\n", tmp_path / "timed", most_lanes=4)
    started = [event for event in told_.events if isinstance(event, PointStarted)]
    assert [event.beside for event in started] == [0, 0]


# ---------------------------------------------------------------- failures


def csv_sweep(folder: Path) -> str:
    rows = ["x,y,label"] + [f"{i % 7},{i % 5},{i % 2}" for i in range(80)]
    (folder / "good.csv").write_text("\n".join(rows) + "\n")
    (folder / "bad.csv").write_text("\n".join([*rows[:9], "1,2,7", *rows[9:]]) + "\n")
    return f"""\
ev3 1

param file: path = "good.csv"
data table = csv(file) {{
  x: f32
  y: f32
  label: class[2]
  batch 8
}}
model net: [x, y] -> logits(label) = mlp(hidden: [4])
loss entropy = cross_entropy(net([x, y]), label)
objective accuracy = maximize argmax(net([x, y])) == label
explore net {{ descend entropy with sgd(0.1) for 3 steps }}
assess net {{ rank by accuracy }}
adapt net {{ accept when accuracy improves; stop after 2 iterations }}
sweep {{ file in ["{folder}/bad.csv", "{folder}/good.csv"]; seed in 0 to 1 }}
"""


def test_a_failed_point_does_not_stop_the_others(tmp_path: Path) -> None:
    swept = told(csv_sweep(tmp_path), tmp_path / "out")
    assert swept.statuses == ["failed", "failed", "done", "done"]
    bad = swept.result.report.points[0]
    assert bad.reason is not None
    assert "bad.csv" in bad.reason
    assert bad.folder is None
    assert swept.result.report.exit_status == bad.exit_status == 6
    ended = [event for event in swept.events if isinstance(event, PointEnded)]
    assert [event.is_failed for event in ended] == [True, True, False, False]
    # the settings of a path need no quotes, and name no folder
    assert bad.settings["file"] == f"{tmp_path}/bad.csv"
    assert len(list((tmp_path / "out" / "points").iterdir())) == 2


def test_a_point_that_loses_every_candidate_is_a_failed_one(tmp_path: Path) -> None:
    text = SPEC.replace("param width: int = 4", "param width: int = 4\nparam rate: real = 0.1\n")
    text = text.replace("sgd(0.1)", "sgd(rate)").replace("after 4", "after 60")
    swept = told(f"{text}sweep {{ rate in [1e38, 0.1] }}\n", tmp_path / "lost")
    assert swept.statuses == ["failed", "done"]
    lost = swept.result.report.points[0]
    assert (lost.outcome, lost.exit_status, lost.split) == (Outcome.ALL_LOST, 3, "assess")
    assert lost.reason == Outcome.ALL_LOST.words
    assert swept.result.report.exit_status == 3


def test_too_little_memory_is_a_fault_with_words() -> None:
    def work() -> jax.Array:
        # more than an address can reach: refused whatever the machine has
        return jnp.zeros((2**20, 2**30), jnp.float32)

    with pytest.raises(MemoryFault, match="not enough memory: Out of memory allocating"):
        interruptible(partial(computed, work))

    def other() -> None:
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        interruptible(other)


def test_fewer_go_side_by_side_where_memory_is_too_small_for_all(tmp_path: Path) -> None:
    beside: list[int] = []

    def listen(event: Event) -> None:
        """Says at the first try, as a device would, that three are too many."""
        if isinstance(event, PointStarted):
            beside.append(event.beside)
        if isinstance(event, RunStarted) and beside[-1] == 2:
            raise MemoryFault("the device has not enough memory")

    text = f"{SPEC}sweep {{ seed in 0 to 2 }}\n"
    swept = told(text, tmp_path / "out", most_lanes=3, listen=listen)
    assert beside == [2, 0, 1]
    assert swept.statuses == ["done"] * 3
    assert len(list((tmp_path / "out" / "points").iterdir())) == 3


# ---------------------------------------------------------------- interruption


@pytest.fixture
def default_signals() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("lanes", [1, 2])
def test_an_interrupt_ends_the_running_point_and_the_sweep(tmp_path: Path, lanes: int) -> None:
    text = SPEC.replace("after 4 iterations", "after 100000 iterations")
    points: list[int] = []

    def listen(event: Event) -> None:
        if isinstance(event, PointStarted):
            points.append(event.number)
        if isinstance(event, IterationDone) and event.iteration == 2 and points[-1] == 1:
            signal.raise_signal(signal.SIGINT)

    swept = told(
        f"{text}sweep {{ width in [4, 6]; seed in 0 to 1 }}\n",
        tmp_path / "cut",
        listen=listen,
        most_lanes=lanes,
    )
    cut = ["interrupted"] * lanes
    assert swept.statuses == cut + ["not run"] * (4 - lanes)
    assert points == [1]
    assert swept.result.report.exit_status == 130
    assert swept.result.exit_status == 130
    first = swept.result.report.points[0]
    assert (first.outcome, first.split) == (Outcome.INTERRUPTED, "assess")
    assert first.iterations >= 2
    assert swept.written["points"][3]["status"] == "not run"


@pytest.mark.usefixtures("default_signals")
def test_an_interrupt_before_a_point_begins_keeps_what_is_done(tmp_path: Path) -> None:
    started: list[RunStarted] = []

    def listen(event: Event) -> None:
        if isinstance(event, RunStarted):
            started.append(event)
            if len(started) == 2:
                signal.raise_signal(signal.SIGINT)

    swept = told(SWEEP, tmp_path / "cut", listen=listen)
    assert swept.statuses == ["done", "not run", "not run", "not run"]
    assert swept.result.stopped is Outcome.INTERRUPTED
    assert swept.result.report.exit_status == 130
    assert [each.name for each in (tmp_path / "cut" / "points").iterdir()] == NAMES[:1]


# ---------------------------------------------------------------- the table over all


def test_the_table_has_what_the_points_reports_say(done: Told) -> None:
    report = done.result.report
    assert report.exit_status == 0
    assert done.statuses == ["done"] * 4
    for point in report.points:
        assert point.folder is not None
        own = json.loads((done.result.folder / point.folder / "report.json").read_text())
        value = own["metrics"]["report"][own["delivered"]]["accuracy"]
        assert point.metrics["accuracy"].value == value["value"]
        assert point.metrics["accuracy"].low == value["low"]
        assert point.acceptances == own["acceptances"]
    assert report.axes == {"width": ("4", "6"), "seed": ("0", "1")}
    assert sweep_report.from_json(done.written).points == report.points


def test_over_the_seeds_stand_mean_deviation_and_students_interval() -> None:
    values = [0.5, 0.6, 0.8, 0.7]
    report = made([*values, 0.25], widths=[4, 4, 4, 4, 8], seeds=[0, 1, 2, 3, 0])
    narrow, wide = report.replicated
    assert (narrow.settings, narrow.seeds) == ({"width": "4"}, 4)
    moments = narrow.metrics["accuracy"]
    assert moments.mean.value == pytest.approx(statistics.mean(values))
    assert moments.deviation == pytest.approx(statistics.stdev(values))
    low, high = stats.t.interval(0.95, 3, loc=0.65, scale=stats.sem(values))
    assert (moments.mean.low, moments.mean.high) == pytest.approx((low, high))
    assert (wide.seeds, wide.metrics["accuracy"].deviation) == (1, None)
    assert wide.metrics["accuracy"].mean.low is None


def test_a_share_over_few_seeds_stays_a_share() -> None:
    mean = made([0.1, 0.9], widths=[4, 4], seeds=[0, 1]).replicated[0].metrics["accuracy"].mean
    assert (mean.low, mean.high) == (0.0, 1.0)


def test_a_value_that_is_no_number_leaves_none() -> None:
    report = made([math.nan, math.inf, 0.5], widths=[4, 4, 4], seeds=[0, 1, 2])
    moments = sweep_report.to_json(report)["over_seeds"][0]["metrics"]["accuracy"]
    assert moments["mean"] is None
    assert moments["deviation"] is None


def made(values: list[float], widths: list[int], seeds: list[int]) -> sweep_report.SweepReport:
    points = tuple(
        sweep_report.PointResult(
            number,
            {"width": str(width), "seed": str(seed)},
            "done",
            split="report",
            outcome=Outcome.ITERATIONS,
            metrics={"accuracy": Interval(value, None, None, 15)},
        )
        for number, (value, width, seed) in enumerate(zip(values, widths, seeds, strict=True), 1)
    )
    axes = {"width": ("4", "8"), "seed": tuple(map(str, sorted(set(seeds))))}
    quantities = {"accuracy": reports.Quantity("higher", True)}
    return sweep_report.SweepReport("iris", "iris.ev3", "cpu", axes, "rule", quantities, points, 1)


# ---------------------------------------------------------------- what people see


def test_the_table_can_be_read_without_the_spec(done: Told) -> None:
    stream = io.StringIO()
    terminal.show_sweep(done.result.report, "runs/iris-1", stream)
    text = stream.getvalue()
    for words in (
        "a sweep of 4 runs: 2 widths by 2 seeds",
        "4 done",
        "The chance that any of the 4 runs of the sweep ever accepts",
        "1  width 4, seed 0",
        "Over the seeds",
        "runs/iris-1",
    ):
        assert words in text
    assert "\x1b" not in text


def test_failed_points_stand_in_the_table_with_their_reason() -> None:
    report = made([0.5], widths=[4], seeds=[0])
    failed = sweep_report.PointResult(
        2, {"width": "8", "seed": "0"}, "failed", reason="bad.csv, row 9: no number", exit_status=6
    )
    stream = io.StringIO()
    swept = attrs.evolve(report, points=(*report.points, failed))
    terminal.show_sweep(swept, "runs/iris-1", stream)
    assert "1 done, 1 failed" in stream.getvalue()
    assert "point 2 failed: bad.csv, row 9: no number" in stream.getvalue()


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("is_terminal", [False, True])
def test_progress_names_the_point(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Screen() if is_terminal else io.StringIO()
    shown = terminal.display(stream, is_quiet=False)
    for number, words in ((1, "seed 0"), (2, "seed 1")):
        shown(PointStarted(number, 2, words, beside=0))
        for event in some_events(Path("runs/flowers/points")):
            shown(event)
        shown(PointEnded(number, 2, words, "all is done", is_failed=False))
    shown.close()
    text = stream.getvalue()
    for number, words in ((1, "seed 0"), (2, "seed 1")):
        assert f"point {number} of 2: {words}" in text
        assert f"point {number} of 2 ({words}): all is done" in text
    if not is_terminal:
        assert text.count("iteration 1 of 30") == 2
