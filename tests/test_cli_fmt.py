"""`ev3lang fmt` from outside: what it writes, what it only shows, and what it leaves alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

TIDY = "ev3 1\n\nlet a = 1 + 2\n"
UNTIDY = "ev3 1\n\n\nlet a=1+2"
BROKEN = "ev3 1\nlet a = = 1\n"


def fmt(*arguments: str, cwd: Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ev3lang", "fmt", *arguments],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1"},
        input=stdin,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert b"Traceback" not in done.stderr
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inside").mkdir()
    (tmp_path / "tidy.ev3").write_text(TIDY)
    (tmp_path / "inside" / "untidy.ev3").write_text(UNTIDY)
    (tmp_path / "notes.md").write_text(UNTIDY)
    return tmp_path


def test_specs_of_the_folder_are_written_where_they_change(folder: Path) -> None:
    tidy, untidy = folder / "tidy.ev3", folder / "inside" / "untidy.ev3"
    untidy.chmod(0o640)
    os.utime(tidy, (1, 1))
    done = fmt(cwd=folder)
    assert done.returncode == 0
    assert done.stdout == "changed inside/untidy.ev3\n2 files, 1 changed\n"
    assert untidy.read_bytes() == TIDY.encode()
    assert stat.S_IMODE(untidy.stat().st_mode) == 0o640
    assert tidy.stat().st_mtime == 1
    assert (folder / "notes.md").read_text() == UNTIDY
    assert sorted(path.name for path in untidy.parent.iterdir()) == ["untidy.ev3"]
    assert fmt(cwd=folder).stdout == "2 files, 0 changed\n"


def test_a_link_stays_a_link(folder: Path) -> None:
    link = folder / "link.ev3"
    link.symlink_to(folder / "inside" / "untidy.ev3")
    assert fmt("link.ev3", cwd=folder).returncode == 0
    assert link.is_symlink()
    assert (folder / "inside" / "untidy.ev3").read_text() == TIDY


def test_check_lists_and_writes_nothing(folder: Path) -> None:
    done = fmt("--check", ".", cwd=folder)
    assert done.returncode == 1
    assert done.stdout == "would change inside/untidy.ev3\n2 files, 1 to change\n"
    assert (folder / "inside" / "untidy.ev3").read_text() == UNTIDY
    assert fmt("--check", "tidy.ev3", cwd=folder).returncode == 0


def test_diff_is_a_patch_and_writes_nothing(folder: Path) -> None:
    done = fmt("--diff", cwd=folder)
    assert done.returncode == 1
    assert done.stdout == (
        "--- inside/untidy.ev3\n+++ inside/untidy.ev3\n@@ -1,4 +1,3 @@\n ev3 1\n \n-\n"
        "-let a=1+2\n\\ No newline at end of file\n+let a = 1 + 2\n"
    )
    assert (folder / "inside" / "untidy.ev3").read_text() == UNTIDY
    assert fmt("--diff", "tidy.ev3", cwd=folder).stdout == ""


def test_a_broken_file_is_left_alone_and_the_others_are_not(folder: Path) -> None:
    (folder / "broken.ev3").write_text(BROKEN)
    done = fmt(cwd=folder)
    assert done.returncode == 1
    assert "syntax-error" in done.stderr
    assert "broken.ev3:2" in done.stderr
    assert (folder / "broken.ev3").read_text() == BROKEN
    assert (folder / "inside" / "untidy.ev3").read_text() == TIDY


def test_bytes_that_are_no_text_are_one_diagnostic(folder: Path) -> None:
    (folder / "bytes.ev3").write_bytes(b"ev3 1\n\xff\xfe")
    done = fmt("bytes.ev3", cwd=folder)
    assert done.returncode == 1
    assert "unreadable-text" in done.stderr
    assert (folder / "bytes.ev3").read_bytes() == b"ev3 1\n\xff\xfe"


def test_standard_input_is_filtered(tmp_path: Path) -> None:
    done = fmt("-", cwd=tmp_path, stdin='ev3 1\r\n# é → ü\r\nuse   "é"'.encode())
    assert done.returncode == 0
    assert done.stdout == 'ev3 1\r\n# é → ü\r\nuse "é"\r\n'
    assert fmt("-", cwd=tmp_path, stdin=TIDY.encode()).stdout == TIDY
    broken = fmt("-", cwd=tmp_path, stdin=BROKEN.encode())
    assert (broken.returncode, broken.stdout) == (1, "")
    assert "syntax-error" in broken.stderr


def test_standard_input_can_be_checked_and_compared(tmp_path: Path) -> None:
    check = fmt("--check", "-", cwd=tmp_path, stdin=UNTIDY.encode())
    assert (check.returncode, check.stdout) == (1, "would change -\n")
    diff = fmt("--diff", "-", cwd=tmp_path, stdin=UNTIDY.encode())
    assert (diff.returncode, diff.stdout[:12]) == (1, "--- -\n+++ -\n")
    assert fmt("--check", "-", cwd=tmp_path, stdin=TIDY.encode()).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gone.ev3"], "no such file: gone.ev3"),
        (["-", "tidy.ev3"], "stands without PATHs"),
        (["--widen"], "No such option"),
    ],
)
def test_wrong_use(arguments: list[str], words: str, folder: Path) -> None:
    done = fmt(*arguments, cwd=folder)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere"
)
def test_a_file_that_may_not_be_written_stays(folder: Path) -> None:
    untidy = folder / "inside" / "untidy.ev3"
    untidy.chmod(0o400)
    done = fmt(cwd=folder)
    assert done.returncode == 6
    assert "untidy.ev3" in done.stderr
    assert untidy.read_text() == UNTIDY


def test_a_folder_of_specs_takes_no_time(repository: Path) -> None:
    fmt("--check", "specs", cwd=repository)
    start = time.perf_counter()
    assert fmt("--check", "specs", cwd=repository).returncode == 0
    assert time.perf_counter() - start < 3  # a third of a second where nothing else runs
