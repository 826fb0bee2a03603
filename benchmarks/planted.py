"""`python -m benchmarks.planted`: after how many iterations rule `challenger` finds a known gain.

Two normal clouds are told apart best by the line halfway between them. Runs start with a line that
is turned away from it by an angle that costs just one percentage point, and one roll-out brings
it back: what a challenger gains, and on how many examples it differs, is known in closed form.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.optimize
from scipy.stats import norm

from benchmarks.__main__ import keep
from benchmarks.whole import ENDLESS, whole
from ev3lang.analysis import analyze
from ev3lang.backend import models
from ev3lang.backend.state import Decision, Params
from ev3lang.compile import experiment
from ev3lang.plan.plan import Plan
from ev3lang.source import Source

RUNS = 200
ITERATIONS = 40
GAIN = 0.01
DISCORDANT = 0.10
MOST_ITERATIONS = 6

SPEC = """ev3 1
data clouds = gaussian_clusters(classes: 2, distance: {distance}) {{ batch 1024 }}
model net: point -> logits(label) = dense
loss entropy = cross_entropy(net(point), label)
objective accuracy = maximize argmax(net(point)) == label
explore net {{
  descend entropy with sgd(cosine(2.0, over: 100 steps)) for 100 steps
  state reset
}}
assess net {{ rank by accuracy }}
adapt net {{
  accept when accuracy improves with confidence 95% over the run
  evaluate 2 batches
  move always
  stop after {iterations} iterations
}}
"""


def planted(gain: float = GAIN, discordant: float = DISCORDANT) -> tuple[float, float]:
    """The distance of the clouds and the angle of the first line that give just that.

    gain         what the best line has above the first, a fraction
    discordant   of examples, which the two lines label differently
    """

    def missed(distance_and_angle: np.ndarray) -> list[float]:
        distance, angle = distance_and_angle
        return [
            norm.cdf(distance / 2) - norm.cdf(distance / 2 * math.cos(angle)) - gain,
            differing(distance, angle) - discordant,
        ]

    distance, angle = scipy.optimize.fsolve(missed, (1.0, 0.3), xtol=1e-10)
    return float(distance), float(angle)


def differing(distance: float, angle: float) -> float:
    """The share of examples between the best line and one through the middle at an angle to it.

    distance   between the clouds' centres, on an axis through them
    angle      in (0, pi / 2)
    """

    def between(along: float) -> float:
        # at that place on the axis the other line is |along| / tan(angle) away from it
        beyond = norm.sf(abs(along) / math.tan(angle))
        cloud = norm.pdf(along - distance / 2) + norm.pdf(along + distance / 2)
        return float(0.5 * beyond * cloud)

    share, _ = scipy.integrate.quad(between, -12, 12, points=[0.0])
    return float(share)


def turned(plan: Plan, distance: float, angle: float) -> Params:
    """Start weights: the line at that angle, as sure of itself as the best one should be."""
    (model,) = plan.models
    # log-odds of two clouds of variance 1 are `distance` times the place along their axis
    weights = distance / 2 * np.array([math.cos(angle), math.sin(angle)])
    kernel = jnp.asarray(np.stack([weights, -weights], axis=1), jnp.float32)
    fresh = models.init(model, jax.random.key(0))
    return {
        model.name: jax.tree.map(
            lambda leaf: kernel if leaf.shape == kernel.shape else jnp.zeros_like(leaf), fresh
        )
    }


def accuracy(params: Params, distance: float) -> float:
    """How often a line is right, in closed form: a fraction."""
    kernel, bias = sorted(jax.tree.leaves(params), key=lambda leaf: -leaf.ndim)
    across = np.asarray(kernel[:, 0] - kernel[:, 1], np.float64)
    offset, length = float(bias[0] - bias[1]), float(np.linalg.norm(across))
    along = across[0] * distance / 2
    return 0.5 * float(norm.cdf((along + offset) / length) + norm.cdf((along - offset) / length))


def measure(runs: int = RUNS) -> dict[str, Any]:
    """When runs first accepted, and what the models were truly worth."""
    distance, angle = planted()
    plan = _plan(distance, ITERATIONS)
    start = turned(plan, distance, angle)
    first_step, run = whole(_plan(distance, 1), start), whole(plan, start)
    begin = accuracy(start, distance)
    found, planted_gains, gains = [], [], []
    for seed in range(runs):
        key = jax.random.key(seed)
        planted_gains.append(accuracy(first_step(ENDLESS, key)[0].current, distance) - begin)
        state, records, _ = run(ENDLESS, key)
        accepted = np.flatnonzero(np.asarray(records.decision) == Decision.ACCEPTED)
        found.append(int(accepted[0]) + 1 if len(accepted) else math.inf)
        gains.append(accuracy(state.accepted, distance) - begin)
    return {
        "about": "rule challenger, 2048 fresh examples an iteration, confidence 95%",
        "runs": runs,
        "best line's gain in pp": 100 * GAIN,
        "examples on which it differs in %": 100 * DISCORDANT,
        "gain after one roll-out in pp, mean and least": [
            round(100 * statistics.mean(planted_gains), 3),
            round(100 * min(planted_gains), 3),
        ],
        "iteration of the first acceptance, median": statistics.median(found),
        "to reach": MOST_ITERATIONS,
        "nine of ten by iteration": sorted(found)[math.ceil(0.9 * runs) - 1],
        f"accepted nothing in {ITERATIONS}": sum(math.isinf(each) for each in found),
        "accepted something worse": sum(gain < 0 for gain in gains),
    }


def _plan(distance: float, iterations: int) -> Plan:
    text = SPEC.format(distance=distance, iterations=iterations)
    return experiment(analyze(Source("clouds.ev3", text))).plan


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planted", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write results/planted.json")
    arguments = parser.parse_args()
    found = measure()
    print(json.dumps(found, indent=2))
    if arguments.keep:
        keep("planted", found, "python -m benchmarks.planted --keep")


if __name__ == "__main__":
    main()
