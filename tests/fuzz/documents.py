"""JSON files damaged at random: values that don't belong, parts that are missing, broken text."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        7,
        2**31,
        2**63,
        -(2**63),
        10**30,
        0.5,
        -0.0,
        1e-320,
        1e308,
        -1e308,
    ),
    *("", "x", "report", "0", "accuracy", "\x1b[31m", "\x00", "é" * 300, "a" * 100_000, "a\nb"),
    *([], {}, [None], [[]], {"": 1}, {"value": None}, ["x"], [1, 2], {"accuracy": {}}),
)
"""What takes the place of a value."""

TEXTS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "9" * 5000,
    '"\\ud800"',
    "[" * 100_000,
    "]",
    "}",
    ",",
)
"""What takes the place of a piece of the text, and is no such value."""


def damaged(document: Any, draw: random.Random) -> bytes:
    """The document with one to three faults, as the bytes of a file."""
    value = copy.deepcopy(document)
    for _ in range(draw.choice((1, 1, 2, 3))):
        if draw.random() < 0.8:
            value = _changed(value, draw)
    data = json.dumps(value).encode()
    return _broken(data, draw) if draw.random() < 0.2 else data


def _changed(document: Any, draw: random.Random) -> Any:
    """The document with another value, or none, in one place."""
    places = list(_places(document))
    if not places:
        return draw.choice(VALUES)
    holder, key = draw.choice(places)
    value = holder[key]
    kind = draw.randrange(8)
    if kind <= 3:
        holder[key] = copy.deepcopy(draw.choice(VALUES))
    elif kind == 4:
        del holder[key]
    elif kind == 5:
        other, name = draw.choice(places)
        holder[key] = copy.deepcopy(other[name])
    elif kind == 6 and isinstance(value, list):
        holder[key] = value[: draw.randrange(len(value) + 1)] * draw.choice((1, 2))
    elif kind == 7 and isinstance(value, dict) and value:
        name = draw.choice(list(value))
        value[draw.choice(("x", name.upper(), "", "a b", "\x1b]8;;"))] = value.pop(name)
    else:
        holder[key] = [value]
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every part of a document, as what holds it and the key or index there."""
    items: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(value, dict):
        items = iter(list(value.items()))
    elif isinstance(value, list):
        items = iter(list(enumerate(value)))
    for key, inside in items:
        yield value, key
        yield from _places(inside)


def _broken(data: bytes, draw: random.Random) -> bytes:
    """The bytes cut, changed, or with something in between."""
    at = draw.randrange(len(data) + 1)
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: data[:at],
        lambda: data[:at] + draw.randbytes(draw.randrange(1, 9)) + data[at:],
        lambda: data[:at] + draw.choice(TEXTS).encode() + data[at + draw.randrange(9) :],
        lambda: data[:at] + bytes(draw.randrange(9)) + data[at:],
        lambda: b"\xef\xbb\xbf" + data,
        lambda: data.decode().encode("utf-16"),
        lambda: b"",
    )
    return draw.choice(changes)()
