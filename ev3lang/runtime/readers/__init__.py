"""Files as columns: one reader for each format, by the name of its source."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

from ev3lang.catalog.signature import Value
from ev3lang.runtime.readers.table import Column, Found
from ev3lang.runtime.readers.wanted import Wanted

Options: TypeAlias = "Mapping[str, Value | None]"

Reader: TypeAlias = "Callable[[Options, tuple[Column, ...], Path, Wanted], Found]"
"""From a source's options, the declared columns, the spec's folder and what it wants to arrays.

Raises DataError where the file is not what the spec declares: for the number of its rows, and for
what its headers say, before it reads them.
"""


def _read(
    source: str, options: Options, columns: tuple[Column, ...], folder: Path, wanted: Wanted
) -> Found:
    # A format's library is loaded by the runs that read it, not by all.
    module = importlib.import_module(f"ev3lang.runtime.readers.{source}")
    found: Found = module.read(options, columns, folder, wanted)
    return found


READERS: Mapping[str, Reader] = {
    source: partial(_read, source)
    for source in ("cifar", "csv", "huggingface", "idx", "image_folder", "npz", "parquet")
}
