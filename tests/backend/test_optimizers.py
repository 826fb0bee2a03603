"""Optimizer chains: first steps by hand, optax's own arithmetic, optax's own defaults."""

from __future__ import annotations

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ev3lang.backend import optimizers
from ev3lang.catalog.index import OPTIMIZERS
from ev3lang.catalog.optimizers import BY_HAND, DECAYS, DECAYS_ALL
from ev3lang.plan.plan import Link, OptimizerPlan

PARAMS = {"w": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array([0.25])}
GRADS = (
    {"w": jnp.array([0.3, -4.0, 0.0]), "b": jnp.array([1.0])},
    {"w": jnp.array([-0.1, 2.0, 0.7]), "b": jnp.array([-3.0])},
    {"w": jnp.array([0.2, 0.0, -0.7]), "b": jnp.array([0.5])},
)
LEFT_OUT = {"accumulator_dtype", "mu_dtype", "mask"}
"""Arguments of optax that are no scalars: types of numbers and trees of weights."""

ALIASED = {
    "cosine": {"over": "decay_steps"},
    "warmup": {"over": "warmup_steps"},
    "warmup_cosine": {"over": "decay_steps"},
}


def link(name: str, **given) -> Link:
    """A link with the catalogue's defaults filled in."""
    options = OPTIMIZERS[name].options
    return Link(name, tuple((each.name, given.get(each.name, each.default)) for each in options))


def chain(*links: Link) -> optax.GradientTransformation:
    return optimizers.build(OptimizerPlan("chain", links))


def descend(optimizer: optax.GradientTransformation) -> list[dict]:
    """The weights after each of the steps."""
    params, state, seen = PARAMS, optimizer.init(PARAMS), []
    for grads in GRADS:
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params)
    return seen


def assert_same(found: list[dict], expected: list[dict]) -> None:
    for a, b in zip(found, expected, strict=True):
        for name in PARAMS:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-6, atol=1e-7)


def test_every_link_has_a_twin() -> None:
    # An average of weights is kept by the roll-out.
    links = OPTIMIZERS.keys() - {optimizers.AVERAGE}
    assert all(callable(optimizers.twin(name)) for name in links)
    assert optimizers.TABLE.keys() <= OPTIMIZERS.keys()


def test_a_link_of_another_release_is_named() -> None:
    with pytest.raises(ValueError, match="has no adam_of_tomorrow"):
        optimizers.twin("adam_of_tomorrow")


@pytest.mark.parametrize(
    "name", [name for name in sorted(BY_HAND) if name not in {*ALIASED, optimizers.AVERAGE}]
)
def test_options_and_defaults_are_those_of_optax(name: str) -> None:
    places = inspect.signature(getattr(optax, name)).parameters
    theirs = {key: place.default for key, place in places.items() if key not in LEFT_OUT}
    ours = {
        option.name: inspect.Parameter.empty if option.is_required else option.default
        for option in OPTIMIZERS[name].options
    }
    assert ours == theirs


@pytest.mark.parametrize("name", ALIASED)
def test_an_alias_has_the_defaults_of_what_it_stands_for(name: str) -> None:
    entry = OPTIMIZERS[name]
    theirs = {option.name: option for option in OPTIMIZERS[entry.alias_of].options}
    ours = {ALIASED[name].get(option.name, option.name): option for option in entry.options}
    assert ours.keys() == theirs.keys()
    for key, option in ours.items():
        # A warm-up starts at 0 unless it is told otherwise; optax has it told.
        if not theirs[key].is_required:
            assert option.default == theirs[key].default
        elif not option.is_required:
            assert (key, option.default) == ("init_value", 0.0)


RATE = 0.1
FIRST = {
    "sgd": lambda w, g: w - RATE * g,
    "adam": lambda w, g: w - RATE * g / (np.abs(g) + 1e-8),
    "adamw": lambda w, g: w - RATE * (g / (np.abs(g) + 1e-8) + 1e-4 * w),
    "lion": lambda w, g: w - RATE * (np.sign(g) + 1e-3 * w),
    "rmsprop": lambda w, g: w - RATE * g / np.sqrt(0.1 * g**2 + 1e-8),
    "sign_sgd": lambda w, g: w - RATE * np.sign(g),
}


@pytest.mark.parametrize("name", FIRST)
def test_the_first_step_is_what_the_paper_says(name: str) -> None:
    found = descend(chain(link(name, learning_rate=RATE)))[0]
    for part in PARAMS:
        w, g = (np.asarray(tree[part], np.float64) for tree in (PARAMS, GRADS[0]))
        np.testing.assert_allclose(found[part], FIRST[name](w, g), rtol=1e-5)


@pytest.mark.parametrize("name", FIRST)
def test_an_optimizer_is_that_of_optax(name: str) -> None:
    expected = descend(getattr(optax, name)(0.05))
    assert_same(descend(chain(link(name, learning_rate=0.05))), expected)


def test_momentum_adds_up_and_nesterov_looks_ahead() -> None:
    heavy = descend(chain(link("sgd", learning_rate=0.1, momentum=0.5)))
    first, second = (np.asarray(grads["w"]) for grads in GRADS[:2])
    expected = np.asarray(PARAMS["w"]) - 0.1 * first - 0.1 * (second + 0.5 * first)
    np.testing.assert_allclose(heavy[1]["w"], expected, rtol=1e-6)
    ahead = descend(chain(link("sgd", learning_rate=0.1, momentum=0.5, nesterov=True)))
    np.testing.assert_allclose(ahead[0]["w"], PARAMS["w"] - 0.1 * 1.5 * first, rtol=1e-6)


def test_options_reach_optax() -> None:
    given = {"b1": 0.5, "b2": 0.9, "eps": 1e-3, "eps_root": 1e-4, "nesterov": True}
    expected = optax.adamw(0.05, weight_decay=0.1, **given)
    found = chain(link("adamw", learning_rate=0.05, weight_decay=0.1, **given))
    assert_same(descend(found), descend(expected))
    given = {
        "decay": 0.5,
        "eps": 1e-3,
        "initial_scale": 1.0,
        "eps_in_sqrt": False,
        "centered": True,
        "momentum": 0.9,
        "nesterov": True,
        "bias_correction": True,
    }
    found = chain(link("rmsprop", learning_rate=0.05, **given))
    assert_same(descend(found), descend(optax.rmsprop(0.05, **given)))


def test_a_chain_applies_its_links_in_order() -> None:
    links = (link("clip_by_global_norm", max_norm=1.0), link("sgd", learning_rate=0.1))
    norm = math.sqrt(0.3**2 + 4.0**2 + 1.0)
    expected = PARAMS["w"] - 0.1 * GRADS[0]["w"] / norm
    np.testing.assert_allclose(descend(chain(*links))[0]["w"], expected, rtol=1e-6)
    assert_same(
        descend(chain(*links)),
        descend(optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1))),
    )


def test_transforms_are_what_they_say() -> None:
    decayed = chain(
        link("clip", max_delta=0.5),
        link("add_decayed_weights", weight_decay=0.1),
        link("scale", step_size=-0.2),
    )
    w, g = np.asarray(PARAMS["w"]), np.asarray(GRADS[0]["w"])
    expected = w - 0.2 * (np.clip(g, -0.5, 0.5) + 0.1 * w)
    np.testing.assert_allclose(descend(decayed)[0]["w"], expected, rtol=1e-6)


def cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


SCHEDULES = [
    (link("constant_schedule", value=0.3), {0: 0.3, 100: 0.3}),
    (
        link("linear_schedule", init_value=1.0, end_value=0.0, transition_steps=10),
        {0: 1.0, 5: 0.5, 10: 0.0, 99: 0.0},
    ),
    (
        link("polynomial_schedule", init_value=1.0, end_value=0.0, power=2.0, transition_steps=10),
        {0: 1.0, 5: 0.25, 10: 0.0},
    ),
    (
        link("exponential_decay", init_value=1.0, transition_steps=10, decay_rate=0.5),
        {0: 1.0, 5: 0.5**0.5, 20: 0.25},
    ),
    (
        link(
            "exponential_decay",
            init_value=1.0,
            transition_steps=10,
            decay_rate=0.5,
            staircase=True,
            end_value=0.3,
            transition_begin=10,
        ),
        {5: 1.0, 19: 1.0, 20: 0.5, 90: 0.3},
    ),
    (
        link("cosine_decay_schedule", init_value=2.0, decay_steps=8, alpha=0.1),
        {0: 2.0, 2: cosine(2.0, 0.2, 0.25), 8: 0.2, 50: 0.2},
    ),
    (link("cosine", init_value=2.0, over=8), {0: 2.0, 4: 1.0, 8: 0.0}),
    (
        link("warmup_constant_schedule", init_value=0.1, peak_value=0.5, warmup_steps=4),
        {0: 0.1, 2: 0.3, 4: 0.5, 50: 0.5},
    ),
    (link("warmup", peak_value=0.5, over=4), {0: 0.0, 1: 0.125, 4: 0.5, 50: 0.5}),
    (
        link(
            "warmup_cosine_decay_schedule",
            init_value=0.1,
            peak_value=1.1,
            warmup_steps=4,
            decay_steps=12,
            end_value=0.5,
        ),
        {0: 0.1, 2: 0.6, 4: 1.1, 8: 0.8, 12: 0.5, 99: 0.5},
    ),
    (
        link("warmup_cosine", peak_value=1.0, warmup_steps=4, over=12),
        {0: 0.0, 2: 0.5, 4: 1.0, 6: cosine(1.0, 0.0, 0.25), 12: 0.0},
    ),
]


@pytest.mark.parametrize(
    ("schedule", "values"), SCHEDULES, ids=[each.name for each, _ in SCHEDULES]
)
def test_a_schedule_passes_through_known_values(schedule: Link, values: dict) -> None:
    # With gradient 1 the weights move by minus the rate: the schedule is read off the steps.
    optimizer = chain(link("sgd", learning_rate=schedule))
    params = jnp.zeros(())
    state = optimizer.init(params)
    seen = {}
    for step in range(max(values) + 1):
        update, state = optimizer.update(jnp.ones(()), state, params)
        seen[step] = -float(update)
    for step, value in values.items():
        assert seen[step] == pytest.approx(value, rel=1e-5, abs=1e-6), step


def test_every_schedule_has_its_known_values() -> None:
    assert {each.name for each, _ in SCHEDULES} == {
        name for name in BY_HAND if OPTIMIZERS[name].role == "schedule"
    }


def test_a_schedule_may_stand_for_weight_decay() -> None:
    falling = link("linear_schedule", init_value=0.1, end_value=0.0, transition_steps=2)
    found = chain(link("adamw", learning_rate=0.05, weight_decay=falling))
    expected = optax.adamw(0.05, weight_decay=optax.linear_schedule(0.1, 0.0, 2))
    assert_same(descend(found), descend(expected))


DECAYING = {
    name: option.name
    for name, entry in OPTIMIZERS.items()
    for option in entry.options
    if option.name in DECAYS
}
"""What each link that can decay weights calls the rate."""

INDIRECT = {"adadelta", "adafactor", "cocob", "dog", "dowg", "muon"}
"""Links whose first step shows no decay, or weighs all arrays together, or leaves biases out."""


def first_step(name: str, weight_decay: float, decays: str) -> dict:
    """The updates of a first step on a matrix and a bias."""
    required = {
        option.name: 0.1
        for option in OPTIMIZERS[name].options
        if option.is_required or option.name == "learning_rate"
    }
    links = (link(name, **{**required, DECAYING[name]: weight_decay}),)
    optimizer = optimizers.build(OptimizerPlan("chain", links, decays))
    params = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.25, -1.5])}
    grads = {"w": jnp.array([[0.3, -0.4], [0.1, 0.2]]), "b": jnp.array([1.0, -0.7])}
    return optimizer.update(grads, optimizer.init(params), params)[0]


@pytest.mark.parametrize("name", sorted(DECAYING.keys() - DECAYS_ALL - INDIRECT))
def test_decay_of_matrices_alone_leaves_a_bias_as_if_nothing_decayed(name: str) -> None:
    cut, whole, none = (
        first_step(name, decay, reach)
        for decay, reach in ((0.5, "matrices"), (0.5, "all"), (0.0, "all"))
    )
    np.testing.assert_allclose(cut["w"], whole["w"], rtol=1e-5)
    np.testing.assert_allclose(cut["b"], none["b"], rtol=1e-5)
    assert not np.allclose(whole["b"], none["b"], rtol=1e-3)


@pytest.mark.parametrize("name", sorted(DECAYING))
def test_the_checker_refuses_to_cut_down_what_has_no_mask(name: str) -> None:
    known = inspect.signature(optimizers.twin(name)).parameters
    has_mask = bool({"mask", "weight_decay_mask"} & known.keys())
    assert has_mask == (name not in DECAYS_ALL)


def test_a_link_that_decays_nothing_stands_beside_one_that_spares_biases() -> None:
    decay = link("add_decayed_weights", weight_decay=0.5)
    links = decay, link("prodigy", weight_decay=0.0)
    optimizer = optimizers.build(OptimizerPlan("chain", links, "matrices"))
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    grads = {"w": jnp.zeros((2, 2)), "b": jnp.zeros(2)}
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    assert np.all(updates["w"] < 0)
    assert not np.any(updates["b"])


# ---------------------------------------------------------------- matrices by their role


def stacked(rngs: nnx.Rngs) -> nnx.Module:
    """Three layers in one module: their biases have two axes."""
    del rngs

    @nnx.vmap(in_axes=0, out_axes=0)
    def layer(key: jax.Array) -> nnx.Linear:
        return nnx.Linear(4, 4, rngs=nnx.Rngs(params=key))

    return layer(jax.random.split(jax.random.key(0), 3))


class Own(nnx.Module):
    """Names of a user's own."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        del rngs
        self.query_bias = nnx.Param(jnp.ones((2, 4)))
        self.bias_table = nnx.Param(jnp.ones((2, 4)))
        self.weight = nnx.Param(jnp.ones((2, 4)))
        self.lora_b = nnx.Param(jnp.ones((2, 4)))
        self.unbiased = nnx.Param(jnp.ones((2, 4)))


ROLES = {
    "attention": (
        lambda rngs: nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs),
        {f"{part}/kernel" for part in ("query", "key", "value", "out")},
    ),
    "normalized attention": (
        lambda rngs: nnx.MultiHeadAttention(2, 4, normalize_qk=True, decode=False, rngs=rngs),
        {f"{part}/kernel" for part in ("query", "key", "value", "out")},
    ),
    "convolution": (lambda rngs: nnx.Conv(2, 3, (3, 3), rngs=rngs), {"kernel"}),
    "lstm": (
        lambda rngs: nnx.LSTMCell(3, 4, rngs=rngs),
        {f"{gate}/kernel" for gate in ("ii", "if_", "ig", "io", "hi", "hf", "hg", "ho")},
    ),
    "gru": (lambda rngs: nnx.GRUCell(3, 4, rngs=rngs), {"dense_i/kernel", "dense_h/kernel"}),
    "batch norm": (lambda rngs: nnx.BatchNorm(4, rngs=rngs), set()),
    "layer norm of two axes": (
        lambda rngs: nnx.LayerNorm(4, reduction_axes=(-2, -1), feature_axes=-1, rngs=rngs),
        set(),
    ),
    "embedding": (lambda rngs: nnx.Embed(7, 3, rngs=rngs), {"embedding"}),
    "lora": (
        lambda rngs: nnx.LoRALinear(4, 4, lora_rank=2, rngs=rngs),
        {"kernel", "lora/lora_a", "lora/lora_b"},
    ),
    "stacked layers": (stacked, {"kernel"}),
    "names of a user's own": (Own, {"weight", "lora_b", "unbiased"}),
}


@pytest.mark.parametrize("kind", ROLES)
@pytest.mark.parametrize("name", ["adamw", "add_decayed_weights"])
def test_decay_of_matrices_alone_goes_by_the_role_of_an_array(kind: str, name: str) -> None:
    """Without a gradient only what is decayed moves: kernels, embeddings, factors."""
    build, matrices = ROLES[kind]
    flat = nnx.to_flat_state(nnx.state(build(nnx.Rngs(0)), nnx.Param))
    params: dict = {}
    for path, variable in flat:
        inside = params
        for key in path[:-1]:
            inside = inside.setdefault(key, {})
        inside[path[-1]] = jnp.ones(variable.shape)
    rate = {} if name == "add_decayed_weights" else {"learning_rate": 1.0}
    decaying = link(name, weight_decay=0.5, **rate)
    optimizer = optimizers.build(OptimizerPlan("chain", (decaying,), "matrices"))
    none = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(none, optimizer.init(params), params)
    moved = {
        "/".join(map(str, (key.key for key in path)))
        for path, update in jax.tree_util.tree_leaves_with_path(updates)
        if np.any(update)
    }
    assert moved == matrices


def test_muon_steps_by_adam_for_a_bias_of_two_axes() -> None:
    rng = np.random.default_rng(0)
    array = jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)
    params = {"query": {"kernel": array, "bias": array}}
    optimizer = chain(link("muon", learning_rate=0.1))
    updates, _ = optimizer.update(params, optimizer.init(params), params)
    adam = optax.nadam(0.1)
    expected, _ = adam.update(array, adam.init(array))
    np.testing.assert_allclose(updates["query"]["bias"], expected, rtol=1e-4)
    # the kernel's step is near orthogonal: its singular values are about equal
    sizes = np.linalg.svd(updates["query"]["kernel"], compute_uv=False)
    assert sizes.min() > 0.5 * sizes.max()
