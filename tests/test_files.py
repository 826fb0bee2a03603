"""Folders with odd entries, links, line ends: what the commands read, skip and write."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ev3lang import files
from ev3lang.compile import load
from ev3lang.source import Source

TIDY = "ev3 1\n\nlet a = 1 + 2\n"
UNTIDY = "ev3 1\n\n\nlet a=1+2"
GOOD = """\
ev3 1

data iris = sklearn.iris() { batch 16 }
model net: features -> logits(label) = mlp(hidden: [4])
loss entropy = cross_entropy(net(features), label)
objective accuracy = maximize argmax(net(features)) == label

explore net { descend entropy with adamw(1e-2) for 10 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  stop after 5 iterations
}
"""


def ev3lang(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ev3lang", *arguments],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project beside a file that nobody may touch."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("let secret = = 1\n")
    (tmp_path / "outside" / "untidy.ev3").write_text(UNTIDY)
    folder = tmp_path / "project"
    (folder / "specs").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    (folder / "specs" / "good.ev3").write_text(GOOD)
    return folder


def outside(project: Path) -> dict[str, str]:
    folder = project.parent / "outside"
    return {path.name: path.read_text() for path in folder.iterdir()}


# ---------------------------------------------------------------- links


@pytest.mark.parametrize(
    ("command", "status"),
    [(("fmt",), 0), (("fmt", "--diff"), 0), (("check",), 0), (("check", "--fix"), 0)],
)
def test_a_walk_neither_shows_nor_writes_what_is_outside(
    command: tuple[str, ...], status: int, project: Path
) -> None:
    before = outside(project)
    (project / "specs" / "a.ev3").symlink_to("../../outside/secret")
    (project / "specs" / "b.ev3").symlink_to(project.parent / "outside" / "untidy.ev3")
    (project / "specs" / "c.ev3").symlink_to("a.ev3")
    (project / "specs" / "more").symlink_to("../../outside")
    done = ev3lang(*command, ".", cwd=project)
    shown = done.stdout + done.stderr
    assert done.returncode == status, shown
    for name in ("a.ev3", "b.ev3", "c.ev3"):
        assert f"specs/{name} is a link that leads out of the project" in shown
    assert "specs/more is a link to a folder outside of the project" in shown
    assert "secret = " not in shown
    assert outside(project) == before
    assert (project / "specs" / "a.ev3").is_symlink()


def test_a_link_inside_the_project_is_a_spec(project: Path) -> None:
    (project / "shared.ev3").write_text(UNTIDY)
    (project / "shared.ev3").chmod(0o640)
    link = project / "specs" / "link.ev3"
    link.symlink_to("../shared.ev3")
    done = ev3lang("fmt", "specs", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "changed specs/link.ev3\n2 files, 1 changed\n"
    assert link.is_symlink()
    assert (project / "shared.ev3").read_text() == TIDY
    assert stat.S_IMODE((project / "shared.ev3").stat().st_mode) == 0o640


def test_a_folder_that_is_named_may_itself_be_a_link(project: Path) -> None:
    (project / "specs" / "untidy.ev3").write_text(UNTIDY)
    (project.parent / "way").symlink_to(project / "specs")
    assert ev3lang("fmt", "way", cwd=project.parent).returncode == 0
    assert (project / "specs" / "untidy.ev3").read_text() == TIDY


def test_without_a_project_the_folder_itself_is_the_limit(project: Path) -> None:
    (project / "pyproject.toml").unlink()
    (project / "beside.ev3").write_text(UNTIDY)
    (project / "specs" / "link.ev3").symlink_to("../beside.ev3")
    done = ev3lang("fmt", "specs", cwd=project)
    assert "specs/link.ev3 is a link that leads out of the project" in done.stderr
    assert (project / "beside.ev3").read_text() == UNTIDY


def test_a_link_that_is_named_is_read_but_not_written_outside(project: Path) -> None:
    before = outside(project)
    link = project / "specs" / "a.ev3"
    link.symlink_to(project.parent / "outside" / "untidy.ev3")
    checked = ev3lang("fmt", "--check", "specs/a.ev3", cwd=project)
    assert (checked.returncode, checked.stdout.splitlines()[0]) == (1, "would change specs/a.ev3")
    done = ev3lang("fmt", "specs/a.ev3", cwd=project)
    assert done.returncode == 6
    assert "specs/a.ev3: it is a link out of its project, to " in done.stderr
    assert done.stdout == "1 file, 0 changed\n"
    assert outside(project) == before


def test_a_report_is_not_written_through_a_link_that_leaves_the_project(project: Path) -> None:
    before = outside(project)
    (project / "report.json").symlink_to("../outside/secret")
    format_ = ("--output-format=json", "--output-file=report.json")
    done = ev3lang("check", "specs", *format_, cwd=project)
    assert done.returncode == 6
    assert "report.json: it is a link out of its project" in done.stderr
    assert outside(project) == before


@pytest.mark.parametrize("target", ["nowhere.ev3", "../outside/untidy.ev3"])
def test_a_first_spec_is_not_written_through_a_link(target: str, project: Path) -> None:
    before = outside(project)
    (project / "first.ev3").symlink_to(target)
    done = ev3lang("new", "--data", "sklearn.iris", "--out", "first.ev3", cwd=project)
    assert done.returncode == 2
    assert "first.ev3 is there already" in done.stderr
    assert outside(project) == before
    assert not (project / "nowhere.ev3").exists()


def test_a_file_cannot_be_put_where_the_new_text_is_written_first(project: Path) -> None:
    path = project / "specs" / "untidy.ev3"
    path.write_text(UNTIDY)
    name = "x" * 251 + ".ev3"
    (project / "specs" / name).write_text(UNTIDY)
    assert ev3lang("fmt", ".", cwd=project).returncode == 0
    assert (project / "specs" / name).read_text() == TIDY
    assert sorted(each.name for each in (project / "specs").iterdir()) == [
        "good.ev3",
        "untidy.ev3",
        name,
    ]


def test_a_new_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    files.replace(tmp_path / "a.json", "{}")
    (tmp_path / "b.json").write_text("{}")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.json", "b.json")]
    assert modes[0] == modes[1]


# ---------------------------------------------------------------- odd entries


@pytest.mark.parametrize(
    ("command", "summary"),
    [
        (("check",), "2 files checked: 6 warnings"),
        (("check", "--fix"), "2 files checked: 6 warnings"),
        (("fmt",), "2 files, 0 changed"),
        (("fmt", "--check"), "2 files, 0 to change"),
    ],
)
def test_odd_entries_are_told_and_left_out(
    command: tuple[str, ...], summary: str, project: Path
) -> None:
    specs = project / "specs"
    (specs / "folder.ev3").mkdir()
    (specs / "folder.ev3" / "inner.ev3").write_text(GOOD)
    (specs / "dangling.ev3").symlink_to("nothing.ev3")
    (specs / "circle.ev3").symlink_to("circle.ev3")
    (specs / "to_folder.ev3").symlink_to(".")
    os.mkfifo(specs / "pipe.ev3")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(specs / "socket.ev3"))
    done = ev3lang(*command, "specs", cwd=project)
    shown = done.stdout + done.stderr
    assert done.returncode == 0, shown
    for words in (
        "folder.ev3 is a folder, not a spec",
        "dangling.ev3 is a link that leads nowhere",
        "circle.ev3 is a link that leads in a circle",
        "to_folder.ev3 is a link to a folder, not a spec",
        "pipe.ev3 is a pipe, a socket or a device, not a spec",
        "socket.ev3 is a pipe, a socket or a device, not a spec",
    ):
        assert f"warning[skipped-file]: specs/{words}" in shown
    assert done.stdout.splitlines()[-1] == summary


@pytest.mark.parametrize("output_format", ["json", "github", "gitlab", "junit", "sarif"])
def test_odd_entries_stand_in_documents(output_format: str, project: Path) -> None:
    (project / "specs" / "dangling.ev3").symlink_to("nothing.ev3")
    done = ev3lang("check", "--output-format", output_format, ".", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    assert "dangling.ev3 is a link that leads nowhere" in done.stdout
    if output_format not in ("github", "junit"):
        json.loads(done.stdout)


def test_a_folder_of_nothing_but_odd_entries_has_no_spec(tmp_path: Path) -> None:
    (tmp_path / "a.ev3").symlink_to("nothing")
    done = ev3lang("check", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "no .ev3 file in folder .: a.ev3 is a link that leads nowhere" in done.stderr


def test_a_file_that_cannot_be_read_stops_no_other(project: Path) -> None:
    """An end of a folder that is too deep for the system: nobody is root to it."""
    deep, here = "d" * 200, os.getcwd()
    os.chdir(project / "specs")
    try:
        for _ in range(25):
            os.mkdir(deep)
            os.chdir(deep)
    finally:
        os.chdir(here)
    done = ev3lang("check", "specs", cwd=project)
    assert done.returncode == 6
    assert "File name too long" in done.stdout
    assert done.stdout.splitlines()[-1] == "1 file checked: 1 error"
    assert ev3lang("fmt", "specs", cwd=project).returncode == 6


def test_a_device_that_never_ends_is_no_spec(tmp_path: Path) -> None:
    done = ev3lang("check", "/dev/zero", cwd=tmp_path)
    assert done.returncode == 6
    assert "/dev/zero: it is a device, not a file" in done.stdout


# ---------------------------------------------------------------- line ends


def written(text: str, line_break: str, mark: str = "") -> bytes:
    return (mark + text.replace("\n", line_break)).encode()


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_the_mark_are_kept(line_break: str, mark: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ev3"
    path.write_bytes(written(TIDY, line_break, mark))
    assert ev3lang("fmt", "--check", ".", cwd=tmp_path).returncode == 0
    assert ev3lang("fmt", "--diff", ".", cwd=tmp_path).stdout == ""
    untidy = TIDY.replace("1 + 2", "1+2")
    path.write_bytes(written(untidy, line_break, mark))
    assert ev3lang("fmt", "--check", ".", cwd=tmp_path).returncode == 1
    assert ev3lang("fmt", ".", cwd=tmp_path).returncode == 0
    assert path.read_bytes() == written(TIDY, line_break, mark)


@pytest.mark.parametrize(
    ("mixed", "line_break"),
    [("ev3 1\r\n\r\nlet a = 1 + 2\n", "\r\n"), ("ev3 1\n\nlet a = 1 + 2\r\n", "\n")],
)
def test_of_mixed_line_ends_the_majority_stays(mixed: str, line_break: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ev3"
    path.write_bytes(mixed.encode())
    assert ev3lang("fmt", "--check", ".", cwd=tmp_path).returncode == 1
    assert ev3lang("fmt", ".", cwd=tmp_path).returncode == 0
    assert path.read_bytes() == written(TIDY, line_break)


@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_patch_has_the_changed_lines_alone_and_applies(
    line_break: str, mark: str, tmp_path: Path
) -> None:
    text = "ev3 1\n\nlet b = 1\n\nlet c = 2\n\nlet a = 1+2\n"
    path = tmp_path / "a.ev3"
    path.write_bytes(written(text, line_break, mark))
    done = subprocess.run(
        [sys.executable, "-m", "ev3lang", "fmt", "--diff", "a.ev3"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    changed = [line for line in done.stdout.split(b"\n") if line[:1] in (b"+", b"-")][2:]
    end = line_break.removesuffix("\n").encode()
    assert changed == [b"-let a = 1+2" + end, b"+let a = 1 + 2" + end]
    applied = subprocess.run(
        ["git", "apply", "-p0", "-"],
        cwd=tmp_path,
        input=done.stdout,
        capture_output=True,
        check=False,
    )
    assert applied.returncode == 0, applied.stderr
    assert path.read_bytes() == written(text.replace("1+2", "1 + 2"), line_break, mark)


@pytest.mark.parametrize("line_break", ["\r\n", "\r"])
def test_defaults_and_fixes_are_written_with_the_files_line_ends(
    line_break: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.ev3"
    path.write_bytes(written(GOOD, line_break, "\ufeff"))
    assert ev3lang("fmt", "--explicit", "a.ev3", cwd=tmp_path).returncode == 0
    explicit = path.read_bytes().decode()
    assert explicit.startswith("\ufeffev3 1")
    lines = explicit.split(line_break)
    assert len(lines) > GOOD.count("\n") + 5
    assert not any("\n" in line or "\r" in line for line in lines)
    path.write_bytes(written(GOOD.replace("ev3 1\n", "", 1), line_break, "\ufeff"))
    assert ev3lang("check", "--fix", "a.ev3", cwd=tmp_path).returncode == 0
    assert path.read_bytes().startswith(f"\ufeffev3 1{line_break}".encode())
    assert b"\n" not in path.read_bytes().replace(line_break.encode(), b"")


@pytest.mark.parametrize("line_break", ["\r\n", "\r"])
def test_a_file_means_the_same_with_other_line_ends(line_break: str, tmp_path: Path) -> None:
    lines = GOOD.replace("batch 16", "\n  # a note\n  batch 16\n").splitlines(True)
    (tmp_path / "data.ev3").write_bytes(written("".join(lines[:6]), line_break, "\ufeff"))
    (tmp_path / "a.ev3").write_bytes(
        written('ev3 1\nuse "data.ev3"\n' + "".join(lines[6:]), line_break, "\ufeff")
    )
    (tmp_path / "whole.ev3").write_text("".join(lines))
    assert ev3lang("check", "a.ev3", cwd=tmp_path).stdout == "1 file checked: no errors\n"
    found, wanted = load(tmp_path / "a.ev3").plan, load(tmp_path / "whole.ev3").plan
    assert repr(found).replace("name='a'", "name='whole'", 1) == repr(wanted)
    text, _ = files.read(tmp_path / "a.ev3")
    assert text is not None
    assert isinstance(text.source, Source)
    assert "\r" not in text.source.text
