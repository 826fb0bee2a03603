"""Valid specs to damage: those of specs/, of the pages of the diagnostics, and of the tests."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from ev3lang.analysis import analyze
from ev3lang.diagnostics.diagnostic import has_errors
from ev3lang.source import Source

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```ev3\n(ev3 .*?)^```\n", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Spec:
    """A spec that checks without errors; `name` is the path that it is read under."""

    name: str
    text: str


@functools.cache
def specs() -> tuple[Spec, ...]:
    """Every valid spec of the checkout, each text once."""
    found = {text: name for name, text in reversed(tuple(_candidates()))}
    return tuple(
        Spec(name, text) for text, name in reversed(found.items()) if _is_valid(name, text)
    )


def _is_valid(name: str, text: str) -> bool:
    return not has_errors(analyze(Source(name, text)).diagnostics)


def _candidates() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "specs").rglob("*.ev3")):
        yield str(path), path.read_text(encoding="utf-8")
    pages = ROOT / "ev3lang" / "diagnostics" / "pages"
    for path in sorted([*pages.glob("*.md"), *(ROOT / "tests" / "check").glob("*.md")]):
        for block in _BLOCK.finditer(path.read_text(encoding="utf-8")):
            yield str(path.with_suffix(".ev3")), block[1]
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value.lstrip("\n")
                if text.startswith("ev3 1") and "explore" in text:
                    yield str(path.with_suffix(".ev3")), text
