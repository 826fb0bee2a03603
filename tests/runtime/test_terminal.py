"""What people see, on a terminal and in a log."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.outcome import Outcome
from ev3lang.runtime import report as reports
from ev3lang.runtime import terminal
from ev3lang.runtime.intervals import Interval
from ev3lang.runtime.report import Report
from tests.runtime.examples import PLAN, iteration, some_events, some_report

FOLDER = Path("runs/flowers-1234-1")


class Screen(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def show(stream: io.StringIO, *, is_quiet: bool = False) -> str:
    shown = terminal.display(stream, is_quiet=is_quiet)
    for event in some_events(FOLDER):
        shown(event)
    shown.close()
    return stream.getvalue()


@pytest.fixture(scope="module")
def report() -> Report:
    return some_report(FOLDER)


def drawn(report: Report, stream: io.StringIO) -> str:
    terminal.show_report(report, str(FOLDER), stream)
    return stream.getvalue()


def test_a_log_gets_plain_lines() -> None:
    text = show(io.StringIO())
    assert "\x1b" not in text
    assert "iteration 12 of 30: best entropy with sgd(0.1)" in text
    assert "last query: accepted" in text
    assert text.endswith("ended after 30 iterations: all its iterations are done\n")


def test_a_log_has_every_acceptance_and_the_last_iteration_whatever_the_pace() -> None:
    text = show(io.StringIO())
    assert len([line for line in text.splitlines() if line.endswith("; accepted")]) == 1
    assert "iteration 30 of 30" in text


def test_a_long_run_has_a_log_that_can_be_read() -> None:
    stream, now = io.StringIO(), 0.0
    lines = terminal._Lines(terminal._console(stream), clock=lambda: now)
    lines(next(some_events(FOLDER)))
    for number in range(1, 10_001):
        now += 1
        lines(iteration(number))
    assert 50 < len(stream.getvalue().splitlines()) < 500


def test_quiet_shows_nothing() -> None:
    assert show(io.StringIO(), is_quiet=True) == ""


def test_a_terminal_gets_a_table_drawn_over_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = show(Screen())
    assert "\x1b[" in text
    assert "iteration 30 of 30" in text
    assert "candidate" in text


@pytest.mark.parametrize("columns", ["20", "40", "100"])
def test_no_line_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: str, report: Report
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    plain = drawn(report, Screen())
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[3m", "\x1b[1;2m"):
        plain = plain.replace(code, "")
    assert max(map(len, plain.splitlines())) <= int(columns)


def test_no_color_leaves_no_colour(monkeypatch: pytest.MonkeyPatch, report: Report) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in drawn(report, Screen()).replace("\x1b[3m", "")
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b[33m" in drawn(report, Screen())


def test_the_report_says_what_was_asked_tried_accepted_and_what_it_is_worth(
    report: Report,
) -> None:
    text = drawn(report, io.StringIO())
    assert "\x1b" not in text
    for words in (
        "maximize accuracy (target 95%) and minimize log_loss",
        "150 examples: 90 to explore, 23 to assess, 22 to adapt, 15 to report",
        "at most 5%",
        "after 30 iterations or after 2 min",
        "entropy with adamw(1e-3)",
        "2 acceptances in 3 decisions",
        "iteration 12",
        "the last query",
        "on the 15 examples of the report split",
        "plain training from the same start",
        "93.3%  70.2% to 98.8%",
        "accepted minus plain, accuracy: +40.0 pp",
        "no difference shown",
        "training 1 min 15 s",
        "warning: 1 example stands in two splits",
        str(FOLDER),
    ):
        assert words in text
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_a_run_that_was_interrupted_claims_nothing(report: Report) -> None:
    cut = attrs.evolve(
        report,
        outcome=Outcome.INTERRUPTED,
        split="assess",
        acceptances=(),
        claim=reports.claim_words(PLAN, 0, Outcome.INTERRUPTED, 22),
    )
    text = drawn(cut, io.StringIO())
    assert "it was interrupted" in text
    assert "claim nothing" in text.replace("\n", " ")
    assert "Nothing was shown to be better" in text
    assert "resume" not in text


def test_a_run_that_accepted_nothing_has_figures_of_a_start(report: Report) -> None:
    names = {"accepted": "start"}
    empty = attrs.evolve(
        report,
        acceptances=(),
        claim=reports.claim_words(PLAN, 0, Outcome.ITERATIONS, 22),
        delivered="start",
        metrics={names.get(name, name): each for name, each in report.metrics.items()},
        steps={names.get(name, name): each for name, each in report.steps.items()},
    )
    text = drawn(empty, io.StringIO())
    assert "Nothing was accepted." in text
    assert "start minus plain, accuracy: +40.0 pp" in text
    assert "accepted minus" not in text
    assert any(line.startswith("start ") for line in text.splitlines())
    assert not any(line.startswith("accepted ") for line in text.splitlines())
    value = reports.to_json(empty)
    assert value["delivered"] == "start"
    assert set(value["metrics"]["report"]) == {"start", "current", "plain"}
    assert {each["model"] for each in value["comparisons"]} == {"start"}
    assert reports.from_json(json.loads(json.dumps(value))) == empty


def test_a_p_value_below_every_float_is_not_told_as_0(report: Report) -> None:
    proof = reports.Proof(None, None, 2.2e-308, log_p=-1000.0)
    acceptances = tuple(attrs.evolve(each, proof=proof) for each in report.acceptances)
    text = drawn(attrs.evolve(report, acceptances=acceptances), io.StringIO())
    assert text.count("5.1e-435") == len(acceptances)


def test_a_value_that_is_undefined_is_called_that(report: Report) -> None:
    nothing = Interval(math.nan, None, None, 15)
    metrics = {**report.metrics, "plain": {"accuracy": nothing}}
    comparisons = (reports.Comparison("plain", "accuracy", nothing),)
    text = drawn(attrs.evolve(report, metrics=metrics, comparisons=comparisons), io.StringIO())
    assert "accepted minus plain, accuracy: undefined\n" in text
    assert text.count("undefined") == 2
    assert "nan" not in text


def test_a_report_survives_its_json(report: Report) -> None:
    assert reports.from_json(json.loads(json.dumps(reports.to_json(report)))) == report


def test_a_report_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="not a report"):
        reports.from_json({"format_version": "9"})


def test_the_tally_adds_up(report: Report) -> None:
    first, second = report.tried
    assert (first.best, first.moved, first.quarantined) == (30, 30, 0)
    assert (second.best, second.quarantined) == (0, 1)
    assert [(each.iteration, each.is_closing) for each in report.acceptances] == [
        (12, False),
        (30, True),
    ]
    assert report.queries == 3


@given(st.lists(st.floats(allow_nan=True), max_size=60), st.integers(1, 30))
def test_a_sparkline_fits_and_takes_any_numbers(values: list[float], width: int) -> None:
    assert len(terminal.sparkline(values, width)) <= width


def test_a_sparkline_rises_with_its_values() -> None:
    assert terminal.sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == terminal.BARS
    assert terminal.sparkline([1, 1], 8) == "▁▁"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0312, "0.031 s"),
        (9.96, "10 s"),
        (12, "12 s"),
        (60, "1 min"),
        (245, "4 min 5 s"),
        (9000, "2 h 30 min"),
        (3600, "1 h"),
    ],
)
def test_durations_are_words(seconds: float, words: str) -> None:
    assert reports.duration(seconds) == words
