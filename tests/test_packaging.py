"""The wheel holds all that is needed, and works where there is no checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import ev3lang
from ev3lang.diagnostics import page

pytestmark = pytest.mark.wheel


def _run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def built(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and the wheel made from that archive alone."""
    out = tmp_path_factory.mktemp("dist")
    done = _run(
        sys.executable, "-m", "build", "--no-isolation", "--outdir", out, repository, cwd=out
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ev3lang` of an environment that has the wheel; its libraries are those of this one."""
    root = tmp_path_factory.mktemp("installed") / "venv"
    done = _run(sys.executable, "-m", "venv", "--without-pip", root, cwd=root.parent)
    assert done.returncode == 0, done.stderr
    python = root / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    done = _run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=root.parent)
    assert done.returncode == 0, done.stderr

    # After installing, so that pip has seen no other ev3lang.
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages,) = root.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text("\n".join(sorted(paths)) + "\n")
    where = _run(python, "-c", "import ev3lang; print(ev3lang.__file__)", cwd=root.parent)
    assert Path(where.stdout.strip()).is_relative_to(packages), where
    return root / "bin" / "ev3lang"


def test_the_wheel_holds_grammar_pages_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"ev3lang/grammars/ev3.lark", "ev3lang/py.typed", "ev3lang/cli.py"} <= names
    assert {f"ev3lang/diagnostics/pages/{code}.md" for code in page.codes()} <= names


def test_the_wheel_holds_nothing_else_of_the_checkout(wheel: Path) -> None:
    roots = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert roots == {"ev3lang", f"ev3lang-{ev3lang.__version__}.dist-info"}


def test_the_source_archive_holds_grammar_specs_and_tests(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "Makefile", "grammars/ev3.lark", "specs/first.ev3"} <= names
    assert "tests/test_packaging.py" in names


def test_a_spec_is_checked_outside_the_checkout(
    command: Path, repository: Path, tmp_path: Path
) -> None:
    spec = tmp_path / "mine.ev3"
    spec.write_bytes((repository / "specs" / "first.ev3").read_bytes())
    done = _run(command, "check", spec, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_fault_is_shown_outside_the_checkout(command: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.ev3").write_text(
        "ev3 1\ndata d = sklearn.digits()\nobjective a = maximize labl\n"
    )
    done = _run(command, "check", "--output-format=concise", "bad.ev3", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    shown = done.stdout + done.stderr
    assert "bad.ev3:3:24: error[unknown-name]" in shown
    assert "Traceback" not in shown


def test_help_is_shown_outside_the_checkout(command: Path, tmp_path: Path) -> None:
    done = _run(command, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "check" in done.stdout
    assert "run" in done.stdout
