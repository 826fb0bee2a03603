"""Parquet files, read a few megabytes at a time to where the numbers stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ev3lang.catalog.signature import Value
from ev3lang.runtime.foreign import FOREIGN, foreign
from ev3lang.runtime.readers import arrow
from ev3lang.runtime.readers.opening import check_unpacked, file_at
from ev3lang.runtime.readers.table import Column, Found
from ev3lang.runtime.readers.wanted import Wanted

BUFFER_BYTES = 2**16


def read(
    options: Mapping[str, Value | None], columns: tuple[Column, ...], folder: Path, wanted: Wanted
) -> Found:
    """The declared columns of a parquet file; a column `split` names the part of each row.

    A column holds numbers, truths, text, lists of numbers (of one length; of any up to the
    declared one for tokens, which end in -1 then), or encoded pictures for a field of pixels.
    Raises DataError.
    """
    path = file_at(folder, str(options["path"]))
    size_bytes = path.stat().st_size
    with _guarded(path):
        opened = pq.ParquetFile(
            path, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
        )
        names = opened.schema_arrow.names
        rows = opened.metadata.num_rows
        unpacked = _unpacked(opened)
    check_unpacked(path, "its columns", unpacked, size_bytes)
    with opened:
        fields = arrow.find(path, columns, names)
        size = arrow.batch_rows(fields)

        def batches(wanted: list[str], size: int = size) -> Iterator[pa.RecordBatch]:
            with _guarded(path):
                yield from opened.iter_batches(size, columns=wanted)

        def row_parts() -> Iterator[pa.Array]:
            for batch in batches([arrow.SPLIT], arrow.MOST_ROWS):
                yield batch.column(0)

        has_parts = arrow.SPLIT in names
        return arrow.read(
            path, fields, batches, row_parts() if has_parts else None, rows, wanted, size_bytes
        )


def _guarded(path: Path) -> AbstractContextManager[None]:
    return foreign(f"{path} is no parquet file, or", *FOREIGN, pa.ArrowException)


def _unpacked(opened: pq.ParquetFile) -> int:
    """What the file says that all its columns take once they are unpacked, in bytes.

    Of a row group at a time: Arrow ends the process where it can't read what is said of a column.
    """
    metadata = opened.metadata
    groups = range(metadata.num_row_groups)
    return sum(metadata.row_group(place).total_byte_size for place in groups)
