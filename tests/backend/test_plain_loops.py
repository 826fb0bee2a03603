"""Networks in training against loops written from scratch in flax linen and optax.

Nothing of the package's networks is used by the other side: linen modules with JAX's own
convolutions, attention and batch norm, given the same start weights under their own names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from ev3lang.backend import models
from ev3lang.backend.expressions import Networks
from ev3lang.backend.layout import Held
from ev3lang.backend.rollout import gradient_step
from ev3lang.catalog.index import LAYERS
from ev3lang.catalog.signature import Type
from ev3lang.plan.plan import Apply, Field, Forward, LayerPlan, Layers, ModelPlan

STEPS = 100


def layer(shape: tuple[int, ...], name: str, extra: dict | None = None, **given: Any) -> LayerPlan:
    entry = LAYERS[name]
    options = {option.name: option.default for option in entry.options} | given
    output = entry.shape(shape, options)
    return LayerPlan(name, tuple((options | (extra or {})).items()), shape, output)


def model(shape: tuple[int, ...], *stages: tuple[str, dict], takes: Any = "numbers") -> ModelPlan:
    done: list[LayerPlan] = []
    inside = shape
    for name, given in stages:
        extra = {"tokens": given.pop("tokens")} if "tokens" in given else None
        done.append(layer(inside, name, extra, **given))
        inside = done[-1].output
    return ModelPlan("net", shape, Type("logits", inside), Layers(tuple(done)), True, takes=takes)


def entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def ours(
    plan: ModelPlan, params: Any, fields: dict, chain: Any, dtype: Any
) -> Callable[[int], Any]:
    """The weights after so many of the compiler's own gradient steps, in one scan."""
    x, label = Field("x", Type("f32", plan.input)), Field("y", Type("class", (3,)))
    logits = Forward("net", (x,), plan.output)
    loss = Apply(
        "cross_entropy", (logits, label), Type("real"), "example", (("label_smoothing", 0.0),)
    )
    networks = Networks({"net": plan}, {}, dtype=dtype)

    def restore(held: Held) -> Any:
        return {"net": models.joined(held.learned, held.statistics["net"])}

    def step(carry: Any, _: None) -> tuple[Any, None]:
        named = Held(carry[0], {"net": carry[1]})
        held, opt_state, _ = gradient_step(
            loss, chain, networks, restore, named, carry[2], fields, {}
        )
        return (held.learned, held.statistics["net"], opt_state), None

    learned, statistics = models.parted(params)
    begin = (learned, statistics, chain.init(learned))
    return jax.jit(lambda: jax.lax.scan(step, begin, length=STEPS)[0])


def theirs(module: nn.Module, variables: Any, x: Any, y: Any, chain: Any) -> Any:
    """The same of a Python loop over one jitted step; linen's variables."""

    @jax.jit
    def step(params: Any, still: Any, opt_state: Any) -> Any:
        def loss(params: Any) -> Any:
            logits, moved = module.apply(
                {"params": params, **still}, x, True, mutable=["batch_stats"]
            )
            return entropy(logits, y), moved

        grads, moved = jax.grad(loss, has_aux=True)(params)
        updates, opt_state = chain.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), {**still, **moved}, opt_state

    params = variables["params"]
    still = {name: each for name, each in variables.items() if name != "params"}
    opt_state = chain.init(params)
    for _ in range(STEPS):
        params, still, opt_state = step(params, still, opt_state)
    return {"params": params, **still}


def distance(first: Any, second: Any) -> float:
    """The norm of the difference of two trees of one structure, over the second's norm."""
    one, two = ravel_pytree(first)[0], ravel_pytree(second)[0]
    return float(jnp.linalg.norm(one - two) / jnp.linalg.norm(two))


# ---------------------------------------------------------------- an mlp


class LinenMlp(nn.Module):
    @nn.compact
    def __call__(self, x: Any, is_training: bool) -> Any:
        del is_training
        x = x.reshape(x.shape[0], -1)
        x = nn.relu(nn.Dense(16, name="hidden_0")(x))
        x = nn.relu(nn.Dense(8, name="hidden_1")(x))
        return nn.Dense(3, name="output")(x)


def test_an_mlp_follows_a_plain_loop_for_a_hundred_steps() -> None:
    plan = model((4, 4, 1), ("mlp", {"hidden": (16, 8), "activation": "relu", "width": 3}))
    params = models.init(plan, jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (32, 4, 4, 1))
    y = jax.random.randint(jax.random.key(2), (32,), 0, 3)
    chain = optax.adamw(1e-2)
    learned, _, _ = ours(plan, params, {"x": x, "y": y}, chain, jnp.float32)()
    found = theirs(LinenMlp(), {"params": params["mlp_0"]}, x, y, chain)["params"]
    assert distance(learned["mlp_0"], found) < 1e-5


# ---------------------------------------------------------------- a resnet


class LinenNormed(nn.Module):
    width: int
    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: Any, is_training: bool) -> Any:
        size = (self.kernel, self.kernel)
        x = nn.Conv(
            self.width, size, self.stride, "SAME", use_bias=False, dtype=x.dtype, name="conv"
        )(x)
        return nn.BatchNorm(
            not is_training,
            momentum=0.9,
            use_fast_variance=False,
            dtype=x.dtype,
            name="norm",
        )(x)


class LinenResnet(nn.Module):
    """Two stages of one basic block each, the second with a projection."""

    @nn.compact
    def __call__(self, x: Any, is_training: bool) -> Any:
        x = nn.relu(LinenNormed(4, 3, 1, name="stem")(x, is_training))
        for place, (width, stride) in enumerate([(4, 1), (8, 2)]):
            name = f"block_{place}"
            y = nn.relu(LinenNormed(width, 3, stride, name=f"{name}_conv_0")(x, is_training))
            y = LinenNormed(width, 3, 1, name=f"{name}_conv_1")(y, is_training)
            if stride == 2:
                x = LinenNormed(width, 1, 2, name=f"{name}_projection")(x, is_training)
            x = nn.relu(x + y)
        return nn.Dense(3, dtype=x.dtype, name="output")(x.mean((1, 2)))


def linen_resnet(params: Any) -> Any:
    """Our tree of a resnet as linen names it."""
    net = params["resnet_0"]
    learned: dict[str, Any] = {"output": net["output"]}
    still: dict[str, Any] = {}

    def put(name: str, ours: Any) -> None:
        norm = ours["norm"]
        learned[name] = {
            "conv": {"kernel": ours["kernel"]},
            "norm": {"scale": norm["scale"], "bias": norm["bias"]},
        }
        still[name] = {"norm": norm["statistics"]}

    put("stem", net["stem"])
    for block in ("block_0", "block_1"):
        for name, ours in net[block].items():
            put(f"{block}_{name}", ours)
    return {"params": learned, "batch_stats": still}


RESNET = {"stages": (1, 1), "width": 4, "outputs": 3}


def images(dtype: Any) -> tuple[Any, Any]:
    x = jax.random.normal(jax.random.key(1), (8, 8, 8, 2), dtype)
    return x, jax.random.randint(jax.random.key(2), (8,), 0, 3)


def test_a_resnets_first_gradient_is_that_of_linen() -> None:
    plan = model((8, 8, 2), ("resnet", dict(RESNET)))
    params = models.init(plan, jax.random.key(0))
    x, y = images(jnp.float32)
    learned, statistics = models.parted(params)

    def loss(learned: Any) -> Any:
        logits, moved = models.train(plan, models.joined(learned, statistics), x)
        return entropy(logits, y), moved

    def linen(learned: Any) -> Any:
        variables = linen_resnet(models.joined(learned, statistics))
        logits, moved = LinenResnet().apply(variables, x, True, mutable=["batch_stats"])
        return entropy(logits, y), moved

    found, moved = jax.jit(jax.grad(loss, has_aux=True))(learned)
    expected, linen_moved = jax.jit(jax.grad(linen, has_aux=True))(learned)
    assert distance(found, expected) < 1e-5
    mean = moved["resnet_0"]["stem"]["norm"]["statistics"]["mean"]
    np.testing.assert_allclose(
        mean, linen_moved["batch_stats"]["stem"]["norm"]["mean"], rtol=1e-5, atol=1e-7
    )


def test_a_resnet_follows_a_plain_loop_for_a_hundred_steps_in_x64() -> None:
    plan = model((8, 8, 2), ("resnet", dict(RESNET)))
    with jax.enable_x64(True):
        params = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), models.init(plan, jax.random.key(0))
        )
        x, y = images(jnp.float64)
        chain = optax.sgd(0.05, momentum=0.9)
        learned, statistics, _ = ours(plan, params, {"x": x, "y": y}, chain, jnp.float64)()
        found = linen_resnet(models.joined(learned, statistics))
        expected = theirs(LinenResnet(), linen_resnet(params), x, y, chain)
        assert distance(found, expected) < 1e-6
        logits = models.apply(plan, models.joined(learned, statistics), x, dtype=jnp.float64)
        np.testing.assert_allclose(logits, LinenResnet().apply(expected, x, False), rtol=1e-6)


# ---------------------------------------------------------------- a transformer


class LinenTransformer(nn.Module):
    """An encoder of two blocks, 8 wide, with learned positions, and a mean without padding."""

    @nn.compact
    def __call__(self, tokens: Any, is_training: bool) -> Any:
        del is_training
        mask = tokens >= 0
        kind = self.param("embedding", nn.initializers.normal(1), (11, 8)).dtype
        table = self.variables["params"]["embedding"]
        x = jnp.where(mask[..., None], table[jnp.maximum(tokens, 0)], 0)
        x = x + self.param("positions", nn.initializers.normal(1), (6, 8))
        for place in range(2):
            name = f"block_{place}"
            y = nn.LayerNorm(1e-6, use_fast_variance=False, dtype=kind, name=f"{name}_first")(x)
            y = nn.MultiHeadDotProductAttention(2, dtype=kind, name=f"{name}_attention")(
                y, mask=mask[:, None, None, :]
            )
            x = x + y
            y = nn.LayerNorm(1e-6, use_fast_variance=False, dtype=kind, name=f"{name}_second")(x)
            y = nn.gelu(nn.Dense(32, dtype=kind, name=f"{name}_up")(y))
            x = x + nn.Dense(8, dtype=kind, name=f"{name}_down")(y)
        x = nn.LayerNorm(1e-6, use_fast_variance=False, dtype=kind, name="norm")(x)
        total = jnp.where(mask[..., None], x, 0).sum(1) / mask.sum(1)[:, None]
        return nn.Dense(3, dtype=kind, name="output")(total)


def linen_transformer(params: Any) -> Any:
    net = params["transformer_1"]
    found = {
        "embedding": params["embed_0"]["table"]["embedding"],
        "positions": net["positions"],
        "norm": net["norm"]["norm"],
        "output": params["dense_3"]["linear"],
    }
    for block in ("block_0", "block_1"):
        ours = net[block]
        found[f"{block}_first"] = ours["first_norm"]["norm"]
        found[f"{block}_second"] = ours["second_norm"]["norm"]
        found[f"{block}_up"], found[f"{block}_down"] = ours["up"], ours["down"]
        attention = {
            name: {
                "kernel": ours["attention"][name]["kernel"].reshape(8, 2, 4),
                "bias": ours["attention"][name]["bias"].reshape(2, 4),
            }
            for name in ("query", "key", "value")
        }
        output = ours["attention"]["output"]
        attention["out"] = {"kernel": output["kernel"].reshape(2, 4, 8), "bias": output["bias"]}
        found[f"{block}_attention"] = attention
    return {"params": found}


def encoder() -> ModelPlan:
    return model(
        (6,),
        ("embed", {"width": 8, "tokens": 11}),
        ("transformer", {"layers": 2, "heads": 2, "width": 8}),
        ("mean_pool", {}),
        ("dense", {"width": 3}),
        takes="tokens",
    )


TOKENS = jnp.asarray(
    [[1, 2, 3, 4, 5, 6], [7, 8, 9, -1, -1, -1], [0, 10, 1, 1, -1, -1], [5, -1, -1, -1, -1, -1]]
)
KINDS = jnp.asarray([0, 1, 2, 0])


def test_a_transformers_first_gradient_is_that_of_linen() -> None:
    plan = encoder()
    params = models.init(plan, jax.random.key(0))

    def loss(params: Any) -> Any:
        return entropy(models.apply(plan, params, TOKENS), KINDS)

    def linen(params: Any) -> Any:
        return entropy(LinenTransformer().apply(linen_transformer(params), TOKENS, True), KINDS)

    found, expected = jax.jit(jax.grad(loss))(params), jax.jit(jax.grad(linen))(params)
    assert distance(found, expected) < 1e-5


def test_a_transformer_follows_a_plain_loop_for_a_hundred_steps_in_x64() -> None:
    plan = encoder()
    with jax.enable_x64(True):
        params = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), models.init(plan, jax.random.key(0))
        )
        chain = optax.sgd(0.05, momentum=0.9)
        fields = {"x": TOKENS, "y": KINDS}
        learned, _, _ = ours(plan, params, fields, chain, jnp.float64)()
        expected = theirs(LinenTransformer(), linen_transformer(params), TOKENS, KINDS, chain)
        assert distance(linen_transformer(learned), expected) < 1e-6


# ---------------------------------------------------------------- sequences


def test_padding_changes_nothing() -> None:
    plan = encoder()
    params = models.init(plan, jax.random.key(0))
    short = model(
        (3,),
        ("embed", {"width": 8, "tokens": 11}),
        ("transformer", {"layers": 2, "heads": 2, "width": 8}),
        ("mean_pool", {}),
        ("dense", {"width": 3}),
        takes="tokens",
    )
    fewer = jax.tree.map(lambda leaf: leaf, params)
    fewer["transformer_1"]["positions"] = params["transformer_1"]["positions"][:3]
    tokens = jnp.asarray([[7, 8, 9]])
    padded = jnp.asarray([[7, 8, 9, -1, -1, -1]])
    np.testing.assert_allclose(
        models.apply(short, fewer, tokens), models.apply(plan, params, padded), atol=1e-6
    )
    nothing = models.apply(plan, params, jnp.full((1, 6), -1))
    assert np.all(np.isfinite(nothing))


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_decoder_looks_back_only(positions: str) -> None:
    given = {"layers": 2, "heads": 2, "width": 8, "causal": True, "positions": positions}
    plan = model(
        (6,), ("embed", {"width": 8, "tokens": 11}), ("transformer", given), takes="tokens"
    )
    params = models.init(plan, jax.random.key(0))
    one, other = jnp.asarray([[1, 2, 3, 4, 5, 6]]), jnp.asarray([[1, 2, 3, 9, 10, 0]])
    first, second = models.apply(plan, params, one), models.apply(plan, params, other)
    np.testing.assert_allclose(first[:, :3], second[:, :3], atol=1e-6)
    assert np.max(np.abs(first[:, 3:] - second[:, 3:])) > 1e-3


def test_rotary_scores_depend_on_distance_alone() -> None:
    from ev3lang.backend.attention import rotated

    query, key = jax.random.normal(jax.random.key(0), (2, 8))
    places = jnp.zeros((1, 12, 1, 8))
    queries, keys = rotated(places + query)[0, :, 0], rotated(places + key)[0, :, 0]
    scores = np.asarray(queries @ keys.T)
    for distance in range(-5, 6):
        same = np.diagonal(scores, distance)
        np.testing.assert_allclose(same, same[0], atol=1e-4)
    assert np.ptp(scores) > 1e-2


def test_transformers_drop_only_with_a_key() -> None:
    given = {"layers": 1, "heads": 2, "width": 8, "dropout": 0.5}
    plan = model(
        (6,), ("embed", {"width": 8, "tokens": 11}), ("transformer", given), takes="tokens"
    )
    params = models.init(plan, jax.random.key(0))
    still = models.apply(plan, params, TOKENS)
    np.testing.assert_array_equal(still, models.apply(plan, params, TOKENS))
    dropped = models.apply(plan, params, TOKENS, dropout_key=jax.random.key(1))
    assert np.max(np.abs(still - dropped)) > 0.1


def test_attention_in_bf16_has_its_softmax_in_f32() -> None:
    plan = model((6, 8), ("attention", {"heads": 2}))
    params = models.init(plan, jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (2, 6, 8))
    text = str(jax.make_jaxpr(lambda x: models.apply(plan, params, x, dtype=jnp.bfloat16))(x))
    assert "f32[2,2,6,6] = exp" in text
    assert math.isclose(float(jnp.max(models.apply(plan, params, x))), 0, abs_tol=10)
