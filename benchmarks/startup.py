"""`python -m benchmarks.startup`: what a command costs beside importing its libraries."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ev3lang.analysis import analyze
from ev3lang.source import Source

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"

SPECS = sorted((ROOT / "specs").glob("*.ev3"))
IMPORTS = (sys.executable, "-c", "import lark, attrs, rich")
TARGETS = {"check first.ev3": {"wall_ms": 250.0, "times the imports": 2.5}}


def commands() -> dict[str, tuple[str, ...]]:
    """What is timed: a check of every spec, and what an editor or a shell asks for."""
    ev3lang = (sys.executable, "-c", "from ev3lang.cli import main; main()")
    checks = {f"check {path.name}": (*ev3lang, "check", str(path)) for path in SPECS}
    first = str(ROOT / "specs" / "first.ev3")
    return {
        **checks,
        "fmt first.ev3": (*ev3lang, "fmt", "--check", first),
        "help": (*ev3lang, "-h"),
    }


def spent(command: Sequence[str]) -> tuple[float, float]:
    """Milliseconds of wall and of processor time that a fresh process takes from start to end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # An installed package is compiled once; this variable would have it compiled every time.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, check=False)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode in (0, 1), done.stderr
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall * 1e3, cpu * 1e3


def measure(timed: Mapping[str, Sequence[str]], rounds: int) -> dict[str, Any]:
    """Each command in turn with the imports, so that a busy machine is busy for both.

    The first turn fills the caches and isn't counted. A ratio is the median over the pairs.
    """
    pairs: dict[str, list[tuple[tuple[float, float], tuple[float, float]]]] = {}
    for turn in range(rounds + 1):
        for name, command in timed.items():
            pair = spent(IMPORTS), spent(command)
            if turn:
                pairs.setdefault(name, []).append(pair)
    imports = [pair[0] for each in pairs.values() for pair in each]
    return {
        "imports": {
            "wall_ms": statistics.median(wall for wall, _ in imports),
            "cpu_ms": statistics.median(cpu for _, cpu in imports),
        },
        "commands": {
            name: {
                "wall_ms": statistics.median(wall for _, (wall, _) in each),
                "cpu_ms": statistics.median(cpu for _, (_, cpu) in each),
                "times the imports (wall)": statistics.median(b[0] / a[0] for a, b in each),
                "times the imports (cpu)": statistics.median(b[1] / a[1] for a, b in each),
            }
            for name, each in pairs.items()
        },
    }


def warm(path: Path, rounds: int) -> float:
    """Median milliseconds of an analysis in a process that has done one, as in an editor."""
    source = Source(str(path), path.read_text(encoding="utf-8"))
    analyze(source)
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        analyze(source)
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each command (default 15)")
    parser.add_argument("--keep", action="store_true", help="write results/startup.json")
    arguments = parser.parse_args()
    compileall.compile_dir(ROOT / "ev3lang", quiet=1)
    result = measure(commands(), arguments.rounds)
    result["analysis_again_ms"] = {path.name: warm(path, arguments.rounds) for path in SPECS}
    show(result)
    if arguments.keep:
        keep(arguments.rounds, result)


def keep(rounds: int, result: dict[str, Any]) -> None:
    """Writes the result with what it was taken on and how to take it again."""
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
    }
    repeat = f"python -m benchmarks.startup --rounds {rounds} --keep"
    kept = {"repeat": repeat, "machine": machine, "rounds": rounds, **result, "targets": TARGETS}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "startup.json").write_text(json.dumps(kept, indent=2) + "\n", "utf-8")


def show(result: dict[str, Any]) -> None:
    imports = result["imports"]
    print(f"imports{'':<22} {imports['wall_ms']:5.0f} ms wall, {imports['cpu_ms']:5.0f} ms cpu")
    for name, each in result["commands"].items():
        wall, cpu = each["times the imports (wall)"], each["times the imports (cpu)"]
        print(
            f"{name:<29} {each['wall_ms']:5.0f} ms wall, {each['cpu_ms']:5.0f} ms cpu, "
            f"{wall:.2f} times the imports (cpu: {cpu:.2f})"
        )
    for name, again in result["analysis_again_ms"].items():
        print(f"{name:<29} {again:5.1f} ms to analyse again in the same process")


if __name__ == "__main__":
    main()
