"""Every command with names and texts that try to take over the terminal or the CI job."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ev3lang.cli import main
from ev3lang.diagnostics.diagnostic import FORMATS

PIECES = (
    "\x1b]8;;http://evil.example\x1b\\",
    "\x1b[2J",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x9b31m",
    "\x07",
    "\x08",
    "\r",
    "\n::error file=a::evil",
    "\r\n::stop-commands::evil",
    "\n  ::add-mask::e",
    "##[error]evil",
    "##vso[task.complete result=Failed]",
    "\u202e",
    "\u2066",
    "\u2028::error::evil",
    "\x85::error::evil",
    "\x0c::error::evil",
    "[red]",
    "[link=http://evil.example]",
    "[/]",
    "evil",
    "::error::evil",
)

SEEDS = (1, 2, 3)

SPEC = """\
ev3 1

# {comment}
data iris = sklearn.iris() {{ batch 16 }}
model net: features -> logits(label) = mlp(hidden: [4])
loss entropy = cross_entropy(net(features), label)
loss spare = cross_entropy(net(features), label)
allow "unused-name" because "{string}"
objective accuracy = maximize argmax(net(features)) == label

explore net {{ descend entropy with adamw(1e-2) for 2 steps }}
assess net {{ rank by accuracy }}
adapt net {{
  accept when accuracy improves
  stop after 1 iterations
}}
"""

TABLE = """\
ev3 1

param file: path = "{path}"
data table = csv(file) {{
  "{column}"
  size: real from "{column}"
  label: class[2]
}}
model net: size -> logits(label) = mlp(hidden: [4])
loss entropy = cross_entropy(net(size), label)
objective accuracy = maximize argmax(net(size)) == label
explore net {{ descend entropy with sgd(0.1) for 2 steps }}
assess net {{ rank by accuracy }}
adapt net {{
  accept when accuracy improves
  stop after 1 iterations
}}
"""


def hostile(rng: random.Random, without: str = "\0") -> str:
    """A text of several pieces, without some characters."""
    text = "".join(rng.choices(PIECES, k=6))
    return "".join(char for char in text if char not in without)


def file_name(rng: random.Random) -> str:
    # at most 255 bytes, and a path has no slash of its own
    return hostile(rng, "\0/").encode()[:200].decode(errors="ignore")


def written(text: str) -> str:
    """A string of the language that holds the text: escapes are undone when it is read."""
    return "".join(
        char if char.isalnum() else f"\\u{ord(char):04x}" if ord(char) < 0x10000 else ""
        for char in text
    )


def assert_clean(shown: str, what: str) -> None:
    bad = [
        char
        for char in shown
        if char not in "\n\t"
        and (unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in "\u202e\u2066")
    ]
    assert not bad, f"{what}: {bad} in {shown!r}"
    command = re.search(r"^[^\S\n]*::\w.*|.*##\[.*|.*##vso\[.*", shown, re.MULTILINE)
    assert command is None, f"{what}: {command[0]!r}"
    assert "Traceback" not in shown, shown
    assert "bug in ev3lang" not in shown, shown


@pytest.fixture
def ev3lang(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Runs a command in a folder of its own and gives what it shows, which is clean."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", open(1, "w", closefd=False, encoding="utf-8"))  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", open(2, "w", closefd=False, encoding="utf-8"))  # noqa: SIM115

    def run(*arguments: str, own: str | None = None, status: tuple[int, ...] = (0, 1, 2, 6)) -> str:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = capfd.readouterr()
        assert left.value.code in status, out + err
        # the commands that a format is made of
        kept = re.sub(own, "", out, flags=re.MULTILINE) if own else out
        assert_clean(kept + "\n" + err, " ".join(map(ascii, arguments)))
        return out + err

    return run


@pytest.mark.parametrize("seed", SEEDS)
def test_specs_and_their_names(seed: int, tmp_path: Path, ev3lang: Callable[..., str]) -> None:
    rng = random.Random(seed)
    name = file_name(rng) + ".ev3"
    text = SPEC.format(comment=hostile(rng, "\0\r\n"), string=written(hostile(rng)))
    for content in (
        text,
        text.replace("adamw(1e-2)", f"adamw(1e-2, {hostile(rng, chr(0))})"),
        text.replace("rank by accuracy", "rank by acuracy"),
        text.replace("sklearn.iris()", f'csv("{written(hostile(rng))}")'),
        text.replace("ev3 1", f'ev3 1\nuse "{written(hostile(rng))}"'),
        text.replace("model net", f"model {hostile(rng)}net"),
        text.replace("}", "   }"),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8", newline="")
        for output_format in FORMATS:
            own = (
                r"^::(error|warning) (file=[^:,]*,)?[^:]*::" if output_format == "github" else None
            )
            ev3lang("check", "--output-format", output_format, ".", own=own)
            ev3lang("check", "--output-format", output_format, name, own=own)
        ev3lang("check", name, "--set", f"width={hostile(rng)}")
        ev3lang("check", name, "--set", f"{hostile(rng)}=1")
        ev3lang("fmt", "--check", ".")
        ev3lang("fmt", "--diff", ".")
        ev3lang("fmt", "--diff", "--explicit", ".")
        ev3lang("explain", name)
        ev3lang("plan", name)
        ev3lang("plan", "--output-format=json", name)
        ev3lang("check", "--fix", name)
        ev3lang("fmt", ".")
    (tmp_path / f"{hostile(rng, chr(0) + '/')[:40]}.ev3").symlink_to("nothing")
    (tmp_path / f"b{hostile(rng, chr(0) + '/')[:40]}.ev3").mkdir()
    ev3lang("check", ".")
    ev3lang("fmt")


@pytest.mark.parametrize("seed", SEEDS)
def test_arguments(seed: int, ev3lang: Callable[..., str]) -> None:
    rng = random.Random(seed)
    for command in ("run", "check", "plan", "fmt", "explain", "report"):
        ev3lang(command, hostile(rng), status=(2,))
        ev3lang(command, f"--{hostile(rng)}", status=(2,))
    ev3lang("run", "a.ev3", "--device", hostile(rng), status=(2,))
    ev3lang("run", "a.ev3", "--seed", hostile(rng), status=(2,))
    ev3lang("run", "a.ev3", "--set", hostile(rng), status=(2,))
    ev3lang("new", "--data", f"{hostile(rng)}.csv", status=(2,))
    ev3lang("new", "--data", hostile(rng), status=(1, 2))
    ev3lang(hostile(rng), status=(2,))


@pytest.mark.parametrize("seed", SEEDS)
def test_tables(seed: int, tmp_path: Path, ev3lang: Callable[..., str]) -> None:
    rng = random.Random(seed)
    column = hostile(rng, '\0\r\n,"')
    cell = hostile(rng, '\0\r\n,"')
    name = f"{file_name(rng)}.csv"
    rows = [f"{number % 7}.5,{number % 2}" for number in range(60)]
    spec = tmp_path / "table.ev3"
    for header, bad in (
        (f"{column},label", f"{cell},1"),
        (f"{column},label", f"1,{cell}"),
        (f"{column}x,label", "1,1"),
        (f"{column},{column}", "1,1"),
        (f"{column},label", f"1,1,{cell}"),
    ):
        (tmp_path / name).write_text("\n".join((header, *rows, bad)), encoding="utf-8")
        text = TABLE.format(path=written(name), column=written(column))
        spec.write_text(text.replace(f'  "{written(column)}"\n', ""), encoding="utf-8")
        ev3lang("run", "table.ev3", "--out", "out", status=(1, 6))
        ev3lang("explain", "table.ev3")
        ev3lang("plan", "table.ev3")
        ev3lang("new", "--data", name)
        ev3lang("new", "--data", name, "--target", column)
        ev3lang("new", "--data", name, "--target", hostile(rng))
    spec.write_text(TABLE.format(path=written(hostile(rng)), column="a"), encoding="utf-8")
    ev3lang("check", "table.ev3")
    spec.write_text(
        TABLE.format(path=written(hostile(rng)), column="a").replace('  "a"\n', ""), "utf-8"
    )
    ev3lang("run", "table.ev3", "--out", "out", status=(6,))
    ev3lang("run", "table.ev3", "--set", f"file={hostile(rng)}", "--out", "out", status=(1, 6))


@pytest.mark.parametrize(
    "source",
    ["csv", "npz", "parquet", "idx", "cifar", "image_folder", "checkpoint"],
)
@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800", "x" * 300])
def test_data_of_what_no_file_is_called(
    source: str, escape: str, tmp_path: Path, ev3lang: Callable[..., str]
) -> None:
    text = SPEC.format(comment="", string="kept")
    if source == "checkpoint":
        signature = "features -> logits(label) = mlp(hidden: [4])"
        text = text.replace(
            "model net",
            f'model old: {signature} {{ from checkpoint("{escape}") }}\nmodel net',
        ).replace(
            "loss spare = cross_entropy(net(features), label)",
            "loss spare = kl_divergence(softmax(old(features)), softmax(net(features)))",
        )
        text = text.replace("descend entropy", "descend entropy, spare")
    else:
        is_table = source in ("csv", "npz", "parquet")
        field = "features: f32[4]" if is_table else 'features: u8[4, 4] from "image"'
        path = f'"{escape}", labels: "{escape}"' if source == "idx" else f'"{escape}"'
        text = text.replace("sklearn.iris() {", f"{source}({path}) {{ {field}; label: class[3]; ")
    (tmp_path / "a.ev3").write_text(text)
    shown = ev3lang("run", "a.ev3", "--out", "out", status=(1, 6))
    assert "error[" not in shown
    assert "ev3lang: " in shown
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("seed", SEEDS)
def test_functions_of_the_users(seed: int, tmp_path: Path, ev3lang: Callable[..., str]) -> None:
    rng = random.Random(seed)
    package = f"hostile_functions_{seed}"
    (tmp_path / f"{package}.py").write_text(
        f"def at_once(logits, label):\n    raise ValueError({hostile(rng)!a})\n"
    )
    text = SPEC.format(comment="", string="kept").replace(
        "loss spare",
        f'extern fn own(logits[n], class[n]) -> real from "{package}:at_once"\n'
        "metric by_own = own(net(features), label)\nloss spare",
    )
    (tmp_path / "a.ev3").write_text(text + "report { show accuracy, by_own }\n")
    shown = ev3lang("run", "a.ev3", "--allow-python", package, "--out", "out", status=(6,))
    assert "raised ValueError" in shown


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run, with a fault of the user's own function told in its report."""
    folder = tmp_path_factory.mktemp("finished")
    fault = hostile(random.Random(7))
    (folder / "hostile_scores.py").write_text(
        f"def score(logits, label):\n    raise ValueError({fault!a})\n"
    )
    text = SPEC.format(comment="", string="kept").replace(
        "objective",
        'extern host fn own(logits[n], class[n]) -> real from "hostile_scores:score"\n'
        "metric by_own = own(net(features), label)\nobjective",
        1,
    )
    (folder / "a.ev3").write_text(text + "report { show accuracy, by_own }\n")
    repository = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "ev3lang", "run", "a.ev3", "--out", "out"]
        + ["--allow-python", "hostile_scores"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        timeout=300,
        check=False,
    )
    shown = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, shown
    assert "raised ValueError" in shown
    assert_clean(shown, "run")
    return folder / "out"


WORDS = ("format_version", "outcome", "better", "delivered", "ranked_by", "metric")
"""Parts of a report whose texts are words of the format."""


def spoilt(value: Any, rng: random.Random, name: str = "") -> Any:
    """A report's value with every free text made hostile; what has a meaning of its own stays."""
    match value:
        case dict():
            return {key: spoilt(each, rng, key) for key, each in value.items()}
        case list():
            return [spoilt(each, rng, name) for each in value]
        case str() if name not in (
            "format_version",
            "outcome",
            "better",
            "delivered",
            "ranked_by",
            "metric",
        ):
            return value + hostile(rng)
        case _:
            return value


@pytest.mark.parametrize("seed", SEEDS)
def test_reports(seed: int, finished: Path, tmp_path: Path, ev3lang: Callable[..., str]) -> None:
    rng = random.Random(seed)
    folder = tmp_path / file_name(rng)
    folder.mkdir()
    text = (finished / "report.json").read_text(encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(spoilt(json.loads(text), rng)))
    assert "evil" in ev3lang("report", folder.name, status=(0,))
    accuracy = hostile(rng)
    renamed = json.dumps(json.loads(text)).replace('"accuracy"', json.dumps(accuracy))
    (folder / "report.json").write_text(renamed)
    assert "evil" in ev3lang("report", folder.name, status=(0,))
    for broken in ("{", json.dumps({"format_version": hostile(rng)}), json.dumps(hostile(rng))):
        (folder / "report.json").write_text(broken)
        ev3lang("report", folder.name, status=(6,))
    (folder / "report.json").unlink()
    ev3lang("report", folder.name, status=(2,))


def test_a_terminal_gets_colours_and_nothing_else(finished: Path, tmp_path: Path) -> None:
    """On a pseudo-terminal, where rich writes escape sequences of its own."""
    pty = pytest.importorskip("pty")
    rng = random.Random(5)
    text = json.loads((finished / "report.json").read_text(encoding="utf-8"))
    (tmp_path / "report.json").write_text(json.dumps(spoilt(text, rng)))
    name = f"a{hostile(rng, chr(0) + '/')[:60]}.ev3"
    (tmp_path / name).write_text(
        "\n\n" + SPEC.format(comment=hostile(rng, "\0\r\n"), string="kept")
    )
    (tmp_path / f"b{name}").write_text("ev3 1\nlet a = evl\n")
    for arguments in (["report", "."], ["check", "."], ["explain", name], ["fmt", "--diff"]):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "ev3lang", *arguments],
            cwd=tmp_path,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                # how Linux says that the other end is closed
                break
            if not part:
                break
            shown += part
        os.close(ours)
        assert process.wait(60) in (0, 1)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).replace("\r\n", "\n")
        assert_clean(plain, " ".join(map(ascii, arguments)))
        assert "evil" in plain
