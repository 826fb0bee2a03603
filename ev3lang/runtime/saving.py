"""The models in a run's folder: `accepted/` as soon as one is accepted, all others at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
import jax
import numpy as np

from ev3lang.backend.state import Decision, Params
from ev3lang.plan import stages
from ev3lang.plan.plan import Architecture, Plan
from ev3lang.runtime import checkpoints
from ev3lang.runtime.data import Dataset

SHARE = 0.01
"""How much of a run's time writing accepted models may take; others are written less often."""


@attrs.frozen(eq=False)
class Sized:
    """Explored models' weights, with the architecture that they have."""

    architecture: Architecture
    params: Params


@attrs.define(eq=False, slots=False)
class Saved:
    """The models that a run writes into its folder, and whether `accepted/` is up to date.

    plan        as it was lowered
    is_behind   whether another model was accepted since `accepted/` was written
    """

    folder: Path
    plan: Plan
    dataset: Dataset
    is_behind: bool = False
    _due_s: float = 0.0

    @cached_property
    def _data(self) -> dict[str, Any]:
        # a digest of all examples: once for all that is written
        return checkpoints.data_record(self.plan.data, self.dataset)

    def is_due(self, decisions: Iterable[Any]) -> bool:
        """Whether `accepted/` is to be written, after these decisions too: [] int32 each."""
        self.is_behind |= any(int(each) == Decision.ACCEPTED for each in decisions)
        return self.is_behind and time.monotonic() >= self._due_s

    def writing(self, accepted: Sized, frozen: Params) -> Callable[[], None]:
        """What writes `accepted/`; the weights are copied to the host at once."""
        began_s = time.monotonic()
        copied = jax.tree.map(np.array, jax.device_get((accepted.params, frozen)))
        copy_s, self.is_behind = time.monotonic() - began_s, False

        def write() -> None:
            began_s = time.monotonic()
            self.write("accepted", Sized(accepted.architecture, copied[0]), copied[1])
            ended_s = time.monotonic()
            self._due_s = ended_s + (copy_s + ended_s - began_s) / SHARE

        return write

    def write(self, name: str, sized: Sized, frozen: Params) -> None:
        """Writes a model into a folder of the run's, with the shapes that it has.

        frozen   weights of the models that aren't explored
        Raises OSError, with what was there before as it was.
        """
        own = stages.at(self.plan, sized.architecture)
        whole = {**frozen, **sized.params}
        params = jax.device_get(
            {model.name: whole[model.name] for model in own.models if model.name in whole}
        )
        final = self.folder / name
        final.parent.mkdir(exist_ok=True)
        checkpoints.save(final, own, self.dataset, params, self._data)
