"""What stands between the words of a text: line breaks, blank lines and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs

_COMMENT_OR_BREAK = re.compile(r"#[^\r\n]*|\n")


@attrs.frozen
class CommentLine:
    """A comment on a line of its own."""

    text: str
    is_after_blank: bool


@attrs.frozen
class Gap:
    """From the end of a word to the start of the next one.

    is_broken       whether a line ends in it
    trailing        the comment on the line of the word before it
    comments        those on lines of their own
    is_after_blank  whether a blank line stands directly above the next word
    """

    is_broken: bool = False
    trailing: str | None = None
    comments: tuple[CommentLine, ...] = ()
    is_after_blank: bool = False

    @property
    def has_comment(self) -> bool:
        return self.trailing is not None or bool(self.comments)


def read_gaps(texts: Sequence[str]) -> Iterator[Gap]:
    """The gaps of a file, given what stands before, between and behind its words."""
    held, last = "", len(texts) - 1
    for index, text in enumerate(texts):
        # A lone carriage return ends a comment and no line. Where no line ends none may, so the
        # comment goes to where one does.
        is_inside = 0 < index < last and "\n" not in text
        if is_inside and (held or "#" in text):
            held += text
            yield Gap()
        else:
            yield _read_gap(held + text, follows_word=index > 0)
            held = ""


def _read_gap(text: str, *, follows_word: bool) -> Gap:
    trailing: str | None = None
    comments: list[CommentLine] = []
    breaks = 0
    for match in _COMMENT_OR_BREAK.finditer(text):
        if match[0] == "\n":
            breaks += 1
            continue
        comment = match[0].rstrip()
        if follows_word and breaks == 0 and trailing is None:
            trailing = comment
        else:
            comments.append(CommentLine(comment, breaks > 1))
        breaks = 0
    return Gap("\n" in text, trailing, tuple(comments), breaks > 1)
