"""Augmentations: each against plain loops, mixup against mixed labels, and exploring alone."""

from __future__ import annotations

from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.analysis import analyze
from ev3lang.backend import augmentations, models, streams
from ev3lang.backend.descent import mean_loss
from ev3lang.backend.emit import Program, emit
from ev3lang.backend.expressions import Networks
from ev3lang.compile import experiment
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Augmented, Operation, Plan
from ev3lang.source import Source
from tests.plan import examples

KEY = jax.random.key(5)
SIDE = 4


def images(count: int, side: int = 6) -> np.ndarray:
    """Positive numbers, so that a zero is one that was put there."""
    drawn = np.random.default_rng(0).uniform(0.1, 1, (count, side, side + 1, 2))
    return drawn.astype(np.float32)


# ---------------------------------------------------------------- one by one


@pytest.mark.parametrize("padding", [1, 4])
def test_a_crop_is_a_window_of_the_padded_image(padding: int) -> None:
    x = images(200)
    found = np.asarray(augmentations.random_crop(KEY, x, padding=padding))
    tops, lefts = np.asarray(jax.random.randint(KEY, (2, 200), 0, 2 * padding + 1))
    edge = (padding, padding)
    for image, window, top, left in zip(x, found, tops, lefts, strict=True):
        padded = np.pad(image, (edge, edge, (0, 0)))
        np.testing.assert_array_equal(window, padded[top : top + 6, left : left + 7])
    assert {*tops} == {*lefts} == set(range(2 * padding + 1))


@given(st.integers(0, 2**31 - 1), st.integers(1, 3))
def test_a_shift_moves_an_image_as_a_whole(seed: int, most: int) -> None:
    inside = np.zeros((5, 12, 12, 1), np.float32)
    inside[:, 4:8, 4:8] = images(5, 4)[:, :, :4, :1]
    moved = np.asarray(augmentations.shift(jax.random.key(seed), inside, most=most))
    steps = range(-most, most + 1)
    for image, found in zip(inside, moved, strict=True):
        shifts = [(down, right) for down in steps for right in steps]
        same = [np.array_equal(np.roll(image, each, (0, 1)), found) for each in shifts]
        assert sum(same) == 1


def test_flipping_twice_changes_nothing() -> None:
    x = images(200)
    once = np.asarray(augmentations.flip_horizontal(KEY, x))
    is_flipped = np.array([not np.array_equal(*pair) for pair in zip(x, once, strict=True)])
    np.testing.assert_array_equal(once[is_flipped], x[is_flipped, :, ::-1])
    # Five standard deviations of a fair coin.
    assert abs(is_flipped.sum() - 100) < 5 * np.sqrt(50)
    np.testing.assert_array_equal(augmentations.flip_horizontal(KEY, once), x)


def test_noise_has_the_stated_deviation_and_no_bias() -> None:
    x = images(100, 20)
    noise = np.asarray(augmentations.gaussian_noise(KEY, x, scale=0.3)) - x
    count = noise.size
    assert abs(noise.mean()) < 5 * 0.3 / np.sqrt(count)
    assert abs(noise.std() - 0.3) < 5 * 0.3 / np.sqrt(2 * count)
    assert abs(np.mean((noise / 0.3) ** 4) - 3) < 5 * np.sqrt(96 / count)
    # Each number has its own.
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 5 / np.sqrt(count)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_cutout_zeroes_one_rectangle_of_at_most_its_size(size: int) -> None:
    x = images(300)
    found = np.asarray(augmentations.cutout(KEY, x, size=size))
    is_whole = []
    for image, cut in zip(x, found, strict=True):
        is_cut = (cut == 0).all(-1)
        rows, columns = np.flatnonzero(is_cut.any(1)), np.flatnonzero(is_cut.any(0))
        assert 1 <= len(rows) <= size
        assert 1 <= len(columns) <= size
        assert is_cut.sum() == len(rows) * len(columns)
        assert np.ptp(rows) == len(rows) - 1
        assert np.ptp(columns) == len(columns) - 1
        np.testing.assert_array_equal(cut[~is_cut], image[~is_cut])
        is_whole.append(len(rows) == len(columns) == size)
    assert any(is_whole)


def test_equal_operations_of_one_field_draw_apart() -> None:
    noise = Operation("gaussian_noise", (("scale", 1.0),))
    zeros = jnp.zeros((20, 50))
    once = augmentations.augmented(Augmented("x", (noise,)), KEY, zeros)
    twice = augmentations.augmented(Augmented("x", (noise, noise)), KEY, zeros)
    assert abs(np.corrcoef(np.ravel(once), np.ravel(twice - once))[0, 1]) < 5 / np.sqrt(1000)


# ---------------------------------------------------------------- mixup

MIXUP = Augmented("x", (Operation("mixup", (("alpha", 0.4),)),))


def test_mixup_means_each_example_with_another_of_the_batch() -> None:
    x = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
    fields = {"x": jnp.asarray(x), "row": jnp.arange(500)}
    mixed = jax.device_get(augmentations.mixed(MIXUP, KEY, fields))
    weight, partner = mixed["mixup weight"], mixed["mixup row"]
    assert sorted(partner) == list(range(500))
    np.testing.assert_array_equal(mixed["row"], np.arange(500))
    assert weight.min() >= 0
    assert weight.max() <= 1
    wide = weight[:, None]
    np.testing.assert_allclose(mixed["x"], wide * x + (1 - wide) * x[partner], atol=1e-6)
    # Beta(a, a) has the mean 1/2 and the variance 1 / (4 (2 a + 1)).
    assert abs(weight.mean() - 0.5) < 5 * np.sqrt(1 / 7.2 / 500)
    assert abs(weight.var() - 1 / 7.2) < 0.03


IMAGES = """ev3 1
data shown = npz("shown.npz") {{
  image: u8[4, 4, 1]
  label: class[3]
  split explore 40%, assess 20%, adapt 20%, report 20%
  normalize image
  {augment}
  {known}
  batch 32
}}
model net: image -> logits(label) = flatten | dense
loss entropy = {loss}
objective mean_entropy = minimize cross_entropy(net(image), label)
objective accuracy = maximize argmax(net(image)) == label
explore net {{ descend entropy with {optimizers} for 2 steps }}
assess net {{ rank by mean_entropy }}
adapt net {{ accept when accuracy improves; move always; stop after 40 iterations }}
report {{ baseline plain = descend entropy with sgd(0.1) }}
"""


def plan_of(
    augment: str = "",
    optimizers: str = "sgd(0.1)",
    loss: str = "cross_entropy(net(image), label)",
    known: str = "",
) -> Plan:
    with_ = f"augment image with {augment}" if augment else ""
    text = IMAGES.format(augment=with_, optimizers=optimizers, loss=loss, known=known)
    return experiment(analyze(Source("spec.ev3", text))).plan


def mixed_batch(plan: Plan) -> tuple[dict[str, Any], Any, np.ndarray, np.ndarray]:
    """A mixed batch with the rows' numbers, weights, and each example's weight and partner."""
    generator = np.random.default_rng(2)
    image = generator.integers(0, 256, (16, SIDE, SIDE, 1)).astype(np.uint8)
    label = generator.integers(0, 3, 16).astype(np.int32)
    fields = {"image": image, "label": label, "row": np.arange(16)}
    if plan.data.known:
        fields["told"] = label
        fields["told known"] = np.arange(16) % 3 > 0
    given_fields = {name: jnp.asarray(field) for name, field in fields.items()}
    scales = {"image": (jnp.float32(0.4), jnp.float32(0.2))}
    batch = streams.prepared(plan.data, given_fields, scales, KEY)
    params = models.init(plan.models[0], jax.random.key(1))
    weight, partner = np.asarray(batch["mixup weight"]), np.asarray(batch["mixup row"])
    normal = (image / np.float32(255) - np.float32(0.4)) / np.float32(0.2)
    wide = weight.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(
        batch["image"], wide * normal + (1 - wide) * normal[partner], atol=1e-5
    )
    return batch, params, weight, partner


def test_the_loss_of_a_mixed_batch_is_that_of_mixed_labels() -> None:
    plan = plan_of("mixup(0.4)")
    batch, params, weight, partner = mixed_batch(plan)
    (model,), (candidate,) = plan.models, plan.descents
    hard = np.eye(3, dtype=np.float32)[np.asarray(batch["label"])]
    soft = weight[:, None] * hard + (1 - weight[:, None]) * hard[partner]

    def ours(params: Any) -> Any:
        return mean_loss(candidate.loss, batch, Networks({"net": model}, {"net": params}), {})

    def of_soft_labels(params: Any) -> Any:
        logits = models.apply(model, params, batch["image"])
        return optax.softmax_cross_entropy(logits, soft).mean()

    found, expected = jax.value_and_grad(ours)(params), jax.value_and_grad(of_soft_labels)(params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, expected
    )
    # The mix matters here.
    alone = optax.softmax_cross_entropy(models.apply(model, params, batch["image"]), hard).mean()
    assert abs(alone - found[0]) > 0.01


def test_a_mixed_batch_counts_what_reads_no_example_once() -> None:
    loss = "cross_entropy(net(image), told) + 0.5 * l2(net)"
    plan = plan_of("mixup(0.4)", loss=loss, known="derive told = label; told known for 30 examples")
    batch, params, weight, partner = mixed_batch(plan)
    (model,), (candidate,) = plan.models, plan.descents
    networks = Networks({"net": model}, {"net": params})
    found = mean_loss(candidate.loss, batch, networks, {})
    logits = models.apply(model, params, batch["image"])
    told, knows = np.asarray(batch["told"]), np.asarray(batch["told known"])
    of_label = optax.softmax_cross_entropy_with_integer_labels
    own = np.asarray(of_label(logits, told)) * weight
    other = np.asarray(of_label(logits, told[partner])) * (1 - weight)
    expected = own[knows].sum() / knows.sum() + other[knows[partner]].sum() / knows.sum()
    expected += 0.5 * float(models.TABLE["l2"](model, params))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# ---------------------------------------------------------------- a batch as models take it


def test_u8_is_scaled_then_augmented_then_normalised() -> None:
    # A cut this large always covers the whole image, so that zeros are what is normalised.
    plan = plan_of("cutout(9 px), gaussian_noise(0.05)")
    fields = {"image": jnp.full((64, SIDE, SIDE, 1), 255, jnp.uint8)}
    scales = {"image": (jnp.float32(0.5), jnp.float32(0.25))}
    still = streams.prepared(plan.data, fields, scales)["image"]
    np.testing.assert_array_equal(still, np.full(still.shape, 2, np.float32))
    found = np.asarray(streams.prepared(plan.data, fields, scales, KEY)["image"])
    assert abs(found.mean() + 2) < 5 * 0.2 / np.sqrt(found.size)
    assert abs(found.std() - 0.2) < 5 * 0.2 / np.sqrt(2 * found.size)


def test_partners_are_as_prepared_as_the_examples_themselves() -> None:
    noise = Augmented("y", (Operation("gaussian_noise", (("scale", 0.1),)),))
    data = attrs.evolve(examples.MOONS.data, augmented=(MIXUP, noise))
    drawn = np.random.default_rng(4).integers(0, 256, (2, 30, 3)).astype(np.uint8)
    fields = {"x": jnp.asarray(drawn[0]), "y": jnp.asarray(drawn[1]), "row": jnp.arange(30)}
    scales = {name: (jnp.float32(0.5), jnp.float32(0.25)) for name in ("x", "y")}
    batch = streams.prepared(data, fields, scales, KEY)
    partner = np.asarray(batch["mixup row"])
    np.testing.assert_array_equal(batch["mixup y"], np.asarray(batch["y"])[partner])
    scaled = (drawn[1] / 255 - 0.5) / 0.25
    assert abs(np.std(batch["y"] - scaled) - 0.4) < 0.1


def test_fresh_examples_are_augmented_while_exploring_alone() -> None:
    noise = Augmented("point", (Operation("gaussian_noise", (("scale", 0.1),)),))
    data = attrs.evolve(examples.MOONS.data, augmented=(noise,))
    plain = streams.fresh(examples.MOONS.data, KEY, 400)["point"]
    np.testing.assert_array_equal(streams.fresh(data, KEY, 400)["point"], plain)
    added = np.asarray(streams.fresh(data, KEY, 400, jax.random.key(1))["point"] - plain)
    assert abs(added.std() - 0.1) < 5 * 0.1 / np.sqrt(2 * added.size)


# ---------------------------------------------------------------- a whole program

STATISTICS = {"image": (np.float32(0.3), np.float32(0.2))}


def tables(explore_image: int | None = None) -> Any:
    """Images of one value in explore, or drawn ones."""
    generator = np.random.default_rng(3)
    made: Any = {}
    for split, count in {"explore": 32, "assess": 24, "adapt": 24, "report": 24}.items():
        image = generator.integers(0, 256, (count, SIDE, SIDE, 1)).astype(np.uint8)
        if split == "explore" and explore_image is not None:
            image[:] = explore_image
        made[split] = {"image": image, "label": (np.arange(count) % 3).astype(np.int32)}
    return made


def program_of(plan: Plan, explore_image: int | None = None) -> Program:
    return emit(fuse(plan, "cpu"), tables(explore_image), STATISTICS)


@pytest.fixture(scope="module")
def cut() -> Program:
    """What it explores is zeros, whatever the images are."""
    return program_of(plan_of("cutout(9 px)"), 200)


def test_exploring_and_baselines_see_what_is_augmented(cut: Program) -> None:
    plan = cut.fused.plan
    (model,) = plan.models
    start = jax.device_get(cut.init(KEY).current["net"])
    label = tables()["explore"]["label"]
    zeros = np.full((len(label), SIDE, SIDE, 1), -0.3 / 0.2, np.float32)

    @jax.jit
    def gradient(params: Any) -> Any:
        of_label = optax.softmax_cross_entropy_with_integer_labels
        return jax.grad(lambda p: of_label(models.apply(model, p, zeros), label).mean())(params)

    # Each batch is the whole split.
    passed = [start]
    for _ in range(3):
        passed.append(jax.tree.map(lambda w, g: w - 0.1 * g, passed[-1], gradient(passed[-1])))
    explored = cut.step(cut.init(KEY))[0].current["net"]
    baseline = cut.train_baseline(KEY, plan.baselines[0], 3)["net"]
    for found, expected in ((explored, passed[2]), (baseline, passed[3])):
        jax.tree.map(
            lambda f, e: np.testing.assert_allclose(f, e, rtol=1e-5, atol=1e-6), found, expected
        )


def test_measuring_sees_no_augmentation(cut: Program) -> None:
    state = cut.init(KEY)
    (model,) = cut.fused.plan.models
    for state_now in (state, cut.step(state)[0]):
        fields = tables()["assess"]
        normal = (fields["image"] / np.float32(255) - np.float32(0.3)) / np.float32(0.2)
        logits = models.apply(model, state_now.current["net"], normal)
        expected = optax.softmax_cross_entropy_with_integer_labels(logits, fields["label"])
        # One program fuses otherwise than several operations.
        found = state_now.current_values["mean_entropy"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for split in ("assess", "adapt", "report"):
        image = tables()[split]["image"]
        seen = cut.examples(KEY, split)["image"]
        np.testing.assert_allclose(seen, (image / 255 - 0.3) / 0.2, rtol=1e-5, atol=1e-5)


MIXED = "shift(1 px), mixup(1)"


@pytest.fixture(scope="module")
def one_candidate() -> Program:
    return program_of(plan_of(MIXED))


def test_the_same_seed_gives_the_same_augmentations(one_candidate: Program) -> None:
    first, second, other = (
        one_candidate.step(one_candidate.init(jax.random.key(seed))) for seed in (5, 5, 6)
    )
    jax.tree.map(np.testing.assert_array_equal, first[0].current, second[0].current)
    assert not np.array_equal(first[1].loss, other[1].loss)


def test_each_iteration_augments_anew(one_candidate: Program) -> None:
    state = one_candidate.init(KEY)
    later = attrs.evolve(state, iteration=jnp.int32(1))
    # The same weights and batches; only the iteration differs.
    losses = [float(one_candidate.step(each)[1].loss[0]) for each in (state, later)]
    assert abs(losses[0] - losses[1]) > 1e-4


def test_another_candidate_leaves_a_candidates_augmentations(one_candidate: Program) -> None:
    alone = one_candidate.step(one_candidate.init(KEY))[1]
    program = program_of(plan_of(MIXED, optimizers="adam(0.01), sgd(0.1)"))
    beside = program.step(program.init(KEY))[1]
    # Another lowering sums in another order.
    np.testing.assert_allclose(beside.scores[1], alone.scores[0], rtol=1e-5)
    np.testing.assert_allclose(beside.loss[1], alone.loss[0], rtol=1e-5)
    assert not np.allclose(beside.scores[0], alone.scores[0], rtol=1e-5)
