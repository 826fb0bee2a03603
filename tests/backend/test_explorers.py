"""Explorers beside descent: populations, noise, mutated optimizers, averages of accepted models."""

from __future__ import annotations

from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from ev3lang.analysis import analyze
from ev3lang.backend import evolution, mutation, optimizers, recent
from ev3lang.backend.emit import Program, emit
from ev3lang.backend.layout import held
from ev3lang.backend.rollout import part
from ev3lang.backend.state import Decision, Recent
from ev3lang.catalog.index import OPTIMIZERS
from ev3lang.catalog.optimizers import FIXED
from ev3lang.catalog.signature import Optimizer, Option
from ev3lang.check.explorers import NUMBERS
from ev3lang.compile import experiment
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Averaged, Link, OptimizerPlan, Plan
from ev3lang.source import Source
from tests.plan import examples

SPEC = """ev3 1
data clouds = gaussian_clusters(classes: 3, distance: 3, dimensions: 6, n: 240) {{
  split explore 40%, assess 20%, adapt 20%, report 20%
  batch 96
}}
model net: point -> logits(label) = {layers}
loss entropy = cross_entropy(net(point), label)
{more}
objective accuracy = maximize argmax(net(point)) == label
explore net {{ {explore} }}
assess net {{ rank by accuracy }}
adapt net {{ accept when accuracy improves; move always; stop after 40 iterations }}
"""


def plan_of(explore: str, layers: str = "dense(8) | relu | dense", more: str = "") -> Plan:
    text = SPEC.format(layers=layers, explore=explore, more=more)
    return experiment(analyze(Source("spec.ev3", text))).plan


def tables() -> Any:
    generator = np.random.default_rng(0)
    counts = {"explore": 96, "assess": 48, "adapt": 48, "report": 48}
    made: Any = {}
    for split, count in counts.items():
        label = generator.integers(0, 3, count).astype(np.int32)
        point = generator.normal(size=(count, 6)).astype(np.float32)
        point[np.arange(count), label] += 3
        made[split] = {"point": point, "label": label}
    return made


TABLES = tables()


def program_of(plan: Plan) -> Program:
    return emit(fuse(plan, "cpu"), TABLES)


def stepped(plan: Plan, iterations: int = 1) -> tuple[Any, Any, Any]:
    """The state at the start, the one behind the iterations, and their records."""
    program = program_of(plan)
    begin = state = program.init(jax.random.key(3))
    records = []
    for _ in range(iterations):
        state, record = program.step(state)
        records.append(jax.device_get(record))
    return jax.device_get(begin), jax.device_get(state), records


def learned(params: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


# ---------------------------------------------------------------- evolution


def test_a_population_finds_what_logistic_regression_finds() -> None:
    plan = plan_of("evolve accuracy with evolution_strategy() for 20 generations", "dense")
    _, _, records = stepped(plan, 8)
    explore, assess = TABLES["explore"], TABLES["assess"]
    classifier = LogisticRegression().fit(explore["point"], explore["label"])
    reached = classifier.score(assess["point"], assess["label"])
    # of 48 examples, one more or less is 2 pp
    assert max(record.current[0] for record in records) >= reached - 0.03


NEAREST = """ev3 1
data clouds = gaussian_clusters(classes: 3, distance: 3, dimensions: 6, n: 240) {
  split explore 40%, assess 20%, adapt 20%, report 20%
  batch 96
}
model copy: point -> f32[6] = dense
objective distance = minimize clip(mean(abs(copy(point) - point)), 0, 9)
explore copy { evolve distance with evolution_strategy(population: 64) for 40 generations }
assess copy { rank by distance }
adapt copy { accept when distance improves; stop after 40 iterations }
"""


def test_a_population_descends_to_a_known_optimum() -> None:
    """That a linear map of a point be the point has one solution, the identity, at distance 0."""
    _, _, records = stepped(experiment(analyze(Source("spec.ev3", NEAREST))).plan, 12)
    distances = [float(record.current[0]) for record in records]
    assert distances[-1] < 0.35 * distances[0]


def test_standings_are_ranks_with_mean_0_and_ties_share_theirs() -> None:
    fitness = np.array([0.5, 0.1, 0.5, np.nan, 0.9, 0.1, np.nan], np.float32)
    found = np.asarray(evolution.standings(jnp.asarray(fitness)))
    ranks = stats.rankdata(np.nan_to_num(fitness, nan=-np.inf))
    np.testing.assert_allclose(found, np.sqrt(12) * ((ranks - 1) / 6 - 0.5), rtol=1e-6)
    assert found.mean() == pytest.approx(0, abs=1e-6)
    assert not np.any(evolution.standings(jnp.full(5, jnp.nan)))
    many = np.asarray(evolution.standings(jnp.arange(1000.0)))
    assert many.std() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("population", [2, 5, 8])
@pytest.mark.parametrize("is_stacked", [True, False])
def test_a_generation_is_the_published_update(population: int, is_stacked: bool) -> None:
    (found,) = plan_of(
        f"evolve accuracy with evolution_strategy(population: {population}) for 1 generations"
    ).others
    plan = plan_of(
        f"evolve accuracy with evolution_strategy(population: {population}) for 1 generations"
    )
    fused = attrs.evolve(fuse(plan, "cpu"), members="vmap" if is_stacked else "apart")
    program = emit(fused, TABLES)
    before = program.init(jax.random.key(3))
    after, _ = program.step(before)
    weights, restore = held(before.current, [])
    vector = np.asarray(weights.learned)

    key = evolution.named(before.key, "evolve", found.name, before.iteration)
    noises = [
        np.asarray(
            jax.random.normal(evolution.named(key, 0, pair), vector.shape)  # one draw a pair
        )
        for pair in range((population + 1) // 2)
    ]
    members = [*noises, *(-noise for noise in noises)][:population]

    def accuracy(noise: np.ndarray) -> float:
        moved = restore(attrs.evolve(weights, learned=jnp.asarray(vector + 0.05 * noise)))
        net, explored = moved["net"], TABLES["explore"]
        first, second = (jax.tree.leaves(net["layers"][place]) for place in (0, 2))
        hidden = np.maximum(explored["point"] @ first[1] + first[0], 0)
        outputs = hidden @ second[1] + second[0]
        return float(np.mean(outputs.argmax(-1) == explored["label"]))

    ranks = stats.rankdata([accuracy(noise) for noise in members]) - 1
    standing = np.sqrt(12) * (ranks / (population - 1) - 0.5)
    move = np.mean([s * noise for s, noise in zip(standing, members, strict=True)], axis=0)
    expected = vector + 0.1 * move
    np.testing.assert_allclose(learned(after.current), expected, atol=2e-6)


def test_members_one_by_one_are_the_same_as_all_at_once() -> None:
    plan = plan_of(
        "evolve accuracy with evolution_strategy(population: 7) for 3 generations",
        "dense(8) | batch_norm | relu | dense",
    )
    fused = fuse(plan, "cpu")
    assert fused.members == "apart"
    ended = []
    for members in ("apart", "vmap"):
        program = emit(attrs.evolve(fused, members=members), TABLES)
        begin = program.init(jax.random.key(3))
        ended.append(jax.device_get(program.step(begin)[0]))
    np.testing.assert_allclose(learned(ended[0].current), learned(ended[1].current), atol=2e-6)
    still = jax.device_get(begin.current["net"]["layers"][1])
    now = ended[0].current["net"]["layers"][1]
    running = set(still) - {"scale", "bias"}
    assert running
    for name in running:  # running statistics stay
        jax.tree.map(np.testing.assert_array_equal, still[name], now[name])


def test_a_set_objective_evolves_and_what_is_no_number_counts_as_worst() -> None:
    plan = plan_of(
        "evolve score with evolution_strategy() for 10 generations",
        more="objective score = maximize f1(argmax(net(point)), label, positive: 0)",
    )
    _, _, records = stepped(plan, 6)
    names = [measure.name for measure in plan.measures]
    scores = [float(record.current[names.index("score")]) for record in records]
    assert scores[-1] > 0.75 > scores[0]


# ---------------------------------------------------------------- draws by name


def start_of(plan: Plan) -> dict[str, np.ndarray]:
    """Each candidate's weights behind the first iteration's exploring, by its name."""
    from ev3lang.backend.emit import _on_device
    from ev3lang.backend.explore import explore

    fused = fuse(plan, "cpu")
    data = _on_device(plan, TABLES, {}, is_streamed=False)
    state = program_of(plan).init(jax.random.key(3))
    _, explored = explore(fused, state, data)
    return {
        each.name: learned(part(explored.weights.learned, k))
        for k, each in enumerate(plan.candidates)
    }


ALL = """
  descend entropy with sgd(0.1) for 3 steps
  evolve accuracy with evolution_strategy(population: 4) for 2 generations
  perturb with gaussian(0.01) for 2 draws
"""


def test_another_candidate_leaves_the_draws_of_all_others() -> None:
    few, more = (
        start_of(plan_of(explore))
        for explore in (
            ALL,
            f"{ALL} perturb with gaussian(0.1) for 1 draws\n average last 2 accepted\n"
            "descend entropy with adam(1e-3) for 3 steps\n"
            "evolve accuracy with evolution_strategy(population: 5) for 2 generations",
        )
    )
    assert few.keys() < more.keys()
    for name, weights in few.items():
        np.testing.assert_allclose(more[name], weights, atol=1e-5, err_msg=name)


def test_the_draws_are_the_same_where_an_optimizer_keeps_arrays_apart() -> None:
    flat = start_of(plan_of(ALL))
    apart = start_of(plan_of(f"{ALL} descend entropy with lamb(1e-3) for 3 steps"))
    for name in set(flat) - {"entropy with sgd(0.1)"}:
        np.testing.assert_allclose(apart[name], flat[name], atol=1e-5, err_msg=name)


def test_equal_seeds_give_equal_runs_and_iterations_differ() -> None:
    plan = plan_of(ALL)
    first, second = (stepped(plan, 3) for _ in range(2))
    np.testing.assert_array_equal(learned(first[1].current), learned(second[1].current))
    weights = [start_of(plan)[f"gaussian(0.01) draw {draw}"] for draw in (1, 2)]
    assert not np.allclose(*weights)


# ---------------------------------------------------------------- perturbation


def test_noise_has_the_stated_standard_deviation_and_no_other_mean() -> None:
    plan = plan_of("perturb with gaussian(0.25) for 1 draws", "dense(120) | relu | dense")
    begin = program_of(plan).init(jax.random.key(3))
    ((_, moved),) = start_of(plan).items()
    noise = moved - learned(held(begin.current, [])[0].learned)
    # 1203 numbers: a standard deviation within 4 of its own errors, 0.25 / sqrt(2 n)
    assert noise.std() == pytest.approx(0.25, abs=4 * 0.25 / np.sqrt(2 * noise.size))
    assert stats.kstest(noise / 0.25, "norm").pvalue > 1e-3


def test_noise_that_overflows_is_quarantined_and_nothing_else_is() -> None:
    plan = plan_of("descend entropy with sgd(0.1) for 2 steps\n perturb with gaussian(1e38) for 1 draws")
    _, state, records = stepped(plan, 2)
    for record in records:
        assert record.is_finite.tolist() == [True, False]
        assert record.is_present.tolist() == [True, True]
        assert np.isnan(record.loss[1])
    assert np.all(np.isfinite(learned(state.current)))


# ---------------------------------------------------------------- mutation


@pytest.mark.parametrize("optimizer", ["sgd(0.1, momentum: 0.9)", "adam(cosine(1e-2, over: 50 steps))"])
def test_a_mutated_rate_is_that_of_a_plain_loop(optimizer: str) -> None:
    plan = plan_of(f"descend entropy with {optimizer} for 5 steps\nmutate learning_rate by 0.5x or 3x")
    program = program_of(plan)
    state = program.init(jax.random.key(3))
    (descent,) = plan.descents
    weights, restore = held(state.current, [descent.optimizer])
    vector, opt_state = weights.learned, None
    factor = 1.0
    data = {name: jnp.asarray(each) for name, each in TABLES["explore"].items()}

    def loss(vector: Any) -> Any:
        net = restore(attrs.evolve(weights, learned=vector))["net"]
        first, second = (jax.tree.leaves(net["layers"][place]) for place in (0, 2))
        outputs = jax.nn.relu(data["point"] @ first[1] + first[0]) @ second[1] + second[0]
        each = optax.softmax_cross_entropy_with_integer_labels(outputs, data["label"])
        return jnp.mean(each)

    factors = set()
    for iteration in range(4):
        key = mutation.named(state.key, "mutate", descent.name, "learning_rate", iteration)
        drawn = (0.5, 3.0)[int(jax.random.randint(key, (), 0, 2))]
        factors.add(drawn)
        factor *= drawn  # alone and always moving, the descent wins every iteration
        if optimizer.startswith("sgd"):
            chain = optax.sgd(0.1 * factor, momentum=0.9)
        else:
            rate = optax.cosine_decay_schedule(1e-2, 50)
            chain = optax.adam(lambda count, rate=rate, factor=factor: factor * rate(count))
        opt_state = chain.init(vector) if opt_state is None else opt_state
        for _ in range(5):
            updates, opt_state = chain.update(jax.grad(loss)(vector), opt_state, vector)
            vector = optax.apply_updates(vector, updates)
        state, _ = program.step(state)
        np.testing.assert_allclose(learned(state.current), vector, rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(state.factors, [[factor]], rtol=1e-6)
    assert len(factors) == 2


def test_a_factor_is_kept_where_its_descent_wins_and_dropped_where_it_does_not() -> None:
    drawn, kept = jnp.asarray([[2.0], [3.0], [4.0]]), jnp.ones((3, 1))
    for winner, expected in [(1, [1, 3, 1]), (-1, [1, 1, 1]), (3, [1, 1, 1])]:
        found = mutation.kept(kept, drawn, jnp.int32(winner))
        assert found.ravel().tolist() == expected


def test_two_options_mutate_apart_and_a_bound_is_kept() -> None:
    plan = plan_of(
        "descend entropy with clip_by_global_norm(1.0) | adam(1e-3) for 2 steps\n"
        "mutate learning_rate by 0.5x or 2x\n mutate max_norm by 0.1x or 10x\n mutate b1 by 1.05x"
    )
    _, state, _ = stepped(plan, 6)
    assert state.factors.shape == (1, 3)
    assert state.factors[0, 2] == pytest.approx(1.05**6, rel=1e-5)
    chain = optimizers.build(plan.descents[0].optimizer, {"b1": 10.0})
    grads = {"w": jnp.asarray([0.3])}
    _, opt_state = chain.update(grads, chain.init(grads), grads)
    (mean,) = [each.mu["w"] for each in jax.tree.leaves(opt_state, is_leaf=_is_adam) if _is_adam(each)]
    assert float(mean[0]) == pytest.approx(0.0)  # b1 is at most 1


def _is_adam(state: Any) -> bool:
    return hasattr(state, "mu")


def _sample(option: Option) -> Any:
    if option.default is not None:
        return option.default
    if not option.is_required:
        return None
    if option.kind in ("int", "steps"):
        return 3
    if option.kind in NUMBERS:
        low = option.low or 0.0
        return low + ((low + 1 if option.high is None else option.high) - low) / 2
    return {"bool": True}.get(option.kind, option.choices[0] if option.choices else (0.5,))


def _alone(entry: Optimizer, name: str, value: float) -> OptimizerPlan:
    options = ((each.name, value if each.name == name else _sample(each)) for each in entry.options)
    return OptimizerPlan("one", (Link(entry.name, tuple(options)),))


NUMBERS_OF_LINKS = [
    (entry, option)
    for entry in OPTIMIZERS.values()
    if entry.role != "schedule" and entry.name != optimizers.AVERAGE
    for option in entry.options
    if option.kind in NUMBERS
]


@pytest.mark.parametrize("entry", sorted({e.name for e, _ in NUMBERS_OF_LINKS}))
def test_a_number_that_is_not_fixed_can_be_mutated(entry: str) -> None:
    """Three steps with a traced factor are those with the product written into the spec."""
    rng = np.random.default_rng(0)
    params = {"a": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32), "b": jnp.ones(2)}
    grads = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), params)

    def after(start: Any, chain: Any) -> Any:
        state, moved = start.init(params), params
        for _ in range(3):
            updates, state = chain.update(grads, state, moved)
            moved = optax.apply_updates(moved, updates)
        return moved

    link = OPTIMIZERS[entry]
    options = [each for each in link.options if each.kind in NUMBERS]
    open_ones = [each for each in options if each.name not in FIXED.get(entry, ())]
    plans = []
    for option in open_ones:
        value = _sample(option) or 0.1 * (option.high or 1.0)
        plans.append((option.name, _alone(link, option.name, value), value))

    @jax.jit
    def traced(factor: Any) -> Any:
        return [
            after(optimizers.build(plan), optimizers.build(plan, {name: factor}))
            for name, plan, _ in plans
        ]

    @jax.jit
    def written() -> Any:
        return [
            after(optimizers.build(plan), optimizers.build(_alone(link, name, 0.8 * value)))
            for name, plan, value in plans
        ]

    for (name, _, _), one, other in zip(plans, traced(0.8), written(), strict=True):
        for found, expected in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("entry", sorted(set(FIXED) - {optimizers.AVERAGE}))
def test_a_fixed_number_changes_nothing_once_the_state_has_begun(entry: str) -> None:
    link = OPTIMIZERS[entry]
    params = {"a": jnp.asarray([[0.5, -2.0], [1.0, 3.0]]), "b": jnp.ones(2)}
    for name in FIXED[entry]:
        (option,) = (each for each in link.options if each.name == name)
        plan = _alone(link, name, _sample(option) or 0.1)
        chain = optimizers.build(plan)

        def of(factor: Any, plan: Any = plan, chain: Any = chain, name: str = name) -> Any:
            changed = optimizers.build(plan, {name: factor})
            return changed.update(params, chain.init(params), params)[0]

        try:
            one, other = jax.jit(of)(1.0), jax.jit(of)(0.01)
        except jax.errors.TracerBoolConversionError:
            continue
        jax.tree.map(np.testing.assert_array_equal, one, other)


# ---------------------------------------------------------------- averages


def test_the_mean_is_that_of_the_last_accepted_and_there_from_the_second_on() -> None:
    rng = np.random.default_rng(0)
    models = [{"w": jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)} for _ in range(7)]
    none = {"w": jnp.full((2, 3), 9.0)}
    plan = attrs.evolve(
        examples.FOUR, others=(Averaged("last 2", 2), Averaged("last 4", 4)), descents=()
    )
    kept = recent.start(plan, none)
    assert kept is not None
    state = _Accepting(none, kept)
    for number, model in enumerate(models):
        for is_accepted in (False, True):
            state = recent.remember(attrs.evolve(state, accepted=model), jnp.bool_(is_accepted))
        for averaged in plan.others:
            mean, is_there = recent.mean(averaged, state.recent, none)
            assert bool(is_there) == (number >= 1)
            of = models[max(0, number + 1 - averaged.count) : number + 1]
            expected = np.mean([each["w"] for each in of], axis=0)
            np.testing.assert_allclose(mean["w"], expected, atol=1e-6)


@attrs.frozen
class _Accepting:
    """As much of a run's state as remembers what was accepted."""

    accepted: Any
    recent: Recent


def test_an_average_waits_for_the_second_acceptance_and_is_no_loss_until_then() -> None:
    plan = plan_of("descend entropy with sgd(0.02) for 1 steps\n average last 3 accepted")
    plan = attrs.evolve(plan, rule=attrs.evolve(plan.rule, is_each_time=True, delta=0.4))
    program = program_of(plan)
    state = program.init(jax.random.key(3))
    accepted: list[np.ndarray] = []
    averaged = 0
    for _ in range(25):
        before = state
        state, record = program.step(state)
        assert bool(record.is_present[0])
        assert bool(record.is_present[1]) == (len(accepted) >= 2)
        assert bool(record.is_finite[1]) == (len(accepted) >= 2)
        if int(record.chosen) == 1:
            averaged += 1
            np.testing.assert_allclose(
                learned(state.current), np.mean(accepted[-3:], axis=0), atol=1e-6
            )
            assert int(state.current_steps) == int(before.current_steps)
        if int(record.decision) == Decision.ACCEPTED:
            accepted.append(learned(state.accepted))
    assert len(accepted) >= 3
    assert averaged


# ---------------------------------------------------------------- biased gradients


@pytest.mark.parametrize(
    "optimizer",
    [
        "sign_sgd(1e-2)",
        "add_noise(eta: 0.01, gamma: 0.55, seed: 0) | sgd(0.1)",
        "clip(0.01) | sgd(1.0)",
        "clip_by_global_norm(0.1) | sgd(0.5)",
    ],
)
def test_gradients_biased_on_purpose_still_lower_the_loss(optimizer: str) -> None:
    plan = plan_of(f"descend entropy with {optimizer} for 20 steps")
    _, _, records = stepped(plan, 3)
    assert records[-1].loss[0] < records[0].loss[0]


def test_a_straight_through_loss_has_the_value_of_the_hard_and_descends_the_soft() -> None:
    wrong = "1 - straight_through(argmax(net(point)) == label, exp(-cross_entropy(net(point), label)))"
    plan = plan_of("descend hard with sgd(1.0) for 30 steps", more=f"loss hard = {wrong}")
    begin, state, records = stepped(plan, 4)
    net, data = begin.current["net"], TABLES["explore"]
    first, second = (jax.tree.leaves(net["layers"][place]) for place in (0, 2))
    outputs = np.maximum(data["point"] @ first[1] + first[0], 0) @ second[1] + second[0]
    _, _, (one,) = stepped(attrs.evolve(plan, descents=(attrs.evolve(plan.descents[0], steps=1),)))
    expected = np.mean(outputs.argmax(-1) != data["label"])
    assert one.loss[0] == pytest.approx(expected, abs=1e-6)
    assert records[-1].loss[0] < 0.5 * records[0].loss[0]
    assert not np.allclose(learned(state.current), learned(begin.current))


# ---------------------------------------------------------------- without descent


def test_a_spec_that_only_evolves_runs_in_a_segment_to_its_end() -> None:
    plan = plan_of(
        "evolve accuracy with evolution_strategy(population: 6) for 2 generations\n"
        "perturb with gaussian(0.02) for 1 draws\n average last 2 accepted"
    )
    program = program_of(plan)
    state, records, filled, _ = program.segment(program.init(jax.random.key(3)), 5, False)
    assert int(filled) == 5
    assert int(state.current_steps) == 0
    assert records.scores.shape[1] == 3
    assert state.opt_states == ()
    assert np.all(np.isnan(records.loss[:5]))
    assert program.traces.count("segment") == 1
