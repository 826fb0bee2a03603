"""The comparisons with plain training are paired and right, and the page shows what was kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.stats

import ev3lang
from benchmarks import compare, few_labels, page, paired
from benchmarks.__main__ import PAGES, RESULTS, TABLES
from ev3lang.analysis import analyze
from ev3lang.runtime import data
from ev3lang.source import Source
from ev3lang.syntax.format import format_source


@pytest.fixture(scope="module")
def tiny() -> dict[str, Any]:
    """Wine with two seeds of two iterations."""
    return compare.measure(["wine"], seeds=[0, 1], iterations=2)


# ---------------------------------------------------------------- pairs


def test_a_gain_is_the_paired_t_interval() -> None:
    ours, theirs = [90.0, 92.0, 95.0, 91.0], [89.0, 92.0, 92.5, 91.5]
    found = paired.gain(ours, theirs, less_is_better=False)
    low, high = scipy.stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert found["mean"] == pytest.approx(0.75)
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-3)
    assert (found["better"], found["worse"], found["equal"]) == (2, 1, 1)
    turned = paired.gain(ours, theirs, less_is_better=True)
    assert (turned["mean"], turned["better"]) == (-0.75, 1)
    assert turned["low"] == pytest.approx(-high, abs=1e-3)


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([1.0, 1.1, 0.9], "better"),
        ([-1.0, -1.1, -0.9], "worse"),
        ([1.0, -1.1, 0.9], "noise"),
        ([0.0, 0.0], "noise"),
        ([5.0], "noise"),
    ],
)
def test_what_an_interval_does_not_show_is_called_noise(gains: list[float], said: str) -> None:
    found = paired.gain(gains, [0.0] * len(gains), less_is_better=False)
    assert paired.verdict(found) == said
    assert f"| {said} |" in paired.cells(found)


# ---------------------------------------------------------------- the comparison


def test_baselines_take_as_many_steps_as_is_said(tiny: dict[str, Any]) -> None:
    steps = tiny["sets"]["wine"]["gradient_steps"]
    # four candidates of 50 steps, twice
    for name in ("adam", "momentum", "adam_on_all"):
        assert steps[name] == [400, 400]
    assert steps["adam_as_long"] == steps["accepted"]
    assert max(steps["current"]) <= 100
    assert set(steps["adam_stopped"]) <= {50, 100, 200, 400}


def test_gains_are_those_of_the_worth_beside_them(tiny: dict[str, Any]) -> None:
    found = tiny["sets"]["wine"]
    assert set(found["worth"]) == {*compare.SEARCHED, *compare.BASELINES}
    for model in compare.SEARCHED:
        for baseline in compare.BASELINES:
            differences = np.subtract(
                found["worth"][model]["each"], found["worth"][baseline]["each"]
            )
            kept = found["gains"][model][baseline]
            assert kept["mean"] == pytest.approx(float(np.mean(differences)), abs=1e-3)
            assert kept["better"] == int(np.sum(differences > 1e-6))
    # of 53 examples, in per cent
    counts = np.asarray([each["each"] for each in found["worth"].values()]) * 53 / 100
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-3)


def test_the_table_says_every_baseline(tiny: dict[str, Any]) -> None:
    said = compare.tables(tiny)
    for words in compare.BASELINES.values():
        assert f"| wine | {words} |" in said
    assert "| 71 + 27 + 27, 53 |" in said


def test_every_seed_draws_its_own_split_and_more_examples_are_all_but_report() -> None:
    plan = ev3lang.load(compare.SPECS / "wine.ev3").plan
    first, second = (data.read(compare.with_split(plan, seed).data).tables for seed in (0, 1))
    assert not np.array_equal(first["report"]["label"], second["report"]["label"])
    merged = compare._merged(first)
    assert len(merged["explore"]["label"]) == 178 - len(first["report"]["label"])
    assert merged["report"] is first["report"]


def test_a_baseline_stops_where_assess_is_best() -> None:
    plan = ev3lang.load(compare.SPECS / "diabetes.ev3").plan
    dataset = data.read(plan.data)
    program = compare.program_of(plan, dataset.tables, dataset.statistics)
    adam = plan.baselines[0]
    length, weights = compare.stopped_early(program, plan, adam, 250)
    errors = {
        each: compare.worth_on(
            program, plan, program.train_baseline(jax.random.key(0), adam, each), "assess"
        )
        for each in (50, 100, 200, 250)
    }
    assert length == min(errors, key=errors.__getitem__)
    assert compare.worth_on(program, plan, weights, "assess") == errors[length]
    # in the unit of the target, whose deviation is 77
    assert 30 < errors[length] < 90


# ---------------------------------------------------------------- few labels


def test_the_ways_differ_in_images_and_splits_alone() -> None:
    plan = ev3lang.load(few_labels.SPEC).plan
    plans = {
        (images, draw): few_labels._changed(plan, 5, images, draw, None)
        for images in few_labels.IMAGES
        for draw in few_labels.DRAWS
    }
    fixed, drawn = few_labels.DRAWS
    for images in few_labels.IMAGES:
        assert plans[images, fixed].data.split == plan.data.split
        assert plans[images, drawn].data.split.seed == 5
        assert [each.is_same_lineage for each in plans[images, fixed].baselines] == [False, True]
    image = data.read(plans["normalised", fixed].data).tables["explore"]["image"]
    assert float(np.mean(image)) == pytest.approx(0, abs=1e-4)
    assert data.read(plans["as they come", fixed].data).tables["explore"]["image"].min() == 0


@pytest.mark.slow
def test_few_labels_are_compared_in_pairs() -> None:
    ways = [("normalised", few_labels.DRAWS[1])]
    result = few_labels.measure([4], seeds=[0, 1], ways=ways, iterations=2)
    found = result["ways"][0]["widths"]["4"]
    assert found["gradient_steps"]["without_teacher"] == [1200, 1200]
    assert found["gradient_steps"]["as_long"] == found["gradient_steps"]["accepted"]
    difference = np.subtract(
        found["worth"]["current"]["each"], found["worth"]["without_teacher"]["each"]
    )
    kept = found["gains"]["current"]["without_teacher"]["mean"]
    assert kept == pytest.approx(float(np.mean(difference)), abs=1e-3)
    assert "| normalised | a draw for each seed | 4 |" in few_labels.tables(result)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("task", compare.TASKS)
def test_a_spec_of_the_comparison_checks_and_keeps_its_layout(task: str) -> None:
    path = compare.SPECS / f"{task}.ev3"
    source = Source(str(path), path.read_text("utf-8"))
    assert analyze(source).diagnostics == ()
    assert format_source(source) == source.text


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_page_shows_the_kept_tables(name: str) -> None:
    kept = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    text = (page.DOCS / PAGES[name]).read_text("utf-8")
    assert f"<!-- {name} -->\n\n{TABLES[name].tables(kept)}\n\n<!-- end of {name} -->" in text
    assert kept["repeat"] in text


def test_a_table_is_put_between_its_marks(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("a\n<!-- one -->\n\nold\n\n<!-- end of one -->\nb\n", "utf-8")
    for _ in range(2):
        page.put(file, "one", r"| \1 |")
        expected = "a\n<!-- one -->\n\n| \\1 |\n\n<!-- end of one -->\nb\n"
        assert file.read_text("utf-8") == expected
    with pytest.raises(ValueError, match=r"page\.md has no place for two"):
        page.put(file, "two", "")
