"""A folder of pictures for each class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ev3lang.catalog.signature import Value
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers import images
from ev3lang.runtime.readers.fitting import fitted
from ev3lang.runtime.readers.opening import check_size, file_at, folder_at, unreadable
from ev3lang.runtime.readers.table import Column, Parts, missing_field, only_named

FIELDS = ("image", "label")


def read(options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path) -> Parts:
    """`image` and `label` of `folder/class/*.png` or, with parts, of `folder/part/class/*.png`.

    Labels count the classes of all parts in the order of their names, pictures come in the order
    of theirs, and names that start with a dot are passed over.
    Raises DataError.
    """
    path = folder_at(folder, str(options["path"]))
    only_named(path, columns)
    for column in columns:
        if column.stored_name not in FIELDS:
            raise missing_field(path, column, FIELDS, "field")
    folders = _folders(path)
    if not folders:
        raise DataError(
            f"{path} has no folders, and each class needs one", "move the pictures of a class there"
        )
    if any(_pictures(each) for each in folders):
        found: dict[str | None, list[Path]] = {None: folders}
    else:
        found = {each.name: _folders(each) for each in folders}
    for part, inside in found.items():
        if not inside:
            raise DataError(
                f"{path / str(part)} holds neither pictures nor folders of them",
                "put a folder for each class there, or take it away",
            )
    classes = sorted({each.name for of_part in found.values() for each in of_part})
    for column in columns:
        if column.type.kind == "class" and column.type.dimensions != (len(classes),):
            shown = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
            raise DataError(
                f"{path} has {len(classes)} classes ({shown}), and the spec declares "
                f"{column.name}: {column.type}",
                f"declare `{column.name}: class[{len(classes)}]`",
                field=column.name,
            )
    return {part: _part(path, columns, classes, each) for part, each in found.items()}


def _folders(path: Path) -> list[Path]:
    return [each for each in _listed(path) if each.is_dir()]


def _pictures(path: Path) -> list[Path]:
    return [each for each in _listed(path) if each.suffix.lower() in images.ENDINGS]


def _listed(path: Path) -> list[Path]:
    try:
        return sorted(each for each in path.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise unreadable(path, error) from error


def _part(
    path: Path, columns: tuple[Column, ...], classes: list[str], folders: list[Path]
) -> dict[str, np.ndarray]:
    """The fields of the pictures in these folders, a class each."""
    pictures: list[Path] = []
    labels: list[int] = []
    for each in folders:
        inside = _pictures(each)
        if not inside:
            raise DataError(
                f"{each} holds no pictures ({', '.join(sorted(images.ENDINGS))})",
                "put the pictures of the class there, or take the folder away",
            )
        pictures += inside
        labels += [classes.index(each.name)] * len(inside)
    fields = {}
    for column in columns:
        values = np.asarray(labels, np.int32)
        if column.stored_name == "image":
            values = _pixels(path, column, pictures)
        fields[column.name] = fitted(path, column, values, {})
    return fields


def _pixels(path: Path, column: Column, pictures: list[Path]) -> np.ndarray:
    """All pictures, uint8 `[B, height, width, channels]`; the first one settles named sizes."""
    images.check_column(path, column)
    values: np.ndarray = np.empty((0, 0, 0), np.uint8)
    for place, picture in enumerate(pictures):
        pixels = images.decoded(file_at(picture.parent, picture.name), column, picture)
        if place == 0:
            check_size(path, column.name, len(pictures) * pixels.nbytes)
            values = np.empty((len(pictures), *pixels.shape), np.uint8)
        elif pixels.shape != values.shape[1:]:
            raise DataError(
                f"{picture} is {pixels.shape[0]} x {pixels.shape[1]} pixels, and {pictures[0]} is "
                f"{values.shape[1]} x {values.shape[2]}",
                "bring all pictures to one size",
                field=column.name,
            )
        values[place] = pixels
    return values
