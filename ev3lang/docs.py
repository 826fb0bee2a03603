"""The reference pages that are made of data: every built-in, and every diagnostic's code.

`python -m ev3lang.docs [FOLDER]` writes them, into docs/ where no folder is named.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ev3lang.diagnostics.page import codes, page
from ev3lang.explain.builtin import FAMILIES, Description, descriptions


def main() -> None:
    """Writes the pages into the folder that the first argument names."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


def pages() -> Mapping[str, str]:
    """The generated pages as Markdown, by the names of their files."""
    return {"catalog.md": _catalog(), "diagnostics.md": _diagnostics()}


def _catalog() -> str:
    found = tuple(descriptions())
    parts = [
        "# Built-ins",
        "Everything that the language has by name. `ev3lang explain NAME` shows the same in a "
        "terminal. In a usage, `option: value` is a default, and `[option]` may be left out. This "
        "page is generated: `make docs` writes it.",
        "\n".join(f"- [{title}](#{_anchor(title)})" for title in FAMILIES.values()),
    ]
    for kind, title in FAMILIES.items():
        parts.append(f"## {title}")
        parts += [_entry(each) for each in found if each.kind == kind]
    return "\n\n".join(parts) + "\n"


def _entry(each: Description) -> str:
    parts = [f"### `{each.name}`", f"`{each.usage}`: {each.summary}."]
    if each.arguments:
        rows = ["| argument | takes | default | meaning |", "| --- | --- | --- | --- |"]
        rows += [
            f"| `{a.name}` | {_cell(a.what)} | {a.default.removeprefix('default ')} "
            f"| {_cell(a.summary)} |"
            for a in each.arguments
        ]
        parts.append("\n".join(rows))
    if each.facts:
        parts.append(" ".join(each.facts))
    if each.source:
        parts.append(f"Source: {each.source}.")
    if each.example:
        parts.append(f"```ev3 fragment\n{each.example}\n```")
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def _diagnostics() -> str:
    rows = "\n".join(f"| `{code}` | {_cell(_first_sentence(code))} |" for code in codes())
    return (
        "# Diagnostics\n\n"
        "Every code that `ev3lang check` may show. `ev3lang explain CODE` has its page: why it "
        "matters, and a wrong and a right spec. This page is generated: `make docs` writes it.\n\n"
        f"| code | means |\n| --- | --- |\n{rows}\n"
    )


def _first_sentence(code: str) -> str:
    """The first sentence below a page's heading."""
    text = page(code)
    assert text is not None, "each code has a page"
    below = " ".join(text.split("\n\n")[1].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", below)[0]


if __name__ == "__main__":
    main()
