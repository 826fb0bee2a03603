"""Signals are handled while the device computes, and those that are ignored stay ignored."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from ev3lang.outcome import Outcome
from ev3lang.runtime.interrupts import begin, interruptible
from ev3lang.signals import Stop, Terminated, handled


def test_work_gives_its_result_or_its_failure() -> None:
    assert interruptible(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        interruptible(lambda: 1 // 0)


def test_work_goes_on_beside_the_caller() -> None:
    gate = threading.Event()
    wait = begin(lambda: gate.wait(10))
    gate.set()
    assert wait()


@pytest.mark.parametrize(
    ("number", "end"),
    [
        (signal.SIGINT, Outcome.INTERRUPTED),
        (signal.SIGTERM, Outcome.TERMINATED),
        (signal.SIGHUP, Outcome.TERMINATED),
    ],
)
def test_a_signal_is_handled_while_work_goes_on(number: signal.Signals, end: Outcome) -> None:
    came: list[tuple[Outcome, float]] = []
    began = time.monotonic()
    main = threading.main_thread().ident
    assert main is not None
    before = signal.getsignal(number)

    def work() -> None:
        time.sleep(0.1)
        signal.pthread_kill(main, number)
        time.sleep(0.4)

    with handled(lambda end: came.append((end, time.monotonic() - began))):
        interruptible(work)
    ((found, wall_s),) = came
    assert found is end
    assert wall_s < 0.4
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_process_that_ignores_a_signal_goes_on_ignoring_it(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with handled(lambda end: pytest.fail(f"handled {end}")):
            signal.raise_signal(number)
    finally:
        signal.signal(number, before)


def test_the_first_signal_asks_and_the_second_ends_at_once() -> None:
    stop = Stop()
    with handled(stop):
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
        assert stop.asked is Outcome.TERMINATED
    stop = Stop()
    with handled(stop):
        stop.wait_from_now_on()
        signal.raise_signal(signal.SIGINT)
        assert stop.asked is Outcome.INTERRUPTED
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGHUP)
        assert stop.asked is Outcome.INTERRUPTED


class Dropped:
    """What the garbage collector calls, where nothing can be raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_counts_even_where_python_drops_what_it_raises() -> None:
    stop = Stop()
    with handled(stop):
        Dropped()
        with pytest.raises(Terminated):
            stop.wait_from_now_on()
