"""What of a table is learned from what: the target, the inputs, and why the rest is left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias

import attrs

from ev3lang.diagnostics.suggest import nearest
from ev3lang.new.names import Names, shown
from ev3lang.new.table import Column, NewSpecError, Table
from ev3lang.syntax.write import write_string

Task: TypeAlias = Literal["classification", "regression"]

TARGETS = ("label", "target", "class", "y")
"""Names that say by themselves what is to be predicted."""

MOST_CLASSES = 20
"""Whole numbers are labels where they are no more than so many, unless their name says so."""

MOST_WORD_CLASSES = 100
FEWEST_OF_CLASS = 2
ROWS_OF_CLASS = 5
"""Examples for each class, on average, below which words and whole numbers are no labels."""

MOST_INPUT_WORDS = 50
MANY_INPUTS = 40
"""More columns of numbers than this are declared as runs of neighbours."""

MOST_FIELDS = 500
ROWS_OF_IDS = 20
"""Whole numbers that all differ are ids from so many rows on; in fewer they differ by chance."""

FEWEST_GROUPS = 8
"""Two for each of the four splits."""

_INDEXES = ("", "index", "unnamed: 0", "__index_level_0__", "level_0", "rownames", "row")
_ID = re.compile(r"(?:^|[_\W])(?:id|uuid|guid)$|[a-z](?:Id|ID)$|^(?:id|ID|Id)$", re.IGNORECASE)
_CAMEL_ID = re.compile(r"[a-z](?:Id|ID)$")
_GROUPS = re.compile(r"^(?:patient|subject|user|customer|person|group|session)s?$", re.IGNORECASE)


@attrs.frozen
class Field:
    """A field as a spec declares it, `age: f32 from "Age"`; of a known source its name alone."""

    name: str
    type: str
    origin: str | tuple[int, int] | None = None

    @property
    def line(self) -> str:
        if self.origin is None:
            return f"{self.name}: {self.type}"
        if isinstance(self.origin, str):
            return f"{self.name}: {self.type} from {write_string(self.origin)}"
        return f"{self.name}: {self.type} from columns {self.origin[0]} to {self.origin[1]}"


@attrs.frozen
class Target:
    """What is predicted.

    label    the field that losses and objectives name
    field    what the data hold, None where the source declares it
    classes  how many, None for a number
    derived  what the label is computed from, None where it is the field itself
    words    how it is learned, for people
    """

    title: str
    label: str
    field: Field
    classes: int | None
    derived: str | None
    words: str


@attrs.frozen
class Choice:
    """What a spec is written of.

    group     the field that splits keep together, None where rows are on their own
    left_out  titles of columns, and why
    """

    target: Target
    inputs: tuple[Field, ...]
    group: Field | None
    left_out: tuple[tuple[str, str], ...]


def candidates(table: Table) -> list[str]:
    """The titles of columns that can be predicted, in their order."""
    return [each.title for each in table.columns if _is_candidate(each, table.rows)]


def default_target(table: Table) -> tuple[str, str]:
    """The title of the column to predict if none is named, and the reason for it."""
    by_name = {each.title.strip().lower(): each.title for each in reversed(table.columns)}
    for name in TARGETS:
        if name in by_name:
            return by_name[name], "by its name"
    last = candidates(table)
    if not last:
        reasons = (_why_not(each, table.rows) or "" for each in table.columns[:6])
        found = ", ".join(filter(None, reasons)) or "all are ids"
        raise NewSpecError(
            f"no column can be predicted: {found}",
            "write a label or a number for each example into the data, without gaps",
        )
    if last[-1] == table.columns[-1].title:
        return last[-1], "the last column"
    return last[-1], "the last column that can be predicted"


def find(table: Table, wanted: str) -> Column:
    """The column of that name; raises NewSpecError where there is none."""
    for exact in (str, str.lower):
        for each in table.columns:
            if exact(each.title) == exact(wanted):
                return each
    titles = [each.title for each in table.columns]
    near = nearest(wanted, titles)
    listed = ", ".join(map(shown, titles[:12])) + (", ..." if len(titles) > 12 else "")
    raise NewSpecError(
        f"the data have no field {shown(wanted)}",
        f"did you mean {shown(near)}?" if near is not None else f"they have {listed}",
    )


def choose(
    table: Table,
    target: Column,
    names: Names,
    *,
    task: Task | None,
    refused: Mapping[str, str],
    is_grouped: bool,
) -> Choice:
    """Target, inputs and the rest of a table.

    names       those of the spec; the fields' own are added
    task        how the target is learned, None for what suits it
    refused     titles that a run can't read, and why
    is_grouped  whether ids that repeat may keep the splits apart
    Raises NewSpecError where the target can't be learned or nothing is left to learn it from.
    """
    learned = _target(table, target, names, task)
    left_out: list[tuple[str, str]] = []
    chosen: list[Column] = []
    groups: list[Column] = []
    images = [each for each in table.columns if each.kind == "array" and "," in each.type]
    for each in table.columns:
        if each is target:
            continue
        why = refused.get(each.title) or _not_an_input(each, table.rows)
        if why is None and images and each is not images[0]:
            why = f"a net of {shown(images[0].title)} takes pictures alone"
        if why is None:
            chosen.append(each)
            continue
        is_group = is_grouped and each.title not in refused and _is_group(each, table.rows)
        if is_group and not groups and not table.parts:
            groups.append(each)
        else:
            left_out.append((each.title, why))
    if not chosen:
        found = "; ".join(f"{shown(title)}: {why}" for title, why in left_out[:6])
        raise NewSpecError(
            "the data have nothing to learn from" + (f" ({found})" if found else ""),
            "one field more than the target, of numbers, words or truths without gaps",
        )
    inputs = _fields(chosen, names, is_own=table.path is None)
    if len(inputs) > MOST_FIELDS:
        raise NewSpecError(
            f"the data have {len(chosen)} columns to learn from in {len(inputs)} places",
            "put columns of numbers side by side, or store them as one array in an npz file",
        )
    group = _field(groups[0], names, "id") if groups else None
    return Choice(learned, inputs, group, tuple(left_out))


# ---------------------------------------------------------------- the target


def _is_candidate(column: Column, rows: int) -> bool:
    return _why_not(column, rows) is None and _id_words(column, rows) is None


def _why_not(column: Column, rows: int) -> str | None:
    """Why a column can't be predicted, in words that go on after its name."""
    title = shown(column.title)
    if column.kind == "none":
        return f"{title} can't be used: {column.trouble}"
    if column.kind == "array":
        return f"{title} is {column.type}, several numbers for each example"
    if column.missing:
        return f"{title} has no value, or no finite one, in {column.missing:,} of {rows:,} rows"
    if column.distinct < 2:
        return f"{title} is the same in every row"
    most = min(MOST_WORD_CLASSES, rows // FEWEST_OF_CLASS)
    if column.kind == "words" and column.distinct > most:
        return f"{title} holds {column.distinct:,} different words in {rows:,} rows"
    return None


def _target(table: Table, column: Column, names: Names, task: Task | None) -> Target:
    why = _why_not(column, table.rows)
    if why is not None:
        raise NewSpecError(why, _help(table, column))
    if column.kind == "class":
        if task == "regression":
            raise NewSpecError(
                f"{shown(column.title)} is {column.type}, a label", "leave out --task regression"
            )
        field = Field(names.own(column.title), column.type)
        words = f"{column.distinct} classes"
        return Target(column.title, field.name, field, column.distinct, None, words)
    is_label = _is_label(column, table.rows) if task is None else task == "classification"
    if not is_label:
        if column.kind in ("words", "bool"):
            what = "words" if column.kind == "words" else "truths"
            raise NewSpecError(
                f"{shown(column.title)} holds {what}, and a regression learns a number",
                "leave out --task regression, or name another column with --target",
            )
        field = _field(column, names, "real", is_own=table.path is None)
        return Target(column.title, field.name, field, None, None, "a number")
    if not column.values or column.distinct > max(MOST_WORD_CLASSES, table.rows // 2):
        raise NewSpecError(
            f"{shown(column.title)} has {column.distinct:,} different values in {table.rows:,} "
            "rows, too many to be classes",
            "leave out --task classification",
        )
    return _labels(column, names)


def _help(table: Table, column: Column) -> str:
    others = ", ".join(map(shown, candidates(table)[:8]))
    other = f"name another with --target: {others}" if others else "there is no other to predict"
    if column.missing and column.kind != "none" and table.source in ("csv", "parquet"):
        path, title = table.path, column.title
        return (
            f"leave such rows out, in Python: t = pandas.read_{table.source}({path!r}); "
            f"t.dropna(subset=[{title!r}]).to_{table.source}('whole.{table.source}', index=False); "
            f"or {other}"
        )
    if column.kind == "words" and column.distinct > 1:
        return f"bring them to fewer, of several rows each, or {other}"
    return other


def _is_label(column: Column, rows: int) -> bool:
    if column.kind in ("words", "bool"):
        return True
    values = column.values
    if not values or not is_whole(values):
        return len(values) == 2
    if rows < ROWS_OF_CLASS * len(values):
        return False
    is_named = column.title.strip().lower() in ("label", "class")
    return len(values) <= MOST_CLASSES or (is_named and _is_from_0(values))


def is_whole(values: Sequence[float | str]) -> bool:
    """Whether all are whole numbers, `1.0` among them."""
    return all(not isinstance(each, str) and float(each).is_integer() for each in values)


def _is_from_0(values: Sequence[float | str]) -> bool:
    return values == tuple(range(len(values)))


def _labels(column: Column, names: Names) -> Target:
    """The classes of a column: its own numbers where they count from 0, else derived ones."""
    values, count = column.values, column.distinct
    title = shown(column.title)
    if column.kind == "whole" and _is_from_0(values):
        field = _field(column, names, f"class[{count}]")
        return Target(column.title, field.name, field, count, None, f"{count} classes")
    kind = {"words": f"text[{count}]", "bool": "bool", "real": "f32", "whole": "i32"}[column.kind]
    if column.kind == "whole" and not all(abs(float(each)) < 2**31 for each in values):
        kind = "f32"
    field = _field(column, names, kind)
    label = names.new(f"{field.name}_class")
    if column.kind in ("words", "bool"):
        listed = ", ".join(shown(str(each)) for each in values[:4])
        words = f"{count} classes ({listed}{', ...' if count > 4 else ''})"
        return Target(column.title, label, field, count, field.name, words)
    if count > MOST_CLASSES and kind != "i32":
        raise NewSpecError(
            f"{title} has {count} different numbers that are no counts from 0",
            "store them as whole numbers from 0, or leave out --task classification",
        )
    listed = ", ".join(f"{each:g}" for each in values[:4] if not isinstance(each, str))
    words = f"{count} classes ({listed}{', ...' if count > 4 else ''})"
    return Target(column.title, label, field, count, _from_numbers(field, values), words)


def _from_numbers(field: Field, values: Sequence[float | str]) -> str:
    """An expression for the place of a number among these, in order."""
    numbers = [each for each in values if not isinstance(each, str)]
    low = numbers[0]
    if field.type == "i32" and len(numbers) == 2:
        return f"{field.name} == {_literal(numbers[1])}"
    if field.type == "i32" and numbers == [*range(int(low), int(low) + len(numbers))]:
        return f"{field.name} - {low:g}" if low > 0 else f"{field.name} + {-low:g}"
    # how many of the others a number is beyond: halfway, so that no rounding matters
    bounds = [(a + b) / 2 for a, b in pairwise(numbers)]
    compared = [f"{field.name} > {_literal(each)}" for each in bounds]
    return compared[0] if len(compared) == 1 else " + ".join(f"({each})" for each in compared)


def _literal(number: float) -> str:
    """A number as the language writes it, whole only within 32 bits."""
    is_short = float(number).is_integer() and abs(number) < 2**31
    return repr(int(number)) if is_short else repr(float(number))


# ---------------------------------------------------------------- the inputs


def _not_an_input(column: Column, rows: int) -> str | None:
    """Why a column is no input, None for one that is."""
    if column.kind == "none":
        return column.trouble
    id_words = _id_words(column, rows)
    if id_words is not None:
        return id_words
    if column.missing:
        return (
            f"{column.missing:,} of {rows:,} rows have no value, or no finite one, and a run takes "
            "none such: fill them in, or leave those rows out"
        )
    if column.kind in ("array", "class"):
        return None
    if column.distinct < 2:
        return "the same in every row"
    if column.kind == "words" and column.distinct > max(2, min(MOST_INPUT_WORDS, rows // 4)):
        return f"{column.distinct:,} different words"
    return None


def _id_words(column: Column, rows: int) -> str | None:
    """What makes a column an id rather than a measurement, None where nothing does."""
    name = column.title.strip()
    if column.kind not in ("whole", "words", "real"):
        return None
    if name.lower() in _INDEXES and (column.kind == "whole" or column.distinct == rows):
        return "the index of a table, which numbers its rows"
    if (_ID.search(name) or _CAMEL_ID.search(name)) and column.kind != "real":
        return "an id by its name"
    if _GROUPS.match(name) and column.distinct > MOST_CLASSES and column.kind != "real":
        return "a group or person by its name"
    if column.distinct < rows or column.missing:
        return None
    if column.kind == "words":
        return "a different word in every row, as an id has"
    if column.kind == "whole" and (rows >= ROWS_OF_IDS or column.is_rising):
        return "a different whole number in every row, as an id has"
    return None


def _is_group(column: Column, rows: int) -> bool:
    """Whether rows that share an id belong together, in groups that can be dealt out."""
    is_named = _id_words(column, rows) is not None
    can_be = column.kind in ("whole", "words") and not column.missing
    return can_be and is_named and FEWEST_GROUPS <= column.distinct < rows


def _fields(columns: Sequence[Column], names: Names, *, is_own: bool) -> tuple[Field, ...]:
    """A field for each column; for many columns of numbers one for each run of neighbours."""
    numbers = [each for each in columns if each.kind in ("real", "whole")]
    are_many = len(numbers) > MANY_INPUTS and all(each.place is not None for each in numbers)
    if not are_many:
        return tuple(_field(each, names, _input_type(each), is_own=is_own) for each in columns)
    fields: list[Field] = []
    run: list[Column] = []
    for each in (*columns, None):
        is_next = each is not None and each in numbers and (not run or _follows(run[-1], each))
        if is_next:
            assert each is not None
            run.append(each)
            continue
        fields += _run(run, names)
        run = []
        if each is not None and each in numbers:
            run = [each]
        elif each is not None:
            fields.append(_field(each, names, _input_type(each)))
    return tuple(fields)


def _follows(before: Column, column: Column) -> bool:
    return before.place is not None and column.place == before.place + 1


def _run(run: Sequence[Column], names: Names) -> list[Field]:
    if len(run) < 3:
        return [_field(each, names, "f32") for each in run]
    first, last = run[0].place, run[-1].place
    assert first is not None and last is not None
    return [Field(names.new("features"), f"f32[{len(run)}]", (first, last))]


def _input_type(column: Column) -> str:
    if column.kind in ("array", "class"):
        return column.type
    if column.kind == "words":
        return f"text[{column.distinct}]"
    return "bool" if column.kind == "bool" else "f32"


def _field(column: Column, names: Names, type_: str, *, is_own: bool = False) -> Field:
    """A field of a column; one that the source itself declares has its own name."""
    if is_own:
        return Field(names.own(column.title), type_)
    name = names.new(column.title)
    return Field(name, type_, None if name == column.title else column.title)
