"""`new`: a spec for a data file or a bundled set, which checks, runs and stays put under `fmt`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import csv, parquet
from sklearn import datasets
from sklearn.linear_model import RidgeCV

from ev3lang.analysis import analyze
from ev3lang.catalog.index import SOURCES
from ev3lang.cli import commands, main
from ev3lang.compile import experiment
from ev3lang.new.spec import new_spec
from ev3lang.new.table import NewSpecError
from ev3lang.runtime import data as runs
from ev3lang.runtime.events import IterationDone
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.run import Result, run
from ev3lang.source import Source
from ev3lang.syntax.format import format_source

BUNDLED = [name for name, each in SOURCES.items() if not each.declares_fields]
GENERATOR = np.random.default_rng(7)


def _faults(text: str) -> list[str]:
    """Codes of what is found, but for what can't be run yet."""
    assert format_source(Source("new.ev3", text)) == text
    found = analyze(Source("new.ev3", text)).diagnostics
    return [each.code for each in found if each.code != "not-built-yet"]


def _ran(path: Path, text: str, iterations: int = 3) -> tuple[Result, list[IterationDone]]:
    """What a spec comes to after so many iterations, and those."""
    text = text.replace("stop after 20", f"stop after {iterations}")
    path.write_text(text)
    source = Source(str(path), text)
    heard: list[Any] = []
    result = run(
        experiment(analyze(source)).plan, source, out=path.parent / "out", listen=heard.append
    )
    return result, [each for each in heard if isinstance(each, IterationDone)]


@pytest.mark.parametrize("name", BUNDLED)
def test_a_spec_for_a_bundled_set_has_no_fault(name: str) -> None:
    assert _faults(new_spec("mine", name).text) == []


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    rows = [
        f"p{i},{20 + i % 50},{i / 7:.3f},{i % 5},{'xyz'[i * i % 3]},{i % 3}" for i in range(1000)
    ]
    path.write_text("\n".join(["patient,Age (years),income,batch,town,outcome", *rows]))
    return path


# ---------------------------------------------------------------- fields


def test_the_schema_of_a_table_is_filled_in(table: Path) -> None:
    draft = new_spec("mine", str(table))
    assert _faults(draft.text) == []
    for part in (
        'age_years: f32 from "Age (years)"',
        "town: text[2]",
        "outcome: class[3]",
        "rows 1000",
        "stratified by outcome",
        "# patient: a group or person by its name",
    ):
        assert part in draft.text
    assert "patient" not in draft.text.partition("\nmodel ")[2]


def test_another_target_and_a_number_are_learned(table: Path) -> None:
    text = new_spec("mine", str(table), "income").text
    assert _faults(text) == []
    assert "income: real" in text
    assert "squared_error" in text
    # its scale is no trouble to the steps
    assert "income" in text.partition("normalize")[2].partition("\n")[0]


def test_parquet_gives_the_same_schema(table: Path) -> None:
    path = table.with_suffix(".parquet")
    parquet.write_table(csv.read_csv(table), path)
    expected = new_spec("mine", str(table)).text.replace("csv(", "parquet(")
    assert new_spec("mine", str(path)).text == expected.replace("people.csv", "people.parquet")


def test_arrays_of_an_npz_are_fields(tmp_path: Path) -> None:
    path = tmp_path / "pictures.npz"
    images = GENERATOR.integers(0, 255, (500, 8, 8, 3)).astype(np.uint8)
    # what describes the set is no field
    names = np.array(["cat", "dog", "cow", "hen"])
    np.savez(path, image=images, label=np.arange(500) % 4, names=names)
    text = new_spec("mine", str(path)).text
    assert _faults(text) == []
    assert "image: u8[8, 8, 3]" in text
    assert "label: class[4]" in text
    assert "# names: 4 entries, and most arrays have 500" in text


def test_many_columns_of_numbers_are_runs_of_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    values = GENERATOR.normal(size=(60, 6830)).astype(np.float32)
    titles = [f"gene {place}" for place in range(6830)]
    titles[100], titles[-1] = "town", "label"
    cells = [list(map(str, row)) for row in values]
    for place, row in enumerate(cells):
        row[100], row[-1] = "ab"[place % 2], str(place % 2)
    path.write_text("\n".join(",".join(row) for row in [titles, *cells]))
    text = new_spec("mine", str(path)).text
    assert _faults(text) == []
    assert "features: f32[100] from columns 1 to 100" in text
    assert "features_2: f32[6728] from columns 102 to 6829" in text
    explore = _read(tmp_path, text.replace("normalize features, features_2", ""))["explore"]
    assert {row.tobytes() for row in explore["features_2"]} <= {
        row.tobytes() for row in values[:, 101:6829]
    }


def _read(folder: Path, text: str) -> runs.Tables:
    plan = experiment(analyze(Source(str(folder / "a.ev3"), text))).plan
    return runs.read(plan.data, folder).tables


# ---------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        ([0, 1, 2], "kind: class[3]"),
        ([1, 2], "derive kind_class = kind == 2 as class[2]"),
        ([-1, 1], "derive kind_class = kind == 1 as class[2]"),
        ([3, 4, 5, 6, 7, 8], "derive kind_class = kind - 3 as class[6]"),
        ([-1, 0, 1], "derive kind_class = kind + 1 as class[3]"),
        ([10, 20, 50], "derive kind_class = (kind > 15) + (kind > 35) as class[3]"),
        (["1.0", "2.0"], "derive kind_class = kind > 1.5 as class[2]"),
        ([3_000_000_000, 4_000_000_000], "derive kind_class = kind > 3500000000.0 as class[2]"),
        (["setosa", "versi color", "a b"], "derive kind_class = kind as class[3]"),
        (["007", "008"], "derive kind_class = kind as class[2]"),
        (["yes", "no"], "derive kind_class = kind as class[2]"),
        (["True", "False"], "derive kind_class = kind as class[2]"),
    ],
)
def test_labels_of_every_sort_are_classes(cells: list[Any], line: str, tmp_path: Path) -> None:
    path = tmp_path / "kinds.csv"
    drawn = [cells[place % len(cells)] for place in range(240)]
    values = GENERATOR.normal(size=240).astype(np.float32)
    rows = [f"{value!r},{cell}" for value, cell in zip(values.tolist(), drawn, strict=True)]
    path.write_text("\n".join(["a,kind", *rows]))
    draft = new_spec("mine", str(path))
    assert _faults(draft.text) == []
    assert line in draft.text
    tables = _read(tmp_path, draft.text.replace("normalize a\n", "").replace('"kinds', '"kinds'))
    label = "kind" if line.startswith("kind") else "kind_class"
    # the place of each value among all of them in order
    places = np.unique(np.asarray(drawn), return_inverse=True)[1]
    expected = dict(zip(values.tolist(), places.tolist(), strict=True))
    for table in tables.values():
        assert [expected[value] for value in table["a"].tolist()] == table[label].tolist()


def test_numbers_of_many_values_are_a_regression_and_can_be_told_so(tmp_path: Path) -> None:
    path = tmp_path / "wines.csv"
    rows = [f"{GENERATOR.normal()},{3 + place % 6}" for place in range(400)]
    path.write_text("\n".join(["acid,quality", *rows]))
    draft = new_spec("mine", str(path))
    assert (
        "its numbers are taken for labels; --task regression learns them as a number" in draft.notes
    )
    assert "quality: real" in new_spec("mine", str(path), task="regression").text
    path.write_text(
        "\n".join(["a,count", *(f"{place % 7 / 3},{place % 60}" for place in range(400))])
    )
    assert "count: real" in new_spec("mine", str(path)).text


def test_which_target_is_learned_and_why_is_said(table: Path, tmp_path: Path) -> None:
    assert new_spec(None, str(table)).notes[0] == (
        "target: outcome, the last column, learned as 3 classes; others for --target: Age (years), "
        "income, batch, town"
    )
    path = tmp_path / "named.csv"
    path.write_text("\n".join(["a,Target,b", *(f"{i / 7},{i % 2},{i % 9}" for i in range(200))]))
    assert new_spec(None, str(path)).notes[0] == (
        "target: Target, by its name, learned as 2 classes; others for --target: a, b"
    )


@pytest.mark.parametrize("answer", ["", "batch"])
def test_at_a_terminal_a_target_is_asked_for(answer: str, table: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "r+b", buffering=0) as terminal:
        command = [sys.executable, "-m", "ev3lang", "new", "--data", table.name, "--out", "a.ev3"]
        terminal.write(answer.encode() + b"\n")
        done = subprocess.run(command, cwd=table.parent, stdin=theirs, stderr=theirs, check=False)
        os.close(theirs)
        said = terminal.read(4000).decode()
    assert done.returncode == 0
    assert "which one is to be predicted? [outcome]" in said
    assert f"logits({answer}" in (table.parent / "a.ev3").read_text()


# ---------------------------------------------------------------- inputs


@pytest.mark.parametrize(
    "title", ["Unnamed: 0", "index", "", "id", "ID", "PassengerId", "user_id", "serial", "uuid"]
)
def test_ids_and_the_index_of_a_table_are_no_inputs(title: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    numbers = GENERATOR.permutation(10_000)[:200] if title == "serial" else range(200)
    rows = [f"{n},{GENERATOR.normal()},{place % 2}" for place, n in enumerate(numbers)]
    path.write_text("\n".join([f"{title},a,label", *rows]))
    draft = new_spec("mine", str(path))
    assert "model net: a -> logits(label)" in draft.text
    assert any(note.startswith("left out: ") for note in draft.notes)


def test_a_column_keeps_its_name_though_it_is_a_word_of_the_grammar(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    titles = ["target_of", "last", "up", "time", "batch", "split_", "with", "not", "mean", "mlp"]
    rows = [",".join([*(f"{GENERATOR.normal()}" for _ in titles), str(i % 2)]) for i in range(200)]
    path.write_text("\n".join([",".join([*titles, "label"]), *rows]))
    text = new_spec("mine", str(path)).text
    for title in ("last", "up", "time", "batch"):
        assert f"\n  {title}: f32\n" in text
    for title in ("with", "not", "mean", "mlp"):
        # these would end a line or hide what the spec calls; the column stays
        assert f'\n  {title}_: f32 from "{title}"\n' in text


def test_an_id_that_repeats_keeps_its_rows_in_one_split(tmp_path: Path) -> None:
    path = tmp_path / "visits.csv"
    rows = [f"p{place // 4},{GENERATOR.normal()},{place % 2}" for place in range(400)]
    path.write_text("\n".join(["patient_id,a,label", *rows]))
    draft = new_spec("mine", str(path))
    assert "grouped by patient_id" in draft.text
    tables = _read(tmp_path, draft.text)
    held = [set(table["patient_id"].tolist()) for table in tables.values()]
    assert sum(map(len, held)) == len(set().union(*held)) == 100


def test_words_and_truths_are_inputs_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [
        f"{'xyz'[i % 3]},{i % 2 == 0},note {i % 150},2020-01-{1 + i % 28:02},"
        f"{'' if i == 7 else i % 9},1,{GENERATOR.normal()},{i % 2}"
        for i in range(300)
    ]
    path.write_text("\n".join(["town,flag,note,day,gaps,same,a,label", *rows]))
    draft = new_spec("mine", str(path))
    assert "model net: [town, flag, a] -> logits(label)" in draft.text
    assert [note.partition(": ")[2] for note in draft.notes if note.startswith("left out")] == [
        "note: 150 different words",
        "day: dates, which no field holds: store days or seconds as numbers",
        "gaps: 1 of 300 rows have no value, or no finite one, and a run takes none such: fill them "
        "in, or leave those rows out",
        "same: the same in every row",
    ]
    for title in ("note", "day", "gaps", "same"):
        assert f"# {title}: " in draft.text


def test_a_column_that_only_a_run_finds_at_fault_is_left_out(tmp_path: Path) -> None:
    pixels = GENERATOR.normal(size=(200, 3))
    pixels[5, 1] = np.nan
    path = tmp_path / "t.npz"
    np.savez(path, pixels=pixels, a=GENERATOR.normal(size=200), label=np.arange(200) % 2)
    draft = new_spec("mine", str(path))
    assert "model net: a -> logits(label)" in draft.text
    assert any("pixels" in note and "row 6" in note for note in draft.notes)


def test_test_rows_are_never_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"{i / 7},{['train', 'test'][i % 4 == 0]},{i % 2}" for i in range(400)]
    path.write_text("\n".join(["a,split,label", *rows]))
    text = new_spec("mine", str(path)).text
    assert "rows 300 in train, 100 in test" in text
    assert "explore from train 70%, assess from train 15%, adapt from train 15%" in text
    tables = _read(tmp_path, text.replace("normalize a\n", ""))
    of_test = {np.float32(i / 7).tobytes() for i in range(0, 400, 4)}
    assert {value.tobytes() for value in tables["report"]["a"]} == of_test


# ---------------------------------------------------------------- runs


def _houses(rows: int, scale: float, offset: float) -> np.ndarray:
    """Made-up houses: area, rooms, age, latitude, plot and quality; the price is skewed."""
    draw = np.random.default_rng(11)
    area = np.exp(draw.normal(7.4, 0.4, rows))
    rooms = np.clip(np.round(area / 600 + draw.normal(0, 0.7, rows)), 1, 8)
    age, latitude = draw.uniform(0, 100, rows), draw.normal(47.5, 0.14, rows)
    plot = np.exp(draw.normal(9, 1.2, rows))
    quality = np.clip(np.round(draw.normal(6, 1.2, rows)), 1, 10)
    worth = 0.7 * np.log(area) + 0.15 * quality - 0.002 * age + 1.2 * (latitude - 47.5)
    price = np.exp(worth + draw.normal(0, 0.18, rows)) * 1000 * scale + offset
    return np.column_stack([area, rooms, age, latitude, plot, quality, price])


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-9, 0.0), (1e6, 0.0), (1e-3, 1e4)])
def test_a_first_regression_is_near_to_ridge_at_any_scale(
    scale: float, offset: float, tmp_path: Path
) -> None:
    houses = _houses(1500, scale, offset)
    titles = "area,rooms,age,latitude,plot,quality,price"
    np.savetxt(tmp_path / "h.csv", houses, delimiter=",", header=titles, comments="", fmt="%.9g")
    text = new_spec("mine", str(tmp_path / "h.csv"), out=tmp_path / "a.ev3").text
    result, iterations = _ran(tmp_path / "a.ev3", text, 12)
    tables = _read(tmp_path, text)
    inputs, prices = (
        {use: np.column_stack([table[each] for each in names]) for use, table in tables.items()}
        for names in (titles.split(",")[:-1], ["price"])
    )
    ridge = RidgeCV(np.logspace(-2, 3, 12)).fit(inputs["explore"], prices["explore"].ravel())
    expected = ridge.score(inputs["report"], prices["report"].ravel())
    assert result.report.metrics["accepted"]["goal"].value > expected - 0.1
    # each of the candidates lives through every iteration
    assert not any(each.is_quarantined for done in iterations for each in done.candidates)


def _tables() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Real tables with what spreadsheets have beside them, and the target of each."""
    for name in ("iris", "wine", "breast_cancer"):
        found = getattr(datasets, f"load_{name}")()
        columns = dict(zip(map(str, found.feature_names), found.data.T, strict=True))
        yield (
            name,
            {"Id": np.arange(len(found.data)) + 1, **columns, "target": found.target},
            "target",
        )
        words = [str(found.target_names[each]) for each in found.target]
        yield f"{name} words", {**columns, "kind": words}, "kind"
        yield f"{name} from 1", {**columns, "class": found.target + 1}, "class"
    diabetes = datasets.load_diabetes()
    columns = dict(zip(diabetes.feature_names, diabetes.data.T, strict=True))
    day = np.datetime64("2020-01-01") + np.arange(442)
    gaps = [None if place % 9 == 0 else place / 7 for place in range(442)]
    yield "diabetes", {**columns, "target": diabetes.target}, "target"
    yield "diabetes odd", {"day": day, "gaps": gaps, **columns, "y": diabetes.target}, "y"
    digits = datasets.load_digits()
    pixels = dict(zip(digits.feature_names, digits.data.T, strict=True))
    yield "digits", {**pixels, "digit": digits.target}, "digit"


REAL = list(_tables())
RUN = {("iris words", "csv"), ("diabetes odd", "parquet")}


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz"])
@pytest.mark.parametrize(("name", "columns", "target"), REAL, ids=[name for name, *_ in REAL])
def test_real_tables_get_a_spec_that_runs(
    name: str, columns: dict[str, Any], target: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"t.{suffix}"
    if suffix == "npz":
        arrays = {
            title: np.asarray([np.nan if each is None else each for each in cells])
            for title, cells in columns.items()
        }
        np.savez(path, **{title.replace("/", " per "): each for title, each in arrays.items()})
    else:
        stored = pa.table({title: pa.array(cells) for title, cells in columns.items()})
        (csv.write_csv if suffix == "csv" else parquet.write_table)(stored, path)
    draft = new_spec(None, str(path), out=tmp_path / "a.ev3")
    assert f"target: {target}" in draft.notes[0]
    for title in ("Id", "day", "gaps"):
        assert (title in columns) == any(f"left out: {title}" in note for note in draft.notes)
    if (name, suffix) in RUN:
        result, _ = _ran(tmp_path / "a.ev3", draft.text, 2)
        assert result.report.iterations == 2


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("content", "target", "words"),
    [
        ("a,b\n", None, "no rows"),
        ("a,b\n1,2\n3\n", None, "row 2"),
        ("a,b\n1.5,0\n2,1\n1,1\n1,0\n3,1\n", None, "too few"),
        ("a,a\n" + "1,2\n" * 50, None, "2 columns"),
        ("a,b\n" + "1,2\n3,4\n" * 50, "c", "no field c"),
        ("a,b\n" + "1,2\n" * 50, "b", "b is the same in every row"),
        ("a,b\n" + "".join(f"{i},w{i}\n" for i in range(50)), "b", "50 different words"),
        ("a,b\n" + "x1,1\nx1,0\n" * 50, "b", "nothing to learn from"),
        ("a,b\n" + "1,2\n2,\n" * 50, "b", "b has no value, or no finite one, in 50 of 100 rows"),
        ("a,split,b\n" + "1,left,2\n2,right,3\n" * 50, None, "none of them is called train"),
        ("a;b\n" + "1;2\n2;3\n" * 50, None, "separated by semicolons"),
    ],
)
def test_a_table_without_a_task_is_refused(
    content: str, target: str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises((NewSpecError, DataError), match=words):
        new_spec("mine", str(path), target)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x93NUMPY\x01\x00"])
def test_a_broken_file_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="broken"):
        new_spec("mine", str(path))


def test_a_file_of_another_kind_is_refused_with_how_to_convert_it(tmp_path: Path) -> None:
    path = tmp_path / "t.xlsx"
    path.write_bytes(b"PK")
    with pytest.raises(NewSpecError) as caught:
        new_spec("mine", str(path))
    assert caught.value.help == (
        f"convert it in Python: t = pandas.read_excel('{path}'); t.to_csv('t.csv', index=False)"
    )


# ---------------------------------------------------------------- the command


def test_the_command_writes_a_new_file_only(tmp_path: Path) -> None:
    out = tmp_path / "a.ev3"
    arguments = ["new", "mine", "--data", "sklearn.iris", "--out", str(out)]
    run = CliRunner().invoke
    assert run(commands, arguments, standalone_mode=False).return_value == 0
    assert "experiment mine" in out.read_text("utf-8")
    before = out.read_bytes()
    assert "is there already" in str(run(commands, arguments, standalone_mode=False).exception)
    assert out.read_bytes() == before


def test_a_spec_in_another_folder_finds_its_data(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(table.parent)
    with pytest.raises(SystemExit) as left:
        main(["new", "--data", "people.csv", "--out", "specs/deep/p.ev3"])
    assert left.value.code == 0
    said = capsys.readouterr()
    assert said.out == "wrote specs/deep/p.ev3, checked it and read the data with it\n"
    assert "target: outcome, the last column" in said.err
    text = Path("specs/deep/p.ev3").read_text("utf-8")
    assert 'csv("../../people.csv")' in text
    plan = experiment(analyze(Source("specs/deep/p.ev3", text))).plan
    assert len(runs.read(plan.data, Path("specs/deep")).tables["explore"]["income"]) == 600


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--data", "none.csv"], 2, "no such file: none.csv"),
        (["--data", "."], 2, ". is a folder"),
        (["--data", "people.csv", "--target", "nothing"], 1, "no field nothing"),
        (["--data", "broken.npz"], 6, "broken.npz is no npz file"),
        (["--data", "what.txt"], 1, "neither a .csv"),
    ],
)
def test_what_is_refused_leaves_nothing(
    arguments: list[str],
    status: int,
    words: str,
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(table.parent)
    Path("broken.npz").write_bytes(b"PK")
    with pytest.raises(SystemExit) as left:
        main(["new", *arguments, "--out", "specs/deep/p.ev3"])
    assert left.value.code == status
    assert words in capsys.readouterr().err
    assert not Path("specs").exists()
