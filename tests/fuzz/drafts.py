"""First specs of odd and damaged tables, as the suite asks for them."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz import new
from tests.fuzz.part import Case


def case(seed: int) -> Case:
    """A table; the facts are the target and the task that are asked for."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path, what = new.make(draw, Path(folder))
        return Case({path.name: path.read_bytes()}, what, new.wishes(draw))


def attempt(case: Case, folder: Path) -> Counter[str]:
    """A spec that a run takes, or one message."""
    outcome = new.ask(case.write(folder), case.origin, *case.facts)
    return Counter(refused=int(outcome.refusal is not None))
