"""The Pygments lexer: every spec without an error, every word of the grammar known."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygments.lexers import get_lexer_by_name, get_lexer_for_filename
from pygments.token import Comment, Error, Keyword, Name, Number, String, Token

from ev3lang.highlight import Ev3Lexer

SPECS = sorted((Path(__file__).resolve().parent.parent / "specs").glob("*.ev3"))


def _kinds(text: str) -> list[tuple[object, str]]:
    return [(kind, piece) for kind, piece in Ev3Lexer().get_tokens(text) if piece.strip()]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_a_spec_has_no_error_and_nothing_is_lost(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not [piece for kind, piece in _kinds(text) if kind is Error]
    assert "".join(piece for _, piece in Ev3Lexer().get_tokens(text)) == text


def test_words_names_numbers_and_comments_are_told_apart() -> None:
    found = _kinds('model net: image -> logits(label) = mlp(hidden: [64]) # "so"')
    assert (Keyword, "model") in found
    assert (Keyword.Type, "logits") in found
    assert (Name.Builtin, "mlp") in found
    assert (Number, "64") in found
    assert (Comment.Single, '# "so"') in found
    assert (String.Double, '"a # b"') in _kinds('use "a # b"')
    assert (Number, "95%") in _kinds("with confidence 95% over the run")
    assert (Token.Literal, "steps") in _kinds("for 100 steps")


def test_a_word_is_a_plain_name_before_a_colon() -> None:
    assert (Keyword, "rate") not in _kinds("dropout(rate: 10%)")
    assert (Keyword, "seed") in _kinds("experiment a { seed 3 }")
    assert (Keyword, "batch") not in _kinds("conv(batch: 3)")


@given(st.text())
def test_any_text_is_read_to_its_end(text: str) -> None:
    pieces = Ev3Lexer().get_tokens_unprocessed(text)
    assert "".join(piece for _, _, piece in pieces) == text


def test_pygments_finds_it_by_name_and_by_file() -> None:
    assert isinstance(get_lexer_by_name("ev3"), Ev3Lexer)
    assert isinstance(get_lexer_for_filename("a.ev3"), Ev3Lexer)
