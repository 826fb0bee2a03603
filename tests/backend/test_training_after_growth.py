"""Training goes on from a grown network: copies part, new blocks learn, optimizers remember."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array
from jax.flatten_util import ravel_pytree
from sklearn.datasets import load_digits

from ev3lang.backend import models
from ev3lang.backend.growth import grow
from ev3lang.backend.moments import grow_opt_state, is_carried
from ev3lang.backend.optimizers import build
from ev3lang.catalog.index import OPTIMIZERS
from ev3lang.plan.growth.copies import written
from ev3lang.plan.growth.grown import grown_plan
from ev3lang.plan.plan import Link, ModelPlan, Operation, OptimizerPlan
from tests.backend.networks import KEY, batch, mlp, model, operation, resnet, transformer, weights


def loss_of(plan: ModelPlan, x: Array) -> Callable[[Any], Array]:
    labels = np.arange(len(x)) % 3

    @jax.jit
    def loss(params: Any) -> Array:
        logits = models.train(plan, params, x)[0]
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    return loss


NETWORKS: dict[str, ModelPlan] = {
    "mlp": mlp((6,)),
    "resnet": resnet((1,), 4),
    "group": resnet((1,), 4, norm="group"),
    "transformer": transformer(),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "by", [operation("widen"), operation("widen", factor=1.5), operation("deepen")]
)
def test_a_gradient_step_behind_growth_lowers_the_loss(name: str, by: Operation) -> None:
    plan = NETWORKS[name]
    larger = grown_plan(plan, by)
    params = grow(plan, weights(plan), by, KEY)
    loss = loss_of(larger, batch(plan))
    before, grads = jax.jit(jax.value_and_grad(loss))(params)
    params = jax.tree.map(lambda leaf, slope: leaf - 1e-3 * slope, params, grads)
    assert loss(params) < before


@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_copies_become_different(rule: str) -> None:
    """Adam divides by the size of gradients: shares that differ by a factor would not do."""
    plan = mlp((4,), "tanh")
    by = operation("widen", factor=2.0, noise=0.1)
    larger = grown_plan(plan, by)
    params = grow(plan, weights(plan), by, KEY)

    def copies(params: Any) -> Any:
        kernel = params["mlp_0"]["hidden_0"]["kernel"]
        return kernel[:, 0::2], kernel[:, 1::2]

    first, second = copies(params)
    assert jnp.array_equal(first, second)
    optimizer = optax.sgd(0.1) if rule == "sgd" else optax.adam(1e-2)
    state = optimizer.init(params)
    slope = jax.jit(jax.grad(loss_of(larger, batch(plan))))
    for _ in range(20):
        updates, state = optimizer.update(slope(params), state)
        params = optax.apply_updates(params, updates)
    first, second = copies(params)
    assert jnp.all(jnp.max(jnp.abs(first - second), axis=0) > 1e-4)


def test_noise_has_its_stated_size_and_no_sum() -> None:
    plan = mlp((50,))
    params = weights(plan)
    kernel = np.asarray(params["mlp_0"]["output"]["kernel"])
    after = grow(plan, params, operation("widen", noise=0.5), KEY)["mlp_0"]["output"]["kernel"]
    parts = np.asarray(after).reshape(50, 2, 3)
    np.testing.assert_allclose(parts.sum(1), kernel, atol=1e-6)
    noise = (parts - kernel[:, None] / 2) / kernel.std()
    # Of two copies each keeps half of the variance of a draw: the other half is their mean's.
    assert np.std(noise) == pytest.approx(0.5 * math.sqrt(1 / 2), rel=0.15)


def test_silent_numbers_wake_up() -> None:
    plan = transformer()
    by = operation("widen", factor=1.5)
    larger = grown_plan(plan, by)
    params = grow(plan, weights(plan), by, KEY)
    table = params["embed_0"]["table"]["embedding"]
    assert not jnp.any(table[:, 8:])
    slope = jax.jit(jax.grad(loss_of(larger, batch(plan))))(params)
    assert jnp.all(jnp.any(slope["embed_0"]["table"]["embedding"][:, 8:] != 0, axis=0))


def test_a_new_block_is_trained() -> None:
    for name in ("resnet", "group", "transformer", "mlp"):
        plan, by = NETWORKS[name], operation("deepen")
        larger = grown_plan(plan, by)
        loss = loss_of(larger, batch(plan))
        params = grow(plan, weights(plan), by, KEY)
        gradient = jax.jit(jax.grad(loss))
        slope = gradient(params)
        params = jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, params, slope)
        place = {"transformer": "transformer_1", "mlp": "mlp_0"}.get(name, "resnet_0")
        new = {"mlp": "hidden_1"}.get(name, "block_1")
        # Past the first step what stands before the zeros has gradients too.
        second = models.parted(gradient(params))[0][place][new]
        moving = [bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(second)]
        assert sum(moving) >= 0.8 * len(moving), name


# ---------------------------------------------------------------- optimizers


def optimizer(*names: str, **given_: Any) -> OptimizerPlan:
    links = [
        Link(
            name,
            tuple(
                ({each.name: each.default for each in OPTIMIZERS[name].options} | given_).items()
            ),
        )
        for name in names
    ]
    return OptimizerPlan("+".join(names), tuple(links))


ADAM = optimizer("adam", learning_rate=1e-3)
MOMENTUM = optimizer("sgd", learning_rate=0.1, momentum=0.9)


@pytest.mark.parametrize(
    ("name", "factor"), [("mlp", 1.5), ("mlp", 3.0), ("resnet", 1.5), ("group", 2.0)]
)
def test_carried_averages_are_those_of_the_grown_gradients(name: str, factor: float) -> None:
    """Two copies without noise share a unit's gradient, so averages can be told beforehand."""
    plan, by = NETWORKS[name], operation("widen", factor=factor, noise=0.0)
    larger, x = grown_plan(plan, by), batch(NETWORKS[name])
    params, chain = {"net": weights(plan)}, build(ADAM)
    after = {"net": grow(plan, params["net"], by, KEY)}

    def stepped(plan: ModelPlan, params: Any) -> Any:
        learned, statistics = models.parted(params["net"])
        loss = loss_of(plan, x)
        slope = jax.jit(jax.grad(lambda own: loss(models.joined(own, statistics))))(learned)
        start = chain.init({"net": learned})
        return start, chain.update({"net": slope}, start, {"net": learned})[1]

    _, old = stepped(plan, params)
    fresh, expected = stepped(larger, after)
    carried = grow_opt_state((plan,), params, by, ADAM, old, fresh)
    assert jax.tree.structure(carried) == jax.tree.structure(expected)
    for got, wanted in zip(jax.tree.leaves(carried), jax.tree.leaves(expected), strict=True):
        scale = float(jnp.max(jnp.abs(wanted))) or 1.0
        np.testing.assert_allclose(got, wanted, atol=2e-4 * scale)


def test_a_state_over_one_vector_is_carried_as_the_tree_is() -> None:
    plan, by = mlp((4,)), operation("widen", factor=1.5)
    params = {"net": weights(plan)}
    after = {"net": grow(plan, params["net"], by, KEY)}
    chain = build(MOMENTUM)
    vector, unravel = ravel_pytree(params)
    moving = jnp.arange(vector.size, dtype=jnp.float32)
    _, of_vector = chain.update(moving, chain.init(vector), vector)
    _, of_tree = chain.update(unravel(moving), chain.init(params), params)
    fresh = ravel_pytree(after)[0]
    one = grow_opt_state((plan,), params, by, MOMENTUM, of_vector, chain.init(fresh))
    other = grow_opt_state((plan,), params, by, MOMENTUM, of_tree, chain.init(after))
    np.testing.assert_array_equal(ravel_pytree(one)[0], ravel_pytree(other)[0])
    assert jnp.any(ravel_pytree(one)[0] != 0)


def test_a_net_that_outgrows_its_one_vector_takes_its_averages_along() -> None:
    plan, by = mlp((4,)), operation("widen", factor=2.0)
    params = {"net": weights(plan)}
    after = {"net": grow(plan, params["net"], by, KEY)}
    chain = build(ADAM)
    vector, unravel = ravel_pytree(params)
    slopes = jnp.linspace(-1, 1, vector.size)
    _, of_vector = chain.update(slopes, chain.init(vector), vector)
    _, of_tree = chain.update(unravel(slopes), chain.init(params), params)
    one, other = (
        grow_opt_state((plan,), params, by, ADAM, old, chain.init(after))
        for old in (of_vector, of_tree)
    )
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for got, wanted in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_new_layers_start_without_momentum_and_counts_go_on() -> None:
    plan, by = transformer(), operation("deepen")
    params = {"net": weights(plan)}
    after = {"net": grow(plan, params["net"], by, KEY)}
    chain = build(ADAM)
    ones = jax.tree.map(jnp.ones_like, params)
    _, old = chain.update(ones, chain.init(params), params)
    carried = grow_opt_state((plan,), params, by, ADAM, old, chain.init(after))
    first = carried[0]
    assert first.count == 1
    blocks = first.mu["net"]["transformer_1"]
    assert all(not jnp.any(leaf) for leaf in jax.tree.leaves(blocks["block_1"]))
    assert all(jnp.allclose(leaf, 0.1) for leaf in jax.tree.leaves(blocks["block_0"]))


@pytest.mark.parametrize(
    ("chain", "is_kept"),
    [
        (ADAM, True),
        (MOMENTUM, True),
        (optimizer("lion", learning_rate=1e-3), True),
        (optimizer("sgd", learning_rate=1e-3), True),
        (optimizer("adamax", learning_rate=1e-3), False),
        (optimizer("rmsprop", learning_rate=1e-3, momentum=0.9), False),
        (optimizer("adopt", learning_rate=1e-3), False),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_states_of_another_kind_start_anew(chain: OptimizerPlan, is_kept: bool) -> None:
    assert is_carried(chain) == is_kept
    plan, by = mlp((4,)), operation("widen")
    params = {"net": weights(plan)}
    after = {"net": grow(plan, params["net"], by, KEY)}
    ones = jax.tree.map(jnp.ones_like, params)
    _, old = build(chain).update(ones, build(chain).init(params), params)
    fresh = build(chain).init(after)
    carried = grow_opt_state((plan,), params, by, chain, old, fresh)
    assert jax.tree.structure(carried) == jax.tree.structure(fresh)
    assert jax.tree.map(jnp.shape, carried) == jax.tree.map(jnp.shape, fresh)
    assert (carried is fresh) == (not is_kept)


# ---------------------------------------------------------------- the next roll-out

ROW, DIGIT = (8, 8), (8, 8, 1)
DIGITS: dict[str, ModelPlan] = {
    "mlp": model((64,), ("mlp", {"hidden": (16,), "width": 10})),
    "two layers": model((64,), ("mlp", {"hidden": (32, 32), "width": 10})),
    "resnet": model(DIGIT, ("resnet", {"stages": (1, 1), "width": 8, "outputs": 10})),
    "transformer": model(
        ROW,
        ("dense", {"width": 16}),
        ("transformer", {"layers": 1, "heads": 2, "width": 16}),
        ("mean_pool", {}),
        ("dense", {"width": 10}),
    ),
}
CHAINS = {
    "adamw": optimizer("adamw", learning_rate=1e-3),
    "sgd": optimizer("sgd", learning_rate=0.1),
    "momentum": MOMENTUM,
}
WIDEN, DEEPEN = operation("widen"), operation("deepen")
WIDEN_ODDLY, EVERY = operation("widen", factor=1.5), operation("deepen_every_stage")
FIRST, SECOND = operation("widen_stage", stage=1), operation("widen_stage", stage=2)
WAYS: dict[str, tuple[Operation, ...]] = {
    "mlp": (WIDEN, WIDEN_ODDLY, DEEPEN),
    "two layers": (WIDEN, WIDEN_ODDLY, SECOND, DEEPEN),
    "resnet": (WIDEN, WIDEN_ODDLY, SECOND, DEEPEN, EVERY),
    "transformer": (WIDEN, WIDEN_ODDLY, FIRST, DEEPEN),
}
SHARPER = {
    ("mlp", "momentum", DEEPEN),
    ("two layers", "momentum", DEEPEN),
    ("two layers", "sgd", DEEPEN),
    ("two layers", "momentum", SECOND),
}
"""What leaves a loss that is too steep for the learning rate, as `deepen` and `widen_stage` say."""


@functools.lru_cache
def rolling(plan: ModelPlan, chain: str) -> Any:
    """A roll-out over batches: (learned, statistics, opt_state, x, y) -> the same, and losses."""
    made = build(CHAINS[chain])

    def loss(learned: Any, statistics: Any, x: Array, y: Array) -> tuple[Array, Any]:
        logits, behind = models.train(plan, models.joined(learned, statistics), x)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y)), behind

    def step(carried: Any, batch: Any) -> Any:
        learned, statistics, state = carried
        (value, behind), slope = jax.value_and_grad(loss, has_aux=True)(learned, statistics, *batch)
        updates, state = made.update({"net": slope}, state, {"net": learned})
        return (optax.apply_updates(learned, updates["net"]), behind, state), value

    return jax.jit(lambda carried, batches: jax.lax.scan(step, carried, batches))


def drawn(plan: ModelPlan, seed: int, steps: int) -> Any:
    """Batches of 32 digits of the first 1200, shuffled."""
    digits = load_digits()
    chosen = np.random.default_rng(0).permutation(len(digits.target))[:1200]
    rows = chosen[np.random.default_rng(seed).integers(0, 1200, (steps, 32))]
    x = np.asarray(digits.images[rows] / 16, np.float32)
    return x.reshape(steps, 32, *plan.input), digits.target[rows]


@functools.lru_cache
def started(name: str, chain: str, seed: int) -> Any:
    """After 200 steps: weights, optimizer state, and what the next 100 steps' mean loss is."""
    plan, roll = DIGITS[name], rolling(DIGITS[name], chain)
    learned, statistics = models.parted(
        jax.jit(functools.partial(models.init, plan))(jax.random.key(seed))
    )
    state = build(CHAINS[chain]).init({"net": learned})
    carried, _ = roll((learned, statistics, state), drawn(plan, seed, 200))
    _, losses = roll(carried, drawn(plan, 1000 + seed, 100))
    return models.joined(*carried[:2]), carried[2], float(jnp.mean(losses))


def rise(name: str, chain: str, by: Operation, seed: int) -> float:
    """The next roll-out's mean loss behind growth, as a part of that without."""
    plan, larger = DIGITS[name], grown_plan(DIGITS[name], by)
    params, state, without = started(name, chain, seed)
    after = models.parted(grow(plan, params, by, jax.random.key(seed)))
    fresh = build(CHAINS[chain]).init({"net": after[0]})
    carried = grow_opt_state((plan,), {"net": params}, by, CHAINS[chain], state, fresh)
    _, losses = rolling(larger, chain)((*after, carried), drawn(plan, 1000 + seed, 100))
    return float(jnp.mean(losses)) / without


@pytest.mark.parametrize(("name", "by"), [("mlp", WIDEN), ("mlp", DEEPEN), ("two layers", SECOND)])
def test_training_goes_on_behind_growth(name: str, by: Operation) -> None:
    assert rise(name, "adamw", by, 0) < 1.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "chain", "by"),
    [
        pytest.param(name, chain, by, id=f"{name} {chain} {written(by)}")
        for name, ways in WAYS.items()
        for chain in CHAINS
        for by in ways
        if (name, chain, by) not in SHARPER
    ],
)
def test_training_goes_on_behind_any_growth(name: str, chain: str, by: Operation) -> None:
    """The mean of three runs: with momentum each differs by a tenth from one that hasn't grown."""
    assert np.mean([rise(name, chain, by, seed) for seed in range(3)]) < 1.05


def test_averages_of_a_model_that_stays_are_carried_as_they_are() -> None:
    trunk, head = NETWORKS["mlp"], attrs.evolve(mlp(()), name="head")
    by = operation("widen", noise=0.0)
    params = {each.name: weights(each) for each in (trunk, head)}
    chain = build(ADAM)
    learned = {name: models.parted(each)[0] for name, each in params.items()}
    _, state = chain.update(jax.tree.map(jnp.ones_like, learned), chain.init(learned), learned)
    larger = {**learned, trunk.name: models.parted(grow(trunk, params[trunk.name], by, KEY))[0]}
    carried = grow_opt_state((trunk, head), params, by, ADAM, state, chain.init(larger))
    found = jax.tree.leaves(carried[0].mu["head"])
    for before, after in zip(jax.tree.leaves(state[0].mu["head"]), found, strict=True):
        np.testing.assert_array_equal(before, after)
