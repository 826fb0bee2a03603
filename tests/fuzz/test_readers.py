"""A short run over damaged files of data; `python -m tests.fuzz.readers` tries thousands."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import readers
from tests.fuzz.readers import FORMATS, attempt, cases

COUNT = 50

# Code of theirs that isn't Python's could end the process, and the test with it.
APART = ("huggingface", "parquet")

pytestmark = pytest.mark.filterwarnings("ignore")


def _needs_library(format: str) -> None:
    if format == "huggingface" and importlib.util.find_spec("datasets") is None:
        pytest.skip("needs the extra")


@pytest.mark.parametrize("format", [each for each in FORMATS if each not in APART])
def test_a_damaged_file_is_read_or_refused(format: str, tmp_path: Path) -> None:
    for name, data in cases(format, 0, COUNT):
        path = tmp_path / name
        path.write_bytes(data)
        assert attempt(path) is None, name


@pytest.mark.parametrize("format", APART)
def test_neither_does_one_end_the_process(format: str) -> None:
    _needs_library(format)
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.readers", str(COUNT), "0", format],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parent.parent.parent,
    )
    assert (done.returncode, done.stdout) == (0, "0 faults\n"), done.stdout + done.stderr


@pytest.mark.parametrize("format", list(FORMATS))
def test_the_first_case_of_a_format_is_read(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _needs_library(format)
    (name, data), *_ = cases(format, 3, 2)
    (tmp_path / name).write_bytes(data)
    read: list[str] = []
    reader = readers.READERS[FORMATS[format].source]

    def watched(*arguments: Any) -> Any:
        found = reader(*arguments)
        read.append(format)
        return found

    monkeypatch.setattr(readers, "READERS", {FORMATS[format].source: watched})
    assert attempt(tmp_path / name) is None
    assert read


def test_a_reader_that_raises_something_else_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(readers, "READERS", {"csv": broken})
    (name, data), *_ = cases("csv", 3, 1)
    (tmp_path / name).write_bytes(data)
    assert "KeyError: 'x'" in str(attempt(tmp_path / name))
