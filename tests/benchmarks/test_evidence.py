"""The benchmarks of evidence run whole runs, and what they plant is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats

from benchmarks import moves, planted, promise
from benchmarks.__main__ import RESULTS
from benchmarks.whole import ENDLESS, whole
from ev3lang.backend.sources import gaussian_clusters
from ev3lang.backend.state import Decision

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


def test_a_whole_run_is_as_long_as_its_plan_says_and_makes_its_last_query() -> None:
    plan = promise.ROWS[0].plan(5)
    state, records, closing = whole(plan)(promise.noise(plan, 0), jax.random.key(0))
    assert records.iteration.tolist() == [1, 2, 3, 4, 5]
    assert np.isneginf(state.log_budget)
    assert int(closing.decision) in list(Decision)


def test_made_up_labels_tell_nothing_and_every_run_has_its_own() -> None:
    plan = promise.ROWS[0].plan(5)
    first, second = (promise.noise(plan, seed).splits for seed in (0, 1))
    assert {split: len(each["label"]) for split, each in first.items()} == promise.SIZES
    assert not np.array_equal(first["adapt"]["label"], second["adapt"]["label"])
    for feature in np.asarray(first["adapt"]["point"]).T:
        assert scipy.stats.pearsonr(feature, first["adapt"]["label"]).pvalue > 1e-3


QUICK = (promise.ROWS[0], promise.ROWS[-1])
SLOW = [pytest.param(row, marks=pytest.mark.slow) for row in promise.ROWS if row not in QUICK]


@pytest.mark.parametrize("row", [*QUICK, *SLOW], ids=lambda row: f"{row.name}, {row.aim.about}")
def test_few_runs_on_noise_accept_anything(row: promise.Row) -> None:
    result = promise.measure([row], runs=4, iterations=6)
    (found,) = result["rows"]
    assert found["share"] == 25 * found["runs_that_accepted"]
    assert found["low"] <= found["share"] <= found["high"]
    # one run in twenty may: three of four do so in one of two thousand tables
    assert found["runs_that_accepted"] <= 2
    assert promise.table(result).count("\n") == 2


@pytest.mark.parametrize("kind", ["groups", "series"])
def test_groups_and_series_tell_nothing_and_are_counted_as_the_spec_says(kind: str) -> None:
    """Neighbours are alike, labels and points apart from each other."""
    counted, *_, single = promise.TABLES[kind]
    tables = promise.TABLES_OF[kind](0)
    assert {split: len(each["label"]) for split, each in tables.items()} == {
        **promise.SIZES,
        "report": promise.REPORTED,
    }
    labels = tables["adapt"]["label"]
    alike = np.mean(labels[1:] == labels[:-1])
    # of series the sign of a process that remembers 0.9: 1/2 + asin(0.9) / pi
    assert alike == pytest.approx(0.86 if kind == "series" else 0.97, abs=0.06)
    data = promise.data_of(counted.plan(5), tables)
    expected = promise.SIZES["adapt"] // promise.BLOCK if kind == "series" else 40
    assert data.units["adapt"].count == expected
    assert promise.data_of(single.plan(5), tables).units == {}


@pytest.mark.parametrize("row", [promise.GROUPED[0], promise.SERIES[0]], ids=["groups", "series"])
def test_rows_on_groups_measure_intervals_too(row: promise.Row) -> None:
    result = promise.measure([row], runs=4, iterations=6)
    (found,) = result["rows"]
    assert found["runs_that_accepted"] <= 2
    assert found["intervals_that_hold_the_truth"] in (0.0, 25.0, 50.0, 75.0, 100.0)
    assert "95% intervals that hold the truth" in promise.table(result)


def test_the_bound_for_chance_is_the_binomials() -> None:
    assert scipy.stats.binom.cdf(promise.most(400), 400, 0.05) >= 0.95
    assert scipy.stats.binom.cdf(promise.most(400) - 1, 400, 0.05) < 0.95


def test_the_planted_gain_is_there() -> None:
    distance, angle = planted.planted()
    plan = planted._plan(distance, 1)
    start = planted.turned(plan, distance, angle)
    state, _, _ = whole(plan, start)(ENDLESS, jax.random.key(0))
    begin = planted.accuracy(start, distance)
    assert planted.accuracy(state.current, distance) - begin == pytest.approx(0.01, abs=5e-4)
    drawn = gaussian_clusters(
        jax.random.key(1), 400_000, classes=2, distance=distance, dimensions=2
    )
    along, across = np.asarray(drawn["point"]).T
    says = (along * np.cos(angle) + across * np.sin(angle) < 0).astype(int)
    best = (along < 0).astype(int)
    assert np.mean(says == drawn["label"]) == pytest.approx(begin, abs=4e-3)
    assert np.mean(says != best) == pytest.approx(planted.differing(distance, angle), abs=2e-3)
    assert planted.differing(distance, angle) == pytest.approx(0.10, abs=1e-6)


@pytest.mark.slow
def test_challengers_find_a_planted_gain() -> None:
    result = planted.measure(runs=5)
    assert result["iteration of the first acceptance, median"] <= 12


@pytest.mark.slow
def test_rules_of_moving_are_compared_in_pairs() -> None:
    wine = next(task for task in moves.TASKS if task.source == "wine")
    result = moves.measure([wine], splits=[0, 1], seeds=[0])
    assert set(result["sets"]) == {"wine", "all"}
    rules = result["sets"]["wine"]
    assert rules["always"]["worth"]["moved"]["mean"] == 100
    assert rules["when better"]["worth"]["moved"]["mean"] < 50
    first = rules["unless worse"]["worth"]["current"]["mean"]
    for move, found in rules.items():
        beside = found["beside unless worse"]["current"]["mean"]
        gain = found["worth"]["current"]["mean"] - first
        assert beside == pytest.approx(gain, abs=0.02)
        assert f"| wine | `{move}` |" in moves.table(result)


@pytest.mark.parametrize(
    ("benchmark", "name"),
    [
        (moves, "moves"),
        (promise, "promise"),
        (promise, "promise_groups"),
        (promise, "promise_series"),
    ],
)
def test_the_page_on_evidence_shows_the_kept_table(benchmark: Any, name: str) -> None:
    kept = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    assert benchmark.table(kept) in (DOCS / "evidence.md").read_text("utf-8")
    assert kept["repeat"] in (DOCS / "evidence.md").read_text("utf-8")
