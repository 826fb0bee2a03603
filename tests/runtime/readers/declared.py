"""Specs' declarations of files for the tests of readers, and what an error must say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ev3lang.catalog.signature import parse_type
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers import READERS
from ev3lang.runtime.readers.table import Column, Found, Parts
from ev3lang.runtime.readers.wanted import Wanted


def columns(**fields: str | tuple[str, str | tuple[int, int]]) -> tuple[Column, ...]:
    """`image="u8[2, 2]"`, or with where it is from: `image=("u8[2, 2]", "batch")`."""
    return tuple(
        Column(name, parse_type(each))
        if isinstance(each, str)
        else Column(name, parse_type(each[0]), each[1])
        for name, each in fields.items()
    )


EVERYTHING = Wanted(is_pooled=True)
"""All parts of a file."""


def found(
    source: str,
    folder: Path,
    declared: tuple[Column, ...],
    wanted: Wanted = EVERYTHING,
    **options: str,
) -> Found:
    return READERS[source](options, declared, folder, wanted)


def read(
    source: str,
    folder: Path,
    declared: tuple[Column, ...],
    wanted: Wanted = EVERYTHING,
    **options: str,
) -> Parts:
    return found(source, folder, declared, wanted, **options).parts


def fault(
    source: str,
    folder: Path,
    declared: tuple[Column, ...],
    wanted: Wanted = EVERYTHING,
    **options: str,
) -> DataError:
    """The error that reading raises."""
    with pytest.raises(DataError) as caught:
        found(source, folder, declared, wanted, **options)
    return caught.value


def says(error: DataError, *parts: str, **attributes: Any) -> None:
    """Asserts that message and help have these parts, in order, and the error these attributes."""
    text = f"{error}\n{error.help}"
    place = 0
    for part in parts:
        assert part in text[place:], f"{part!r} is not in {text!r}"
        place = text.index(part, place) + len(part)
    for name, value in attributes.items():
        assert getattr(error, name) == value, text
