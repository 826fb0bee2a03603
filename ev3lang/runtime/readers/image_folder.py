"""A folder of pictures for each class."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import attrs
import numpy as np

from ev3lang.catalog.signature import Value
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers import images
from ev3lang.runtime.readers.fitting import fitted
from ev3lang.runtime.readers.opening import check_size, file_at, folder_at, unreadable
from ev3lang.runtime.readers.table import Column, Found, Notes, missing_field, only_named
from ev3lang.runtime.readers.wanted import Wanted

FIELDS = ("image", "label")


@attrs.frozen
class _Listing:
    """What a folder holds, in the order of names, but for what starts with a dot.

    others   neither folders nor pictures
    hidden   pictures whose names start with a dot
    """

    folders: tuple[Path, ...]
    pictures: tuple[Path, ...]
    others: tuple[Path, ...]
    hidden: tuple[Path, ...]


def read(
    options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path, wanted: Wanted
) -> Found:
    """`image` and `label` of `folder/class/*.png` or, with parts, of `folder/part/class/*.png`.

    Labels count the classes of all parts that are read, in the order of their names; pictures come
    in the order of theirs. What is not read is counted in the warnings: pictures that lie deeper
    or outside of a class, and files that are no pictures. Names that start with a dot are passed
    over.
    Raises DataError.
    """
    path = folder_at(folder, str(options["path"]))
    only_named(path, columns)
    for column in columns:
        if column.stored_name not in FIELDS:
            raise missing_field(path, column, FIELDS, "field")
    top = _listed(path)
    if not top.folders:
        raise DataError(
            f"{path} has no folders, and each class needs one", "move the pictures of a class there"
        )
    notes = Notes()
    _note_outside(top, notes)
    named = {*wanted.parts, *wanted.rows} - {None}
    # a part that nothing is wanted of may be anything, or out of reach
    inside = {
        each: _listed(each)
        for each in top.folders
        if None in wanted.parts or None in wanted.rows or each.name in named
    }
    is_of_parts = None not in wanted.parts or not any(each.pictures for each in inside.values())
    if not is_of_parts:
        wanted.chosen(path, (None,))
        classes: dict[str | None, dict[Path, _Listing]] = {None: inside}
        chosen: tuple[str | None, ...] = (None,)
    else:
        names = [each.name for each in top.folders]
        chosen = wanted.chosen(path, names)
        counted = wanted.counted(chosen, names)
        for each, listing in inside.items():
            if each.name in chosen:
                _check_part(each, listing)
                _note_outside(listing, notes)
        classes = {
            each.name: {of_class: _listed(of_class) for of_class in listing.folders}
            for each, listing in inside.items()
            if each.name in counted
        }
    wanted.check_rows(
        path,
        {
            part: sum(len(each.pictures) for each in of_part.values())
            for part, of_part in classes.items()
        },
    )
    read = {part: classes[part] for part in chosen}
    labels = sorted({each.name for of_part in read.values() for each in of_part})
    _check_classes(path, columns, labels)
    parts = {part: _part(path, columns, labels, each, notes) for part, each in read.items()}
    of_label = {each.name: tuple(labels) for each in columns if each.type.kind == "class"}
    return Found(parts, notes.warnings(), of_label)


def _listed(path: Path) -> _Listing:
    folders: list[Path] = []
    pictures: list[Path] = []
    others: list[Path] = []
    hidden: list[Path] = []
    try:
        for each in sorted(path.iterdir()):
            if each.name.startswith("."):
                is_known = each.suffix.lower() in images.ENDINGS and not each.name.startswith("._")
                hidden += [each] if is_known else []
            elif each.is_dir():
                folders.append(each)
            elif each.suffix.lower() in images.ENDINGS:
                pictures.append(each)
            else:
                is_picture = each.is_file() and images.is_picture(each)
                (pictures if is_picture else others).append(each)
    except OSError as error:
        raise unreadable(path, error) from error
    return _Listing(tuple(folders), tuple(pictures), tuple(others), tuple(hidden))


def _check_part(path: Path, listing: _Listing) -> None:
    if not listing.folders:
        raise DataError(
            f"{path} holds {'pictures but no' if listing.pictures else 'neither pictures nor'} "
            "folders of them",
            "put a folder for each class there, or take it away",
        )


def _check_classes(path: Path, columns: Iterable[Column], classes: Collection[str]) -> None:
    for column in columns:
        if column.type.kind == "class" and column.type.dimensions != (len(classes),):
            shown = ", ".join(list(classes)[:8]) + (", ..." if len(classes) > 8 else "")
            raise DataError(
                f"{path} has {len(classes)} classes ({shown}), and the spec declares "
                f"{column.name}: {column.type}",
                f"declare `{column.name}: class[{len(classes)}]`",
                field=column.name,
            )


def _part(
    path: Path,
    columns: tuple[Column, ...],
    classes: list[str],
    folders: Mapping[Path, _Listing],
    notes: Notes,
) -> dict[str, np.ndarray]:
    """The fields of the pictures in these folders, a class each."""
    pictures: list[Path] = []
    labels: list[int] = []
    for each, listing in folders.items():
        if not listing.pictures:
            help = "put the pictures of the class there, or take the folder away"
            if listing.folders:
                help += f"; if it is a part with a folder for each class, write `from {each.name}`"
            raise DataError(f"{each} holds no pictures ({', '.join(sorted(images.ENDINGS))})", help)
        _note_inside(listing, notes)
        pictures += listing.pictures
        labels += [classes.index(each.name)] * len(listing.pictures)
    fields = {}
    for column in columns:
        values = np.asarray(labels, np.int32)
        if column.stored_name == "image":
            values = _pixels(path, column, pictures, notes)
        fields[column.name] = fitted(path, column, values, {})
    return fields


def _note_outside(listing: _Listing, notes: Notes) -> None:
    """Counts the pictures that lie beside the folders of the classes."""
    for each in listing.pictures:
        notes.add("pictures outside of a class's folder, not read", each)
    for each in listing.hidden:
        notes.add("pictures whose names start with a dot, not read", each)


def _note_inside(listing: _Listing, notes: Notes) -> None:
    """Counts what a class's folder holds beside the pictures that are read."""
    for each in listing.hidden:
        notes.add("pictures whose names start with a dot, not read", each)
    for each in listing.others:
        kind = (
            "files of no format that is read as a picture"
            if each.is_file()
            else "neither files nor folders"
        )
        notes.add(f"{kind}, not read", each)
    for each in listing.folders:
        for deeper in _below(each):
            notes.add("pictures deeper than a class's folder, not read", deeper)


def _below(path: Path) -> Iterable[Path]:
    """Every picture in a folder and the folders in it, by its ending; no link is followed."""
    for where, folders, names in os.walk(path):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            each = Path(where, name)
            if each.suffix.lower() in images.ENDINGS and not name.startswith("."):
                yield each


def _pixels(path: Path, column: Column, pictures: list[Path], notes: Notes) -> np.ndarray:
    """All pictures, uint8 `[B, height, width, channels]`; the first one settles named sizes."""
    images.check_column(path, column)
    values: np.ndarray = np.empty((0, 0, 0), np.uint8)
    for place, picture in enumerate(pictures):
        pixels = images.decoded(file_at(picture.parent, picture.name), column, picture, notes)
        if place == 0:
            check_size(path, column.name, len(pictures) * pixels.nbytes)
            values = np.empty((len(pictures), *pixels.shape), np.uint8)
        elif pixels.shape != values.shape[1:]:
            raise images.other_size(picture, column, pixels.shape, pictures[0], values.shape[1:])
        values[place] = pixels
    return values
