"""Growth keeps what a network computes, whatever it is made of."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

from ev3lang.backend import models
from ev3lang.backend.growth import (
    drawing,
    grow,
    grow_group,
    shaped,
    warm,
)
from ev3lang.catalog.index import GROWTH, LAYERS
from ev3lang.plan.growth import grown, widths
from ev3lang.plan.growth.copies import Unfit, more, written
from ev3lang.plan.growth.grown import fits, grown_plan, grown_plans
from ev3lang.plan.plan import ModelPlan, Operation
from ev3lang.plan.work import parameters
from tests.backend.networks import (
    KEY,
    Stage,
    batch,
    max_output_change,
    mlp,
    model,
    operation,
    output_change,
    resnet,
    shapes,
    transformer,
    weights,
)

SLOWLY = settings(
    deadline=None, max_examples=4, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
"""Each example compiles its own shapes: a few are what a test can pay."""

CLOSE = 1e-5
"""Relative to the largest output: float32 rounds sums over some hundred numbers to about 1e-6."""


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


@settings(SLOWLY, max_examples=2)
@given(
    block=st.sampled_from(["basic", "bottleneck"]),
    stage=st.integers(1, 2),
    norm=st.sampled_from(["batch", "group"]),
    factor=FACTORS,
)
def test_one_stage_of_a_resnet_grows_alone(
    block: str, stage: int, norm: str, factor: float
) -> None:
    factor = float(round(factor)) + 1.0 if norm == "group" else factor
    plan = resnet((1, 2), block=block, norm=norm)
    larger = grows(plan, operation("widen_stage", stage=stage, factor=factor))
    before = (4, 8)
    widths = tuple(
        # Stages double as long as nothing else is said: the factor is of the first one's.
        2**place * more(4, factor) if place + 1 == stage else before[place]
        for place in range(2)
    )
    assert option(larger, "widths") == widths
    assert option(larger, "width") == (widths[0] if block == "basic" else 4)
    grows(larger, operation("widen", factor=1.5))
    assert option(grows(larger, operation("deepen")), "widths") == widths


def test_the_last_stage_alone_grows_beside_a_shortcut_of_zeros() -> None:
    plan = resnet((1, 1), shortcut="identity")
    larger = grows(plan, operation("widen_stage", stage=2, factor=1.5))
    assert option(larger, "widths") == (4, 12)
    said = fits(plan, operation("widen_stage", stage=1))
    assert said is not None
    assert "only the last stage" in said


@pytest.mark.parametrize(
    ("name", "norm", "block"),
    [
        ("widen", "batch", "bottleneck"),
        ("widen", "group", "basic"),
        ("deepen", "batch", "basic"),
        ("deepen_every_stage", "group", "bottleneck"),
    ],
)
def test_the_stem_of_imagenet_grows_as_well(name: str, norm: str, block: str) -> None:
    grows(resnet((1, 1), 16, stem="imagenet", norm=norm, block=block), operation(name))


@SLOWLY
@given(
    stages=st.sampled_from([(1,), (2, 1), (1, 2, 1)]),
    block=st.sampled_from(["basic", "bottleneck"]),
    norm=st.sampled_from(["batch", "group"]),
    shortcut=st.sampled_from(["projection", "identity"]),
    by=st.sampled_from(
        [
            operation("deepen"),
            operation("deepen", count=2),
            operation("deepen_every_stage"),
            operation("deepen_every_stage", factor=1.5),
            operation("deepen_every_stage", factor=2.0),
        ]
    ),
)
def test_a_deeper_resnet_computes_the_same(
    stages: tuple[int, ...], block: str, norm: str, shortcut: str, by: Operation
) -> None:
    plan = resnet(stages, block=block, norm=norm, shortcut=shortcut)
    given_: dict[str, Any] = dict(by.options)
    factor, count = given_.get("factor"), given_["count"]
    if by.name == "deepen":
        wanted: tuple[int, ...] = (*stages[:-1], stages[-1] + count)
    elif factor is None:
        wanted = tuple(blocks + count for blocks in stages)
    else:
        wanted = tuple(more(blocks, factor) for blocks in stages)
    assert option(grows(plan, by), "stages") == wanted


def test_stages_of_a_resnet_double_as_published() -> None:
    plan, by = resnet((1, 1, 1)), operation("deepen_every_stage", factor=2.0)
    for blocks in (2, 4, 8):
        plan = grown_plan(plan, by)
        assert option(plan, "stages") == (blocks,) * 3


@SLOWLY
@given(
    heads=st.integers(1, 3),
    # Of two or three numbers layer norm makes little but their order, and rounding shows.
    depth=st.sampled_from([4, 5, 8]),
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


@pytest.mark.parametrize("name", PIPES)
def test_a_wider_pipe_computes_the_same(name: str) -> None:
    grows(pipe(name), operation("widen", factor=1.5))


@pytest.mark.parametrize("name", ["convolutions", "a transformer of single layers"])
def test_a_pipe_twice_as_wide_computes_the_same(name: str) -> None:
    grows(pipe(name), operation("widen", factor=2.0))


LINEAR: list[Stage] = [
    ("dense", {"width": 4}),
    ("conv", {"width": 4}),
    ("residual", {"layers": [("dense", {"width": 2}), ("tanh", {}), ("dense", {"width": 4})]}),
    ("repeat", {"n": 2, "layers": [("dense", {"width": 4}), ("relu", {})]}),
]
NORMS: list[list[Stage]] = [
    [],
    [("batch_norm", {})],
    [("group_norm", {"groups": 2})],
    [("layer_norm", {})],
]
BENT: list[Stage] = [("relu", {}), ("gelu", {}), ("avg_pool", {"size": 2, "stride": 1})]


@settings(SLOWLY, max_examples=8)
@given(
    stack=st.lists(
        st.tuples(st.sampled_from(LINEAR), st.sampled_from(NORMS), st.sampled_from(BENT)),
        min_size=1,
        max_size=3,
    ),
    end=st.sampled_from(["mean_pool", "flatten"]),
    factor=FACTORS,
    stage=st.integers(0, 3),
)
def test_any_stack_with_any_norms_is_wider_with_the_same_outputs_or_refuses(
    stack: list[tuple[Stage, list[Stage], Stage]], end: str, factor: float, stage: int
) -> None:
    inner = [step for linear, norms, bent in stack for step in (linear, *norms, bent)]
    # A residual keeps the width of what goes in: 4 as all others.
    shape = (6, 6, 4)
    plan = model(shape, ("conv", {"width": 4}), *inner, (end, {}), ("dense", {"width": 3}))
    by = (
        operation("widen_stage", stage=stage, factor=factor)
        if stage
        else operation("widen", factor=factor)
    )
    why = fits(plan, by)
    if why is None:
        grows(plan, by)
    else:
        # Norms over several units want each of them copied as often, and a stage must be there.
        assert factor % 1 or "names hidden layer" in why, why


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


WIDEN_ODDLY, WIDEN = operation("widen", factor=1.5), operation("widen")
SECOND = operation("widen_stage", stage=2, factor=1.3)
DEEPEN, EVERY = operation("deepen"), operation("deepen_every_stage", factor=2.0)


@pytest.mark.parametrize(
    ("plan", "ways"),
    [
        (mlp((3, 4)), (DEEPEN, WIDEN_ODDLY, DEEPEN, WIDEN)),
        (transformer(causal=True), (DEEPEN, WIDEN_ODDLY, WIDEN, DEEPEN)),
        (
            resnet((1, 1)),
            (EVERY, WIDEN_ODDLY, operation("widen_stage", stage=2, factor=1.3), EVERY),
        ),
        (resnet((1, 1), norm="group", block="bottleneck"), (EVERY, WIDEN, WIDEN_ODDLY, DEEPEN)),
    ],
    ids=["mlp", "transformer", "resnet", "bottlenecks"],
)
def test_growth_goes_on_from_growth(plan: ModelPlan, ways: tuple[Operation, ...]) -> None:
    params, x = weights(plan), batch(plan)
    later, grown_params = plan, params
    for place, by in enumerate(ways):
        grown_params = grow(later, grown_params, by, jax.random.key(place))
        later = grown_plan(later, by)
    assert max_output_change(plan, params, later, grown_params, x) < CLOSE
    assert parameters(later) == sum(
        leaf.size for leaf in jax.tree.leaves(models.parted(grown_params)[0])
    )


@pytest.mark.parametrize("by", [WIDEN_ODDLY, DEEPEN, EVERY], ids=written)
def test_running_statistics_grow_with_their_units(by: Operation) -> None:
    plan = resnet((1, 1))
    before = models.parted(weights(plan))[1]["resnet_0"]
    after = models.parted(grow(plan, weights(plan), by, KEY))[1]["resnet_0"]
    place = "block_2" if by == EVERY else "block_1"
    for name in ("mean", "var"):
        old = np.asarray(before["block_1"]["conv_1"]["norm"]["statistics"][name])
        new = after[place]["conv_1"]["norm"]["statistics"][name]
        assert set(new.tolist()) == set(old.tolist())
    new_block = {DEEPEN: "block_2", EVERY: "block_3"}.get(by)
    if new_block is not None:
        statistics = after[new_block]["conv_0"]["norm"]["statistics"]
        np.testing.assert_array_equal(statistics["mean"], np.zeros(8))
        np.testing.assert_array_equal(statistics["var"], np.ones(8))


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


FRESH_OF = [
    operation("widen", factor=1.5),
    operation("deepen", count=2),
    operation("deepen_every_stage", factor=2.0),
    operation("widen_stage", stage=2),
]


@pytest.mark.parametrize("inner", FRESH_OF, ids=written)
def test_fresh_has_the_size_that_its_operator_leads_to(inner: Operation) -> None:
    plan = resnet((1, 1))
    assert grown_plan(plan, operation("fresh", operator=inner)) == grown_plan(plan, inner)


def test_fresh_starts_anew() -> None:
    plan, by = mlp((4,)), operation("fresh", operator=operation("widen", factor=1.5))
    after = grow(plan, weights(plan), by, KEY)
    init = jax.jit(functools.partial(models.init, grown_plan(plan, by)))
    jax.tree.map(np.testing.assert_array_equal, after, init(KEY))


NORMED_LAYER = model(
    (3,), ("dense", {"width": 4}), ("layer_norm", {}), ("relu", {}), ("dense", {"width": 3})
)


@pytest.mark.parametrize(
    ("plan", "inner"),
    [
        (mlp((4,), "tanh"), operation("deepen")),
        (NORMED_LAYER, operation("widen", factor=1.5)),
        (
            resnet((1, 1), norm="group", shortcut="identity"),
            operation("widen", factor=1.5),
        ),
    ],
)
def test_fresh_takes_an_operator_that_would_change_the_function(
    plan: ModelPlan, inner: Operation
) -> None:
    by = operation("fresh", operator=inner)
    assert fits(plan, inner) is not None
    assert fits(plan, by) is None
    larger = grown_plan(plan, by)
    outputs = functools.partial(models.apply, larger)
    assert jax.eval_shape(outputs, shapes(larger), batch(plan)).shape == (6, 3)


def test_operators_are_written_as_in_a_spec() -> None:
    every = operation("deepen_every_stage", factor=2.0)
    assert written(operation("fresh", operator=every)) == "fresh(deepen_every_stage(factor: 2x))"
    assert written(operation("deepen_every_stage", count=2)) == "deepen_every_stage(2)"
    assert written(operation("widen_stage", stage=3, factor=1.5)) == "widen_stage(3, 1.5x)"
    assert written(operation("widen", noise=0.1)) == "widen(2x, noise: 0.1)"
    assert written(operation("deepen")) == "deepen(1)"


def test_what_is_traced_beforehand_is_not_traced_again() -> None:
    plan = mlp((4, 5, 6))
    widen = operation("widen", factor=1.25)
    fresh = operation("fresh", operator=widen)
    for by in (widen, fresh):
        warm((plan,), by)
    traced = shaped.cache_info().misses, drawing.cache_info().misses
    for by in (widen, fresh):
        grow_group((plan,), {"net": weights(plan)}, by, KEY)
    assert (shaped.cache_info().misses, drawing.cache_info().misses) == traced


def test_the_change_of_outputs_is_a_part_of_the_largest_output() -> None:
    plan = mlp((4,))
    params, x = weights(plan), batch(plan)
    other = jax.tree.map(lambda leaf: leaf, params)
    other["mlp_0"]["output"]["bias"] = params["mlp_0"]["output"]["bias"] + jnp.asarray([0.5, 0, 0])
    largest = float(jnp.max(jnp.abs(models.apply(plan, params, x))))
    change = max_output_change(plan, params, plan, other, x)
    assert change == pytest.approx(0.5 / largest, rel=1e-5)
    assert output_change(plan, plan) is output_change(plan, plan)


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


def test_a_head_with_nothing_to_grow_stays_while_its_trunk_grows() -> None:
    trunk = mlp((4,))
    head = attrs.evolve(mlp(()), name="head")
    params = {each.name: weights(each) for each in (trunk, head)}
    by = operation("widen")
    plans = grown_plans((trunk, head), by)
    assert plans == (grown_plan(trunk, by), head)
    after = grow_group((trunk, head), params, by, KEY)
    assert after["head"] is params["head"]
    with pytest.raises(Unfit, match="finds no layer"):
        grown_plans((head,), by)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("plan", "by", "why"),
    [
        (mlp((4,), "tanh"), operation("deepen"), "tanh changes what it is given"),
        (mlp(()), operation("deepen"), "an mlp with a hidden layer"),
        (mlp(()), operation("widen"), "finds no layer that can be wider"),
        (mlp((4,)), operation("deepen_every_stage"), "mlp has no stages"),
        (mlp((4,)), operation("widen_stage", stage=2), "names hidden layer 2, and there are 1"),
        (resnet((1,)), operation("widen_stage", stage=2), "names stage 2, and there are 1"),
        (
            resnet((1, 1), norm="group"),
            operation("widen_stage", stage=1, factor=1.5),
            "would need other groups in one stage",
        ),
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
