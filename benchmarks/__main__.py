"""`python -m benchmarks [A] … [E] [quality]`: speed as ratios, and what runs are worth.

`compare`, `few_labels` and `growth` take minutes, and run only where they are named.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from benchmarks import compare, few_labels, floor, growth, page, plain, published, quality
from benchmarks.workloads import WORKLOADS, Workload
from ev3lang.backend.emit import emit
from ev3lang.plan.fuse import fuse

RESULTS = Path(__file__).parent / "results"

TABLES = {"compare": compare, "few_labels": few_labels, "growth": growth}
"""What has tables in docs/, on the page that `PAGES` says."""

PAGES = {"compare": "comparison.md", "few_labels": "comparison.md", "growth": "growth.md"}

TARGETS = {
    "A": {"times faster than published": 60.0},
    "B": {"times faster than published": 7.0, "times the floor": 1.25},
    "C": {"times faster than plain": 1.0, "times the floor": 1.25},
    "D": {"times faster than plain": 1.0, "times the floor": 1.25},
    "E": {"times B": 1.1},
}


def ours(workload: Workload, count: int) -> tuple[Callable[[], None], str]:
    """A function that runs `count` iterations as a segment, and how they are lowered."""
    fused = fuse(workload.plan, jax.default_backend())
    program = emit(fused, workload.tables, given=workload.given)
    states = [program.init(jax.random.key(workload.plan.seed))]

    def segment() -> None:
        state, _, filled, _ = program.segment(states.pop(), count, False)
        states.append(jax.block_until_ready(state))
        assert int(filled) == count

    return segment, ", ".join(group.lowering for group in fused.rollouts)


def repeated(run: Callable[[], None], count: int) -> None:
    for _ in range(count):
        run()


def timed(run: Callable[[], None], iterations: int) -> float:
    """Milliseconds of one iteration."""
    begin = time.perf_counter()
    run()
    return (time.perf_counter() - begin) * 1e3 / iterations


def beside(workload: Workload) -> dict[str, tuple[Callable[[], None], int]]:
    """What a workload is timed beside: for each, a function and the iterations of one call."""
    count = 100 if workload.name == "A" else 4
    if workload.name == "E":
        return {"B": (ours(WORKLOADS["B"](), count)[0], count)}
    bare = floor.bare(workload)
    runs = {"floor": (lambda: repeated(bare, count), count)}
    if workload.name in ("A", "B"):
        return {**runs, "published": (published.loop(workload), 1)}
    return {**runs, "plain": (plain.loop(workload), 1)}


def ratios(times: dict[str, float]) -> dict[str, float]:
    """How ours stands to each of the others."""
    said = {"floor": "times the floor", "B": "times B"}
    return {
        said.get(name, f"times faster than {name}"): (
            times["ours"] / each if name in said else each / times["ours"]
        )
        for name, each in times.items()
        if name != "ours"
    }


def measure(workload: Workload, rounds: int) -> dict[str, Any]:
    """Milliseconds an iteration of each, turn by turn so that a busy machine is busy for all."""
    count = 100 if workload.name == "A" else 4
    segment, lowering = ours(workload, count)
    runs: dict[str, tuple[Callable[[], None], int]] = {
        "ours": (segment, count),
        **beside(workload),
    }
    started = {name: timed(run, 1) for name, (run, _) in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (run, iterations) in runs.items():
            times[name].append(timed(run, iterations))
    median = {name: statistics.median(each) for name, each in times.items()}
    best = {name: min(each) for name, each in times.items()}
    return {
        "about": workload.about,
        "lowering": lowering,
        "first_call_ms": started,
        "median_ms": median,
        "minimum_ms": best,
        "runs": {name: len(each) for name, each in times.items()},
        "ratios": ratios(median),
        "ratios_of_minima": ratios(best),
        "targets": TARGETS[workload.name],
    }


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "device": jax.devices()[0].device_kind,
        "system": platform.system(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "load": os.getloadavg(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    usual = [*WORKLOADS, "quality"]
    names = [*usual, *TABLES]
    parser.add_argument(
        "what", nargs="*", help=f"any of {', '.join(names)}; {', '.join(usual)} if none"
    )
    parser.add_argument("--rounds", type=int, default=12, help="turns of each loop (default 12)")
    parser.add_argument("--keep", action="store_true", help="write results/NAME.json, and docs/")
    arguments = parser.parse_args()
    if unknown := set(arguments.what) - set(names):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}")
    for name in arguments.what or usual:
        if name in TABLES:
            result = TABLES[name].measure()
            print(tables := TABLES[name].tables(result))
            if arguments.keep:
                keep(name, result)
                page.put(page.DOCS / PAGES[name], name, tables)
            continue
        if name == "quality":
            result = quality.measure()
            print(json.dumps(result, indent=2))
        else:
            result = measure(WORKLOADS[name](), arguments.rounds)
            show(name, result)
        if arguments.keep:
            keep(name, {"rounds": arguments.rounds, **result})


def keep(name: str, result: dict[str, Any], repeat: str | None = None) -> None:
    """Writes a result with what it was taken on and how to take it again."""
    RESULTS.mkdir(exist_ok=True)
    repeat = repeat or f"python -m benchmarks {name} --keep"
    kept = {"repeat": repeat, "machine": machine(), **result}
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=2) + "\n", "utf-8")


def show(name: str, result: dict[str, Any]) -> None:
    print(f"{name}: {result['about']} ({result['lowering']})")
    for run, median in result["median_ms"].items():
        best = result["minimum_ms"][run]
        print(f"  {run:<10} {median:9.2f} ms an iteration (median), {best:.2f} (minimum)")
    for ratio, value in result["ratios"].items():
        target = result["targets"].get(ratio)
        beside = f", to reach: {target:g}" if target is not None else ""
        print(f"  {value:.2f} {ratio} (minima: {result['ratios_of_minima'][ratio]:.2f}){beside}")


if __name__ == "__main__":
    main()
