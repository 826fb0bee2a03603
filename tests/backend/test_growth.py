"""Growth keeps what a network computes, and training goes on from there."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import Array
from jax.flatten_util import ravel_pytree

from ev3lang.backend import models
from ev3lang.backend.growth import (
    grow,
    grow_group,
    grow_opt_state,
    is_carried,
    max_output_change,
)
from ev3lang.backend.optimizers import build
from ev3lang.catalog.index import GROWTH, LAYERS, OPTIMIZERS
from ev3lang.catalog.signature import Type
from ev3lang.plan.growth import grown, widths
from ev3lang.plan.growth.copies import Unfit
from ev3lang.plan.growth.grown import fits, grown_plan, grown_plans
from ev3lang.plan.growth.widen import more
from ev3lang.plan.plan import LayerPlan, Layers, Link, ModelPlan, Operation, OptimizerPlan
from ev3lang.plan.work import parameters

KEY = jax.random.key(0)

SLOWLY = settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
"""Each example compiles its own shapes: a few are what a test can pay."""

CLOSE = 1e-5
"""Relative to the largest output: float32 rounds sums over some hundred numbers to about 1e-6."""

Stage = tuple[str, dict[str, Any]]


def layers(shape: tuple[int, ...], *stages: Stage) -> tuple[LayerPlan, ...]:
    """Layers with the catalogue's defaults; `inner` gives the pipe of `residual` and `repeat`."""
    done: list[LayerPlan] = []
    for name, given_ in stages:
        entry = LAYERS[name]
        options = {option.name: option.default for option in entry.options} | given_
        if "layers" in options and name in ("residual", "repeat"):
            inner = Layers(layers(shape, *options["layers"]))
            options["layers"] = inner.layers[-1].output
            output = entry.shape(shape, options)
            options["layers"] = inner
        else:
            output = entry.shape(shape, options)
        done.append(LayerPlan(name, tuple(options.items()), shape, output))
        shape = output
    return tuple(done)


def model(shape: tuple[int, ...], *stages: Stage, **facts: Any) -> ModelPlan:
    done = layers(shape, *stages)
    takes: Any = LAYERS[done[0].name].takes
    output = Type("f32", done[-1].output)
    return ModelPlan("net", shape, output, Layers(done), True, takes=takes, **facts)


def mlp(hidden: tuple[int, ...], activation: str = "relu") -> ModelPlan:
    given_ = {"hidden": hidden, "activation": activation, "width": 3}
    return model((2, 3), ("mlp", given_))


def resnet(stages: tuple[int, ...], size: int = 6, **given_: Any) -> ModelPlan:
    options = {"stages": stages, "width": 4, "groups": 2, "outputs": 3}
    return model((size, size, 2), ("resnet", options | given_))


def transformer(heads: int = 2, depth: int = 4, **given_: Any) -> ModelPlan:
    width = heads * depth
    options = {"layers": 1, "heads": heads, "width": width}
    return model(
        (5,),
        ("embed", {"width": width, "tokens": 7}),
        ("transformer", options | given_),
        ("mean_pool", {}),
        ("dense", {"width": 3}),
    )


def operation(name: str, **given_: Any) -> Operation:
    options = {option.name: option.default for option in GROWTH[name].options} | given_
    return Operation(name, tuple(options.items()))


def shapes(plan: ModelPlan) -> Any:
    return jax.eval_shape(functools.partial(models.init, plan), KEY)


def weights(plan: ModelPlan) -> Any:
    """Weights as if trained: no bias, scale or statistic is still what it started as."""
    rng = np.random.default_rng(0)

    def drawn(path: Any, leaf: Any) -> Array:
        name = path[-1].key
        size = (leaf.size / leaf.shape[-1]) ** -0.5 if leaf.ndim > 1 else 0.3
        array = rng.normal(name == "scale", size, leaf.shape)
        # A variance is positive.
        return jnp.asarray(np.exp(array) if name == "var" else array, jnp.float32)

    return jax.tree_util.tree_map_with_path(drawn, shapes(plan))


def batch(plan: ModelPlan, size: int = 6) -> Array:
    rng = np.random.default_rng(1)
    if plan.takes == "tokens":
        return jnp.asarray(rng.integers(-1, 7, (size, *plan.input)))
    return jnp.asarray(rng.normal(size=(size, *plan.input)), jnp.float32)


def grows(plan: ModelPlan, by: Operation) -> ModelPlan:
    """Grow a trained model, require that it computes the same, and give its larger plan."""
    params = weights(plan)
    larger = grown_plan(plan, by)
    after = grow(plan, params, by, KEY)
    assert max_output_change(plan, params, larger, after, batch(plan)) < CLOSE
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, shapes(larger))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(after))
    learned = jax.tree.leaves(models.parted(after)[0])
    assert parameters(larger) == sum(leaf.size for leaf in learned) > parameters(plan)
    assert (larger.input, larger.output) == (plan.input, plan.output)
    return larger


def option(plan: ModelPlan, name: str, place: int = 0) -> Any:
    return dict(plan.layers.layers[place].options)[name]


# ---------------------------------------------------------------- the function stays

FACTORS = st.sampled_from([1.1, 1.3, 1.5, 2.0, 2.5, 3.0])


@SLOWLY
@given(
    hidden=st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple),
    factor=FACTORS,
    activation=st.sampled_from(["relu", "tanh", "gelu", "sigmoid"]),
    noise=st.sampled_from([0.0, 1e-3, 1.0]),
)
def test_a_wider_mlp_computes_the_same(
    hidden: tuple[int, ...], factor: float, activation: str, noise: float
) -> None:
    larger = grows(mlp(hidden, activation), operation("widen", factor=factor, noise=noise))
    assert option(larger, "hidden") == tuple(more(size, factor) for size in hidden)


@SLOWLY
@given(
    hidden=st.lists(st.integers(1, 7), min_size=1, max_size=2).map(tuple), count=st.integers(1, 3)
)
def test_a_deeper_mlp_computes_the_same(hidden: tuple[int, ...], count: int) -> None:
    larger = grows(mlp(hidden), operation("deepen", count=count))
    assert option(larger, "hidden") == (*hidden, *(hidden[-1],) * count)


@SLOWLY
@given(
    stages=st.sampled_from([(1,), (2,), (1, 2), (2, 1)]),
    block=st.sampled_from(["basic", "bottleneck"]),
    shortcut=st.sampled_from(["projection", "identity"]),
    width=st.integers(1, 5),
    factor=FACTORS,
)
def test_a_wider_resnet_with_batch_norm_computes_the_same(
    stages: tuple[int, ...], block: str, shortcut: str, width: int, factor: float
) -> None:
    plan = resnet(stages, block=block, shortcut=shortcut, width=width)
    larger = grows(plan, operation("widen", factor=factor))
    assert option(larger, "width") == more(width, factor)


@SLOWLY
@given(
    stages=st.sampled_from([(1,), (1, 2)]),
    block=st.sampled_from(["basic", "bottleneck"]),
    groups=st.sampled_from([1, 2, 4]),
    factor=FACTORS,
)
def test_a_wider_resnet_with_group_norm_computes_the_same(
    stages: tuple[int, ...], block: str, groups: int, factor: float
) -> None:
    plan = resnet(stages, block=block, norm="group", groups=groups)
    larger = grows(plan, operation("widen", factor=factor))
    wide = 4 // groups * more(groups, factor)
    assert option(larger, "width") == wide
    # Where each unit is copied as often, there are as many groups.
    assert option(larger, "groups") == (groups if wide % 4 == 0 else more(groups, factor))


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_a_wider_resnet_keeps_its_groups_around_a_shortcut_of_zeros(factor: float) -> None:
    plan = resnet((1, 1), norm="group", shortcut="identity")
    assert option(grows(plan, operation("widen", factor=factor)), "groups") == 2


@pytest.mark.parametrize("name", ["widen", "deepen"])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_stem_of_imagenet_grows_as_well(name: str, norm: str) -> None:
    grows(resnet((1, 1), 16, stem="imagenet", norm=norm), operation(name))


@SLOWLY
@given(
    stages=st.sampled_from([(1,), (2, 1), (1, 2, 1)]),
    block=st.sampled_from(["basic", "bottleneck"]),
    norm=st.sampled_from(["batch", "group"]),
    shortcut=st.sampled_from(["projection", "identity"]),
    name=st.sampled_from(["deepen", "deepen_every_stage"]),
    count=st.integers(1, 2),
)
def test_a_deeper_resnet_computes_the_same(
    stages: tuple[int, ...], block: str, norm: str, shortcut: str, name: str, count: int
) -> None:
    plan = resnet(stages, block=block, norm=norm, shortcut=shortcut)
    larger = grows(plan, operation(name, count=count))
    if name == "deepen":
        assert option(larger, "stages") == (*stages[:-1], stages[-1] + count)
    else:
        assert option(larger, "stages") == tuple(blocks + count for blocks in stages)


@SLOWLY
@given(
    heads=st.integers(1, 4),
    depth=st.sampled_from([2, 3, 4]),
    factor=FACTORS,
    feed_forward=st.sampled_from([None, 5]),
    positions=st.sampled_from(["learned", "rotary"]),
    noise=st.sampled_from([1e-3, 1.0]),
)
def test_a_wider_transformer_computes_the_same(
    heads: int, depth: int, factor: float, feed_forward: int | None, positions: str, noise: float
) -> None:
    given_ = {"feed_forward": feed_forward, "positions": positions, "causal": heads > 2}
    plan = transformer(heads, depth, **given_)
    larger = grows(plan, operation("widen", factor=factor, noise=noise))
    assert option(larger, "width") == option(larger, "width", 1)
    assert option(larger, "heads", 1) == more(heads, factor)
    assert option(larger, "width", 1) == depth * more(heads, factor)
    wide = None if feed_forward is None else more(feed_forward, factor)
    assert option(larger, "feed_forward", 1) == wide


@SLOWLY
@given(
    layers_=st.integers(1, 2),
    count=st.integers(1, 2),
    positions=st.sampled_from(["learned", "rotary"]),
)
def test_a_deeper_transformer_computes_the_same(layers_: int, count: int, positions: str) -> None:
    plan = transformer(layers=layers_, positions=positions)
    larger = grows(plan, operation("deepen", count=count))
    assert option(larger, "layers", 1) == layers_ + count


IMAGE = (6, 6, 2)
BLOCK: list[Stage] = [("layer_norm", {}), ("attention", {"heads": 2})]
WIDER: list[Stage] = [("dense", {"width": 5}), ("relu", {})]
NORMED: list[Stage] = [("dense", {"width": 4}), ("batch_norm", {}), ("relu", {})]
PIPES: dict[str, tuple[tuple[int, ...], list[Stage]]] = {
    "dense layers": (
        (2, 3),
        [("flatten", {}), ("dense", {"width": 5}), ("relu", {}), ("dropout", {"rate": 0.5})],
    ),
    "convolutions": (
        IMAGE,
        [
            ("conv", {"width": 3}), ("batch_norm", {}), ("relu", {}), ("max_pool", {}),
            ("conv", {"width": 4, "stride": 2}), ("group_norm", {"groups": 2}), ("silu", {}),
            ("avg_pool", {}), ("flatten", {}), ("dense", {"width": 5}), ("tanh", {}),
        ],
    ),
    "a flattened image normed": (
        IMAGE, [("conv", {"width": 3}), ("flatten", {}), ("batch_norm", {})]
    ),
    "an image into an mlp": (
        IMAGE, [("conv", {"width": 3}), ("relu", {}), ("mlp", {"hidden": (4,), "width": 5})]
    ),
    "a resnet and a head": (
        IMAGE,
        [
            ("conv", {"width": 3}), ("resnet", {"stages": (1,), "width": 2, "outputs": 4}),
            ("gelu", {}),
        ],
    ),
    "a residual of dense layers": (
        (3,),
        [
            ("dense", {"width": 4}),
            ("residual", {"layers": [*WIDER, ("dense", {"width": 4})]}),
        ],
    ),
    "repeated": (
        (3,),
        [
            ("dense", {"width": 4}),
            ("repeat", {"n": 2, "layers": NORMED}),
        ],
    ),
    "a transformer of single layers": (
        (5,),
        [
            ("embed", {"width": 6, "tokens": 7}), ("residual", {"layers": BLOCK}),
            ("residual", {"layers": [("layer_norm", {}), ("dense", {"width": 6})]}),
            ("layer_norm", {}), ("mean_pool", {}),
        ],
    ),
    "attention without norms": (
        (5,),
        [("embed", {"width": 4, "tokens": 7}), ("attention", {"heads": 2}), ("mean_pool", {})],
    ),
    "two transformers": (
        (5, 2),
        [
            ("dense", {"width": 4}), ("transformer", {"layers": 1, "heads": 1, "width": 4}),
            ("dense", {"width": 6}), ("transformer", {"layers": 1, "heads": 2, "width": 6}),
            ("mean_pool", {}),
        ],
    ),
}  # fmt: skip


def pipe(name: str) -> ModelPlan:
    shape, stages = PIPES[name]
    return model(shape, *stages, ("dense", {"width": 3}))


@pytest.mark.parametrize("factor", [1.5, 2.0])
@pytest.mark.parametrize("name", PIPES)
def test_a_wider_pipe_computes_the_same(name: str, factor: float) -> None:
    grows(pipe(name), operation("widen", factor=factor))


def test_a_normed_layer_takes_whole_factors() -> None:
    plan = model(
        (3,), ("dense", {"width": 4}), ("layer_norm", {}), ("relu", {}), ("dense", {"width": 3})
    )
    grows(plan, operation("widen", factor=3.0))
    why = fits(plan, operation("widen", factor=1.5))
    assert why is not None
    assert why.startswith("widen(1.5x) would change what layer_norm makes of 4 units")


def test_one_hidden_layer_alone_grows() -> None:
    plan = mlp((3, 4, 5))
    larger = grows(plan, operation("widen_stage", stage=2, factor=1.5))
    assert option(larger, "hidden") == (3, 6, 5)
    convolutions = pipe("convolutions")
    larger = grows(convolutions, operation("widen_stage", stage=2, factor=2.0))
    assert [option(larger, "width", place) for place in (0, 4, 9)] == [3, 8, 5]


def test_a_pipe_deepens_its_networks_and_nothing_else() -> None:
    plan = pipe("a resnet and a head")
    larger = grows(plan, operation("deepen"))
    assert option(larger, "stages", 1) == (2,)
    assert larger.layers.layers[0] == plan.layers.layers[0]


def test_growth_goes_on_from_growth() -> None:
    plan = transformer()
    params = weights(plan)
    x = batch(plan)
    first, later = plan, params
    for place, by in enumerate(
        [
            operation("deepen"),
            operation("widen", factor=1.5),
            operation("widen"),
            operation("deepen"),
        ]
    ):
        later = grow(first, later, by, jax.random.key(place))
        first = grown_plan(first, by)
    assert option(first, "width", 1) == 24
    assert max_output_change(plan, params, first, later, x) < CLOSE


# ---------------------------------------------------------------- sizes


def test_a_width_has_the_nearest_whole_number_and_one_more_at_least() -> None:
    assert [more(8, 1.5), more(7, 1.3), more(3, 1.1), more(1, 1.01), more(5, 1.5)] == [
        12, 9, 4, 2, 8,
    ]  # fmt: skip


@given(count=st.integers(1, 10_000), factor=st.floats(1.01, 8.0))
def test_a_width_grows_by_about_the_factor(count: int, factor: float) -> None:
    wide = more(count, factor)
    assert wide > count
    assert wide == count + 1 or abs(wide - factor * count) <= 0.5


@pytest.mark.parametrize("name", [*PIPES])
def test_the_arrays_of_the_widths_are_those_of_the_network(name: str) -> None:
    plan = pipe(name)
    found = widths.widths(plan).arrays
    real = {
        tuple(each.key for each in path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes(plan))
    }
    assert found.keys() == real.keys()
    for path, uses in found.items():
        for size, use in zip(real[path], uses, strict=True):
            assert use is None or use.width.one.size * use.places == size


def test_every_layer_and_every_operator_is_known() -> None:
    assert widths.LAYERS.keys() == LAYERS.keys()
    assert grown.TABLE.keys() == GROWTH.keys()


def test_fresh_is_as_wide_and_starts_anew() -> None:
    plan = resnet((1, 1))
    by = operation("fresh", factor=1.5)
    larger = grown_plan(plan, by)
    assert larger == grown_plan(plan, operation("widen", factor=1.5))
    after = grow(plan, weights(plan), by, KEY)
    init = jax.jit(functools.partial(models.init, larger))
    jax.tree.map(np.testing.assert_array_equal, after, init(KEY))


def test_equal_keys_grow_equally_and_others_don_t() -> None:
    plan = mlp((4, 4))
    params = weights(plan)
    one, same, other = (
        ravel_pytree(grow(plan, params, operation("widen"), jax.random.key(seed)))[0]
        for seed in (1, 1, 2)
    )
    assert jnp.array_equal(one, same)
    assert not jnp.array_equal(one, other)


def test_a_group_grows_where_it_is_explored() -> None:
    trunk, head = mlp((4,)), mlp((5,))
    frozen = ModelPlan("fixed", trunk.input, trunk.output, trunk.layers, False)
    head = ModelPlan("head", head.input, head.output, head.layers, True)
    group = (trunk, frozen, head)
    params = {each.name: weights(each) for each in group}
    after = grow_group(group, params, operation("widen"), KEY)
    plans = grown_plans(group, operation("widen"))
    assert plans[1] is frozen
    assert after["fixed"] is params["fixed"]
    for before, behind in zip(group, plans, strict=True):
        x = batch(before)
        name = before.name
        assert max_output_change(before, params[name], behind, after[name], x) < CLOSE


# ---------------------------------------------------------------- training goes on


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


@pytest.mark.parametrize("factor", [1.5, 2.0])
@pytest.mark.parametrize("name", ["mlp", "resnet", "group"])
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


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("plan", "by", "why"),
    [
        (mlp((4,), "tanh"), operation("deepen"), "tanh changes what it is given"),
        (mlp(()), operation("deepen"), "an mlp with a hidden layer"),
        (mlp(()), operation("widen"), "finds no layer that can be wider"),
        (mlp((4,)), operation("deepen_every_stage"), "mlp has no stages"),
        (mlp((4,)), operation("widen_stage", stage=2), "names hidden layer 2, and 1 can"),
        (resnet((1,)), operation("widen_stage", stage=1), "can't take one stage of a resnet"),
        (pipe("convolutions"), operation("deepen"), "takes an mlp, a resnet or a transformer"),
        (
            resnet((1, 1), norm="group", shortcut="identity"),
            operation("widen", factor=1.5),
            "would change what group_norm makes of 8 channels in 2 groups",
        ),
        (
            model((5, 4), ("transformer", {"layers": 1, "heads": 2, "width": 4})),
            operation("widen"),
            "finds no layer that can be wider",
        ),
    ],
)
def test_what_would_change_the_function_is_refused(
    plan: ModelPlan, by: Operation, why: str
) -> None:
    said = fits(plan, by)
    assert said is not None
    assert why in said
    with pytest.raises(Unfit):
        grow(plan, weights(plan), by, KEY)


def test_what_fits_has_no_reason_against_it() -> None:
    assert fits(mlp((4,)), operation("widen")) is None
