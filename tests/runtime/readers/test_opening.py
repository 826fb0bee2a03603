"""Every reader names the file that it can't read, and says what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ev3lang.runtime.readers import opening
from ev3lang.runtime.readers.opening import check_size
from tests.runtime.readers.declared import columns, fault, says

FILES = ("csv", "npz", "parquet")
FIELDS = columns(x="f32", label="class[2]")


@pytest.mark.parametrize("source", FILES)
def test_a_missing_file_is_named_with_the_nearest_one(source: str, tmp_path: Path) -> None:
    (tmp_path / f"train.{source}").write_bytes(b"x")
    error = fault(source, tmp_path, FIELDS, path=f"trian.{source}")
    says(error, f"trian.{source} does not exist", f"train.{source}")


@pytest.mark.parametrize("source", FILES)
def test_a_missing_folder_above_is_the_one_to_mend(source: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    says(
        fault(source, tmp_path, FIELDS, path="dta/deep/x"),
        "does not exist",
        f"did you mean `{tmp_path / 'data'}`?",
    )


@pytest.mark.parametrize("source", FILES)
def test_a_folder_in_the_place_of_a_file(source: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    says(fault(source, tmp_path, FIELDS, path="data"), "is a folder, not a file")


@pytest.mark.parametrize("source", ["cifar", "image_folder"])
def test_a_file_in_the_place_of_a_folder(source: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x")
    says(fault(source, tmp_path, FIELDS, path="data"), "is a file, not a folder")


@pytest.mark.parametrize("source", ["cifar", "image_folder"])
def test_an_empty_folder(source: str, tmp_path: Path) -> None:
    says(fault(source, tmp_path, FIELDS, path="."), "is empty")


@pytest.mark.parametrize("source", FILES)
def test_an_empty_file(source: str, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    says(fault(source, tmp_path, FIELDS, path="x"), "x is empty")


@pytest.mark.parametrize("source", ["npz", "parquet"])
def test_a_file_of_another_kind(source: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"neither the one nor the other" * 10)
    says(fault(source, tmp_path, FIELDS, path="x"), f"is no {source} file")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root"
)
@pytest.mark.parametrize("source", FILES)
def test_a_file_that_we_may_not_read(source: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "x").chmod(0)
    says(fault(source, tmp_path, FIELDS, path="x"), "can't be read: Permission denied", "right")


def test_what_the_system_forbids_says_so() -> None:
    error = opening.unreadable(Path("data/x.npz"), PermissionError(13, "Permission denied"))
    says(error, "data/x.npz can't be read: Permission denied", "give yourself the right")


def test_more_than_the_machine_holds_is_refused() -> None:
    with pytest.raises(opening.DataError, match="image needs .* bytes, and the machine has"):
        check_size("x.npz", "image", 2**60)


def test_little_may_unpack_from_next_to_nothing() -> None:
    check_size("x.npz", "image", opening.LARGE_BYTES, 1)
    with pytest.raises(opening.DataError, match="more than 1000 times"):
        check_size("x.npz", "image", opening.LARGE_BYTES + 1, 1)
