"""Two faults in two declarations of a spec: both are reported."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from ev3lang.analysis import analyze
from ev3lang.source import Source
from ev3lang.syntax.parse import parse
from tests.fuzz import corpus
from tests.fuzz.faults import token_fault
from tests.fuzz.part import Case
from tests.fuzz.specs import source_of

LEAST_BOTH = 0.90
"""Of two planted faults that give errors alone, the pairs of which both are reported."""


def case(seed: int) -> Case:
    """A spec with a word at fault in each of two declarations; each gives an error alone."""
    draw = random.Random(seed)
    while True:
        spec = draw.choice(corpus.specs())
        declarations = parse(Source(spec.name, spec.text))[0].declarations
        if len(declarations) < 2:
            continue
        edits = [
            token_fault(spec.text, draw, each.span.start, each.span.end)
            for each in draw.sample(declarations, 2)
        ]
        first, second = sorted(edits, key=lambda edit: edit.start)
        alone = (first.made(spec.text), second.made(spec.text))
        if all(_errors(Source(spec.name, text)) for text in alone):
            text = first.made(second.made(spec.text))
            facts = (spec.name, *alone)
            return Case({"spec.ev3": text.encode()}, f"two words of {spec.name}", facts)


def attempt(case: Case, folder: Path) -> Counter[str]:
    """Counts whether both are reported."""
    del folder
    return Counter(pairs=1, both=int(_errors(source_of(case)) > 1))


def review(counts: Counter[str]) -> str | None:
    """Whether a second fault is nearly always reported beside the first."""
    share = counts["both"] / max(1, counts["pairs"])
    if share >= LEAST_BOTH:
        return None
    return (
        f"{share:.1%} of the pairs of faults are both reported: at least {LEAST_BOTH:.0%} have to"
    )


def _errors(source: Source) -> int:
    return sum(each.severity == "error" for each in analyze(source).diagnostics)
