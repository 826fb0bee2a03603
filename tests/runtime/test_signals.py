"""SIGTERM and SIGHUP end a run as Ctrl-C does, and what was finished is there whenever it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import ev3lang
from ev3lang.outcome import Outcome
from ev3lang.runtime.events import Event, Measuring, Training
from ev3lang.signals import Terminated
from tests.runtime.ran import ran

SPEC = """\
ev3 1

param rounds: int = 2

data moons = two_moons(n: 2000, noise: 0.1) { batch 32 }
model net: point -> logits(label) = mlp(hidden: [8])
loss entropy = cross_entropy(net(point), label)
objective accuracy = maximize argmax(net(point)) == label

explore net { descend entropy with sgd(0.1) for 20_000 steps }
assess net { rank by accuracy }
adapt net { accept when accuracy improves; stop after rounds iterations }
report {
  baseline plain = descend entropy with sgd(0.1)
  baseline other = descend entropy with sgd(0.2)
}
"""


@pytest.fixture(autouse=True)
def default_signals() -> Iterator[None]:
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = {number: signal.getsignal(number) for number in numbers}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def sending(number: int, when: Callable[[Event], bool], times: int = 1) -> Callable[[Event], None]:
    """A listener that sends a signal at the first events of a kind."""
    left = [number] * times

    def listen(event: Event) -> None:
        while left and when(event):
            signal.raise_signal(left.pop())

    return listen


def is_measuring(event: Event) -> bool:
    return isinstance(event, Measuring) and event.what.startswith("measuring on")


def test_baselines_that_are_not_finished_are_left_out(tmp_path: Path) -> None:
    done = ran(
        SPEC,
        tmp_path / "out",
        listen=sending(signal.SIGTERM, lambda event: isinstance(event, Training)),
    )
    assert done.result.exit_status == 4
    report = done.result.report
    # its evidence is closed: it came to its own stop
    assert (report.outcome, report.split) == (Outcome.ITERATIONS, "report")
    assert set(report.metrics) == set(report.steps) == {"accepted", "current"}
    left_out = [each for each in report.warnings if "left out" in each]
    assert left_out == [
        "baseline plain is left out: a signal ended it (SIGTERM or SIGHUP) while it was trained",
        "baseline other is left out: a signal ended it (SIGTERM or SIGHUP) before it was trained",
    ]
    parts = done.of(Training)
    assert 0 < parts[-1].step < parts[-1].steps == 40_000
    assert json.loads((tmp_path / "out" / "report.json").read_text())["outcome"] == "iterations"
    assert ev3lang.load_model(tmp_path / "out")


def test_a_second_signal_ends_at_once_and_leaves_the_accepted_model(tmp_path: Path) -> None:
    listen = sending(signal.SIGHUP, lambda event: isinstance(event, Training), times=2)
    with pytest.raises(Terminated):
        ran(SPEC, tmp_path / "out", listen=listen)
    assert not (tmp_path / "out" / "report.json").exists()
    assert ev3lang.load_model(tmp_path / "out")


def test_a_signal_while_the_report_is_measured_ends_a_sweep_after_it(tmp_path: Path) -> None:
    from tests.runtime.test_sweep import told

    text = SPEC.replace("20_000", "5").replace("report {", "sweep { seed in 0 to 2 }\nreport {")
    swept = told(text, tmp_path / "out", listen=sending(signal.SIGTERM, is_measuring))
    assert swept.statuses == ["done", "not run", "not run"]
    assert swept.result.exit_status == swept.written["exit_status"] == 4


def test_a_signal_while_a_teacher_is_trained_leaves_nothing(tmp_path: Path) -> None:
    trained = """\
model net: point -> logits(label) = mlp(hidden: [8])
model teacher: point -> logits(label) = mlp(hidden: [9]) {
  trained by descend of_teacher with sgd(0.1) for 1_000_000 steps
}
loss of_teacher = cross_entropy(teacher(point), label)
metric taught = argmax(teacher(point)) == label
"""
    net = SPEC.splitlines()[5]
    text = SPEC.replace(f"{net}\n", trained).replace("report {", "report { show taught")
    listen = sending(signal.SIGTERM, lambda event: isinstance(event, Training))
    with pytest.raises(Terminated):
        ran(text, tmp_path / "out", listen=listen)
    assert not (tmp_path / "out").exists()


def test_a_signal_while_the_next_size_is_compiled_ends_with_this_one(tmp_path: Path) -> None:
    grow = "grow by widen(2x); limit parameters(net) <= 99"
    grow = f"; after 1 iterations without progress {{ {grow} }}; stop"
    text = SPEC.replace("20_000", "5").replace("= 2", "= 9000").replace("; stop", grow)
    compiling = "compiling what comes next"
    done = ran(
        text,
        tmp_path / "out",
        listen=sending(
            signal.SIGTERM, lambda event: isinstance(event, Measuring) and event.what == compiling
        ),
    )
    report = done.result.report
    assert report.outcome is Outcome.TERMINATED
    assert len(report.stages) == 1
    assert report.stages[0].parameters["net"] == 2 * 8 + 8 + 8 * 2 + 2


def test_a_closed_terminal_ends_a_run_in_order_with_what_was_accepted_so_far(
    tmp_path: Path,
) -> None:
    (tmp_path / "moons.ev3").write_text(SPEC.replace("20_000", "20"))
    controller, terminal = pty.openpty()
    arguments = ["run", "moons.ev3", "--out", "out", "--set", "rounds=10_000_000"]
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINAL, *arguments],
        cwd=tmp_path,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(terminal)
    accepted = tmp_path / "out" / "accepted"
    try:
        end_s = time.monotonic() + 90
        while not accepted.exists():
            assert time.monotonic() < end_s, "nothing was accepted"
            os.set_blocking(controller, False)
            try:
                os.read(controller, 2**16)
            except BlockingIOError:
                time.sleep(0.1)
        # while the run goes on
        assert process.poll() is None
        assert ev3lang.load_model(accepted)(np.zeros((3, 2), np.float32)).shape == (3, 2)
        os.close(controller)
        assert process.wait(timeout=60) == 4
    finally:
        process.kill()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["outcome"] == "terminated"
    assert report["acceptances"] >= 1
    assert sorted(each.name for each in accepted.parent.iterdir()) == [
        "accepted",
        "events.jsonl",
        "report.json",
        "run.json",
        "spec.ev3",
    ]


TERMINAL = """
import fcntl, runpy, sys, termios
# the terminal is this session's own, so that closing it sends SIGHUP
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
runpy.run_module("ev3lang", run_name="__main__")
"""
