"""Whether a run has room: the memory that it needs at least, in parts, before anything is read."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ev3lang.plan.memory import NUMBER_BYTES, memory, row_bytes
from ev3lang.plan.plan import Candidate, Descent, Evolution, Plan

MOST_BYTES = 2**46
"""64 TiB: no device has more, so a check refuses what needs it."""


@attrs.frozen
class Need:
    """Bytes that a run needs at least.

    parts   what takes them, the largest first
    """

    parts: tuple[tuple[str, int], ...]

    @property
    def total(self) -> int:
        return sum(size for _, size in self.parts)

    @property
    def words(self) -> str:
        """Each part that matters, with its size: `weights 12.0 GB, data 3.0 GB`."""
        named = [
            f"{name} {written_bytes(size)}" for name, size in self.parts if 10 * size > self.total
        ]
        return ", ".join(named)


def need(plan: Plan, sizes: Mapping[str, int] | None) -> Need:
    """What a run of a plan needs on its device, wherever that is known beforehand.

    sizes   examples of each split, or of an evaluation draw; None where they aren't known
    Layers' results count as half of the estimate: a compiler keeps fewer of them, and a run that
    would just fit isn't refused.
    """
    known = memory(plan, sizes)
    counts = {} if sizes is None else sizes
    data = known.data
    if plan.data.is_endless:
        data = row_bytes(plan) * max(counts.values(), default=0)
    parts = {
        "weights": known.weights,
        "optimizers": known.optimizers,
        "data": data,
        "results of layers": None if known.activations is None else known.activations // 2,
        "batches": max((_batches(plan, each) for each in plan.candidates), default=0),
        "populations": max((each.population**2 for each in plan.evolutions), default=0),
    }
    found = [(name, size) for name, size in parts.items() if size]
    return Need(tuple(sorted(found, key=lambda part: -part[1])))


def _batches(plan: Plan, candidate: Candidate) -> int:
    """The batches of one roll-out, drawn before it: rows of a split, or fresh examples."""
    row = row_bytes(plan) if plan.data.is_endless else NUMBER_BYTES
    match candidate:
        case Descent():
            return candidate.longest * candidate.batch * row
        case Evolution():
            return candidate.generations * candidate.batch * row
    return 0


def written_bytes(size: float) -> str:
    """A size as people read it: `1.5 GB`, `70.4 TB`."""
    units = ("bytes", "kB", "MB", "GB", "TB", "PB")
    thousands = 0
    while size >= 1000 and thousands < len(units) - 1:
        size, thousands = size / 1000, thousands + 1
    return f"{size:.3g} {units[thousands]}"
