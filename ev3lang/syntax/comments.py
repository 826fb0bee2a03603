"""The comments of a text, and the documentation that some of them are."""

from __future__ import annotations

import re

from ev3lang.source import Source, Span
from ev3lang.syntax.tree import Comment

# A string is matched first so that a `#` inside one opens nothing. One that is never closed
# reaches to the end of its line, as it does for the parser.
_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\\r\n]|\\[^\r\n])*+["\\]?|#[^\r\n]*')


def find_comments(source: Source) -> tuple[Comment, ...]:
    """All comments in the order of the text."""
    comments = []
    for match in _STRING_OR_COMMENT.finditer(source.text):
        if match[0].startswith("#"):
            line_start = source.text.rfind("\n", 0, match.start()) + 1
            before = source.text[line_start : match.start()].lstrip("\ufeff")
            span = Span(source, match.start(), match.end())
            comments.append(Comment(match[0], bool(before.strip()), span=span))
    return tuple(comments)


def documentation_above(source: Source, line: int) -> str | None:
    """The comment lines directly above a line, each without its `#` and one space behind it."""
    lines: list[str] = []
    while line > 1:
        line -= 1
        text = source.line(line).lstrip("\ufeff").strip()
        if not text.startswith("#"):
            break
        lines.append(text[1:].removeprefix(" "))
    return "\n".join(reversed(lines)) if lines else None
