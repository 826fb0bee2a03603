"""`make fuzz`: damaged specs, tables, reports and checkpoints, and what the program makes of them.

A run is the same for the same seed. Every failure is written, as small as it can be made, into a
folder that is shown at the end; the exit status is 1 where there is one.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.minimize import MOST_TRIES, minimized
from tests.fuzz.part import PARTS, Case, Part
from tests.fuzz.pool import Tried, Worker, try_all

ALIKE = 3
"""Failures of one cause that are written; the rest is only counted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Tries all that is asked for and says what failed; the exit status."""
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=…", description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the first")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--count", type=int, help="cases of each part, instead of its own number")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    given = parser.parse_args(arguments)
    names = given.only.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}: there are {', '.join(PARTS)}")
    folder = Path(tempfile.mkdtemp(prefix="ev3lang-fuzz-"))
    print(f"seed {given.seed}", flush=True)
    failures = 0
    for name in names:
        part = PARTS[name]
        count = part.count if given.count is None else given.count
        failures += fuzz(part, given.seed, count, given.workers, folder)
    if failures:
        print(f"{failures} failures; the smallest of each are in {folder}")
        return 1
    folder.rmdir()
    return 0


def fuzz(part: Part, seed: int, count: int, workers: int, folder: Path) -> int:
    """Tries so many cases of a part; how many failures there are."""
    start_s = time.monotonic()
    counts: Counter[str] = Counter()
    failed: dict[str, list[Tried]] = {}
    for tried in try_all(part, range(seed, seed + count), workers):
        counts.update(tried.counts)
        if tried.failure is not None:
            failed.setdefault(tried.signature, []).append(tried)
    words = ", ".join(f"{counts[key]} {key}" for key in sorted(counts))
    failures = sum(len(each) for each in failed.values())
    elapsed_s = time.monotonic() - start_s
    print(
        f"{part.name}: {count} cases in {elapsed_s:.0f} s, {failures} failures; {words}", flush=True
    )
    for index, alike in enumerate(failed.values()):
        for tried in alike[:ALIKE]:
            last = (tried.failure or "").strip().split("\n")[-1]
            origin = "" if tried.case is None else f" ({tried.case.origin})"
            print(f"  seed {tried.seed}{origin}: {last[:200]}", flush=True)
            if tried.case is not None:
                path = write(part, tried, tried.case, folder / f"{part.name}-{index}-{tried.seed}")
                print(f"    {path}")
    fault = part.review(counts)
    if fault is not None:
        print(f"  {part.name}: {fault}")
    return failures + (fault is not None)


def write(part: Part, tried: Tried, case: Case, folder: Path) -> Path:
    """The folder with the smallest case that fails alike, the whole one, and the traceback."""
    worker = Worker(part)

    def fails(smaller: Case) -> bool:
        again = worker.tried(smaller)
        return again.failure is not None and again.signature == tried.signature

    try:
        # One that hangs costs its whole time in each try.
        small = minimized(case, fails, 40 if tried.is_hang else MOST_TRIES)
    finally:
        worker.stop()
    folder.mkdir()
    small.write(folder)
    case.write(folder / "whole")
    words = f"{case.origin}\n{case.facts}\n\n{tried.failure}"
    (folder / "failure.txt").write_text(words, encoding="utf-8", errors="replace")
    return folder


if __name__ == "__main__":
    sys.exit(main())
