"""Which errors follow from another one: a cause is reported, and not what it leads to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.source import Span
from ev3lang.syntax import tree


def _kinds(table: Mapping[str, str]) -> Mapping[str, frozenset[str]]:
    return MappingProxyType({code: frozenset(kinds.split()) for code, kinds in table.items()})


PRESUMED = _kinds(
    {
        "archive-never-fills": "explore adapt archive loss",
        "batch-too-large": "data explore",
        "cap-below-start": "explore adapt",
        "evaluate-finite": "data adapt",
        "evaluation-too-large": "data explore adapt",
        "limit-below-start": "model adapt",
        "missing-share": "data",
        "no-challenger": "data assess adapt",
        "normalize-endless": "data",
        "outside-reference": "explore assess adapt",
        "split-of-endless": "data",
    }
)
"""Errors that join several parts, and the kinds of declarations whose faults can explain them: in
place of what is at fault stands a default, or nothing."""

ABSENT = _kinds(
    {
        "growth-without-limit": "adapt",
        "limit-without-growth": "adapt",
        "missing-statement": "explore assess adapt",
        "missing-stop": "adapt",
        "missing-target": "objective",
        "no-leading-objective": "assess",
        "repeat-without-growth": "adapt",
        "too-many-arguments": "loss extern",
        "unknown-argument": "loss extern",
        "unknown-range": "objective adapt",
    }
)
"""Errors about what isn't there, and the kinds of declarations that may have lost it to a fault of
syntax."""

KINDS = frozenset(each.__name__.lower() for each in tree.Declaration.__subclasses__())

_OF_A_USE = ("not-a-value", "wrong-type", "no-direction", "unknown-name", "too-many-arguments")


def kind_of(declaration: tree.Declaration) -> str:
    """The word that declares it, such as `loss`."""
    return type(declaration).__name__.lower()


def owner(span: Span | None, declarations: Sequence[tree.Declaration]) -> tree.Declaration | None:
    """The declaration that a place lies in."""
    return next(
        (
            each
            for each in declarations
            if span is not None
            and each.span.source is span.source
            and each.span.start <= span.start <= each.span.end
        ),
        None,
    )


def roots(
    found: Sequence[Diagnostic], declarations: Sequence[tree.Declaration]
) -> tuple[Diagnostic, ...]:
    """The diagnostics without those that another one of them explains.

    A fault of a part explains what is amiss between parts. Where a name is declared twice, the
    second declaration may be the one that is missing under another name, and a use of the name may
    mean either. Where parts are missing, so is what they declare; a name that is near a declared
    one is misspelt all the same.
    """
    errors = [each for each in found if each.severity == "error"]
    faulty: set[str] = set()
    twice: set[str] = set()
    for each in errors:
        place = owner(each.span, declarations)
        if place is not None and each.code not in PRESUMED:
            faulty.add(kind_of(place))
        if each.code == "duplicate-name":
            twice.add(name_at(each))
    codes = {each.code for each in errors}
    may_declare = bool(twice) or "missing-part" in codes

    def is_root(each: Diagnostic) -> bool:
        if each.code == "missing-part":
            return "duplicate-part" not in codes
        if each.code == "unknown-name" and may_declare and not each.fixes:
            return False
        if each.code in _OF_A_USE and not twice.isdisjoint(_words(each)):
            return False
        return PRESUMED.get(each.code, frozenset()).isdisjoint(faulty)

    return tuple(each for each in found if each.severity != "error" or is_root(each))


def _words(diagnostic: Diagnostic) -> list[str]:
    """The names that it stands at."""
    return [] if diagnostic.span is None else re.findall(r"\w+", diagnostic.span.text)


def name_at(diagnostic: Diagnostic) -> str:
    """The name at which it stands."""
    text = "" if diagnostic.span is None else diagnostic.span.text
    return text.split("(", 1)[0].strip()
