"""A first spec for a data set, compared with the data as a run compares it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np

from ev3lang.analysis import Analysis, analyze
from ev3lang.check.typed import SPLITS
from ev3lang.diagnostics.diagnostic import Diagnostic, has_errors
from ev3lang.new import choosing, writing
from ev3lang.new.choosing import Choice, Task
from ev3lang.new.names import Names, shown
from ev3lang.new.reading import read_table
from ev3lang.new.table import NewSpecError, Table
from ev3lang.plan.lower import lower
from ev3lang.runtime import data as runs
from ev3lang.runtime import suitability
from ev3lang.runtime.faults import DataError
from ev3lang.source import Source

MOST_ATTEMPTS = 20
"""How many columns may turn out to be unreadable, one after the other."""

MOST_LISTED = 8

Ask = Callable[[Sequence[str], str], str]
"""From the columns that can be predicted and the likeliest to the one that a person wants."""


@attrs.frozen
class Draft:
    """A spec that checks and whose data a run can read.

    notes     what was chosen and left out, and what is odd about the data
    warnings  what the checker says of it
    """

    text: str
    notes: tuple[str, ...]
    warnings: tuple[Diagnostic, ...]


def new_spec(
    name: str | None,
    data: str,
    target: str | None = None,
    *,
    task: Task | None = None,
    out: Path | None = None,
    ask: Ask | None = None,
) -> Draft:
    """A spec that checks, in the one layout, and that the data fit.

    name    of the experiment, None for one after the data
    data    a path to a .csv, .npz or .parquet file, or a source such as `sklearn.digits`
    target  the field to predict; without it `label`, `target`, `class`, `y`, else the last that
            can be predicted
    task    how it is learned, None for what suits it
    out     where the spec will be: the path in it is relative to that file's folder
    ask     which target is meant, where only its place speaks for it
    Raises NewSpecError where there is nothing to learn in the data or no run would take them,
    DataError where they are damaged, OSError where they can't be read.
    """
    table = read_table(data)
    why = "as asked for"
    if target is None:
        target, why = choosing.default_target(table)
        if ask is not None and why != "by its name" and len(choosing.candidates(table)) > 1:
            target, why = ask(choosing.candidates(table), target), "as asked for"
    column = choosing.find(table, target)
    source_name = str(out) if out is not None else "new.ev3"
    path = None if table.path is None else _path_in_spec(table.path, Path(source_name).parent)
    refused: dict[str, str] = {}
    is_grouped = True
    for _ in range(MOST_ATTEMPTS):
        names = Names()
        experiment = names.new(name if name is not None else f"{_stem(data)}_first")
        choice = choosing.choose(
            table, column, names, task=task, refused=refused, is_grouped=is_grouped
        )
        text = writing.written(experiment, table, path, choice, names)
        analysis = _checked(text, source_name, table)
        try:
            odd = _read(analysis, choice)
        except DataError as error:
            culprit = _culprit(table, choice, error)
            if culprit is not None:
                refused[culprit] = _reason(error, path)
            elif is_grouped and choice.group is not None and error.field == choice.group.name:
                is_grouped = False
            else:
                raise NewSpecError(f"a run would refuse this: {error}", error.help) from error
            continue
        notes = _notes(table, choice, why, is_grouped=is_grouped)
        return Draft(text, (*notes, *odd), analysis.refusals)
    raise NewSpecError(
        f"{data} has more than {MOST_ATTEMPTS} columns that a run can't read, such as "
        f"{', '.join(map(shown, list(refused)[:4]))}",
        "leave them out of the file, or mend them",
    )


def _stem(data: str) -> str:
    return Path(data).stem if Path(data).is_file() else data.removesuffix("()").rpartition(".")[2]


def _path_in_spec(data: str, folder: Path) -> str:
    """The path from the spec's folder, from which a run looks for it."""
    if os.path.isabs(data):
        return data
    try:
        relative = Path(os.path.relpath(data, folder)).as_posix()
        is_found = os.path.samefile(folder / relative, data)
    except (OSError, ValueError):
        is_found = False  # on another disk, or by way of a link
    # `..` of a linked folder leads elsewhere
    return relative if is_found else Path(data).resolve().as_posix()


def _checked(text: str, name: str, table: Table) -> Analysis:
    """The spec as the checker has it; what it finds at fault is that there are too few rows."""
    analysis = analyze(Source(name, text))
    if has_errors(analysis.refusals):
        first = next(each for each in analysis.refusals if each.severity == "error")
        parts = "".join(f", {rows} in {part}" for part, rows in table.parts.items())
        raise NewSpecError(
            f"{table.path or table.source} has {table.rows} rows{parts}, too few for a run: "
            f"{first.message}",
            "a first spec needs about forty rows, a few of them in each split",
        )
    return analysis


def _read(analysis: Analysis, choice: Choice) -> tuple[str, ...]:
    """What a run would warn of before its first step, with the data read as it reads them.

    Raises DataError where they don't fit the spec, or it could measure nothing on them.
    """
    assert analysis.program is not None, "a spec without errors has a program"
    plan = lower(analysis.program)
    dataset = runs.read(plan.data, analysis.source.folder)
    label = choice.target.label
    for use in SPLITS if choice.target.classes is None and dataset.tables else ():
        values = dataset.tables[use][label]
        if not np.ptp(values) > 0:
            raise DataError(
                f"{label} is the same in all {len(values)} examples of the {use} split, where R² "
                "has no value",
                "add examples, or name another column with --target",
            )
    return (*dataset.warnings, *suitability.warnings(plan, dataset.tables))


def _culprit(table: Table, choice: Choice, error: DataError) -> str | None:
    """The title of the column that a run can't read, where the spec can do without it."""
    inputs = {each.name: each for each in choice.inputs}
    field = inputs.get(error.field or "")
    if field is None:
        return None
    if isinstance(field.origin, tuple):
        # one of a run of columns: its own name is in the message
        first, last = field.origin
        run = [each for each in table.columns if first <= (each.place or 0) <= last]
        return next((each.title for each in run if f": {each.title} " in str(error)), None)
    return field.name if field.origin is None else field.origin


def _reason(error: DataError, path: str | None) -> str:
    """A run's words without the file, which the spec names above."""
    words = str(error)
    return words.partition(": ")[2] if path is not None and ": " in words else words


def _notes(table: Table, choice: Choice, why: str, *, is_grouped: bool) -> list[str]:
    """What was chosen, for people, the most important first."""
    target = choice.target
    others = [each for each in choosing.candidates(table) if each != target.title]
    listed = ", ".join(map(shown, others[:MOST_LISTED])) + (", ..." * (len(others) > MOST_LISTED))
    other = f"; others for --target: {listed}" if others else ""
    notes = [f"target: {shown(target.title)}, {why}, learned as {target.words}{other}"]
    column = choosing.find(table, target.title)
    if target.classes is not None and column.kind in ("whole", "real"):
        notes.append("its numbers are taken for labels; --task regression learns them as a number")
    for title, reason in choice.left_out[:MOST_LISTED]:
        notes.append(f"left out: {shown(title)}: {writing.shown_words(reason)}")
    if len(choice.left_out) > MOST_LISTED:
        notes.append(f"left out: {len(choice.left_out) - MOST_LISTED} more, as the spec says")
    if choice.group is not None:
        notes.append(f"rows of one {choice.group.name} stay in one split (`grouped by`)")
    elif not is_grouped:
        notes.append(
            "rows of one group may be in two splits, since its groups can't be dealt out to four"
        )
    return notes
