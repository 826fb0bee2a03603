"""The page of a diagnostic: what its code means, why it matters, a bad and a good spec."""

from __future__ import annotations

from importlib import resources


def codes() -> tuple[str, ...]:
    """Every code that has a page, in alphabetical order."""
    pages = resources.files(__package__).joinpath("pages")
    names = (entry.name for entry in pages.iterdir())
    return tuple(sorted(name.removesuffix(".md") for name in names if name.endswith(".md")))


def page(code: str) -> str | None:
    """The code's page as Markdown, or None where there is no such code."""
    if code not in codes():
        return None
    return resources.files(__package__).joinpath("pages", f"{code}.md").read_text("utf-8")


def meaning(code: str) -> str | None:
    """The first paragraph of the code's page as one line, or None where there is no such code."""
    text = page(code)
    if text is None:
        return None
    _, paragraph, *_ = text.split("\n\n")
    return " ".join(paragraph.split())
