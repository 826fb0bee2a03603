"""What a spec declares of a file, what a reader makes of it, and how the two are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs
import numpy as np

from ev3lang.catalog.signature import Type
from ev3lang.diagnostics.suggest import nearest
from ev3lang.runtime.faults import DataError


@attrs.frozen
class Column:
    """A field as the spec declares it.

    origin   its name in the file where that is another, or the columns of a table that make it
             up, first and last, counted from 1
    """

    name: str
    type: Type
    origin: str | tuple[int, int] | None = None

    @property
    def stored_name(self) -> str:
        """What the file calls it, unless it is made up of numbered columns."""
        return self.origin if isinstance(self.origin, str) else self.name


Parts: TypeAlias = dict[str | None, dict[str, np.ndarray]]
"""A file's own split (None: it has none) to field to its examples `[B, *dimensions]`.

float32 for reals and scores, uint8 for u8, int32 for i32, labels and tokens, bool for bool and
multi, str objects for text, str objects or int64 for ids.
"""


@attrs.frozen(eq=False)
class Found:
    """What a reader makes of a file.

    parts     the wanted ones
    warnings  what was passed over, or is less in memory than in the file
    classes   the names of a label's classes in order, by its field, where the file has them
    """

    parts: Parts
    warnings: tuple[str, ...] = ()
    classes: Mapping[str, tuple[str, ...]] = attrs.Factory(dict)


@attrs.define
class Notes:
    """What is passed over or lost in reading many files, counted, with the first of each kind."""

    _counts: dict[str, int] = attrs.field(factory=dict)
    _first: dict[str, str] = attrs.field(factory=dict)

    def add(self, what: str, where: object) -> None:
        """Counts one more of a kind, as in `pictures with two frames`."""
        self._counts[what] = self._counts.get(what, 0) + 1
        self._first.setdefault(what, str(where))

    def warnings(self) -> tuple[str, ...]:
        """A line for each kind: how many of it there are, and which is the first."""
        return tuple(
            f"{what}: {count:,}{', the first one' if count > 1 else ','} {self._first[what]}"
            for what, count in self._counts.items()
        )


def shape_of(type_: Type) -> tuple[int | str, ...]:
    """The dimensions of one example in memory; a name stands for any size.

    A label is one number, `multi` one for each label, `tokens[vocab, length]` one for each place.
    """
    if type_.kind in ("class", "text"):
        return ()
    return type_.dimensions[1:] if type_.kind == "tokens" else type_.dimensions


def missing_field(
    file: object, column: Column, known: Sequence[str], what: str = "column"
) -> DataError:
    """The error for a field that the file lacks, with the nearest name that it has."""
    name = column.stored_name
    near = nearest(name, known)
    listed = ", ".join(sorted(known)[:12]) + (", ..." if len(known) > 12 else "")
    has = f"it has {listed}" if known else "it has none"
    if near is not None:
        written = near if near.isidentifier() else f'{column.name}: {column.type} from "{near}"'
        help = f"did you mean `{written}`?"
    else:
        help = f'say which {what} it is: `{column.name}: {column.type} from "..."`'
    return DataError(f"{file} has no {what} `{name}`; {has}", help, field=column.name)


def only_named(file: object, columns: Sequence[Column]) -> None:
    """Raises DataError for a field that is made up of numbered columns, in a file without them."""
    for column in columns:
        if isinstance(column.origin, tuple):
            raise DataError(
                f"{file} has no numbered columns, and {column.name} is from columns "
                f"{column.origin[0]} to {column.origin[1]}",
                f'name what holds it: `{column.name}: {column.type} from "..."`',
                is_spec_fault=True,
                field=column.name,
            )


def check_row_counts(file: object, counts: Mapping[str | None, Mapping[str, int]]) -> None:
    """Raises DataError where fields of a part differ in how many examples they have, or have none.

    counts   of examples, by part and field
    """
    for part, fields in counts.items():
        of_part = "" if part is None else f" in {part}"
        first, *others = fields
        for name in others:
            if fields[name] != fields[first]:
                raise DataError(
                    f"{file}: {name} has {fields[name]} rows{of_part}, and {first} has "
                    f"{fields[first]}",
                    "store one value of each field for every example",
                    field=name,
                )
        if fields[first] == 0:
            raise DataError(f"{file} has no rows{of_part}", "write the examples into the file")
