"""Damaged reports, as the suite tries them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.fuzz import reports
from tests.fuzz.part import Case


def case(seed: int) -> Case:
    """A damaged report of a run or a sweep."""
    (made,) = reports.cases(seed, 1)
    return Case({made.name: made.data}, f"a {made.name}")


def attempt(case: Case, folder: Path) -> Counter[str]:
    """Shows it, or says in a clear error why not."""
    said = reports.attempt(case.write(folder))
    return Counter(refused=int(said.startswith(str(folder))))
