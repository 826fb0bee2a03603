"""The experiments in specs/: each checks, keeps its layout, and runs if all of it is built."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from ev3lang.analysis import analyze
from ev3lang.cli import main
from ev3lang.source import Source
from ev3lang.syntax.format import format_source

SPECS = sorted((Path(__file__).resolve().parent.parent / "specs").glob("*.ev3"))


def source(path: Path) -> Source:
    return Source(str(path), path.read_text(encoding="utf-8"))


SETTINGS: dict[str, tuple[str, ...]] = {"sweep": ("--set", "width=16")}
"""Of a sweep one width: what costs time is each program."""

SHORTER: dict[str, dict[str, str]] = {
    "sweep": {"seed in 0 to 3": "seed in 0 to 1"},
    "distill_and_grow": {
        "hard, soft(T: 1), soft(T: 4), both(T: 2)": "soft(T: 4), both(T: 2)",
        "with calm, eager": "with eager",
        "after 5 iterations": "after 1 iterations",
        "limit size <= 200_000": "limit size <= 1_300",
        "stop after 60": "stop after 5",
    },
    "images_from_file": {
        "class[100]": "class[4]",
        "logits[100]": "logits[4]",
        "rows 50_000 in train, 10_000 in test": "rows 400 in train, 40 in test",
        "train 90%, assess from train 5%, adapt from train 5%": (
            "train 40%, assess from train 30%, adapt from train 30%"
        ),
        "stages: [1, 1, 1], width: 16": "stages: [1], width: 8",
        "batch 128": "batch 16",
        "adamw(1e-3)": "adamw(1e-2)",
        "distill(T: 1), distill(T: 4)": "distill(T: 4)",
        "97.5% over the run": "60% each time",
        "after 4 iterations": "after 1 iterations",
        "limit blocks <= 24": "limit blocks <= 2",
        "repeat 5 passes": "repeat 2 passes",
        "stop after 400": "stop after 20",
    },
    "sentences": {
        # attention over thousands of reviews to assess would take minutes
        "rows 40_000": "rows 600",
        "tokens[8000, 128]": "tokens[8000, 16]",
        "embed(64) | transformer(layers: 2, heads: 4, width: 64)": (
            "embed(8) | transformer(layers: 1, heads: 2, width: 8)"
        ),
        # its first size: each program of this spec takes half a minute to compile
        "limit size <= 5_000_000": "limit size <= 65_061",
        "split explore 80%, assess 8%, adapt 8%": "split explore 40%, assess 30%, adapt 26%",
        "batch 64": "batch 8",
        "with warm, lion(1e-4)": "with warm",
        "after 4 iterations": "after 1 iterations",
        "stop after 100": "stop after 2",
    },
}
"""What makes a spec short in a few iterations, with all of its kinds of events in them."""

FEW: dict[str, Callable[[ModuleType, Path], Path]] = {
    "images.npz": lambda stand_ins, path: stand_ins.images(path, {"train": 400, "test": 40}, 0, 4),
    "reviews.parquet": lambda stand_ins, path: stand_ins.reviews(path, 600, 0, 16),
}
"""Smaller stand-ins."""


def shortened(path: Path) -> str:
    """The spec with fewer iterations, steps and epochs, in which a growth comes early."""
    text = path.read_text(encoding="utf-8")
    for words, others in SHORTER.get(path.stem, {}).items():
        assert words in text, f"{path.name} says {words}"
        text = text.replace(words, others)
    if "grow by" not in text:
        text = re.sub(r"stop after \d+ iterations", "stop after 2 iterations", text)
    text = re.sub(r"for \d+ epochs", "for 1 epochs", text)
    return re.sub(r"for \d+ steps", "for 3 steps", text)


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


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_runs_to_its_end(
    path: Path, stand_ins: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shortened(path)
    runs = run_to_the_end(path, text, stand_ins, tmp_path, monkeypatch)
    assert len(runs) == (2 if "\nsweep {" in text else 1)
    for each in runs:
        if path.stem in GROWN:
            require_growth(each, path.stem)
        else:
            report = json.loads((each / "report.json").read_text(encoding="utf-8"))
            assert report["iterations"] == 2


@pytest.mark.slow
def test_sentences_grow_by_the_best_of_two(
    repository: Path, stand_ins: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = repository / "specs/sentences.ev3"
    text = shortened(path).replace("size <= 65_061", "size <= 100_000")
    text = text.replace("stop after 2", "stop after 4")
    (run,) = run_to_the_end(path, text, stand_ins, tmp_path, monkeypatch)
    require_growth(run, path.stem)


@pytest.mark.slow
def test_images_grow_from_three_blocks_to_six(
    repository: Path, stand_ins: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = repository / "specs/images_from_file.ev3"
    text = shortened(path).replace("stages: [1], width: 8", "stages: [1, 1, 1], width: 16")
    text = text.replace("blocks <= 2", "blocks <= 6")
    (run,) = run_to_the_end(path, text, stand_ins, tmp_path, monkeypatch)
    require_growth(run, path.stem)


GROWN = ("distill_and_grow", "images_from_file")
"""Specs that grow in their shorter form, too."""


def run_to_the_end(
    path: Path,
    text: str,
    stand_ins: ModuleType,
    where: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[Path]:
    """Runs a spec's text on stand-ins; the folders of its runs, each with what a run leaves."""
    for name in re.findall(r'"data/([\w.]+)"', text):
        if name in FEW:
            FEW[name](stand_ins, where / "data" / name)
        else:
            stand_ins.WRITERS[name](where / "data" / name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(where / "cache"))
    (where / path.name).write_text(text, encoding="utf-8")
    out = where / "out"
    with pytest.raises(SystemExit) as ended:
        main(["run", str(where / path.name), "--out", str(out), *SETTINGS.get(path.stem, ())])
    assert not ended.value.code
    runs = sorted((out / "points").iterdir()) if "\nsweep {" in text else [out]
    for each in runs:
        report = json.loads((each / "report.json").read_text(encoding="utf-8"))
        assert report["outcome"] in ("iterations", "passes")
        assert (each / "accepted" / "weights.npz").exists()
    return runs


def require_growth(run: Path, name: str) -> None:
    """What the run of a spec that grows has to show in its shorter form."""
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    grown = [each for each in map(json.loads, lines) if each["event"] == "growth"]
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert len(report["stages"]) == 1 + len(grown) > 1
    changes = [each["max_output_change"] for each in grown if each["operation"] is not None]
    assert changes
    assert max(changes) < 1e-5
    match name:
        case "images_from_file":
            assert report["outcome"] == "passes"
            assert [(each["pass"], each["operation"]) for each in grown] == [
                (1, "deepen_every_stage(1)"),
                (2, None),
                (2, "deepen_every_stage(1)"),
            ]
            assert grown[-1]["members"], "a model is accepted"
            last = [each for each in map(json.loads, lines) if each["event"] == "iteration"][-1]
            names = [each["name"] for each in last["candidates"]]
            for member in grown[-1]["members"]:
                assert any(each.endswith(f" from {member}") for each in names)
            assert any("teacher-split-unknown" in each for each in report["warnings"])
        case "sentences":
            assert {each["operation"] for each in grown[0]["trials"]} == {
                "widen(1.5x)",
                "deepen(1)",
            }
