"""Explorers beside descent: populations, noise, mutated optimizers, averages of accepted models."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats
from sklearn.linear_model import LogisticRegression

from ev3lang.analysis import analyze
from ev3lang.backend import assess, evolution, models, mutation, optimizers, recent
from ev3lang.backend.emit import Program, _on_device, emit, start
from ev3lang.backend.evolution import Population, evolved
from ev3lang.backend.explore import explore, networks
from ev3lang.backend.keys import named
from ev3lang.backend.layout import held
from ev3lang.backend.rollout import part
from ev3lang.backend.state import Decision, Recent
from ev3lang.backend.streams import Block
from ev3lang.catalog.index import OPTIMIZERS
from ev3lang.catalog.optimizers import FIXED
from ev3lang.catalog.signature import Optimizer, Option
from ev3lang.check.explorers import NUMBERS
from ev3lang.compile import experiment
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Averaged, Evolution, Link, OptimizerPlan, Plan
from ev3lang.source import Source
from tests.backend.splits import tables
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


TABLES = tables(3)


def program_of(plan: Plan) -> Program:
    return emit(fuse(plan, "cpu"), TABLES)


def stepped(plan: Plan, iterations: int = 1) -> tuple[Any, Any, list[Any]]:
    """The state at the start, the one behind the iterations, and their records."""
    program = program_of(plan)
    begin = state = program.init(jax.random.key(3))
    records = []
    for _ in range(iterations):
        state, record = program.step(state)
        records.append(jax.device_get(record))
    return jax.device_get(begin), jax.device_get(state), records


def explored_of(plan: Plan, state: Any = None) -> Any:
    """What the candidates come to in one iteration, with the state that they set out from."""
    data = _on_device(plan, TABLES, {}, None)
    fused = fuse(plan, "cpu")
    begin = jax.jit(lambda key: start(plan, data, {}, key)) if state is None else None
    state = state if begin is None else begin(jax.random.key(3))
    return state, jax.jit(lambda state: explore(fused, state, data)[1])(state)


def outputs(net: Any, point: Any) -> Any:
    """What a hidden layer of relus and a last layer make of points."""
    first, second = net["dense_0"]["linear"], net["dense_2"]["linear"]
    hidden = jnp.maximum(point @ first["kernel"] + first["bias"], 0)
    return hidden @ second["kernel"] + second["bias"]


# ---------------------------------------------------------------- evolution


def test_a_population_finds_what_logistic_regression_finds() -> None:
    plan = plan_of("evolve accuracy with evolution_strategy() for 160 generations", "dense")
    before, after_all = scored(plan, "accuracy")
    learns, judges = TABLES["explore"], TABLES["assess"]
    classifier = LogisticRegression().fit(learns["point"], learns["label"])
    # of 48 examples, one more or less is 2 pp
    assert before < 0.6
    assert after_all >= classifier.score(judges["point"], judges["label"]) - 0.03


def scored(plan: Plan, name: str) -> tuple[float, float]:
    """An objective on assess, of the start and of what the only candidate comes to."""
    state, explored = explored_of(plan)
    _, restore = held(state.current, [])
    values = [
        assess.measure(plan.measures, TABLES["assess"], networks(plan, params))[name].mean()
        for params in (state.current, restore(part(explored.weights, 0)))
    ]
    return float(values[0]), float(values[1])


NEAREST = """ev3 1
data clouds = gaussian_clusters(classes: 3, distance: 3, dimensions: 6, n: 240) {
  split explore 40%, assess 20%, adapt 20%, report 20%
  batch 96
}
model copy: point -> f32[6] = dense
objective apart = minimize clip(mean(abs(copy(point) - point)), 0, 9)
explore copy { evolve apart with evolution_strategy(population: 64) for 400 generations }
assess copy { rank by apart }
adapt copy { accept when apart improves; stop after 40 iterations }
"""


def test_a_population_descends_to_a_known_optimum() -> None:
    """That a linear map of a point be the point has one solution, the identity, at distance 0."""
    before, after_all = scored(experiment(analyze(Source("spec.ev3", NEAREST))).plan, "apart")
    assert after_all < 0.35 * before


def test_standings_are_ranks_with_mean_0_and_ties_share_theirs() -> None:
    fitness = np.array([0.5, 0.1, 0.5, np.nan, 0.9, 0.1, np.nan], np.float32)
    found = np.asarray(evolution.standings(jnp.asarray(fitness)))
    ranks = stats.rankdata(np.nan_to_num(fitness, nan=-np.inf))
    np.testing.assert_allclose(found, np.sqrt(12) * ((ranks - 1) / 6 - 0.5), rtol=1e-6)
    assert found.mean() == pytest.approx(0, abs=1e-6)
    assert not np.any(evolution.standings(jnp.full(5, jnp.nan)))
    many = np.asarray(evolution.standings(jnp.arange(1000.0)))
    assert many.std() == pytest.approx(1, abs=2e-3)


def population_of(layers: str, **options: Any) -> tuple[Evolution, Population, Any]:
    """An evolution of accuracy on all of explore, and what it works on."""
    (found,) = plan_of(f"evolve accuracy with {STRATEGY} for 1 generations", layers).evolutions
    plan = plan_of(f"evolve accuracy with {STRATEGY} for 1 generations", layers)
    net = models.init(plan.models[0], jax.random.key(0))
    begin, restore = held({"net": net}, [])
    generations = options.get("generations", 1)
    fields = {
        name: jnp.asarray(np.broadcast_to(each, (generations, *each.shape)))
        for name, each in TABLES["explore"].items()
    }
    task = Population(
        networks=networks(plan, {}),
        start=begin,
        restore=restore,
        trained=frozenset({"net"}),
        key=jax.random.key(5),
        batches=fields,
        read=lambda batch: batch,
        is_stacked=options.get("is_stacked", True),
    )
    return attrs.evolve(found, population=options["population"], generations=generations), task, net


STRATEGY = "evolution_strategy()"


@pytest.mark.parametrize(("population", "is_stacked"), [(2, True), (5, False), (8, True)])
def test_a_generation_is_the_published_update(population: int, is_stacked: bool) -> None:
    options = {"population": population, "is_stacked": is_stacked}
    evolution_, task, _ = population_of("dense(8) | relu | dense", **options)
    vector = np.asarray(task.start.learned)
    pairs = [named(task.key, 0, pair) for pair in range((population + 1) // 2)]
    noises = [np.asarray(jax.random.normal(key, vector.shape)) for key in pairs]
    members = [*noises, *(-noise for noise in noises)][:population]

    def accuracy(noise: np.ndarray) -> float:
        moved = attrs.evolve(task.start, learned=jnp.asarray(vector + 0.05 * noise))
        given = outputs(task.restore(moved)["net"], TABLES["explore"]["point"])
        return float(np.mean(np.argmax(given, -1) == TABLES["explore"]["label"]))

    ranks = stats.rankdata([accuracy(noise) for noise in members]) - 1
    standing = np.sqrt(12) * (ranks / (population - 1) - 0.5)
    move = np.mean([s * noise for s, noise in zip(standing, members, strict=True)], axis=0)
    found = jax.jit(lambda: evolved(evolution_, task))()
    np.testing.assert_allclose(found.learned, vector + 0.1 * move, atol=2e-6)


def test_members_one_by_one_are_the_same_as_all_at_once_and_statistics_stay() -> None:
    layers = "dense(8) | batch_norm | relu | dense"
    found = []
    for is_stacked in (True, False):
        options = {"population": 7, "generations": 3, "is_stacked": is_stacked}
        evolution_, task, net = population_of(layers, **options)
        found.append(jax.jit(lambda e=evolution_, t=task: t.restore(evolved(e, t))["net"])())
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)
    still = net["batch_norm_1"]["statistics"]
    jax.tree.map(np.testing.assert_array_equal, still, found[0]["batch_norm_1"]["statistics"])
    plan = plan_of(f"evolve accuracy with {STRATEGY} for 1 generations", layers)
    assert fuse(plan, "cpu").members == "apart"


def test_where_every_member_is_equally_fit_nothing_moves() -> None:
    evolution_, task, _ = population_of("dense(8) | relu | dense", population=6)
    blind = attrs.evolve(task, read=lambda batch: {**batch, "point": batch["point"] * jnp.nan})
    found = jax.jit(lambda: evolved(evolution_, blind))()
    np.testing.assert_array_equal(found.learned, task.start.learned)


def test_a_set_objective_evolves() -> None:
    plan = plan_of(
        f"evolve score with {STRATEGY} for 40 generations",
        more="objective score = maximize f1(argmax(net(point)), label, positive: 0)",
    )
    before, after_all = scored(plan, "score")
    assert after_all > 0.85 > before


# ---------------------------------------------------------------- draws by name


def start_of(plan: Plan) -> dict[str, np.ndarray]:
    """Each candidate's weights behind the first iteration's exploring, by its name."""
    _, explored = explored_of(plan)
    return {
        each.name: in_one(part(explored.weights.learned, k))
        for k, each in enumerate(plan.candidates)
    }


def in_one(weights: Any) -> np.ndarray:
    """All numbers in the order in which small nets are held as one vector."""
    return np.asarray(ravel_pytree(weights)[0])


ALL = """
  descend entropy with sgd(0.1) for 3 steps
  evolve accuracy with evolution_strategy(population: 4) for 2 generations
  perturb with gaussian(0.01) for 2 draws
"""


def test_another_candidate_leaves_the_draws_of_all_others() -> None:
    """Also where one of them is an optimizer that works on each array apart."""
    few = start_of(plan_of(ALL))
    more = start_of(
        plan_of(
            f"{ALL} perturb with gaussian(0.1) for 1 draws\n average last 2 accepted\n"
            "descend entropy with lamb(1e-3) for 3 steps\n"
            "evolve accuracy with evolution_strategy(population: 5) for 2 generations"
        )
    )
    assert few.keys() < more.keys()
    for name, weights in few.items():
        np.testing.assert_allclose(more[name], weights, atol=1e-5, err_msg=name)
    again = start_of(plan_of(ALL))
    for name, weights in few.items():
        np.testing.assert_array_equal(again[name], weights)
    one, other = (few[f"gaussian(0.01) draw {draw}"] for draw in (1, 2))
    assert not np.allclose(one, other)


def test_each_iteration_draws_anew() -> None:
    plan = plan_of("perturb with gaussian(0.01) for 1 draws")
    state, first = explored_of(plan)
    _, later = explored_of(plan, attrs.evolve(state, iteration=state.iteration + 1))
    assert not np.allclose(first.weights.learned, later.weights.learned)


# ---------------------------------------------------------------- perturbation


def test_noise_has_the_stated_standard_deviation_and_mean_0() -> None:
    plan = plan_of("perturb with gaussian(0.25) for 1 draws", "dense(120) | relu | dense")
    state, explored = explored_of(plan)
    noise = in_one(part(explored.weights.learned, 0)) - in_one(held(state.current, [])[0].learned)
    # of n numbers the standard deviation has an error of 0.25 / sqrt(2 n)
    assert noise.std() == pytest.approx(0.25, abs=4 * 0.25 / np.sqrt(2 * noise.size))
    assert stats.kstest(noise / 0.25, "norm").pvalue > 1e-3


def test_noise_that_overflows_is_quarantined_and_nothing_else_is() -> None:
    plan = plan_of(
        "descend entropy with sgd(0.1) for 2 steps\nperturb with gaussian(1e38) for 1 draws"
    )
    _, state, records = stepped(plan, 2)
    for record in records:
        assert record.is_finite.tolist() == [True, False]
        assert record.is_present.tolist() == [True, True]
        assert np.isnan(record.loss[1])
    assert np.all(np.isfinite(in_one(state.current)))


# ---------------------------------------------------------------- mutation


def test_a_mutated_rate_is_that_of_a_plain_loop() -> None:
    plan = plan_of(
        "descend entropy with sgd(0.1, momentum: 0.9) for 5 steps\n"
        "mutate learning_rate by 0.5x or 3x"
    )
    program = program_of(plan)
    state = program.init(jax.random.key(3))
    (descent,) = plan.descents
    weights, restore = held(state.current, [descent.optimizer])
    data = {name: jnp.asarray(each) for name, each in TABLES["explore"].items()}

    @jax.jit
    def slope(vector: Any) -> Any:
        def loss(vector: Any) -> Any:
            net = restore(attrs.evolve(weights, learned=vector))["net"]
            given = outputs(net, data["point"])
            return optax.softmax_cross_entropy_with_integer_labels(given, data["label"]).mean()

        return jax.grad(loss)(vector)

    vector, factor = weights.learned, 1.0
    opt_state = optax.sgd(0.1, momentum=0.9).init(vector)
    factors = set()
    for iteration in range(5):
        key = named(state.key, "mutate", descent.name, "learning_rate", iteration)
        drawn = (0.5, 3.0)[int(jax.random.randint(key, (), 0, 2))]
        factors.add(drawn)
        factor *= drawn  # alone and always moving, the descent wins every iteration
        chain = optax.sgd(0.1 * factor, momentum=0.9)
        for _ in range(5):
            updates, opt_state = chain.update(slope(vector), opt_state, vector)
            vector = optax.apply_updates(vector, updates)
        state, _ = program.step(state)
        np.testing.assert_allclose(in_one(held(state.current, [])[0].learned), vector, atol=1e-4)
        np.testing.assert_allclose(state.factors, [[factor]], rtol=1e-6)
    assert len(factors) == 2


def test_a_schedule_is_multiplied_at_every_step() -> None:
    rate = Link("cosine", (("init_value", 0.1), ("over", 4), ("alpha", 0.0), ("exponent", 1.0)))
    options = (("learning_rate", rate), ("momentum", None), ("nesterov", False))
    plan = OptimizerPlan("sgd", (Link("sgd", options),))
    expected = optax.cosine_decay_schedule(0.1, 4)
    grads = jnp.float32(1)
    state = optimizers.build(plan).init(grads)
    for step in range(4):
        chain = optimizers.build(plan, {"learning_rate": jnp.float32(3)})
        updates, state = chain.update(grads, state)
        assert float(updates) == pytest.approx(-3 * float(expected(step)), rel=1e-6)


def test_a_factor_is_kept_where_its_descent_wins_and_dropped_where_it_does_not() -> None:
    drawn, kept = jnp.asarray([[2.0], [3.0], [4.0]]), jnp.ones((3, 1))
    for winner, expected in [(1, [1, 3, 1]), (-1, [1, 1, 1]), (3, [1, 1, 1])]:
        found = mutation.kept(kept, drawn, jnp.int32(winner))
        assert found.ravel().tolist() == expected


def test_every_mutated_option_has_its_own_factor() -> None:
    plan = plan_of(
        "descend entropy with clip_by_global_norm(1.0) | adam(1e-3) for 2 steps\n"
        "descend entropy with sgd(0.1) for 2 steps\n"
        "mutate learning_rate by 0.5x or 2x\n mutate max_norm by 0.1x or 10x\n mutate b1 by 1.01x"
    )
    _, explored = explored_of(plan)
    assert explored.factors.shape == (2, 3)
    assert set(np.ravel(explored.factors[:, 0])) <= {0.5, 2.0}
    np.testing.assert_allclose(explored.factors[:, 1] * 10, np.round(explored.factors[:, 1] * 10))
    np.testing.assert_allclose(explored.factors[:, 2], 1.01, rtol=1e-6)


def test_a_multiplied_number_keeps_its_upper_bound() -> None:
    plan = OptimizerPlan("ema", (Link("trace", (("decay", 0.9), ("nesterov", False))),))
    chain = optimizers.build(plan, {"decay": 10.0})
    state = chain.init(jnp.float32(0))
    for step in range(1, 4):
        total, state = chain.update(jnp.float32(1), state)
        (most,) = (each.high for each in OPTIMIZERS["trace"].options if each.name == "decay")
        assert float(total) == pytest.approx(step if most == 1 else float(total))


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


PARAMS = {"a": jnp.asarray([[0.5, -2.0], [1.0, 3.0]]), "b": jnp.ones(2)}
GRADS = {"a": jnp.asarray([[0.1, 0.7], [-1.2, 0.4]]), "b": jnp.asarray([-0.2, 0.9])}


def after(begin: Any, chain: Any) -> Any:
    """The weights behind three steps with a chain, from the state that another began with."""
    state, moved = begin.init(PARAMS), PARAMS
    for _ in range(3):
        updates, state = chain.update(GRADS, state, moved)
        moved = optax.apply_updates(moved, updates)
    return moved


def test_every_number_that_is_not_fixed_can_be_traced() -> None:
    for entry, option in NUMBERS_OF_LINKS:
        if option.name in FIXED.get(entry.name, ()):
            continue
        plan = _alone(entry, option.name, _sample(option) or 0.1 * (option.high or 1.0))
        begin, name = optimizers.build(plan), option.name

        def traced(factor: Any, begin: Any = begin, plan: Any = plan, name: str = name) -> Any:
            chain = optimizers.build(plan, {name: factor})
            return chain.update(GRADS, begin.init(PARAMS), PARAMS)

        states = jax.eval_shape(traced, jnp.float32(0.8))[1], jax.eval_shape(begin.init, PARAMS)
        assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lion", "rmsprop", "clip_by_global_norm"])
def test_a_traced_factor_is_the_product_written_into_the_spec(name: str) -> None:
    entry = OPTIMIZERS[name]
    for option in (each for other, each in NUMBERS_OF_LINKS if other is entry):
        if option.name in FIXED.get(name, ()):
            continue
        value = _sample(option) or 0.1 * (option.high or 1.0)
        plan = _alone(entry, option.name, value)
        begin, written = (
            optimizers.build(plan),
            optimizers.build(_alone(entry, option.name, 0.8 * value)),
        )
        found = after(begin, optimizers.build(plan, {option.name: jnp.float32(0.8)}))
        jax.tree.map(
            partial(np.testing.assert_allclose, rtol=2e-4, atol=1e-6), found, after(begin, written)
        )


@pytest.mark.parametrize("entry", sorted(set(FIXED) - {optimizers.AVERAGE}))
def test_a_fixed_number_changes_nothing_once_the_state_has_begun(entry: str) -> None:
    link = OPTIMIZERS[entry]
    for name in FIXED[entry]:
        (option,) = (each for each in link.options if each.name == name)
        plan = _alone(link, name, _sample(option) or 0.1)
        chain = optimizers.build(plan)

        def of(factor: Any, plan: Any = plan, chain: Any = chain, name: str = name) -> Any:
            changed = optimizers.build(plan, {name: factor})
            return changed.update(GRADS, chain.init(PARAMS), PARAMS)[0]

        try:
            one, other = of(jnp.float32(1.0)), of(jnp.float32(0.01))
            jax.eval_shape(of, jnp.float32(1.0))
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
    for _ in range(25):
        state, record = program.step(state)
        assert record.is_present.tolist() == [True, len(accepted) >= 2]
        assert record.is_finite.tolist() == [True, len(accepted) >= 2]
        if int(record.decision) == Decision.ACCEPTED:
            accepted.append(in_one(held(state.accepted, [])[0].learned))
    assert len(accepted) >= 4
    _, explored = explored_of(plan, state)
    expected = np.mean(accepted[-3:], axis=0)
    np.testing.assert_allclose(explored.weights.learned[1], expected, atol=1e-6)
    assert int(state.recent.count) == len(accepted)


# ---------------------------------------------------------------- biased gradients


def test_gradients_biased_on_purpose_still_lower_the_loss() -> None:
    noisy = "add_noise(eta: 0.01, gamma: 0.55, key: 0) | sgd(0.1)"
    clipped = "clip(0.01) | sgd(1.0), clip_by_global_norm(0.1) | sgd(0.5)"
    plan = plan_of(f"descend entropy with sign_sgd(1e-2), {noisy}, {clipped} for 20 steps")
    once = attrs.evolve(plan, descents=tuple(attrs.evolve(e, steps=1) for e in plan.descents))
    (_, first), (_, mean) = explored_of(once), explored_of(plan)
    assert np.all(np.asarray(mean.losses) < np.asarray(first.losses))


def test_a_straight_through_loss_has_the_value_of_the_hard_and_descends_the_soft() -> None:
    right = "argmax(net(point)) == label"
    soft = "exp(-cross_entropy(net(point), label))"
    plan = plan_of(
        "descend hard with sgd(1.0) for 60 steps",
        more=f"loss hard = 1 - straight_through({right}, {soft})",
    )
    once = attrs.evolve(plan, descents=(attrs.evolve(plan.descents[0], steps=1),))
    state, explored = explored_of(once)
    given = outputs(state.current["net"], TABLES["explore"]["point"])
    wrongly = float(np.mean(np.argmax(given, -1) != TABLES["explore"]["label"]))
    assert float(explored.losses[0]) == pytest.approx(wrongly, abs=1e-6)
    assert scored(plan, "accuracy")[1] > 0.8 > scored(once, "accuracy")[0]


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


def test_a_population_reads_the_same_batches_where_explore_stays_on_the_host() -> None:
    plan = plan_of("evolve accuracy with evolution_strategy(population: 6) for 2 generations")
    plan = attrs.evolve(plan, others=(attrs.evolve(plan.others[0], batch=24),))
    ended = []
    for feeder in (None, _Fed):
        program = emit(fuse(plan, "cpu"), TABLES, feeder=feeder)
        state = program.init(jax.random.key(plan.seed))
        for _ in range(3):
            state, _ = program.step(state)
        ended.append(in_one(state.current))
    np.testing.assert_allclose(ended[0], ended[1], atol=1e-6)


class _Fed:
    """Blocks of one iteration each, brought when they are asked for."""

    def __init__(self, streams: Any) -> None:
        self.streams = streams

    def __call__(self, iteration: int) -> Block:
        fields = {
            name: {field: jnp.asarray(each) for field, each in stream.batches(iteration, 1).items()}
            for name, stream in self.streams.items()
        }
        return Block(jnp.int32(iteration), fields)
