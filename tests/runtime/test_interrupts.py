"""Ctrl-C is heard while the device computes, and where nobody wants it, it isn't."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from ev3lang.runtime.interrupts import (
    begin,
    ended_by_interrupts,
    interruptible,
    interrupts,
)


def test_work_gives_its_result_or_its_failure() -> None:
    assert interruptible(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_work_goes_on_beside_the_caller() -> None:
    gate = threading.Event()
    wait = begin(lambda: gate.wait(10))
    gate.set()
    assert wait()


def test_ctrl_c_is_heard_while_work_goes_on() -> None:
    heard: list[float] = []
    began = time.monotonic()
    main = threading.main_thread().ident
    assert main is not None

    def work() -> None:
        time.sleep(0.1)
        signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.4)

    with interrupts(lambda: heard.append(time.monotonic() - began)):
        interruptible(work)
    assert len(heard) == 1
    assert heard[0] < 0.4
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts(lambda: pytest.fail("heard")):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


class Dropped:
    """What the garbage collector calls, where nothing can be raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_ends_work_even_where_python_drops_it() -> None:
    reached = []

    def drops() -> None:
        with ended_by_interrupts():
            Dropped()
            reached.append("the end")

    def raises() -> None:
        with ended_by_interrupts():
            signal.raise_signal(signal.SIGINT)
            reached.append("behind it")

    for interrupted in (drops, raises):
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    assert reached == ["the end"]
    with ended_by_interrupts():
        pass
