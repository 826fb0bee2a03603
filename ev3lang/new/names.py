"""Names of the language for what files call their columns."""

from __future__ import annotations

import re
import unicodedata

import attrs

from ev3lang.catalog import index
from ev3lang.syntax.layout import RESERVED

_LONGEST_NAME = 40
_LONGEST_SHOWN = 60


@attrs.define
class Names:
    """The names that are taken in a spec; those of built-ins from the beginning."""

    _taken: set[str] = attrs.Factory(lambda: {*_built_in(), *RESERVED})

    def new(self, title: str) -> str:
        """A name near to a title that nothing else has, and takes it."""
        plain = unicodedata.normalize("NFKD", title)
        plain = "".join(each for each in plain if not unicodedata.combining(each))
        name = re.sub(r"[^a-z0-9]+", "_", plain.strip().lower()).strip("_")[:_LONGEST_NAME]
        name = name or "field"
        name = name if name[0].isalpha() else f"field_{name}"
        if name in self._taken and f"{name}_" not in self._taken and not self._is_ours(name):
            name = f"{name}_"
        first, number = name, 2
        while name in self._taken:
            name, number = f"{first}_{number}", number + 1
        self._taken.add(name)
        return name

    def own(self, name: str) -> str:
        """The name of a field that its source declares, taken as it is."""
        self._taken.add(name)
        return name

    def _is_ours(self, name: str) -> bool:
        return name not in _built_in() and name not in RESERVED


def _built_in() -> frozenset[str]:
    """What a field may hide, but better doesn't where the spec around it calls it."""
    every = (index.FUNCTIONS, index.LAYERS, index.OPTIMIZERS, index.SOURCES, index.OPERATORS)
    return frozenset(name for each in every for name in each) | {"accepted", "true", "false"}


def shown(text: str) -> str:
    """A name from a file as people may see it: on one line, without control characters, cut."""
    visible = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    visible = visible if len(visible) <= _LONGEST_SHOWN else visible[:_LONGEST_SHOWN] + "…"
    return visible if visible.strip() == visible and visible else repr(visible)
