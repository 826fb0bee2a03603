"""Tables of the pages in docs/ that a benchmark writes, each between two marks."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def put(page: Path, name: str, table: str) -> None:
    """Writes a table between its marks, in the place of what stood there."""
    text = page.read_text("utf-8")
    marks = re.compile(f"(?<=<!-- {name} -->\n).*?(?=\n<!-- end of {name} -->)", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"{page.name} has no place for {name}")
    page.write_text(marks.sub(lambda _: f"\n{table}\n", text), "utf-8")
