"""Damaged specs: parsed, checked, formatted, explained and planned, and one error for one fault."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from ev3lang.analysis import analyze
from ev3lang.compile import experiment
from ev3lang.diagnostics.diagnostic import has_errors
from ev3lang.diagnostics.render import render
from ev3lang.explain.preview import document, explain_preview
from ev3lang.explain.spec import explain_spec
from ev3lang.explicit import explicit_source
from ev3lang.plan.show import point_costs, preview
from ev3lang.source import Source
from ev3lang.syntax.format import format_source
from ev3lang.syntax.parse import parse
from tests.fuzz import corpus
from tests.fuzz.faults import character_fault, number_fault, token_fault
from tests.fuzz.part import Case

FAULTS = {"word": token_fault, "character": character_fault, "number": number_fault}

MOST_CASCADES = 0.03
"""Of the planted faults that give errors, those that may give more than one."""


def case(seed: int) -> Case:
    """A spec with one fault; the facts are the path that it is read under and the kind of fault."""
    draw = random.Random(seed)
    spec = draw.choice(corpus.specs())
    kind = draw.choice(("word", "word", "character", "number"))
    edit = FAULTS[kind](spec.text, draw)
    text = edit.made(spec.text)
    if kind == "character" and draw.random() < 0.3:
        text = character_fault(text, draw).made(text)
    return Case({"spec.ev3": text.encode()}, f"{kind} of {spec.name}", (spec.name, kind))


def source_of(case: Case) -> Source:
    """The spec as it is read; files that it uses are found beside where it came from."""
    (data,) = case.files.values()
    return Source(case.facts[0] or "", data.decode())


def attempt(case: Case, folder: Path) -> Counter[str]:
    """Everything that doesn't run a spec; raises what a user would see as a traceback."""
    del folder
    source = source_of(case)
    analysis = analyze(source)
    render(analysis.diagnostics, "text", color=False, width=100)
    _format(source)
    errors = sum(each.severity == "error" for each in analysis.diagnostics)
    if not errors:
        explain_spec(analysis)
        _format_explicit(source)
    if not has_errors(analysis.refusals):
        runs = experiment(analysis)
        first = preview(runs.points[0].plan)
        points = point_costs(runs.points) if runs.is_sweep else ()
        document(first, points)
        explain_preview(first, points)
    counts = Counter(accepted=int(not errors))
    if case.facts[1] == "word" and errors:
        counts.update(faults=1, cascades=int(errors > 1))
    return counts


def _format(source: Source) -> None:
    tree, found = parse(source)
    text = format_source(source)
    assert (text is None) == bool(found), (
        "fmt lays out what has no mistake of syntax, and only that"
    )
    if text is None:
        return
    again = Source(source.name, text)
    assert parse(again) == (tree, ()), "fmt keeps the tree"
    assert format_source(again) == text, "fmt has nothing to change in what it wrote"


def _format_explicit(source: Source) -> None:
    text, _ = explicit_source(source)
    assert text is not None, "a spec without errors has its defaults"
    again = Source(source.name, text)
    found = analyze(again).diagnostics
    assert not has_errors(found), f"the explicit spec checks: {[each.message for each in found]}"
    assert explicit_source(again)[0] == text, "the explicit spec is explicit"


def review(counts: Counter[str]) -> str | None:
    """Whether one fault gives one error nearly always."""
    share = counts["cascades"] / max(1, counts["faults"])
    if share <= MOST_CASCADES:
        return None
    return f"{share:.1%} of the faults give several errors: at most {MOST_CASCADES:.0%} may"
