"""Roll-outs that become longer when progress stops: as if the spec had said so from there on."""

from __future__ import annotations

from typing import Any

import attrs
import jax
import numpy as np
import pytest

from ev3lang.backend.emit import Program, emit
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Patience, Plan
from tests.plan import examples


def longer(plan: Plan, *, most: int, patience: Patience) -> Plan:
    descents = tuple(attrs.evolve(each, most=most) for each in plan.descents)
    return attrs.evolve(plan, descents=descents, patience=patience)


# A step this small moves no verdict: after the first iteration there is no progress.
STILL = attrs.evolve(
    examples.PLAN,
    descents=(
        examples.candidate(examples.cross_entropy(examples.logits), examples.sgd(1e-6)),
        examples.candidate(examples.cross_entropy(examples.logits), examples.sgd(1e-7)),
    ),
)
PLAN = longer(STILL, most=40, patience=Patience(2, 3.0))


def program_of(plan: Plan) -> Program:
    tables = {} if plan.data.is_endless else examples.clouds()
    return emit(fuse(plan, "cpu"), tables)


def steps_of(program: Program, count: int, state: Any = None) -> tuple[Any, list[list[int]]]:
    state = program.init(jax.random.key(0)) if state is None else state
    found = []
    for _ in range(count):
        state, record = program.step(state)
        found.append(record.steps.tolist())
    return state, found


def test_roll_outs_grow_by_the_factor_after_so_many_iterations_up_to_their_most() -> None:
    first = STILL.descents[0].steps
    _, found = steps_of(program_of(PLAN), 9)
    # the first iteration is a new best; two without progress follow each time
    lengths = [first] * 3 + [min(40, 3 * first)] * 2 + [40] * 4
    assert found == [[each] * 2 for each in lengths]


@pytest.mark.parametrize("lowering", ["one body", "vmap"])
def test_a_longer_roll_out_is_that_of_a_plan_with_as_many_steps(lowering: str) -> None:
    def lowered(plan: Plan) -> Program:
        fused = fuse(plan, "cpu")
        rollouts = tuple(attrs.evolve(each, lowering=lowering) for each in fused.rollouts)
        return emit(attrs.evolve(fused, rollouts=rollouts), examples.clouds())

    program = lowered(PLAN)
    state, found = steps_of(program, 3)
    after, record = program.step(state)
    (steps, _) = record.steps.tolist()
    assert steps > found[-1][0]
    plain = attrs.evolve(
        STILL, descents=tuple(attrs.evolve(each, steps=steps) for each in STILL.descents)
    )
    expected, plain_record = lowered(plain).step(attrs.evolve(state, progress=None))
    np.testing.assert_allclose(record.loss, plain_record.loss, rtol=1e-5)
    for ours, theirs in ((after.current, expected.current), (after.streams, expected.streams)):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), ours, theirs
        )
    assert int(after.current_steps) == int(expected.current_steps)
    assert int(after.descended) == int(state.descended) + 2 * steps


def test_an_acceptance_or_a_new_best_is_progress() -> None:
    plan = longer(examples.PLAN, most=100, patience=Patience(3, 2.0))
    program = program_of(plan)
    state = program.init(jax.random.key(0))
    best, stalled = -np.inf, 0
    for _ in range(8):
        state, record = program.step(state)
        current = float(record.current[0])
        is_progress = current > best or int(record.decision) == 2
        best = max(best, current)
        stalled = 0 if is_progress else stalled + 1
        stalled = 0 if stalled == 3 else stalled
        assert int(state.progress.stalled) == stalled


def test_endless_data_have_batches_for_longer_roll_outs() -> None:
    still = tuple(
        attrs.evolve(each, optimizer=examples.sgd(1e-7 * (k + 1)), name=f"still {k}")
        for k, each in enumerate(examples.MOONS.descents)
    )
    plan = longer(
        attrs.evolve(examples.MOONS, descents=still, move="when better"),
        most=30,
        patience=Patience(1, 2.0),
    )
    state, found = steps_of(program_of(plan), 12)
    assert max(max(each) for each in found) > still[0].steps
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.current))
