"""Runs the cases of the `.md` files beside it: prose, a spec, and the exact diagnostics.

A file opens with a base, a whole spec that is right. A case is a heading, a sentence of why, an
```` ```ev3 ```` block and a block of the diagnostics it gets. The declarations of a case stand
before those of the base and in place of the ones with the same name (for a block such as `adapt`:
of the same kind), so positions count from the first line of the case.

`pytest tests/check --update-cases` writes what the checker says now; the diff is the review.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from ev3lang.analysis import analyze
from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.source import Source, Span
from ev3lang.syntax import tree
from ev3lang.syntax.parse import parse

HERE = Path(__file__).parent
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


@attrs.frozen
class Case:
    """One case; `expected_at` is where its expectation stands in the file."""

    path: Path
    title: str
    text: str
    base: str
    expected: str
    expected_at: tuple[int, int]


def read_cases(path: Path) -> list[Case]:
    text = path.read_text(encoding="utf-8")
    sections = list(re.finditer(r"^## (.*)\n", text, re.MULTILINE))
    base = BLOCK.search(text)
    assert base is not None and base.start() < sections[0].start(), f"{path.name} has no base"
    cases = []
    for section, following in zip(sections, [*sections[1:], None], strict=True):
        end = following.start() if following else len(text)
        blocks = list(BLOCK.finditer(text, section.end(), end))
        assert [block[1] for block in blocks] == ["ev3", "text"], f"{path.name}: {section[1]}"
        spec, expected = blocks
        cases.append(Case(path, section[1], spec[2], base[2], expected[2], expected.span(2)))
    return cases


def key(declaration: tree.Declaration) -> object:
    name = getattr(declaration, "name", None)
    is_named = isinstance(name, tree.Name) and not isinstance(declaration, tree.Experiment)
    return name.text if is_named else type(declaration)


def whole_spec(case: Case) -> str:
    """The case before what it leaves of the base."""
    if case.text.startswith("ev3 "):
        return case.text
    own = {key(each) for each in parse(Source("case", f"ev3 1\n{case.text}"))[0].declarations}
    base = parse(Source("base", case.base))[0].declarations
    kept = [each.span.text for each in base if key(each) not in own]
    return "\n".join([case.text.rstrip("\n"), "", *kept, ""])


def describe(diagnostic: Diagnostic, case: Case) -> str:
    """`3:17-3:30 error wrong-scores: message`, then labels and help on lines of their own."""

    def place(span: Span | None) -> str:
        if span is None:
            return "-"
        if span.first.line > case.text.count("\n"):
            return "base"
        return f"{span.first.line}:{span.first.column}-{span.last.line}:{span.last.column}"

    lines = [
        f"{place(diagnostic.span)} {diagnostic.severity} {diagnostic.code}: {diagnostic.message}"
    ]
    lines += [f"    {place(label.span)} {label.text}" for label in diagnostic.labels]
    if diagnostic.help is not None:
        lines.append(f"    help: {diagnostic.help}")
    return "\n".join(lines) + "\n"


def diagnose(case: Case) -> str:
    text = whole_spec(case)
    # The edition stands on the first line of the base, so a case is read with it put in front.
    spec = text if text.startswith("ev3 ") else f"ev3 1; {text}"
    analysis = analyze(Source("case.ev3", spec))
    shift = 0 if spec is text else len("ev3 1; ")
    moved = Source("case.ev3", spec[shift:])

    def back(span: Span) -> Span:
        return Span(moved, max(0, span.start - shift), max(0, span.end - shift))

    found = [
        attrs.evolve(
            each,
            span=None if each.span is None else back(each.span),
            labels=tuple(attrs.evolve(label, span=back(label.span)) for label in each.labels),
        )
        for each in analysis.diagnostics
    ]
    return "".join(describe(each, case) for each in found)


CASES = [case for path in sorted(HERE.glob("*.md")) for case in read_cases(path)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path.stem}: {case.title}")
def test_case_gets_exactly_these_diagnostics(case: Case, request: pytest.FixtureRequest) -> None:
    found = diagnose(case)
    if request.config.getoption("--update-cases") and found != case.expected:
        update(case, found)
    assert found == case.expected


def update(case: Case, found: str) -> None:
    """Replace a case's expectation in its file, which earlier cases may have changed."""
    current = next(each for each in read_cases(case.path) if each.title == case.title)
    text = case.path.read_text(encoding="utf-8")
    start, end = current.expected_at
    case.path.write_text(text[:start] + found + text[end:], encoding="utf-8")


@pytest.mark.parametrize("path", sorted(HERE.glob("*.md")), ids=lambda path: path.stem)
def test_the_base_of_every_file_is_right(path: Path) -> None:
    base = BLOCK.search(path.read_text(encoding="utf-8"))
    assert base is not None
    assert analyze(Source("base.ev3", base[2])).diagnostics == ()


def test_every_code_of_the_checker_has_a_case() -> None:
    """A planted mistake of each code, found at its place with nothing beside it."""
    source = (HERE.parents[1] / "ev3lang" / "check" / "errors.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'code="([a-z-]+)"', source))
    shown = {
        code
        for case in CASES
        for code in re.findall(r" (?:error|warning) ([\w-]+):", case.expected)
    }
    # Those that need another file or the command line are in test_use.py and test_laws.py.
    elsewhere = {"use-circle", "use-not-found", "use-outside-project", "unknown-override"}
    elsewhere.add("nesting-too-deep")
    assert codes - shown == elsewhere
