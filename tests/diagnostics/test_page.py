from __future__ import annotations

import re
from pathlib import Path

import pytest

import ev3lang
from ev3lang.analysis import analyze
from ev3lang.diagnostics.page import codes, page
from ev3lang.source import Source

PACKAGE = Path(ev3lang.__file__).parent

# What lies in the bytes, the size, the command or in other files, not in what a page could show.
WITHOUT_A_BAD_SPEC = {
    "file-too-long",
    "line-too-long",
    "skipped-file",
    "unknown-override",
    "unreadable-file",
    "unreadable-text",
    "usage",
    "use-circle",
    "use-not-found",
    "use-outside-project",
}

# Whoever stores outputs is told this as well, and nothing can silence it.
BESIDE = {"stale-scores": ("teacher-split-unknown",)}


def sections(code: str) -> dict[str, str]:
    """The text under each second heading; under `""` what stands before the first."""
    text = page(code)
    assert text is not None
    parts = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def specs(text: str) -> list[str]:
    return re.findall(r"^```ev3\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", codes())
def test_a_page_says_what_it_means_why_it_matters_and_shows_wrong_and_right(code: str) -> None:
    parts = sections(code)
    assert list(parts) == ["", "Why it matters", "Wrong", "Right"]
    assert parts[""].startswith(f"# {code}\n\n")
    assert all(len(text.split()) > 4 for text in parts.values())
    assert len(specs(parts["Right"])) == 1
    assert len(specs(parts["Wrong"])) == (code not in WITHOUT_A_BAD_SPEC)


@pytest.mark.parametrize("code", codes())
def test_the_right_spec_of_a_page_has_no_fault(code: str) -> None:
    (spec,) = specs(sections(code)["Right"])
    found = {diagnostic.code for diagnostic in analyze(Source(f"{code}.ev3", spec)).diagnostics}
    assert found == set()


@pytest.mark.parametrize("code", sorted(set(codes()) - WITHOUT_A_BAD_SPEC))
def test_the_wrong_spec_of_a_page_has_its_fault(code: str) -> None:
    (spec,) = specs(sections(code)["Wrong"])
    found = [diagnostic.code for diagnostic in analyze(Source(f"{code}.ev3", spec)).diagnostics]
    assert set(found) == {code, *BESIDE.get(code, ())}


def test_every_code_of_a_diagnostic_has_its_page() -> None:
    written = {
        code
        for path in PACKAGE.rglob("*.py")
        for code in re.findall(
            r"(?:\bcode=|\bDiagnostic\(\s*)\"([a-z-]+)\"", path.read_text("utf-8")
        )
    }
    assert "unknown-name" in written
    assert written - set(codes()) == set()


def test_there_is_no_page_for_what_is_no_code() -> None:
    assert page("no-such-code") is None
    assert page("../render") is None
    assert page("") is None
