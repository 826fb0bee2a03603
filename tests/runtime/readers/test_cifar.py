"""CIFAR's binary files: planes of colour become channels, and all five batches are one part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.runtime.readers.declared import columns, fault, read, says

TEN = columns(image="u8[32, 32, 3]", label="class[10]")
HUNDRED = columns(image="u8[32, 32, 3]", label="class[100]", coarse_label="class[20]")


def records(rows: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray, bytes]:
    """Pixels [rows, 32, 32, 3], labels [rows, labels] and the file that holds them."""
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (rows, 32, 32, 3), np.uint8)
    label = draw.integers(0, 10, (rows, labels), np.uint8)
    data = b"".join(
        label[row].tobytes() + b"".join(pixels[row, :, :, c].tobytes() for c in range(3))
        for row in range(rows)
    )
    return pixels, label, data


def save_ten(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    batches = [records(4, 1, seed) for seed in range(6)]
    for number, (_, _, data) in enumerate(batches[:5], start=1):
        (folder / f"data_batch_{number}.bin").write_bytes(data)
    (folder / "test_batch.bin").write_bytes(batches[5][2])
    (folder / "batches.meta.txt").write_text("airplane\n")
    return {
        "train": (
            np.concatenate([pixels for pixels, _, _ in batches[:5]]),
            np.concatenate([label for _, label, _ in batches[:5]])[:, 0],
        ),
        "test": (batches[5][0], batches[5][1][:, 0]),
    }


def test_cifar_10(tmp_path: Path) -> None:
    written = save_ten(tmp_path)
    parts = read("cifar", tmp_path, TEN, path=".")
    assert list(parts) == ["train", "test"]
    for part, (pixels, label) in written.items():
        np.testing.assert_array_equal(parts[part]["image"], pixels)
        np.testing.assert_array_equal(parts[part]["label"], label)
        assert parts[part]["label"].dtype == np.int32


def test_cifar_100_has_two_labels(tmp_path: Path) -> None:
    pixels, labels, data = records(1500, 2, 0)
    (tmp_path / "train.bin").write_bytes(data)
    (tmp_path / "test.bin").write_bytes(data[: 3 * 3074])
    parts = read("cifar", tmp_path, HUNDRED, path=".")
    np.testing.assert_array_equal(parts["train"]["image"], pixels)
    np.testing.assert_array_equal(parts["train"]["coarse_label"], labels[:, 0])
    np.testing.assert_array_equal(parts["train"]["label"], labels[:, 1])
    np.testing.assert_array_equal(parts["test"]["image"], pixels[:3])


def test_a_cut_file(tmp_path: Path) -> None:
    save_ten(tmp_path)
    path = tmp_path / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-5])
    says(fault("cifar", tmp_path, TEN, path="."), "data_batch_3.bin is damaged", "3073 bytes each")


def test_a_missing_batch(tmp_path: Path) -> None:
    save_ten(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    says(fault("cifar", tmp_path, TEN, path="."), "data_batch_3.bin does not exist")


def test_the_pickled_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02}")
    says(fault("cifar", tmp_path, TEN, path="."), "version for Python", "binary version")


def test_another_folder(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    says(fault("cifar", tmp_path, TEN, path="."), "holds neither data_batch_1.bin")


@pytest.mark.parametrize(
    ("declared", "parts"),
    [
        (columns(image="u8[32, 32]"), ("image is uint8[32, 32, 3]", "`image: u8[32, 32, 3]`")),
        (HUNDRED, ("CIFAR-10 in", "no field `coarse_label`; it has image, label")),
    ],
)
def test_another_declaration(declared: tuple, parts: tuple[str, ...], tmp_path: Path) -> None:
    save_ten(tmp_path)
    says(fault("cifar", tmp_path, declared, path="."), *parts)
