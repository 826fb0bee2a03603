"""The text of a spec with its safe fixes in it."""

from __future__ import annotations

from collections.abc import Iterable

from ev3lang.diagnostics.diagnostic import Diagnostic, Edit
from ev3lang.source import Source


def apply_safe(source: Source, diagnostics: Iterable[Diagnostic]) -> tuple[str, int]:
    """The text with all safe fixes that don't get into each other's way, and how many those are.

    Of two that edit the same place the first is applied; checking the new text tells whether the
    other is still wanted. A fix that edits another source as well is left out as a whole.
    """
    chosen: list[Edit] = []
    applied = 0
    for diagnostic in diagnostics:
        for fix in diagnostic.fixes:
            is_ours = all(edit.span.source is source for edit in fix.edits)
            is_free = not any(_clash(edit, other) for edit in fix.edits for other in chosen)
            if fix.safety == "safe" and fix.edits and is_ours and is_free:
                chosen += fix.edits
                applied += 1
                # Several fixes of one fault are alternatives.
                break
    return _edited(source, chosen), applied


def _clash(edit: Edit, other: Edit) -> bool:
    a, b = edit.span, other.span
    # Two insertions at one place don't overlap, but which comes first would be chance.
    return a.start == b.start or (a.start < b.end and b.start < a.end)


def _edited(source: Source, edits: Iterable[Edit]) -> str:
    line_break = "\r\n" if "\r\n" in source.text else "\n"
    pieces, reached = [], 0
    for edit in sorted(edits, key=lambda edit: edit.span.start):
        pieces += [source.text[reached : edit.span.start], edit.text.replace("\n", line_break)]
        reached = edit.span.end
    return "".join([*pieces, source.text[reached:]])
