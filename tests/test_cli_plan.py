"""`ev3lang plan` from outside: what it shows of every spec, and what it does without."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ev3lang.analysis import analyze
from ev3lang.cli import main
from ev3lang.diagnostics.diagnostic import has_errors
from ev3lang.source import Source

SPECS = sorted((Path(__file__).resolve().parent.parent / "specs").glob("*.ev3"))

FIRST = """\
Plan of first
  at most 20 iterations
  data: sklearn.digits, 1797 examples: explore 1078, assess 270, adapt 269, report 180

Models
                  parameters  FLOP an example
  net (explored)        8970           17.7 k

Candidates of an iteration
                                           what  batch   FLOP
  entropy with adamw(0.001)  100 gradient steps    128  678 M

Work
                       FLOP
  explore             678 M              99.3%
  assess             4.77 M               0.7%
  adapt               9.5 M      each question
  an iteration        683 M  without questions
  all 20 iterations  13.7 G
  a multiplication and its addition are two; norms and activations are not counted; a gradient
    step takes three forward passes

Memory on the device
  weights              108 kB
  optimizers          71.8 kB
  data                 467 kB
  activations, about   207 kB
  all                  853 kB
  weights are those of current, accepted, every candidate and frozen models; optimizers keep as
    many numbers for each weight as their states have; activations are estimated from the
    layers' sizes, and what the compiler adds is not known here

Evidence: rule gate
  because the adapt split is finite, so every question reads the same examples
  the chance that the run ever accepts a model that is no better is at most 5%
  the first question has a level of 0.25%; an acceptance leaves 90% of the budget to later ones,
    a rejection 5%; the last one, at the run's own stop, has all that is left: 5% where none was
    asked before

That accuracy is higher: exact, by the examples that one model alone gets right
                   first at 0.25%            last at 5%
  adapt examples   least   5%  10%  asked    least   5%  10%
  269 (this spec)    3.3  4.9  7.6   10.1      1.9  4.0  5.7
  538 (2x)           1.7  3.8  5.5    7.0      0.9  2.9  4.1
  1076 (4x)          0.8  2.8  4.0    5.0      0.5  2.0  2.9
  2690 (10x)         0.3  1.8  2.5    3.1      0.2  1.3  1.8
  gains in pp
  least: no smaller gain can be shown, and this one only with no example lost
  5% or 10%: found with a chance of 90% if the models differ on 5% or 10% of the examples
  asked: what assess has to show, at the larger of these, before a question is asked; what shows
    less waits for the last one
"""


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `ev3lang plan`."""
    with pytest.raises(SystemExit) as left:
        main(["plan", *arguments])
    shown = capsys.readouterr()
    return int(left.value.code or 0), shown.out, shown.err


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_spec_is_planned_or_refused_as_a_run_would(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = analyze(Source(str(path), path.read_text(encoding="utf-8")))
    is_refused = has_errors(found.refusals)
    status, out, err = plan(capsys, str(path))
    assert status == (1 if is_refused else 0)
    assert bool(out) is not is_refused
    assert bool(err) is bool(found.refusals)
    assert all(len(line) <= 120 for line in out.splitlines())


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_spec_gives_one_document(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = plan(capsys, str(path), "--output-format", "json")
    told = json.loads(out)
    assert told["format_version"] == "1.0"
    assert ("candidates" in told) is (status == 0)
    assert ("diagnostics" in told) is (status == 1)


def test_the_first_spec_is_told_word_for_word(capsys: pytest.CaptureFixture[str]) -> None:
    path = next(path for path in SPECS if path.stem == "first")
    assert plan(capsys, str(path)) == (0, FIRST, "")


def test_a_setting_changes_what_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next(path for path in SPECS if path.stem == "few_labels")
    _, out, _ = plan(capsys, str(path), "--set", "width=4", "--output-format=json")
    (student,) = (each for each in json.loads(out)["models"] if each["is_explored"])
    assert student["parameters"] == 65 * 4 + 5 * 10
    status, out, err = plan(capsys, str(path), "--set", "widht=4")
    assert (status, out) == (1, "")
    assert "widht" in err


def test_what_a_bootstrap_decides_is_about_and_what_a_range_bounds_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = next(path for path in SPECS if path.stem == "first").read_text(encoding="utf-8")
    path = tmp_path / "judged.ev3"
    right = "argmax(net(image)) == label"
    assert right in text
    path.write_text(text.replace(f"{right}", "f1(argmax(net(image)), label)"))
    _, out, _ = plan(capsys, str(path))
    assert "ever accepts a model that is no better is at most about 5%" in " ".join(out.split())
    bounded = text.replace(
        "objective accuracy = maximize", "objective accuracy in 0 to 4 = minimize"
    )
    path.write_text(bounded.replace(right, "entropy"))
    _, out, _ = plan(capsys, str(path))
    assert "ever accepts a model that is no better is at most 5%" in " ".join(out.split())
    assert "That accuracy is lower, each value kept in 0 to 4: exact" in out


def test_a_file_that_is_not_there_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = plan(capsys, str(tmp_path / "none.ev3"))
    assert status == 2
    assert "no such file" in err
    assert plan(capsys, str(tmp_path))[0] == 2
    status, out, _ = plan(capsys, str(tmp_path / "none.ev3"), "--output-format=json")
    assert status == 2
    assert json.loads(out)["diagnostics"][0]["code"] == "usage"


def test_a_warning_stands_beside_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = next(path for path in SPECS if path.stem == "first").read_text(encoding="utf-8")
    path = tmp_path / "doubtful.ev3"
    path.write_text(text.replace("improves", "improves with confidence 40% over the run"))
    status, out, err = plan(capsys, str(path), "--output-format=json")
    assert status == 0
    assert json.loads(out)["evidence"]["delta"] == 0.6
    assert "low-confidence" in err


def test_unreadable_text_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "latin.ev3"
    path.write_bytes(b"ev3 1\n# caf\xe9\n")
    status, out, err = plan(capsys, str(path))
    assert (status, out) == (1, "")
    assert "unreadable-text" in err


PROGRAM = """
import sys
from ev3lang.cli import main
try:
    main(["plan", *sys.argv[1:]])
except SystemExit as end:
    assert not end.code, end.code
heavy = {"flax", "jax", "jaxlib", "numpy", "optax", "scipy", "sklearn", "rich"}
print("loaded:", *sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [(), ("--output-format=json",)])
def test_planning_loads_nothing_heavy(arguments: tuple[str, ...], repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "specs/first.ev3", *arguments],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].split() == ["loaded:"]
