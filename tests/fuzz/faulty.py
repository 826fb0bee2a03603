"""A part whose cases end well, raise or hang, to try the suite itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.fuzz.part import Case


def case(seed: int) -> Case:
    """Its number in a file, twice if it is odd."""
    return Case({"case.txt": str(seed).encode() * (1 + seed % 2)}, f"number {seed}")


def attempt(case: Case, folder: Path) -> Counter[str]:
    """Nothing for 0, an exception for what holds a 1, and no end for all others."""
    text = case.write(folder).read_text()
    if "1" in text:
        raise ZeroDivisionError(text)
    while text == "2":
        pass
    return Counter(well=1)
