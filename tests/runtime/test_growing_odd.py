"""Growth beside whatever else a spec may ask for, and at the odd moments of a run."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import pytest

import ev3lang
from ev3lang.outcome import Outcome
from ev3lang.runtime.events import Closed, Event, Grown, IterationDone, RunEnded
from tests.runtime.ran import ran

SPEC = """\
ev3 1

data iris = sklearn.iris() {
  split explore 40%, assess 25%, adapt 25%, report 10% stratified by label
  batch 16
  normalize features
}
model net: features -> logits(label) = mlp(hidden: [2])

loss entropy = cross_entropy(net(features), label)
objective accuracy = maximize argmax(net(features)) == label
metric size = parameters(net)

explore net { descend entropy with sgd(0.1, momentum: 0.9) for 4 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  after 1 iterations without progress { grow by widen(2x); limit size <= 60 }
  stop after 8 iterations
}
report { show accuracy, size }
"""

SIZES = {width: 4 * width + width + width * 3 + 3 for width in (2, 4)}
"""Weights and biases of nets with one hidden layer, counted by hand."""


def spec(changes: Mapping[str, str]) -> str:
    text = SPEC
    for words, others in changes.items():
        assert words in text, words
        text = text.replace(words, others)
    return text


# ---------------------------------------------------------------- beside growth


def test_every_kind_of_candidate_goes_on_in_a_group_that_grows(tmp_path: Path) -> None:
    text = spec(
        {
            "model net: features -> logits(label) = mlp(hidden: [2])": (
                "model trunk: features -> f32[4] = dense(6) | relu | dense(4) | relu\n"
                "model head: f32[4] -> logits(label) = dense(5) | relu | dense\n"
                "group both = trunk, head"
            ),
            "net(features)": "head(trunk(features))",
            "parameters(net)": "parameters(trunk) + parameters(head)",
            " net {": " both {",
            "size <= 60": "size <= 200\n    lengthen exploration 1.5x up to 9 steps",
            "for 4 steps }": "for 4 steps\n"
            "  evolve accuracy with evolution_strategy(population: 4, sigma: 0.05) "
            "for 2 generations\n"
            "  perturb with gaussian(0.01) for 2 draws\n"
            "  average last 2 accepted\n"
            "  mutate learning_rate by 0.8x or 1.25x\n"
            "  batches fresh\n"
            "  state reset\n"
            "}",
            "accuracy improves": "accuracy improves with confidence 60% each time",
            "stop after 8": "stop after 10",
        }
    )
    found = ran(text, tmp_path / "run")
    grown = found.of(Grown)
    assert [set(each.parameters) for each in grown] == [{"trunk", "head"}] * len(grown)
    assert grown
    assert all(each.max_output_change < 1e-5 for each in grown)
    events = {event.iteration: event for event in found.of(IterationDone)}
    first, last = events[1], events[10]
    names = {each.name for each in first.candidates}
    assert names <= {each.name for each in last.candidates}
    descended = max(each.steps for each in last.candidates)
    # patience ends again where no growth is left, too
    assert min(9, round(4 * 1.5 ** len(grown))) <= descended <= 9
    after = events[grown[0].iteration + 1]
    kinds = ("sgd", "evolution_strategy", "gaussian")
    for kind in kinds:
        found_there = [each for each in after.candidates if kind in each.name]
        assert found_there, kind
        assert all(not each.is_quarantined for each in found_there), kind


def test_a_network_in_bf16_with_dropout_and_few_labels_grows(tmp_path: Path) -> None:
    text = spec(
        {
            "ev3 1\n": "ev3 1\n\nexperiment odd { precision bf16 }\n",
            "normalize features": "normalize features\n  derive shown = label\n"
            "  shown known for 20 examples",
            "features), label)": "features), shown)",
            "mlp(hidden: [2])": "dense(2) | relu | dropout(10%) | dense",
        }
    )
    found = ran(text, tmp_path / "run")
    (grown,) = found.of(Grown)
    assert grown.parameters == {"net": SIZES[4]}
    assert grown.max_output_change < 4 * 2**-8, "a few roundings of bf16, which has 8 bits"
    assert found.ended == RunEnded(Outcome.ITERATIONS, 8)
    weights = ev3lang.load_model(found.result.folder).params
    assert {leaf.dtype for leaf in jax.tree.leaves(weights)} == {np.dtype("float32")}


def test_a_guard_on_size_keeps_accepted_small_while_current_grows(tmp_path: Path) -> None:
    text = spec({"rank by accuracy": "rank by accuracy\n  guard size <= accepted + 10"})
    found = ran(text, tmp_path / "run")
    (grown,) = found.of(Grown)
    report = found.result.report
    assert report.metrics["current"]["size"].value == SIZES[4]
    assert report.metrics[report.delivered]["size"].value == SIZES[2]
    for event in found.of(IterationDone):
        is_larger = event.iteration > grown.iteration
        assert all(bool(each.broken) == is_larger for each in event.candidates)
        assert event.decision != "accepted" or not is_larger


def test_members_of_an_archive_teach_on_augmented_examples_and_fresh_batches(
    tmp_path: Path,
) -> None:
    text = spec(
        {
            "normalize features": "normalize features\n"
            "  augment features with gaussian_noise(0.02)",
            "loss entropy =": "archive peers of net { keep best accuracy per size }\n"
            "loss taught = kl_divergence(softmax(peers(features)), softmax(net(features)))\n"
            "loss entropy =",
            "descend entropy with": "descend entropy, taught with",
            "for 4 steps }": "for 4 steps; batches fresh }",
            "accuracy improves": "accuracy improves with confidence 60% each time",
            "size <= 60 }": "size <= 60; restart from smallest }",
            "stop after 8": "stop after 12",
        }
    )
    found = ran(text, tmp_path / "run")
    grown = found.of(Grown)
    assert grown[0].members, "the first model that is accepted"
    members = {each.iteration: each.members for each in grown}
    taught: tuple[str, ...] = ()
    for event in found.of(IterationDone):
        names = [each.name for each in event.candidates if each.name.startswith("taught")]
        assert [name.rpartition(" from ")[2] for name in names] == list(taught)
        assert not any(each.is_quarantined for each in event.candidates)
        taught = members.get(event.iteration, taught)


HOST = """\
def accuracy(logits, label):
    return (logits.argmax(-1) == label).mean()
"""


def test_a_function_on_the_host_scores_models_of_every_size(tmp_path: Path) -> None:
    (tmp_path / "host_scores.py").write_text(HOST, encoding="utf-8")
    text = spec(
        {
            "metric size": "extern host fn scored(logits[n], class[n]) -> real "
            'from "host_scores:accuracy"\n'
            "metric by_host = scored(net(features), label)\nmetric size",
            "rank by accuracy": "rank by accuracy\n  guard by_host >= 1%",
            "show accuracy, size": "show accuracy, by_host, size",
        }
    )
    found = ran(text, tmp_path / "run", allow_python=["host_scores"])
    (grown,) = found.of(Grown)
    assert grown.parameters == {"net": SIZES[4]}
    for event in found.of(IterationDone):
        by_host = event.current["by_host"].value
        assert by_host == pytest.approx(event.current["accuracy"].value, abs=1e-6)
    metrics = found.result.report.metrics["current"]
    assert metrics["by_host"].value == pytest.approx(metrics["accuracy"].value, abs=1e-6)


ENDLESS = """\
ev3 1
data moons = two_moons() { batch 256 }
model net: point -> logits(label) = mlp(hidden: [2])
loss entropy = cross_entropy(net(point), label)
objective accuracy = maximize argmax(net(point)) == label
metric size = parameters(net)
explore net { descend entropy with sgd(0.5, momentum: 0.9) for 20 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  evaluate 4 batches
  after 2 iterations without progress { grow by widen(3x); limit size <= 40 }
  stop after 60 iterations or when accuracy >= 95%
}
report { show accuracy, size }
"""


def test_a_challenger_of_a_larger_size_takes_the_place_of_a_smaller_accepted(
    tmp_path: Path,
) -> None:
    found = ran(ENDLESS, tmp_path / "run")
    (grown,) = found.of(Grown)
    later = [
        each
        for each in found.of(IterationDone)
        if each.iteration > grown.iteration + 1 and each.decision == "accepted"
    ]
    assert later, "six units tell the moons apart better than two"
    report = found.result.report
    assert report.metrics[report.delivered]["size"].value == grown.parameters["net"]
    model = ev3lang.load_model(found.result.folder)
    assert sum(leaf.size for leaf in jax.tree.leaves(model.params)) == grown.parameters["net"]


# ---------------------------------------------------------------- odd moments

BEST_OF = {
    "grow by widen(2x)": "grow by best of widen(2x), deepen(1)",
    "size <= 60": f"size <= {SIZES[4]}",
}


@pytest.mark.slow
def test_a_run_may_end_in_the_iteration_before_a_growth_or_in_a_trial(tmp_path: Path) -> None:
    whole = ran(spec(BEST_OF), tmp_path / "whole")
    grown = whole.of(Grown)[0]
    assert len(grown.trials) == 2
    events = {each.iteration: each for each in whole.of(IterationDone)}
    for name, last, growths in (
        ("before", grown.iteration, 0),
        ("trial", grown.iteration + 1, 1),
    ):
        stopped = ran(spec({**BEST_OF, "stop after 8": f"stop after {last}"}), tmp_path / name)
        assert stopped.ended == RunEnded(Outcome.ITERATIONS, last)
        assert len(stopped.of(Grown)) == growths
        found = stopped.of(IterationDone)
        assert [each.iteration for each in found] == list(range(1, last + 1))
        assert found[-1].current == events[last].current
        (closed,) = stopped.of(Closed)
        report = stopped.result.report
        if closed.decision == "accepted":
            sizes = report.metrics["current"]["size"], report.metrics[report.delivered]["size"]
            assert sizes[0] == sizes[1]
        assert sum(1 for _ in stopped.of(Closed)) == 1


def test_time_ends_a_run_while_it_grows(tmp_path: Path) -> None:
    text = spec({"stop after 8 iterations": "stop after 1 s", "size <= 60": "size <= 100_000"})
    found = ran(text, tmp_path / "run")
    assert found.ended.outcome is Outcome.TIME
    assert found.ended.iterations < 1000
    assert found.result.report.split == "report"
    assert ev3lang.load_model(found.result.folder)


def test_ctrl_c_at_a_growth_ends_the_run_in_order(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Grown):
            signal.raise_signal(signal.SIGINT)

    found = ran(spec({}), tmp_path / "run", listen=interrupt)
    (grown,) = found.of(Grown)
    assert found.ended == RunEnded(Outcome.INTERRUPTED, grown.iteration + 1)
    folder = found.result.folder
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [each["event"] for each in lines][-3:] == ["growth", "iteration", "ended"]
    report = json.loads((folder / "report.json").read_text())
    assert report["outcome"] == "interrupted"
    assert ev3lang.load_model(folder)


def test_a_second_ctrl_c_ends_a_growth_at_once(tmp_path: Path) -> None:
    told: list[Event] = []

    def insist(event: Event) -> None:
        if told and isinstance(told[-1], Grown):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        told.append(event)

    with pytest.raises(KeyboardInterrupt):
        ran(spec({}), tmp_path / "run", listen=insist)
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "growth"


def test_a_users_own_loop_stays_at_the_first_size(tmp_path: Path) -> None:
    path = tmp_path / "spec.ev3"
    path.write_text(spec(BEST_OF), encoding="utf-8")
    program = ev3lang.load(path).compile()
    state = program.init(jax.random.key(0))
    shapes = jax.tree.map(np.shape, state.current)
    for _ in range(12):
        state, record = program.step(state)
    assert int(state.iteration) == int(record.iteration) == 12
    assert jax.tree.map(np.shape, state.current) == shapes
    assert program.traces.count("step") == 1
