"""The reference: every example checks, and the generated pages are up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ev3lang.analysis import analyze
from ev3lang.catalog import index
from ev3lang.diagnostics.diagnostic import has_errors
from ev3lang.diagnostics.page import codes
from ev3lang.docs import pages
from ev3lang.source import Source
from ev3lang.syntax import tree
from ev3lang.syntax.parse import parse
from ev3lang.syntax.tables import tables

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCKS = re.compile(r"^```ev3( fragment)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(match[2], bool(match[1]), id=f"{page.stem}-{index}")
    for page in sorted(DOCS.glob("*.md"))
    for index, match in enumerate(BLOCKS.finditer(page.read_text("utf-8")))
]

# Where a statement of a block may stand, so that a fragment can be parsed.
PLACES = (
    "ev3 1\n{}\n",
    'ev3 1\ndata d = csv("a.csv") {{\n{}\n}}\n',
    "ev3 1\nmodel m: image -> logits(label) = mlp(hidden: [64]) {{\n{}\n}}\n",
    "ev3 1\nexplore m {{\n{}\n}}\n",
    "ev3 1\nassess m {{\n{}\n}}\n",
    "ev3 1\nadapt m {{\n{}\n}}\n",
    "ev3 1\nadapt m {{\nafter 5 iterations without progress {{\n{}\n}}\n}}\n",
)


@pytest.mark.parametrize(("text", "is_fragment"), EXAMPLES)
def test_an_example_is_right(text: str, is_fragment: bool) -> None:
    if not is_fragment:
        assert not has_errors(analyze(Source("example.ev3", text)).diagnostics)
        return
    found = [parse(Source("example.ev3", place.format(text)))[1] for place in PLACES]
    assert () in found, found[0]


def test_the_fragments_of_the_reference_make_one_spec_that_checks() -> None:
    """But for those that say the same again, and the data of a file."""
    text = (DOCS / "language.md").read_text("utf-8")
    parts = [match[2] for match in BLOCKS.finditer(text) if match[1]]
    left_out = ("csv(", "allow ", "after 5 iterations")
    parts = [each for each in parts if not any(words in each for words in left_out)]
    spec = "ev3 1\n\ndata digits = sklearn.digits() { normalize image }\n\n" + "\n".join(parts)
    found = analyze(Source("language.ev3", spec)).diagnostics
    assert not has_errors(found), found


def test_what_the_page_on_distillation_adds_to_a_spec_checks_with_it() -> None:
    spec = None
    for match in BLOCKS.finditer((DOCS / "distillation.md").read_text("utf-8")):
        if not match[1]:
            spec = match[2]
            continue
        assert spec is not None, "a fragment stands behind the spec that it adds to"
        found = analyze(Source("distillation.ev3", f"{spec}\n{match[2]}")).diagnostics
        assert not has_errors(found), found


def test_the_reference_names_every_word_of_the_grammar() -> None:
    text = (DOCS / "language.md").read_text("utf-8")
    words = {word for word in tables().words.values() if word.isidentifier()}
    told = set(re.findall(r"[a-z0-9_]+", text))
    assert words <= told


def test_the_reference_has_every_declaration() -> None:
    text = (DOCS / "language.md").read_text("utf-8")
    kinds = [each.__name__.lower() for each in tree.Declaration.__subclasses__()]
    for kind in kinds:
        assert re.search(rf"\b{kind}\b", text), kind


@pytest.mark.parametrize("name", pages())
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == pages()[name], "run `make docs`"


def test_the_generated_pages_are_complete() -> None:
    catalog, diagnostics = pages()["catalog.md"], pages()["diagnostics.md"]
    for table in (index.FUNCTIONS, index.LAYERS, index.OPTIMIZERS, index.SOURCES, index.GROWTH):
        for name in table:
            assert f"### `{name}`" in catalog
    for code in codes():
        assert f"| `{code}` |" in diagnostics
