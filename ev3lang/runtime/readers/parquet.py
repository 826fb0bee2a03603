"""Parquet files, read a few megabytes at a time to where the numbers stay."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ev3lang.catalog.signature import Value
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers import arrow
from ev3lang.runtime.readers.opening import file_at
from ev3lang.runtime.readers.table import Column, Parts

BUFFER_BYTES = 2**16


def read(options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path) -> Parts:
    """The declared columns of a parquet file; a column `split` names the part of each row.

    A column holds numbers, truths, text, lists of numbers (of one length; of any up to the
    declared one for tokens, which end in -1 then), or encoded pictures for a field of pixels.
    Raises DataError.
    """
    path = file_at(folder, str(options["path"]))
    try:
        with pq.ParquetFile(
            path, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
        ) as opened:
            names = opened.schema_arrow.names
            fields = arrow.find(path, columns, names)
            parts = opened.read([arrow.SPLIT]).column(0) if arrow.SPLIT in names else None
            size = arrow.batch_rows(fields)
            return arrow.read(
                path,
                fields,
                lambda wanted: opened.iter_batches(size, columns=wanted),
                parts,
                opened.metadata.num_rows,
            )
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is no parquet file, or is damaged: {_first_line(error)}",
            "write the file again",
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
