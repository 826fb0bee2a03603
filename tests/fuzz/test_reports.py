"""A damaged report is shown as far as it holds together, or is one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ev3lang.runtime import codec
from ev3lang.runtime import report as reports
from tests.fuzz.reports import attempt, cases
from tests.runtime.examples import some_report
from tests.runtime.test_growth_report import grown_report


def test_damaged_reports_are_shown_or_refused(tmp_path: Path) -> None:
    found = [attempt(case.write(tmp_path)) for case in cases(seed=0, count=200)]
    refused = [text for text in found if text.startswith(str(tmp_path))]
    assert 0 < len(refused) < len(found)


def document() -> Any:
    return json.loads(json.dumps(reports.to_json(some_report(Path("runs/flowers-1")))))


def fault(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(codec.FormatFault) as caught:
        codec.load(path, "a report", "copy it", reports.from_document)
    assert caught.value.help == "copy it"
    return str(caught.value).removeprefix(f"{path} ")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("metrics", "report", "accepted", "accuracy", "low"), "x", "is a text, not a number"),
        (("metrics", "report", "accepted"), [], "is a list, not an object"),
        (("evidence", 0, "wins"), 1.5, "is a number, not a whole number"),
        (("evidence", 0, "is_closing"), 1, "is a number, not true or false"),
        (("outcome",), "done", "is none of running, iterations, condition"),
        (("steps",), None, "is null, not an object"),
        (("quantities", "accuracy", "better"), "more", "is none of higher, lower"),
        (("metrics",), {}, "is not of the report split alone"),
        (("ranked_by",), "recall", "is 'recall', which is none of quantities"),
    ],
)
def test_a_fault_names_its_place(
    place: tuple[Any, ...], value: Any, said: str, tmp_path: Path
) -> None:
    whole = document()
    inside = whole
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    words = fault(tmp_path / "report.json", json.dumps(whole))
    at = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in place)
    assert words.startswith(f"can't be read as a report: {at[1:]} {said}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no JSON: Expecting value"),
        ("[" * 100_000, "can't be read as a report: it is nested too deeply"),
        ("[" * 500 + "]" * 500, "can't be read as a report: it is nested more than 100 levels"),
        ('{"a": NaN}', "can't be read as a report: NaN is no number of JSON's"),
        ('{"a": 1e999}', "can't be read as a report: 1e999 is too large for a number"),
        ('["\\ud800"]', "can't be read as a report: a text of it has half a character"),
        ("{}", "can't be read as a report: not a report of format 1.0"),
    ],
)
def test_what_is_no_report_says_why(text: str, said: str, tmp_path: Path) -> None:
    assert fault(tmp_path / "report.json", text).startswith(said)


def test_a_whole_report_comes_back(tmp_path: Path) -> None:
    for report in (some_report(tmp_path), grown_report()):
        (tmp_path / "report.json").write_text(json.dumps(reports.to_json(report)))
        path = tmp_path / "report.json"
        assert codec.load(path, "a report", "copy it", reports.from_document) == report
