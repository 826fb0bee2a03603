"""Models against forward passes written in NumPy, known counts and finite differences."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
import scipy.special
from flax import nnx
from jax import lax

from ev3lang.backend import models
from ev3lang.catalog.index import LAYERS
from ev3lang.catalog.signature import Type, parse_type
from ev3lang.plan import work
from ev3lang.plan.plan import LayerPlan, Layers, ModelPlan

KEY = jax.random.key(0)


def layer(shape: tuple[int, ...], name: str, **given) -> LayerPlan:
    """A layer with the catalogue's defaults and output shape."""
    entry = LAYERS[name]
    options = {option.name: option.default for option in entry.options} | given
    for_shape = dict(options)
    if entry.inner is not None:
        for_shape[entry.inner] = options[entry.inner].layers[-1].output
    return LayerPlan(name, tuple(options.items()), shape, entry.shape(shape, for_shape))


def pipe(shape: tuple[int, ...], *stages: tuple[str, dict]) -> Layers:
    done = []
    for name, given in stages:
        done.append(layer(shape, name, **given))
        shape = done[-1].output
    return Layers(tuple(done))


def model(
    shape: tuple[int, ...], *stages: tuple[str, dict], output: str | None = None
) -> ModelPlan:
    layers = pipe(shape, *stages)
    type_ = parse_type(output) if output else Type("f32", layers.layers[-1].output)
    return ModelPlan("net", shape, type_, layers, is_explored=True)


def mlp(*hidden: int, activation: str = "relu") -> ModelPlan:
    given = {"hidden": hidden, "activation": activation, "width": 10}
    return model((8, 8, 1), ("mlp", given), output="logits[10]")


def batch(plan: ModelPlan, size: int = 5) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (size, *plan.input))


def apply(plan: ModelPlan, params, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
    return models.apply(plan, params, x, dropout_key=key)


def as_numpy(params) -> dict:
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)


NUMPY = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x * scipy.special.expit(x),
    "softplus": lambda x: np.logaddexp(x, 0),
    "tanh": np.tanh,
    "sigmoid": scipy.special.expit,
}


@pytest.mark.parametrize("activation", NUMPY)
def test_an_mlp_is_its_forward_pass(activation: str) -> None:
    plan = mlp(7, 6, activation=activation)
    params = models.init(plan, KEY)
    x = batch(plan)
    weights = as_numpy(params)["mlp_0"]
    y = np.asarray(x, np.float64).reshape(5, 64)
    for name in ("hidden_0", "hidden_1"):
        y = NUMPY[activation](y @ weights[name]["kernel"] + weights[name]["bias"])
    y = y @ weights["output"]["kernel"] + weights["output"]["bias"]
    np.testing.assert_allclose(apply(plan, params, x), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", NUMPY)
def test_an_activation_is_a_layer_of_its_own(activation: str) -> None:
    plan = model((4,), (activation, {}))
    x = 3 * batch(plan)
    expected = NUMPY[activation](np.asarray(x, np.float64))
    np.testing.assert_allclose(apply(plan, {}, x), expected, rtol=1e-4, atol=1e-5)


def test_options_of_an_activation_count() -> None:
    x = -jnp.ones((1, 2))
    steep = model((2,), ("leaky_relu", {"negative_slope": 0.5}))
    np.testing.assert_allclose(apply(steep, {}, x), [[-0.5, -0.5]])
    exact = model((2,), ("gelu", {"approximate": False}))
    np.testing.assert_allclose(
        apply(exact, {}, x), -scipy.special.ndtr(-1.0) * np.ones((1, 2)), rtol=1e-5
    )
    low = model((2,), ("elu", {"alpha": 2.0}))
    np.testing.assert_allclose(apply(low, {}, x), 2 * np.expm1(-np.ones((1, 2))), rtol=1e-5)


TRUNK = model(
    (6, 4),
    ("layer_norm", {}),
    ("residual", {"layers": pipe((6, 4), ("dense", {"width": 4}), ("tanh", {}))}),
    ("flatten", {}),
    ("repeat", {"n": 2, "layers": pipe((24,), ("dense", {"width": 24}), ("relu", {}))}),
    ("dense", {"width": 3}),
    output="logits[3]",
)


def test_a_pipe_is_its_forward_pass() -> None:
    params = models.init(TRUNK, KEY)
    params["layer_norm_0"]["norm"]["scale"] += jnp.arange(4.0)
    params["layer_norm_0"]["norm"]["bias"] -= 0.5
    x = 7 + batch(TRUNK)
    w = as_numpy(params)

    def dense(y: np.ndarray, weights: dict) -> np.ndarray:
        return y @ weights["linear"]["kernel"] + weights["linear"]["bias"]

    y = np.asarray(x, np.float64)
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
    y = y * w["layer_norm_0"]["norm"]["scale"] + w["layer_norm_0"]["norm"]["bias"]
    y = y + np.tanh(dense(y, w["residual_1"]["layers"]["dense_0"]))
    y = y.reshape(5, 24)
    for name in ("pass_0", "pass_1"):
        y = np.maximum(dense(y, w["repeat_3"][name]["dense_0"]), 0)
    y = dense(y, w["dense_4"])
    np.testing.assert_allclose(apply(TRUNK, params, x), y, rtol=1e-4, atol=1e-4)


def test_a_layer_norm_keeps_its_digits_far_from_zero() -> None:
    plan = model((4,), ("layer_norm", {}))
    x = jnp.array([[0.0, 1.0, 2.0, 3.0]]) + 4096
    expected = np.array([[-1.5, -0.5, 0.5, 1.5]]) / math.sqrt(1.25)
    np.testing.assert_allclose(apply(plan, models.init(plan, KEY), x), expected, rtol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_conv_is_a_convolution_and_a_bias(stride: int, padding: str) -> None:
    given = {"width": 4, "kernel": 3, "stride": stride, "padding": padding}
    plan = model((9, 8, 3), ("conv", given))
    params = models.init(plan, KEY)
    weights = params["conv_0"]["conv"]
    assert weights["kernel"].shape == (3, 3, 3, 4)
    weights["bias"] += jnp.arange(4.0)
    x = batch(plan)
    expected = lax.conv_general_dilated(
        x,
        weights["kernel"],
        (stride, stride),
        padding.upper(),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(apply(plan, params, x), expected + jnp.arange(4.0), rtol=1e-5)


def test_a_conv_starts_as_one_of_flax_does() -> None:
    plan = model((8, 8, 3), ("conv", {"width": 4}))
    started = models.init(plan, KEY)["conv_0"]["conv"]
    own = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(params=KEY))
    np.testing.assert_array_equal(started["kernel"], own.kernel[...])
    np.testing.assert_array_equal(started["bias"], np.zeros(4))
    many = models.init(model((1, 1, 16), ("conv", {"width": 800})), KEY)["conv_0"]["conv"]["kernel"]
    # 115,200 draws: the sample variance is within 2% of the true one but for a chance below 1e-5.
    assert float(jnp.var(many)) == pytest.approx(1 / (3 * 3 * 16), rel=0.02)


@pytest.mark.parametrize("shape", [(4, 3, 6), (5, 6), (6,)], ids=["image", "sequence", "vector"])
def test_a_group_norm_norms_each_example_and_group(shape: tuple[int, ...]) -> None:
    plan = model(shape, ("group_norm", {"groups": 3}))
    params = models.init(plan, KEY)
    norm = params["group_norm_0"]["norm"]
    norm["scale"] += jnp.arange(6.0)
    norm["bias"] -= 0.5
    x = 7 + 2 * batch(plan)
    grouped = np.asarray(x, np.float64).reshape(5, -1, 3, 2)
    mean = grouped.mean((1, 3), keepdims=True)
    y = (grouped - mean) / np.sqrt(grouped.var((1, 3), keepdims=True) + 1e-6)
    expected = y.reshape(x.shape) * (1 + np.arange(6.0)) - 0.5
    np.testing.assert_allclose(apply(plan, params, x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "reduced"), [("max_pool", np.max), ("avg_pool", np.mean)])
@pytest.mark.parametrize(("size", "stride"), [(2, None), (3, None), (3, 2), (2, 3), (1, 1)])
def test_a_pool_reduces_each_window(name: str, reduced, size: int, stride: int | None) -> None:
    plan = model((9, 8, 3), (name, {"size": size, "stride": stride}))
    x = batch(plan)
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(x), (size, size), axis=(1, 2))
    step = stride or size
    expected = reduced(windows[:, ::step, ::step], axis=(-2, -1))
    assert expected.shape[1:] == plan.output.dimensions
    np.testing.assert_allclose(apply(plan, {}, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 3, 6), (5, 6)], ids=["image", "sequence"])
def test_a_mean_pool_leaves_the_channels(shape: tuple[int, ...]) -> None:
    plan = model(shape, ("mean_pool", {}))
    x = batch(plan)
    expected = np.asarray(x).reshape(5, -1, 6).mean(1)
    np.testing.assert_allclose(apply(plan, {}, x), expected, rtol=1e-5, atol=1e-6)


IMAGES = model(
    (9, 8, 2),
    ("conv", {"width": 4, "kernel": 3}),
    ("group_norm", {"groups": 2}),
    ("tanh", {}),
    ("max_pool", {}),
    ("conv", {"width": 6, "kernel": 2, "stride": 2, "padding": "valid"}),
    ("avg_pool", {"size": 2, "stride": 1}),
    ("mean_pool", {}),
    ("dense", {"width": 3}),
    output="logits[3]",
)


@pytest.mark.parametrize(
    ("plan", "count", "depth"),
    [
        (mlp(), 650, 0),
        (mlp(64, 64), 64 * 64 + 64 + 64 * 64 + 64 + 64 * 10 + 10, 2),
        (TRUNK, 2 * 4 + (16 + 4) + 2 * (24 * 24 + 24) + (24 * 3 + 3), 3),
        (model((3,), ("relu", {})), 0, 0),
        (IMAGES, (9 * 2 + 1) * 4 + 2 * 4 + (4 * 4 + 1) * 6 + (6 * 3 + 3), 0),
    ],
    ids=["linear", "mlp", "pipe", "nothing", "images"],
)
def test_parameters_and_depth_are_counted(plan: ModelPlan, count: int, depth: int) -> None:
    assert models.parameters(plan) == count
    assert work.depth(plan) == depth
    leaves = jax.tree.leaves(models.init(plan, KEY))
    assert sum(leaf.size for leaf in leaves) == count
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)


def test_l2_is_the_sum_of_squares_of_all_parameters() -> None:
    params = models.init(TRUNK, KEY)
    expected = sum(np.sum(leaf**2) for leaf in jax.tree.leaves(as_numpy(params)))
    assert float(models.l2(params)) == pytest.approx(expected, rel=1e-5)
    grads = jax.grad(models.l2)(params)
    jax.tree.map(lambda g, p: np.testing.assert_allclose(g, 2 * p), grads, params)


def test_facts_are_asked_with_a_plan_and_its_parameters() -> None:
    params = models.init(TRUNK, KEY)
    facts = {name: float(function(TRUNK, params)) for name, function in models.TABLE.items()}
    assert facts["parameters"] == models.parameters(TRUNK)
    assert facts["depth"] == work.depth(TRUNK)
    assert facts["l2"] == float(models.l2(params))


def test_a_key_decides_the_parameters() -> None:
    first, again, other = (models.init(TRUNK, jax.random.key(seed)) for seed in (3, 3, 4))
    compiled = jax.jit(functools.partial(models.init, TRUNK))(jax.random.key(3))
    for a, b, c, d in zip(*map(jax.tree.leaves, (first, again, compiled, other)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-6)
        assert a.ndim < 2 or not np.array_equal(a, d)


def test_repeated_layers_start_differently() -> None:
    passes = models.init(TRUNK, KEY)["repeat_3"]
    first, second = (passes[name]["dense_0"]["linear"]["kernel"] for name in ("pass_0", "pass_1"))
    assert not np.array_equal(first, second)


def test_weights_start_with_variance_one_over_inputs_and_biases_at_zero() -> None:
    plan = model((400,), ("dense", {"width": 500}))
    linear = models.init(plan, KEY)["dense_0"]["linear"]
    # 200,000 draws: the sample variance is within 1% of the true one but for a chance below 1e-9.
    assert float(jnp.var(linear["kernel"])) == pytest.approx(1 / 400, rel=0.01)
    assert float(jnp.abs(jnp.mean(linear["kernel"]))) < 1e-3
    assert not bool(jnp.any(linear["bias"]))


@pytest.mark.parametrize(
    "plan", [mlp(7, activation="tanh"), TRUNK, IMAGES], ids=["mlp", "pipe", "images"]
)
def test_gradients_match_finite_differences(plan: ModelPlan) -> None:
    params = models.init(plan, jax.random.key(2))
    x = batch(plan, 3)

    def loss(params) -> jax.Array:
        return jnp.mean(jnp.square(apply(plan, params, x)))

    # float32 differences over steps of 1e-2 keep two digits.
    jax.test_util.check_grads(loss, (params,), 1, modes=["rev"], eps=1e-2, rtol=2e-2, atol=2e-2)


def test_a_model_of_one_number_takes_and_gives_a_vector_of_them() -> None:
    given = {"hidden": (3,), "width": 1}
    for shape in ((), (1,)):
        plan = model(shape, ("mlp", given), output="real")
        params = models.init(plan, KEY)
        assert apply(plan, params, jnp.arange(5.0)).shape == (5,)
    assert apply(plan, params, jnp.ones((5, 1))).shape == (5,)


def test_whole_numbers_go_in_as_reals() -> None:
    plan = mlp(4)
    params = models.init(plan, KEY)
    x = jnp.ones((2, 8, 8, 1), jnp.uint8)
    np.testing.assert_array_equal(
        apply(plan, params, x), apply(plan, params, x.astype(jnp.float32))
    )


DROPPING = model((1000,), ("dropout", {"rate": 0.25}))


def test_dropout_does_nothing_without_a_key() -> None:
    x = batch(DROPPING)
    np.testing.assert_array_equal(apply(DROPPING, {}, x), x)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    y = np.asarray(apply(DROPPING, {}, jnp.ones((20, 1000)), KEY))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    # 20,000 draws: four standard errors.
    assert np.mean(y == 0) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 20_000))


def test_dropout_differs_by_layer_and_key() -> None:
    once = ("dropout", {"rate": 0.5})
    x = jnp.ones((1, 1000))
    first = np.asarray(apply(model((1000,), once), {}, x, KEY))
    other = np.asarray(apply(model((1000,), once), {}, x, jax.random.key(9)))
    both = np.asarray(apply(model((1000,), once, once), {}, x, KEY))
    assert not np.array_equal(first, other)
    # Were both layers to drop the same, half would be left; as it is, a quarter.
    assert np.mean(both > 0) == pytest.approx(0.25, abs=0.06)
    repeated = model((1000,), ("repeat", {"n": 2, "layers": pipe((1000,), once)}))
    assert np.mean(np.asarray(apply(repeated, {}, x, KEY)) > 0) == pytest.approx(0.25, abs=0.06)


def test_everything_may_be_dropped() -> None:
    plan = model((3,), ("dropout", {"rate": 1.0}))
    np.testing.assert_array_equal(apply(plan, {}, jnp.ones((2, 3)), KEY), np.zeros((2, 3)))


def test_a_model_can_be_scanned_mapped_and_differentiated_together() -> None:
    plan = mlp(5)
    keys = jax.random.split(KEY, 3)
    x = batch(plan)

    @jax.jit
    def descend(keys: jax.Array):
        def one(key: jax.Array) -> jax.Array:
            def step(params, _):
                grads = jax.grad(lambda p: jnp.mean(apply(plan, p, x) ** 2))(params)
                return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), None

            params, _ = jax.lax.scan(step, models.init(plan, key), None, length=20)
            return jnp.mean(apply(plan, params, x) ** 2)

        return jax.vmap(one)(keys)

    before = [jnp.mean(apply(plan, models.init(plan, key), x) ** 2) for key in keys]
    assert bool(jnp.all(descend(keys) < jnp.stack(before)))
