"""npz files give back what NumPy wrote, and nothing that the spec does not declare."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from tests.runtime.readers.declared import columns, fault, read, says

IMAGES = columns(image="u8[2, 3]", label="class[4]")


def save(folder: Path, **arrays: Any) -> None:
    np.savez(folder / "x.npz", **arrays)


def good(rows: int = 5) -> dict[str, np.ndarray]:
    return {
        "image": np.arange(rows * 6, dtype=np.uint8).reshape(rows, 2, 3),
        "label": np.arange(rows) % 4,
    }


shapes = st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=40, deadline=None)
@given(
    values=arrays_of.arrays(
        st.sampled_from([np.float16, np.float32, np.int8, np.uint16, np.int32, ">f4", ">i2"]),
        shapes,
    ),
    is_fortran=st.booleans(),
    is_packed=st.booleans(),
)
def test_any_real_numbers_become_float32(
    values: np.ndarray,
    is_fortran: bool,
    is_packed: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("npz")
    stored = np.asfortranarray(values) if is_fortran else values
    (np.savez_compressed if is_packed else np.savez)(folder / "x.npz", x=stored)
    declared = columns(x=f"f32[{values.shape[1]}, {values.shape[2]}]")
    x = read("npz", folder, declared, path="x.npz")[None]["x"]
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, values.astype(np.float32))


def test_every_kind_of_field_has_its_form_in_memory(tmp_path: Path) -> None:
    stored = {
        "image": np.arange(12, dtype=np.uint8).reshape(2, 3, 2),
        "label": np.array([1, 0], np.int64),
        "tags": np.array([[0, 1], [1, 1]], np.uint8),
        "urgent": np.array([True, False]),
        "scores": np.array([[0.5, 1], [2, 3]]),
        "words": np.array([[3, -1], [4, 5]], np.int16),
        "ward": np.array(["north", "ö"]),
        "person": np.array([7, 2**40]),
        "name": np.array([b"a", b"bc"]),
        "age": np.array([1.5, 2.5]),
    }
    save(tmp_path, **stored)
    declared = columns(
        image="u8[3, 2]",
        label="class[2]",
        tags="multi[2]",
        urgent="bool",
        scores="logits[2]",
        words="tokens[9, 2]",
        ward="text[2]",
        person="id",
        name="id",
        age="f32",
    )
    (fields,) = read("npz", tmp_path, declared, path="x.npz").values()
    dtypes = {name: str(values.dtype) for name, values in fields.items()}
    assert dtypes == {
        "image": "uint8",
        "label": "int32",
        "tags": "bool",
        "urgent": "bool",
        "scores": "float32",
        "words": "int32",
        "ward": "object",
        "person": "int64",
        "name": "object",
        "age": "float32",
    }
    assert fields["ward"].tolist() == ["north", "ö"]
    assert fields["name"].tolist() == ["a", "bc"]
    for name in set(stored) - {"name"}:
        np.testing.assert_array_equal(fields[name], stored[name])


def test_a_slash_names_the_part(tmp_path: Path) -> None:
    train, test = good(5), good(3)
    save(
        tmp_path,
        **{f"train/{name}": each for name, each in train.items()},
        **{f"test/{name}": each for name, each in test.items()},
    )
    parts = read("npz", tmp_path, IMAGES, path="x.npz")
    assert list(parts) == ["train", "test"]
    np.testing.assert_array_equal(parts["train"]["image"], train["image"])
    np.testing.assert_array_equal(parts["test"]["label"], test["label"])


def test_a_field_may_have_another_name_in_the_file(tmp_path: Path) -> None:
    save(tmp_path, batch=np.ones((3, 2), np.float32))
    declared = columns(size=("f32[2]", "batch"))
    assert read("npz", tmp_path, declared, path="x.npz")[None]["size"].shape == (3, 2)


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    save(tmp_path, **good())
    parts = read("npz", Path("elsewhere"), IMAGES, path=str(tmp_path / "x.npz"))
    assert len(parts[None]["label"]) == 5


def test_only_declared_arrays_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", **good(), large=np.zeros(50_000_000, np.uint8))
    tracemalloc.start()
    read("npz", tmp_path, IMAGES, path="x.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("arrays", "parts"),
    [
        ({"image": np.zeros((5, 2), np.uint8)}, ("image is uint8[2]", "u8[2, 3]", "u8[2]")),
        (
            {"image": np.zeros((5, 2, 3), np.float32)},
            ("image is float32[2, 3]", "declares u8[2, 3]", "declare `image: f32[2, 3]`"),
        ),
        ({"image": np.zeros((5, 2, 3), np.int64)}, ("int64[2, 3]", "`image: i32[2, 3]`")),
        ({"image": np.zeros((5, 2, 3), complex)}, ("complex128[2, 3]", "store image as bytes")),
        ({"label": np.zeros(5)}, ("label is float64", "class[4]", "declare `label: f32`")),
        ({"label": np.zeros((5, 4), bool)}, ("label is bool[4]", "declare `label: multi[4]`")),
        ({"label": np.array(["a"] * 5)}, ("label is text", "class[4]", "declare `label: id`")),
    ],
)
def test_another_shape_or_dtype_says_what_would_fit(
    arrays: dict[str, np.ndarray], parts: tuple[str, ...], tmp_path: Path
) -> None:
    save(tmp_path, **{**good(), **arrays})
    error = fault("npz", tmp_path, IMAGES, path="x.npz")
    says(error, "x.npz: ", *parts, field=next(iter(arrays)))


def test_a_missing_field_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    save(tmp_path, image=good()["image"], labels=good()["label"])
    error = fault("npz", tmp_path, IMAGES, path="x.npz")
    says(error, "x.npz has no array `label`", "`labels`", field="label")


def test_a_field_that_one_part_lacks(tmp_path: Path) -> None:
    train, test = good(), good()
    save(
        tmp_path,
        **{f"train/{name}": each for name, each in train.items()},
        **{"test/image": test["image"]},
    )
    says(fault("npz", tmp_path, IMAGES, path="x.npz"), "part test of", "has no array `label`")


def test_unequal_row_counts(tmp_path: Path) -> None:
    save(tmp_path, image=good(5)["image"], label=good(4)["label"])
    error = fault("npz", tmp_path, IMAGES, path="x.npz")
    says(error, "label has 4 rows", "image has 5", field="label")


def test_a_file_without_rows(tmp_path: Path) -> None:
    save(tmp_path, **good(0))
    says(fault("npz", tmp_path, IMAGES, path="x.npz"), "has no rows")


def test_a_single_number_is_no_column(tmp_path: Path) -> None:
    save(tmp_path, x=np.float32(3))
    says(fault("npz", tmp_path, columns(x="f32"), path="x.npz"), "x is a single float32")


@pytest.mark.parametrize(
    ("type_", "values", "why"),
    [
        ("f32", [1.0, 1e300, 2.0], "is 1e+300 in row 2, which is beyond float32"),
        ("i32", [1, 2, 2**31], "is 2147483648 in row 3, which is beyond int32"),
        ("class[3]", [-(2**31) - 1, 0, 0], "in row 1, which is beyond int32"),
        ("bool", [0, 1, 2], "is 2 in row 3, which is neither 0 nor 1"),
    ],
)
def test_a_number_that_does_not_fit_is_named_with_its_row(
    type_: str, values: list[float], why: str, tmp_path: Path
) -> None:
    save(tmp_path, x=np.array(values))
    row = int(why.split("row ")[1].split(",")[0])
    error = fault("npz", tmp_path, columns(x=type_), path="x.npz")
    says(error, "x.npz: x ", why, field="x", row=row)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_row_is_right_behind_the_first_block_and_in_either_order(
    order: Any, tmp_path: Path
) -> None:
    values = np.zeros((40_000, 7), np.float64, order)
    values[31_234, 5] = -1e200
    save(tmp_path, x=values)
    assert fault("npz", tmp_path, columns(x="f32[7]"), path="x.npz").row == 31_235


def test_numbers_that_are_not_finite_are_kept_for_the_check_of_values(tmp_path: Path) -> None:
    save(tmp_path, x=np.array([np.nan, np.inf, -np.inf, 1]))
    x = read("npz", tmp_path, columns(x="f32"), path="x.npz")[None]["x"]
    np.testing.assert_array_equal(x, np.array([np.nan, np.inf, -np.inf, 1], np.float32))


def test_pickles_are_refused(tmp_path: Path) -> None:
    save(tmp_path, x=np.array([{"a": 1}, None], dtype=object))
    error = fault("npz", tmp_path, columns(x="id"), path="x.npz")
    says(error, "x holds pickled Python objects", "dtype=str", field="x")


def test_named_sizes_are_the_same_everywhere(tmp_path: Path) -> None:
    save(tmp_path, a=np.zeros((3, 4), np.float32), b=np.zeros((3, 5), np.float32))
    read("npz", tmp_path, columns(a="f32[time]"), path="x.npz")
    error = fault("npz", tmp_path, columns(a="f32[time]", b="f32[time]"), path="x.npz")
    says(error, "b is float32[5]", "f32[time]")


def test_numbered_columns_belong_to_tables(tmp_path: Path) -> None:
    save(tmp_path, x=np.zeros(3))
    error = fault("npz", tmp_path, columns(x=("f32[2]", (1, 2))), path="x.npz")
    says(error, "no numbered columns", is_spec_fault=True)


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off(share: float, tmp_path: Path) -> None:
    save(tmp_path, **good(200))
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(whole[: int(len(whole) * share)])
    says(fault("npz", tmp_path, IMAGES, path="x.npz"), "x.npz is no npz file, or the end")


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_flipped_bit_is_seen_by_the_check_sum(is_packed: bool, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (500, 2, 3), np.uint8)
    (np.savez_compressed if is_packed else np.savez)(tmp_path / "x.npz", image=values)
    data = bytearray((tmp_path / "x.npz").read_bytes())
    data[len(data) // 2] ^= 16
    (tmp_path / "x.npz").write_bytes(data)
    says(fault("npz", tmp_path, columns(image="u8[2, 3]"), path="x.npz"), "image is damaged")


def written(shape: tuple[int, ...], data: bytes, packing: int = zipfile.ZIP_STORED) -> bytes:
    """An npz file with one array `x` of float32 whose header may lie."""
    member, file = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(
        member, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    member.write(data)
    with zipfile.ZipFile(file, "w", packing) as archive:
        archive.writestr("x.npy", member.getvalue())
    return file.getvalue()


@pytest.mark.parametrize("shape", [(10,), (8, 2), (2**40,), (2**33, 2**33)])
def test_a_header_that_promises_other_data_than_follow(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    (tmp_path / "x.npz").write_bytes(written(shape, b"\0" * 36))
    declared = columns(x=f"f32[{shape[1]}]" if len(shape) == 2 else "f32")
    says(fault("npz", tmp_path, declared, path="x.npz"), "x is damaged: its header says")


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    count = 30_000_000
    data = written((count,), bytes(4 * count), zipfile.ZIP_DEFLATED)
    assert len(data) < 200_000
    (tmp_path / "x.npz").write_bytes(data)
    tracemalloc.start()
    error = fault("npz", tmp_path, columns(x="f32"), path="x.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    says(error, "x.npz: x would unpack from", "120,000,000 bytes", "1000 times")
    assert peak < 10_000_000


def test_a_header_that_is_none(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': open(1)")
    says(fault("npz", tmp_path, columns(x="f32"), path="x.npz"), "x is damaged")


def test_structured_arrays_are_refused(tmp_path: Path) -> None:
    save(tmp_path, x=np.zeros(3, [("a", "f4"), ("b", "i4")]))
    says(fault("npz", tmp_path, columns(x="f32"), path="x.npz"), "x is void64 in the file")
