"""What a run says of its data before the first step, with counts and the line to write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ev3lang.runtime import data, suitability
from ev3lang.runtime.events import Compiled, Warned
from tests.runtime.ran import plan_of, ran

DRAW = np.random.default_rng(5)
ROWS = 300
PLAIN = "split explore 60%, assess 15%, adapt 15%, report 10%"


def spec(
    fields: str = "x: f32[3]\nlabel: class[2]",
    split: str = f"{PLAIN} seed 1",
    *,
    value: str = "f1(argmax(net(x)), label)",
    loss: str = "cross_entropy(net(x), label)",
    output: str = "logits(label)",
    rest: str = "",
) -> str:
    return f"""ev3 1
data d = npz("d.npz") {{
{fields}
{split}
batch 16
}}
model net: x -> {output} = mlp(hidden: [4])
loss l = {loss}
objective goal = maximize {value}
{rest}
explore net {{ descend l with sgd(0.1) for 1 steps }}
assess net {{ rank by goal }}
adapt net {{
  accept when goal improves
  stop after 2 iterations
}}
"""


def warned(folder: Path, text: str, **arrays: Any) -> tuple[str, ...]:
    rows = len(next(iter(arrays.values()), np.empty(ROWS)))
    arrays.setdefault("x", DRAW.normal(size=(rows, 3)).astype(np.float32))
    np.savez(folder / "d.npz", **arrays)
    plan = plan_of(text)
    return suitability.warnings(plan, data.read(plan.data, folder).tables)


def labels(ones: int, rows: int = ROWS) -> np.ndarray:
    found = np.zeros(rows, np.int32)
    found[DRAW.permutation(rows)[:ones]] = 1
    return found


def test_a_class_that_a_split_lacks_is_told_with_its_counts(tmp_path: Path) -> None:
    label = labels(4)
    (said,) = warned(tmp_path, spec(), label=label)
    tables = data.read(plan_of(spec()).data, tmp_path).tables
    held = ", ".join(f"{use} {int(table['label'].sum())}" for use, table in tables.items())
    assert said == (
        f"label 1 has 4 of 300 examples ({held}): goal says little or nothing on a split without "
        "it; write `split … stratified by label`"
    )
    # the line mends it, but for how few they are
    (left,) = warned(tmp_path, spec(split=f"{PLAIN} stratified by label"), label=label)
    assert "(explore 1, assess 1, adapt 1, report 1)" in left
    assert "hardly any gain can be shown by them" in left
    assert left.endswith("so that 5 of it are there, or add examples")


def test_fewer_than_there_are_splits_can_only_be_added_to(tmp_path: Path) -> None:
    (said,) = warned(tmp_path, spec(), label=labels(2))
    assert said.endswith("add examples: 2 are too few for 4 splits")


def test_enough_of_every_class_is_no_matter(tmp_path: Path) -> None:
    balanced = spec(split=f"{PLAIN} stratified by label")
    assert warned(tmp_path, balanced, label=labels(100)) == ()
    # right or wrong of each example needs no certain number of a class
    accuracy = spec(split=f"{PLAIN} stratified by label", value="argmax(net(x)) == label")
    assert warned(tmp_path, accuracy, label=labels(12)) == ()


def test_one_class_in_all_data_is_nothing_to_learn(tmp_path: Path) -> None:
    (said,) = warned(tmp_path, spec(), label=np.zeros(ROWS, np.int32))
    assert said.startswith("label 0 is the only class of label in all 300 examples: there is")


def test_a_class_that_explore_lacks_cannot_be_learned(tmp_path: Path) -> None:
    day = np.arange(ROWS, dtype=np.int32)
    text = spec(
        "x: f32[3]\nlabel: class[3]\nday: i32",
        f"{PLAIN} ordered by day",
        value="argmax(net(x)) == label",
    )
    said = warned(tmp_path, text, label=np.repeat([0, 1, 2], 100).astype(np.int32), day=day)
    assert said[0].startswith("label 2 has 100 of 300 examples (explore 0, assess 25, adapt 45")
    assert "what explore lacks can't be learned; `ordered by day` keeps it apart" in said[0]


def test_truths_and_words_are_classes_too(tmp_path: Path) -> None:
    text = spec(
        "x: f32[3]\nword: text[2]\nflag: bool",
        "derive label = word as class[2]\n" + f"{PLAIN} seed 1",
        rest="objective found = maximize flag == (argmax(net(x)) == 1)",
        value="f1(argmax(net(x)), label)",
    )
    text = text.replace("assess net { rank by goal }", "assess net { rank by goal then found }")
    words = np.where(labels(3) == 1, "yes", "no")
    said = "\n".join(warned(tmp_path, text, word=words, flag=labels(2).astype(bool)))
    assert "label 1 has 3 of 300 examples" in said
    assert "flag true has 2 of 300 examples" in said


def test_each_label_of_many_has_its_own_counts(tmp_path: Path) -> None:
    tags = np.stack([labels(150), labels(2), 1 - labels(1)], 1).astype(bool)
    text = spec(
        "x: f32[3]\ntags: multi[3]",
        value="label_f1(net(x), tags)",
        loss="sigmoid_binary_cross_entropy(net(x), tags)",
        output="logits(tags)",
    )
    (said,) = warned(tmp_path, text, tags=tags)
    assert said.startswith("tags 2 has 299 of 300 examples") or "; tags 2 has 299 of 300" in said
    assert "tags 1 has 2 of 300 examples" in said
    assert "tags 0" not in said


def test_labels_that_are_known_for_some_count_there(tmp_path: Path) -> None:
    seen = np.zeros(ROWS, bool)
    label = labels(150)
    seen[np.flatnonzero(label == 0)] = True
    text = spec(
        "x: f32[3]\nlabel: class[2]\nseen: bool",
        f"derive shown = label as class[2]\nshown known where seen\n{PLAIN} stratified by label",
        value="argmax(net(x)) == label",
        loss="cross_entropy(net(x), shown)",
    )
    (said,) = warned(tmp_path, text, label=label, seen=seen)
    assert said.startswith("shown 1 has ")
    assert "(explore 0, " in said


def test_few_groups_are_told(tmp_path: Path) -> None:
    text = spec("x: f32[3]\nlabel: class[2]\nwho: id", f"{PLAIN} grouped by who")
    who = np.arange(ROWS) // 20
    (said,) = warned(tmp_path, text, label=labels(150), who=who)
    assert "fewer than 5 groups by who (explore 9, assess 2, adapt 2, report 2)" in said


def test_groups_of_a_gap_that_a_split_lacks_are_told(tmp_path: Path) -> None:
    text = spec(
        "x: f32[3]\nlabel: class[2]\nsite: text[3]",
        f"{PLAIN} stratified by label",
        rest="metric gap = group_gap(argmax(net(x)) == label, site)",
        value="argmax(net(x)) == label",
    ).replace("rank by goal", "rank by goal\n guard gap <= 50%")
    site = np.where(labels(3) == 1, "c", np.where(labels(150) == 1, "a", "b"))
    (said,) = warned(tmp_path, text, label=labels(150), site=site)
    assert said.startswith("group 2 by site has few examples (explore ")
    assert "gap compares its mean with the others'; write `split … stratified by site`" in said


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_target_that_never_varies_is_told(is_whole: bool, tmp_path: Path) -> None:
    price = np.full(ROWS, 3.5, np.float32)
    if not is_whole:
        price[:200] = DRAW.normal(size=200)
    text = spec(
        "x: f32[3]\nprice: f32\nday: i32",
        f"{PLAIN} ordered by day",
        value="r2_score(net(x), price)",
        loss="squared_error(net(x), price)",
        output="real",
    )
    said = warned(tmp_path, text, price=price, day=np.arange(ROWS, dtype=np.int32))
    if is_whole:
        assert said[0].startswith("price is the same in all examples: there is nothing to predict")
    else:
        assert said[0].startswith("price is the same in all examples of adapt and report: nothing")


def test_an_input_that_never_varies_is_told(tmp_path: Path) -> None:
    text = spec("x: f32[3]\nlabel: class[2]\nday: i32", f"{PLAIN} ordered by day")
    arrays = {"label": labels(150), "day": np.arange(ROWS, dtype=np.int32)}
    said = warned(tmp_path, text, x=np.ones((ROWS, 3), np.float32), **arrays)
    assert said[0] == "x is the same in all examples: leave it out of the model's inputs"
    late = np.ones((ROWS, 3), np.float32)
    late[200:] = DRAW.normal(size=(100, 3))
    said = warned(tmp_path, text, x=late, **arrays)
    assert said[0].startswith("x is the same in all examples of explore, and x not elsewhere")


@pytest.mark.parametrize(
    ("fields", "split", "line"),
    [
        ("", PLAIN, "`split … grouped by FIELD` with a field that copies share"),
        ("\nwho: id", PLAIN, "remove the copies, or write `split … grouped by who`, which"),
        ("\nwho: id", f"{PLAIN} grouped by who", "remove the copies from the data"),
    ],
)
def test_copies_are_told_with_the_line_to_write(
    fields: str, split: str, line: str, tmp_path: Path
) -> None:
    x = DRAW.normal(size=(ROWS, 3)).astype(np.float32)
    x[::2] = x[1::2]
    text = spec(f"x: f32[3]\nlabel: class[2]{fields}", split)
    (said,) = warned(tmp_path, text, x=x, label=labels(150), who=np.arange(ROWS))
    tables = data.read(plan_of(text).data, tmp_path).tables
    counts = data.examples_in_two_splits(tables, ["x"])
    held = ", ".join(f"{n} of {len(tables[use]['x'])} in {use}" for use, n in counts.items())
    assert said.startswith(
        f"{sum(counts.values())} examples have the same inputs as one in another split ({held}): "
    )
    assert line in said


def test_warnings_come_before_the_first_step_and_stay_in_the_folder(tmp_path: Path) -> None:
    x = DRAW.normal(size=(ROWS, 3)).astype(np.float32)
    x[::2] = x[1::2]
    text = spec(value="argmax(net(x)) == label")
    np.savez(tmp_path / "d.npz", x=x, label=labels(3))
    found = ran(text, tmp_path / "out")
    told = [event.what for event in found.of(Warned)]
    assert [words.split()[0] for words in told] == ["label", told[1].split()[0]]
    assert "the same inputs as one in another split" in told[1]
    kinds = [type(event) for event in found.events]
    assert kinds.index(Warned) < kinds.index(Compiled)
    folder = tmp_path / "out"
    for name in ("run.json", "report.json"):
        assert json.loads((folder / name).read_text())["warnings"] == told
