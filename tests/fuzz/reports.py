"""Damaged files of runs and sweeps, and what `ev3lang report` makes of them."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from ev3lang.outcome import Outcome
from ev3lang.runtime import codec, sweep_report
from ev3lang.runtime import report as reports
from ev3lang.runtime.intervals import Interval, wilson
from ev3lang.runtime.terminal import show_report, show_sweep
from tests.fuzz.documents import damaged
from tests.runtime.examples import some_report
from tests.runtime.test_growth_report import grown_report


@attrs.frozen
class Case:
    """A file to show, by the name that tells its kind: `report.json` or `sweep.json`."""

    name: str
    data: bytes

    def write(self, folder: Path) -> Path:
        """The file in a folder; what it was before is replaced."""
        path = folder / self.name
        path.write_bytes(self.data)
        return path


def cases(seed: int, count: int) -> Iterator[Case]:
    """So many damaged files, the same for the same seed."""
    draw = random.Random(seed)
    documents = _documents()
    for _ in range(count):
        name, document = draw.choice(documents)
        yield Case(name, damaged(document, draw))


def attempt(path: Path) -> str:
    """Shows a file as the command does: what is shown, or the fault that says what is wrong.

    Whatever else is raised is a fault of ours.
    """
    out = io.StringIO()
    try:
        if path.name == "sweep.json":
            swept = codec.load(path, "a report", "copy it", sweep_report.from_document)
            show_sweep(swept, str(path.parent), out)
        else:
            report = codec.load(path, "a report", "copy it", reports.from_document)
            show_report(report, str(path.parent), out)
    except codec.FormatFault as fault:
        return f"{fault}; {fault.help}"
    text = out.getvalue()
    text.encode()
    return text


def _documents() -> list[tuple[str, Any]]:
    """Whole files, of every kind of run."""
    plain, grown = some_report(Path("runs/flowers-1")), grown_report()
    points = tuple(
        sweep_report.PointResult(
            number,
            {"width": str(width), "seed": str(seed)},
            status,
            folder=f"points/{number:03d}",
            reason="memory is too small" if status == "failed" else None,
            exit_status=6 if status == "failed" else 0,
            outcome=Outcome.ITERATIONS if status == "done" else None,
            split="report" if status == "done" else None,
            metrics={"accuracy": wilson(9 + number, 15), "size": Interval(15.0, None, None, 0)}
            if status == "done"
            else {},
        )
        for number, (width, seed, status) in enumerate(
            ((4, 0, "done"), (4, 1, "done"), (8, 0, "failed"), (8, 1, "not run")), 1
        )
    )
    swept = sweep_report.SweepReport(
        "iris",
        "iris.ev3",
        "cpu",
        {"width": ("4", "8"), "seed": ("0", "1")},
        "rule",
        {"accuracy": reports.Quantity("higher", True), "size": reports.Quantity(None, False)},
        points,
        1.5,
    )
    found = [
        ("report.json", reports.to_json(plain)),
        ("report.json", reports.to_json(grown)),
        ("sweep.json", sweep_report.to_json(swept)),
    ]
    return [(name, json.loads(json.dumps(document))) for name, document in found]
