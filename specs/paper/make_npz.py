"""Writes the files that the specs of this folder read, from CIFAR-100 and a teacher's logits.

Two steps, with the teacher between them, in whatever it is written:

    python specs/paper/make_npz.py images FOLDER [--held-out 10000]
    python specs/paper/make_npz.py join LOGITS [--held-out 10000]

FOLDER has `train.bin` and `test.bin` of the binary version of CIFAR-100. The first step writes an
npz file with arrays `<part>/image` u8 [rows, 32, 32, 3] and `<part>/label` u8 [rows] in [0, 100)
for the parts explore, assess, adapt and test. LOGITS is an npz file with the teacher's outputs
for them, `<part>/teacher_logits` f32 [rows, 100], in the same order. The second step puts both
into one file.

Without `--held-out` as published: explore is made of all 50,000 training images, each cropped from
a padding of 4 pixels and flipped; assess has each of them once, from a padding of 1; adapt once,
flipped alone. With it the last so many of them are explored in no copy: assess is the first half
of these, adapt the other, as they are. The same seed writes the same images.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import zipfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.lib.stride_tricks import sliding_window_view

SIDE = 32
CLASSES = 100
EXPLORED_ROWS = 10_000 * 128
"""Augmented images, in the published count of batches."""
BLOCK_ROWS = 10_000
PARTS = ("explore", "assess", "adapt", "test")


def cifar_100(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images u8 [rows, 32, 32, 3] and fine labels u8 [rows] of a binary file of CIFAR-100."""
    record = 2 + 3 * SIDE * SIDE
    if path.stat().st_size % record:
        sys.exit(f"{path} is damaged: it is no whole number of records of {record} bytes")
    records = np.fromfile(path, np.uint8).reshape(-1, record)
    pixels = records[:, 2:].reshape(-1, 3, SIDE, SIDE)
    return pixels.transpose(0, 2, 3, 1).copy(), records[:, 1].copy()


def augmented(images: np.ndarray, padding: int, generator: np.random.Generator) -> np.ndarray:
    """Each image cropped from a padding of its own reflection, and flipped in half of the cases.

    images, returned   u8 [rows, 32, 32, 3]
    """
    count = len(images)
    wide = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    windows = sliding_window_view(np.pad(images, wide, "reflect"), (SIDE, SIDE), axis=(1, 2))
    top, left = generator.integers(0, 2 * padding + 1, (2, count))
    cropped = windows[np.arange(count), top, left].transpose(0, 2, 3, 1)
    is_flipped = generator.random(count) < 0.5
    return np.where(is_flipped[:, None, None, None], cropped[:, :, ::-1], cropped)


def write_images(
    folder: Path, out: Path, held_out: int = 0, rows: int = EXPLORED_ROWS, seed: int = 0
) -> Path:
    """The first step; `rows` are those of explore. Needs little more memory than CIFAR-100."""
    images, labels = cifar_100(folder / "train.bin")
    test_images, test_labels = cifar_100(folder / "test.bin")
    if held_out % 2 or not 0 <= held_out < len(images):
        sys.exit(f"held out has to be an even number below {len(images):,}, and is {held_out:,}")
    generator = np.random.default_rng(seed)
    explored = len(images) - held_out
    epochs = -(-rows // explored)
    order = np.concatenate([generator.permutation(explored) for _ in range(epochs)])[:rows]
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w") as archive:
        blocks = np.split(order, range(BLOCK_ROWS, rows, BLOCK_ROWS))
        crops = (augmented(images[block], 4, generator) for block in blocks)
        _add(archive, "explore/image", (rows, SIDE, SIDE, 3), crops)
        _add(archive, "explore/label", (rows,), [labels[order]])
        if held_out:
            middle = explored + held_out // 2
            assess, adapt = slice(explored, middle), slice(middle, None)
            judged = {
                "assess": (images[assess], labels[assess]),
                "adapt": (images[adapt], labels[adapt]),
            }
        else:
            judged = {
                "assess": (augmented(images, 1, generator), labels),
                "adapt": (augmented(images, 0, generator), labels),
            }
        for part, (image, label) in {**judged, "test": (test_images, test_labels)}.items():
            _add(archive, f"{part}/image", image.shape, [image])
            _add(archive, f"{part}/label", label.shape, [label])
    return out


def join(images: Path, logits: Path, out: Path) -> Path:
    """The second step: the images' file with the teacher's outputs beside them."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with (
        zipfile.ZipFile(images) as shown,
        np.load(logits) as said,
        zipfile.ZipFile(out, "w") as archive,
    ):
        for part in PARTS:
            with shown.open(f"{part}/label.npy") as member:
                rows = len(npy.read_array(member))
            name = f"{part}/teacher_logits"
            if name not in said or said[name].shape != (rows, CLASSES):
                found = said[name].shape if name in said else "missing"
                sys.exit(f"{logits}: {name} is {found}, and has to be {(rows, CLASSES)}")
            _add(archive, name, (rows, CLASSES), [said[name].astype(np.float32)])
            for field in ("image", "label"):
                member_name = f"{part}/{field}.npy"
                with (
                    shown.open(member_name) as source,
                    archive.open(member_name, "w", force_zip64=True) as target,
                ):
                    shutil.copyfileobj(source, target, 2**20)
    return out


def _add(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], blocks: Iterable[np.ndarray]
) -> None:
    """An array in the archive, block after block along its first axis."""
    blocks = iter(blocks)
    first = next(blocks)
    described = {"descr": first.dtype.str, "fortran_order": False, "shape": shape}
    with archive.open(f"{name}.npy", "w", force_zip64=True) as target:
        npy.write_array_header_1_0(target, described)
        for block in chain([first], blocks):
            target.write(np.ascontiguousarray(block).tobytes())


def main() -> None:
    summary, usage = (__doc__ or "").split("\n", 1)
    parser = argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("images", "join"))
    parser.add_argument("source", type=Path, help="the folder of CIFAR-100, or the logits' file")
    parser.add_argument("--held-out", type=int, default=0, help="images that are never explored")
    parser.add_argument("--rows", type=int, default=EXPLORED_ROWS, help="images to explore")
    default = Path(__file__).resolve().parent / "data"
    parser.add_argument("--out", type=Path, default=default, help="folder (default: data)")
    asked = parser.parse_args()
    name = "held_out" if asked.held_out else "published"
    images = asked.out / f"{name}_images.npz"
    if asked.step == "images":
        print(f"wrote {write_images(asked.source, images, asked.held_out, asked.rows)}")
    else:
        print(f"wrote {join(images, asked.source, asked.out / f'{name}.npz')}")


if __name__ == "__main__":
    main()
