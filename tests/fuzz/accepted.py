"""Damaged specs that pass `check`: a run of them ends, or says what no check could have known."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from ev3lang.analysis import Analysis, analyze
from ev3lang.compile import experiment
from ev3lang.diagnostics.diagnostic import has_errors
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.run import run
from ev3lang.source import Source
from ev3lang.syntax import tree
from tests.fuzz.faults import number_fault, token_fault
from tests.fuzz.part import Case

HEAD = "ev3 1\n\ndata iris = sklearn.iris() { batch 16; normalize features }\n"

BODIES = (
    """
model net: features -> logits(label) = mlp(hidden: [8], activation: tanh)
let guess = net(features)
loss entropy = cross_entropy(guess, label, label_smoothing: 0.1)
loss focal(gamma: real = 2) = focal_loss(guess, label, gamma: gamma)
objective accuracy = maximize argmax(guess) == label
objective log_loss = minimize clip(entropy, 0, 5)
metric top2 = label in top_k(guess, 2)
explore net {
  descend entropy, focal(gamma: 1) with sgd(0.1, momentum: 0.9), adamw(1e-2) for 3 steps
  perturb with gaussian(0.01) for 2 draws
  average last 2 accepted
}
assess net { rank by accuracy then log_loss; guard top2 >= accepted - 5 pp }
adapt net { accept when accuracy improves; move unless worse; stop after 2 iterations }
report { show accuracy, top2, confusion_matrix(argmax(guess), label) }
""",
    """
param width: int = 4
model net: features -> logits(label) = dense(width) | batch_norm | relu | dropout(0.1) | dense
loss entropy = cross_entropy(net(features), label)
objective accuracy = maximize argmax(net(features)) == label
objective ece = minimize expected_calibration_error(softmax(net(features)), label, bins: 5)
metric size = parameters(net)
explore net { descend entropy with adam(cosine(1e-2, over: 9 steps)) for 3 steps; batch 8 }
assess net { rank by accuracy then ece }
adapt net {
  accept when accuracy improves with confidence 60% each time
  after 1 iterations without progress { grow by widen(2x); limit size <= 90 }
  stop after 3 iterations or after 1 min or when accuracy >= 98%
}
""",
    """
model teacher: features -> logits(label) = mlp(hidden: [8]) {
  trained by descend teach with adamw(1e-2) for 2 epochs
}
model net: features -> logits(label) = mlp(hidden: [4])
loss teach = cross_entropy(teacher(features), label)
loss soft(T: real) =
  kl_divergence(softmax(teacher(features) / T), softmax(net(features) / T)) * T ^ 2
objective accuracy target 97% = maximize argmax(net(features)) == label
explore net {
  evolve accuracy with evolution_strategy(population: 4, sigma: 0.1) for 2 generations
  descend soft(T: 2) with lion(1e-3) for 2 steps
}
assess net { prioritize accuracy by distance to target }
adapt net { accept when leading objective improves; rule gate; stop after 2 iterations }
""",
    """
model net: features -> f32[1] = dense(4) | gelu | dense(1)
loss squared = mean((net(features) - 1) ^ 2)
objective error = minimize clip(squared, 0, 4)
explore net { descend squared with rmsprop(1e-2) for 2 steps; batches fresh; state reset }
assess net { rank by error }
adapt net { accept when error improves by 0.01; stop after 2 iterations }
report { show error; baseline plain = descend squared with sgd(0.1) }
""",
)

MOST = 64
"""The largest whole number of a spec that is run: more only costs time."""


def case(seed: int) -> Case:
    """A damaged spec without errors that is small enough to be run."""
    draw = random.Random(seed)
    while True:
        text = HEAD + draw.choice(BODIES)
        for _ in range(draw.choice((1, 1, 2))):
            plant = draw.choice((token_fault, token_fault, number_fault))
            text = plant(text, draw).made(text)
        if "^9" in text:
            continue  # what a check makes of such numbers is for `specs`
        analysis = analyze(Source("spec.ev3", text))
        if analysis.points and not has_errors(analysis.refusals) and _is_small(analysis):
            return Case({"spec.ev3": text.encode()}, "an accepted spec")


def _is_small(analysis: Analysis) -> bool:
    nodes = (node for each in analysis.tree.declarations for node in tree.walk(each))
    numbers = (node.value for node in nodes if isinstance(node, tree.Number))
    adapt = [each for each in analysis.tree.declarations if isinstance(each, tree.Adapt)]
    stops = [node for each in adapt for node in each.items if isinstance(node, tree.Stop)]
    is_ending = any(
        isinstance(condition, tree.StopAfter) and (condition.amount.unit or "").startswith("iter")
        for stop in stops
        for condition in stop.conditions
    )
    return is_ending and len(analysis.points) == 1 and all(number <= MOST for number in numbers)


def attempt(case: Case, folder: Path) -> Counter[str]:
    """Runs it to its end; whatever it raises could have been known."""
    path = case.write(folder)
    analysis = analyze(Source(str(path), path.read_text(encoding="utf-8")))
    if has_errors(analysis.refusals) or not analysis.points:
        return Counter(refused=1)
    asked = experiment(analysis)
    try:
        result = run(asked.plan, asked.source, out=folder / "out", on="cpu")
    except DataError as error:
        if "is no number" in str(error):
            # Such as the root of a difference, which the values alone make negative.
            return Counter(undefined=1)
        raise
    return Counter({result.report.outcome.name.lower(): 1})
