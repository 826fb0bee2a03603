"""A folder a class, in the order of names, with every picture as it was drawn."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.readers.declared import columns, fault, read, says

PICTURES = columns(image="u8[4, 6, 3]", label="class[2]")


def draw(
    path: Path, seed: int, shape: tuple[int, ...] = (4, 6, 3), mode: str = "RGB"
) -> np.ndarray:
    """Writes a picture of noise and gives back its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)
    return pixels


def test_classes_and_pictures_in_the_order_of_their_names(tmp_path: Path) -> None:
    pixels = [
        draw(tmp_path / "cat" / "b.png", 1),
        draw(tmp_path / "cat" / "a.PNG", 2),
        draw(tmp_path / "ant" / "z.bmp", 3),
    ]
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"no picture")
    (tmp_path / ".cache").mkdir()
    fields = read("image_folder", tmp_path, PICTURES, path=".")[None]
    assert fields["label"].tolist() == [0, 1, 1]
    assert fields["image"].dtype == np.uint8
    np.testing.assert_array_equal(fields["image"], [pixels[2], pixels[1], pixels[0]])


def test_a_level_above_the_classes_names_the_parts(tmp_path: Path) -> None:
    for seed, name in enumerate(["train/cat/a", "train/ant/a", "train/ant/b", "test/cat/a"]):
        draw(tmp_path / f"{name}.png", seed)
    parts = read("image_folder", tmp_path, PICTURES, path=".")
    assert {part: fields["label"].tolist() for part, fields in parts.items()} == {
        "test": [1],
        "train": [0, 0, 1],
    }


@pytest.mark.parametrize(
    ("stored", "mode", "declared", "expected"),
    [
        ((4, 6), "L", "u8[4, 6]", (4, 6)),
        ((4, 6), "L", "u8[4, 6, 1]", (4, 6, 1)),
        ((4, 6), "L", "u8[4, 6, 3]", (4, 6, 3)),
        ((4, 6, 3), "RGB", "u8[4, 6, 1]", (4, 6, 1)),
        ((4, 6, 4), "RGBA", "u8[4, 6, 4]", (4, 6, 4)),
        ((4, 6, 4), "RGBA", "u8[4, 6, 3]", (4, 6, 3)),
        ((4, 6, 3), "P", "u8[4, 6, 3]", (4, 6, 3)),
    ],
)
def test_channels_are_those_that_the_spec_declares(
    stored: tuple[int, ...], mode: str, declared: str, expected: tuple[int, ...], tmp_path: Path
) -> None:
    draw(tmp_path / "a" / "x.png", 0, stored, mode)
    image = read("image_folder", tmp_path, columns(image=declared), path=".")[None]["image"]
    assert image.shape == (1, *expected)


def test_a_jpeg_comes_back_nearly_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    flat = np.full((4, 6, 3), 100, np.uint8)
    Image.fromarray(flat).save(tmp_path / "a" / "x.jpg")
    image = read("image_folder", tmp_path, columns(image="u8[4, 6, 3]"), path=".")[None]["image"]
    assert np.abs(image[0].astype(int) - 100).max() <= 2


def test_named_sizes_are_those_of_the_first_picture(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "x.png", 0)
    draw(tmp_path / "a" / "y.png", 1)
    declared = columns(image="u8[height, width, 3]")
    assert read("image_folder", tmp_path, declared, path=".")[None]["image"].shape == (2, 4, 6, 3)
    draw(tmp_path / "a" / "z.png", 1, (6, 4, 3))
    says(fault("image_folder", tmp_path, declared, path="."), "z.png is 6 x 4", "x.png is 4 x 6")


def test_another_size_names_the_file(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "x.png", 0)
    draw(tmp_path / "b" / "y.png", 1, (5, 6, 3))
    error = fault("image_folder", tmp_path, PICTURES, path=".")
    says(error, "y.png is 5 x 6 pixels", "u8[4, 6, 3]", "`image: u8[5, 6, 3]`", field="image")


def test_another_count_of_classes(tmp_path: Path) -> None:
    for name in "abc":
        draw(tmp_path / name / "x.png", 0)
    error = fault("image_folder", tmp_path, PICTURES, path=".")
    says(error, "has 3 classes (a, b, c)", "label: class[2]", "`label: class[3]`", field="label")


@pytest.mark.parametrize("size", [0, 10, 60])
def test_a_damaged_picture_names_the_file(size: int, tmp_path: Path) -> None:
    draw(tmp_path / "a" / "x.png", 0)
    draw(tmp_path / "b" / "y.png", 0)
    whole = (tmp_path / "b" / "y.png").read_bytes()
    (tmp_path / "b" / "y.png").write_bytes(whole[:size])
    says(fault("image_folder", tmp_path, PICTURES, path="."), "y.png is ")


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    (tmp_path / "a").mkdir()
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    (tmp_path / "a" / "x.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    )
    declared = columns(image="u8[60000, 60000, 3]")
    says(fault("image_folder", tmp_path, declared, path="."), "x.png unpacks to more pixels")


def test_a_deep_picture_is_not_cut_to_eight_bits(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((4, 6), 40_000, np.uint16)).save(tmp_path / "a" / "x.png")
    error = fault("image_folder", tmp_path, columns(image="u8[4, 6]"), path=".")
    says(error, "x.png has more than 8 bits")


@pytest.mark.parametrize(
    ("names", "declared", "parts"),
    [
        (["x.png"], PICTURES, ("has no folders, and each class needs one",)),
        (["a/x.txt"], PICTURES, ("a holds neither pictures nor folders",)),
        (["a/x.png", "b/x.txt"], PICTURES, ("b holds no pictures",)),
        (["a/x.png"], columns(image="u8[4, 6, 2]"), ("pictures have height, width",)),
        (["a/x.png"], columns(images="u8[4, 6, 3]"), ("no field `images`", "`image`")),
    ],
)
def test_another_layout(
    names: list[str], declared: tuple, parts: tuple[str, ...], tmp_path: Path
) -> None:
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x") if path.suffix == ".txt" else draw(path, 0)
    says(fault("image_folder", tmp_path, declared, path="."), *parts)
