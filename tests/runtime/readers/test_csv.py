"""csv files are read as the spec declares their columns, quotes and all."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runtime.readers.declared import columns, fault, read, says

PATIENTS = columns(age="f32", urgent="bool", ward="text[3]", returned="class[2]")
TEXT = """age,urgent,ward,returned
1.5,true,north,0
"2",false,"a, ""b""
c",1
-3e2,1,NA,0
"""


def save(folder: Path, text: str | bytes) -> None:
    (folder / "x.csv").write_bytes(text.encode() if isinstance(text, str) else text)


def test_cells_are_what_the_spec_declares(tmp_path: Path) -> None:
    save(tmp_path, TEXT)
    fields = read("csv", tmp_path, PATIENTS, path="x.csv")[None]
    assert {name: (str(each.dtype), each.tolist()) for name, each in fields.items()} == {
        "age": ("float32", [1.5, 2.0, -300.0]),
        "urgent": ("bool", [True, False, True]),
        "ward": ("object", ["north", 'a, "b"\nc', "NA"]),
        "returned": ("int32", [0, 1, 0]),
    }


def test_an_id_of_digits_stays_text(tmp_path: Path) -> None:
    save(tmp_path, "person,x\n007,1\n0.50,2\n")
    person = read("csv", tmp_path, columns(person="id"), path="x.csv")[None]["person"]
    assert person.tolist() == ["007", "0.50"]


cells = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), min_size=1, max_size=8
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(cells, st.floats(width=32), cells), min_size=1, max_size=8))
def test_whatever_python_quotes_comes_back(
    rows: list[tuple[str, float, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("csv")
    with (folder / "x.csv").open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["a", "number", "b, c"])
        writer.writerows(
            (a, "inf" if np.isinf(x) else 0 if np.isnan(x) else x, b) for a, x, b in rows
        )
    declared = columns(a="id", number="f32", b=("id", "b, c"))
    fields = read("csv", folder, declared, path="x.csv")[None]
    assert fields["a"].tolist() == [a for a, _, _ in rows]
    assert fields["b"].tolist() == [b for _, _, b in rows]
    expected = [np.inf if np.isinf(x) else 0 if np.isnan(x) else x for _, x, _ in rows]
    np.testing.assert_array_equal(fields["number"], np.array(expected, np.float32))


def test_columns_by_number(tmp_path: Path) -> None:
    save(tmp_path, "y,a,b,c\n1,0.5,1,2\n0,3,4,5\n")
    declared = columns(features=("f32[3]", (2, 4)), y="class[2]")
    fields = read("csv", tmp_path, declared, path="x.csv")[None]
    assert fields["features"].tolist() == [[0.5, 1, 2], [3, 4, 5]]
    assert fields["y"].tolist() == [1, 0]


def test_a_column_split_names_the_part(tmp_path: Path) -> None:
    save(tmp_path, "x,split\n1,train\n2,test\n3,train\n")
    parts = read("csv", tmp_path, columns(x="i32"), path="x.csv")
    assert {part: fields["x"].tolist() for part, fields in parts.items()} == {
        "train": [1, 3],
        "test": [2],
    }


def test_one_column_may_be_two_fields(tmp_path: Path) -> None:
    save(tmp_path, "x\n1\n2\n")
    fields = read("csv", tmp_path, columns(x="f32", y=("class[3]", "x")), path="x.csv")[None]
    assert fields["x"].dtype == np.float32
    assert fields["y"].dtype == np.int32


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    save(tmp_path, "\ufeffx,y\n1,2\n")
    assert read("csv", tmp_path, columns(x="i32"), path="x.csv")[None]["x"].tolist() == [1]


@pytest.mark.parametrize(
    ("text", "declared", "parts", "row"),
    [
        ("x,y\n1,a\n,b\n", {"x": "f32"}, ("x has no value in row 2",), 2),
        ("x,y\n1,a\nNaN,b\n", {"x": "f32"}, ("x has no value in row 2",), 2),
        ("x,y\n1,a\n2,\n", {"y": "text[2]"}, ("y has no value in row 2",), 2),
        ("x,y\n1,a\n2,b\nc3,d\n", {"x": "f32"}, ("x is `c3` in row 3, which is not a number",), 3),
        ("x,y\n1,a\n,b\n2.5,d\n", {"x": "class[3]"}, ("x is `2.5` in row 3", "whole number"), 3),
        ("x,y\n1,a\nyes,b\n", {"x": "bool"}, ("x is `yes` in row 2", "true or false"), 2),
        ("x,y\n1,a\n300,b\n", {"x": "u8"}, ("x is `300` in row 2", "from 0 to 255"), 2),
        ("x,y\n1,a\n2\n3,c\n", {"x": "f32"}, ("has 1 cells in row 2, and 2 names",), 2),
        ("x,y\n1,a\n2,b,c\n", {"x": "f32"}, ("has 3 cells in row 2, and 2 names",), 2),
        ("x,y\n1,a\n1e99,b\n", {"x": "f32"}, ("x is 1e+99 in row 2, which is beyond float32",), 2),
        ("x,split\n1,a\n2,\n", {"x": "f32"}, ("column `split` says nothing in row 2",), 2),
    ],
)
def test_a_bad_cell_is_named_with_its_row(
    text: str, declared: dict[str, str], parts: tuple[str, ...], row: int, tmp_path: Path
) -> None:
    save(tmp_path, text)
    error = fault("csv", tmp_path, columns(**declared), path="x.csv")
    says(error, "x.csv", *parts, row=row)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("y,z\n1,2\n", ("no column `x`; it has y, z",)),
        ("x;y\n1;2\n", ("separated by semicolons, not commas",)),
        ("x,x\n1,2\n", ("has 2 columns that are named `x`",)),
        ("x,y\n", ("has no rows",)),
        (b"x,y\n1,a\n2,\xe4\n", ("no UTF-8 text in line 3", "save it as UTF-8")),
        (b"x,\xe4\n1,a\n", ("no UTF-8 text in line 1",)),
        ("x,y\n1,a\n".encode("utf-16"), ("no UTF-8 text in line 1",)),
    ],
)
def test_a_bad_file_says_what_is_wrong(
    text: str | bytes, parts: tuple[str, ...], tmp_path: Path
) -> None:
    save(tmp_path, text)
    error = fault("csv", tmp_path, columns(x="f32", y="id"), path="x.csv")
    says(error, "x.csv", *parts)
