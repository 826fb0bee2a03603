"""What every part of the fuzz suite is: cases by their seed, and an attempt at each."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs


@attrs.frozen
class Case:
    """What to try.

    files    by their path; one file has the name "" where only its content matters
    origin   what it was made of, in words
    facts    what the attempt has to know besides
    """

    files: dict[str, bytes]
    origin: str
    facts: tuple[str | None, ...] = ()

    def write(self, folder: Path) -> Path:
        """The files in a folder; the path of the first."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder / next(iter(self.files))


@attrs.frozen
class Part:
    """A part of the suite.

    module    where `case(seed)` makes a case and `attempt(case, folder)` tries it in an empty
              folder; what an attempt counts is added up, and it raises whatever shows that the
              program is at fault. `review(counts)` of a module that has it gives a failure of all
              cases together, None where all is well.
    count     cases of a long run
    limit_s   processor time that one case may take
    is_heavy  whether the module loads jax, which only the processes that try the cases may do
    """

    name: str
    module: str
    count: int
    limit_s: float
    is_heavy: bool = False

    @property
    def case(self) -> Callable[[int], Case]:
        found: Callable[[int], Case] = importlib.import_module(self.module).case
        return found

    @property
    def attempt(self) -> Callable[[Case, Path], Counter[str]]:
        found: Callable[[Case, Path], Counter[str]] = importlib.import_module(self.module).attempt
        return found

    def review(self, counts: Counter[str]) -> str | None:
        """A failure of all cases together."""
        if self.is_heavy:
            return None
        check = getattr(importlib.import_module(self.module), "review", None)
        found: str | None = None if check is None else check(counts)
        return found


PARTS: dict[str, Part] = {
    each.name: each
    for each in (
        Part("specs", "tests.fuzz.specs", 10_000, 5.0),
        Part("pairs", "tests.fuzz.pairs", 1_000, 5.0),
        Part("readers", "tests.fuzz.files", 7_000, 30.0, is_heavy=True),
        Part("new", "tests.fuzz.drafts", 5_000, 20.0, is_heavy=True),
        Part("reports", "tests.fuzz.shown", 1_200, 10.0, is_heavy=True),
        Part("checkpoints", "tests.fuzz.stored", 800, 20.0, is_heavy=True),
        Part("runs", "tests.fuzz.accepted", 60, 120.0, is_heavy=True),
    )
}
