"""`python -m benchmarks.streaming`: batches from the host beside batches from the device."""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

import jax
import numpy as np

from benchmarks.__main__ import RESULTS, machine, timed
from benchmarks.workloads import Tables
from ev3lang.analysis import analyze
from ev3lang.backend.emit import Program, emit
from ev3lang.check.typed import SPLITS, split_sizes
from ev3lang.compile import experiment
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Plan
from ev3lang.runtime import streaming
from ev3lang.source import Source

TARGETS = {"times resident": 1.1}
ABOUT = "u8 images of 32 x 32 x 3, resnet 16/32/64, batch 64, 2 candidates of 10 steps"
IMAGES = """\
ev3 1
data pictures = npz("made up") {
  image: u8[32, 32, 3]
  label: class[10]
  rows 10_240
  split explore 97%, assess 1%, adapt 1%, report 1%
  batch 64
}
model net: image -> logits(label) = resnet(stages: [1, 1, 1], width: 16)
loss entropy = cross_entropy(net(image), label)
objective accuracy = maximize argmax(net(image)) == label
explore net { descend entropy with adamw(1e-3), sgd(0.1, momentum: 0.9) for 10 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  stop after 1_000_000 iterations
}
"""


def noise(plan: Plan) -> Tables:
    """Random pictures and labels in the spec's shares."""
    assert plan.data.split is not None
    assert plan.data.rows is not None
    draw = np.random.default_rng(0)
    sizes = split_sizes(plan.data.rows, plan.data.split.shares)
    return {
        split: {
            "image": draw.integers(0, 256, (count, 32, 32, 3), np.uint8),
            "label": draw.integers(0, 10, count, np.int32),
        }
        for split, count in zip(SPLITS, sizes, strict=True)
    }


class Loop:
    """A program that goes on with every call, by a segment of `count` iterations."""

    def __init__(self, program: Program, seed: int, count: int) -> None:
        self.program, self.count = program, count
        self.state = program.init(jax.random.key(seed))

    def __call__(self) -> None:
        left = self.count
        while left:
            # a segment ends where its block does
            self.state, _, filled, _ = self.program.segment(self.state, left, False)
            left -= int(filled)


def measure(rounds: int, count: int) -> dict[str, Any]:
    """Milliseconds an iteration of each way, turn by turn, and how they stand to each other.

    A block lasts for the iterations of one turn, so that every turn brings one.
    """
    plan = experiment(analyze(Source("pictures.ev3", IMAGES))).plan
    tables, fused = noise(plan), fuse(plan, jax.default_backend())
    row_bytes = 32 * 32 * 3 + 4
    feed = streaming.Feed(block_bytes=count * 10 * 64 * row_bytes)
    loops = {
        "streamed": Loop(emit(fused, tables, feeder=feed.begin), plan.seed, count),
        "resident": Loop(emit(fused, tables), plan.seed, count),
    }
    for loop in loops.values():
        loop()
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            times[name].append(timed(loop, count))
    feed.close()
    median = {name: statistics.median(each) for name, each in times.items()}
    best = {name: min(each) for name, each in times.items()}
    paired = [a / b for a, b in zip(times["streamed"], times["resident"], strict=True)]
    return {
        "about": ABOUT,
        "rounds": rounds,
        "iterations_a_turn": count,
        "iterations_a_block": feed.length,
        "median_ms": median,
        "minimum_ms": best,
        "ratios": {"times resident": statistics.median(paired)},
        "ratios_of_minima": {"times resident": best["streamed"] / best["resident"]},
        "targets": TARGETS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="turns of each way (default 8)")
    parser.add_argument("--count", type=int, default=4, help="iterations a turn (default 4)")
    parser.add_argument("--keep", action="store_true", help="write results/streaming.json")
    arguments = parser.parse_args()
    result = measure(arguments.rounds, arguments.count)
    print(json.dumps(result, indent=2))
    if arguments.keep:
        kept = {
            "repeat": "python -m benchmarks.streaming "
            f"--rounds {arguments.rounds} --count {arguments.count} --keep",
            "machine": machine(),
            **result,
        }
        (RESULTS / "streaming.json").write_text(json.dumps(kept, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
