"""Whole runs of small specs: what they write, how they end, and that they repeat."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from sklearn.metrics import f1_score

from ev3lang.analysis import analyze
from ev3lang.compile import experiment
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import Plan, StopPlan
from ev3lang.runtime import data
from ev3lang.runtime.device import DeviceError
from ev3lang.runtime.events import (
    Closed,
    Compiled,
    Event,
    IterationDone,
    RunEnded,
    RunStarted,
    Warned,
)
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.intervals import tango, wilson
from ev3lang.runtime.report import from_json
from ev3lang.runtime.run import Result, run
from ev3lang.source import Source

SPEC = """\
ev3 1

data iris = sklearn.iris() { batch 16; normalize features }
model net: features -> logits(label) = mlp(hidden: [8])

loss entropy = cross_entropy(net(features), label)
objective accuracy = maximize argmax(net(features)) == label
objective log_loss = minimize entropy
metric macro_f1 = f1(argmax(net(features)), label)
metric size = parameters(net)

explore net { descend entropy with adamw(1e-2), sgd(0.1) for 10 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  stop after 8 iterations
}
report {
  show accuracy, log_loss, macro_f1, size, confusion_matrix(argmax(net(features)), label)
  baseline plain = descend entropy with sgd(0.1)
}
"""

STREAM = """\
ev3 1

data moons = two_moons(noise: 0.3) { batch 32 }
model net: point -> logits(label) = mlp(hidden: [4])
loss entropy = cross_entropy(net(point), label)
objective accuracy = maximize argmax(net(point)) == label

explore net { descend entropy with sgd(0.5) for 10 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  rule gate
  evaluate 8 batches
  stop after 5 iterations
}
"""


def source(text: str, name: str = "iris.ev3") -> Source:
    return Source(name, text)


def plan_of(text: str) -> Plan:
    return experiment(analyze(source(text))).plan


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(SPEC)


@attrs.frozen
class Told:
    result: Result
    events: list[Event]

    @property
    def report(self) -> dict[str, Any]:
        return json.loads((self.result.folder / "report.json").read_text())  # type: ignore[no-any-return]

    @property
    def iterations(self) -> list[IterationDone]:
        return [event for event in self.events if isinstance(event, IterationDone)]


def told(plan: Plan, out: Path, text: str = SPEC, **options: Any) -> Told:
    events: list[Event] = []
    return Told(run(plan, source(text), out=out, listen=events.append, **options), events)


@pytest.fixture(scope="module")
def done(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Told:
    return told(plan, tmp_path_factory.mktemp("runs") / "first")


@pytest.fixture(scope="module")
def tables(plan: Plan) -> data.Tables:
    return data.read(plan.data).tables


def logits(weights: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """The net of the spec, written out."""
    kernels = [weights[name] for name in sorted(weights) if weights[name].ndim == 2]
    biases = [weights[name] for name in sorted(weights) if weights[name].ndim == 1]
    assert [kernel.shape for kernel in kernels] == [(4, 8), (8, 3)]
    hidden = np.maximum(features.astype(np.float64) @ kernels[0] + biases[0], 0)
    return hidden @ kernels[1] + biases[1]


# ---------------------------------------------------------------- what it writes


def test_the_folder_holds_what_was_asked_and_what_happened(done: Told, plan: Plan) -> None:
    where = done.result.folder
    assert sorted(each.name for each in where.iterdir()) == [
        "accepted",
        "events.jsonl",
        "report.json",
        "run.json",
        "spec.ev3",
    ]
    assert (where / "spec.ev3").read_text() == SPEC
    record = json.loads((where / "run.json").read_text())
    assert record["seed"] == plan.seed
    assert record["device"] == "cpu"
    assert {"jax", "numpy", "python", "ev3lang"} <= record["versions"].keys()
    assert len(record["semantic_hash"]) == 64


def test_events_come_in_order(done: Told) -> None:
    kinds = [type(event) for event in done.events]
    # one flower of iris is there twice
    assert kinds[:3] == [RunStarted, Warned, Compiled]
    assert [event.iteration for event in done.iterations] == list(range(1, 9))
    assert kinds[11:13] == [Closed, RunEnded]
    lines = (done.result.folder / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["iteration"] * 8 + ["closed", "ended"]


def test_the_report_has_the_fields_that_machines_read(done: Told) -> None:
    report = done.report
    assert report["outcome"] == "iterations"
    assert report["iterations"] == 8
    assert report["acceptances"] == len(report["evidence"]) >= 1
    assert "at most 5%" in report["rule"]
    assert set(report["metrics"]) == {"report"}
    assert set(report["metrics"]["report"]) == {"accepted", "current", "plain"}
    for values in report["metrics"]["report"].values():
        assert set(values) == {"accuracy", "log_loss", "macro_f1", "size"}
        for name in ("accuracy", "log_loss", "macro_f1"):
            assert values[name]["low"] <= values[name]["value"] <= values[name]["high"]
        assert values["accuracy"]["examples"] == 15
        assert values["size"]["value"] == 4 * 8 + 8 + 8 * 3 + 3
    assert {"compile_s", "training_s", "report_s"} <= report["timings"].keys()
    assert from_json(report) == done.result.report


def test_the_report_is_what_the_saved_weights_do_on_the_report_split(
    done: Told, tables: data.Tables
) -> None:
    with np.load(done.result.folder / "accepted" / "weights.npz", allow_pickle=False) as saved:
        scores = logits(dict(saved), tables["report"]["features"])
    labels, guesses = tables["report"]["label"], scores.argmax(1)
    shown = done.report["metrics"]["report"]["accepted"]
    right = int((guesses == labels).sum())
    interval = wilson(right, 15)
    assert shown["accuracy"] == {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "examples": 15,
    }
    chances = np.exp(scores - scores.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    log_loss = -np.log(chances[np.arange(15), labels]).mean()
    assert shown["log_loss"]["value"] == pytest.approx(log_loss, rel=1e-4)
    macro = f1_score(labels, guesses, average="macro")
    assert shown["macro_f1"]["value"] == pytest.approx(macro, abs=1e-6)
    (table,) = done.report["tables"]["report"]["accepted"].values()
    assert np.asarray(table).sum() == 15
    assert np.trace(np.asarray(table)) == right


def test_differences_are_paired(done: Told, tables: data.Tables) -> None:
    compared = {(each["other"], each["metric"]) for each in done.report["comparisons"]}
    assert compared == {
        (other, metric)
        for other in ("current", "plain")
        for metric in ("accuracy", "log_loss", "macro_f1")
    }
    by = {(each["other"], each["metric"]): each for each in done.report["comparisons"]}
    values = done.report["metrics"]["report"]
    for (other, metric), each in by.items():
        difference = values["accepted"][metric]["value"] - values[other][metric]["value"]
        assert each["value"] == pytest.approx(difference, abs=1e-6)
    # without a pair that differs the interval is that of no difference at all
    if by["current", "accuracy"]["value"] == 0:
        assert by["current", "accuracy"]["high"] >= tango(0, 0, 15).high - 1e-9


def test_scores_of_events_have_intervals_on_assess(done: Told, tables: data.Tables) -> None:
    examples = len(tables["assess"]["label"])
    for event in done.iterations:
        for candidate in event.candidates:
            score = candidate.scores["accuracy"]
            assert score.examples == examples
            assert score == wilson(round(score.value * examples), examples)


# ---------------------------------------------------------------- that it repeats


def test_two_runs_of_one_seed_write_the_same_events_and_weights(
    done: Told, plan: Plan, tmp_path: Path
) -> None:
    again = told(plan, tmp_path / "again")
    for name in ("events.jsonl", "accepted/weights.npz", "accepted/models.json"):
        first = (done.result.folder / name).read_bytes()
        assert first == (again.result.folder / name).read_bytes(), name
    same = {"metrics", "comparisons", "candidates", "evidence", "asked", "tables"}
    for key in same:
        assert done.report[key] == again.report[key], key


def test_another_seed_is_another_run(done: Told, plan: Plan, tmp_path: Path) -> None:
    other = told(attrs.evolve(plan, seed=1), tmp_path / "other")
    first = (done.result.folder / "events.jsonl").read_text()
    assert first != (other.result.folder / "events.jsonl").read_text()


# ---------------------------------------------------------------- how it ends


def interrupting(plan: Plan, out: Path, at: int, times: int) -> tuple[list[Event], Any]:
    events: list[Event] = []
    plan = attrs.evolve(plan, stop=StopPlan(100_000, None, (), False))

    def listen(event: Event) -> None:
        events.append(event)
        number = event.iteration if isinstance(event, IterationDone) else 0
        if number == at or (at == 0 and isinstance(event, RunStarted)):
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return events, lambda: run(plan, source(SPEC), out=out, listen=listen)


def test_an_interrupted_run_ends_in_order_and_claims_nothing(plan: Plan, tmp_path: Path) -> None:
    events, go = interrupting(plan, tmp_path / "cut", at=2, times=1)
    result = go()
    assert result.report.outcome is Outcome.INTERRUPTED
    assert result.report.outcome.exit_status == 130
    assert result.report.split == "assess"
    assert set(result.report.metrics) == {result.report.delivered, "current"}
    assert 2 <= result.report.iterations < 100_000
    assert not any(isinstance(event, Closed) for event in events)
    report = json.loads((result.folder / "report.json").read_text())
    assert set(report["metrics"]) == {"assess"}
    assert "report" not in report["metrics"]
    lines = (result.folder / "events.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["outcome"] == "interrupted"
    assert (result.folder / "accepted" / "weights.npz").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_interrupt_ends_at_once_with_whole_lines(plan: Plan, tmp_path: Path) -> None:
    _, go = interrupting(plan, tmp_path / "cut", at=2, times=2)
    with pytest.raises(KeyboardInterrupt):
        go()
    for line in (tmp_path / "cut" / "events.jsonl").read_text().splitlines():
        json.loads(line)
    assert not (tmp_path / "cut" / "report.json").exists()


def test_an_interrupt_before_the_first_iteration_leaves_nothing(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, go = interrupting(plan, None, at=0, times=1)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        go()
    assert list((tmp_path / "runs").iterdir()) == []


def test_time_ends_a_run_by_its_own_stop(plan: Plan, tmp_path: Path) -> None:
    timed = attrs.evolve(plan, stop=StopPlan(None, 0.3, (), False), baselines=())
    result = told(timed, tmp_path / "timed").result
    assert result.report.outcome is Outcome.TIME
    assert result.report.outcome.exit_status == 0
    assert result.report.split == "report"
    assert result.report.iterations >= 1


def test_a_run_that_loses_everything_ends_with_its_own_status(tmp_path: Path) -> None:
    text = SPEC.replace("adamw(1e-2), sgd(0.1) for", "sgd(1e38) for").replace("8 iter", "200 iter")
    result = told(plan_of(text), tmp_path / "lost", text).result
    assert result.report.outcome is Outcome.ALL_LOST
    assert result.report.outcome.exit_status == 3
    assert result.report.iterations == 50
    assert result.report.tried[0].quarantined == 50
    assert result.report.split == "assess"


def test_an_endless_source_runs(tmp_path: Path) -> None:
    result = told(plan_of(STREAM), tmp_path / "stream", STREAM).result
    assert result.report.outcome is Outcome.ITERATIONS
    assert result.report.metrics[result.report.delivered]["accuracy"].examples == 256


# ---------------------------------------------------------------- what it refuses


def test_data_that_do_not_fit_leave_nothing(plan: Plan, tmp_path: Path) -> None:
    large = attrs.evolve(plan, data=attrs.evolve(plan.data, batch=1000))
    with pytest.raises(DataError, match="batch of 1000"):
        run(large, source(SPEC), out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there_leaves_nothing(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="there is no tpu here: jax sees cpu"):
        run(plan, source(SPEC), on="tpu", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(autouse=True)
def default_signals() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
