"""Sequence layers against forward passes written out head by head, and the laws they keep."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from ev3lang.backend import losses, models, scores
from ev3lang.backend.attention import rotated
from ev3lang.catalog.index import LAYERS
from ev3lang.catalog.signature import Type
from ev3lang.plan.plan import LayerPlan, Layers, ModelPlan

VOCABULARY, LENGTH, WIDTH, HEADS, STEPS = 11, 6, 8, 2, 100
TOKENS = jnp.asarray(
    [[1, 2, 3, 4, 5, 6], [7, 8, 9, -1, -1, -1], [0, 10, 1, 1, -1, -1], [5, -1, -1, -1, -1, -1]]
)


def plan_of(length: int, *stages: tuple[str, dict[str, Any]]) -> ModelPlan:
    shape: tuple[int, ...] = (length,)
    done: list[LayerPlan] = []
    for name, given in stages:
        entry = LAYERS[name]
        options = {option.name: option.default for option in entry.options} | given
        output = entry.shape(shape, options)
        extra = {"tokens": VOCABULARY} if name == "embed" else {}
        done.append(LayerPlan(name, tuple((options | extra).items()), shape, output))
        shape = output
    return ModelPlan(
        "net", (length,), Type("logits", shape), Layers(tuple(done)), True, takes="tokens"
    )


def transformer(**given: Any) -> tuple[str, dict[str, Any]]:
    return "transformer", {"layers": 2, "heads": HEADS, "width": WIDTH} | given


EMBED = ("embed", {"width": WIDTH})


def encoder(length: int = LENGTH, **given: Any) -> ModelPlan:
    return plan_of(length, EMBED, transformer(**given), ("mean_pool", {}), ("dense", {"width": 3}))


def decoder(length: int = LENGTH, **given: Any) -> ModelPlan:
    return plan_of(
        length, EMBED, transformer(causal=True, **given), ("dense", {"width": VOCABULARY})
    )


def moved(params: Any, key: jax.Array, dtype: Any = jnp.float32) -> Any:
    """Weights with no bias at 0 and no scale at 1, so that each of them tells."""
    flat, back = ravel_pytree(params)
    flat = flat + 0.3 * jax.random.normal(key, flat.shape)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), back(flat))


# ---------------------------------------------------------------- written out


def affine(layer: Any, x: Any) -> Any:
    return x @ layer["kernel"] + layer["bias"]


def normed(layer: Any, x: Any) -> Any:
    layer = layer["norm"]
    centred = x - x.mean(-1, keepdims=True)
    spread = jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return centred / spread * layer["scale"] + layer["bias"]


def turned(x: Any) -> Any:
    """[T, depth] as complex numbers, each turned by its place."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[0])[:, None] * 10_000.0 ** (-np.arange(half) / half)
    z = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * angle)
    return jnp.concatenate([z.real, z.imag], -1)


def attended(layer: Any, x: Any, is_there: Any, causal: bool, is_rotary: bool) -> Any:
    """One sequence [T, width]; each head on its own."""
    query, key, value = (affine(layer[name], x) for name in ("query", "key", "value"))
    depth = x.shape[-1] // HEADS
    seen = jnp.broadcast_to(is_there[None], (len(x), len(x)))
    if causal:
        seen = seen & (jnp.arange(len(x))[:, None] >= jnp.arange(len(x)))
    heads = []
    for head in range(HEADS):
        part = slice(head * depth, (head + 1) * depth)
        q, k = query[:, part], key[:, part]
        if is_rotary:
            q, k = turned(q), turned(k)
        weights = jnp.where(seen, jnp.exp(q @ k.T / math.sqrt(depth)), 0)
        heads.append(weights / weights.sum(-1, keepdims=True) @ value[:, part])
    return affine(layer["output"], jnp.concatenate(heads, -1))


def gelu(x: Any) -> Any:
    return 0.5 * x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def body(params: Any, tokens: Any, causal: bool, is_rotary: bool) -> Any:
    is_there = tokens >= 0
    table = params["embed_0"]["table"]["embedding"]
    x = table[jnp.maximum(tokens, 0)] * is_there[:, None]
    net = params["transformer_1"]
    if not is_rotary:
        x = x + net["positions"]
    for name in ("block_0", "block_1"):
        block = net[name]
        inner = normed(block["first_norm"], x)
        x = x + attended(block["attention"], inner, is_there, causal, is_rotary)
        inner = gelu(affine(block["up"], normed(block["second_norm"], x)))
        x = x + affine(block["down"], inner)
    return normed(net["norm"], x)


def encoded(params: Any, tokens: Any, is_rotary: bool) -> Any:
    def one(row: Any) -> Any:
        there = (row >= 0)[:, None]
        mean = (body(params, row, False, is_rotary) * there).sum(0) / there.sum()
        return affine(params["dense_3"]["linear"], mean)

    return jax.vmap(one)(tokens)


def decoded(params: Any, tokens: Any, is_rotary: bool) -> Any:
    def one(row: Any) -> Any:
        return affine(params["dense_2"]["linear"], body(params, row, True, is_rotary))

    return jax.vmap(one)(tokens)


def by_hand(params: Any, tokens: Any, is_rotary: bool) -> Any:
    """The loss of a decoder: the mean over all places with a next token, whichever text's."""
    logits = decoded(params, tokens, is_rotary)
    each: list[Any] = []
    for row, text in zip(logits, np.asarray(tokens), strict=True):
        places = [at for at in range(len(text) - 1) if text[at + 1] >= 0]
        each += [jax.nn.logsumexp(row[at]) - row[at, text[at + 1]] for at in places]
    return sum(each) / len(each)


def compiled(plan: ModelPlan, params: Any, tokens: Any, dtype: Any = jnp.float32) -> Any:
    logits = models.apply(plan, params, tokens, dtype=dtype)
    target = scores.next_token(tokens)
    return losses.token_cross_entropy(logits, target, label_smoothing=0.0, over="tokens").mean()


def distance(first: Any, second: Any) -> float:
    one, two = ravel_pytree(first)[0], ravel_pytree(second)[0]
    return float(jnp.linalg.norm(one - two) / jnp.linalg.norm(two))


# ---------------------------------------------------------------- what they compute


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_an_encoder_is_its_forward_pass(positions: str) -> None:
    plan = encoder(positions=positions)
    params = moved(models.init(plan, jax.random.key(0)), jax.random.key(1))
    expected = encoded(params, TOKENS, positions == "rotary")
    np.testing.assert_allclose(models.apply(plan, params, TOKENS), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_decoder_is_its_forward_pass(positions: str) -> None:
    plan = decoder(positions=positions)
    params = moved(models.init(plan, jax.random.key(0)), jax.random.key(1))
    found, expected = (
        models.apply(plan, params, TOKENS),
        decoded(params, TOKENS, positions == "rotary"),
    )
    there = np.asarray(TOKENS >= 0)
    np.testing.assert_allclose(found[there], expected[there], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_decoders_first_gradient_is_that_written_out(positions: str) -> None:
    plan = decoder(positions=positions)
    params = moved(models.init(plan, jax.random.key(0)), jax.random.key(1))
    found = jax.jit(jax.grad(lambda p: compiled(plan, p, TOKENS)))(params)
    expected = jax.grad(lambda p: by_hand(p, TOKENS, positions == "rotary"))(params)
    assert distance(found, expected) < 1e-5


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_decoder_follows_adam_by_hand_for_a_hundred_steps_in_x64(positions: str) -> None:
    plan, chain = decoder(positions=positions), optax.adam(1e-2)
    with jax.enable_x64(True):
        start = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), models.init(plan, jax.random.key(0))
        )

        def trained(loss: Any) -> Any:
            def step(carry: Any, _: None) -> tuple[Any, None]:
                params, state = carry
                updates, state = chain.update(jax.grad(loss)(params), state, params)
                return (optax.apply_updates(params, updates), state), None

            begin = (start, chain.init(start))
            return jax.jit(lambda: jax.lax.scan(step, begin, length=STEPS)[0][0])()

        found = trained(lambda p: compiled(plan, p, TOKENS, jnp.float64))
        expected = trained(lambda p: by_hand(p, TOKENS, positions == "rotary"))
        assert distance(found, start) > 0.1
        assert distance(found, expected) < 1e-9


# ---------------------------------------------------------------- laws


@pytest.mark.parametrize("amount", [0, 1, 7])
@pytest.mark.parametrize("causal", [False, True])
def test_places_with_tokens_do_not_depend_on_the_amount_of_padding(
    amount: int, causal: bool
) -> None:
    def net(length: int) -> ModelPlan:
        return plan_of(length, EMBED, transformer(positions="rotary", causal=causal))

    params = moved(models.init(net(LENGTH), jax.random.key(0)), jax.random.key(1))
    short = models.apply(net(LENGTH), params, TOKENS)
    more = jnp.pad(TOKENS, ((0, 0), (0, amount)), constant_values=-1)
    long = models.apply(net(LENGTH + amount), params, more)[:, :LENGTH]
    there = np.asarray(TOKENS >= 0)
    np.testing.assert_allclose(long[there], short[there], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("plan", [encoder(), decoder()], ids=["encoder", "decoder"])
def test_a_text_of_padding_alone_has_finite_outputs_and_gradients(plan: ModelPlan) -> None:
    nothing = jnp.full((2, LENGTH), -1)
    params = models.init(plan, jax.random.key(0))
    both = jax.value_and_grad(lambda p: models.apply(plan, p, nothing).sum())
    assert np.all(np.isfinite(ravel_pytree(jax.jit(both)(params))[0]))


def test_padding_gets_no_gradient_in_the_table() -> None:
    plan = encoder()
    params = moved(models.init(plan, jax.random.key(0)), jax.random.key(1))
    grads = jax.grad(lambda p: models.apply(plan, p, jnp.asarray([[3, 4, -1, -1, -1, -1]])).sum())(
        params
    )
    table = np.asarray(grads["embed_0"]["table"]["embedding"])
    assert set(np.flatnonzero(np.abs(table).sum(1))) == {3, 4}


def test_a_table_is_looked_up_in_what_the_layers_compute_in() -> None:
    plan = plan_of(LENGTH, EMBED)
    params = models.init(plan, jax.random.key(0))

    def text(dtype: Any) -> str:
        return str(jax.make_jaxpr(lambda x: models.apply(plan, params, x, dtype=dtype))(TOKENS))

    assert "bf16[4,6,8] = gather" in text(jnp.bfloat16)
    with jax.enable_x64(True):
        assert "f64[4,6,8] = gather" in text(jnp.float64)


def test_bf16_scores_are_not_rounded_before_the_softmax() -> None:
    plan = plan_of(LENGTH, EMBED, ("attention", {"heads": HEADS}))
    params = models.init(plan, jax.random.key(0))
    text = str(jax.make_jaxpr(lambda x: models.apply(plan, params, x, dtype=jnp.bfloat16))(TOKENS))
    assert "bf16[4,6,8] = dot_general" in text, "its layers are in bf16"
    assert "f32[4,2,6,6] = dot_general" in text
    assert "f32[4,2,6,6] = exp" in text
    assert "bf16[4,2,6,6] = dot_general" not in text


def test_learned_positions_count_and_rotary_ones_do_not() -> None:
    block = 4 * (WIDTH + 1) * WIDTH + (WIDTH + 1) * 32 + (32 + 1) * WIDTH + 2 * 2 * WIDTH
    rest = VOCABULARY * WIDTH + 2 * WIDTH + (WIDTH + 1) * VOCABULARY
    assert models.parameters(decoder(positions="rotary")) == 2 * block + rest
    assert models.parameters(decoder(positions="learned")) == 2 * block + rest + LENGTH * WIDTH


def test_another_key_drops_others() -> None:
    plan = decoder(dropout=0.5)
    params = models.init(plan, jax.random.key(0))
    one, two = (models.apply(plan, params, TOKENS, dropout_key=jax.random.key(n)) for n in (1, 2))
    assert np.max(np.abs(one - two)) > 0.1


def test_rotation_keeps_length_and_an_odd_last_number() -> None:
    x = jax.random.normal(jax.random.key(0), (1, 5, 1, 7))
    y = rotated(x)
    np.testing.assert_allclose(jnp.linalg.norm(y, axis=-1), jnp.linalg.norm(x, axis=-1), rtol=1e-5)
    np.testing.assert_array_equal(y[..., -1], x[..., -1])
