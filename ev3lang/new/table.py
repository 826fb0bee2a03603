"""What is known of a data set before a spec is written for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import attrs
import numpy as np

from ev3lang.outcome import Fault

MOST_VALUES = 1000
"""The distinct values of a column are kept up to so many: no label has more."""

LARGEST = float(np.finfo(np.float32).max)

Kind: TypeAlias = Literal["real", "whole", "bool", "words", "array", "class", "none"]
"""`real` and `whole` numbers, `bool`, `words`; an `array` for each example; a `class` that the
source itself declares; `none` for what no field can hold."""


class NewSpecError(Fault, ValueError):
    """Data that no spec can be written for."""


@attrs.frozen
class Column:
    """A column of a table, or an array with an entry for each example.

    title      its name in the file
    place      among the columns of a table, from 1; None where columns have no order
    type       as a spec declares it, where `kind` is `array` or `class`
    missing    rows without a value, or with one that is not a finite number
    distinct   how many different values there are
    values     all of them in order, where there are `MOST_VALUES` at most; else empty
    is_rising  whether every value is greater than the one of the row before
    trouble    why no field can hold it, where `kind` is `none`
    """

    title: str
    kind: Kind
    place: int | None = None
    type: str = ""
    missing: int = 0
    distinct: int = 0
    values: tuple[float | str, ...] = ()
    is_rising: bool = False
    trouble: str = ""


@attrs.frozen
class Table:
    """A data set as a spec would name it.

    source   the name of the source: `csv`, `sklearn.digits`
    options  what it is called with, as a spec writes it, but for a file's path
    path     of the file, None where the source is none
    rows     examples in all
    parts    the file's own parts and their rows; empty where it has none
    """

    source: str
    columns: tuple[Column, ...]
    rows: int
    options: str = ""
    path: str | None = None
    parts: Mapping[str, int] = MappingProxyType({})


def of_numbers(column: Column, numbers: np.ndarray) -> Column:
    """The column of these numbers, [filled rows], with what their size and order say."""
    if float(np.abs(numbers.astype(np.float64)).max()) > LARGEST:
        return attrs.evolve(column, kind="none", trouble="numbers beyond float32: scale them down")
    is_rising = len(numbers) > 1 and bool((numbers[1:] > numbers[:-1]).all())
    return attrs.evolve(column, is_rising=is_rising)
