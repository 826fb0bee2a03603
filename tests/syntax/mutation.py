"""Specs with one planted fault: a token left out, doubled or replaced."""

from __future__ import annotations

import random
import re
from pathlib import Path

SPECS = tuple(sorted((Path(__file__).parents[2] / "specs").glob("*.ev3")))

# Cut by a pattern of its own, so that a fault of the grammar's lexemes would show.
_TOKEN = re.compile(
    r'(?P<skip>[ \t]+|#[^\n]*)|"[^"\n]*"|\n|->|[=!<>]=|\d[\d_.]*(?:e-?\d+)?(?:%|x\b)?|\w+|.'
)


def tokens_of(text: str) -> list[re.Match[str]]:
    return [match for match in _TOKEN.finditer(text) if match["skip"] is None]


def mutant(text: str, rng: random.Random) -> str:
    """The text with one of its tokens left out, doubled or replaced by another one of it."""
    start, end, new = planted_fault(text, rng)
    return f"{text[:start]}{new}{text[end:]}"


def planted_fault(text: str, rng: random.Random) -> tuple[int, int, str]:
    """Where a token stands, and what to put there."""
    tokens = tokens_of(text)
    victim = rng.choice(tokens)
    way = rng.choice(("leave out", "double", "replace"))
    if way == "leave out":
        new = ""
    elif way == "double":
        new = f"{victim[0]} {victim[0]}"
    else:
        new = rng.choice(tokens)[0]
    return victim.start(), victim.end(), new


def mutants(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    texts = [path.read_text(encoding="utf-8") for path in SPECS]
    return [mutant(rng.choice(texts), rng) for _ in range(count)]
