"""What the comparison of growth counts, and that its kept figures hang together."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import ev3lang
from benchmarks import compare, growth
from benchmarks.__main__ import RESULTS
from ev3lang.analysis import analyze
from ev3lang.plan import stages
from ev3lang.source import Source
from ev3lang.syntax.format import format_source

FORWARD = {8 * 2**k: 2 * (64 * 8 * 2**k + 8 * 2**k * 10) for k in range(5)}
"""Floating-point operations of one image through a net of so many hidden units, by hand."""

ITERATION = 3 * (3 * 40 * 64 + 270)
"""Images that three candidates take in an iteration, forward and backward, and on assess."""


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "growth.json").read_text("utf-8"))
    return found


def parameters_of(width: int) -> int:
    return 64 * width + width + 10 * width + 10


def test_an_iteration_is_counted_as_by_hand() -> None:
    plan = ev3lang.load(growth.SPEC).plan
    sizes = [plan.architecture, *(rung.architecture for rung in stages.ladder(plan))]
    assert [growth.iteration_flops(plan, each) for each in sizes] == [
        ITERATION * forward for forward in FORWARD.values()
    ]


def test_every_search_is_charged_for_the_sizes_that_it_had(kept: dict[str, Any]) -> None:
    cost = {parameters_of(width): ITERATION * forward for width, forward in FORWARD.items()}
    for place, run in enumerate(kept["stages"]):
        iterations = [stage["last"] - stage["first"] + 1 for stage in run]
        by_hand = sum(
            count * cost[stage["parameters"]] for stage, count in zip(run, iterations, strict=True)
        )
        searches = kept["searches"]
        assert searches["grows"]["gflops"]["each"][place] == pytest.approx(by_hand / 1e9, abs=1e-3)
        as_costly = searches["largest_as_costly"]["iterations"][place]
        assert abs(as_costly * cost[parameters_of(128)] - by_hand) <= cost[parameters_of(128)]
        assert searches["grows"]["gradient_steps"][place] == 120 * sum(iterations)
        for name in ("largest", "smallest"):
            assert searches[name]["gradient_steps"][place] == 120 * sum(iterations)


def test_gains_are_those_of_the_worth_beside_them(kept: dict[str, Any]) -> None:
    for model in compare.SEARCHED:
        ours = kept["searches"][growth.GROWS]["worth"][model]["each"]
        for name in growth.BESIDE:
            differences = np.subtract(ours, kept["searches"][name]["worth"][model]["each"])
            found = kept["gains"][model][name]
            assert found["mean"] == pytest.approx(float(np.mean(differences)), abs=1e-3)
            assert found["better"] == int(np.sum(differences > 1e-6))


def test_the_spec_of_the_comparison_checks_and_keeps_its_layout() -> None:
    source = Source(str(growth.SPEC), growth.SPEC.read_text("utf-8"))
    assert analyze(source).diagnostics == ()
    assert format_source(source) == source.text


@pytest.mark.slow
def test_searches_are_compared_in_pairs() -> None:
    result = growth.measure(seeds=[0, 1], iterations=3)
    searches = result["searches"]
    assert searches["largest"]["iterations"] == [3, 3]
    assert searches["smallest"]["parameters"] == [parameters_of(8)] * 2
    assert searches["largest"]["parameters"] == [parameters_of(128)] * 2
    assert growth.tables(result).count("| 3 |") >= 3
