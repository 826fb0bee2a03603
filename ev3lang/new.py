"""A first spec for a data set: its schema filled in, and comments that teach."""

from __future__ import annotations

import csv
import math
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from ev3lang.catalog.index import SOURCES
from ev3lang.check.data import DEFAULT_BATCH, DEFAULT_SHARES
from ev3lang.outcome import Fault
from ev3lang.source import Source
from ev3lang.syntax.format import format_source
from ev3lang.syntax.tables import tables

MOST_CLASSES = 1000
EMPTY = ("", "na", "nan", "null", "none")
TARGETS = ("label", "target", "class", "y")


class NewSpecError(Fault, ValueError):
    """Data that no spec can be written for."""


@attrs.frozen
class Column:
    """A field of the data.

    origin   its name in the file, where the language needs another
    classes  how many labels from 0 it holds, None where it holds none
    note     what a reader of the spec should know
    """

    name: str
    type: str
    origin: str | None = None
    classes: int | None = None
    note: str = ""

    @property
    def line(self) -> str:
        origin = "" if self.origin is None else f" from {_quoted(self.origin)}"
        note = f" # {self.note}" if self.note else ""
        return f"{self.name}: {self.type}{origin}{note}"


@attrs.frozen
class Table:
    """What is known of a data set: how it is named in a spec, its fields and its rows."""

    call: str
    columns: tuple[Column, ...]
    rows: int
    is_file: bool = True


def new_spec(name: str, data: str, target: str | None = None) -> str:
    """A spec that checks, in the one layout.

    name    of the experiment
    data    a path to a .csv, .npz or .parquet file, or a source such as `sklearn.digits`
    target  the field to predict; without it `label`, `target`, `class`, `y`, else the last one
    Raises NewSpecError where there is nothing to learn in the data, OSError where they can't be
    read.
    """
    table = _table(data)
    if table.rows * min(DEFAULT_SHARES.values()) < 1:
        raise NewSpecError(
            f"{data} has {table.rows} rows, too few to split in four", "ten are the least"
        )
    column = _target(table, target)
    text = _spec(_free(name, ()), table, column)
    formatted = format_source(Source("new.ev3", text))
    assert formatted is not None, "what is written here has no mistakes of syntax"
    return formatted


def _table(data: str) -> Table:
    readers = {".csv": _csv, ".npz": _npz, ".parquet": _parquet}
    bare = data.removesuffix("()")
    if bare in SOURCES and not SOURCES[bare].declares_fields:
        return _known(bare)
    reader = readers.get(Path(data).suffix.lower())
    if reader is None:
        bundled = [name for name, each in SOURCES.items() if not each.declares_fields]
        raise NewSpecError(
            f"{data} is neither a .csv, .npz or .parquet file nor a source",
            f"sources are {', '.join(bundled)}",
        )
    return reader(Path(data))


def _known(name: str) -> Table:
    entry = SOURCES[name]
    given = [f"{each.name}: 3" for each in entry.options if each.is_required]
    rows = entry.rows or 2000
    if entry.rows_option is not None:
        given.append(f"{entry.rows_option}: {rows}")
    sizes = {each.name: each.default for each in entry.options}
    columns = []
    for field, type_ in entry.fields:
        dimensions = tuple(
            size if isinstance(size, int) else sizes[size] or 3 for size in type_.dimensions
        )
        shape = f"[{', '.join(map(str, dimensions))}]" if dimensions else ""
        classes = dimensions[0] if type_.kind == "class" else None
        assert classes is None or isinstance(classes, int), "a count of classes"
        columns.append(Column(field, f"{type_.kind}{shape}", classes=classes))
    return Table(f"{name}({', '.join(given)})", tuple(columns), rows, is_file=False)


# ---------------------------------------------------------------- files


def _csv(path: Path) -> Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            lines = [line for line in csv.reader(file) if line]
        except (csv.Error, UnicodeDecodeError) as error:
            raise NewSpecError(
                f"{path} is no text table: {error}", "save it as UTF-8 csv"
            ) from error
    if len(lines) < 2:
        raise NewSpecError(f"{path} has no rows", "the first line names the columns")
    header, *rows = lines
    uneven = next((n for n, row in enumerate(rows, 2) if len(row) != len(header)), None)
    if uneven is not None:
        raise NewSpecError(
            f"{path}: row {uneven} has another number of cells than the header",
            f"each row has {len(header)} cells",
        )
    columns = _columns(header, [[row[i] for row in rows] for i in range(len(header))])
    return Table(f"csv({_quoted(str(path))})", columns, len(rows))


def _parquet(path: Path) -> Table:
    try:
        from pyarrow import parquet  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise NewSpecError(
            "reading parquet needs pyarrow, which is not installed", "pip install pyarrow"
        ) from error
    try:
        table = parquet.read_table(path)
    except ValueError as error:
        raise NewSpecError(f"{path} is no parquet file: {error}", "write it anew") from error
    values = [
        ["" if each is None else str(each) for each in table.column(name).to_pylist()]
        for name in table.column_names
    ]
    columns = _columns(table.column_names, values)
    return Table(f"parquet({_quoted(str(path))})", columns, table.num_rows)


def _columns(header: Sequence[str], columns: Sequence[Sequence[str]]) -> tuple[Column, ...]:
    twice = next((each for each in header if header.count(each) > 1), None)
    if twice is not None:
        raise NewSpecError(f"two columns are called {twice!r}", "give each its own name")
    found: list[Column] = []
    for title, cells in zip(header, columns, strict=True):
        if title == "split":
            continue  # it says which split a row is of, and is no field
        name = _free(title, [each.name for each in found])
        origin = None if name == title else title
        found.append(_column(name, origin, cells))
    return tuple(found)


def _column(name: str, origin: str | None, cells: Sequence[str]) -> Column:
    """A column by what its cells hold; empty ones don't count."""
    filled = [cell.strip() for cell in cells if cell.strip().lower() not in EMPTY]
    empty = len(cells) - len(filled)
    note = f"cells that are empty, which a run refuses: {empty}" if empty else ""
    numbers = _numbers(filled)
    if numbers is None:
        words = set(filled)
        if len(words) == len(filled) or name in ("id", "patient", "user") or name.endswith("_id"):
            return Column(name, "id", origin, note=note or "no model sees it")
        return Column(name, "text[categories]", origin, note=note or f"{len(words)} words")
    classes = _classes(numbers)
    return Column(name, "f32", origin, classes, note)


def _numbers(cells: Iterable[str]) -> list[float] | None:
    """The cells as numbers; None where one is no finite number, or there is none."""
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        return None
    return numbers if numbers and all(map(math.isfinite, numbers)) else None


def _classes(numbers: Iterable[float]) -> int | None:
    """How many labels there are, where the numbers are whole, from 0 on, without a gap."""
    found = {*numbers}
    count = len(found)
    return count if 2 <= count <= MOST_CLASSES and found == {*range(count)} else None


def _npz(path: Path) -> Table:
    import numpy as np

    if path.exists() and not zipfile.is_zipfile(path):
        raise NewSpecError(f"{path} is no npz file", "np.savez writes one")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            every: dict[str, Any] = {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise NewSpecError(
            f"{path} holds no plain arrays: {error}", "np.savez writes one"
        ) from error
    arrays = {name: each for name, each in every.items() if each.ndim}  # one entry an example
    parts = {name.split("/")[0] for name in arrays if "/" in name}
    if parts:
        raise NewSpecError(
            f"{path} has splits of its own: {', '.join(sorted(parts))}",
            "a spec for such a file is not written yet: see docs/language.md, `split … from train`",
        )
    rows = {len(array) for array in arrays.values()}
    if len(rows) != 1:
        raise NewSpecError(
            f"the arrays of {path} have different lengths", "each has one entry an example"
        )
    columns: list[Column] = []
    for title, array in arrays.items():
        name = _free(title, [each.name for each in columns])
        origin = None if name == title else title
        columns.append(_of_array(name, origin, array))
    return Table(f"npz({_quoted(str(path))})", tuple(columns), rows.pop())


def _of_array(name: str, origin: str | None, array: Any) -> Column:
    shape = f"[{', '.join(map(str, array.shape[1:]))}]" if array.ndim > 1 else ""
    kind = array.dtype.kind
    if kind not in "buif":
        return Column(name, "id", origin, note="no numbers: no model sees it")
    if array.ndim == 1 and kind in "bui":
        classes = _classes(float(each) for each in set(array.tolist()))
        return Column(name, "f32", origin, classes)
    is_bytes = array.dtype.itemsize == 1 and kind == "u"
    return Column(name, f"{'u8' if is_bytes else 'f32'}{shape}", origin)


# ---------------------------------------------------------------- writing


def _target(table: Table, wanted: str | None) -> Column:
    by_name = {each.name: each for each in table.columns}
    by_name.update({each.origin: each for each in table.columns if each.origin is not None})
    if wanted is None:
        wanted = next((each for each in TARGETS if each in by_name), table.columns[-1].name)
    found = by_name.get(wanted)
    if found is None:
        raise NewSpecError(
            f"the data have no field {wanted}", f"they have {', '.join(map(str, by_name))}"
        )
    if found.type == "id" or found.type.startswith("text"):
        raise NewSpecError(
            f"{wanted} holds words, and what is learned is a number",
            "write its classes as whole numbers from 0, or name another with --target",
        )
    is_single = found.type in ("f32", "real") or found.classes is not None
    if not is_single:
        raise NewSpecError(f"{wanted} is {found.type}", "name a label or a number with --target")
    return found


def _spec(name: str, table: Table, target: Column) -> str:
    inputs = [
        each
        for each in table.columns
        if each is not target and each.type.startswith(("f32", "u8", "real"))
    ]
    if not inputs:
        raise NewSpecError(
            "the data have no numbers to learn from", "one field more than the target"
        )
    if len(inputs) > 1 and any("," in each.type for each in inputs):
        inputs = [next(each for each in inputs if "," in each.type)]
    taken = [each.name for each in table.columns] + [name]
    examples, net, loss, goal = (
        _free(each, taken) for each in ("examples", "net", "loss_of_net", "goal")
    )
    input_ = inputs[0].name if len(inputs) == 1 else f"[{', '.join(e.name for e in inputs)}]"
    called = f"{net}({', '.join(each.name for each in inputs)})"
    is_label = target.classes is not None
    kind = f"class[{target.classes}]" if is_label else "real"
    explored = int(DEFAULT_SHARES["explore"] * table.rows)
    batch = min(DEFAULT_BATCH, 2 ** max(0, int(math.log2(max(1, explored // 4)))))
    block = [f"# Statistics come of the explore split alone.\nnormalize {_normal(inputs)}"]
    if table.is_file:
        fields = [attrs.evolve(e, type=kind) if e is target else e for e in table.columns]
        block = [*(each.line for each in fields), f"rows {table.rows}", *block]
    by = f" stratified by {target.name}" if is_label else ""
    shares = ", ".join(f"{use} {100 * share:g}%" for use, share in DEFAULT_SHARES.items())
    block.append("# Each part has one use, so that no claim rests on data it was chosen by.")
    block.append(f"split {shares}{by}")
    block.append(f"batch {batch}")
    if is_label:
        output = f"logits({target.name})"
        descended = f"cross_entropy({called}, {target.name})"
        measured = f"maximize argmax({called}) == {target.name}"
    else:
        output = "real"
        descended = f"squared_error({called}, {target.name})"
        # a mean of errors would need a known range: one example could outweigh all others
        measured = f"maximize r2_score({called}, {target.name})"
    chance = "5%" if is_label else "about 5%"
    inside = "\n".join(block)
    return f"""ev3 1

# Learns {target.name} from {", ".join(each.name for each in inputs[:4])}{_more(inputs)}.
# `ev3lang explain` of this file tells all of it in plain English.

experiment {name} {{ seed 0 }}

data {examples} = {table.call} {{
{inside}
}}

# `ev3lang explain mlp` shows what it takes; layers may be joined by hand: dense(64) | relu | dense
model {net}: {input_} -> {output} = mlp(hidden: [64, 64])

# What gradients follow. Several losses compete: descend this, that with adamw(1e-3)
loss {loss} = {descended}

# What matters. It ranks candidates, decides on acceptance and needs no gradient.
objective {goal} = {measured}

# Two candidates an iteration, one for each optimizer.
explore {net} {{
descend {loss} with adamw(1e-3), sgd(0.1, momentum: 0.9) for 100 steps
}}

assess {net} {{ rank by {goal} }}

# A model is accepted only on evidence; the chance of ever accepting a no better one is {chance}.
adapt {net} {{
accept when {goal} improves with confidence 95% over the run
stop after 20 iterations
}}

report {{ show {goal} }}
"""


def _more(inputs: Sequence[Column]) -> str:
    return f" and {len(inputs) - 4} more" if len(inputs) > 4 else ""


def _normal(inputs: Sequence[Column]) -> str:
    return ", ".join(each.name for each in inputs)


def _free(title: str, taken: Iterable[str]) -> str:
    """A name of the language that is near to a title and not taken."""
    name = re.sub(r"[^a-z0-9]+", "_", title.strip().lower()).strip("_") or "field"
    name = name if name[0].isalpha() else f"field_{name}"
    used = {*taken, *tables().words.values()}
    plain, number = name, 2
    if name in used and name not in taken:
        name = f"{plain}_value"
    while name in used:
        name, number = f"{plain}_{number}", number + 1
    return name


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
