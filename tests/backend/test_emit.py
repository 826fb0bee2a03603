"""What the emitted program promises of a run: the same every time, alone on the device, honest."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ev3lang.backend import models
from ev3lang.backend.adapt import holds
from ev3lang.backend.assess import is_within_one_error, means
from ev3lang.backend.emit import SEGMENT, Program, emit
from ev3lang.backend.keys import named
from ev3lang.backend.state import Decision, Record, RunState
from ev3lang.outcome import Outcome
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Apply, LayerPlan, Layers, ObjectivePlan, Plan, StopPlan
from tests.plan import examples

TABLES = examples.clouds()
LONG = StopPlan(1000, None, (), False)
PLAN = attrs.evolve(examples.FOUR, stop=LONG)


def anew(plan: Plan, tables: Any = TABLES) -> Program:
    return emit(fuse(plan, "cpu"), {} if plan.data.is_endless else tables)


# Compiling is most of what these tests cost: a program is shared where its traces don't matter.
program_of = functools.cache(anew)


def equal(first: Any, second: Any) -> None:
    """Asserts that two trees are the same bit for bit; keys by their data."""

    def bits(leaf: Any) -> np.ndarray:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

    jax.tree.map(lambda a, b: np.testing.assert_array_equal(bits(a), bits(b)), first, second)


def run(program: Program, *, seed: int = 0, count: int = 12) -> tuple[RunState, Record]:
    state, records, filled, _ = program.segment(
        program.init(jax.random.key(seed)), count, is_time_up=False
    )
    return state, jax.tree.map(lambda leaf: np.asarray(leaf)[: int(filled)], records)


@pytest.fixture(scope="module")
def program() -> Program:
    return program_of(PLAN)


# ---------------------------------------------------------------- the same every time


def test_two_runs_of_one_seed_are_the_same_bit_for_bit(program: Program) -> None:
    equal(run(program), run(program))
    equal(run(program), run(anew(PLAN)))


def test_another_seed_is_another_run(program: Program) -> None:
    _, first = run(program)
    _, second = run(program, seed=1)
    assert not np.array_equal(first.loss, second.loss)


def test_a_segment_is_its_steps_and_two_segments_are_one(program: Program) -> None:
    state, records = run(program, count=6)
    stepped = program.init(jax.random.key(0))
    for row in range(6):
        stepped, record = program.step(stepped)
        # A loop on the device is compiled apart from the step alone: equal to rounding.
        jax.tree.map(
            lambda many, one, row=row: np.testing.assert_allclose(
                many[row], one, rtol=1e-5, atol=1e-6
            ),
            records,
            record,
        )
    again = program.init(jax.random.key(0))
    again, *_ = program.segment(again, 2, False)
    again, *_ = program.segment(again, 4, False)
    equal(again, state)


def test_adding_a_candidate_leaves_the_others_numbers_in_the_first_iteration(
    program: Program,
) -> None:
    fewer = attrs.evolve(PLAN, descents=(PLAN.descents[2], PLAN.descents[0]))
    _, all_four = run(program, count=1)
    _, two = run(program_of(fewer), count=1)
    np.testing.assert_allclose(two.scores[0], all_four.scores[0][[2, 0]], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(two.loss[0], all_four.loss[0][[2, 0]], rtol=1e-5)


def test_the_order_of_candidates_in_the_file_changes_nothing() -> None:
    """Twins tie in every iteration: the first by name is chosen wherever it stands."""
    twins = tuple(attrs.evolve(PLAN.descents[0], name=name) for name in ("b", "a", "c"))
    there = program_of(attrs.evolve(PLAN, descents=twins))
    back = program_of(attrs.evolve(PLAN, descents=twins[::-1]))
    _, forwards = run(there, count=3)
    _, backwards = run(back, count=3)
    assert {twins[k].name for k in forwards.chosen} == {"a"}
    assert {twins[::-1][k].name for k in backwards.chosen} == {"a"}
    np.testing.assert_array_equal(forwards.current, backwards.current)


def test_what_is_dropped_depends_on_the_candidates_name_and_not_on_the_lowering() -> None:
    drop = LayerPlan("dropout", (("rate", 0.3),), (6,), (6,))
    layers = Layers((drop, *examples.NET.layers.layers))
    entropy, sgd = examples.cross_entropy(examples.logits), examples.sgd(0.1)
    plan = attrs.evolve(
        PLAN,
        models=(attrs.evolve(examples.NET, layers=layers),),
        descents=tuple(examples.candidate(entropy, sgd, name=name) for name in ("a", "b")),
    )
    fused = fuse(plan, "cpu")
    losses = {}
    for lowering in ("one body", "vmap", "apart"):
        rollouts = tuple(attrs.evolve(each, lowering=lowering) for each in fused.rollouts)
        program = emit(attrs.evolve(fused, rollouts=rollouts), TABLES)
        _, record = program.step(program.init(jax.random.key(0)))
        losses[lowering] = record.loss
    np.testing.assert_allclose(losses["one body"], losses["vmap"], rtol=1e-5)
    np.testing.assert_allclose(losses["one body"], losses["apart"], rtol=1e-5)
    assert losses["vmap"][0] != losses["vmap"][1]
    _, alone = run(program_of(attrs.evolve(plan, descents=plan.descents[1:])), count=1)
    np.testing.assert_allclose(alone.loss[0], losses["vmap"][1:], rtol=1e-5)


# ---------------------------------------------------------------- alone on the device


def test_a_run_is_traced_once() -> None:
    program = anew(PLAN)
    state = program.init(jax.random.key(0))
    for count in (3, 1, 5):
        state, *_ = program.segment(state, count, False)
    program.segment(state, 0, True)
    assert program.traces == ["init", "segment"]


def test_no_segment_calls_the_host() -> None:
    program = program_of(examples.TAUGHT)
    state = program.init(jax.random.key(0))
    text = str(jax.make_jaxpr(lambda state: program.segment(state, 3, False))(state))
    assert "while" in text
    assert "callback" not in text
    assert "infeed" not in text


def test_data_are_arguments_and_not_constants() -> None:
    program = program_of(PLAN)
    state = program.init(jax.random.key(0))
    jaxpr = jax.make_jaxpr(lambda state: program.segment(state, 3, False))(state)
    (inner,) = [each for each in jaxpr.eqns if each.primitive.name in ("jit", "pjit")]
    constants = inner.params["jaxpr"].consts
    assert max((np.size(each) for each in constants), default=0) < 100


def test_a_segment_holds_no_more_records_than_its_ring(program: Program) -> None:
    *_, filled, _ = program.segment(program.init(jax.random.key(0)), SEGMENT + 1, False)
    assert int(filled) == SEGMENT


# ---------------------------------------------------------------- quarantine

DIVERGING = examples.candidate(
    examples.cross_entropy(examples.logits), examples.sgd(1e30), name="diverging"
)


def test_a_diverging_candidate_is_left_out_and_the_others_go_on() -> None:
    alone, both = PLAN.descents[:1], (DIVERGING, PLAN.descents[0])
    state, records = run(program_of(attrs.evolve(PLAN, descents=both)), count=5)
    _, expected = run(program_of(attrs.evolve(PLAN, descents=alone)), count=5)
    np.testing.assert_array_equal(records.is_finite, [[False, True]] * 5)
    assert set(records.chosen) == {1}
    np.testing.assert_allclose(records.current, expected.current, rtol=1e-5, atol=1e-5)
    assert int(state.lost_in_a_row) == 0


def test_a_lost_candidates_optimizer_starts_anew() -> None:
    lost = attrs.evolve(DIVERGING, optimizer=examples.sgd(1e30, 0.9))
    kept = examples.candidate(examples.cross_entropy(examples.logits), examples.sgd(0.1, 0.9))
    state, _ = run(program_of(attrs.evolve(PLAN, descents=(lost, kept))), count=2)
    fresh, used = (jax.tree.leaves(each) for each in state.opt_states)
    assert all(not np.any(leaf) for leaf in fresh)
    assert any(np.any(leaf) for leaf in used)


def test_losing_all_fifty_times_ends_the_run_with_accepted_intact() -> None:
    program = program_of(attrs.evolve(PLAN, descents=(DIVERGING,)))
    start = program.init(jax.random.key(0))
    weights = jax.tree.map(np.asarray, start.accepted)
    state, records, filled, closing = program.segment(start, SEGMENT, False)
    assert int(filled) == 50
    assert int(state.outcome) == Outcome.ALL_LOST
    assert set(np.asarray(records.chosen)[:50]) == {-1}
    assert not np.any(np.asarray(records.moved))
    assert set(np.asarray(records.decision)[:50]) == {Decision.NOT_ASKED}
    equal(state.accepted, weights)
    equal(state.current, weights)
    # It was no stop of the spec's own: the evidence stays open.
    assert np.isfinite(state.log_budget)
    assert int(closing.decision) == Decision.NOT_ASKED


# ---------------------------------------------------------------- the adapt split


def test_nothing_but_the_bit_comes_back_from_adapt(program: Program) -> None:
    """Other adapt labels: until an answer differs, every number of a run is the same."""
    rng = np.random.default_rng(0)
    adapt = {**TABLES["adapt"], "label": rng.permutation(TABLES["adapt"]["label"])}
    state, honest = run(program, count=12)
    other_state, other = run(anew(PLAN, {**TABLES, "adapt": adapt}), count=12)
    differing = np.flatnonzero(honest.decision != other.decision)
    assert len(differing) > 0
    until = differing[0]
    assert until > 0
    equal(*(jax.tree.map(lambda leaf: leaf[:until], each) for each in (honest, other)))
    # At the answer itself, only what the bit decides.
    for name in ("scores", "loss", "chosen", "moved", "current", "wins", "losses", "power"):
        np.testing.assert_array_equal(
            getattr(honest, name)[until], getattr(other, name)[until], err_msg=name
        )
    # Current goes its own way: acceptance never feeds back into it.
    equal(state.current, other_state.current)


def test_an_output_that_is_not_finite_on_adapt_is_a_rejection(program: Program) -> None:
    broken = TABLES["adapt"]["point"].copy()
    broken[0, 0] = np.nan
    _, records = run(program, count=12)
    assert Decision.ACCEPTED in records.decision
    tables = {**TABLES, "adapt": {**TABLES["adapt"], "point": broken}}
    _, rejected = run(anew(PLAN, tables), count=12)
    assert Decision.ACCEPTED not in rejected.decision
    assert Decision.REJECTED in rejected.decision


def test_the_last_query_is_made_once_and_closes_the_evidence(program: Program) -> None:
    state, *_ = program.segment(program.init(jax.random.key(0)), 4, False)
    before = float(state.log_budget)
    state, _, filled, closing = program.segment(state, 4, is_time_up=True)
    assert int(filled) == 0
    assert int(state.outcome) == Outcome.TIME
    assert float(closing.log_level) == before
    assert np.isneginf(closing.log_budget)
    assert int(closing.iteration) == 4
    assert closing.scores.shape[0] == 0
    accepted = jax.tree.map(np.asarray, state.accepted)
    state, _, filled, closing = program.segment(state, 4, is_time_up=True)
    assert int(filled) == 0
    assert int(closing.decision) == Decision.NOT_ASKED
    equal(state.accepted, accepted)


# ---------------------------------------------------------------- how a run ends


def test_a_run_ends_inside_a_segment_at_its_iterations() -> None:
    program = program_of(attrs.evolve(PLAN, stop=StopPlan(3, None, (), False)))
    state, _, filled, closing = program.segment(program.init(jax.random.key(0)), 10, False)
    assert int(filled) == 3
    assert int(state.outcome) == int(closing.outcome) == Outcome.ITERATIONS
    assert np.isneginf(state.log_budget)


def test_a_run_ends_when_all_targets_are_met_in_their_directions() -> None:
    accuracy = attrs.evolve(examples.ACCURACY, target=0.6)
    log_loss = attrs.evolve(examples.LOG_LOSS, target=0.9)
    plan = attrs.evolve(
        PLAN, objectives=(accuracy, log_loss), stop=StopPlan(100, None, (), when_targets_met=True)
    )
    program = program_of(plan)
    state, records, filled, _ = program.segment(program.init(jax.random.key(0)), 100, False)
    assert int(state.outcome) == Outcome.TARGETS
    accepted = np.asarray(records.accepted)[: int(filled)]
    met = (accepted[:, 0] >= 0.6) & (accepted[:, 1] <= 0.9)
    assert met.tolist() == [False] * (int(filled) - 1) + [True]


# ---------------------------------------------------------------- objectives of a set


@pytest.fixture(scope="module")
def by_f1() -> tuple[Program, RunState, Record]:
    f1 = Apply(
        "f1",
        (examples.predicted(examples.logits), examples.label),
        examples.REAL,
        "set",
        (("positive", None),),
    )
    objective = ObjectivePlan("f1_score", f1, "maximize", None, (0.0, 1.0))
    plan = attrs.evolve(
        PLAN, objectives=(objective, examples.ACCURACY), ranking=examples.by(objective)
    )
    program = program_of(plan)
    return (program, *run(program, count=8))


def test_a_set_objective_ranks_by_its_value_on_the_whole_split(
    by_f1: tuple[Program, RunState, Record],
) -> None:
    import sklearn.metrics

    program, state, records = by_f1
    np.testing.assert_array_equal(records.chosen, records.scores[:, :, 0].argmax(axis=1))
    logits = models.apply(
        examples.NET, state.current["net"], TABLES["assess"]["point"], dropout_key=None
    )
    expected = sklearn.metrics.f1_score(
        TABLES["assess"]["label"], np.argmax(logits, axis=1), average="macro"
    )
    np.testing.assert_allclose(records.current[-1, 0], expected, rtol=1e-5)
    measured = program.measure(state.frozen | state.current, program.examples(state.key, "assess"))
    np.testing.assert_allclose(measured["f1_score"], expected, rtol=1e-5)


def test_a_set_objectives_best_candidate_moves_unless_it_is_clearly_worse(
    by_f1: tuple[Program, RunState, Record],
) -> None:
    _, _, records = by_f1
    best = records.scores[:, :, 0].max(axis=1)
    before = np.concatenate([[-np.inf], records.current[:-1, 0]])
    assert np.all(records.moved[best >= before])


# ---------------------------------------------------------------- small laws


def test_the_paired_standard_error_is_compared_without_rounding() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        gains = rng.normal(rng.normal() * 0.2, 1, 30).astype(np.float32)
        error = gains.std(ddof=1) / np.sqrt(30)
        assert bool(is_within_one_error(jnp.asarray(gains))) == (gains.mean() >= -error)
    one_lost = jnp.asarray([0.0] * 299 + [-1.0])
    assert bool(is_within_one_error(one_lost)), "exactly one standard error"
    assert not bool(is_within_one_error(jnp.asarray([0.0] * 298 + [-1.0] * 2)))


def test_a_share_that_equals_a_bound_reaches_it_however_it_rounds() -> None:
    for count in (50, 100, 200, 270, 300):
        values = np.tri(count + 1, count, -1, dtype=np.float32)
        shares = jax.jit(lambda v: means([examples.ACCURACY], {"accuracy": v}))(values)[:, 0]
        bounds = np.arange(count + 1) / count
        for sign, compare in (
            (">=", np.greater_equal),
            (">", np.greater),
            ("<=", np.less_equal),
            ("<", np.less),
            ("==", np.equal),
            ("!=", np.not_equal),
        ):
            for bound in bounds[:: count // 10]:
                np.testing.assert_array_equal(
                    holds(shares, sign, float(bound)), compare(bounds, bound)
                )


# ---------------------------------------------------------------- beside the run


def test_a_baseline_is_plain_training_from_the_same_start(program: Program) -> None:
    state, _ = run(program, count=1)
    (baseline,) = PLAN.baselines
    trained = program.train_baseline(state.key, baseline, 70)

    params = models.init(examples.NET, named(state.key, "weights", "net"))
    equal(params, program.init(state.key).current["net"])
    chain = optax.sgd(0.1)
    opt_state = chain.init(params)
    points, labels = TABLES["explore"]["point"], TABLES["explore"]["label"]
    key = named(state.key, "batches", "plain")

    @jax.jit
    def gradient(params: Any, rows: Any) -> Any:
        def loss(params: Any) -> Any:
            logits = models.apply(examples.NET, params, jnp.asarray(points)[rows], dropout_key=None)
            labels_of = jnp.asarray(labels)[rows]
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels_of).mean()

        return jax.grad(loss)(params)

    epoch = len(points) // 16
    for step in range(70):
        order = jax.random.permutation(named(key, step // epoch), len(points))
        begin = step % epoch * 16
        grads = gradient(params, order[begin : begin + 16])
        updates, opt_state = chain.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), trained["net"], params
    )


def test_a_baseline_of_other_lengths_is_not_traced_again() -> None:
    program = anew(PLAN)
    (baseline,) = PLAN.baselines
    for steps in (1, 5):
        program.train_baseline(jax.random.key(0), baseline, steps)
    assert program.traces.count("baseline") == 1


def test_measuring_gives_each_shown_value_per_example(program: Program) -> None:
    state, records = run(program, count=5)
    fields = program.examples(state.key, "assess")
    values = program.measure(state.frozen | state.accepted, fields)
    assert values["accuracy"].shape == (200,)
    np.testing.assert_allclose(np.mean(values["accuracy"]), records.accepted[-1, 0], rtol=1e-6)


def test_an_endless_report_is_a_draw_of_its_own() -> None:
    program = program_of(examples.MOONS)
    key = jax.random.key(0)
    report, again = program.examples(key, "report"), program.examples(key, "report")
    assert report["point"].shape == (128, 2)
    equal(report, again)
    assert not np.array_equal(report["point"], program.examples(key, "assess")["point"])


def test_a_rule_for_right_and_wrong_refuses_other_objectives() -> None:
    plan = attrs.evolve(PLAN, rule=examples.gate(examples.LOG_LOSS))
    with pytest.raises(AssertionError, match="McNemar counts right and wrong"):
        program_of(plan).step(program_of(plan).init(jax.random.key(0)))
