"""Roll-outs of every kind against plain loops: statistics, parts, averages, decay, precision."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ev3lang.analysis import analyze
from ev3lang.backend import models
from ev3lang.backend.emit import Program, emit
from ev3lang.backend.expressions import Networks
from ev3lang.backend.layout import Held, held
from ev3lang.backend.rollout import averaged, ended_with, gradient_step, no_average
from ev3lang.compile import experiment
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Plan
from ev3lang.source import Source
from tests.backend.splits import tables

SPEC = """ev3 1
{experiment}
data clouds = gaussian_clusters(classes: 3, distance: 3, dimensions: 6, n: 240) {{
  split explore 40%, assess 20%, adapt 20%, report 20%
  batch {batch}
}}
model net: point -> logits(label) = {layers}
loss entropy = cross_entropy(net(point), label)
objective accuracy = maximize argmax(net(point)) == label
explore net {{ descend entropy with {optimizer} for {steps} steps }}
assess net {{ rank by accuracy }}
adapt net {{ accept when accuracy improves; move always; stop after 40 iterations }}
"""


def plan_of(
    layers: str = "dense(8) | relu | dense",
    optimizer: str = "sgd(0.1, momentum: 0.9)",
    batch: str = "96",
    steps: int = 3,
    experiment_block: str = "",
) -> Plan:
    text = SPEC.format(
        layers=layers,
        optimizer=optimizer,
        batch=batch,
        steps=steps,
        experiment=experiment_block,
    )
    return experiment(analyze(Source("spec.ev3", text))).plan


TABLES = tables(2)


def program_of(plan: Plan) -> Program:
    return emit(fuse(plan, "cpu"), TABLES)


def after_one(plan: Plan) -> tuple[Any, Any]:
    """The weights at the start and behind one iteration; all batches are the whole split."""
    program = program_of(plan)
    state = program.init(jax.random.key(3))
    return jax.device_get(state.current["net"]), jax.device_get(program.step(state)[0])


def entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def followed(plan: Plan, params: Any, chain: Any, steps: int) -> list[Any]:
    """The weights behind each step of a plain loop over the whole explore split."""
    (model,) = plan.models
    fields = TABLES["explore"]

    @jax.jit
    def step(params: Any, opt_state: Any) -> Any:
        learned, statistics = models.parted(params)

        def loss(learned: Any) -> Any:
            whole = models.joined(learned, statistics)
            logits, moved = models.train(model, whole, fields["point"])
            return entropy(logits, fields["label"]), moved

        grads, moved = jax.grad(loss, has_aux=True)(learned)
        updates, opt_state = chain.update(grads, opt_state, learned)
        return models.joined(optax.apply_updates(learned, updates), moved), opt_state

    opt_state = chain.init(models.parted(params)[0])
    passed = []
    for _ in range(steps):
        params, opt_state = step(params, opt_state)
        passed.append(params)
    return passed


def close(first: Any, second: Any, **tolerance: float) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), first, second)


NORMED = "dense(8) | batch_norm | relu | dense"


def test_running_statistics_go_through_a_roll_out_as_in_a_plain_loop() -> None:
    plan = plan_of(NORMED)
    start, state = after_one(plan)
    *_, last = followed(plan, start, optax.sgd(0.1, momentum=0.9), 3)
    # One program sums in another order than three.
    close(state.current["net"], last, rtol=1e-4, atol=1e-6)
    statistics = models.parted(state.current["net"])[1]["batch_norm_1"]["statistics"]
    assert np.all(np.abs(statistics["mean"]) > 0)
    assert not np.allclose(statistics["var"], 1)


def test_a_candidate_is_judged_by_its_running_statistics() -> None:
    plan = plan_of(NORMED)
    _, state = after_one(plan)
    (model,) = plan.models
    fields = TABLES["assess"]
    logits = models.apply(model, state.current["net"], fields["point"])
    right = np.argmax(logits, -1) == fields["label"]
    np.testing.assert_array_equal(right, state.current_values["accuracy"])


def test_the_average_of_a_roll_out_is_debiased_and_averages_statistics_too() -> None:
    plan = plan_of(NORMED, "sgd(0.1) | params_ema(0.6)", steps=4)
    start, state = after_one(plan)
    passed = followed(plan, start, optax.sgd(0.1), 4)
    shares = np.array([0.6**3, 0.6**2, 0.6, 1])
    shares /= shares.sum()
    expected = jax.tree.map(
        lambda *leaves: sum(s * np.asarray(e) for s, e in zip(shares, leaves, strict=True)),
        *passed,
    )
    close(state.current["net"], expected, rtol=1e-4, atol=1e-6)


def test_an_average_that_keeps_nothing_is_the_last_weights() -> None:
    averaged = after_one(plan_of(optimizer="sgd(0.1) | params_ema(0)"))[1]
    plain = after_one(plan_of(optimizer="sgd(0.1)"))[1]
    close(averaged.current, plain.current, rtol=1e-5, atol=1e-7)


def test_a_batch_in_parts_has_the_gradient_of_the_whole() -> None:
    whole, parts = (after_one(plan_of(batch=batch))[1] for batch in ("96", "96 in 4 parts"))
    close(whole.current, parts.current, rtol=1e-4, atol=1e-6)


def test_batch_norm_sees_the_parts_of_a_batch_one_by_one() -> None:
    plan = plan_of(NORMED, "sgd(0.1)", "96 in 2 parts", steps=1)
    start, state = after_one(plan)
    first = start["dense_0"]["linear"]
    x = TABLES["explore"]["point"] @ first["kernel"] + first["bias"]
    found = state.current["net"]["batch_norm_1"]["statistics"]["mean"]
    # Each part moves the statistics, 0.09 a + 0.1 b for means a and b whose mean is the whole's.
    lies_between = 0.19 * x.mean(0)
    np.testing.assert_allclose(found, lies_between, atol=0.005 * np.ptp(x.mean(0)) + 0.02)
    assert np.max(np.abs(found - 0.1 * x.mean(0))) > 0.02


def one_step(count: int, parts: int) -> Any:
    """The weights behind one step down the loss on so many examples."""
    plan = plan_of()
    (model,), (candidate,) = plan.models, plan.descents
    params = {"net": models.init(model, jax.random.key(0))}
    weights, restore = held(params, [candidate.optimizer])
    chain = optax.sgd(0.1)
    fields = {name: jnp.asarray(field[:count]) for name, field in TABLES["explore"].items()}
    stepped, _, loss = gradient_step(
        candidate.loss,
        chain,
        Networks({"net": model}, {}),
        restore,
        weights,
        chain.init(weights.learned),
        fields,
        {},
        parts,
    )
    return restore(stepped), loss


def test_examples_that_do_not_fill_a_batch_are_used_whole_in_fewer_parts() -> None:
    # 90 examples make 2 parts where 96 make 4, and 91 only one.
    for count in (90, 91):
        close(one_step(count, 4), one_step(count, 1), rtol=1e-5, atol=1e-7)


def test_each_use_of_a_model_in_a_loss_moves_its_statistics_on() -> None:
    (model,) = plan_of(NORMED).models
    params = models.init(model, jax.random.key(0))
    first, second = TABLES["explore"]["point"][:40], 3 + TABLES["explore"]["point"][40:]
    networks = Networks({"net": model}, {"net": params}).training()
    networks.apply("net", first)
    networks.apply("net", second)
    learned, _ = models.parted(params)
    _, between = models.train(model, params, first)
    _, expected = models.train(model, models.joined(learned, between), second)
    assert networks.moved is not None
    close(networks.moved["net"], expected, rtol=1e-6, atol=1e-7)


def test_an_average_of_one_step_is_that_steps_weights_however_slowly_it_forgets() -> None:
    weights = Held({"w": jnp.array([1.0, -3.0])}, {})
    average = averaged(no_average(weights, 0.9999), weights, 0.9999)
    ended = jax.jit(lambda steps: ended_with(weights, average, 0.9999, steps))(1)
    close(ended.learned, weights.learned, rtol=1e-6)


def test_decay_reaches_matrices_alone() -> None:
    optimizer = "adamw(1e-2, weight_decay: 0.3) | decay only matrices"
    plan = plan_of(optimizer=optimizer)
    start, state = after_one(plan)
    chain = optax.adamw(
        1e-2,
        weight_decay=0.3,
        mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
    )
    close(state.current["net"], followed(plan, start, chain, 3)[-1], rtol=1e-4, atol=1e-6)
    everywhere = followed(plan, start, optax.adamw(1e-2, weight_decay=0.3), 3)[-1]
    biases = [net["dense_0"]["linear"]["bias"] for net in (everywhere, state.current["net"])]
    assert np.max(np.abs(biases[0] - biases[1])) > 1e-6


@pytest.fixture(scope="module")
def half() -> tuple[Plan, Program]:
    plan = plan_of(NORMED, steps=5, experiment_block="experiment half { precision bf16 }")
    return plan, program_of(plan)


def test_bf16_computes_in_bf16_and_keeps_weights_in_f32(half: tuple[Plan, Program]) -> None:
    plan, program = half
    state = program.init(jax.random.key(0))
    (model,) = plan.models
    text = str(
        jax.make_jaxpr(
            lambda p, x: models.train(model, p, x, dtype=jnp.bfloat16), return_shape=False
        )(state.current["net"], TABLES["explore"]["point"])
    )
    assert "bf16[96,8] = dot_general" in text
    whole = str(jax.make_jaxpr(program.step)(state))
    assert "bf16[96,8] = dot_general" in whole
    for leaf in jax.tree.leaves((state.current, state.opt_states)):
        assert leaf.dtype in (jnp.float32, jnp.int32)


def test_bf16_learns(half: tuple[Plan, Program]) -> None:
    _, program = half
    state = program.init(jax.random.key(0))
    before = float(jnp.mean(state.current_values["accuracy"]))
    state, *_ = program.segment(state, 20, False)
    assert float(jnp.mean(state.current_values["accuracy"])) > max(before, 0.6)


def test_what_explore_does_not_train_stays_bit_for_bit_with_its_statistics() -> None:
    text = SPEC.format(
        layers="dense", optimizer="sgd(0.1)", batch="32", steps=3, experiment=""
    ).replace(
        "model net: point -> logits(label) = dense",
        "model trunk: point -> f32[8] = dense(8) | batch_norm | relu\n"
        "model net: f32[8] -> logits(label) = dense",
    )
    text = text.replace("net(point)", "net(trunk(point))")
    plan = experiment(analyze(Source("spec.ev3", text))).plan
    program = program_of(plan)
    state = program.init(jax.random.key(0))
    before = jax.device_get(state.frozen)
    after, _ = program.step(state)
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(after.frozen))
    assert list(before) == ["trunk"]
    moved = jax.tree.map(lambda a, b: np.any(a != b), state.current, after.current)
    assert any(jax.tree.leaves(moved))


def test_a_baseline_averages_too() -> None:
    text = SPEC.format(layers=NORMED, optimizer="sgd(0.1)", batch="96", steps=3, experiment="")
    text += "report { baseline plain = descend entropy with sgd(0.1) | params_ema(0.5) }\n"
    plan = experiment(analyze(Source("spec.ev3", text))).plan
    program = program_of(plan)
    start = jax.device_get(program.init(jax.random.key(3)).current["net"])
    found = program.train_baseline(jax.random.key(3), plan.baselines[0], 2)["net"]
    first, second = followed(plan, start, optax.sgd(0.1), 2)
    expected = jax.tree.map(lambda a, b: (0.5 * a + b) / 1.5, first, second)
    close(jax.device_get(found), expected, rtol=1e-4, atol=1e-6)
    untrained = program.train_baseline(jax.random.key(3), plan.baselines[0], 0)["net"]
    # drawn inside another program, whose operations may be fused otherwise: two ulps
    close(jax.device_get(untrained), start, rtol=2.4e-7, atol=0)
