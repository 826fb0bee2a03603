"""Whole runs that are judged by several values, and what they tell of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from ev3lang import load_model
from ev3lang.analysis import analyze
from ev3lang.compile import experiment
from ev3lang.outcome import Outcome
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.run import Result, run
from ev3lang.source import Source

SPEC = """\
ev3 1

data iris = sklearn.iris() {{ batch 16; normalize features }}
model net: features -> logits(label) = mlp(hidden: [8])
let guess = net(features)
loss entropy = cross_entropy(guess, label)
objective accuracy target 99% = maximize argmax(guess) == label
objective log_loss target 0.01 = minimize clip(entropy, 0, 4)
metric top2 = label in top_k(guess, 2)
metric macro_f1 = f1(argmax(guess), label)
explore net {{ descend entropy with adamw(1e-2), sgd(0.1) for 10 steps }}
assess net {{ {assess} }}
adapt net {{ accept when {accept}; stop after {iterations} iterations }}
{more}
"""


def ran(
    where: Path,
    assess: str = "rank by accuracy",
    accept: str = "accuracy improves",
    *,
    iterations: int = 8,
    more: str = "",
    text: str = SPEC,
) -> Result:
    source = Source(
        "judged.ev3",
        text.format(assess=assess, accept=accept, iterations=iterations, more=more),
    )
    return run(experiment(analyze(source)).plan, source, out=where / "run")


def events(result: Result) -> list[dict[str, Any]]:
    lines = (result.folder / "events.jsonl").read_text().splitlines()
    return [each for each in map(json.loads, lines) if each["event"] == "iteration"]


def test_each_acceptance_has_its_evidence_once_the_run_is_over(tmp_path: Path) -> None:
    report = ran(tmp_path).report
    assert report.outcome is Outcome.ITERATIONS
    assert report.acceptances
    for acceptance in report.acceptances:
        proof = acceptance.proof
        assert proof is not None and proof.wins is not None and proof.losses is not None
        total = proof.wins + proof.losses
        expected = scipy.stats.binomtest(proof.wins, total, alternative="greater").pvalue
        assert proof.p == pytest.approx(expected, rel=1e-3)
        assert acceptance.level is not None and proof.p <= acceptance.level
    assert "at most 5%" in report.claim
    assert "examples that chose nothing else" in report.claim


def test_no_event_of_a_run_knows_the_proof(tmp_path: Path) -> None:
    result = ran(tmp_path)
    text = (result.folder / "events.jsonl").read_text()
    assert '"proof"' not in text
    assert json.loads((result.folder / "report.json").read_text())["evidence"][0]["proof"]


def test_a_real_value_is_accepted_by_bets_and_shown_with_intervals(tmp_path: Path) -> None:
    result = ran(tmp_path, "rank by log_loss", "log_loss improves by 0.05", iterations=30)
    report = result.report
    assert "betting tests" in report.rule
    assert report.acceptances[0].gain is not None and report.acceptances[0].gain > 0.05
    score = events(result)[-1]["current"]["log_loss"]
    assert score["low"] < score["value"] < score["high"]


def test_a_values_of_a_set_is_accepted_by_the_bootstrap_about(tmp_path: Path) -> None:
    report = ran(
        tmp_path,
        "rank by score",
        "score improves with confidence 80% over the run",
        more="objective score = maximize f1(argmax(guess), label)",
        iterations=30,
    ).report
    assert "at most about 20%" in report.rule
    assert report.acceptances
    assert "approximation" in report.claim


def test_guards_are_told_where_they_break_and_never_accepted(tmp_path: Path) -> None:
    """No model gets nine of ten first two guesses of three wrong: the guard always breaks."""
    result = ran(tmp_path, "rank by accuracy; guard top2 <= 10%")
    assert not result.report.acceptances
    assert result.report.asked
    told = {tuple(each["broken"]) for line in events(result) for each in line["candidates"]}
    assert told == {("top2 <= 10%",)}
    assert result.report.claim == (
        "Nothing was accepted. Nothing was shown to be better than the model the run started "
        "with, and the figures of `start` are that model's."
    )


def test_the_objective_furthest_from_its_target_leads(tmp_path: Path) -> None:
    result = ran(
        tmp_path,
        "prioritize accuracy, log_loss by distance to target",
        "leading objective improves",
    )
    for line, before in zip(events(result)[1:], events(result), strict=False):
        accuracy, log_loss = (before["current"][name]["value"] for name in ("accuracy", "log_loss"))
        # widths of the ranges: 1 and 4
        behind = {"accuracy": 0.99 - accuracy, "log_loss": (log_loss - 0.01) / 4}
        assert line["leading"] == max(behind, key=lambda name: behind[name])


def test_a_front_is_measured_and_kept(tmp_path: Path) -> None:
    result = ran(tmp_path, "rank by pareto(accuracy, log_loss)")
    front = result.report.front
    assert front and len(front) <= 8
    for member in front:
        assert member.name in result.report.metrics[result.report.delivered] or member.name in (
            result.report.metrics
        )
        predict = load_model(result.folder / "front" / member.name.split()[-1])
        assert predict is not None


@pytest.mark.parametrize(
    "assess",
    [
        "rank by accuracy then log_loss",
        "rank by 70% * accuracy + 30% * top2",
        "rank by 2 * accuracy + macro_f1",
    ],
)
def test_rankings_of_several_values_run(tmp_path: Path, assess: str) -> None:
    report = ran(tmp_path, assess).report
    assert report.iterations == 8
    assert report.metrics["current"]["accuracy"].value > 0.5


MOONS = """\
ev3 1

data moons = two_moons(noise: 0.3) {{ batch 32 }}
model net: point -> logits(label) = mlp(hidden: [4])
loss entropy = cross_entropy(net(point), label)
objective accuracy = maximize argmax(net(point)) == label
explore net {{ descend entropy with sgd(0.1) for 10 steps }}
assess net {{ {assess} }}
adapt net {{ accept when {accept}; stop after {iterations} iterations }}
{more}
"""


def test_an_endless_source_has_challengers_whose_bets_are_told(tmp_path: Path) -> None:
    result = ran(tmp_path, text=MOONS, iterations=20)
    report = result.report
    assert "rule challenger" in report.rule
    assert report.acceptances
    first = report.acceptances[0]
    assert first.age >= 1 and first.proof is not None and first.level is not None
    assert first.proof.p <= first.level
    lines = events(result)
    started = [line for line in lines if line["ledger"]["wealth"] is not None]
    assert started
    assert all(line["ledger"]["age"] >= 1 for line in started)


def test_every_decision_may_spend_its_own_level(tmp_path: Path) -> None:
    report = ran(tmp_path, accept="accuracy improves with confidence 95% each time").report
    assert report.budget_left is None
    assert "nothing bounds the run" in report.rule


# ---------------------------------------------------------------- bad input

BROKEN = "objective odd {range} = maximize {value}"


def test_a_value_that_is_no_number_from_the_start_is_refused(tmp_path: Path) -> None:
    more = "metric none = f1(argmax(guess), label)\nobjective odd = maximize none / (none - none)"
    with pytest.raises(DataError, match="odd is no number on the assess split"):
        ran(tmp_path, "rank by accuracy then odd", more=more)
    assert not (tmp_path / "run").exists()


def test_a_range_that_no_value_keeps_to_shows_no_gain_and_says_so(tmp_path: Path) -> None:
    """All errors beyond 0 to 0.001 count the same, so nothing is tested and nothing spent."""
    more = "objective odd in 0 to 0.001 = minimize entropy"
    result = ran(tmp_path, "rank by odd", "odd improves", more=more, iterations=2)
    assert result.report.queries == 0
    assert result.report.delivered == "start"
    written = json.loads((result.folder / "report.json").read_text())
    assert set(written["metrics"]["report"]) == {"start", "current"}
    assert set(written["steps"]) == {"start", "current"}
    (words,) = (each for each in result.report.warnings if each.startswith("odd lay beyond"))
    assert "its range 0 to 0.001 on 23 of 23 assess examples" in words
    assert words.endswith("count such a value as the nearer end of the range")


def test_a_range_that_candidates_leave_bounds_their_claim_alone(tmp_path: Path) -> None:
    """A descent that diverges leaves the range of its log loss: counted, named, ranked as it is."""
    text = SPEC.replace("adamw(1e-2), sgd(0.1)", "sgd(30.0)")
    more = "objective odd in 0 to 6 = minimize entropy"
    result = ran(tmp_path, "rank by odd", "odd improves", text=text, more=more, iterations=3)
    candidates = [each for line in events(result) for each in line["candidates"]]
    left = [each for each in candidates if each["beyond_range"]]
    assert left
    for each in left:
        found = each["beyond_range"]["odd"]
        assert 0 < found["examples"] <= 23
        assert found["greatest"] > 6
    assert not any(each["quarantined"] or each["lost_by"] for each in left)
    assert any("odd lay beyond its range 0 to 6" in each for each in result.report.warnings)


def regression(where: Path, objective: str, outlier: float) -> Path:
    """A line with noise; one example of adapt has a target that no model comes near."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1200, 1)).astype(np.float32)
    y = (3 * x[:, 0] + rng.normal(scale=0.3, size=1200)).astype(np.float32)
    parts = np.repeat(["explore", "assess", "adapt", "report"], 300)
    y[700] = outlier
    rows = [f"{a:.6f},{b:.6f},{part}" for (a,), b, part in zip(x, y, parts, strict=True)]
    (where / "line.csv").write_text("\n".join(["x,y,split", *rows]))
    spec = where / "line.ev3"
    spec.write_text(f"""\
ev3 1
data line = csv("line.csv") {{
  x: f32[1] from columns 1 to 1
  y: f32
  split explore from explore, assess from assess, adapt from adapt, report from report
  batch 32
}}
model net: x -> real = dense(8) | relu | dense
loss squares = squared_error(net(x), y)
{objective}
explore net {{ descend squares with adam(1e-2) for 60 steps }}
assess net {{ rank by mae }}
adapt net {{ accept when mae improves; stop after 6 iterations }}
""")
    return spec


def test_one_value_out_of_range_on_adapt_spends_no_evidence(tmp_path: Path) -> None:
    """The same run but for one target on adapt of 10,000: the same gains are accepted."""
    objective = "objective mae in 0 to 20 = minimize absolute_error(net(x), y)"
    reports = []
    for name, outlier in (("plain", 0.0), ("odd", 10_000.0)):
        (tmp_path / name).mkdir()
        spec = regression(tmp_path / name, objective, outlier)
        source = Source(str(spec), spec.read_text())
        plan = experiment(analyze(source)).plan
        reports.append(run(plan, source, out=tmp_path / name / "run").report)
    plain, odd = reports
    assert len(plain.acceptances) >= 1
    assert [each.iteration for each in odd.acceptances] == [
        each.iteration for each in plain.acceptances
    ]
    assert odd.queries == plain.queries


def test_a_value_on_adapt_that_is_not_finite_is_told_apart_once_the_run_is_over(
    tmp_path: Path,
) -> None:
    """The logarithm of a negative number, on one example of adapt alone."""
    value = "clip(absolute_error(net(x), y) + 0 * log(1_000 - y), 0, 20)"
    spec = regression(tmp_path, f"objective mae = minimize {value}", 10_000.0)
    source = Source(str(spec), spec.read_text())
    result = run(experiment(analyze(source)).plan, source, out=tmp_path / "run")
    assert result.report.queries >= 1
    assert result.report.acceptances == ()
    (told,) = (each for each in result.report.warnings if "a value on adapt" in each)
    assert "rejected since a value on adapt was not finite" in told
    # while the run goes on nothing of adapt but its answer is told
    assert all("finite" not in each["why"] for each in events(result))


def test_a_split_of_one_class_has_no_auc(tmp_path: Path) -> None:
    """Ordered by the time they came, all of the assess split's patients are of one kind."""
    time = np.arange(200)
    rows = [f"{t},{np.sin(t):.3f},{int(80 <= t < 160)}" for t in time]
    (tmp_path / "patients.csv").write_text("\n".join(["day,level,ill", *rows]))
    text = """\
ev3 1

data patients = csv("patients.csv") {{
  day: f32
  level: f32
  ill: class[2]
  split explore 40%, assess 20%, adapt 20%, report 20% ordered by day
  batch 16
}}
model net: level -> logits(ill) = mlp(hidden: [4])
loss entropy = cross_entropy(net(level), ill)
objective auc = maximize roc_auc(net(level), ill)
explore net {{ descend entropy with adamw(1e-2) for 5 steps }}
assess net {{ rank by auc }}
adapt net {{ accept when auc improves; stop after {iterations} iterations }}
"""
    source = Source(str(tmp_path / "judged.ev3"), text.format(iterations=3))
    with pytest.raises(DataError, match="auc is no number on the assess split"):
        run(experiment(analyze(source)).plan, source, out=tmp_path / "run")


def test_a_constant_value_is_never_accepted(tmp_path: Path) -> None:
    more = "objective flat in 0 to 1 = maximize clip(entropy, 0, 0.4) > 0.5"
    report = ran(tmp_path, "rank by flat", "flat improves", more=more).report
    assert not report.acceptances
    assert report.queries == 0
