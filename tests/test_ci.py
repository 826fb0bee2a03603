"""What CI systems run: the hooks, the workflows of docs/ci.md, and the options they name."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import pytest
import yaml

from ev3lang.cli import commands
from ev3lang.diagnostics.diagnostic import FORMATS

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
BAD = GOOD.replace("rank by accuracy", "rank by acuracy")
UNOPENED = GOOD.removeprefix("ev3 1\n\n")


def ev3lang(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ev3lang", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


# ---------------------------------------------------------------- the report in a file


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_report_goes_into_the_file_and_the_summary_to_stdout(
    output_format: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.ev3").write_text(BAD)
    (tmp_path / "report").write_text("of yesterday")
    to_stdout = ev3lang("check", f"--output-format={output_format}", "bad.ev3", cwd=tmp_path)
    done = ev3lang(
        "check", f"--output-format={output_format}", "--output-file=report", "bad.ev3", cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (1, "1 file checked: 1 error\n")
    written = (tmp_path / "report").read_text()
    assert "acuracy" in written
    assert to_stdout.stdout.startswith(written)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.ev3", "report"]


@pytest.mark.parametrize("output_format", ["json", "gitlab", "junit", "sarif"])
@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["good.ev3"], 0), (["gone.ev3"], 2), ([], 2), (["good.ev3", "--sat", "width=3"], 2)],
)
def test_a_document_is_whole_whatever_is_wrong(
    output_format: str, arguments: list[str], status: int, tmp_path: Path
) -> None:
    (tmp_path / "good.ev3").write_text(GOOD)
    done = ev3lang("check", "--output-format", output_format, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (status, "")
    if output_format == "junit":
        failures = len(ElementTree.fromstring(done.stdout).findall(".//failure"))
        assert failures == (status != 0)
    else:
        assert ("usage" in done.stdout) == (status != 0)
        json.loads(done.stdout)


def test_a_spec_is_never_overwritten_by_a_report(tmp_path: Path) -> None:
    for name in ("a.ev3", "b.ev3", "spec"):
        (tmp_path / name).write_text(GOOD)
    for out in ("b.ev3", "spec"):
        done = ev3lang("check", "--output-file", out, "a.ev3", "spec", cwd=tmp_path)
        assert done.returncode == 2
        assert "overwrite a spec" in done.stderr
        assert (tmp_path / out).read_text() == GOOD


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.ev3").write_text(GOOD)
    done = ev3lang("check", "--output-file=gone/report", "good.ev3", cwd=tmp_path)
    assert done.returncode == 6
    assert "gone/report: No such file or directory" in done.stderr


def test_the_report_may_be_a_device(tmp_path: Path) -> None:
    (tmp_path / "bad.ev3").write_text(BAD)
    done = ev3lang("check", "--output-file=/dev/null", "bad.ev3", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "1 file checked: 1 error\n")
    assert not Path("/dev/null").is_file()


def test_hundreds_of_files_are_checked_in_one_process(tmp_path: Path) -> None:
    for number in range(300):
        bad = number % 10 == 0
        (tmp_path / f"{number}.ev3").write_text(f"{BAD if bad else GOOD}# {number}\n")
    started = time.perf_counter()
    done = ev3lang("check", "--output-format=concise", ".", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "300 files checked: 30 errors"
    # Ten times what it takes on a slow machine; a process a file would take a minute.
    assert time.perf_counter() - started < 20


# ---------------------------------------------------------------- fix


def test_safe_fixes_are_applied_and_the_rest_is_counted(tmp_path: Path) -> None:
    (tmp_path / "a.ev3").write_text(UNOPENED)
    (tmp_path / "b.ev3").write_text(BAD)
    (tmp_path / "c.ev3").write_text(GOOD)
    stamp = (tmp_path / "c.ev3").stat().st_mtime_ns
    done = ev3lang("check", "--fix", "--output-format=concise", ".", cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"1 fix applied in 1 file, 1 unsafe left", lines[-2])
    assert lines[-1] == "3 files checked: 1 error"
    assert (tmp_path / "a.ev3").read_text() == GOOD
    assert (tmp_path / "b.ev3").read_text() == BAD
    assert (tmp_path / "c.ev3").stat().st_mtime_ns == stamp
    assert len(list(tmp_path.iterdir())) == 3


def test_a_second_fix_finds_nothing_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.ev3").write_text(UNOPENED)
    first = ev3lang("check", "--fix", "a.ev3", cwd=tmp_path)
    again = ev3lang("check", "--fix", "a.ev3", cwd=tmp_path)
    assert (first.returncode, again.returncode) == (0, 0)
    assert again.stdout.splitlines()[0] == "0 fixes applied, 0 unsafe left"


def test_fixing_keeps_mark_mode_and_line_breaks(tmp_path: Path) -> None:
    spec = tmp_path / "a.ev3"
    spec.write_bytes(b"\xef\xbb\xbf" + UNOPENED.replace("\n", "\r\n").encode())
    spec.chmod(0o640)
    assert ev3lang("check", "--fix", "a.ev3", cwd=tmp_path).returncode == 0
    assert spec.read_bytes() == b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()
    assert spec.stat().st_mode & 0o777 == 0o640


def test_what_was_fixed_never_stands_in_a_document(tmp_path: Path) -> None:
    (tmp_path / "a.ev3").write_text(UNOPENED)
    done = ev3lang("check", "--fix", "--output-format=json", "a.ev3", cwd=tmp_path)
    assert json.loads(done.stdout)["errors"] == 0
    assert done.stderr == "1 fix applied in 1 file, 0 unsafe left\n"


# ---------------------------------------------------------------- hooks and workflows


def hooks(repository: Path) -> list[dict[str, Any]]:
    text = (repository / ".pre-commit-hooks.yaml").read_text("utf-8")
    return list(yaml.safe_load(text))


def test_the_hooks_accept_a_good_spec_and_stop_a_bad_one(repository: Path, tmp_path: Path) -> None:
    assert [hook["id"] for hook in hooks(repository)] == ["ev3lang-check", "ev3lang-fmt"]
    for hook in hooks(repository):
        assert hook["language"] == "python"
        assert re.search(hook["files"], "specs/a.ev3")
        assert not re.search(hook["files"], "specs/a.ev3.orig")
        program, *arguments = shlex.split(hook["entry"])
        assert program == "ev3lang"
        (tmp_path / "a.ev3").write_text(GOOD)
        assert ev3lang(*arguments, "a.ev3", cwd=tmp_path).returncode == 0
        assert (tmp_path / "a.ev3").read_text() == GOOD
        (tmp_path / "a.ev3").write_text("ev3 1\n\nloss = = 3\n")
        assert ev3lang(*arguments, "a.ev3", cwd=tmp_path).returncode == 1


def examples(repository: Path) -> dict[str, str]:
    """The examples of docs/ci.md by the file that each says it is."""
    text = (repository / "docs" / "ci.md").read_text("utf-8")
    blocks = re.findall(r"^```yaml\n# (\S+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == text.count("```yaml")
    return dict(blocks)


SCHEMAS = {
    ".github/workflows/specs.yml": "vendor.github-workflows",
    ".github/workflows/scanning.yml": "vendor.github-workflows",
    ".gitlab-ci.yml": "vendor.gitlab-ci",
}


@pytest.mark.parametrize("file", sorted(SCHEMAS))
def test_a_workflow_follows_the_schema_of_its_system(
    file: str, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "example.yml").write_text(examples(repository)[file])
    arguments = ["--builtin-schema", SCHEMAS[file], "example.yml"]
    if "gitlab" in file:
        arguments = ["--data-transform", "gitlab-ci", *arguments]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def written_commands(repository: Path) -> list[list[str]]:
    """Every `ev3lang …` of the page's examples and text, as words."""
    text = (repository / "docs" / "ci.md").read_text("utf-8")
    lines = re.findall(r"(?:^ {4}|run: |- |entry: |`)(ev3lang (?!fmt$|check$)[^`|\n]*)", text, re.M)
    return [shlex.split(line)[1:] for line in lines]


def test_the_page_names_only_commands_and_options_that_exist(repository: Path) -> None:
    found = written_commands(repository)
    assert len(found) >= 10
    for name, *arguments in found:
        command = commands.get_command(click.Context(commands), name)
        assert command is not None, name
        # Parses as the command line does, and stops before anything runs.
        command.make_context(name, [*arguments, "specs"])


def test_the_page_tells_every_format(repository: Path) -> None:
    text = (repository / "docs" / "ci.md").read_text("utf-8")
    table = text[text.index("| `--output-format` |") :].split("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == FORMATS


def test_the_workflows_write_the_files_that_they_hand_on(repository: Path) -> None:
    gitlab = yaml.safe_load(examples(repository)[".gitlab-ci.yml"])["specs"]
    handed = set(gitlab["artifacts"]["reports"].values())
    assert handed == set(re.findall(r"--output-file=(\S+)", "\n".join(gitlab["script"])))
    scanning = yaml.safe_load(examples(repository)[".github/workflows/scanning.yml"])
    *_, check, upload = scanning["jobs"]["check"]["steps"]
    assert f"--output-file={upload['with']['sarif_file']}" in check["run"]


@pytest.mark.parametrize(("spec", "status"), [(GOOD, 0), (BAD, 1)])
def test_the_gitlab_script_writes_both_reports_and_fails_with_the_specs(
    spec: str, status: int, repository: Path, tmp_path: Path
) -> None:
    script = yaml.safe_load(examples(repository)[".gitlab-ci.yml"])["specs"]["script"]
    lines = [line for line in script if not line.startswith("pip ")]
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "a.ev3").write_text(spec)
    program = "\n".join(lines).replace("ev3lang ", f"{shlex.quote(sys.executable)} -m ev3lang ")
    done = subprocess.run(["bash", "-e", "-c", program], cwd=tmp_path, check=False)
    assert done.returncode == status
    assert len(json.loads((tmp_path / "quality.json").read_text())) == status
    assert len(ElementTree.parse(tmp_path / "junit.xml").findall(".//failure")) == status
