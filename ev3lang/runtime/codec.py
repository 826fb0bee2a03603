"""JSON files that anyone may have changed, as values: each part checked where it is read.

A fault names the file, the place in it and what is wrong there.
"""

from __future__ import annotations

import enum
import json
import math
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

import attrs

from ev3lang import regular
from ev3lang.outcome import Fault

T = TypeVar("T")

MOST_BYTES = 2**28
"""More than any file of a run's has."""

DEEPEST = 100
"""Levels of lists and objects; no file of a run's comes near."""

MOST_DIGITS = 2**63
"""What whole numbers stay below: more would not fit an array."""

KEY_SHOWN = 40
"""Characters of a key that a message shows."""


class FormatFault(Fault):
    """A file that isn't what it should be: no JSON, or JSON of another structure."""


@attrs.frozen
class Json:
    """A value of a JSON document with its place, as in `metrics.report.accepted`."""

    value: Any
    at: str = ""

    def fail(self, why: str) -> NoReturn:
        """Raises ValueError with the place and what is wrong there."""
        raise ValueError(f"{self.at or 'the document'} {why}")

    def __getitem__(self, name: str) -> Json:
        """What an object has under a name. Raises ValueError."""
        found = self.get(name)
        if found is None:
            self.fail(f"has no {name}")
        return found

    def get(self, name: str) -> Json | None:
        """What an object has under a name, None where it has none. Raises ValueError."""
        if not isinstance(self.value, dict):
            self.fail(f"is {_kind(self.value)}, not an object")
        return Json(self.value[name], self._inside(name)) if name in self.value else None

    def items(self) -> Iterator[tuple[str, Json]]:
        """The parts of an object by name. Raises ValueError."""
        if not isinstance(self.value, dict):
            self.fail(f"is {_kind(self.value)}, not an object")
        for name, each in self.value.items():
            yield name, Json(each, self._inside(name))

    def __iter__(self) -> Iterator[Json]:
        """The parts of a list. Raises ValueError."""
        if not isinstance(self.value, list):
            self.fail(f"is {_kind(self.value)}, not a list")
        for place, each in enumerate(self.value):
            yield Json(each, f"{self.at}[{place}]")

    def as_(self, kind: type[T] | Any, special: Special = types.MappingProxyType({})) -> Any:
        """The value as a type says: of numbers, texts, tuples, mappings by text, attrs classes.

        special   how values of further types are read
        An attrs class is an object with its fields; what has a default may be missing, and what
        the class doesn't know is left. An enum is the name of a member in small letters. Raises
        ValueError for anything else.
        """
        return _decoded(kind, self, special)

    def _inside(self, name: str) -> str:
        is_plain = name.isascii() and name.replace("_", "").isalnum() and len(name) <= KEY_SHOWN
        if not is_plain:
            shown = ascii(name[:KEY_SHOWN] + ("…" if len(name) > KEY_SHOWN else ""))
            return f"{self.at}[{shown}]"
        return f"{self.at}.{name}" if self.at else name


Special = Mapping[Any, Callable[[Json], Any]]


def load(path: Path, what: str, help: str, read: Callable[[Json], T]) -> T:
    """What a JSON file says.

    what   the file is for, in words: `a report`
    help   what to do where it is damaged
    read   makes the value of the document; raises ValueError, as `Json` does
    Raises FormatFault for a file that is no such JSON, OSError where it can't be read.
    """
    data = regular.read_bytes(path, MOST_BYTES)
    try:
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number, parse_float=_finite)
        _require_shallow(value)
        return read(Json(value))
    except json.JSONDecodeError as error:
        raise FormatFault(f"{path} is no JSON: {error}", help) from error
    except (ValueError, RecursionError) as error:
        words = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FormatFault(f"{path} can't be read as {what}: {words}", help) from error


# ---------------------------------------------------------------- the text


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text[:KEY_SHOWN]} is too large for a number")
    return value


def _require_shallow(document: Any) -> None:
    """Raises ValueError for what nests too deeply, texts that are no Unicode, and huge numbers."""
    level = [document]
    for _ in range(DEEPEST):
        inside: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inside += [*each, *each.values()]
            elif isinstance(each, list):
                inside += each
            elif isinstance(each, str):
                _require_unicode(each)
            elif isinstance(each, int) and abs(each) >= MOST_DIGITS:
                raise ValueError("a whole number of it is too large")
        if not inside:
            return
        level = inside
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def _require_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("a text of it has half a character (a lone surrogate)") from error


# ---------------------------------------------------------------- the structure


def _kind(value: Any) -> str:
    """What a JSON value is, in words."""
    return _KINDS[type(value)]


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a text",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def _decoded(kind: Any, json: Json, special: Special) -> Any:
    if kind in special:
        return special[kind](json)
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (other,) = (each for each in inside if each is not type(None))
        return None if json.value is None else _decoded(other, json, special)
    if origin is Literal:
        if json.value not in inside or isinstance(json.value, bool):
            json.fail(f"is none of {', '.join(map(str, inside))}")
        return json.value
    if origin is tuple:
        return _decoded_tuple(inside, json, special)
    if origin is not None and issubclass(origin, Mapping):
        return {name: _decoded(inside[1], each, special) for name, each in json.items()}
    if attrs.has(kind):
        return _decoded_class(kind, json, special)
    if issubclass(kind, enum.Enum):
        names = {each.name.lower(): each for each in kind}
        if not isinstance(json.value, str) or json.value not in names:
            json.fail(f"is none of {', '.join(names)}")
        return names[json.value]
    return _decoded_scalar(kind, json)


def _decoded_scalar(kind: type, json: Json) -> Any:
    value, wanted = json.value, {bool: "true or false", str: "a text"}.get(kind, "a number")
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        whole = "a whole number" if kind is int and type(value) is float else wanted
        json.fail(f"is {_kind(value)}, not {whole}")
    return value


def _decoded_tuple(inside: tuple[Any, ...], json: Json, special: Special) -> tuple[Any, ...]:
    parts = list(json)
    if len(inside) == 2 and inside[1] is Ellipsis:
        return tuple(_decoded(inside[0], each, special) for each in parts)
    if len(parts) != len(inside):
        json.fail(f"has {len(parts)} parts, not {len(inside)}")
    return tuple(_decoded(kind, each, special) for kind, each in zip(inside, parts, strict=True))


def _decoded_class(kind: Any, json: Json, special: Special) -> Any:
    hints, given = get_type_hints(kind), {}
    for field in attrs.fields(kind):
        found = json.get(field.name)
        if found is None and field.default is not attrs.NOTHING:
            continue
        found = json[field.name]
        given[field.alias] = _decoded(hints[field.name], found, special)
    return kind(**given)
