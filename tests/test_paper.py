"""The experiments in specs/paper/: what they say is what was published, and they check and run."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from ev3lang.analysis import analyze
from ev3lang.cli import main
from ev3lang.plan.lower import lower
from ev3lang.plan.plan import Plan, Reference
from ev3lang.plan.stages import ladder
from ev3lang.plan.work import depth
from ev3lang.source import Source
from ev3lang.syntax.format import format_source

FOLDER = Path(__file__).resolve().parent.parent / "specs/paper"
FILES = sorted(FOLDER.glob("*.ev3"))
SPECS = [path for path in FILES if "\nexperiment " in path.read_text(encoding="utf-8")]


def source(path: Path) -> Source:
    return Source(str(path), path.read_text(encoding="utf-8"))


def plan_of(path: Path, **params: str) -> Plan:
    program = analyze(source(path), params).program
    assert program is not None
    return lower(program)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_stays_put(path: Path) -> None:
    assert format_source(source(path)) == source(path).text


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_has_no_fault_but_a_teacher_whose_split_nobody_knows(path: Path) -> None:
    found = {each.code for each in analyze(source(path)).diagnostics}
    assert found == (set() if path.stem.startswith("small") else {"teacher-split-unknown"})


def test_every_file_is_a_spec_or_a_part_of_one() -> None:
    used = {Path(each.name).name for path in SPECS for each in analyze(source(path)).used}
    assert used | {path.name for path in SPECS} == {path.name for path in FILES}
    assert {path.stem for path in SPECS} == {
        "no_growth",
        "no_test",
        "ours",
        "published",
        "single_pass",
        "small_ours",
        "small_published",
    }


@pytest.mark.parametrize("name", ["published", "single_pass", "no_test", "ours"])
def test_students_have_the_published_sizes(name: str) -> None:
    plan = plan_of(FOLDER / f"{name}.ev3")
    sizes = [plan.architecture, *(step.architecture for step in ladder(plan))]
    assert [dict(model.layers.layers[0].options)["stages"] for (model,) in sizes] == [
        (blocks,) * 3 for blocks in (1, 2, 4, 8)
    ]
    assert [depth(model) for (model,) in sizes] == [3, 6, 12, 24]
    (student,) = plan.architecture
    assert dict(student.layers.layers[0].options)["width"] == 16


def test_the_published_settings_are_the_published_codes() -> None:
    plan = plan_of(FOLDER / "published.ev3")
    (descent,) = plan.descents
    (by_member,) = plan.by_members
    for each in (descent, by_member):
        (link,) = each.optimizer.links
        assert (each.steps, each.batch, each.keeps_state) == (5000, 128, True)
        assert link.name == "adamw"
        assert dict(link.options)["learning_rate"] == 1e-3
        # what optax does without a word
        assert dict(link.options)["weight_decay"] == 1e-4
    assert plan.batches == "fresh"
    assert isinstance(plan.rule, Reference)
    assert (plan.rule.assess, plan.rule.decide, plan.rule.evaluate) == (0.0, 1.96, 256)
    assert plan.patience is not None
    assert plan.patience.growing is not None
    (operation,) = plan.patience.growing.operations
    assert operation.name == "fresh"
    assert (plan.patience.iterations, plan.passes, plan.seed) == (4, 5, 42)
    assert plan.data.rows_in[0] == ("explore", 10_000 * 128)


def test_the_readmes_loop_runs_the_eight_published_settings() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    loop = re.search(r"for pair in (.*?); do\n(.*?)\n +done", readme, re.DOTALL)
    assert loop is not None
    assert " run specs/paper/published.ev3 " in loop[2]
    set_to = dict(re.findall(r"--set (\w+)=\$\{pair(%:\*|#\*:)\}", loop[2]))
    assert set_to == {"rollout": "%:*", "patience": "#*:"}
    found = []
    for pair in loop[1].split():
        rollout, patience = pair.split(":")
        plan = plan_of(FOLDER / "published.ev3", rollout=rollout, patience=patience)
        assert plan.patience is not None
        found.append((plan.descents[0].steps, plan.patience.iterations))
    assert found == [(5000, n) for n in (2, 4, 6, 8)] + [(10_000, n) for n in (1, 2, 3, 4)]


def test_a_single_pass_has_the_six_published_settings() -> None:
    plans = [lower(each.program) for each in analyze(source(FOLDER / "single_pass.ev3")).points]
    found = [
        (plan.descents[0].steps, plan.patience.iterations)
        for plan in plans
        if plan.patience is not None
    ]
    assert found == [(steps, n) for steps in (5000, 10_000) for n in (2, 3, 5)]


# Small enough for a processor: few images, one iteration a size, and two sizes.
ROWS = {"explore": 200, "assess": 150, "adapt": 150, "test": 100}
SHORTER = (
    (r"rows .*", "rows " + ", ".join(f"{count} in {part}" for part, count in ROWS.items())),
    (r"batch 128", "batch 16"),
    (r"evaluate 256 batches", "evaluate 8 batches"),
    (r"width: 16", "width: 2"),
    (r"for (\d+|rollout) steps", "for 2 steps"),
    (r"for \d+ epochs", "for 1 epochs"),
    (r"after (\d+|patience) iterations without", "after 1 iterations without"),
    (r"blocks <= \d+", "blocks <= 6"),
    (r"repeat \d+ passes", "repeat 1 passes"),
    (r"stop after [\d_]+", "stop after 3"),
    (r"blocks_of_stage in .*\]", "blocks_of_stage in [1]"),
)


# A minute of compiling each.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["published", "ours"])
def test_a_spec_grows_on_a_stand_in(
    name: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("stand_ins", repository / "specs/stand_ins.py")
    assert spec is not None and spec.loader is not None
    stand_ins = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stand_ins)
    (tmp_path / "pyproject.toml").touch()
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        for pattern, short in SHORTER:
            text = re.sub(pattern, short, text)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images = stand_ins.images(tmp_path / "images.npz", ROWS)
    out = tmp_path / "out"
    arguments = ["run", str(tmp_path / f"{name}.ev3"), "--out", str(out)]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--set", f"images={images}"])
    assert not ended.value.code
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["iterations"] <= 3
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    if name == "published":
        # An iteration without an acceptance is all that growth waits for here.
        assert any(each["event"] == "growth" for each in events)
