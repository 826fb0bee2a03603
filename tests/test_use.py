"""`use` brings in another file's declarations, by a path that stays inside the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from ev3lang.analysis import Analysis, analyze
from ev3lang.plan.lower import lower
from ev3lang.source import Source

COMMON = """ev3 1
data digits = sklearn.digits()
model net: image -> logits(label) = mlp(hidden: [8])
loss entropy = cross_entropy(net(image), label)
loss never_used = cross_entropy(net(image) / 2, label)
objective accuracy = maximize argmax(net(image)) == label
"""
MAIN = """ev3 1
use "common.ev3"
explore net { descend entropy with adamw(1e-3) for 10 steps }
assess net { rank by accuracy }
adapt net { accept when accuracy improves; stop after 2 iterations }
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "specs").mkdir()
    return tmp_path / "specs"


def analyzed(path: Path, text: str) -> Analysis:
    path.write_text(text, encoding="utf-8")
    return analyze(Source(str(path), text))


def codes(analysis: Analysis) -> list[str]:
    return [each.code for each in analysis.diagnostics]


def test_a_used_file_is_as_if_it_stood_in_the_spec(project: Path) -> None:
    (project / "common.ev3").write_text(COMMON, encoding="utf-8")
    used = analyzed(project / "main.ev3", MAIN)
    # What the other file declares beyond need is no fault of either.
    assert codes(used) == []
    whole = analyzed(project / "main.ev3", COMMON + MAIN.split("\n", 2)[2])
    assert used.program is not None
    assert whole.program is not None
    assert lower(used.program) == lower(whole.program)


def test_what_ran_stands_by_itself(project: Path) -> None:
    (project / "common.ev3").write_text(COMMON, encoding="utf-8")
    used = analyzed(project / "main.ev3", MAIN)
    alone = analyze(used.whole)
    assert used.program is not None
    assert alone.program is not None
    assert "use" not in used.whole.text.split()
    assert lower(alone.program) == lower(used.program)


def test_a_fault_in_a_used_file_is_shown_there(project: Path) -> None:
    (project / "common.ev3").write_text(COMMON.replace("argmax(net", "argmax(nett"), "utf-8")
    (fault,) = analyzed(project / "main.ev3", MAIN).diagnostics
    assert fault.code == "unknown-name"
    assert fault.span is not None
    assert fault.span.source.name == str(project / "common.ev3")
    assert fault.span.text == "nett"


def test_files_are_used_through_files_and_each_once(project: Path) -> None:
    lines = COMMON.splitlines()
    (project / "data.ev3").write_text("\n".join(lines[:2]) + "\n", encoding="utf-8")
    rest = ["ev3 1", 'use "data.ev3"', *lines[2:]]
    (project / "common.ev3").write_text("\n".join(rest) + "\n", encoding="utf-8")
    twice = MAIN.replace('use "common.ev3"', 'use "common.ev3"\nuse "data.ev3"')
    analysis = analyzed(project / "main.ev3", twice)
    assert codes(analysis) == []
    assert sorted(Path(each.name).name for each in analysis.used) == ["common.ev3", "data.ev3"]


def test_a_name_of_both_files_is_a_duplicate(project: Path) -> None:
    (project / "common.ev3").write_text(COMMON, encoding="utf-8")
    text = MAIN + "loss entropy = cross_entropy(net(image), label)\n"
    (fault,) = analyzed(project / "main.ev3", text).diagnostics
    assert fault.code == "duplicate-name"
    assert fault.labels[0].span.source.name.endswith("common.ev3")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("missing.ev3", "use-not-found"),
        (".", "use-not-found"),
        ("binary.ev3", "use-not-found"),
        ("../../outside.ev3", "use-outside-project"),
        ("/etc/passwd", "use-outside-project"),
        ("main.ev3", "use-circle"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(project: Path, path: str, code: str) -> None:
    (project.parent.parent / "outside.ev3").write_text(COMMON, encoding="utf-8")
    (project / "binary.ev3").write_bytes(b"\xff\xfe\x00")
    (fault,) = analyzed(project / "main.ev3", MAIN.replace("common.ev3", path)).diagnostics
    assert fault.code == code
    assert fault.span is not None
    assert fault.span.text == f'"{path}"'


def test_a_circle_names_the_way_round(project: Path) -> None:
    (project / "a.ev3").write_text('ev3 1\nuse "b.ev3"\n', encoding="utf-8")
    (project / "b.ev3").write_text('ev3 1\nuse "a.ev3"\n', encoding="utf-8")
    (fault,) = analyzed(project / "main.ev3", MAIN.replace("common", "a")).diagnostics
    assert fault.code == "use-circle"
    assert "a.ev3 -> b.ev3 -> a.ev3" in fault.message


def test_an_editor_reads_what_is_on_its_screen(project: Path) -> None:
    source = Source(str(project / "main.ev3"), MAIN)
    assert analyze(source, read=lambda path: COMMON).diagnostics == ()
