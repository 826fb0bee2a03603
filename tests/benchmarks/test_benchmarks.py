"""The benchmarks run, and compare like with like."""

from __future__ import annotations

import attrs
import jax
import numpy as np
import pytest

from benchmarks import floor, published
from benchmarks.__main__ import measure
from benchmarks.workloads import WORKLOADS, Workload
from ev3lang.plan.fuse import fuse


@pytest.fixture(scope="module")
def tiny() -> Workload:
    """Workload A with few steps."""
    workload = WORKLOADS["A"]()
    candidates = tuple(attrs.evolve(each, steps=2) for each in workload.plan.candidates)
    return attrs.evolve(workload, plan=attrs.evolve(workload.plan, candidates=candidates))


def test_every_loop_runs_more_than_once(tiny: Workload) -> None:
    for loop in (floor.bare(tiny), published.loop(tiny)):
        loop()
        loop()


def test_a_result_holds_ratios_and_what_they_come_from(tiny: Workload) -> None:
    result = measure(tiny, rounds=1)
    median = result["median_ms"]
    assert result["ratios"] == {
        "times faster than published": median["published"] / median["ours"],
        "times the floor": median["ours"] / median["floor"],
    }


def test_the_workloads_are_lowered_as_was_measured() -> None:
    lowered = {
        name: [group.lowering for group in fuse(workload().plan, "cpu").rollouts]
        for name, workload in WORKLOADS.items()
    }
    assert lowered == {"A": ["vmap"], "B": ["one body"]}


def test_the_floors_net_has_the_plans_shapes() -> None:
    for workload in WORKLOADS.values():
        plan = workload().plan
        (model,) = plan.models
        params = floor._start(plan, jax.random.key(0))
        x = np.zeros((3, *model.input), np.float32)
        assert floor._forward(params, x).shape == (3, *model.output.dimensions)
