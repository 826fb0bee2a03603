"""A data set by the name that the command line has for it."""

from __future__ import annotations

from pathlib import Path

import attrs

from ev3lang.catalog.index import SOURCES
from ev3lang.new.arrays import npz_table
from ev3lang.new.table import Column, NewSpecError, Table
from ev3lang.new.tables import csv_table, parquet_table

MADE_UP_ROWS = 2000

READERS = {".csv": csv_table, ".npz": npz_table, ".parquet": parquet_table}


def read_table(data: str) -> Table:
    """What `data` holds: a path to a .csv, .npz or .parquet file, or a source's name.

    Raises NewSpecError where it is neither, or has nothing to learn in it; DataError for a file
    that is damaged or can't be read.
    """
    bare = data.removesuffix("()")
    if bare in SOURCES and not SOURCES[bare].declares_fields:
        return _known(bare)
    suffix = Path(data).suffix.lower()
    reader = READERS.get(suffix)
    if reader is None:
        raise _no_reader(data, suffix)
    try:
        data.encode()
    except UnicodeEncodeError as error:
        raise NewSpecError(
            f"{data!a} has bytes in its name that are no UTF-8, which no spec can name",
            "rename the file",
        ) from error
    table = reader(data)
    if not table.columns:
        raise NewSpecError(f"{data} has no columns", "name another file")
    return table


def _no_reader(data: str, suffix: str) -> NewSpecError:
    bundled = [name for name, each in SOURCES.items() if not each.declares_fields]
    message = f"{data} is neither a .csv, .npz or .parquet file nor a source"
    if not Path(data).exists():
        return NewSpecError(message, f"sources are {', '.join(bundled)}")
    reading = _PANDAS.get(suffix)
    stem = Path(data).stem
    if reading is not None:
        help = f"t = pandas.{reading.format(path=data)}; t.to_csv('{stem}.csv', index=False)"
        return NewSpecError(message, f"convert it in Python: {help}")
    return NewSpecError(
        message, "save it as .csv (with commas and a line of names), or as .parquet"
    )


# How pandas reads what ev3lang doesn't.
_PANDAS = {
    ".tsv": "read_csv('{path}', sep='\\t')",
    ".txt": "read_csv('{path}', sep=None, engine='python')",
    ".xlsx": "read_excel('{path}')",
    ".xls": "read_excel('{path}')",
    ".json": "read_json('{path}')",
    ".jsonl": "read_json('{path}', lines=True)",
    ".feather": "read_feather('{path}')",
    ".orc": "read_orc('{path}')",
    ".pkl": "read_pickle('{path}')",
    ".gz": "read_csv('{path}')",
    ".bz2": "read_csv('{path}')",
    ".xz": "read_csv('{path}')",
    ".zip": "read_csv('{path}')",
    ".arff": "DataFrame(scipy.io.arff.loadarff('{path}')[0])",
}


def _known(name: str) -> Table:
    """A source that comes with ev3lang; one that is made up gets rows."""
    entry = SOURCES[name]
    given = [f"{each.name}: 3" for each in entry.options if each.is_required]
    rows = entry.rows or MADE_UP_ROWS
    if entry.rows_option is not None:
        given.append(f"{entry.rows_option}: {rows}")
    sizes = {each.name: each.default for each in entry.options}
    columns = []
    for field, type_ in entry.fields:
        dimensions = tuple(
            _size(sizes[each] if isinstance(each, str) else each) for each in type_.dimensions
        )
        shown = str(attrs.evolve(type_, dimensions=dimensions))
        if type_.kind == "class":
            columns.append(Column(field, "class", type=shown, distinct=dimensions[0]))
        elif dimensions:
            columns.append(Column(field, "array", type=shown, distinct=rows))
        else:
            columns.append(Column(field, "real", distinct=rows))
    return Table(name, tuple(columns), rows, ", ".join(given))


def _size(default: object) -> int:
    """What an option is by default, or what is given above to one that has none."""
    return default if isinstance(default, int) else 3
