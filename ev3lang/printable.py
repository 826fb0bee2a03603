"""Text from outside as a terminal and a CI log may show it: the one door for all of it.

A column's name, a path, a cell, a comment or the message of an exception may hold escape sequences
that move the cursor or set the clipboard, marks that reorder a line, or a line that a CI system
takes for a command. Whatever is shown passes `printable` or `printable_lines`; colours are added
after it.
"""

from __future__ import annotations

import json
import re
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# What would move the cursor, reorder the line, vanish or fail to encode. Joiners stay: emoji and
# several scripts are written with them.
_UNSHOWABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff]"
)

# What begins a command to the system that runs the job. Sources: GitHub, Workflow commands for
# GitHub Actions (a line that begins with two colons, or the older form anywhere); Microsoft, Azure
# Pipelines logging commands; JetBrains, TeamCity service messages.
_COMMAND = re.compile(
    r"^(?P<indent>[^\S\n]*):(?=:)|\#(?P<rest>\#(?:\[|vso\[|teamcity\[))",
    re.MULTILINE | re.IGNORECASE,
)


def printable(text: str) -> str:
    """One line: each character that is not shown as itself, line breaks too, is replaced.

    The result has as many characters as the text.
    """
    return without_commands(_UNSHOWABLE.sub(REPLACEMENT, text))


def printable_lines(text: str) -> str:
    """Lines: as `printable`, with line feeds and tabs as they are."""
    return without_commands(_UNSHOWABLE.sub(_or_kept, text))


def without_commands(text: str) -> str:
    """The text without what a CI system would obey: for lines that were wrapped once more."""
    return _COMMAND.sub(
        lambda match: f"{match['indent'] or ''}{REPLACEMENT}{match['rest'] or ''}", text
    )


def printable_json(value: Any) -> Any:
    """The value of a JSON document with every name and every text on one printable line."""
    match value:
        case str():
            return printable(value)
        case list():
            return [printable_json(each) for each in value]
        case dict():
            return {printable(name): printable_json(each) for name, each in value.items()}
        case _:
            return value


def written_json(value: Any) -> str:
    """A value as a JSON document of ASCII, which any program reads back and no CI system obeys."""
    # two of them only stand in a string, and begin some systems' commands
    return json.dumps(value, indent=2, allow_nan=False).replace("##", "#\\u0023")


def _or_kept(match: re.Match[str]) -> str:
    return match[0] if match[0] in "\n\t" else REPLACEMENT
