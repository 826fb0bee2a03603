"""Parquet files, read a few megabytes at a time to where the numbers stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ev3lang.catalog.signature import Value
from ev3lang.runtime.foreign import foreign
from ev3lang.runtime.readers import arrow
from ev3lang.runtime.readers.opening import check_size, file_at
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
    with opened:
        fields = arrow.find(path, columns, names)
        size = arrow.batch_rows(fields)

        def batches(wanted: list[str], size: int = size) -> Iterator[pa.RecordBatch]:
            with _guarded(path):
                check_size(path, ", ".join(wanted), _unpacked(opened, wanted), size_bytes)
                yield from opened.iter_batches(size, columns=wanted)

        def row_parts() -> Iterator[pa.Array]:
            for batch in batches([arrow.SPLIT], arrow.MOST_ROWS):
                yield batch.column(0)

        has_parts = arrow.SPLIT in names
        return arrow.read(
            path, fields, batches, row_parts() if has_parts else None, rows, wanted, size_bytes
        )


def _guarded(path: Path) -> AbstractContextManager[None]:
    return foreign(f"{path} is no parquet file, or", pa.ArrowException, OSError, RuntimeError)


def _unpacked(opened: pq.ParquetFile, names: list[str]) -> int:
    """What the file says that these columns take once they are unpacked, in bytes."""
    metadata = opened.metadata
    groups = (metadata.row_group(place) for place in range(metadata.num_row_groups))
    return sum(
        chunk.total_uncompressed_size
        for group in groups
        for chunk in map(group.column, range(group.num_columns))
        if chunk.path_in_schema.partition(".")[0] in names
    )
