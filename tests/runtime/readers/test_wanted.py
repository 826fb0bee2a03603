"""A file's own parts: only those that a split draws from are read, and none is mixed in unsaid."""

from __future__ import annotations

import gzip
import importlib.util
import os
import struct
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ev3lang.check.typed import SPLITS
from ev3lang.runtime.readers import csv
from ev3lang.runtime.readers.table import Column
from ev3lang.runtime.readers.wanted import Wanted, proposed
from tests.runtime.readers.declared import EVERYTHING, columns, fault, read, says

TRAIN, TEST = 6, 4
ROWS = {"train": TRAIN, "test": TEST}

X = np.arange(TRAIN + TEST, dtype=np.float32)
Y = np.arange(TRAIN + TEST) % 2
SPLIT = ["train"] * TRAIN + ["test"] * TEST

NUMBERS = columns(x="f32", y="class[2]")
PICTURES = columns(image="u8[2, 3, 3]", label="class[2]")
CIFAR = columns(image="u8[32, 32, 3]", label="class[10]")


def of_part(part: str) -> slice:
    return slice(0, TRAIN) if part == "train" else slice(TRAIN, TRAIN + TEST)


# Each writes a file with parts train and test; without labels in test where `is_labelled` is False.


def write_npz(folder: Path, *, is_labelled: bool) -> None:
    arrays = {f"{part}/x": X[of_part(part)] for part in ROWS}
    arrays |= {f"{part}/y": Y[of_part(part)] for part in ROWS if part == "train" or is_labelled}
    np.savez(folder / "d", **arrays)


def labels(*, is_labelled: bool) -> list[int | None]:
    return [y if is_labelled or k < TRAIN else None for k, y in enumerate(Y.tolist())]


def write_csv(folder: Path, *, is_labelled: bool) -> None:
    cells = ["?" if each is None else each for each in labels(is_labelled=is_labelled)]
    lines = [f"{x},{y},{part}" for x, y, part in zip(X, cells, SPLIT, strict=True)]
    (folder / "d").write_text("\n".join(["x,y,split", *lines]) + "\n")


def write_parquet(folder: Path, *, is_labelled: bool) -> None:
    table = pa.table({"x": X, "y": labels(is_labelled=is_labelled), "split": SPLIT})
    pq.write_table(table, folder / "d")


def write_huggingface(folder: Path, *, is_labelled: bool) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict(
        {
            part: datasets.Dataset.from_dict(
                {"x": X[of_part(part)]}
                | ({"y": Y[of_part(part)]} if part == "train" or is_labelled else {})
            )
            for part in ROWS
        }
    ).save_to_disk(folder / "d")


def write_image_folder(folder: Path, *, is_labelled: bool) -> None:
    for part in ROWS:
        for k in range(of_part(part).start, of_part(part).stop):
            name = "ab"[k % 2] if part == "train" or is_labelled else "."
            where = folder / "d" / part / name
            where.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((2, 3, 3), k, np.uint8)).save(where / f"{k}.png")


def write_cifar(folder: Path, *, is_labelled: bool) -> None:
    (folder / "d").mkdir()
    records = np.zeros((TRAIN + TEST, 3073), np.uint8)
    records[:, 0], records[:, 1:] = Y, X[:, None]
    for k in range(5):
        names = records[[k]] if k < 4 else records[4:TRAIN]
        names.tofile(folder / "d" / f"data_batch_{k + 1}.bin")
    if is_labelled:
        records[TRAIN:].tofile(folder / "d" / "test_batch.bin")


@attrs.frozen
class Format:
    name: str
    write: Callable[..., None]
    columns: tuple[Column, ...] = NUMBERS
    option: str = "path"
    file: str = "d"

    @property
    def options(self) -> dict[str, str]:
        return {self.option: self.file}


FORMATS = (
    Format("npz", write_npz, file="d.npz"),
    Format("csv", write_csv),
    Format("parquet", write_parquet),
    Format("huggingface", write_huggingface, option="name"),
    Format("image_folder", write_image_folder, PICTURES),
    Format("cifar", write_cifar, CIFAR),
)
of_every_format = pytest.mark.parametrize("format", FORMATS, ids=lambda each: each.name)


def label_of(format: Format) -> str:
    return format.columns[1].name


@of_every_format
def test_a_split_that_names_no_part_is_refused_with_the_line_to_write(
    format: Format, tmp_path: Path
) -> None:
    format.write(tmp_path, is_labelled=True)
    wanted = Wanted(method=f"stratified by {label_of(format)} seed 3")
    says(
        fault(format.name, tmp_path, format.columns, wanted, **format.options),
        "has parts of its own (",
        "train",
        "the split doesn't say which it draws from",
        "write `split explore from train 70%, assess from train 15%, adapt from train 15%, report "
        f"from test stratified by {label_of(format)} seed 3`",
        "`from all` in each of the four mixes the parts",
        is_spec_fault=True,
    )
    parts = read(format.name, tmp_path, format.columns, EVERYTHING, **format.options)
    assert {part: len(fields[label_of(format)]) for part, fields in parts.items()} == ROWS


@of_every_format
def test_only_parts_that_a_split_draws_from_have_to_be_labelled(
    format: Format, tmp_path: Path
) -> None:
    format.write(tmp_path, is_labelled=False)
    wanted = Wanted(("train",))
    parts = read(format.name, tmp_path, format.columns, wanted, **format.options)
    assert list(parts) == ["train"]
    fields = parts["train"]
    first, label = (each.name for each in format.columns)
    values = fields[first].reshape(TRAIN, -1)[:, 0].tolist()
    # a folder of pictures comes class by class
    assert sorted(values) == X[:TRAIN].tolist()
    assert [int(x) % 2 for x in values] == fields[label].tolist()
    fault(format.name, tmp_path, format.columns, Wanted(("test",)), **format.options)


@of_every_format
def test_stated_rows_are_of_the_whole_or_of_a_part_read_or_not(
    format: Format, tmp_path: Path
) -> None:
    format.write(tmp_path, is_labelled=True)
    for rows in ({None: TRAIN + TEST}, {"train": TRAIN, "test": TEST}, {"test": TEST}):
        wanted = Wanted(("train",), rows=rows)
        read(format.name, tmp_path, format.columns, wanted, **format.options)
    for rows, words in (
        ({None: 9}, ("10 rows,", "the spec says 9", "write `rows 10` if")),
        ({None: 11}, ("10 rows,", "the spec says 11", "write `rows 10` if")),
        ({"train": 7}, ("6 rows in train,", "the spec says 7", "write `rows 6 in train`")),
        ({"test": 5}, ("4 rows in test,", "the spec says 5", "write `rows 4 in test`")),
    ):
        error = fault(
            format.name, tmp_path, format.columns, Wanted(("train",), rows=rows), **format.options
        )
        if format.name == "csv" and rows == {None: 9}:
            words = ("more than 9 rows", "state how many it has, or take `rows` out")
        says(error, *words, is_spec_fault=False)


@of_every_format
def test_a_part_that_the_file_lacks(format: Format, tmp_path: Path) -> None:
    format.write(tmp_path, is_labelled=True)
    for wanted in (Wanted(("valid",)), Wanted(("train",), rows={"valid": 3})):
        says(
            fault(format.name, tmp_path, format.columns, wanted, **format.options),
            "has no part `valid`: it has",
            "train",
            is_spec_fault=True,
        )


def test_rows_of_some_of_the_parts_that_are_mixed(tmp_path: Path) -> None:
    write_npz(tmp_path, is_labelled=True)
    for rows in ({None: TRAIN + TEST}, ROWS, {}):
        read("npz", tmp_path, NUMBERS, Wanted(is_pooled=True, rows=rows), path="d.npz")
    says(
        fault("npz", tmp_path, NUMBERS, Wanted(is_pooled=True, rows={"train": 6}), path="d.npz"),
        "has rows in test too, and the split draws from all parts",
        "write `rows 6 in train, … in test`, or count the whole",
        is_spec_fault=True,
    )


def test_one_part_alone_is_the_whole(tmp_path: Path) -> None:
    np.savez(tmp_path / "d", **{"train/x": X, "train/y": Y})
    assert list(read("npz", tmp_path, NUMBERS, Wanted(), path="d.npz")) == ["train"]


def test_some_splits_of_a_part_and_some_of_the_whole(tmp_path: Path) -> None:
    write_npz(tmp_path, is_labelled=True)
    error = fault("npz", tmp_path, NUMBERS, Wanted((None, "test")), path="d.npz")
    says(error, "every row of", "only some of the splits say from which", is_spec_fault=True)


@pytest.mark.parametrize(
    ("parts", "shares"),
    [
        (("test", "train"), ["train 70%", "train 15%", "train 15%", "test"]),
        (("train", "validation", "test"), ["train", "validation 50%", "validation 50%", "test"]),
        (("train", "dev"), ["train 90%", "dev 50%", "dev 50%", "train 10%"]),
        (("north", "south"), ["north 60%", "north 15%", "north 15%", "north 10%"]),
        (("Training", "TEST"), ["Training 70%", "Training 15%", "Training 15%", "TEST"]),
    ],
)
def test_the_split_that_is_proposed(parts: tuple[str, ...], shares: list[str]) -> None:
    written = ", ".join(f"{use} from {share}" for use, share in zip(SPLITS, shares, strict=True))
    assert proposed(parts) == f"split {written}"


# ---------------------------------------------------------------- before anything is read

# Rows are compared with headers: files whose numbers are damaged are refused for their rows.


def cut(path: Path, begin: int, end: int | None = None) -> None:
    """Overwrites what a reader of the numbers would look at."""
    data = bytearray(path.read_bytes())
    data[begin:end] = bytes(0xA5 for _ in data[begin:end])
    path.write_bytes(data)


def test_rows_of_npz_are_compared_with_headers(tmp_path: Path) -> None:
    np.savez(tmp_path / "d", x=np.arange(4000.0), y=np.arange(4000) % 2)
    cut(tmp_path / "d.npz", 400, 30_000)
    wanted = Wanted(rows={None: 200})
    says(fault("npz", tmp_path, NUMBERS, wanted, path="d.npz"), "4,000 rows", "says 200")
    says(fault("npz", tmp_path, NUMBERS, Wanted(), path="d.npz"), "is damaged")


def test_rows_of_parquet_are_compared_with_its_footer(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random(4000)
    pq.write_table(pa.table({"x": rows, "y": np.arange(4000) % 2}), tmp_path / "d")
    cut(tmp_path / "d", 4, 20_000)
    wanted = Wanted(rows={None: 200})
    says(fault("parquet", tmp_path, NUMBERS, wanted, path="d"), "4,000 rows", "says 200")
    says(fault("parquet", tmp_path, NUMBERS, Wanted(), path="d"), "damaged")


def test_rows_of_idx_are_compared_with_its_header(tmp_path: Path) -> None:
    images = struct.pack(">IIII", 0x803, 4000, 2, 2) + bytes(range(256)) * 60
    (tmp_path / "images").write_bytes(gzip.compress(images))
    (tmp_path / "labels").write_bytes(struct.pack(">II", 0x801, 4000) + bytes(4000))
    declared = columns(image="u8[2, 2]", label="class[2]")
    options = {"images": "images", "labels": "labels"}
    wanted = Wanted(rows={None: 200})
    says(fault("idx", tmp_path, declared, wanted, **options), "4,000 rows", "says 200")
    says(fault("idx", tmp_path, declared, Wanted(), **options), "is damaged")


def test_reading_csv_ends_soon_behind_the_stated_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv, "BLOCK_BYTES", 1000)
    lines = [f"{k},{k % 2}" for k in range(2000)]
    (tmp_path / "d").write_text("\n".join(["x,y", *lines, "no number,at all"]) + "\n")
    says(
        fault("csv", tmp_path, NUMBERS, Wanted(rows={None: 200}), path="d"),
        "has more than 200 rows, which is what the spec says",
    )
    says(fault("csv", tmp_path, NUMBERS, Wanted(rows={None: 2000}), path="d"), "`no number`")


def test_reading_the_parts_of_parquet_ends_soon_behind_the_stated_rows(tmp_path: Path) -> None:
    split = ["train"] * 3000 + ["test"] * 200_000
    rows = np.arange(len(split))
    pq.write_table(
        pa.table({"x": rows, "y": rows % 2, "split": split}), tmp_path / "d", row_group_size=4000
    )
    wanted = Wanted(("train",), rows={"train": 200})
    says(fault("parquet", tmp_path, NUMBERS, wanted, path="d"), "has more than 200 rows in train")


@pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs the extra")
def test_a_saved_split_without_examples_matters_only_where_it_is_wanted(tmp_path: Path) -> None:
    import datasets

    train = datasets.Dataset.from_dict({"x": X, "y": Y})
    datasets.DatasetDict(train=train, test=train.select([])).save_to_disk(tmp_path / "d")
    for rows in ({}, {None: TRAIN + TEST}, {"train": TRAIN + TEST, "test": 0}):
        wanted = Wanted(("train",), rows=rows)
        assert list(read("huggingface", tmp_path, NUMBERS, wanted, name="d")) == ["train"]
    error = fault("huggingface", tmp_path, NUMBERS, Wanted(("test",)), name="d")
    says(error, "d, split test has no rows")
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": []}')
    says(fault("huggingface", tmp_path, NUMBERS, name="d"), "d has no parts and no rows")
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["../d"]}')
    says(fault("huggingface", tmp_path, NUMBERS, name="d"), "no names of folders")
    (tmp_path / "d" / "dataset_dict.json").write_text("[" * 100_000)
    says(fault("huggingface", tmp_path, NUMBERS, name="d"), "it nests too deep")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    (tmp_path / "pipe").rename(next((tmp_path / "d" / "train").glob("*.arrow")))
    says(fault("huggingface", tmp_path, NUMBERS, name="d"), "can't be loaded", "a pipe")
