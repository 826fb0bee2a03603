"""The files of MNIST, plain or packed, and what can be wrong with them."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.readers.declared import columns, fault, read, says

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}
PIXELS = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4)
LABELS = np.array([3, 1, 0, 2, 3], np.uint8)
DIGITS = columns(image="u8[3, 4, 1]", label="class[4]")
NAMES = {"images": "images", "labels": "labels"}


def idx(values: np.ndarray, code: str = "u1") -> bytes:
    header = bytes([0, 0, CODES[code], values.ndim]) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    return header + values.astype(code).tobytes()


def save(folder: Path, images: bytes, labels: bytes) -> None:
    (folder / "images").write_bytes(images)
    (folder / "labels").write_bytes(labels)


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("type_", ["u8[3, 4]", "u8[3, 4, 1]", "f32[3, 4]"])
def test_images_and_labels(type_: str, is_packed: bool, tmp_path: Path) -> None:
    pack = gzip.compress if is_packed else bytes
    save(tmp_path, pack(idx(PIXELS)), pack(idx(LABELS)))
    declared = columns(image=type_, label="class[4]")
    fields = read("idx", tmp_path, declared, **NAMES)[None]
    assert fields["image"].dtype == (np.uint8 if type_.startswith("u8") else np.float32)
    np.testing.assert_array_equal(fields["image"].reshape(PIXELS.shape), PIXELS)
    assert fields["image"].ndim == (4 if type_.endswith("1]") else 3)
    assert fields["label"].dtype == np.int32
    np.testing.assert_array_equal(fields["label"], LABELS)


@pytest.mark.parametrize("code", CODES)
def test_every_kind_of_number(code: str, tmp_path: Path) -> None:
    values = np.array([[1, 2, 3], [100, 0, 5]])
    save(tmp_path, idx(values, code), idx(LABELS[:2]))
    image = read("idx", tmp_path, columns(image="f32[3]"), **NAMES)[None]["image"]
    np.testing.assert_array_equal(image, values)


def test_other_names_in_the_spec(tmp_path: Path) -> None:
    save(tmp_path, idx(PIXELS), idx(LABELS))
    fields = read("idx", tmp_path, columns(digit=("class[4]", "label")), **NAMES)[None]
    assert list(fields) == ["digit"]


BAD = {
    "another format": (
        b"\x89PNG....",
        idx(LABELS),
        ("images is no idx file: it starts with 89 50 4e 47",),
    ),
    "two bytes": (idx(PIXELS)[:2], idx(LABELS), ("images is no idx file",)),
    "half a header": (idx(PIXELS)[:9], idx(LABELS), ("images ends within its header",)),
    "a byte short": (
        idx(PIXELS)[:-1],
        idx(LABELS),
        ("images is damaged: its header says 5x3x4", "59 bytes"),
    ),
    "a byte long": (idx(PIXELS) + b"x", idx(LABELS), ("images is damaged", "61 bytes")),
    "packed, a byte short": (
        gzip.compress(idx(PIXELS)[:-1]),
        idx(LABELS),
        ("images is damaged", "59 bytes"),
    ),
    "packed, a byte long": (
        gzip.compress(idx(PIXELS) + b"x"),
        idx(LABELS),
        ("images is damaged", "or more"),
    ),
    "packed and cut": (gzip.compress(idx(PIXELS))[:-12], idx(LABELS), ("images is damaged",)),
    "a label missing": (idx(PIXELS), idx(LABELS[:4]), ("label has 4 rows, and image has 5",)),
    "another shape": (
        idx(PIXELS[:, :2]),
        idx(LABELS),
        ("image is uint8[2, 4]", "`image: u8[2, 4]`"),
    ),
    "files swapped": (idx(LABELS), idx(PIXELS), ("images: image is uint8 in the file",)),
    "a shape too large": (b"\0\0\x08\x03" + b"\xff" * 12, idx(LABELS), ("images is damaged",)),
}


@pytest.mark.parametrize(("images", "labels", "parts"), BAD.values(), ids=BAD)
def test_a_bad_file_says_what_is_wrong(
    images: bytes, labels: bytes, parts: tuple[str, ...], tmp_path: Path
) -> None:
    save(tmp_path, images, labels)
    says(fault("idx", tmp_path, DIGITS, **NAMES), *parts)


def test_an_unknown_field(tmp_path: Path) -> None:
    save(tmp_path, idx(PIXELS), idx(LABELS))
    error = fault("idx", tmp_path, columns(images="u8[3, 4]"), **NAMES)
    says(error, "has no field `images`", "`image`")


def test_a_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    shape = (200_000, 28, 28)
    header = bytes([0, 0, 8, 3]) + struct.pack(">3I", *shape)
    save(tmp_path, gzip.compress(header + bytes(1000)), idx(LABELS))
    tracemalloc.start()
    error = fault("idx", tmp_path, columns(image="u8[28, 28]"), **NAMES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    says(error, "would unpack from")
    assert peak < 10_000_000
