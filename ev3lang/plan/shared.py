"""Values of which equal ones are one object, so that a shared part is stored and looked at once.

With `let b = a + a`, again and again, an expression is a small graph, and written as a text it
would double each time. Equality and hashes are those of objects, so they cost the same however
much an expression holds.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import attrs

MOST_TEXT = 4096
"""Characters that the text of a value has at most: a longer one is replaced by its digest."""


class OneOfEach(type):
    """Classes whose calls give the value that equals the new one, where there is one already."""

    _values: ClassVar[WeakValueDictionary[tuple[Any, ...], Any]] = WeakValueDictionary()
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        new = super().__call__(*args, **keywords)
        # numbers by their text: 1, 1.0 and True are equal, and mean different things
        key = (cls, *(_key(getattr(new, name)) for name in cls.__match_args__))
        # programs are compiled ahead in a thread of their own
        with OneOfEach._lock:
            return OneOfEach._values.setdefault(key, new)

    __match_args__: tuple[str, ...]


def _key(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, tuple):
        return tuple(map(_key, value))
    return value


def text(value: Any, inside: Mapping[Any, str]) -> str:
    """What a frozen value is in words, as attrs writes it: at most MOST_TEXT characters, about.

    inside   the texts of the values in it that have their own
    """
    cls = type(value)
    parts = (
        f"{each.name}={_text(getattr(value, each.name), inside)}" for each in attrs.fields(cls)
    )
    whole = f"{cls.__name__}({', '.join(parts)})"
    if len(whole) <= MOST_TEXT:
        return whole
    return f"{cls.__name__}(sha256 {hashlib.sha256(whole.encode()).hexdigest()})"


def _text(value: Any, inside: Mapping[Any, str]) -> str:
    if isinstance(type(value), OneOfEach):
        return inside[value]
    if isinstance(value, tuple) and any(isinstance(type(each), OneOfEach) for each in value):
        texts = ", ".join(inside[each] for each in value)
        return f"({texts},)" if len(value) == 1 else f"({texts})"
    return repr(value)
