"""What `explain` says of specs and built-ins, and where it says each default is from."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ev3lang.analysis import analyze
from ev3lang.catalog import index
from ev3lang.catalog.signature import KINDS
from ev3lang.catalog.units import UNITS
from ev3lang.cli import commands
from ev3lang.diagnostics.diagnostic import has_errors
from ev3lang.diagnostics.page import codes, page
from ev3lang.explain.builtin import Description, descriptions, explain_builtin, names
from ev3lang.explain.spec import explain_spec
from ev3lang.explicit import explicit_source
from ev3lang.source import Source

SPECS = sorted((Path(__file__).resolve().parent.parent / "specs").glob("*.ev3"))


def _explained(path: Path) -> str:
    return explain_spec(analyze(Source(str(path), path.read_text("utf-8"))))


def _flat(text: str) -> str:
    return " ".join(text.split())


def test_every_default_of_the_smallest_spec_is_told_with_its_origin(repository: Path) -> None:
    text = _flat(_explained(repository / "specs" / "first.ev3"))
    for part in (
        "seed 0 (default)",
        "precision f32 (default)",
        "1797 examples (known of the source)",
        "split 60/15/15/10 stratified by label (default)",
        "split seed 0 (default)",
        "batch 128 (default)",
        "activation relu (default)",
        "hidden [64, 64] (line 7)",
        "label_smoothing 0% (default)",
        "learning_rate 0.001 (line 12)",
        "weight_decay 0.0001 (default)",
        "batches shared: all candidates of an iteration see the same (default)",
        "confidence 95% over the run (default)",
        "rule gate (default)",
        "move unless worse (default)",
        "shows accuracy, all objectives (default)",
        "baselines: none (default)",
    ):
        assert part in text


def test_what_is_written_is_told_with_its_line(repository: Path) -> None:
    text = _flat(_explained(repository / "specs" / "distill_and_grow.ev3"))
    assert "seed 7 (line 6)" in text
    assert "batch 128 (line 41)" in text
    assert "confidence 95% over the run (line 50)" in text
    assert "10 candidates an iteration" in text
    assert "[width], where width is 8" in text
    assert "610 parameters" in text


def test_growth_passes_and_archives_are_told(repository: Path) -> None:
    text = _flat(_explained(repository / "specs" / "images_from_file.ev3"))
    for part in (
        "explores 2 updates of student (and one for each member of peers)",
        "Archive peers (line 27) the accepted student with the best accuracy on assess, for each "
        "value of blocks; empty as the run starts",
        "Explore student: 2 candidates an iteration, and one for each member of peers (line 30)",
        "descend from_peers(T: 2) with adamw(0.001) for 5000 steps, for each member of peers",
        "after 4 iterations without progress (line 36), with neither an acceptance nor a new best "
        "of current on assess: grow by deepen_every_stage(1) (line 37)",
        "5 passes, each from the smallest model, with fresh weights, to where limits stop growth; "
        "then the run ends (line 40)",
    ):
        assert part in text
    text = (repository / "specs" / "distill_and_grow.ev3").read_text("utf-8")
    best = text.replace("by widen(2x) or deepen(1)", "by best of widen(2x), deepen(1)")
    explained = _flat(explain_spec(analyze(Source("best.ev3", best))))
    assert "grow by the best of widen(2x) and deepen(1), each tried for one iteration" in explained


def test_the_numbers_of_an_image_model_are_counted(repository: Path) -> None:
    text = (repository / "specs" / "first.ev3").read_text("utf-8")
    layers = "conv(8) | group_norm(4) | relu | max_pool | conv(16, kernel: 2) | mean_pool | dense"
    spec = text.replace("mlp(hidden: [64, 64])", layers)
    explained = _flat(explain_spec(analyze(Source("images.ev3", spec))))
    count = (3 * 3 * 1 + 1) * 8 + 2 * 8 + (2 * 2 * 8 + 1) * 16 + (16 + 1) * 10
    assert f"{count} parameters" in explained


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_each_spec_is_explained_and_what_cannot_run_is_listed(path: Path) -> None:
    analysis = analyze(Source(str(path), path.read_text("utf-8")))
    text = explain_spec(analysis)
    for each in analysis.diagnostics:
        if each.code == "not-built-yet":
            assert each.message in _flat(text)
    assert ("What can't be run yet" in text) == (analysis.program is None)
    assert "None" not in text
    assert all(len(line) <= 110 for line in text.splitlines())


GOOD = [
    pytest.param(match[1], id=code)
    for code in codes()
    for match in re.finditer(r"## Right\n.*?```ev3\n(.*?)```", page(code) or "", re.DOTALL)
]


@pytest.mark.parametrize("text", GOOD)
def test_the_good_spec_of_every_code_is_explained_and_written_out(text: str) -> None:
    source = Source("good.ev3", text)
    analysis = analyze(source)
    if has_errors(analysis.diagnostics):
        pytest.skip("its good spec is one of several files")
    assert explain_spec(analysis).startswith("Experiment ")
    explicit, found = explicit_source(source)
    assert explicit is not None, found
    assert not has_errors(analyze(Source("good.ev3", explicit)).diagnostics)


def test_every_line_that_is_named_exists_and_is_not_blank(repository: Path) -> None:
    for path in SPECS:
        lines = path.read_text("utf-8").splitlines()
        for number in re.findall(r"line (\d+)", _explained(path)):
            assert lines[int(number) - 1].strip(), f"{path.name}:{number}"


def test_a_declaration_of_a_used_file_is_told_with_that_file(tmp_path: Path) -> None:
    first = next(path for path in SPECS if path.stem == "first").read_text("utf-8")
    head, rest = first.split("explore net", 1)
    (tmp_path / "common.ev3").write_text(head)
    spec = tmp_path / "spec.ev3"
    spec.write_text(f'ev3 1\n\nuse "common.ev3"\n\nexplore net{rest}')
    text = _flat(_explained(spec))
    assert "common.ev3, line 7)" in text
    assert "1 candidate an iteration (line 5)" in text


# ---------------------------------------------------------------- built-ins


def test_every_name_of_the_catalogue_is_explained() -> None:
    tables = (
        index.FUNCTIONS,
        index.OPERATORS,
        index.LAYERS,
        index.OPTIMIZERS,
        index.SOURCES,
        index.STRATEGIES,
        index.PERTURBATIONS,
        index.GROWTH,
        index.AUGMENTATIONS,
        index.RULES,
    )
    known = {*names()}
    for table in (*tables, UNITS, KINDS):
        assert known >= {*table}


@pytest.mark.parametrize("each", tuple(descriptions()), ids=lambda each: f"{each.kind}-{each.name}")
def test_a_built_in_is_told_with_all_of_its_options(each: Description) -> None:
    text = explain_builtin(each.name)
    assert text is not None
    assert each.summary[1:].split()[-1] in text
    for argument in each.arguments:
        assert f"  {argument.name}" in text


TEMPLATE = """ev3 1
{top}
data digits = sklearn.digits() {{
  {inside}
}}
model net: image -> logits(label) = mlp(hidden: [64, 64])
model teacher: image -> logits(label) = mlp(hidden: [64])
{middle}
loss entropy = cross_entropy(net(image), label)
objective accuracy_of_template = maximize argmax(net(image)) == label
explore net {{
  descend entropy with adam(1e-3) for 100 steps
}}
assess net {{ rank by accuracy_of_template }}
adapt net {{
  accept when accuracy_of_template improves
  stop after 20 iterations
}}
"""


def _is_of_digits(each: Description) -> bool:
    if each.kind in ("optimizer", "transform", "schedule"):
        return True
    starts = ("loss", "objective", "metric", "let", "derive")
    needs_another = (
        "features",
        "labels",
        "group",
        "roc_auc",
        "average_precision",
        "loss other",
        "text",
    )
    return each.example.startswith(starts) and not any(n in each.example for n in needs_another)


@pytest.mark.parametrize(
    "each",
    tuple(filter(_is_of_digits, descriptions())),
    ids=lambda each: f"{each.kind}-{each.name}",
)
def test_an_example_checks_in_a_spec(each: Description) -> None:
    is_derived = each.example.startswith("derive")
    middle = "" if is_derived else each.example
    spec = TEMPLATE.format(top="", inside=each.example if is_derived else "", middle=middle)
    found = analyze(Source("example.ev3", spec)).diagnostics
    assert not has_errors(found), found


# ---------------------------------------------------------------- the command


def _command(*arguments: str) -> tuple[str, int | Exception]:
    result = CliRunner().invoke(commands, ["explain", *arguments], standalone_mode=False)
    return result.output, result.exception or result.return_value


def test_the_command_tells_specs_names_and_codes_apart(repository: Path) -> None:
    assert _command(str(repository / "specs" / "first.ev3"))[0].startswith("Experiment first")
    assert _command("adamw")[0].startswith("adamw: optimizer")
    assert _command("no-gradient")[0].startswith("# no-gradient")


def test_explaining_loads_nothing_heavy(repository: Path) -> None:
    program = (
        "import sys; from ev3lang.cli import commands\n"
        "for what in ('specs/first.ev3', 'adamw'):\n"
        "    commands(['explain', what], standalone_mode=False)\n"
        "heavy = {'jax', 'numpy', 'optax', 'sklearn', 'rich'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_a_near_name_is_offered() -> None:
    assert "did you mean focal_loss?" in str(_command("focal_los")[1])


def test_a_wrong_spec_is_not_explained(tmp_path: Path) -> None:
    spec = tmp_path / "bad.ev3"
    spec.write_text("ev3 1\nobjective a = maximize nothing\n")
    output, status = _command(str(spec))
    assert status == 1
    assert "error[" in output


def _measured(objective: str, accept: str = "quality improves") -> str:
    text = f"""\
ev3 1

data digits = sklearn.digits()
model net: image -> logits(label) = mlp(hidden: [16])
loss entropy = cross_entropy(net(image), label)
objective quality {objective}
explore net {{ descend entropy with adamw(1e-3) for 100 steps }}
assess net {{ rank by quality }}
adapt net {{ accept when {accept}; stop after 20 iterations }}
"""
    return _flat(explain_spec(analyze(Source("spec.ev3", text))))


def test_a_bootstrap_is_told_to_hold_its_level_about() -> None:
    exact = _measured("= maximize argmax(net(image)) == label")
    assert "is at most 5%" in exact
    assert "about 5%" not in exact
    assert "is at most about 5%" in _measured("= maximize f1(argmax(net(image)), label)")
    each = _measured(
        "= maximize f1(argmax(net(image)), label)",
        "quality improves with confidence 95% each time",
    )
    assert "with a chance of at most about 5%" in each


def test_a_stated_range_is_told_to_bound_what_is_tested() -> None:
    words = "the mean of quality with each example's value kept in 0 to 4;"
    assert words in _measured("in 0 to 4 = minimize entropy")
    assert "kept in" not in _measured("= minimize clip(entropy, 0, 4)")
    # a range wider than what is known says nothing new
    assert "kept in" not in _measured("in 0 to 9 = minimize clip(entropy, 0, 4)")


def test_blocks_of_time_are_told_to_hold_their_level_about() -> None:
    text = """\
ev3 1

data days = csv("days.csv") {
  day: f32
  level: f32
  ill: class[2]
  rows 4000
  split explore 60%, assess 15%, adapt 15%, report 10% ordered by day in blocks of 50 examples
  normalize level
}
model net: level -> logits(ill) = mlp(hidden: [16])
loss entropy = cross_entropy(net(level), ill)
objective accuracy = maximize argmax(net(level)) == ill
explore net { descend entropy with adamw(1e-3) for 100 steps }
assess net { rank by accuracy }
adapt net { accept when accuracy improves; stop after 20 iterations }
"""
    words = _flat(explain_spec(analyze(Source("spec.ev3", text))))
    assert "is at most about 5%" in words
    assert "about: blocks of time are independent" in words
    alone = text.replace(" in blocks of 50 examples", "")
    assert "is at most 5%" in _flat(explain_spec(analyze(Source("spec.ev3", alone))))
