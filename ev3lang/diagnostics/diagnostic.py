"""What is wrong with a spec, as data: terminal, CI and editor render the same value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import attrs

from ev3lang.source import Span

NOT_BUILT = "not-built-yet"
"""The code of what a release can read and not run: a warning in a check, an error in a run."""

Severity = Literal["error", "warning"]
Safety = Literal["safe", "unsafe"]

# How diagnostics can be written: for people, for logs, and for the machines of others.
FORMATS = ("text", "concise", "json", "github", "gitlab", "junit", "sarif")


@attrs.frozen
class Label:
    """A further place that a diagnostic speaks of, such as the other site of a conflict."""

    span: Span
    text: str


@attrs.frozen
class Edit:
    """Put `text` where `span` is."""

    span: Span
    text: str


@attrs.frozen
class Fix:
    """A change that would mend the spec; a `safe` one can't alter what the rest means."""

    title: str
    edits: tuple[Edit, ...]
    safety: Safety = "unsafe"


@attrs.frozen
class Diagnostic:
    """One fault: a code in words, where it is, what is wrong and what to do.

    code     hyphenated words, also the name of the page `ev3lang explain CODE` shows
    message  one sentence without a full stop, in the language's own words
    span     the primary place; None where the fault has no text, as with `--set`
    labels   further places with a few words each
    help     what to do, where that can be said
    """

    code: str
    message: str
    span: Span | None
    severity: Severity = "error"
    labels: tuple[Label, ...] = ()
    help: str | None = None
    fixes: tuple[Fix, ...] = ()


def has_errors(diagnostics: tuple[Diagnostic, ...]) -> bool:
    """Whether any of them forbids going on."""
    return any(diagnostic.severity == "error" for diagnostic in diagnostics)


def count(diagnostics: Sequence[Diagnostic], severity: Severity) -> int:
    """How many of them are that grave."""
    return sum(diagnostic.severity == severity for diagnostic in diagnostics)


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """How many there are, as in `2 errors, 1 warning`."""
    counts = [
        f"{number} {severity}" if number == 1 else f"{number} {severity}s"
        for severity in get_args(Severity)
        if (number := count(diagnostics, severity))
    ]
    return ", ".join(counts) or "no errors"
