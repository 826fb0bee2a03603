"""Data sets of the Hugging Face hub, or those that their library saved on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa

from ev3lang import regular
from ev3lang.catalog.signature import Value
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.foreign import FOREIGN, cause, foreign
from ev3lang.runtime.readers import arrow
from ev3lang.runtime.readers.table import Column, Found
from ev3lang.runtime.readers.wanted import Wanted

SPLITS_FILE, STATE_FILE = "dataset_dict.json", "state.json"
"""A folder with one of these was written by `save_to_disk`: of several splits, or of one."""

INFO_FILE = "dataset_info.json"
MOST_JSON_BYTES = 2**20
HELP = "name a data set of the hub, or a folder that `save_to_disk` wrote"


def read(
    options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path, wanted: Wanted
) -> Found:
    """The declared columns of every wanted split, which is a part; of a saved folder, or by name.

    A saved folder needs no network, and one without splits has no parts. Of a saved folder, splits
    that are not wanted are not opened.
    Raises DataError, also where the extra is not installed.
    """
    name = str(options["name"])
    splits = _splits(name, folder / name)
    chosen = wanted.chosen(name, splits)
    opened = {part: splits[part]() for part in wanted.counted(chosen, splits)}
    wanted.check_rows(name, {part: len(each) for part, each in opened.items()})
    found = {
        part: _columns(name if part is None else f"{name}, split {part}", columns, opened[part])
        for part in chosen
    }
    notes = dict.fromkeys(note for each in found.values() for note in each.warnings)
    return Found(
        {part: each.parts[None] for part, each in found.items()},
        tuple(notes),
        _classes(columns, opened[chosen[0]]),
    )


def _splits(name: str, path: Path) -> dict[str | None, Callable[[], Any]]:
    """What opens each split of a data set; of one without splits, under None."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            "data from the Hugging Face hub need its library",
            "pip install 'ev3lang[huggingface]'",
        ) from error
    if (path / SPLITS_FILE).is_file():
        names = _saved_splits(name, path / SPLITS_FILE)
        return {
            each: partial(_saved, datasets, f"{name}, split {each}", path / each) for each in names
        }
    if (path / STATE_FILE).is_file():
        return {None: partial(_saved, datasets, name, path)}
    with _loading(name, datasets):
        loaded = datasets.load_dataset(name)
    if isinstance(loaded, dict):
        return {str(part): partial(_itself, each) for part, each in loaded.items()}
    return {None: partial(_itself, loaded)}


def _itself(split: Any) -> Any:
    return split


def _saved_splits(name: str, path: Path) -> list[str]:
    """The names of the splits of a saved folder, each of which is a folder in it."""
    try:
        found = json.loads(regular.read_bytes(path, MOST_JSON_BYTES))
        names = found["splits"]
        is_well = isinstance(names, list) and all(
            isinstance(each, str) and each == Path(each).name and each not in ("", ".", "..")
            for each in names
        )
        if not is_well:
            raise ValueError("its `splits` are no names of folders")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(f"{name} can't be loaded: {path.name}: {cause(error)}", HELP) from error
    return names


def _saved(datasets: ModuleType, what: str, path: Path) -> Any:
    with _loading(what, datasets):
        # The library reads a split without files as a list without a first table.
        state = json.loads(regular.read_bytes(path / STATE_FILE, MOST_JSON_BYTES))
        if not state["_data_files"]:
            return ()
        for each in (INFO_FILE, *(each["filename"] for each in state["_data_files"])):
            regular.size_bytes(path / each)
        return datasets.load_from_disk(str(path))


@contextmanager
def _loading(what: str, datasets: ModuleType) -> Iterator[None]:
    """Turns what the library raises for a data set that it can't load into a DataError."""
    own = datasets.exceptions.DatasetsError
    try:
        yield
    except (*FOREIGN, pa.ArrowException, ImportError, own) as error:
        raise DataError(f"{what} can't be loaded: {cause(error)}", HELP) from error


def _classes(columns: tuple[Column, ...], dataset: Any) -> dict[str, tuple[str, ...]]:
    """The names that the data set has for the classes of a label."""
    found = {}
    for column in columns:
        names = getattr(dataset.features.get(column.stored_name), "names", None)
        if column.type.kind == "class" and isinstance(names, list):
            found[column.name] = tuple(map(str, names))
    return found


def _columns(file: str, columns: tuple[Column, ...], dataset: Any) -> Found:
    """The fields of one split."""
    if not len(dataset):
        raise DataError(f"{file} has no rows", "write the examples into it")
    fields = arrow.find(file, columns, dataset.column_names)
    size = arrow.batch_rows(fields)

    def batches(wanted: list[str]) -> Iterator[pa.RecordBatch]:
        with foreign(file, *FOREIGN, pa.ArrowException):
            for table in dataset.select_columns(wanted).with_format("arrow").iter(size):
                yield from table.combine_chunks().to_batches()

    return arrow.read(file, fields, batches, None, len(dataset), Wanted())
