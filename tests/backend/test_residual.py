"""Residual networks and batch norm against plain JAX, published counts and formulas by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from ev3lang.backend import models
from ev3lang.backend.convolutions import convolution
from ev3lang.catalog.index import LAYERS
from ev3lang.catalog.signature import Type
from ev3lang.check import models as checked
from ev3lang.check import typed
from ev3lang.plan.plan import LayerPlan, Layers, ModelPlan
from ev3lang.plan.work import depth, flops

KEY = jax.random.key(0)


def model(shape: tuple[int, ...], *stages: tuple[str, dict[str, Any]]) -> ModelPlan:
    """A pipe with the catalogue's defaults; `tokens` is what the checker tells an embedding."""
    done: list[LayerPlan] = []
    inside = shape
    takes: Any = "numbers"
    for name, given in stages:
        entry = LAYERS[name]
        options = {option.name: option.default for option in entry.options} | given
        done.append(LayerPlan(name, tuple(options.items()), inside, entry.shape(inside, options)))
        inside = done[-1].output
        takes = entry.takes if len(done) == 1 else takes
    return ModelPlan("net", shape, Type("f32", inside), Layers(tuple(done)), True, takes=takes)


def resnet(shape: tuple[int, ...], stages: tuple[int, ...], **given: Any) -> ModelPlan:
    return model(shape, ("resnet", {"stages": stages} | given))


def of_imagenet(stages: tuple[int, ...], block: str) -> ModelPlan:
    given = {"width": 64, "block": block, "stem": "imagenet", "outputs": 1000}
    return resnet((224, 224, 3), stages, **given)


def of_cifar(blocks: int, shortcut: str) -> ModelPlan:
    return resnet((32, 32, 3), (blocks,) * 3, width=16, shortcut=shortcut, outputs=10)


def as_checked(plan: ModelPlan) -> typed.ModelInfo:
    """What the checker holds of the same model."""
    layers = tuple(
        typed.LayerInfo(each.name, each.options, (), each.input, each.output)  # type: ignore[arg-type]
        for each in plan.layers.layers
    )
    return typed.ModelInfo("net", (), plan.input, plan.output, layers, is_frozen=False)


# ---------------------------------------------------------------- counts


PUBLISHED = {
    "resnet-18": (of_imagenet((2, 2, 2, 2), "basic"), 11_689_512, 8),
    "resnet-34": (of_imagenet((3, 4, 6, 3), "basic"), 21_797_672, 16),
    "resnet-50": (of_imagenet((3, 4, 6, 3), "bottleneck"), 25_557_032, 16),
    "cifar-20": (of_cifar(3, "identity"), 269_722, 9),
    "cifar-20 projected": (of_cifar(3, "projection"), 272_474, 9),
    "cifar-56": (of_cifar(9, "identity"), 853_018, 27),
    "cifar-56 projected": (of_cifar(9, "projection"), 855_770, 27),
    "cifar-110": (of_cifar(18, "identity"), 1_727_962, 54),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_known_networks_have_their_published_number_of_parameters(name: str) -> None:
    plan, parameters, blocks = PUBLISHED[name]
    assert models.parameters(plan) == checked.parameters(as_checked(plan)) == parameters
    assert depth(plan) == checked.depth(as_checked(plan)) == blocks


@pytest.mark.parametrize(
    ("stages", "block", "parameters"),
    [((3, 4, 23, 3), "bottleneck", 44_549_160), ((3, 8, 36, 3), "bottleneck", 60_192_808)],
    ids=["resnet-101", "resnet-152"],
)
def test_deeper_networks_are_a_matter_of_stages(
    stages: tuple[int, ...], block: str, parameters: int
) -> None:
    assert checked.parameters(as_checked(of_imagenet(stages, block))) == parameters


@pytest.mark.parametrize(
    "plan",
    [
        model((5, 4), ("batch_norm", {})),
        model((6,), ("embed", {"width": 8, "tokens": 11})),
        model((6, 8), ("attention", {"heads": 2})),
        model((6, 8), ("transformer", {"layers": 3, "heads": 2, "width": 8})),
        model(
            (6, 8),
            (
                "transformer",
                {"layers": 1, "heads": 4, "width": 8, "feed_forward": 5, "positions": "rotary"},
            ),
        ),
        resnet((9, 7, 2), (1, 2), width=4, block="bottleneck", norm="group", groups=2, outputs=3),
        resnet((9, 7, 2), (2, 1), width=4, stem="imagenet", shortcut="identity", outputs=3),
        resnet((9, 7, 2), (2, 1), width=4, widths=(6, 5), outputs=3),
        resnet((9, 7, 2), (1, 1), width=4, widths=(3, 7), block="bottleneck", outputs=3),
        resnet((9, 7, 2), (1, 2), width=4, widths=(4, 7), shortcut="identity", outputs=3),
    ],
    ids=lambda plan: plan.layers.layers[0].name,
)
def test_parameters_are_counted_alike_without_jax(plan: ModelPlan) -> None:
    learned, _ = models.parted(models.init(plan, KEY))
    count = sum(leaf.size for leaf in jax.tree.leaves(learned))
    assert models.parameters(plan) == checked.parameters(as_checked(plan)) == count
    assert float(models.l2(models.init(plan, KEY))) == pytest.approx(
        sum(float(np.sum(np.square(leaf))) for leaf in jax.tree.leaves(learned)), rel=1e-5
    )


@pytest.mark.parametrize(
    ("plan", "giga_products"),
    [
        (PUBLISHED["resnet-18"][0], 1.814),
        (PUBLISHED["resnet-34"][0], 3.664),
        (PUBLISHED["resnet-50"][0], 4.089),
    ],
    ids=["resnet-18", "resnet-34", "resnet-50"],
)
def test_flops_are_twice_the_products_that_torchvision_states(
    plan: ModelPlan, giga_products: float
) -> None:
    assert flops(plan) / 2e9 == pytest.approx(giga_products, abs=6e-4)


def test_flops_of_a_small_resnet_are_those_counted_by_hand() -> None:
    plan = resnet((8, 8, 3), (1, 1), width=4, outputs=5)
    stem = 64 * 9 * 3 * 4
    first = 2 * 64 * 9 * 4 * 4
    second = 16 * 9 * 4 * 8 + 16 * 9 * 8 * 8 + 16 * 4 * 8
    assert flops(plan) == models.TABLE["flops"](plan, {}) == 2 * (stem + first + second + 8 * 5)


def test_flops_of_a_small_resnet_go_by_the_widths_of_its_stages() -> None:
    plan = resnet((8, 8, 3), (1, 1), width=4, widths=(6, 5), outputs=7)
    stem = 64 * 9 * 3 * 4
    # A stage that isn't as wide as the stem has a projection, at full size.
    first = 64 * 9 * 4 * 6 + 64 * 9 * 6 * 6 + 64 * 4 * 6
    second = 16 * 9 * 6 * 5 + 16 * 9 * 5 * 5 + 16 * 6 * 5
    assert flops(plan) == 2 * (stem + first + second + 5 * 7)


def test_widths_that_double_are_those_without_any() -> None:
    said = resnet((9, 7, 2), (1, 1), width=4, widths=(4, 8), outputs=3)
    plain = resnet((9, 7, 2), (1, 1), width=4, outputs=3)
    assert flops(said) == flops(plain)
    jax.tree.map(np.testing.assert_array_equal, models.init(said, KEY), models.init(plain, KEY))


def test_flops_of_a_dense_net_are_about_those_that_xla_counts() -> None:
    plan = model((64,), ("mlp", {"hidden": (128, 128), "activation": "relu", "width": 10}))
    assert flops(plan) == 2 * (64 * 128 + 128 * 128 + 128 * 10)
    params, x = models.init(plan, KEY), jnp.zeros((32, 64))
    compiled = jax.jit(lambda x: models.apply(plan, params, x)).lower(x).compile()
    # XLA counts biases and activations too, a hundredth here.
    assert compiled.cost_analysis()["flops"] == pytest.approx(32 * flops(plan), rel=0.05)


# ---------------------------------------------------------------- the forward pass


def plain_norm(x: Array, params: dict[str, Any], groups: int | None) -> Array:
    """Batch norm in training, or group norm."""
    shape = x.shape
    if groups is None:
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - mean) / jnp.sqrt(var + 1e-5) * params["scale"] + params["bias"]
    x = x.reshape(*shape[:3], groups, -1)
    mean, var = x.mean((1, 2, 4), keepdims=True), x.var((1, 2, 4), keepdims=True)
    x = ((x - mean) / jnp.sqrt(var + 1e-6)).reshape(shape)
    inner = params["norm"]
    return x * inner["scale"] + inner["bias"]


def plain_resnet(plan: ModelPlan, params: dict[str, Any], x: Array) -> Array:
    """The same network as one plain function of JAX's own convolutions."""
    options: dict[str, Any] = dict(plan.layers.layers[0].options)
    groups = options["groups"] if options["norm"] == "group" else None

    def conv(x: Array, params: dict[str, Any], stride: int = 1) -> Array:
        y = lax.conv_general_dilated(
            x,
            params["kernel"],
            (stride, stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return plain_norm(y, params["norm"], groups)

    net = params["resnet_0"]
    is_large = options["stem"] == "imagenet"
    x = jax.nn.relu(conv(x, net["stem"], 2 if is_large else 1))
    if is_large:
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
    firsts = np.cumsum((0, *options["stages"]))[1:]
    for place in range(sum(options["stages"])):
        block = net[f"block_{place}"]
        stride = 2 if place in firsts else 1
        if options["block"] == "basic":
            y = jax.nn.relu(conv(x, block["conv_0"], stride))
            y = conv(y, block["conv_1"])
        else:
            y = jax.nn.relu(conv(x, block["conv_0"]))
            y = jax.nn.relu(conv(y, block["conv_1"], stride))
            y = conv(y, block["conv_2"])
        if "projection" in block:
            x = conv(x, block["projection"], stride)
        elif y.shape != x.shape:
            assert options["shortcut"] == "identity"
            more = y.shape[-1] - x.shape[-1]
            x = jnp.pad(x[:, ::stride, ::stride], [(0, 0)] * 3 + [(more // 2, more - more // 2)])
        x = jax.nn.relu(x + y)
    return x.mean((1, 2)) @ net["output"]["kernel"] + net["output"]["bias"]


@pytest.mark.parametrize(
    "given",
    [
        {"shortcut": "identity"},
        {"block": "bottleneck"},
        {"stem": "imagenet", "norm": "group", "groups": 2},
        {"block": "bottleneck", "shortcut": "identity", "norm": "group", "groups": 4},
    ],
    ids=["identity", "bottleneck", "imagenet", "bottleneck-identity"],
)
def test_values_and_gradients_are_those_of_a_plain_function(given: dict[str, Any]) -> None:
    plan = resnet((9, 8, 3), (1, 1), width=4, outputs=3, **given)
    params = models.init(plan, KEY)
    learned, statistics = models.parted(params)
    x = jax.random.normal(jax.random.key(1), (4, *plan.input))
    slope = jax.random.normal(jax.random.key(2), (4, 3))

    def ours(learned: Any) -> Array:
        return models.train(plan, models.joined(learned, statistics), x)[0]

    def plain(learned: Any) -> Array:
        return plain_resnet(plan, learned, x)

    found, pull = jax.vjp(jax.jit(ours), learned)
    expected, pull_plain = jax.vjp(jax.jit(plain), learned)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    one, other = ravel_pytree(pull(slope))[0], ravel_pytree(pull_plain(slope))[0]
    assert jnp.linalg.norm(one - other) < 1e-5 * jnp.linalg.norm(other)


def test_kernels_start_with_variance_two_over_what_an_output_feeds() -> None:
    plan = resnet((8, 8, 3), (1,), width=64, outputs=10)
    kernel = models.init(plan, KEY)["resnet_0"]["block_0"]["conv_0"]["kernel"]
    assert kernel.shape == (3, 3, 64, 64)
    assert float(jnp.var(kernel)) == pytest.approx(2 / (9 * 64), rel=0.05)


@pytest.mark.parametrize(("size", "stride"), [(7, 2), (1, 2), (1, 1)])
def test_convolutions_of_stems_and_shortcuts_have_the_gradients_of_xla(
    size: int, stride: int
) -> None:
    x = jax.random.normal(jax.random.key(1), (2, 11, 10, 3))
    kernel = jax.random.normal(jax.random.key(2), (size, size, 3, 4))

    def by_xla(x: Array, kernel: Array) -> Array:
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), "SAME", dimension_numbers=numbers
        )

    expected, pull_expected = jax.vjp(by_xla, x, kernel)
    found, pull = jax.vjp(lambda x, kernel: convolution(x, kernel, stride, "same"), x, kernel)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    slope = jax.random.normal(jax.random.key(3), expected.shape)
    for one, other in zip(pull(slope), pull_expected(slope), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)


# ---------------------------------------------------------------- max pool


@pytest.mark.parametrize(("size", "stride"), [(2, None), (3, 3), (3, 2)])
def test_gradients_of_max_pool_are_those_of_xla(size: int, stride: int | None) -> None:
    step = stride or size
    x = jax.random.normal(KEY, (2, 7, 8, 3))

    def by_xla(x: Array) -> Array:
        window, strides = (1, size, size, 1), (1, step, step, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, "VALID")

    expected, pull_expected = jax.vjp(by_xla, x)
    found, pull = jax.vjp(lambda x: models.max_pool(x, size=size, stride=stride), x)
    np.testing.assert_array_equal(found, expected)
    slope = jax.random.normal(jax.random.key(1), expected.shape)
    np.testing.assert_allclose(pull(slope)[0], pull_expected(slope)[0], rtol=1e-6)


def test_equal_greatest_values_share_the_gradient_of_a_window() -> None:
    gradient = jax.grad(lambda x: models.max_pool(x, size=2, stride=None).sum())
    np.testing.assert_allclose(gradient(jnp.ones((1, 2, 2, 1))), jnp.full((1, 2, 2, 1), 0.25))


# ---------------------------------------------------------------- batch norm


NORMED = model((5, 3), ("batch_norm", {"momentum": 0.8}))


def channels(seed: int = 1, size: int = 6) -> Array:
    x = jax.random.normal(jax.random.key(seed), (size, *NORMED.input))
    return x * jnp.asarray([1.0, 3.0, 0.1]) + jnp.asarray([0.0, 5.0, -2.0])


def scaled() -> dict[str, Any]:
    params = models.init(NORMED, KEY)
    params["batch_norm_0"]["scale"] = jnp.asarray([1.0, 2.0, 3.0])
    params["batch_norm_0"]["bias"] = jnp.asarray([0.0, -1.0, 1.0])
    return params


def test_training_norms_by_the_batch_and_moves_the_statistics() -> None:
    params = scaled()
    x = np.asarray(channels(), np.float64)
    y, moved = models.train(NORMED, params, channels())
    mean, var = x.mean((0, 1)), x.var((0, 1))
    own = params["batch_norm_0"]
    expected = (x - mean) / np.sqrt(var + 1e-5) * np.asarray(own["scale"]) + np.asarray(own["bias"])
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    found = moved["batch_norm_0"]["statistics"]
    np.testing.assert_allclose(found["mean"], 0.2 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["var"], 0.8 + 0.2 * var, rtol=1e-5)


def test_evaluation_norms_by_the_running_statistics_one_example_at_a_time() -> None:
    params = scaled()
    params["batch_norm_0"]["statistics"] = {
        "mean": jnp.asarray([1.0, 2.0, 3.0]),
        "var": jnp.asarray([4.0, 0.25, 1.0]),
    }
    x = np.asarray(channels(), np.float64)
    expected = (x - [1, 2, 3]) / np.sqrt(np.asarray([4, 0.25, 1]) + 1e-5) * [1, 2, 3] + [0, -1, 1]
    y = models.apply(NORMED, params, channels())
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(models.apply(NORMED, params, channels()[:1]), y[:1], rtol=1e-5)


def test_statistics_come_to_those_of_the_data() -> None:
    params, x = scaled(), channels()
    learned, statistics = models.parted(params)
    for _ in range(60):
        _, statistics = models.train(NORMED, models.joined(learned, statistics), x)
    settled = models.apply(NORMED, models.joined(learned, statistics), x)
    # After 60 steps 0.8^60, a millionth, of the start is left.
    np.testing.assert_allclose(settled, models.train(NORMED, params, x)[0], rtol=1e-3, atol=1e-4)


def test_stacked_weights_move_as_each_alone() -> None:
    x = channels()
    alone = [scaled(), jax.tree.map(lambda leaf: 2 * leaf, scaled())]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone)
    y, moved = jax.vmap(lambda params: models.train(NORMED, params, x))(stacked)
    for place, params in enumerate(alone):
        found = jax.tree.map(lambda leaf, place=place: leaf[place], (y, moved))
        expected = models.train(NORMED, params, x)
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6),
            found,
            expected,
        )


def test_statistics_stay_float32_where_layers_compute_in_bf16() -> None:
    y, moved = models.train(NORMED, scaled(), channels(), dtype=jnp.bfloat16)
    assert y.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(moved)} == {jnp.dtype("float32")}
    # bf16 keeps eight bits of the inputs, whose means are up to 5.
    exact = models.train(NORMED, scaled(), channels())[1]
    one, other = ravel_pytree(moved)[0], ravel_pytree(exact)[0]
    np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3)


def test_parts_of_a_model_make_the_whole_again() -> None:
    plan = resnet((8, 8, 3), (1, 1), width=4, outputs=3)
    params = models.init(plan, KEY)
    learned, statistics = models.parted(params)
    whole = models.joined(learned, statistics)
    assert jax.tree.structure(whole) == jax.tree.structure(params)
    assert len(jax.tree.leaves(statistics)) == 2 * 6
    dense = models.init(model((3,), ("dense", {"width": 2})), KEY)
    assert models.parted(dense) == (dense, {})
