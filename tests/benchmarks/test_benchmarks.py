"""The benchmarks run, and compare like with like."""

from __future__ import annotations

import math

import attrs
import jax
import numpy as np
import pytest

from benchmarks import by_hand, floor, plain, published
from benchmarks.__main__ import measure
from benchmarks.workloads import WORKLOADS, Workload
from ev3lang.backend import models
from ev3lang.plan.fuse import fuse


@pytest.fixture(scope="module")
def tiny() -> Workload:
    """Workload A with few steps."""
    workload = WORKLOADS["A"]()
    candidates = tuple(attrs.evolve(each, steps=2) for each in workload.plan.descents)
    return attrs.evolve(workload, plan=attrs.evolve(workload.plan, descents=candidates))


def test_every_loop_runs_more_than_once(tiny: Workload) -> None:
    for loop in (floor.bare(tiny), published.loop(tiny)):
        loop()
        loop()


def test_the_plain_loop_runs_more_than_once() -> None:
    workload = WORKLOADS["B"]()
    candidates = tuple(attrs.evolve(each, steps=2) for each in workload.plan.descents)
    run = plain.loop(attrs.evolve(workload, plan=attrs.evolve(workload.plan, descents=candidates)))
    run()
    run()


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
    assert lowered == {"A": ["vmap"], **{name: ["one body"] for name in "BCDE"}}


@pytest.mark.parametrize("name", sorted(set(WORKLOADS) - {"E"}))
def test_a_net_by_hand_has_the_plans_shapes_and_as_much_to_learn(name: str) -> None:
    (model,) = WORKLOADS[name]().plan.models
    net = by_hand.net(model)
    params = jax.eval_shape(net.start, jax.random.key(0))
    tokens = model.takes == "tokens"
    x = jax.ShapeDtypeStruct((3, *model.input), np.int32 if tokens else np.float32)
    scores, after = jax.eval_shape(lambda p, x: net.forward(p, x, True), params, x)
    assert scores.shape == (3, *model.output.dimensions)
    assert jax.tree.structure(after) == jax.tree.structure(params)
    learned, _ = by_hand.parted(params)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(learned))
    assert count == models.parameters(model)
