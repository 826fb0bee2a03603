"""The stage that comes next: the way into it, and its program, compiled beside the run."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs
import jax
import numpy as np

from ev3lang.backend import succession
from ev3lang.backend.elders import OneOf
from ev3lang.backend.emit import Program
from ev3lang.backend.growth import warm
from ev3lang.backend.state import Params, RunState
from ev3lang.plan.growth.copies import written
from ev3lang.plan.memory import memory
from ev3lang.plan.plan import Architecture, Operation, Plan
from ev3lang.runtime import device
from ev3lang.runtime.faults import MemoryFault
from ev3lang.runtime.interrupts import computed

SEEN = 512
"""Assess examples on which outputs before and after a growth are compared."""


@attrs.frozen
class Way:
    """Where a run may go on: by a growth, or from the smallest models again.

    operation   None for a new start
    """

    operation: Operation | None
    architecture: Architecture

    @property
    def keeps_function(self) -> bool:
        return self.operation is not None and self.operation.name != "fresh"

    @property
    def words(self) -> str:
        return "from the smallest again" if self.operation is None else written(self.operation)


Told: TypeAlias = Mapping[str, Any]
"""Small arrays of a state by name, which travel to the host with a segment's records."""


def told(state: RunState) -> Told:
    """What the host has to know of a state to prepare the next stage; nothing of runs that stay."""
    if state.progress is None:
        return {}
    found = {"is due": state.progress.is_due, "may grow": state.progress.may_grow}
    if isinstance(state.accepted, OneOf):
        found["accepted"] = state.accepted.place
    held = state.challengers
    if held is not None:
        found["filled"] = held.is_filled
        if isinstance(held.params, OneOf):
            found["challengers"] = held.params.place
    if state.archived is not None:
        found["archived"] = state.archived.is_filled
    return found


@attrs.frozen
class Facts:
    """What the next stage's plan depends on, beside the way into it.

    elders     which architectures, by their place, accepted and challengers have; 0 is current's
    archived   for each archive, whether a model of this architecture has come into it
    """

    elders: tuple[int, ...]
    archived: tuple[bool, ...]

    @classmethod
    def of(cls, told: Told) -> Facts:
        """Of what was told, on the host."""
        places = {int(told.get("accepted", 0))}
        if "filled" in told:
            held = told.get("challengers", np.zeros_like(told["filled"], int))
            places |= {int(place) for place in held[told["filled"]]}
        return cls(tuple(sorted(places)), tuple(map(bool, told.get("archived", ()))))


@attrs.define(eq=False)
class Prepared:
    """The next stage's program on its way, in a thread of its own.

    key     what the weights of a new start, or the noise of a growth, are drawn by
    drawn   the weights of a new start, which don't depend on the run so far
    """

    way: Way
    plan: Plan
    key: jax.Array | None = None
    made: Program | None = None
    blank: RunState | None = None
    drawn: Params | None = None
    failure: BaseException | None = None
    thread: threading.Thread | None = None

    @property
    def program(self) -> Program:
        assert self.made is not None, "it was waited for"
        return self.made

    def wait(self) -> None:
        """Until it is there. Raises what its preparation raised; MemoryFault for want of memory."""
        if self.thread is not None:
            self.thread.join()
        if self.failure is not None:
            raise self.failure


# ---------------------------------------------------------------- in the thread


def require_room(plan: Plan, way: Way, chosen: jax.Device) -> None:
    """Raises MemoryFault where weights and optimizers alone are more than a device has.

    A machine that lends out more memory than it has would end the run, and all with it.
    """
    has_bytes, needed = device.memory_bytes(chosen), memory(plan, None)
    assert needed.weights is not None and needed.optimizers is not None, "layers can be counted"
    needed_bytes = needed.weights + needed.optimizers
    if has_bytes is not None and needed_bytes > has_bytes:
        raise MemoryFault(
            f"{way.words} leads to {needed_bytes:,} bytes of weights and optimizers' states, and "
            f"{device.describe(chosen)} has {has_bytes:,}"
        )


def compile_stage(prepared: Prepared, program: Program, before: tuple[Program, Plan]) -> None:
    """Calls once all that will be called on the way into a stage; `before` is the one before."""
    blank = program.blank()
    computed(lambda: succession.on_device(succession.on_host(blank)))
    computed(lambda: program.segment(program.blank(), 0, False))
    computed(lambda: program.begin(blank.current))
    operation = prepared.way.operation
    if operation is not None and prepared.way.keeps_function:
        last, plan = before
        warm(plan.architecture, operation)
        for one, state in ((program, blank), (last, last.blank())):
            jax.block_until_ready(one.outputs({**state.frozen, **state.current}, SEEN))
    else:
        assert prepared.key is not None, "it comes first"
        prepared.drawn = jax.device_get(program.draw(prepared.key))
        computed(lambda: program.appraise(blank))
    prepared.blank, prepared.made = blank, program
