"""The door for foreign text: what it lets through, and what it never does."""

from __future__ import annotations

import re
import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ev3lang.printable import printable, printable_lines

TEXTS = st.text(
    st.one_of(
        st.sampled_from("\x1b\x07\x9b\x90\r\n\t\0:#[]abe \u202e\u2066\u200b\ud800\u2028\x85\x0c"),
        st.characters(),
    ),
    max_size=40,
)


@given(TEXTS)
def test_a_line_is_one_line_without_control_characters(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert len(shown.splitlines()) <= 1
    assert not [each for each in shown if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")]
    assert not [each for each in shown if unicodedata.bidirectional(each) in BIDI]
    shown.encode()
    assert not COMMANDS.search(shown)
    assert printable(shown) == shown


@given(TEXTS)
def test_lines_stay_lines(text: str) -> None:
    shown = printable_lines(text)
    assert len(shown) == len(text)
    assert [len(line) for line in shown.split("\n")] == [len(line) for line in text.split("\n")]
    assert not COMMANDS.search(shown)
    assert "\x1b" not in shown
    assert "\r" not in shown
    assert printable_lines(shown) == shown


BIDI = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
COMMANDS = re.compile(r"^\s*::|##\[|##vso\[|##teamcity\[", re.MULTILINE | re.IGNORECASE)


@pytest.mark.parametrize(
    "text",
    [
        "café, naïve, 日本語, Ελληνικά, שלום, سلام",
        "👩\u200d🔬 🏳\ufe0f\u200d🌈",
        "a::b ## [c] :d",
        "[red]x[/red]",
        "100%",
    ],
)
def test_text_of_any_script_is_itself(text: str) -> None:
    assert printable(text) == text
    assert printable_lines(f"{text}\n\t{text}\n") == f"{text}\n\t{text}\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]8;;http://x\x07y", "�]8;;http://x�y"),
        ("a\n::error::b", "a�::error::b"),
        ("  ::set-output name=x::y", "  �:set-output name=x::y"),
        ("\x1b::error::b", "�::error::b"),
        ("a ##[error]b", "a �#[error]b"),
        ("##vso[task.complete]", "�#vso[task.complete]"),
    ],
)
def test_what_is_replaced(text: str, shown: str) -> None:
    assert printable(text) == shown
