"""The files for specs/paper hold what their specs declare, made as the publication says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ev3lang.catalog.signature import parse_type
from ev3lang.runtime.readers import npz
from ev3lang.runtime.readers.table import Column
from ev3lang.runtime.readers.wanted import Wanted

TRAIN, TEST = 40, 10
ROWS = 96


@pytest.fixture(scope="module")
def make_npz(repository: Path) -> ModuleType:
    place = repository / "specs/paper/make_npz.py"
    spec = importlib.util.spec_from_file_location("make_npz", place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """A folder like that of CIFAR-100 whose image n has n in every pixel of channel 0."""
    folder = tmp_path / "cifar"
    folder.mkdir()
    for name, count in (("train.bin", TRAIN), ("test.bin", TEST)):
        records = np.random.default_rng(0).integers(0, 256, (count, 3074), np.uint8)
        records[:, 0] = 7
        records[:, 1] = np.arange(count) * 2
        records[:, 2 : 2 + 1024] = np.arange(count)[:, None]
        records.tofile(folder / name)
    return folder


def numbers(image: np.ndarray) -> np.ndarray:
    """Which image each is made of."""
    assert (image[..., 0] == image[:, :1, :1, 0]).all()
    return image[:, 0, 0, 0].astype(int)


def test_as_published_every_part_is_made_of_all_images(
    make_npz: ModuleType, cifar: Path, tmp_path: Path
) -> None:
    arrays = np.load(make_npz.write_images(cifar, tmp_path / "images.npz", rows=ROWS))
    explored = np.bincount(numbers(arrays["explore/image"]), minlength=TRAIN)
    assert set(explored) == {ROWS // TRAIN, ROWS // TRAIN + 1}
    for part in ("assess", "adapt"):
        assert numbers(arrays[f"{part}/image"]).tolist() == list(range(TRAIN))
    for part in make_npz.PARTS:
        assert (arrays[f"{part}/label"] == 2 * numbers(arrays[f"{part}/image"])).all()


def test_what_is_held_out_is_in_one_part_alone(
    make_npz: ModuleType, cifar: Path, tmp_path: Path
) -> None:
    arrays = np.load(make_npz.write_images(cifar, tmp_path / "images.npz", 10, ROWS))
    parts = [set(numbers(arrays[f"{part}/image"])) for part in ("explore", "assess", "adapt")]
    assert parts == [set(range(30)), set(range(30, 35)), set(range(35, 40))]
    stored = np.fromfile(cifar / "train.bin", np.uint8).reshape(TRAIN, 3074)[35:, 2:]
    as_stored = arrays["adapt/image"].transpose(0, 3, 1, 2).reshape(5, -1)
    np.testing.assert_array_equal(as_stored, stored)


def test_a_crop_is_a_window_of_the_reflected_image(make_npz: ModuleType) -> None:
    generator = np.random.default_rng(1)
    images = generator.integers(0, 256, (8, 32, 32, 3), np.uint8)
    made = make_npz.augmented(images, 2, generator)
    for image, found in zip(images, made, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), "reflect")
        crops = [padded[y : y + 32, x : x + 32] for y in range(5) for x in range(5)]
        assert any((found == crop).all() or (found == crop[:, ::-1]).all() for crop in crops)
    assert make_npz.augmented(images, 0, generator).shape == images.shape


def test_the_joined_file_is_read_as_declared(
    make_npz: ModuleType, cifar: Path, tmp_path: Path
) -> None:
    images = make_npz.write_images(cifar, tmp_path / "images.npz", 10, ROWS)
    counts = {part: len(np.load(images)[f"{part}/label"]) for part in make_npz.PARTS}
    generator = np.random.default_rng(0)
    logits = {f"{part}/teacher_logits": generator.random((n, 100)) for part, n in counts.items()}
    np.savez(tmp_path / "logits.npz", **logits)
    make_npz.join(images, tmp_path / "logits.npz", tmp_path / "held_out.npz")
    columns = tuple(
        Column(name, parse_type(text))
        for name, text in (
            ("image", "u8[32, 32, 3]"),
            ("label", "class[100]"),
            ("teacher_logits", "logits[100]"),
        )
    )
    parts = npz.read({"path": "held_out.npz"}, columns, tmp_path, Wanted(is_pooled=True)).parts
    assert {part: len(fields["label"]) for part, fields in parts.items()} == counts
    for part, fields in parts.items():
        np.testing.assert_array_equal(fields["image"], np.load(images)[f"{part}/image"])
        expected = logits[f"{part}/teacher_logits"].astype(np.float32)
        np.testing.assert_array_equal(fields["teacher_logits"], expected)


def test_logits_of_other_images_are_refused(
    make_npz: ModuleType, cifar: Path, tmp_path: Path
) -> None:
    images = make_npz.write_images(cifar, tmp_path / "images.npz", rows=ROWS)
    np.savez(tmp_path / "logits.npz", **{"explore/teacher_logits": np.zeros((3, 100))})
    with pytest.raises(SystemExit, match=r"explore/teacher_logits is \(3, 100\)"):
        make_npz.join(images, tmp_path / "logits.npz", tmp_path / "joined.npz")
