"""The signals that ask a run to end: Ctrl-C, and what schedulers and closed terminals send."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import attrs

from ev3lang.outcome import Outcome


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: whatever Ctrl-C ends, they end, with an exit status of their own."""


def raise_for(end: Outcome) -> NoReturn:
    """Raises what ends the work in progress: KeyboardInterrupt, or Terminated."""
    raise Terminated if end is Outcome.TERMINATED else KeyboardInterrupt


def end_of(raised: KeyboardInterrupt) -> Outcome:
    """The end that the signal asked for."""
    return Outcome.TERMINATED if isinstance(raised, Terminated) else Outcome.INTERRUPTED


@attrs.define
class Stop:
    """What signals have asked of a run.

    asked        the first signal, as the end that it asks for; None before it
    is_patient   whether the first one only asks; any other ends the work in progress
    """

    asked: Outcome | None = None
    is_patient: bool = False

    def __call__(self, end: Outcome) -> None:
        is_first = self.asked is None
        self.asked = self.asked or end
        if not (is_first and self.is_patient):
            raise_for(end)

    def wait_from_now_on(self) -> None:
        """Lets the next signal ask; raises for one that has come and that Python has dropped."""
        if self.asked is not None:
            raise_for(self.asked)
        self.is_patient = True


@contextmanager
def handled(handle: Callable[[Outcome], None]) -> Iterator[None]:
    """Each signal calls `handle`, in the main thread, until left.

    Not outside the main thread, which alone receives signals, and none that the process was started
    to ignore: SIGINT as of a shell's background jobs, SIGHUP by nohup.

    What `handle` raises comes up where the main thread is. Python drops it where nothing can be
    raised, and JAX has a callback of the garbage collector that is such a place; the drop isn't
    reported.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        handle(_ENDS[number])

    report = sys.unraisablehook

    def quietly(dropped: sys.UnraisableHookArgs) -> None:
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            report(dropped)

    # None is a handler of another library's, in C: it can't be put back
    there = {number: signal.getsignal(number) for number in _ENDS}
    before = {
        number: handler
        for number, handler in there.items()
        if handler is not None and handler is not signal.SIG_IGN
    }
    sys.unraisablehook = quietly
    try:
        for number in before:
            signal.signal(number, on_signal)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = report


@contextmanager
def ended_by(stop: Stop) -> Iterator[None]:
    """Each signal calls `stop`; what ends before the first is patient ends as the signal says.

    A library that is being imported, or reads a file, may make another error of what was raised.
    """
    with handled(stop):
        try:
            yield
        except BaseException:
            if stop.asked is not None and not stop.is_patient:
                raise_for(stop.asked)
            raise


_ENDS = {
    getattr(signal, name): end
    for name, end in (
        ("SIGINT", Outcome.INTERRUPTED),
        ("SIGTERM", Outcome.TERMINATED),
        ("SIGHUP", Outcome.TERMINATED),
    )
    # Windows has no SIGHUP
    if hasattr(signal, name)
}
