"""The choice of lowering: by nets, losses and platform, never by how many candidates there are."""

from __future__ import annotations

import attrs
import pytest

from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Apply, LayerPlan, Layers, ModelPlan, Plan, subexpressions
from ev3lang.plan.work import multiplications
from tests.plan import examples


def lowerings(plan: Plan, platform: str = "cpu") -> list[str]:
    return [group.lowering for group in fuse(plan, platform).rollouts]


def wide(plan: Plan) -> Plan:
    model = examples.mlp("net", 512, 512, input=(6,), output=examples.LOGITS)
    return attrs.evolve(plan, models=(model,))


def test_tiny_nets_are_stacked_and_large_ones_share_a_body_on_a_cpu() -> None:
    assert lowerings(examples.FOUR) == ["vmap"]
    assert lowerings(wide(examples.FOUR)) == ["one body"]


@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_elsewhere_every_dense_net_is_stacked(platform: str) -> None:
    assert lowerings(wide(examples.FOUR), platform) == ["vmap"]


def convolutional(channels: int) -> ModelPlan:
    options = (("width", channels), ("kernel", 3), ("stride", 1), ("padding", "same"))
    conv = LayerPlan("conv", options, (4, 5, 2), (4, 5, channels))
    inner = LayerPlan("repeat", (("n", 1), ("layers", Layers((conv,)))), conv.input, conv.output)
    pool = LayerPlan("mean_pool", (), conv.output, (channels,))
    dense = LayerPlan("dense", (("width", 3),), (channels,), (3,))
    return ModelPlan("net", (4, 5, 2), examples.LOGITS, Layers((inner, pool, dense)), True)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("channels", [2, 512])
def test_nets_with_convolutions_share_a_body_at_any_size(channels: int, platform: str) -> None:
    plan = attrs.evolve(examples.FOUR, models=(convolutional(channels),))
    assert lowerings(plan, platform) == ["one body"]


def test_candidates_with_batches_of_their_own_share_a_body() -> None:
    assert lowerings(attrs.evolve(examples.FOUR, batches="fresh")) == ["one body"]


def test_losses_that_apply_models_elsewhere_share_a_body() -> None:
    doubled = examples.cross_entropy(
        attrs.evolve(examples.logits, inputs=(examples.divided(examples.point, 0.5),))
    )
    candidates = (*examples.FOUR.descents, examples.candidate(doubled, examples.sgd(0.1)))
    assert lowerings(attrs.evolve(examples.FOUR, descents=candidates)) == ["one body"]


def test_candidates_are_grouped_by_steps_and_batch_and_none_is_lost() -> None:
    first, second, third, fourth = examples.FOUR.descents
    plan = attrs.evolve(
        examples.FOUR,
        descents=(
            first,
            attrs.evolve(second, steps=20),
            third,
            attrs.evolve(fourth, steps=20, batch=8),
        ),
    )
    groups = {group.candidates: group.steps for group in fuse(plan, "cpu").rollouts}
    assert groups == {(0, 2): 8, (1,): 20, (3,): 20}


@pytest.mark.parametrize("plan", [examples.FOUR, wide(examples.FOUR)])
def test_adding_a_candidate_lowers_the_others_as_before(plan: Plan) -> None:
    fewer = attrs.evolve(plan, descents=plan.descents[:1])
    assert lowerings(fewer) == lowerings(plan)


def test_fusing_rewrites_divergences_everywhere_and_nothing_else() -> None:
    fused = fuse(examples.TAUGHT, "cpu").plan
    functions = {
        part.function
        for candidate in fused.candidates
        for part in subexpressions(candidate.loss)
        if isinstance(part, Apply)
    }
    assert "softmax" not in functions
    assert "log_softmax" in functions
    assert fuse(examples.FOUR, "cpu").plan == examples.FOUR


def test_fusing_what_is_fused_changes_nothing() -> None:
    once = fuse(examples.TAUGHT, "cpu")
    assert fuse(once.plan, "cpu") == once


def test_multiplications_are_counted_through_every_layer() -> None:
    assert multiplications(examples.mlp("m", 4, 5, input=(2, 3), output=examples.LOGITS)) == (
        6 * 4 + 4 * 5 + 5 * 3
    )
    dense = LayerPlan("dense", (("width", 4),), (4,), (4,))
    relu = LayerPlan("relu", (), (4,), (4,))
    inner = Layers((dense, relu))
    repeat = LayerPlan("repeat", (("n", 3), ("layers", inner)), (4,), (4,))
    residual = LayerPlan("residual", (("layers", inner),), (4,), (4,))
    model = ModelPlan("m", (4,), examples.LOGITS, Layers((repeat, residual)), True)
    assert multiplications(model) == 4 * 16
    # 20 places, each with 3 x 3 pixels of 2 channels for each of 7.
    assert multiplications(convolutional(7)) == 20 * 9 * 2 * 7 + 7 * 3
