"""`fmt --explicit`: every setting written, and the same experiment."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from ev3lang.analysis import analyze
from ev3lang.cli import commands
from ev3lang.diagnostics.diagnostic import has_errors
from ev3lang.diagnostics.page import codes, page
from ev3lang.explicit import explicit_source
from ev3lang.plan.lower import lower
from ev3lang.runtime.folder import semantic_hash
from ev3lang.source import Source
from ev3lang.syntax.format import format_source
from tests.check.test_cases import CASES, whole_spec
from tests.diagnostics.test_page import specs

ROOT = Path(__file__).resolve().parent.parent
SPECS = sorted((ROOT / "specs").glob("*.ev3"))


def _explicit(source: Source) -> Source:
    text, found = explicit_source(source)
    assert text is not None, found
    return Source(source.name, text)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_keeps_its_meaning(path: Path) -> None:
    source = Source(str(path), path.read_text("utf-8"))
    result = _explicit(source)
    before, after = analyze(source), analyze(result)
    assert not has_errors(after.diagnostics)
    assert [each.code for each in after.diagnostics] == [each.code for each in before.diagnostics]
    assert _explicit(result).text == result.text
    assert format_source(result) == result.text
    assert (before.program is None) == (after.program is None)
    if before.program is not None and after.program is not None:
        assert lower(before.program) == lower(after.program)
        assert semantic_hash(lower(before.program)) == semantic_hash(lower(after.program))


def test_every_case_and_page_keeps_its_meaning_name_and_hash() -> None:
    texts = [whole_spec(case) for case in CASES]
    texts += [spec for code in codes() for spec in specs(page(code) or "")]
    seen = 0
    for text in texts:
        source = Source("digits.ev3", text if text.startswith("ev3 ") else f"ev3 1; {text}")
        before = analyze(source)
        if has_errors(before.diagnostics) or not before.points:
            continue
        after = analyze(_explicit(source))
        assert [each.settings for each in after.points] == [each.settings for each in before.points]
        plans = [lower(each.program) for each in before.points]
        again = [lower(each.program) for each in after.points]
        assert plans == again
        assert semantic_hash(*plans) == semantic_hash(*again)
        seen += 1
    assert seen > 100


@pytest.mark.parametrize("name", ["digits", "net", "my-spec", "2nd", "explore", "größe"])
def test_an_experiment_keeps_the_name_of_its_file(name: str, repository: Path) -> None:
    source = Source(f"{name}.ev3", (repository / "specs" / "first.ev3").read_text("utf-8"))
    program = analyze(_explicit(source)).program
    assert program is not None
    assert program.name == name


def test_every_default_of_the_smallest_spec_is_written(repository: Path) -> None:
    text = (repository / "specs" / "first.ev3").read_text("utf-8")
    result = _explicit(Source("first.ev3", text)).text
    for part in (
        "experiment first {\n  seed 0\n  precision f32\n}",
        "split explore 60%, assess 15%, adapt 15%, report 10% stratified by label seed 0",
        "batch 128",
        "batches shared",
        "state lasting",
        "improves with confidence 95% over the run",
        "rule gate",
        "move unless worse",
        "report {\n  show accuracy\n}",
    ):
        assert part in result


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("accept when accuracy improves", "accept when accuracy improves with confidence 90%"),
        ("explore net {", "explore net { batch 64;"),
        ("normalize image", "split explore 40%, assess 20%, adapt 20%, report 20% seed 5"),
        ("ev3 1\n", "ev3 1\nexperiment mine { seed 4 }\n"),
    ],
)
def test_what_is_written_stays(old: str, new: str, repository: Path) -> None:
    text = (repository / "specs" / "first.ev3").read_text("utf-8").replace(old, new)
    source = Source("first.ev3", text)
    before, after = analyze(source).program, analyze(_explicit(source)).program
    assert before is not None
    assert after is not None
    assert lower(before) == lower(after)


def test_the_command_writes_and_refuses(tmp_path: Path, repository: Path) -> None:
    spec = tmp_path / "first.ev3"
    spec.write_text((repository / "specs" / "first.ev3").read_text("utf-8"))
    run = CliRunner().invoke
    assert run(commands, ["fmt", "--explicit", str(spec)], standalone_mode=False).return_value == 0
    assert "move unless worse" in spec.read_text("utf-8")
    spec.write_text("ev3 1\nobjective a = maximize nothing\n")
    done = run(commands, ["fmt", "--explicit", str(spec)], standalone_mode=False)
    assert done.return_value == 1
    assert "error[" in done.output
