"""Waiting for the device where a signal is handled at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs
import jax

from ev3lang.runtime.faults import MemoryFault
from ev3lang.signals import Stop

T = TypeVar("T")

LOOK_S = 0.1
"""How long a signal may wait until it is looked at."""


def computed(work: Callable[[], T]) -> T:
    """The result of work, not before it is there."""
    result: T = jax.block_until_ready(work())
    return result


def interruptible(work: Callable[[], T]) -> T:
    """The result of work on the device, waited for where signals are handled at once."""
    return begin(work)()


def unless_stopped(work: Callable[[], T], stop: Stop) -> T | None:
    """The result of work on the device, None where a signal asked for an end before it was there.

    The device finishes it then, and nobody looks at the result.
    """
    pending = begin(work)
    while not pending.is_done_in(LOOK_S):
        if stop.asked is not None:
            return None
    return pending()


@attrs.define(eq=False)
class Pending(Generic[T]):
    """Work in a thread of its own; a call waits for its result, or raises what it raised."""

    _work: Callable[[], T]
    _done: threading.Event = attrs.field(factory=threading.Event)
    _results: list[T] = attrs.field(factory=list)
    _failures: list[BaseException] = attrs.field(factory=list)

    def __call__(self) -> T:
        self._done.wait()
        if self._failures:
            raise self._failures[0]
        return self._results[0]

    def is_done_in(self, most_s: float) -> bool:
        """Whether it is done, waiting at most so long."""
        return self._done.wait(most_s)

    def run(self) -> None:
        try:
            self._results.append(self._work())
        except jax.errors.JaxRuntimeError as failure:
            self._failures.append(worded(failure))
        except BaseException as failure:
            self._failures.append(failure)
        finally:
            self._done.set()


def begin(work: Callable[[], T]) -> Pending[T]:
    """Starts work on the device in a thread of its own.

    While the device computes, the main thread does something else or waits where signals are
    handled; in the device's own wait they would be only afterwards. Waiting raises what the work
    raised, MemoryFault where the device had no room.
    """
    pending = Pending(work)
    # not a daemon: an exit in the middle of the device's work would crash it
    threading.Thread(target=pending.run).start()
    return pending


def worded(failure: jax.errors.JaxRuntimeError) -> Exception:
    """JAX has one class for all that a device refuses, and a code in the words."""
    code, _, words = str(failure).partition(":")
    if code != "RESOURCE_EXHAUSTED":
        return failure
    return MemoryFault(f"the device has not enough memory: {words.strip().splitlines()[0]}")
