"""`python -m benchmarks.apart`: what rule `reference` accepts, by simulation.

Best, current and accepted are measured on one fresh draw in each iteration, as the published rule
does. A share of the examples is answered by each model by itself, the rest by all alike. First all
models are equally good, so that whatever a run accepts is no better; then one is.
"""

from __future__ import annotations

import argparse

import numpy as np

ACCURACY = 0.9
EXAMPLES = 2048
ITERATIONS = 200
RUNS = 4000
WIDTH = 1.96
GAIN = 0.01

INDEPENDENT = 2 * ACCURACY * (1 - ACCURACY)
DIFFERING = (0.02, 0.05, 0.10, INDEPENDENT)
"""Shares of examples on which two models differ."""


def rights(rng: np.random.Generator, differing: float, gains: tuple[float, ...]) -> np.ndarray:
    """How many examples of a draw each model gets right in each run: `[RUNS, models]`.

    gains   of each model over `ACCURACY`
    """
    share = min(1.0, differing / INDEPENDENT)
    by_itself = rng.binomial(EXAMPLES, share, RUNS)
    together = rng.binomial(EXAMPLES - by_itself, ACCURACY)
    own = [rng.binomial(by_itself, ACCURACY + gain / share) for gain in gains]
    return together[:, None] + np.stack(own, axis=-1)


def bounds(right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of the shares."""
    mean = right / EXAMPLES
    error = WIDTH * np.sqrt(mean * (1 - mean) / (EXAMPLES - 1))
    return mean - error, mean + error


def ever_accepted(rng: np.random.Generator, differing: float) -> float:
    """The share of runs that accept a model, none of which is better."""
    has_accepted = np.zeros(RUNS, bool)
    is_same = np.ones(RUNS, bool)  # current is the accepted model
    for _ in range(ITERATIONS):
        right = rights(rng, differing, (0.0, 0.0, 0.0))
        right[:, 2] = np.where(is_same, right[:, 1], right[:, 2])
        lower, upper = bounds(right)
        winner = lower.argmax(axis=1)
        is_accepted = lower.max(axis=1) > upper[:, 2]
        has_accepted |= is_accepted
        is_same = is_accepted | np.where(winner == 1, is_same, winner == 2)
    return float(has_accepted.mean())


def found(rng: np.random.Generator, differing: float) -> float:
    """The share of single decisions that accept a model better by `GAIN`."""
    lower, upper = bounds(rights(rng, differing, (GAIN, 0.0)))
    return float((lower[:, 0] > upper[:, 1]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    rng = np.random.default_rng(parser.parse_args().seed)
    print(f"{RUNS} runs of {ITERATIONS} iterations, {EXAMPLES} fresh examples a decision, of which")
    print("two models differ on | runs that accept one no better | decisions that find 1 pp more")
    for differing in DIFFERING:
        shares = ever_accepted(rng, differing), found(rng, differing)
        print(f"{differing:20.0%} | {shares[0]:30.1%} | {shares[1]:30.1%}")


if __name__ == "__main__":
    main()
