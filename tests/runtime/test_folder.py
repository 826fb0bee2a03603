"""A run's folder holds all of a thing or nothing of it."""

from __future__ import annotations

import json
import math
import os
import resource
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import attrs
import pytest

from ev3lang.runtime import folder
from ev3lang.runtime.events import IterationDone
from tests.runtime.examples import PLAN, iteration, some_events

IS_ROOT = os.geteuid() == 0


def test_runs_are_numbered_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = folder.create(None, PLAN), folder.create(None, PLAN)
    stem = f"flowers-{folder.semantic_hash(PLAN)[:8]}"
    assert [first, second] == [Path("runs") / f"{stem}-1", Path("runs") / f"{stem}-2"]
    other = folder.create(None, attrs.evolve(PLAN, seed=4))
    assert other.name.endswith("-1")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="not empty"):
        folder.create(tmp_path, PLAN)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(FileExistsError, match="a file"):
        folder.create(tmp_path / "thesis.tex", PLAN)


def test_an_empty_or_new_folder_is_taken(tmp_path: Path) -> None:
    assert folder.create(tmp_path / "a" / "b", PLAN).is_dir()
    (tmp_path / "empty").mkdir()
    assert folder.create(tmp_path / "empty", PLAN) == tmp_path / "empty"
    with pytest.raises(FileExistsError, match="not empty"):
        folder.create(tmp_path / "empty", PLAN)


@pytest.mark.parametrize("kind", ["new", "empty", "numbered", "both"])
def test_no_two_runs_that_start_together_have_one_folder(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    numbered = f"runs/{PLAN.name}-{folder.semantic_hash(PLAN)[:8]}"
    together, pairs = 4, 200
    barrier = threading.Barrier(together)

    def start(place: int) -> list[Path | None]:
        taken: list[Path | None] = []
        for number in range(pairs):
            out: Path | None = Path(f"{kind}-{number}")
            if kind == "numbered" or (kind == "both" and place % 2):
                out = None
            elif kind == "both":
                out = Path(f"{numbered}-{number + 1}")
            elif kind == "empty":
                assert out is not None
                out.mkdir(exist_ok=True)
            barrier.wait()
            try:
                taken.append(folder.create(out, PLAN))
            except FileExistsError:
                taken.append(None)
        return taken

    with ThreadPoolExecutor(together) as pool:
        starts = list(pool.map(start, range(together)))
    taken = [each for found in starts for each in found if each is not None]
    assert len(taken) == len(set(taken))
    if kind in ("new", "empty"):
        assert len(taken) == pairs
    elif kind == "numbered":
        assert len(taken) == pairs * together


@contextmanager
def no_file_larger_than(size_bytes: int) -> Iterator[None]:
    """What a full disk does to a write: it takes a part, then fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path: Path) -> None:
    folder.write_json(tmp_path / "report.json", {"value": 1})
    with no_file_larger_than(100), pytest.raises(OSError, match="large"):
        folder.write_json(tmp_path / "report.json", {"value": "2" * 200})
    assert json.loads((tmp_path / "report.json").read_text()) == {"value": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.skipif(IS_ROOT, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(PermissionError):
        folder.create(tmp_path / "out", PLAN)


def test_events_are_lines_of_json_without_wall_times(tmp_path: Path) -> None:
    with closing(folder.EventLog(tmp_path)) as log:
        for event in some_events(tmp_path):
            log(event)
        log.flush()
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["iteration"] * 30 + ["closed", "ended"]
    fifth = lines[4]
    assert fifth["iteration"] == 5
    assert [each["quarantined"] for each in fifth["candidates"]] == [False, True]
    assert fifth["candidates"][0]["scores"]["accuracy"]["examples"] == 23
    assert fifth["decision"] == "not_asked"
    assert {"chosen", "why", "ledger"} <= fifth.keys()
    assert "wall" not in (tmp_path / "events.jsonl").read_text()


def test_a_line_that_does_not_fit_leaves_whole_lines(tmp_path: Path) -> None:
    with closing(folder.EventLog(tmp_path)) as log:
        log(iteration(1))
        log.flush()
        before = (tmp_path / "events.jsonl").read_bytes()
        log(iteration(2))
        with no_file_larger_than(len(before) + 10), pytest.raises(OSError, match="large"):
            log.flush()
    assert (tmp_path / "events.jsonl").read_bytes() == before


def test_a_value_that_is_not_finite_is_null(tmp_path: Path) -> None:
    done = iteration(1)
    nothing = attrs.evolve(done.current["accuracy"], value=math.nan)
    lost = attrs.evolve(done, current={"accuracy": nothing})
    assert isinstance(lost, IterationDone)
    with closing(folder.EventLog(tmp_path)) as log:
        log(lost)
        log.flush()
    (line,) = (tmp_path / "events.jsonl").read_text().splitlines()
    assert json.loads(line)["current"]["accuracy"]["value"] is None
