"""A model of images, from its spec to weights that got better."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

import ev3lang

SPEC = """\
ev3 1

data digits = sklearn.digits() { batch 64; normalize image }
model net: image -> logits(label) =
  conv(8) | relu | max_pool | conv(16) | relu | mean_pool | dense

loss entropy = cross_entropy(net(image), label)
objective accuracy = maximize argmax(net(image)) == label

explore net { descend entropy with adamw(1e-2), sgd(0.1) for 30 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  stop after 2 iterations
}
"""


def test_a_convolutional_net_learns_digits_within_two_iterations(tmp_path: Path) -> None:
    path = tmp_path / "digits.ev3"
    path.write_text(SPEC, encoding="utf-8")
    program = ev3lang.load(path).compile()
    assert [group.lowering for group in program.fused.rollouts] == ["one body"]

    state = program.init(jax.random.key(0))
    start = state.accepted["net"]
    for _ in range(2):
        state, _ = program.step(state)

    images = program.examples(jax.random.key(1), "adapt")
    accuracies = [
        np.mean(program.measure({"net": weights}, images)["accuracy"])
        for weights in (start, state.accepted["net"])
    ]
    # Ten classes: guessing is right for a tenth.
    assert accuracies[0] < 0.3
    assert accuracies[1] > 0.5
