"""Ctrl-C while the device computes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import jax

from ev3lang.runtime.faults import MemoryFault

T = TypeVar("T")


@contextmanager
def interrupts(handle: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C calls `handle` until left.

    Not outside the main thread, which alone hears signals, and not in a process that was started
    to ignore it, as a shell's background jobs are.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        del number, frame
        handle()

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def ended_by_interrupts() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, on leaving at the latest.

    Python drops one that comes up where nothing can be raised, and JAX has a callback of the
    garbage collector that is such a place; nor is the drop told, as nothing is lost by it.
    """
    heard, tell = threading.Event(), sys.unraisablehook

    def handle() -> None:
        heard.set()
        raise KeyboardInterrupt

    def told(dropped: sys.UnraisableHookArgs) -> None:
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            tell(dropped)

    sys.unraisablehook = told
    try:
        with interrupts(handle):
            yield
            if heard.is_set():
                raise KeyboardInterrupt
    finally:
        sys.unraisablehook = tell


def computed(work: Callable[[], T]) -> T:
    """The result of work, not before it is there."""
    result: T = jax.block_until_ready(work())
    return result


def interruptible(work: Callable[[], T]) -> T:
    """The result of work on the device, waited for where Ctrl-C is heard at once."""
    return begin(work)()


def begin(work: Callable[[], T]) -> Callable[[], T]:
    """Starts work on the device in a thread of its own; gives the function that waits for it.

    While the device computes, the main thread does something else or waits where Ctrl-C reaches
    it; in the device's own wait it would be heard only afterwards. Waiting raises what the work
    raised, MemoryFault where the device's memory was not enough.
    """
    results: list[T] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def target() -> None:
        try:
            results.append(work())
        except jax.errors.JaxRuntimeError as failure:
            failures.append(worded(failure))
        except BaseException as failure:
            failures.append(failure)
        finally:
            done.set()

    def wait() -> T:
        done.wait()
        if failures:
            raise failures[0]
        return results[0]

    # not a daemon: an exit in the middle of the device's work would crash it
    threading.Thread(target=target).start()
    return wait


def worded(failure: jax.errors.JaxRuntimeError) -> Exception:
    """JAX has one class for all that a device refuses, and a code in the words."""
    code, _, words = str(failure).partition(":")
    if code != "RESOURCE_EXHAUSTED":
        return failure
    return MemoryFault(f"the device has not enough memory: {words.strip().splitlines()[0]}")
