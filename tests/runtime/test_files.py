"""Data from files, from their specs to the four splits: what is read, refused and recorded."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from ev3lang.check.typed import SPLITS
from ev3lang.compile import load
from ev3lang.plan.show import examples_of
from ev3lang.runtime.data import Dataset, read
from ev3lang.runtime.events import Compiled, Event, Warned
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.run import run

REST = """
model net: {inputs} -> logits(label) = mlp(hidden: [4])
loss entropy = cross_entropy({call}, label)
objective accuracy = maximize argmax({call}) == label
explore net {{ descend entropy with adamw(1e-2) for 2 steps }}
assess net {{ rank by accuracy }}
adapt net {{ accept when accuracy improves; stop after 2 iterations }}
"""

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(200, 3)).astype(np.float32)
LABEL = np.arange(200, dtype=np.int32) % 4
BELIEF = GENERATOR.dirichlet(np.ones(4), size=200)


def store(folder: Path, **arrays: np.ndarray) -> None:
    np.savez(folder / "d.npz", **arrays)  # type: ignore[arg-type]


def written(folder: Path, block: str, inputs: str = "x", call: str | None = None) -> Path:
    """A spec in that folder with such a data block."""
    path = folder / "spec.ev3"
    rest = REST.format(inputs=inputs, call=call or f"net({inputs})")
    path.write_text(f"ev3 1\n{block}\n{rest}", encoding="utf-8")
    return path


def dataset(folder: Path, block: str, inputs: str = "x") -> Dataset:
    experiment = load(written(folder, block, inputs))
    return read(experiment.plan.data, experiment.source.folder)


def fault(folder: Path, block: str) -> DataError:
    with pytest.raises(DataError) as caught:
        dataset(folder, block)
    return caught.value


def block(lines: str, file: str = 'npz("d.npz")') -> str:
    return f"data d = {file} {{\n{lines}\nbatch 8\n}}"


PLAIN = "x: f32[3]\nlabel: class[4]"

# ---------------------------------------------------------------- what is read


def test_a_field_has_the_name_that_the_spec_gives_it(tmp_path: Path) -> None:
    store(tmp_path, batch=X, label=LABEL)
    tables = dataset(tmp_path, block('x: f32[3] from "batch"\nlabel: class[4]')).tables
    assert [len(tables[use]["x"]) for use in SPLITS] == [120, 30, 30, 20]
    # every row is still with its label
    of_row = {row.tobytes(): label for row, label in zip(X, LABEL, strict=True)}
    for table in tables.values():
        for row, label in zip(table["x"], table["label"], strict=True):
            assert of_row[row.tobytes()] == label


def test_a_field_is_made_of_numbered_columns(tmp_path: Path) -> None:
    lines = ["a,b,c,label"] + [
        f"{a},{b},{c},{label}" for (a, b, c), label in zip(X, LABEL, strict=True)
    ]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    made = "x: f32[3] from columns 1 to 3\nlabel: class[4]"
    tables = dataset(tmp_path, block(made, 'csv("d.csv")')).tables
    rows = np.concatenate([tables[use]["x"] for use in SPLITS])
    np.testing.assert_allclose(rows[np.lexsort(rows.T)], X[np.lexsort(X.T)], rtol=1e-6)


def test_two_fields_of_one_array_are_dealt_out_alike(tmp_path: Path) -> None:
    store(tmp_path, x=X, label=LABEL)
    lines = f'{PLAIN}\nagain: f32[3] from "x"\nderive twin = label as class[4]'
    tables = dataset(tmp_path, block(lines)).tables
    for table in tables.values():
        np.testing.assert_array_equal(table["x"], table["again"])
        np.testing.assert_array_equal(table["label"], table["twin"])


def test_splits_come_from_the_parts_of_the_file(tmp_path: Path) -> None:
    parts = {"train": slice(0, 150), "test": slice(150, 200)}
    store(
        tmp_path,
        **{f"{part}/x": X[rows] for part, rows in parts.items()},
        **{f"{part}/label": LABEL[rows] for part, rows in parts.items()},
    )
    drawn = (
        f"{PLAIN}\nrows 150 in train, 50 in test\n"
        "split explore from train 70%, assess from train 20%, adapt from train 10%,"
        " report from test stratified by label"
    )
    tables = dataset(tmp_path, block(drawn)).tables
    assert [len(tables[use]["x"]) for use in SPLITS] == [105, 30, 15, 50]
    assert {row.tobytes() for row in tables["report"]["x"]} == {row.tobytes() for row in X[150:]}
    for table in tables.values():
        counts = np.bincount(table["label"], minlength=4)
        assert counts.max() - counts.min() <= 1
    mixed = (
        "split explore from all 60%, assess from all 15%, adapt from all 15%, report from all 10%"
    )
    whole = dataset(tmp_path, block(f"{PLAIN}\nrows 200\n{mixed}")).tables
    assert sum(len(table["x"]) for table in whole.values()) == 200

    said = fault(tmp_path, block(drawn.replace("50 in test", "60 in test")))
    assert "d.npz has 50 rows in test, and the spec says 60" in str(said)
    assert not said.is_spec_fault
    said = fault(
        tmp_path,
        block(drawn.replace("from test", "from valid").replace(", 50 in test", ", 9 in valid")),
    )
    assert "d.npz has no part `valid`: it has train, test" in str(said)


def test_a_word_has_the_same_number_in_every_part(tmp_path: Path) -> None:
    words = {"train": np.array(["ant", "bee", "cat"] * 30), "test": np.array(["bee", "cat"] * 10)}
    arrays = {f"{part}/word": each for part, each in words.items()}
    labels = {f"{part}/label": np.zeros(len(each), np.int32) for part, each in words.items()}
    store(tmp_path, **arrays, **labels)
    drawn = (
        "word: text[3]\nlabel: class[4]\nsplit explore from train 70%, assess from train 20%,"
        " adapt from train 10%, report from test"
    )
    tables = dataset(tmp_path, block(drawn), "word").tables
    assert np.bincount(tables["report"]["word"]).tolist() == [0, 10, 10]
    assert set(tables["explore"]["word"]) == {0, 1, 2}
    said = fault(tmp_path, block(f"{drawn.replace('text[3]', 'text[2]')}\nx: f32"))
    assert said.field in ("x", "word")


def test_a_column_of_words_can_be_the_label(tmp_path: Path) -> None:
    words = np.array(["tulip", "iris", "rose", "aster"])[LABEL]
    store(tmp_path, x=X, word=words)
    lines = "x: f32[3]\nword: text[4]\nderive label = word as class[4]"
    shares = "split explore 60%, assess 15%, adapt 15%, report 10% stratified by label"
    tables = dataset(tmp_path, block(f"{lines}\n{shares}")).tables
    # the labels are the places of the words among all of them in order
    places = np.unique(words, return_inverse=True)[1]
    expected = {row.tobytes(): place for row, place in zip(X, places, strict=True)}
    for table in tables.values():
        assert [expected[row.tobytes()] for row in table["x"]] == table["label"].tolist()
        counts = np.bincount(table["label"], minlength=4)
        assert counts.max() - counts.min() <= 1


def test_bytes_stay_bytes_and_are_measured_as_fractions(tmp_path: Path) -> None:
    images = GENERATOR.integers(0, 256, (200, 4, 4, 3), np.uint8)
    store(tmp_path, x=images, label=LABEL)
    got = dataset(tmp_path, block("x: u8[4, 4, 3]\nlabel: class[4]\nnormalize x"))
    explore = got.tables["explore"]["x"]
    assert explore.dtype == np.uint8
    mean, std = got.statistics["x"]
    scaled = explore.astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, scaled.std((0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("count", [3, 4, 30])
def test_a_field_is_known_for_exactly_so_many_examples(tmp_path: Path, count: int) -> None:
    store(tmp_path, x=X, label=LABEL)
    shown = f"{PLAIN}\nderive shown = label as class[4]\nshown known for {count} examples"
    table = dataset(tmp_path, block(shown)).tables["explore"]
    assert table["shown known"].sum() == count
    by_label = np.bincount(table["label"][table["shown known"]], minlength=4)
    assert by_label.max() - by_label.min() <= 1
    again = dataset(tmp_path, block(shown)).tables["explore"]
    np.testing.assert_array_equal(table["shown known"], again["shown known"])


def test_a_mask_of_the_file_says_what_is_known(tmp_path: Path) -> None:
    seen = GENERATOR.random(200) < 0.2
    store(tmp_path, x=X, label=LABEL, seen=seen)
    shown = f"{PLAIN}\nseen: bool\nderive shown = label as class[4]\nshown known where seen"
    table = dataset(tmp_path, block(shown)).tables["explore"]
    np.testing.assert_array_equal(table["shown known"], table["seen"])
    store(tmp_path, x=X, label=LABEL, seen=np.zeros(200, bool))
    assert "holds for none of the 120" in str(fault(tmp_path, block(shown)))


def test_probabilities_may_be_missing_where_a_mask_says_so(tmp_path: Path) -> None:
    seen = np.arange(200) % 2 == 0
    belief = np.where(seen[:, None], BELIEF, 0)
    lines = f"{PLAIN}\nseen: bool\nbelief: probs[4]"
    store(tmp_path, x=X, label=LABEL, seen=seen, belief=belief)
    assert "belief sums to 0 in row 2" in str(fault(tmp_path, block(lines)))
    known = block(f"{lines}\nbelief known where seen")
    assert dataset(tmp_path, known).tables["explore"]["belief known"].any()
    belief[6] = 0.5
    store(tmp_path, x=X, label=LABEL, seen=seen, belief=belief)
    said = fault(tmp_path, known)
    assert "belief sums to 2 in row 7" in str(said)
    assert said.row == 7


def test_names_become_numbers_that_tell_them_apart(tmp_path: Path) -> None:
    who = np.array([f"p{number % 50}" for number in range(200)])
    store(tmp_path, x=X, label=LABEL, who=who)
    grouped = (
        f"{PLAIN}\nwho: id\nsplit explore 60%, assess 15%, adapt 15%, report 10% grouped by who"
    )
    tables = dataset(tmp_path, block(grouped)).tables
    held = [set(tables[use]["who"].tolist()) for use in SPLITS]
    assert sum(map(len, held)) == len(set.union(*held)) == 50
    assert all(table["who"].dtype == np.int32 for table in tables.values())


def test_stated_groups_are_compared_with_the_file(tmp_path: Path) -> None:
    who = np.array([f"p{number % 50}" for number in range(200)])
    store(tmp_path, x=X, label=LABEL, who=who)
    lines = (
        f"{PLAIN}\nwho: id\nsplit explore 60%, assess 15%, adapt 15%, report 10% grouped by who in "
    )
    assert dataset(tmp_path, block(f"{lines}50 groups of up to 4 examples")).tables
    for units in ("49 groups", "50 groups of up to 3 examples"):
        said = str(fault(tmp_path, block(f"{lines}{units}")))
        assert "50 groups by who, the largest of 4 examples" in said


def test_a_group_of_two_parts_of_the_file_is_refused(tmp_path: Path) -> None:
    """The file's own test rows are of people that explore has too."""
    who = np.arange(200) % 50
    np.savez(
        tmp_path / "d.npz",
        **{f"train/{name}": each for name, each in (("x", X), ("label", LABEL), ("who", who))},
        **{f"test/{name}": each for name, each in (("x", X), ("label", LABEL), ("who", who + 49))},
    )
    lines = (
        f"{PLAIN}\nwho: id\n"
        "split explore from train 60%, assess from train 20%, adapt from train 20%, "
        "report from test grouped by who"
    )
    said = str(fault(tmp_path, block(lines)))
    assert "1 groups by who are in both" in said
    assert "such as 49" in said


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("lines", "arrays", "words", "row"),
    [
        (PLAIN, {"label": np.where(np.arange(200) == 6, 4, LABEL)}, "label is 4 in row 7", 7),
        (PLAIN, {"x": np.where(np.arange(200)[:, None] == 9, np.nan, X)}, "in row 10", 10),
        (
            f"{PLAIN}\nwords: tokens[9, 5]",
            {"words": np.full((200, 5), -2, np.int32)},
            "tokens -1 (padding) to 8",
            1,
        ),
        (
            f"{PLAIN}\ntags: multi[2]",
            {"tags": np.full((200, 2), 2, np.int32)},
            "neither 0 nor 1",
            1,
        ),
        (f"{PLAIN}\nweight: f32", {"weight": np.full(200, np.inf, np.float32)}, "not a finite", 1),
        (f"{PLAIN}\nteacher: logits[4]", {"teacher": np.zeros((99, 4), np.float32)}, "99", None),
        (f"{PLAIN}\nbelief: probs[4]", {"belief": 100 * BELIEF}, "belief sums to 100 in row 1", 1),
        (
            f"{PLAIN}\nbelief: probs[4]",
            {"belief": np.where(np.arange(200)[:, None] == 3, BELIEF - 0.2, BELIEF)},
            "in row 4",
            4,
        ),
        (
            f"{PLAIN}\nbelief: log_probs[4]",
            {"belief": np.log(BELIEF) + 0.1},
            "has probabilities that sum to 1.105 in row 1",
            1,
        ),
        (f"{PLAIN}\nbelief: probs[4]", {"belief": np.full((200, 4), np.nan)}, "not a finite", 1),
        (f"{PLAIN}\nrows 300", {}, "has 200 rows, and the spec says 300", None),
    ],
)
def test_values_that_do_not_fit_name_file_field_and_row(
    tmp_path: Path, lines: str, arrays: dict[str, np.ndarray], words: str, row: int | None
) -> None:
    store(tmp_path, **{"x": X, "label": LABEL, **arrays})
    said = fault(tmp_path, block(lines))
    assert "d.npz" in str(said)
    assert words in str(said)
    assert said.row == row
    assert said.help
    assert not said.is_spec_fault


def test_a_row_of_a_part_is_named_with_its_part(tmp_path: Path) -> None:
    wrong = np.where(np.arange(50) == 2, 9, LABEL[:50])
    store(
        tmp_path,
        **{"train/x": X[:150], "train/label": LABEL[:150], "test/x": X[150:], "test/label": wrong},
    )
    drawn = (
        f"{PLAIN}\nsplit explore from train 70%, assess from train 20%, adapt from train 10%,"
        " report from test"
    )
    assert "label is 9 in row 3 of test" in str(fault(tmp_path, block(drawn)))


def test_a_set_smaller_than_a_batch_is_a_fault_of_the_spec(tmp_path: Path) -> None:
    store(tmp_path, x=X[:10], label=LABEL[:10])
    said = fault(tmp_path, block(PLAIN))
    assert "a batch of 8 is larger than the explore split" in str(said)
    assert said.is_spec_fault


# ---------------------------------------------------------------- what is told


def test_odd_data_are_warned_of(tmp_path: Path) -> None:
    day = np.arange(200, dtype=np.int32) // 23
    store(tmp_path, x=X, label=np.sort(LABEL), day=day, teacher=-np.eye(4)[LABEL])
    lines = (
        f"{PLAIN}\nday: i32\nteacher: logits[4]\n"
        "split explore 60%, assess 15%, adapt 15%, report 10% ordered by day"
    )
    said = "\n".join(dataset(tmp_path, block(lines)).warnings)
    assert "the examples rather than 15.0%: what is of one time by day stays whole" in said
    assert "teacher agrees with label in" in said
    store(tmp_path, x=X, label=LABEL, teacher=np.eye(4)[LABEL])
    assert dataset(tmp_path, block(f"{PLAIN}\nteacher: logits[4]")).warnings == ()


def test_a_folder_is_recorded_by_all_that_is_in_it(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(20):
            pixels = GENERATOR.integers(0, 256, (4, 4, 3), np.uint8)
            image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    pets = block("image: u8[4, 4, 3]\nlabel: class[2]", 'image_folder("pets")')
    (first,) = dataset(tmp_path, pets, "image").files
    (same,) = dataset(tmp_path, pets, "image").files
    assert first == same
    assert first.size_bytes == sum(each.stat().st_size for each in tmp_path.glob("pets/*/*"))
    (tmp_path / "pets/cat/0.png").rename(tmp_path / "pets/cat/x.png")
    (other,) = dataset(tmp_path, pets, "image").files
    assert other.sha256 != first.sha256


# ---------------------------------------------------------------- whole runs


@pytest.fixture
def stand_ins(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("stand_ins", repository / "specs/stand_ins.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_reads_the_file_beside_its_spec_and_records_it(
    repository: Path, stand_ins: ModuleType, tmp_path: Path
) -> None:
    text = (repository / "specs/table.ev3").read_text()
    for said, small in [("4_000", "400"), ("batch 100", "batch 20"), ("15 iter", "1 iter")]:
        assert said in text
        text = text.replace(said, small)
    (tmp_path / "table.ev3").write_text(text)
    file = stand_ins.visits(tmp_path / "data/visits.csv", 400)
    out = tmp_path / "out"
    done = ran(tmp_path / "table.ev3", "--out", str(out), "--quiet")
    assert not done.stderr
    record = json.loads((out / "run.json").read_text())
    assert record["data"] == [
        {
            "path": "data/visits.csv",
            "size_bytes": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
    ]


def ran(spec: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """A run from another folder than the spec's."""
    return subprocess.run(
        [sys.executable, "-m", "ev3lang", "run", str(spec), *options],
        capture_output=True,
        check=False,
        text=True,
        timeout=110,
    )


def test_broken_data_end_a_run_with_6_and_a_wrong_spec_with_1(tmp_path: Path) -> None:
    store(tmp_path, x=X, label=LABEL + 1)
    spec = written(tmp_path, block(PLAIN))
    out = ["--out", str(tmp_path / "out")]
    broken = ran(spec, *out)
    assert broken.returncode == 6
    assert "label is 4 in row 4" in broken.stderr
    assert "Traceback" not in broken.stderr
    store(tmp_path, x=X[:8], label=LABEL[:8])
    assert ran(spec, *out).returncode == 1
    assert not (tmp_path / "out").exists()


def test_what_of_the_files_is_not_read_is_said_before_the_first_step(tmp_path: Path) -> None:
    for k in range(80):
        name = tmp_path / "pictures" / "ab"[k % 2] / f"{k}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        pixels = GENERATOR.integers(0, 256, (4, 4), np.uint8)
        Image.fromarray(pixels).save(name)
    deeper = tmp_path / "pictures" / "a" / "more"
    deeper.mkdir()
    Image.fromarray(pixels).save(deeper / "x.png")
    lines = "image: u8[4, 4]\nlabel: class[2]"
    path = written(tmp_path, block(lines, 'image_folder("pictures")'), "image")
    experiment = load(path)
    heard: list[Event] = []
    result = run(
        experiment.plan, experiment.source, on="cpu", out=tmp_path / "out", listen=heard.append
    )
    what = f"pictures deeper than a class's folder, not read: 1, {deeper / 'x.png'}"
    places = [k for k, each in enumerate(heard) if each == Warned(what)]
    (compiled,) = (k for k, each in enumerate(heard) if isinstance(each, Compiled))
    assert len(places) == 1
    assert places[0] < compiled
    assert result.report.warnings.count(what) == 1


def test_all_parts_as_one_are_counted_before_they_are_read(tmp_path: Path) -> None:
    mixed = "explore from all 60%, assess from all 20%, adapt from all 10%, report from all 10%"
    for rows, expected in (
        ("rows 150 in train, 50 in test", [120, 40, 20, 20]),
        ("rows 200", [120, 40, 20, 20]),
    ):
        plan = load(written(tmp_path, block(f"{PLAIN}\n{rows}\nsplit {mixed}"))).plan.data
        sizes = examples_of(plan)
        assert sizes is not None
        assert [sizes[use] for use in SPLITS] == expected
        parts = {"train": slice(0, 150), "test": slice(150, 200)}
        arrays = {f"{part}/x": X[rows] for part, rows in parts.items()}
        store(tmp_path, **arrays, **{f"{part}/label": LABEL[rows] for part, rows in parts.items()})
        tables = read(plan, tmp_path).tables
        assert [len(tables[use]["x"]) for use in SPLITS] == expected
