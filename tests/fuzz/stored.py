"""Damaged checkpoints, as the suite tries them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.fuzz import checkpoints
from tests.fuzz.part import Case


def case(seed: int) -> Case:
    """A damaged checkpoint: a run's, one of orbax or one of flax."""
    (made,) = checkpoints.cases(seed, 1)
    files = {
        f"checkpoint/{name}" if name else "checkpoint": made.files[name] for name in made.files
    }
    return Case(files, f"a checkpoint: {made.kind}")


def attempt(case: Case, folder: Path) -> Counter[str]:
    """Reads it, or says in a clear error why not."""
    case.write(folder)
    said = checkpoints.attempt(folder / "checkpoint")
    return Counter(refused=int(said != "read"))
