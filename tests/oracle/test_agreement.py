"""The compiled program does what the slow interpreter says, decision for decision."""

from __future__ import annotations

from typing import Any

import attrs
import jax
import numpy as np
import pytest

from ev3lang.backend.emit import Program, emit
from ev3lang.catalog.signature import Type
from ev3lang.outcome import Outcome
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import (
    Apply,
    Challenger,
    Claim,
    Condition,
    Constant,
    Forward,
    Gate,
    Guard,
    ObjectivePlan,
    Patience,
    Plan,
    Ranking,
    StopPlan,
    Weights,
)
from tests.oracle import interpreter
from tests.plan import examples

WORDS = (
    "chosen",
    "moved",
    "leading",
    "decision",
    "wins",
    "losses",
    "outcome",
)


CLIPPED = ObjectivePlan(
    "clipped",
    Apply(
        "clip",
        (examples.cross_entropy(examples.logits),),
        Type("real"),
        "example",
        (("low", 0.0), ("high", 3.0)),
    ),
    "minimize",
    None,
    (0.0, 3.0),
)
BOUNDED = ObjectivePlan(
    "bounded",
    examples.cross_entropy(examples.logits),
    "minimize",
    None,
    (0.2, 1.0),
    clips=True,
)
"""Values go beyond both ends of its stated range: to 0, and above 1 before anything is learned."""

AIMED = (
    attrs.evolve(examples.ACCURACY, target=0.8),
    attrs.evolve(CLIPPED, name="aimed", target=0.6),
)
moons_claim = Claim(examples.MOONS_ACCURACY, 1.0, 0.0, "betting")


def _guard(measure: ObjectivePlan, factor: float, margin: float, *, is_proven: bool) -> Guard:
    return Guard(
        f"{measure.name} in time", Claim(measure, factor, margin, "betting"), False, is_proven
    )


def _l2(factor: float) -> Apply:
    size = Apply("l2", (Weights("net"),), Type("real"), "model")
    return Apply("*", (Constant(factor, Type("real")), size), Type("real"), "model")


def _decayed() -> Plan:
    """A loss with a term of the model itself, and a candidate whose optimizer starts anew."""
    entropy = examples.cross_entropy(examples.logits)
    loss = Apply("+", (entropy, _l2(1e-2)), Type("real"), "example")
    return attrs.evolve(
        examples.PLAN,
        descents=(
            examples.candidate(loss, examples.sgd(0.05), loss_name="decayed"),
            examples.candidate(entropy, examples.adam(1e-2), keeps_state=False),
        ),
    )


def _grouped() -> Plan:
    """A trunk and a head explored as one, the head applied to what the trunk makes."""
    hidden = Type("f32", (4,))
    trunk = examples.mlp("trunk", 6, input=(examples.FEATURES,), output=hidden)
    head = examples.mlp("head", 5, input=(4,), output=examples.LOGITS)
    logits = Forward("head", (Forward("trunk", (examples.point,), hidden),), examples.LOGITS)
    entropy = examples.cross_entropy(logits)
    accuracy = ObjectivePlan("accuracy", examples.right(logits), "maximize", None, None)
    return attrs.evolve(
        examples.PLAN,
        models=(trunk, head),
        explored="both",
        descents=(
            examples.candidate(entropy, examples.sgd(0.1)),
            examples.candidate(entropy, examples.adam(1e-2)),
        ),
        objectives=(accuracy,),
        ranking=examples.by(accuracy),
        rule=examples.gate(accuracy),
        shown=(),
        baselines=(),
    )


def _normed() -> Plan:
    """Batch norm, whose running statistics judge what its batches' own trained."""
    net = examples.normed("net", 5, input=(examples.FEATURES,), output=examples.LOGITS)
    return attrs.evolve(
        examples.FOUR, models=(net,), descents=examples.FOUR.descents[:2], move="always"
    )


def _in_parts() -> Plan:
    """Batches in parts, and weight decay that spares the biases."""
    decaying = attrs.evolve(examples.adamw(1e-2, weight_decay=0.3), decays="matrices")
    entropy = examples.cross_entropy(examples.logits)
    return attrs.evolve(
        examples.PLAN,
        descents=(
            examples.candidate(entropy, examples.sgd(0.1), parts=4),
            examples.candidate(entropy, decaying, parts=2),
        ),
    )


def _in_groups(plan: Plan, objective: ObjectivePlan) -> Plan:
    """Acceptance by the gains of whole groups."""
    split = attrs.evolve(plan.data.split, by="who", method="grouped")
    return attrs.evolve(
        plan,
        data=attrs.evolve(plan.data, split=split),
        rule=Gate((Claim(objective, 1.0, 0.0, "betting"),), 0.05),
    )


def grouped(tables: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    """Tables whose examples are in groups of one to five, larger ones in adapt."""
    rng = np.random.default_rng(4)
    return {
        use: {
            **table,
            "who": rng.permutation(
                np.repeat(np.arange(len(table["label"])), rng.integers(1, 6, len(table["label"])))[
                    : len(table["label"])
                ]
            ),
        }
        for use, table in tables.items()
    }


PLANS = {
    "one candidate": examples.PLAN,
    "four candidates": examples.FOUR,
    "a frozen teacher": examples.TAUGHT,
    "a term of the model": _decayed(),
    "two models as one": _grouped(),
    "batch norm": _normed(),
    "batches in parts, decay of matrices": _in_parts(),
    "minimize": attrs.evolve(
        examples.FOUR,
        objectives=(examples.LOG_LOSS, examples.ERROR),
        ranking=examples.by(examples.ERROR),
        rule=examples.gate(examples.ERROR, 0.1),
        shown=(),
    ),
    "ranked by a real, moved when better": attrs.evolve(
        examples.FOUR, ranking=examples.by(examples.LOG_LOSS), move="when better"
    ),
    "fresh batches, moved always": attrs.evolve(
        examples.FOUR, batches="fresh", move="always", descents=examples.FOUR.descents[:2]
    ),
    "several lengths": attrs.evolve(
        examples.FOUR,
        descents=tuple(
            attrs.evolve(each, steps=steps)
            for each, steps in zip(examples.FOUR.descents[:3], (8, 40, 8), strict=True)
        ),
    ),
    "endless, by questions": examples.MOONS,
    "endless, by challengers": attrs.evolve(
        examples.MOONS, rule=Challenger((moons_claim,), 0.05), move="unless worse"
    ),
    "challengers with a guard and a margin": attrs.evolve(
        examples.MOONS,
        rule=Challenger((attrs.evolve(moons_claim, margin=0.01),), 0.2),
        guards=(_guard(examples.MOONS_ACCURACY, 0.0, 0.5, is_proven=True),),
    ),
    "a real value": attrs.evolve(
        examples.FOUR,
        objectives=(CLIPPED, examples.ACCURACY),
        ranking=examples.by(CLIPPED),
        rule=Gate((Claim(CLIPPED, 1.0, 0.02, "betting"),), 0.05),
        shown=(),
    ),
    "a real value beyond its range": attrs.evolve(
        examples.FOUR,
        objectives=(BOUNDED,),
        ranking=examples.by(BOUNDED),
        rule=Gate((Claim(BOUNDED, 1.0, 0.0, "betting"),), 0.05),
        shown=(),
    ),
    "a front with values beyond a range": attrs.evolve(
        examples.FOUR, ranking=Ranking("pareto", (examples.ACCURACY, BOUNDED))
    ),
    "one then the other": attrs.evolve(
        examples.FOUR, ranking=examples.by(examples.ACCURACY, CLIPPED)
    ),
    "a front": attrs.evolve(
        examples.FOUR, ranking=Ranking("pareto", (examples.ACCURACY, CLIPPED)), move="when better"
    ),
    "the one that leads": attrs.evolve(
        examples.FOUR,
        ranking=Ranking("priority", AIMED),
        rule=Gate(
            (Claim(AIMED[0], 1.0, 0.0, "mcnemar"), Claim(AIMED[1], 1.0, 0.0, "betting")), 0.05
        ),
    ),
    "guards": attrs.evolve(
        examples.FOUR,
        guards=(
            _guard(CLIPPED, 1.0, -0.05, is_proven=False),
            _guard(examples.ACCURACY, 0.0, 0.4, is_proven=True),
        ),
    ),
    "roll-outs that become longer": attrs.evolve(
        examples.FOUR,
        descents=tuple(attrs.evolve(each, most=25) for each in examples.FOUR.descents[:2]),
        patience=Patience(1, 1.5),
    ),
    "groups": _in_groups(examples.FOUR, examples.ACCURACY),
    "groups of a real value, one then the other": _in_groups(
        attrs.evolve(
            examples.FOUR,
            objectives=(CLIPPED, examples.ACCURACY),
            ranking=examples.by(CLIPPED, examples.ACCURACY),
            guards=(_guard(examples.ACCURACY, 0.0, 0.1, is_proven=True),),
            shown=(),
        ),
        CLIPPED,
    ),
    "each time": attrs.evolve(
        examples.FOUR, rule=attrs.evolve(examples.gate(examples.ACCURACY), is_each_time=True)
    ),
}


def emitted(plan: Plan, lowering: str | None = None) -> tuple[Plan, Program, Any]:
    tables = {} if plan.data.is_endless else examples.clouds()
    if plan.data.split is not None and plan.data.split.method == "grouped":
        tables = grouped(tables)
    fused = fuse(plan, "cpu")
    if lowering is not None:
        rollouts = tuple(attrs.evolve(each, lowering=lowering) for each in fused.rollouts)
        fused = attrs.evolve(fused, rollouts=rollouts)
    return plan, emit(fused, tables), tables


def agree(plan: Plan, program: Program, tables: Any, iterations: int) -> list[int]:
    """Asserts that every iteration is as foretold from the state before; gives the decisions."""
    state = program.init(jax.random.key(plan.seed))
    decisions = []
    for _ in range(iterations):
        foretold = interpreter.iterate(plan, tables, state)
        state, record = program.step(state)
        for word in WORDS:
            assert int(getattr(record, word)) == int(getattr(foretold, word)), word
        np.testing.assert_array_equal(record.is_finite, foretold.is_finite)
        # The fused program adds in another order than the interpreter: float32 rounding over
        # some forty steps, where Adam divides by small numbers.
        np.testing.assert_allclose(record.loss, foretold.loss, rtol=1e-4)
        np.testing.assert_allclose(record.scores, foretold.scores, rtol=1e-4, atol=1e-5)
        for ours, theirs in (
            (state.current, foretold.current),
            (state.accepted, foretold.accepted),
        ):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), ours, theirs
            )
        np.testing.assert_allclose(record.power, foretold.power, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(record.log_level, foretold.log_level, rtol=1e-5)
        np.testing.assert_allclose(state.log_budget, foretold.log_budget, rtol=1e-5)
        assert int(state.current_steps) == foretold.current_steps
        assert int(state.accepted_steps) == foretold.accepted_steps
        decisions.append(foretold.decision)
    return decisions


@pytest.mark.parametrize("name", PLANS)
def test_every_iteration_is_the_interpreters(name: str) -> None:
    plan, program, tables = emitted(PLANS[name])
    decisions = agree(plan, program, tables, 15)
    assert 2 in decisions, "a plan that never accepts shows little"


def test_the_plans_ask_and_are_refused_too() -> None:
    """With clouds that lie apart little, assess promises more than adapt keeps."""
    plan = attrs.evolve(examples.FOUR, rule=examples.gate(examples.ACCURACY, 0.9), seed=3)
    tables = {**examples.clouds(), "adapt": examples.clouds(seed=1)["adapt"]}
    decisions = agree(plan, emit(fuse(plan, "cpu"), tables), tables, 15)
    assert 1 in decisions


@pytest.mark.parametrize("lowering", ["one body", "vmap", "apart"])
def test_every_lowering_is_the_interpreters(lowering: str) -> None:
    agree(*emitted(examples.FOUR, lowering), 4)


def test_a_run_closes_with_the_interpreters_last_query() -> None:
    plan, program, tables = emitted(attrs.evolve(examples.FOUR, stop=StopPlan(6, None, (), False)))
    state = program.init(jax.random.key(0))
    for _ in range(6):
        state, _ = program.step(state)
    wins, losses, decision = interpreter.close(plan, tables, state)
    before = np.exp(state.log_budget)
    assert int(state.outcome) == Outcome.ITERATIONS
    state, _, filled, closing = program.segment(state, 10, False)
    assert int(filled) == 0
    assert (int(closing.wins), int(closing.losses)) == (wins, losses)
    assert int(closing.decision) == decision
    np.testing.assert_allclose(np.exp(closing.log_level), before, rtol=1e-6)
    assert np.isneginf(state.log_budget)


def test_a_condition_ends_the_run_when_the_interpreter_says_so() -> None:
    stop = StopPlan(15, None, ((Condition("accuracy", ">=", 0.6),),), False)
    plan, program, tables = emitted(attrs.evolve(examples.FOUR, stop=stop))
    state = program.init(jax.random.key(0))
    while int(state.outcome) == Outcome.RUNNING:
        foretold = interpreter.iterate(plan, tables, state)
        state, _ = program.step(state)
        assert int(state.outcome) == foretold.outcome
    assert int(state.outcome) == Outcome.CONDITION
