"""`python -m benchmarks.accuracies`: accuracies on digits that are known, over five splits.

What is measured is the current model on the report split of a plain search with one candidate: five
split seeds, so that every figure rests on 5 x 270 examples.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.__main__ import keep
from ev3lang.analysis import analyze
from ev3lang.compile import experiment
from ev3lang.runtime.run import run
from ev3lang.source import Source

SPEC = """ev3 1
data digits = sklearn.digits() {{
  split explore 70%, assess 10%, adapt 5%, report 15% stratified by label seed {seed}
  normalize image
  {augment}
}}
model net: image -> logits(label) = {layers}
loss entropy = cross_entropy(net(image), label)
objective accuracy = maximize argmax(net(image)) == label
optimizer careful = adamw(cosine(2e-3, over: {total} steps), weight_decay: 1e-2)
explore net {{ descend entropy with careful for 60 steps }}
assess net {{ rank by accuracy }}
adapt net {{ accept when accuracy improves; move always; stop after {iterations} iterations }}
"""

MODELS = {
    "mlp [64]": ("mlp(hidden: [64])", "", 20),
    "image model": (
        "resnet(stages: [1, 1], width: 16)",
        "augment image with shift(1 px), gaussian_noise(0.02)",
        15,
    ),
}
"""Layers, augmentation, iterations of 60 steps."""

KNOWN = {"mlp [64]": "97.9 (5-fold, scikit-learn), within 1 pp", "image model": "98.5 at least"}


def measure() -> dict[str, Any]:
    """Right and all, summed over the splits, for each model."""
    found: dict[str, Any] = {}
    for name, (layers, augment, iterations) in MODELS.items():
        right = examples = 0
        for seed in range(5):
            text = SPEC.format(
                seed=seed,
                layers=layers,
                augment=augment,
                iterations=iterations,
                total=60 * iterations,
            )
            plan = experiment(analyze(Source("digits.ev3", text))).plan
            with tempfile.TemporaryDirectory() as folder:
                result = run(plan, Source("digits.ev3", text), out=Path(folder) / "out")
            value = result.report.metrics["current"]["accuracy"]
            right += round(value.value * value.examples)
            examples += value.examples
        found[name] = {
            "accuracy": round(100 * right / examples, 2),
            "examples": examples,
            "to reach": KNOWN[name],
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracies", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write results/accuracies.json")
    arguments = parser.parse_args()
    found = measure()
    print(json.dumps(found, indent=2))
    if arguments.keep:
        keep("accuracies", found, "python -m benchmarks.accuracies --keep")


if __name__ == "__main__":
    main()
