"""A run's need of memory beside what its device and its machine have, before anything is read."""

from __future__ import annotations

import jax

from ev3lang.catalog.index import SOURCES
from ev3lang.plan.memory import examples_of
from ev3lang.plan.plan import Plan
from ev3lang.plan.room import need, written_bytes
from ev3lang.runtime import device, memory
from ev3lang.runtime.faults import MemoryFault


def require(plan: Plan, chosen: jax.Device) -> None:
    """Raises MemoryFault where a run needs more than its device has, or its data than the host.

    Data count where the spec says how many they are, and twice where they are drawn: there is a
    moment at which they are there as drawn and as kept. The explore split may stay on the host.
    """
    has_bytes, host_bytes = device.memory_bytes(chosen), memory.host_memory_bytes()
    if has_bytes is None:
        return
    needed = need(plan, examples_of(plan.data))
    data_bytes = 0 if plan.data.is_endless else dict(needed.parts).get("data", 0)
    on_device = needed.total - data_bytes
    if SOURCES[plan.data.source].rows_option is not None:
        data_bytes *= 2
    if on_device > has_bytes:
        raise MemoryFault(
            f"the run needs at least {written_bytes(on_device)} ({needed.words}), and "
            f"{device.describe(chosen)} has {written_bytes(has_bytes)}"
        )
    left_bytes = has_bytes - on_device if chosen.platform == "cpu" else host_bytes or has_bytes
    if data_bytes > left_bytes:
        raise MemoryFault(
            f"{plan.data.name} needs at least {written_bytes(data_bytes)}, and the machine has "
            f"{written_bytes(left_bytes)} for it",
            "use fewer or smaller examples, or a machine with more memory",
        )
