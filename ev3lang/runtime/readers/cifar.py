"""The binary files of CIFAR-10 and CIFAR-100, as their authors give them out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs
import numpy as np

from ev3lang.catalog.signature import Value
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.foreign import foreign
from ev3lang.runtime.readers.fitting import fitted
from ev3lang.runtime.readers.opening import check_size, file_at, folder_at, unreadable
from ev3lang.runtime.readers.table import Column, Found, missing_field, only_named
from ev3lang.runtime.readers.wanted import Wanted

SIDE = 32
PIXELS = 3 * SIDE * SIDE
BLOCK_ROWS = 1000


@attrs.frozen
class Edition:
    """One of the two data sets.

    files    of each part, in order
    labels   the fields that a byte each before the pixels holds
    """

    name: str
    files: Mapping[str, tuple[str, ...]]
    labels: tuple[str, ...]


EDITIONS = (
    Edition(
        "CIFAR-10",
        {
            "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
            "test": ("test_batch.bin",),
        },
        ("label",),
    ),
    Edition(
        "CIFAR-100",
        {"train": ("train.bin",), "test": ("test.bin",)},
        ("coarse_label", "label"),
    ),
)


def read(
    options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path, wanted: Wanted
) -> Found:
    """Parts `train` and `test`: `image` u8[32, 32, 3], `label`, in CIFAR-100 `coarse_label`.

    Files of a part that the spec doesn't draw from may be missing.
    Raises DataError. Source: Krizhevsky (2009), Learning multiple layers of features from tiny
    images; layout of the files: https://www.cs.toronto.edu/~kriz/cifar.html.
    """
    path = folder_at(folder, str(options["path"]))
    edition = _edition(path)
    known = ("image", *edition.labels)
    only_named(path, columns)
    for column in columns:
        if column.stored_name not in known:
            raise missing_field(f"{edition.name} in {path}", column, known, "field")
    chosen = wanted.chosen(path, tuple(edition.files))
    counts: dict[str | None, dict[Path, int]] = {
        part: {
            each: _rows(each, edition)
            for each in (file_at(path, name) for name in edition.files[str(part)])
        }
        for part in edition.files
        if part in wanted.counted(chosen, edition.files)
    }
    wanted.check_rows(path, {part: sum(of_files.values()) for part, of_files in counts.items()})
    return Found({part: _part(path, edition, columns, counts[part]) for part in chosen})


def _edition(path: Path) -> Edition:
    try:
        names = {each.name for each in path.iterdir()}
    except OSError as error:
        raise unreadable(path, error) from error
    for edition in EDITIONS:
        if any(name in names for files in edition.files.values() for name in files):
            return edition
    if names & {"data_batch_1", "train"}:
        raise DataError(
            f"{path} holds the version for Python, whose pickles could run code when read",
            "use the binary version of the data set",
        )
    raise DataError(
        f"{path} holds neither data_batch_1.bin of CIFAR-10 nor train.bin of CIFAR-100",
        "name the folder that they lie in",
    )


def _rows(path: Path, edition: Edition) -> int:
    """How many examples a file holds, by its size."""
    record = len(edition.labels) + PIXELS
    size = path.stat().st_size
    if size % record:
        raise DataError(
            f"{path} is damaged: its {size:,} bytes are no whole number of records of "
            f"{edition.name}, {record} bytes each",
            "fetch the file again",
        )
    return size // record


def _part(
    folder: Path, edition: Edition, columns: tuple[Column, ...], counts: Mapping[Path, int]
) -> dict[str, np.ndarray]:
    """The fields of a part, its files one after the other."""
    record = len(edition.labels) + PIXELS
    rows = sum(counts.values())
    has_images = any(each.stored_name == "image" for each in columns)
    check_size(folder, "its images", rows * PIXELS if has_images else 0)
    images = np.empty((rows if has_images else 0, SIDE, SIDE, 3), np.uint8)
    labels = np.empty((rows, len(edition.labels)), np.uint8)
    first = 0
    for path, count in counts.items():
        # A block at a time, so that no second copy of all pixels is ever in memory.
        with foreign(path, help="fetch the file again"), path.open("rb") as opened:
            for begin in range(0, count, BLOCK_ROWS):
                held = min(BLOCK_ROWS, count - begin)
                data = opened.read(held * record)
                block = np.frombuffer(data, np.uint8).reshape(held, record)
                here = slice(first + begin, first + begin + held)
                labels[here] = block[:, : len(edition.labels)]
                if has_images:
                    pixels = block[:, len(edition.labels) :].reshape(-1, 3, SIDE, SIDE)
                    images[here] = pixels.transpose(0, 2, 3, 1)
        first += count
    stored = {"image": images}
    stored.update({name: labels[:, place] for place, name in enumerate(edition.labels)})
    return {
        column.name: fitted(folder, column, stored[column.stored_name], {}) for column in columns
    }
