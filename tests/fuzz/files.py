"""Damaged files of data of every format, as the suite tries them."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from pathlib import Path

from tests.fuzz import readers
from tests.fuzz.part import Case


def case(seed: int) -> Case:
    """A damaged file; the formats take turns."""
    formats = [
        each
        for each in readers.FORMATS
        if each != "huggingface" or importlib.util.find_spec("datasets") is not None
    ]
    format = formats[seed % len(formats)]
    _, (name, data) = readers.cases(format, seed, 2)
    return Case({name: data}, format)


def attempt(case: Case, folder: Path) -> Counter[str]:
    """Reads it as declared in several ways, or refuses it with one message."""
    fault = readers.attempt(case.write(folder))
    # What was measured is different each time.
    assert fault is None, re.sub(r"by [\d,]+ bytes|took \d+ s", "a lot", fault)
    return Counter([case.origin])
