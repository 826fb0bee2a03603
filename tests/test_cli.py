"""The command line from outside: words, exit statuses, and nothing half-written."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SPEC = """\
ev3 1

param width: int = 4

data iris = sklearn.iris() { batch 16 }
model net: features -> logits(label) = mlp(hidden: [width])
loss entropy = cross_entropy(net(features), label)
objective accuracy = maximize argmax(net(features)) == label

explore net { descend entropy with adamw(1e-2), sgd(0.1) for 10 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  stop after 5 iterations
}
report { baseline plain = descend entropy with sgd(0.1) }
"""


def ev3lang(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, stdin: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ev3lang", *arguments],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", **(env or {})},
        input=stdin,
        capture_output=True,
        check=False,
        timeout=110,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "iris.ev3"
    path.write_text(SPEC)
    return path


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """What stands on standard error, which holds no traceback."""
    assert "Traceback" not in done.stderr + done.stdout
    return done.stderr


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("command", [["run"], ["check"]])
def test_no_such_file(command: list[str], tmp_path: Path) -> None:
    done = ev3lang(*command, "gone.ev3", cwd=tmp_path)
    assert done.returncode == 2
    assert "no such file: gone.ev3" in complaint(done)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_spec_to_run(tmp_path: Path) -> None:
    done = ev3lang("run", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "is a folder" in complaint(done)


def test_a_folder_without_specs(tmp_path: Path) -> None:
    done = ev3lang("check", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "no .ev3 file" in complaint(done)


@pytest.mark.parametrize(
    ("content", "position", "byte"),
    [
        (b"ev3 1\n\xffdata", 6, "0xff"),
        ("ev3 1\n# \u00e9".encode("latin-1"), 8, "0xe9"),
        ("ev3 1".encode("utf-16"), 0, "0xff"),
        (b"\x7fELF\x02\x01\x01\0\0\0", 7, "0x00"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_a_file_that_is_no_text_names_the_byte(
    command: str, content: bytes, position: int, byte: str, tmp_path: Path
) -> None:
    (tmp_path / "a.ev3").write_bytes(content)
    done = ev3lang(command, "a.ev3", cwd=tmp_path)
    assert done.returncode == 1
    shown = done.stdout if command == "check" else complaint(done)
    assert "unreadable-text" in shown
    assert f"byte {position} ({byte}) is not UTF-8 text" in shown
    assert [each.name for each in tmp_path.iterdir()] == ["a.ev3"]


@pytest.mark.parametrize("command", ["run", "check"])
def test_an_empty_file(command: str, tmp_path: Path) -> None:
    (tmp_path / "a.ev3").write_bytes(b"")
    done = ev3lang(command, "a.ev3", cwd=tmp_path)
    assert done.returncode == 1
    assert "error[" in done.stdout + complaint(done)


def test_a_byte_order_mark_is_no_fault(spec: Path) -> None:
    spec.write_bytes(b"\xef\xbb\xbf" + SPEC.encode())
    assert ev3lang("check", spec.name, cwd=spec.parent).returncode == 0


def test_an_unknown_device_is_a_usage_error(spec: Path) -> None:
    done = ev3lang("run", "iris.ev3", "--device=abacus", cwd=spec.parent)
    assert done.returncode == 2
    assert "abacus" in complaint(done)


def test_a_device_that_is_not_there_names_what_is(spec: Path) -> None:
    done = ev3lang("run", "iris.ev3", "--device=tpu", cwd=spec.parent)
    assert done.returncode == 6
    assert "there is no tpu here: jax sees cpu" in complaint(done)
    assert [each.name for each in spec.parent.iterdir()] == ["iris.ev3"]


@pytest.mark.parametrize("command", ["run", "check"])
def test_setting_an_unknown_name_is_a_finding(command: str, spec: Path) -> None:
    done = ev3lang(command, "iris.ev3", "--set", "widht=8", cwd=spec.parent)
    assert done.returncode == 1
    shown = done.stdout if command == "check" else complaint(done)
    assert "widht" in shown
    assert "width" in shown
    assert [each.name for each in spec.parent.iterdir()] == ["iris.ev3"]


@pytest.mark.parametrize("setting", ["width", "=8", "width="])
def test_a_setting_that_is_none_is_a_usage_error(setting: str, spec: Path) -> None:
    done = ev3lang("run", "iris.ev3", "--set", setting, cwd=spec.parent)
    assert done.returncode == 2
    assert "NAME=VALUE" in complaint(done)


def test_an_unknown_name_in_a_spec_is_refused_before_anything_runs(spec: Path) -> None:
    spec.write_text(SPEC.replace("rank by accuracy", "rank by acuracy"))
    done = ev3lang("run", "iris.ev3", cwd=spec.parent)
    assert done.returncode == 1
    assert "acuracy" in complaint(done)
    assert [each.name for each in spec.parent.iterdir()] == ["iris.ev3"]


def test_a_folder_with_something_in_it_is_not_written_to(spec: Path) -> None:
    out = spec.parent / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    done = ev3lang("run", "iris.ev3", "--out", "out", cwd=spec.parent)
    assert done.returncode == 2
    assert "not empty" in complaint(done)
    assert [each.name for each in out.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("out", ["/proc/run", "iris.ev3/run"])
def test_a_folder_that_cannot_be_written(out: str, spec: Path) -> None:
    done = ev3lang("run", "iris.ev3", "--out", out, cwd=spec.parent)
    assert done.returncode == 6
    assert out.split("/")[-1] in complaint(done)
    assert [each.name for each in spec.parent.iterdir()] == ["iris.ev3"]


def test_an_unknown_option_and_an_unknown_command(spec: Path) -> None:
    assert ev3lang("run", "iris.ev3", "--fast", cwd=spec.parent).returncode == 2
    assert ev3lang("destroy", cwd=spec.parent).returncode == 2


def driven(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What a Python program that calls the command comes to; temporary files go to `folder`."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_bug_says_how_to_report_it(spec: Path) -> None:
    program = (
        "import ev3lang.cli as cli\n"
        "cli._overrides = lambda settings: 1 / 0\n"
        "cli.main(['check', 'iris.ev3'])\n"
    )
    done = driven(program, spec.parent)
    assert done.returncode == 70
    assert "this is a bug in ev3lang" in complaint(done)
    file = re.search(r"the file (\S+\.txt)", done.stderr)
    assert file is not None
    assert "ZeroDivisionError" in Path(file[1]).read_text()


def test_a_bug_in_what_jax_computes_names_the_error_not_the_note_of_jax(spec: Path) -> None:
    program = (
        "import jax, jax.numpy as jnp, ev3lang.cli as cli\n"
        "cli._overrides = lambda settings: jax.jit(lambda x: x.reshape(7))(jnp.ones(3))\n"
        "cli.main(['check', 'iris.ev3'])\n"
    )
    done = driven(program, spec.parent)
    assert done.returncode == 70
    first = complaint(done).splitlines()[0]
    assert first.startswith(
        "ev3lang: this is a bug in ev3lang, not in your spec: TypeError: cannot reshape array"
    )
    assert "JAX" not in done.stderr
    file = re.search(r"the file (\S+\.txt)", done.stderr)
    assert file is not None
    assert "in <lambda>" in Path(file[1]).read_text()


# ---------------------------------------------------------------- check


def test_several_files_and_folders_are_checked_at_once(spec: Path) -> None:
    inner = spec.parent / "more"
    inner.mkdir()
    (inner / "bad.ev3").write_text(SPEC.replace("rank by accuracy", "rank by acuracy"))
    (spec.parent / ".hidden").mkdir()
    (spec.parent / ".hidden" / "bad.ev3").write_text("nonsense")
    done = ev3lang("check", "--output-format=concise", "iris.ev3", ".", cwd=spec.parent)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert re.match(r"more/bad\.ev3:\d+:\d+: error\[", lines[0])
    assert lines[-1] == "2 files checked: 1 error"


def test_a_file_that_another_uses_is_checked_as_a_part_of_it(tmp_path: Path) -> None:
    rest = SPEC.replace("ev3 1\n", "", 1)
    declared = re.search(r"^data .*\n", rest, re.MULTILINE)
    assert declared is not None
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data.ev3").write_text("ev3 1\n" + declared[0])
    for name in ("one", "two"):
        using = rest.replace(declared[0], "", 1)
        (tmp_path / f"{name}.ev3").write_text('ev3 1\nuse "data.ev3"\n' + using)
    done = ev3lang("check", ".", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "3 files checked: no errors\n")
    alone = ev3lang("check", "--output-format=concise", "data.ev3", cwd=tmp_path)
    assert alone.returncode == 1
    assert "error[missing-part]" in alone.stdout
    (tmp_path / "data.ev3").write_text("ev3 1\n" + declared[0].replace("iris", "irsi"))
    wrong = ev3lang("check", "--output-format=concise", ".", cwd=tmp_path)
    assert wrong.returncode == 1
    assert wrong.stdout.count("data.ev3:") == 1


def test_files_that_use_each_other_are_both_at_fault(tmp_path: Path) -> None:
    (tmp_path / "a.ev3").write_text('ev3 1\nuse "b.ev3"\n')
    (tmp_path / "b.ev3").write_text('ev3 1\nuse "a.ev3"\n')
    done = ev3lang("check", "--output-format=concise", ".", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.count("error[use-circle]") == 2


def test_a_good_spec_is_one_line_and_zero(spec: Path) -> None:
    done = ev3lang("check", "iris.ev3", cwd=spec.parent)
    assert (done.returncode, done.stdout) == (0, "1 file checked: no errors\n")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["iris.ev3"], 0),
        (["binary.ev3"], 1),
        (["gone.ev3"], 2),
        ([], 2),
        (["iris.ev3", "--sat", "width=3"], 2),
    ],
)
def test_json_is_valid_whatever_is_wrong(arguments: list[str], status: int, spec: Path) -> None:
    (spec.parent / "binary.ev3").write_bytes(b"ev3 1\n\0\xff")
    done = ev3lang("check", "--output-format=json", *arguments, cwd=spec.parent)
    assert done.returncode == status
    document = json.loads(done.stdout)
    assert document["format_version"] == "1.0"
    assert bool(document["errors"]) == bool(status)
    complaint(done)


def test_a_reader_that_has_seen_enough_is_no_fault(spec: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ev3lang", "check", "iris.ev3"],
        cwd=spec.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(60) == 0


# ---------------------------------------------------------------- explain, help


def test_every_command_has_help(tmp_path: Path) -> None:
    for command in ([], ["run"], ["check"], ["report"], ["explain"]):
        done = ev3lang(*command, "--help", cwd=tmp_path)
        assert done.returncode == 0
        assert "Usage: ev3lang" in done.stdout
    assert ev3lang("--version", cwd=tmp_path).stdout.startswith("ev3lang ")


def test_a_code_is_explained_and_a_near_one_offered(tmp_path: Path) -> None:
    done = ev3lang("explain", "unknown-name", cwd=tmp_path)
    assert done.returncode == 0
    assert "unknown-name" in done.stdout
    done = ev3lang("explain", "unknown-nam", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean unknown-name?" in complaint(done)


# ---------------------------------------------------------------- run, report


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """A run with everything set from outside, in a folder of its own."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "iris.ev3").write_text(SPEC)
    arguments = ("--set", "width=5", "--seed", "2", "--out", "out", "--device", "cpu")
    done = ev3lang("run", "iris.ev3", *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    done.folder = folder  # type: ignore[attr-defined]
    return done


def folder_of(done: subprocess.CompletedProcess[str]) -> Path:
    return done.folder  # type: ignore[attr-defined, no-any-return]


def test_a_run_shows_lines_and_a_report_where_nothing_is_a_terminal(
    finished: subprocess.CompletedProcess[str],
) -> None:
    assert "\x1b" not in finished.stdout
    for words in (
        "iteration 5 of 5",
        "What was asked",
        "What was tried",
        "What was accepted",
        "on the 15 examples of the report split",
        "accepted minus plain, accuracy",
        "Where the time went",
        "Files are in out",
    ):
        assert words in finished.stdout
    assert finished.stderr == ""


def test_a_run_records_what_was_set_from_outside(
    finished: subprocess.CompletedProcess[str],
) -> None:
    record = json.loads((folder_of(finished) / "out" / "run.json").read_text())
    assert record["flags"]["set"] == {"width": "5"}
    assert record["seed"] == 2
    models = json.loads((folder_of(finished) / "out" / "accepted" / "models.json").read_text())
    assert "5" in json.dumps(models)


def test_a_report_can_be_shown_again(finished: subprocess.CompletedProcess[str]) -> None:
    again = ev3lang("report", "out", cwd=folder_of(finished))
    assert again.returncode == 0
    assert finished.stdout.endswith(again.stdout)


def test_a_sweep_shows_its_points_and_a_table_that_can_be_shown_again(spec: Path) -> None:
    spec.write_text(SPEC.replace("report {", "sweep { seed in 0 to 1 }\nreport {"))
    done = ev3lang("run", "iris.ev3", "--set", "width=3", "--out", "out", cwd=spec.parent)
    assert done.returncode == 0, done.stderr
    assert complaint(done) == ""
    for words in (
        "point 1 of 2: seed 0",
        "point 2 of 2 (seed 1): all its iterations are done",
        "a sweep of 2 runs: 2 seeds",
        "any of the 2 runs of the sweep",
        "2.5% is the part of each",
    ):
        assert words in done.stdout
    again = ev3lang("report", "out", cwd=spec.parent)
    assert again.returncode == 0
    assert again.stdout.strip()
    assert again.stdout in done.stdout
    one = ev3lang("report", "out/points/002-seed=1", cwd=spec.parent)
    assert one.returncode == 0
    assert "seed 1" in one.stdout
    for content in ("[]", '{"format_version": "1.0"}', '{"format_version": "1.0", "axes": []}'):
        (spec.parent / "out" / "sweep.json").write_text(content)
        damaged = ev3lang("report", "out", cwd=spec.parent)
        assert damaged.returncode == 6
        assert "sweep.json" in complaint(damaged)


def test_a_sweep_with_failed_points_leaves_with_their_status(spec: Path) -> None:
    source = "csv(file) { x: f32; y: f32; label: class[2]; batch 16 }"
    text = SPEC.replace("sklearn.iris() { batch 16 }", source).replace("features", "[x, y]")
    text = text.replace("param width", 'param file: path = "good.csv"\nparam width')
    spec.write_text(text + 'sweep { file in ["gone.csv", "good.csv"] }\n')
    rows = [f"{i % 7},{i % 5},{i % 2}" for i in range(100)]
    (spec.parent / "good.csv").write_text("\n".join(["x,y,label", *rows]))
    done = ev3lang("run", "iris.ev3", "--out", "out", cwd=spec.parent)
    assert done.returncode == 6, done.stderr
    assert "point 1 of 2 (file gone.csv): failed: " in done.stdout
    assert "1 failed, 1 done" in done.stdout
    record = json.loads((spec.parent / "out" / "sweep.json").read_text())
    assert [point["status"] for point in record["points"]] == ["failed", "done"]
    assert record["exit_status"] == 6


def test_a_folder_without_a_report_and_one_that_is_damaged(tmp_path: Path) -> None:
    done = ev3lang("report", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "no report.json" in complaint(done)
    for content in ("", "[]", '{"format_version": "1.0", "metrics": {}}'):
        (tmp_path / "report.json").write_text(content)
        done = ev3lang("report", ".", cwd=tmp_path)
        assert done.returncode == 6
        assert "report.json" in complaint(done)


def test_a_quiet_run_prints_its_folder_alone(spec: Path) -> None:
    # the same settings as above, whose programs are in the cache by now
    arguments = ("--quiet", "--set", "width=5", "--seed", "2", "--device", "cpu")
    done = ev3lang("run", "iris.ev3", *arguments, cwd=spec.parent)
    assert done.returncode == 0
    (folder,) = done.stdout.splitlines()
    assert re.fullmatch(r"runs/iris-[0-9a-f]{8}-1", folder)
    assert (spec.parent / folder / "report.json").exists()
    assert done.stderr == ""


RUN = (sys.executable, "-u", "-m", "ev3lang", "run")


@pytest.mark.parametrize(
    ("number", "status", "words", "outcome"),
    [
        (signal.SIGINT, 130, "it was interrupted", "interrupted"),
        (signal.SIGTERM, 4, "a signal ended it (SIGTERM or SIGHUP)", "terminated"),
    ],
)
def test_a_signal_ends_a_run_with_what_it_has(
    spec: Path, number: signal.Signals, status: int, words: str, outcome: str
) -> None:
    spec.write_text(SPEC.replace("after 5 iterations", "after 10_000_000 iterations"))
    process = subprocess.Popen(
        # SIGHUP is ignored, as nohup has it
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *RUN, "iris.ev3", "--out", "out"],
        cwd=spec.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    seen = ""
    while "iteration 1 " not in seen:
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        seen += line
    process.send_signal(signal.SIGHUP)
    while "iteration 2" not in seen:
        seen += process.stdout.readline()
    process.send_signal(number)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert "Traceback" not in rest + errors
    assert words in rest
    assert "resume" not in rest
    report = json.loads((spec.parent / "out" / "report.json").read_text())
    assert report["outcome"] == outcome
    assert set(report["metrics"]) == {"assess"}


def test_a_run_that_cannot_begin_for_its_data_is_a_finding(spec: Path) -> None:
    spec.write_text(SPEC.replace("batch 16", "batch 100"))
    done = ev3lang("run", "iris.ev3", cwd=spec.parent)
    assert done.returncode == 1
    assert "batch" in complaint(done)
    assert [each.name for each in spec.parent.iterdir()] == ["iris.ev3"]


def test_a_run_goes_on_when_nobody_reads_its_lines(spec: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ev3lang", "run", "iris.ev3", "--out", "out"],
        cwd=spec.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(60) == 0
    assert (spec.parent / "out" / "report.json").exists()


def test_a_full_disk_is_one_error_and_leaves_whole_lines(spec: Path) -> None:
    spec.write_text(SPEC.replace("after 5 iterations", "after 100_000 iterations"))
    limited = [
        "bash",
        "-c",
        f"ulimit -f 40; exec {sys.executable} -m ev3lang run iris.ev3 --out out",
    ]
    done = subprocess.run(limited, cwd=spec.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 6
    assert "the run's files can't be written" in complaint(done)
    lines = (spec.parent / "out" / "events.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) > 1
    assert not (spec.parent / "out" / "report.json").exists()
