"""Training goes on from a grown network: copies part, new blocks learn, optimizers remember."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array
from jax.flatten_util import ravel_pytree

from ev3lang.backend import models
from ev3lang.backend.growth import grow
from ev3lang.backend.moments import grow_opt_state, is_carried
from ev3lang.backend.optimizers import build
from ev3lang.catalog.index import OPTIMIZERS
from ev3lang.plan.growth.grown import grown_plan
from ev3lang.plan.plan import Link, ModelPlan, Operation, OptimizerPlan
from tests.backend.networks import KEY, batch, mlp, operation, resnet, transformer, weights


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
