"""What an editor asks: the type and the definition of what stands at a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from ev3lang.analysis import Analysis, analyze
from ev3lang.source import Source

SPEC = """ev3 1
data digits = sklearn.digits() { derive even = label mod 2 == 0 as class[2] }
model net: image -> logits(even) = mlp(hidden: [8])
let guess = net(image)
loss soft(T: real = 1) = cross_entropy(guess / T, even)
objective accuracy = maximize argmax(guess) == even
optimizer calm = sgd(0.1)
explore net { descend soft(T: 2) with calm for 10 steps }
assess net { rank by accuracy }
adapt net { accept when accuracy improves; stop after 3 iterations }
"""


def analyzed(text: str = SPEC) -> Analysis:
    return analyze(Source("a.ev3", text))


def at(text: str, part: str, word: str | None = None) -> int:
    """The offset of a word inside the first place where a part stands."""
    start = text.index(part)
    return start + (part.index(word) if word is not None else 0)


@pytest.mark.parametrize(
    ("part", "word", "type_", "level"),
    [
        ("guess / T", "guess", "logits[2]", "example"),
        ("guess / T", "T", "real", "constant"),
        ("guess / T", "/", "logits[2]", "example"),
        ("argmax(guess)", "argmax", "class[2]", "example"),
        ("== even", "==", "bool", "example"),
        ("label mod 2", "label", "class[10]", "example"),
        ("net(image)", "image", "f32[8, 8, 1]", "example"),
    ],
)
def test_the_type_of_what_stands_there(part: str, word: str, type_: str, level: str) -> None:
    found = analyzed().type_at(at(SPEC, part, word))
    assert found is not None
    assert (str(found[1].type), found[1].level) == (type_, level)


@pytest.mark.parametrize(
    ("part", "word", "declared"),
    [
        ("net(image)", "net", "net: image"),
        ("cross_entropy(guess", "guess", "guess = net"),
        ("/ T, even", "T", "T: real"),
        ("/ T, even", "even", "even = label"),
        ("soft(T: 2)", "soft", "soft(T: real"),
        ("soft(T: 2)", "T", "T: real"),
        ("with calm", "calm", "calm = sgd"),
        ("rank by accuracy", "accuracy", "accuracy = maximize"),
        ("label mod", "label", "sklearn.digits()"),
        ("logits(even)", "even", "even = label"),
        ("explore net", "net", "net: image"),
    ],
)
def test_the_definition_of_what_stands_there(part: str, word: str, declared: str) -> None:
    found = analyzed().definition_at(at(SPEC, part, word))
    assert found is not None
    assert found.start == SPEC.index(declared)


def test_a_built_in_is_declared_nowhere() -> None:
    assert analyzed().definition_at(at(SPEC, "argmax(guess)")) is None


def test_a_broken_file_still_tells_what_it_can() -> None:
    broken = SPEC.replace("explore net {", "explore net descend {").replace("mlp(", "mlp((")
    analysis = analyzed(broken)
    assert analysis.program is None
    assert analysis.definition_at(at(broken, "rank by accuracy", "accuracy")) is not None
    found = analysis.type_at(at(broken, "label mod 2", "label"))
    assert found is not None
    assert str(found[1].type) == "class[10]"


def test_every_use_in_every_spec_has_its_definition(repository: Path) -> None:
    for path in sorted((repository / "specs").glob("*.ev3")):
        analysis = analyze(Source(str(path), path.read_text(encoding="utf-8")))
        for span, place in analysis.definitions.items():
            assert place.text
            assert span.text in place.text or place.text.startswith(("sklearn.", "two_moons"))
