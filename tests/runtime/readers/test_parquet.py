"""parquet files give back what Arrow wrote, row by row, whatever their batches and parts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ev3lang.runtime.readers import arrow
from tests.runtime.readers.declared import columns, fault, read, says


def save(folder: Path, table: pa.Table | dict[str, Any], **options: Any) -> None:
    table = table if isinstance(table, pa.Table) else pa.table(table)
    pq.write_table(table, folder / "x.parquet", **options)


def one(folder: Path, **declared: Any) -> np.ndarray:
    (values,) = read("parquet", folder, columns(**declared), path="x.parquet")[None].values()
    return values


def refused(folder: Path, **declared: Any) -> Any:
    return fault("parquet", folder, columns(**declared), path="x.parquet")


@settings(max_examples=40, deadline=None)
@given(
    parts=st.lists(st.sampled_from(["train", "test", "dev"]), min_size=1, max_size=40),
    group=st.integers(1, 17),
    batch=st.integers(1, 9),
    is_fixed=st.booleans(),
)
def test_every_row_reaches_its_part_in_order(
    parts: list[str],
    group: int,
    batch: int,
    is_fixed: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    rows = np.arange(len(parts))
    pixels = np.stack([rows, rows + 0.5, -rows], axis=1)
    kind = pa.list_(pa.float64(), 3 if is_fixed else -1)
    table = pa.table({"split": parts, "row": rows, "x": pa.array(pixels.tolist(), kind)})
    save(folder, table, row_group_size=group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow, "MOST_ROWS", batch)
        found = read("parquet", folder, columns(row="i32", x="f32[3]"), path="x.parquet")
    assert list(found) == list(dict.fromkeys(parts))
    for part, fields in found.items():
        chosen = np.array([each == part for each in parts])
        np.testing.assert_array_equal(fields["row"], rows[chosen])
        np.testing.assert_array_equal(fields["x"], pixels[chosen].astype(np.float32))


def test_every_kind_of_column_has_its_form_in_memory(tmp_path: Path) -> None:
    save(
        tmp_path,
        {
            "label": pa.array([1, 0], pa.int8()),
            "urgent": [True, False],
            "tags": pa.array([[True, False], [True, True]]),
            "age": pa.array([1.5, 2.5], pa.float16()),
            "price": pa.array([1, 2]).cast(pa.decimal128(30, 2)),
            "ward": pa.array(["north", "ö"]).dictionary_encode(),
            "name": pa.array(["a", "b"], pa.large_string()),
            "person": [7, 2**40],
            "split_of": ["a", "b"],
        },
    )
    declared = columns(
        label="class[2]",
        urgent="bool",
        tags="multi[2]",
        age="f32",
        price="f32",
        ward="text[2]",
        name="id",
        person="id",
    )
    fields = read("parquet", tmp_path, declared, path="x.parquet")[None]
    assert {name: str(values.dtype) for name, values in fields.items()} == {
        "label": "int32",
        "urgent": "bool",
        "tags": "bool",
        "age": "float32",
        "price": "float32",
        "ward": "object",
        "name": "object",
        "person": "int64",
    }
    assert {name: values.tolist() for name, values in fields.items()} == {
        "label": [1, 0],
        "urgent": [True, False],
        "tags": [[True, False], [True, True]],
        "age": [1.5, 2.5],
        "price": [1.0, 2.0],
        "ward": ["north", "ö"],
        "name": ["a", "b"],
        "person": [7, 2**40],
    }


@pytest.mark.parametrize(
    "type_", [pa.list_(pa.list_(pa.uint8(), 3), 2), pa.list_(pa.list_(pa.uint8())), None]
)
def test_an_array_may_be_nested_or_in_one_list(type_: Any, tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 6)
    save(tmp_path, {"image": flat if type_ is None else pa.array(pixels.tolist(), type_)})
    np.testing.assert_array_equal(one(tmp_path, image="u8[2, 3]"), pixels)


def test_arrows_own_tensors(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    save(tmp_path, {"image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels)})
    np.testing.assert_array_equal(one(tmp_path, image="u8[2, 3]"), pixels)


def test_columns_by_number_stand_side_by_side(tmp_path: Path) -> None:
    save(tmp_path, {"a": [9, 9], "b": [1, 2], "c": [3.5, 4.5], "d": [5, 6]})
    values = one(tmp_path, x=("f32[3]", (2, 4)))
    np.testing.assert_array_equal(values, np.array([[1, 3.5, 5], [2, 4.5, 6]], np.float32))


def test_shorter_token_sequences_are_padded(tmp_path: Path) -> None:
    save(tmp_path, {"text": [[3, 1, 2], [], [5]]}, row_group_size=2)
    values = one(tmp_path, text="tokens[9, 4]")
    assert values.tolist() == [[3, 1, 2, -1], [-1] * 4, [5, -1, -1, -1]]
    assert values.dtype == np.int32


def test_a_longer_token_sequence_is_named_with_its_row(tmp_path: Path) -> None:
    save(tmp_path, {"text": [[1], [1, 2, 3], [1, 2, 3, 4]]})
    says(
        refused(tmp_path, text="tokens[9, 2]"),
        "text has 3 tokens in row 2, and tokens[9, 2] holds 2",
        "`text: tokens[9, 4]`",
        field="text",
        row=2,
    )


def test_pictures_are_decoded(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    files = []
    for each in pixels:
        file = io.BytesIO()
        Image.fromarray(each).save(file, "png")
        files.append(file.getvalue())
    save(tmp_path, {"image": [{"bytes": each, "path": None} for each in files], "raw": files})
    np.testing.assert_array_equal(one(tmp_path, image="u8[2, 2, 3]"), pixels)
    np.testing.assert_array_equal(one(tmp_path, raw="u8[2, 2, 3]"), pixels)
    says(refused(tmp_path, raw="u8[4, 4, 3]"), "row 1 is 2 x 2 pixels", "u8[4, 4, 3]")
    says(refused(tmp_path, raw="u8[4]"), "pictures have height, width", "`raw: u8[32, 32, 3]`")


@pytest.mark.parametrize(
    ("stored", "type_", "parts"),
    [
        (
            pa.array([[1, 2]] * 3, pa.list_(pa.float32(), 2)),
            "f32[3]",
            ("float32[2]", "`x: f32[2]`"),
        ),
        (pa.array([[1, 2], [1, 2], [1]]), "f32[2]", ("x has 1 numbers in row 3, and 2 in row 1",)),
        (pa.array([0.5, 1, 2]), "class[3]", ("x is float64", "declares class[3]", "`x: f32`")),
        (pa.array(["a", "b", "c"]), "f32", ("x is text", "declares f32", "declare `x: id`")),
        (pa.array([1, 2, 3], pa.date32()), "i32", ("x holds date32[day]", "store it as numbers")),
        (pa.array([["a"], ["b"], ["c"]]), "f32[1]", ("x holds string",)),
        (pa.array([[0.5], [1], [2]]), "tokens[9, 3]", ("x holds double",)),
    ],
)
def test_another_type_says_what_would_fit(
    stored: pa.Array, type_: str, parts: tuple[str, ...], tmp_path: Path
) -> None:
    save(tmp_path, {"x": stored})
    says(refused(tmp_path, x=type_), "x.parquet: ", *parts, field="x")


@pytest.mark.parametrize(
    ("stored", "type_"),
    [
        (pa.array([0.5, 1, 2, None]), "f32"),
        (pa.array([0, 1, 2, None]), "class[3]"),
        (pa.array(["a", "b", "c", None]), "text[3]"),
        (pa.array(["a", "b", "c", ""]), "id"),
        (pa.array([[1, 2], [1, 2], [1, 2], None]), "f32[2]"),
        (pa.array([[1, 2], [1, 2], [1, 2], [1, None]], pa.list_(pa.float64(), 2)), "f32[2]"),
        (pa.array([[1, 2], [], [1], [None]]), "tokens[9, 3]"),
        (pa.array([[[1], [2]]] * 3 + [[[1], [None]]]), "f32[2, 1]"),
    ],
)
def test_a_missing_value_is_named_with_its_row(
    stored: pa.Array, type_: str, tmp_path: Path
) -> None:
    save(tmp_path, {"x": stored}, row_group_size=3)
    says(refused(tmp_path, x=type_), "x has no value in row 4", field="x", row=4)


def test_a_value_that_does_not_fit_is_named_with_its_row_in_the_file(tmp_path: Path) -> None:
    save(
        tmp_path,
        {"x": [1, 2, 2**40, 4], "split": ["a", "b", "b", "a"]},
        row_group_size=2,
    )
    says(refused(tmp_path, x="i32"), "x is 1099511627776 in row 3", row=3)


def test_a_missing_column_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    save(tmp_path, {"label": [1], "age": [2]})
    says(refused(tmp_path, lable="class[3]"), "no column `lable`; it has age, label", "`label`")


def test_a_row_without_a_part(tmp_path: Path) -> None:
    save(tmp_path, {"x": [1, 2], "split": ["train", None]})
    says(refused(tmp_path, x="i32"), "column `split` says nothing in row 2", row=2)


def test_more_columns_than_there_are(tmp_path: Path) -> None:
    save(tmp_path, {"a": [1], "b": [2]})
    says(refused(tmp_path, x=("f32[3]", (1, 3))), "has 2 columns", "from columns 1 to 3")


def test_a_file_without_rows(tmp_path: Path) -> None:
    save(tmp_path, {"x": pa.array([], pa.float64())})
    says(refused(tmp_path, x="f32"), "has no rows")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_a_file_that_was_cut_off(share: float, tmp_path: Path) -> None:
    save(tmp_path, {"x": np.arange(1000.0)})
    whole = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[: int(len(whole) * share)])
    says(refused(tmp_path, x="f32"), "x.parquet is no parquet file, or is damaged")


def test_a_damaged_page(tmp_path: Path) -> None:
    save(
        tmp_path,
        {"x": np.random.default_rng(0).normal(size=10_000)},
        compression="zstd",
        use_dictionary=False,
        write_page_checksum=True,
    )
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    data[len(data) // 2] ^= 255
    (tmp_path / "x.parquet").write_bytes(data)
    says(refused(tmp_path, x="f32"), "x.parquet is no parquet file, or is damaged")
