"""Data sets of the Hugging Face hub, or those that their library saved on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ev3lang.catalog.signature import Value
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers import arrow
from ev3lang.runtime.readers.table import Column, Parts

SAVED = ("dataset_dict.json", "state.json")
"""A folder with one of these was written by `save_to_disk`."""


def read(options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path) -> Parts:
    """The declared columns of every split, which is a part; of a folder that was saved, or by name.

    A saved folder needs no network, and one without splits has no parts.
    Raises DataError, also where the extra is not installed.
    """
    name = str(options["name"])
    loaded = _loaded(name, folder / name)
    if not isinstance(loaded, dict):
        return {None: _columns(name, columns, loaded)}
    return {
        str(part): _columns(f"{name}, split {part}", columns, each) for part, each in loaded.items()
    }


def _loaded(name: str, path: Path) -> Any:
    """A data set, or a dict of them by split."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            "data from the Hugging Face hub need its library",
            "pip install 'ev3lang[huggingface]'",
        ) from error
    try:
        if any((path / saved).exists() for saved in SAVED):
            return datasets.load_from_disk(path)
        return datasets.load_dataset(name)
    except (OSError, ValueError, RuntimeError, pa.ArrowException) as error:
        raise DataError(
            f"{name} can't be loaded: {str(error).strip().partition(chr(10))[0]}",
            "name a data set of the hub, or a folder that `save_to_disk` wrote",
        ) from error


def _columns(file: str, columns: tuple[Column, ...], dataset: Any) -> dict[str, Any]:
    """The fields of one split."""
    fields = arrow.find(file, columns, dataset.column_names)
    size = arrow.batch_rows(fields)

    def batches(wanted: list[str]) -> Iterator[pa.RecordBatch]:
        for table in dataset.select_columns(wanted).with_format("arrow").iter(size):
            yield from table.combine_chunks().to_batches()

    (arrays,) = arrow.read(file, fields, batches, None, len(dataset)).values()
    return arrays
