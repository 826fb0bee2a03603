"""`python -m benchmarks.teachers`: what it saves to compute what frozen teachers say only once.

Two teachers, mlp [512, 512], and a student of 16 units on digits, which learns from the mean of
their logits in 60 steps of 128. Beside it the same with every output computed for its batch, the
same on images that are augmented, where nothing can be kept, and descent on the labels alone.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable

import jax

from benchmarks.__main__ import keep, timed
from ev3lang.analysis import analyze
from ev3lang.backend import cached, models
from ev3lang.backend.emit import emit
from ev3lang.compile import experiment
from ev3lang.plan.fuse import fuse
from ev3lang.runtime import data
from ev3lang.source import Source

ITERATIONS = 8

SPEC = """\
ev3 1

data digits = sklearn.digits() { normalize image; AUGMENT }
model a: image -> logits(label) = mlp(hidden: [512, 512]) { frozen }
model b: image -> logits(label) = mlp(hidden: [512, 512]) { frozen }
model student: image -> logits(label) = mlp(hidden: [16])
loss hard = cross_entropy(student(image), label)
loss soft = kl_divergence(softmax((a(image) + b(image)) / 2), softmax(student(image)))
objective accuracy = maximize argmax(student(image)) == label
explore student { descend LOSS with adamw(3e-3) for 60 steps }
assess student { rank by accuracy }
adapt student { accept when accuracy improves; stop after 1000 iterations }
"""


def segment(loss: str, augment: str, most_bytes: int = cached.MOST_BYTES) -> Callable[[], None]:
    """A function that runs `ITERATIONS` iterations, its outputs kept in at most so many bytes."""
    text = SPEC.replace("LOSS", loss).replace("; AUGMENT", augment)
    plan = experiment(analyze(Source("teachers.ev3", text))).plan
    dataset = data.read(plan.data)
    given = {
        model.name: jax.device_get(models.init(model, jax.random.key(at)))
        for at, model in enumerate(plan.models)
        if not model.is_explored
    }
    cached.MOST_BYTES = most_bytes
    program = emit(fuse(plan, jax.default_backend()), dataset.tables, dataset.statistics, given)
    states = [program.init(jax.random.key(0))]

    def run() -> None:
        state, *_ = program.segment(states.pop(), ITERATIONS, False)
        states.append(jax.block_until_ready(state))

    return run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teachers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default 5)")
    parser.add_argument("--keep", action="store_true", help="write results/teachers.json")
    arguments = parser.parse_args()
    augmented = "; augment image with gaussian_noise(0.02)"
    runs = {
        "outputs kept": segment("soft", ""),
        "outputs computed": segment("soft", "", most_bytes=0),
        "augmented": segment("soft", augmented),
        "augmented, labels alone": segment("hard", augmented),
        "labels alone": segment("hard", ""),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        timed(run, ITERATIONS)
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            times[name].append(timed(run, ITERATIONS))
    median = {name: statistics.median(each) for name, each in times.items()}
    best = {name: min(each) for name, each in times.items()}
    for name in runs:
        print(f"{name:<24} {median[name]:8.2f} ms (median), {best[name]:.2f} (minimum)")
    ratios = {
        name: {"of medians": median[name] / median["outputs kept"]}
        | {"of minima": best[name] / best["outputs kept"]}
        for name in ("outputs computed", "augmented")
    }
    for name, ratio in ratios.items():
        words = ", ".join(f"{value:.1f} {of}" for of, value in ratio.items())
        print(f"{name}: as many times as long as with outputs kept: {words}")
    if arguments.keep:
        result = {"median_ms": median, "minimum_ms": best, "ratios": ratios}
        keep("teachers", result, "python -m benchmarks.teachers --keep")


if __name__ == "__main__":
    main()
