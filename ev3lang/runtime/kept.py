"""What one run leaves to the next of a sweep: data that were read, a program that was compiled."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import attrs

from ev3lang.backend.emit import Program
from ev3lang.plan.plan import DataPlan, Plan
from ev3lang.runtime import data


@attrs.define(eq=False)
class Kept:
    """Data and program for whoever asks for the same again."""

    _datasets: dict[tuple[DataPlan, Path], data.Dataset] = attrs.field(factory=dict)
    _program: tuple[Plan, Program] | None = None

    def dataset(self, plan: DataPlan, folder: Path) -> data.Dataset:
        """The data of a plan, read once; raises what `data.read` raises."""
        found = self._datasets.get((plan, folder))
        if found is None:
            found = self._datasets[plan, folder] = data.read(plan, folder)
        return found

    def program(self, plan: Plan, emit: Callable[[], Program]) -> Program:
        """The program of a plan, emitted unless the last one was of the same but for its seed.

        A program is a function of its state, into which the seed comes by `init`'s key. Only the
        last is kept, as each holds its data on the device.
        """
        seedless = attrs.evolve(plan, seed=0)
        if self._program is None or self._program[0] != seedless:
            self._program = None
            self._program = (seedless, emit())
        return self._program[1]

    def forget_all_but(self, needed: Collection[DataPlan]) -> None:
        """Lets go of data that no plan to come reads."""
        for plan, folder in list(self._datasets):
            if plan not in needed:
                del self._datasets[plan, folder]
