"""A whole run under rule `reference`: what it tells, and what it keeps to itself."""

from __future__ import annotations

import json

import attrs
import pytest

from ev3lang.analysis import analyze
from ev3lang.compile import experiment
from ev3lang.plan.plan import Plan, Reference
from ev3lang.runtime.events import Closed, Event, IterationDone
from ev3lang.runtime.report import from_json, to_json
from ev3lang.runtime.run import Result, run
from ev3lang.source import Source

SPEC = """\
ev3 1

data iris = sklearn.iris() {
  batch 4
  normalize features
  split explore 40%, assess 25%, adapt 25%, report 10% stratified by label
}
model net: features -> logits(label) = mlp(hidden: [8])
loss entropy = cross_entropy(net(features), label)
objective log_loss = minimize entropy
objective accuracy = maximize argmax(net(features)) == label
explore net { descend entropy with sgd(0.1), sgd(0.3) for 10 steps }
assess net { rank by log_loss }
adapt net {
  accept when log_loss improves
  rule reference(decide: 0.5)
  evaluate 6 batches
  stop after 12 iterations
}
"""


@attrs.frozen(eq=False)
class Told:
    plan: Plan
    result: Result
    events: list[Event]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Told:
    events: list[Event] = []
    source = Source("iris.ev3", SPEC)
    plan = experiment(analyze(source)).plan
    out = tmp_path_factory.mktemp("run") / "out"
    return Told(plan, run(plan, source, out=out, listen=events.append), events)


def iterations(done: Told) -> list[IterationDone]:
    return [each for each in done.events if isinstance(each, IterationDone)]


def test_the_spec_is_planned_with_its_widths_and_draws(done: Told) -> None:
    rule = done.plan.rule
    assert isinstance(rule, Reference)
    assert (rule.assess, rule.decide, rule.evaluate) == (0.5, 0.5, 6)
    assert rule.objective.name == "log_loss"


def test_scores_are_of_the_draw(done: Told) -> None:
    assert {each.accepted["accuracy"].examples for each in iterations(done)} == {24}


def test_the_run_accepts_without_a_level_or_a_budget(done: Told) -> None:
    accepted = [each for each in iterations(done) if each.decision == "accepted"]
    assert accepted
    for each in accepted:
        assert each.why == "on adapt its lower bound lies above accepted's upper bound"
        assert each.accepted == each.current
    report = done.result.report
    assert len(report.acceptances) == len(accepted)
    assert report.budget_left is None
    assert all(each.level is None and each.proof is None for each in report.acceptances)


def test_no_line_of_the_log_has_a_figure_of_adapt(done: Told) -> None:
    lines = (done.result.folder / "events.jsonl").read_text("utf-8").splitlines()
    for line in map(json.loads, lines):
        if line["event"] == "iteration":
            told = {name: value for name, value in line["ledger"].items() if value is not None}
            assert told == {"objective": "log_loss", "age": 0}


def test_there_is_no_last_query(done: Told) -> None:
    assert not any(isinstance(each, Closed) for each in done.events)
    assert not any(each.is_closing for each in done.result.report.acceptances)


def test_the_report_says_that_nothing_bounds_the_run(done: Told) -> None:
    assert "nothing bounds the run" in done.result.report.rule
    assert "bounds no error over the run" in done.result.report.claim


def test_the_report_is_read_back_as_it_was(done: Told) -> None:
    assert from_json(json.loads(json.dumps(to_json(done.result.report)))) == done.result.report
