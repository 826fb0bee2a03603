"""The command in odd surroundings: closed streams, full disks, little memory, odd names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ev3lang.analysis import analyze
from ev3lang.runtime import folder
from ev3lang.source import Source

GOOD = """\
ev3 1

data iris = sklearn.iris() { batch 16 }
model net: features -> logits(label) = mlp(hidden: [4])
loss entropy = cross_entropy(net(features), label)
objective accuracy = maximize argmax(net(features)) == label

explore net { descend entropy with adamw(1e-2) for 2 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  stop after 1 iterations
}
"""


def shell(command: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A line of the shell, in which EV3LANG is the command."""
    repository = Path(__file__).resolve().parents[1]
    ev3lang = f"{sys.executable} -m ev3lang"
    done = subprocess.run(
        ["bash", "-c", command.replace("EV3LANG", ev3lang)],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(repository), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=170,
        check=False,
    )
    shown = subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(), done.stderr.decode()
    )
    assert "Traceback" not in shown.stdout + shown.stderr, shown.stderr
    assert "bug in ev3lang" not in shown.stderr, shown.stderr
    return shown


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "good.ev3").write_text(GOOD)
    (tmp_path / "bad.ev3").write_text(GOOD.replace("rank by accuracy", "rank by acuracy"))
    return tmp_path


# ---------------------------------------------------------------- streams

SHOWN = ("check good.ev3", "explain good.ev3", "plan good.ev3", "explain adamw", "--help")


@pytest.mark.parametrize("command", [*SHOWN, "check --output-format=json good.ev3"])
@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
def test_what_cannot_be_shown_is_a_failure(command: str, where: str, project: Path) -> None:
    done = shell(f"EV3LANG {command} {where}", project)
    assert done.returncode == 6
    words = "Bad file descriptor" if where == ">&-" else "No space left on device"
    assert done.stderr.startswith("ev3lang: ")
    assert done.stderr.endswith(f"{words}\n")
    assert done.stderr.count("\n") == 1
    assert shell(f"EV3LANG {command} {where} 2>&-", project).returncode == 6
    assert shell(f"EV3LANG {command} {where} 2>/dev/full", project).returncode == 6


@pytest.mark.parametrize(
    ("command", "status"),
    [("check good.ev3", 0), ("check bad.ev3", 1), ("check gone.ev3", 2), ("explain bad.ev3", 1)],
)
@pytest.mark.parametrize("closed", ["2>&-", "<&-", "2>&- <&-", "2>/dev/full"])
def test_without_the_other_streams_all_is_as_usual(
    command: str, status: int, closed: str, project: Path
) -> None:
    done = shell(f"EV3LANG {command} {closed}", project)
    assert done.returncode == status
    if status != 2 and "explain" not in command:
        assert "1 file checked" in done.stdout


def test_a_reader_of_a_part_is_no_fault(project: Path) -> None:
    done = shell("set -o pipefail; EV3LANG explain good.ev3 | head -c 1", project)
    assert (done.returncode, done.stdout, done.stderr) == (0, "E", "")


def test_a_filter_without_input(project: Path) -> None:
    done = shell("EV3LANG fmt - <&-", project)
    assert done.returncode == 6
    assert "error[unreadable-file]: -: Bad file descriptor" in done.stderr


def test_a_run_is_what_it_came_to_whoever_reads(project: Path) -> None:
    """Nor does anything that a library prints end in a file that has the number of a stream."""
    closed = shell("EV3LANG run --out closed good.ev3 >&- 2>&- <&-", project)
    assert closed.returncode == 0
    full = shell("EV3LANG run --out full good.ev3 >/dev/full", project)
    assert (full.returncode, full.stderr) == (0, "")
    logs = [(project / name / "events.jsonl").read_text() for name in ("closed", "full")]
    assert logs[0] == logs[1]
    assert all(json.loads(line) for line in logs[0].splitlines())


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("escapes", "shown"),
    [("a\\u0000b", "`a\\x00b.ev3`"), ("a\\ud800b", "`a\\ud800b.ev3`"), ("x" * 300, "`xxxx")],
)
def test_a_use_of_what_no_file_is_called(escapes: str, shown: str, project: Path) -> None:
    (project / "a.ev3").write_text(f'ev3 1\nuse "{escapes}.ev3"\n')
    done = shell("EV3LANG check a.ev3", project)
    assert done.returncode == 1
    assert f"error[use-not-found]: {shown}" in done.stdout


def test_a_use_through_links_in_a_circle(project: Path) -> None:
    (project / "circle.ev3").symlink_to("circle.ev3")
    (project / "a.ev3").write_text('ev3 1\nuse "circle.ev3"\n')
    done = shell("EV3LANG check a.ev3", project)
    assert done.returncode == 1
    assert "error[use-not-found]: `circle.ev3` can't be used" in done.stdout


def test_a_chain_of_files_may_be_longer_than_pythons_stack(tmp_path: Path) -> None:
    for number in range(1500):
        (tmp_path / f"{number}.ev3").write_text(f'ev3 1\nuse "{number + 1}.ev3"\n')
    (tmp_path / "1500.ev3").write_text(GOOD)
    first = tmp_path / "0.ev3"
    found = analyze(Source(str(first), first.read_text()))
    assert found.diagnostics == ()
    assert len(found.used) == 1500
    # each file once, not the rest of the chain for each
    done = shell("EV3LANG check .", tmp_path)
    assert (done.returncode, done.stdout) == (0, "1501 files checked: no errors\n")


def test_a_circle_in_a_long_chain_is_found(tmp_path: Path) -> None:
    for number in range(1200):
        following = 600 if number == 1199 else number + 1
        (tmp_path / f"{number}.ev3").write_text(f'ev3 1\nuse "{following}.ev3"\n')
    first = tmp_path / "0.ev3"
    found = analyze(Source(str(first), first.read_text()))
    assert [each.code for each in found.diagnostics] == ["use-circle"]


@pytest.mark.parametrize(
    ("command", "status"),
    [("check", 0), ("check --output-format=sarif", 0), ("explain", 0), ("plan", 0)]
    + [("fmt --check", 0), ("check --output-format=github", 0)],
)
def test_a_name_of_any_bytes(command: str, status: int, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\xff\xfe\xe9.ev3")).write_text(GOOD)
    assert shell(f"EV3LANG {command} a*.ev3", tmp_path).returncode == status


def test_a_run_of_a_spec_whose_name_is_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff.ev3")
    (tmp_path / name).write_text(GOOD)
    done = shell("EV3LANG run a*.ev3 && EV3LANG report runs/*", tmp_path)
    assert done.returncode == 0, done.stderr
    (made,) = (tmp_path / "runs").iterdir()
    assert json.loads((made / "run.json").read_text(encoding="utf-8"))["spec"] == "a\ufffd.ev3"


def test_documents_are_text_whatever_is_in_them(tmp_path: Path) -> None:
    folder.write_json(tmp_path / "a.json", {"spec": "a\udcff\ud800é\n\x1b日"})
    read = json.loads((tmp_path / "a.json").read_bytes().decode())
    assert read == {"spec": "a\ufffd\ufffdé\n\x1b日"}


@pytest.mark.parametrize("command", ["check", "explain", "plan", "fmt --diff"])
def test_a_name_that_is_not_ascii_under_the_locale_c(command: str, tmp_path: Path) -> None:
    (tmp_path / "spéc.ev3").write_text(GOOD)
    locale = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    done = shell(f"EV3LANG {command} spéc.ev3", tmp_path, **locale)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["d" * 300, "/".join(["d" * 200] * 30)])
def test_a_name_that_is_too_long(name: str, project: Path) -> None:
    for command in ("check", "fmt", "explain", "plan", "run", "report", "run good.ev3 --out"):
        done = shell(f"EV3LANG {command} {name}.ev3", project)
        assert done.returncode in (2, 6)
        assert done.stderr.startswith("ev3lang: ")
    done = shell(f"EV3LANG check good.ev3 --output-file {name}", project)
    assert done.returncode == 6
    assert "File name too long" in done.stderr


# ---------------------------------------------------------------- the machine


def test_a_folder_that_is_gone(project: Path) -> None:
    for command, status, words in (
        ("check .", 6, "the current folder is gone"),
        ("fmt", 6, "the current folder is gone"),
        ("check a.ev3", 2, "no such file: a.ev3"),
        (f"check {project}/good.ev3", 0, ""),
        (f"run {project}/good.ev3", 6, "the run's files can't be written"),
    ):
        line = f"mkdir gone && cd gone && rmdir ../gone && EV3LANG {command}"
        done = shell(line, project)
        assert done.returncode == status, done.stderr
        assert words in done.stderr


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null", ""])
def test_a_home_that_takes_no_cache(home: str, project: Path) -> None:
    for command in ("check good.ev3", "fmt --check good.ev3", "explain good.ev3"):
        done = shell(f"EV3LANG {command}", project, HOME=home, XDG_CACHE_HOME=home, TMPDIR=home)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kib", [300_000, 600_000, 1_000_000, 1_200_000])
def test_too_little_memory_is_said(kib: int, project: Path) -> None:
    done = shell(f"ulimit -v {kib}; EV3LANG run --out out good.ev3", project)
    assert done.returncode == 6
    assert done.stderr.startswith("ev3lang: there is not enough memory")
    assert not (project / "out").exists()
    assert shell(f"ulimit -v {kib}; EV3LANG check good.ev3", project).returncode == 0


def test_a_bug_is_told_even_where_no_file_can_be_written(project: Path) -> None:
    program = (
        "import tempfile, ev3lang.cli as cli\n"
        "tempfile.tempdir = '/proc'\n"
        "cli._overrides = lambda settings: 1 / 0\n"
        "cli.main(['check', 'good.ev3'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 70
    lines = done.stderr.splitlines()
    assert lines[0].startswith("ev3lang: this is a bug in ev3lang, not in your spec: Zero")
    assert lines[1] == "Please report it with the spec and this:"
    assert "ZeroDivisionError: division by zero" in lines[2:]
