"""The experiments in specs/: each checks, keeps its layout, and runs if all of it is built."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from ev3lang.analysis import analyze
from ev3lang.cli import main
from ev3lang.diagnostics.diagnostic import NOT_BUILT
from ev3lang.source import Source
from ev3lang.syntax.format import format_source

SPECS = sorted((Path(__file__).resolve().parent.parent / "specs").glob("*.ev3"))


def source(path: Path) -> Source:
    return Source(str(path), path.read_text(encoding="utf-8"))


def is_built(path: Path) -> bool:
    return all(each.code != NOT_BUILT for each in analyze(source(path)).diagnostics)


BUILT = [path for path in SPECS if is_built(path)]

AFTER = re.compile(r"^  after \d+ iterations without progress \{.*?\}\n", re.DOTALL | re.MULTILINE)
"""What follows a stop of progress, in a spec's own layout."""


def without_growth(text: str) -> str:
    """The spec without its growth when progress stops, and without what only that reads."""
    stripped = AFTER.sub(lambda block: "" if "grow " in block[0] else block[0], text)
    if stripped == text or len(re.findall(r"\bsize\b", stripped)) > 1:
        return stripped
    return re.sub(r"^metric size = .*\n", "", stripped, flags=re.MULTILINE)


def is_all_but_growth_built(path: Path) -> bool:
    found = analyze(Source(str(path), without_growth(path.read_text(encoding="utf-8"))))
    return all(each.code != NOT_BUILT for each in found.diagnostics)


RUNNABLE = [path for path in SPECS if is_all_but_growth_built(path)]


@pytest.fixture(scope="module")
def stand_ins(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("stand_ins", repository / "specs/stand_ins.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_has_no_error_and_stays_put(path: Path) -> None:
    found = analyze(source(path)).diagnostics
    assert [each.message for each in found if each.severity == "error"] == []
    formatted = format_source(source(path))
    assert formatted == source(path).text


def test_every_kind_of_task_can_be_run() -> None:
    names = {path.stem for path in RUNNABLE}
    assert {path.stem for path in BUILT} <= names
    assert {
        "digits_images",
        "distill",
        "few_labels",
        "first",
        "labels",
        "language_model",
        "no_gradient",
        "patients",
        "regression",
        "sentences",
        "sequences",
        "stream",
        "sweep",
        "table",
        "teachers",
        "two_tasks",
    } <= names


@pytest.mark.parametrize("path", RUNNABLE, ids=lambda path: path.stem)
def test_a_spec_runs_two_iterations(
    path: Path, stand_ins: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = without_growth(path.read_text(encoding="utf-8"))
    for name in re.findall(r'"data/([\w.]+)"', text):
        if name == "reviews.parquet":
            # attention over all of its 3200 reviews to assess would take minutes
            stand_ins.reviews(tmp_path / "data" / name, rows=2_000)
            text = text.replace("rows 40_000", "rows 2_000")
        else:
            stand_ins.WRITERS[name](tmp_path / "data" / name)
    # What costs time here is compiling, not steps: fewer of them, and of the teacher's epochs.
    short = re.sub(r"stop after \d+ iterations", "stop after 2 iterations", text)
    short = re.sub(r"for \d+ epochs", "for 1 epochs", short)
    short = re.sub(r"for \d+ steps", "for 3 steps", short)
    out = tmp_path / "out"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Of a sweep one width and two seeds: what costs time is each program.
    short = short.replace("seed in 0 to 3", "seed in 0 to 1")
    (tmp_path / path.name).write_text(short, encoding="utf-8")
    fixed = ["--set", "width=16"] if "\nsweep {" in short else []
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tmp_path / path.name), "--out", str(out), *fixed])
    assert not ended.value.code
    runs = sorted((out / "points").iterdir()) if fixed else [out]
    assert len(runs) == (2 if fixed else 1)
    for each in runs:
        report = json.loads((each / "report.json").read_text(encoding="utf-8"))
        assert report["iterations"] == 2
        assert (each / "accepted" / "weights.npz").exists()
