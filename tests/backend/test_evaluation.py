"""Draws from finite splits, and iterations under rule `reference` that they are measured on."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np

from ev3lang.backend import evaluation
from ev3lang.backend.emit import Program, emit
from ev3lang.backend.state import Decision
from ev3lang.backend.streams import Data
from ev3lang.outcome import Outcome
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Claim, Guard, Plan, Reference, StopPlan
from tests.plan import examples

CLAIM = Claim(examples.ACCURACY, 1.0, 0.0, "mcnemar")


def ruled(decide: float = 0.5, evaluate: int | None = 4, **changes: Any) -> Plan:
    """Two candidates under rule `reference`."""
    rule = Reference((CLAIM,), 0.5, decide, evaluate)
    descents = examples.FOUR.descents[:2]
    return attrs.evolve(examples.FOUR, **{"rule": rule, "descents": descents, **changes})


@functools.cache
def emitted(plan: Plan) -> Program:
    return emit(fuse(plan, "cpu"), examples.clouds())


def iterated(program: Program, count: int) -> tuple[Any, list[Any]]:
    state, records = program.init(jax.random.key(0)), []
    for _ in range(count):
        state, record = program.step(state)
        records.append(record)
    return state, records


def assert_equal(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


# ---------------------------------------------------------------- draws


def drawn(plan: Plan, count: int) -> list[dict[str, np.ndarray]]:
    """The rows of consecutive draws."""
    splits = {
        use: {name: jnp.asarray(field) for name, field in fields.items()}
        for use, fields in examples.clouds().items()
    }
    key = jax.random.key(0)
    streams = evaluation.start(plan, Data(splits, {}, {}), key)
    draw = jax.jit(lambda streams: evaluation.draw(plan, key, streams))
    found = []
    for _ in range(count):
        streams, rows = draw(streams)
        found.append({use: np.asarray(each) for use, each in rows.items()})
    return found


def test_no_example_stands_twice_in_an_epoch_of_draws() -> None:
    """Three draws of 64 fit into the 200 examples of a split."""
    found = drawn(ruled(), 6)
    for use in ("assess", "adapt"):
        for epoch in (found[:3], found[3:]):
            rows = np.concatenate([each[use] for each in epoch])
            assert len(set(rows)) == len(rows) == 192
            assert rows.min() >= 0
            assert rows.max() < 200


def test_draws_of_assess_adapt_and_epochs_differ() -> None:
    first, *_, later = drawn(ruled(), 4)
    assert not np.array_equal(first["assess"], first["adapt"])
    assert not np.array_equal(first["assess"], later["assess"])


def test_only_the_published_rule_draws_from_finite_splits() -> None:
    assert evaluation.examples_drawn(ruled()) == 64
    assert evaluation.examples_drawn(ruled(evaluate=None)) is None
    assert evaluation.examples_drawn(examples.FOUR) is None
    assert evaluation.examples_drawn(examples.MOONS) is None
    assert not evaluation.is_new_each_time(examples.FOUR)
    assert evaluation.is_new_each_time(examples.MOONS)


# ---------------------------------------------------------------- iterations


def test_a_segment_is_its_iterations() -> None:
    program = emitted(ruled())
    state, records = iterated(program, 5)
    again, ring, filled, _ = program.segment(program.init(jax.random.key(0)), 5, False)
    assert int(filled) == 5
    assert_equal(state.current, again.current)
    assert_equal(state.accepted, again.accepted)
    assert_equal(state.streams, again.streams)
    assert [int(each.decision) for each in records] == list(np.asarray(ring.decision[:5]))


def test_every_iteration_measures_both_models_on_its_own_draw() -> None:
    """So the accepted model's score changes though the model doesn't."""
    _, records = iterated(emitted(ruled(decide=50.0)), 4)
    assert all(int(each.decision) == Decision.REJECTED for each in records)
    assert len({float(each.accepted[0]) for each in records}) > 1


def test_there_is_no_last_query_and_no_budget() -> None:
    program = emitted(ruled(stop=StopPlan(4, None, (), False)))
    state, _, filled, closing = program.segment(program.init(jax.random.key(0)), 10, False)
    assert int(filled) == 4
    assert int(state.outcome) == Outcome.ITERATIONS
    assert int(closing.decision) == Decision.NOT_ASKED
    assert np.isneginf(state.log_budget)


def test_a_winner_that_breaks_a_guard_is_never_accepted() -> None:
    free, _ = iterated(emitted(ruled()), 8)
    impossible = Claim(examples.ACCURACY, 0.0, 2.0, "mcnemar")
    guard = Guard("accuracy >= 2", impossible, is_strict=False, is_proven=False)
    barred, records = iterated(emitted(ruled(guards=(guard,))), 8)
    start = emitted(ruled()).init(jax.random.key(0)).current
    assert int(free.accepted_steps) > 0
    assert_equal(barred.accepted, start)
    assert all(int(each.decision) == Decision.REJECTED for each in records)


def test_where_every_candidate_is_lost_nothing_changes() -> None:
    huge = attrs.evolve(examples.FOUR.descents[0], optimizer=examples.sgd(1e38))
    program = emitted(ruled(descents=(huge,)))
    state, records = iterated(program, 2)
    assert all(int(each.decision) == Decision.NOT_ASKED for each in records)
    assert all(int(each.chosen) == -1 for each in records)
    start = program.init(jax.random.key(0)).current
    assert_equal(state.current, start)
    assert_equal(state.accepted, start)


def test_outputs_that_are_not_finite_on_adapt_are_plain_rejections() -> None:
    tables = examples.clouds()
    tables["adapt"]["point"][:] = np.nan
    program = emit(fuse(ruled(), "cpu"), tables)
    state, records = iterated(program, 3)
    assert all(int(each.decision) == Decision.REJECTED for each in records)
    assert not any(bool(each.moved) for each in records)
    assert_equal(state.accepted, program.init(jax.random.key(0)).current)
