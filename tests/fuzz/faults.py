"""Faults to plant in a spec: of its words, its characters and its numbers."""

from __future__ import annotations

import random
import re

import attrs

from tests.syntax.mutation import tokens_of

_NUMERAL = re.compile(r"\d[\d_.]*(?:e-?\d+)?")

EXTREMES = (
    *("0", "-1", "1", "2", "0.0", "-0.5", "1e-320", "1e20", "1e308", "1e309", "-1e308"),
    *("2147483648", "9223372036854775808", "99999999999999999999999", "1e6", "1_000_000"),
    *("0%", "101%", "-5%", "1e300%", "9^9^9", "2^-1", "1/0", "0 pp", "1e9x", "0x", "1e99 min"),
)
"""What takes the place of a number."""

ODD_TEXTS = (
    *("", " ", "\t", "\n", "\r\n", "\0", "é", "\u202e", "“", "\ufeff", "\U0001f600", "#", '"'),
    *("(", ")", "[", "]", "{", "}", ",", ":", ";", "=", "|", "-", "->", "*", "^", "\\", "."),
    *("a", "Z", "_", "0", "9", "e", "%", "not ", "in ", "or ", "^9" * 40, "(" * 120, "-" * 120),
)
"""What takes the place of some characters."""


@attrs.frozen
class Edit:
    """Put `text` where the characters `start` to `end` are."""

    start: int
    end: int
    text: str

    def made(self, text: str) -> str:
        return f"{text[: self.start]}{self.text}{text[self.end :]}"


def token_fault(text: str, draw: random.Random, start: int = 0, end: int | None = None) -> Edit:
    """One of the words left out, doubled, replaced, or changed with the next one.

    start, end   where the word is; the whole text if not given
    """
    words = [each for each in tokens_of(text) if each[0] != "\n"]
    inside = [n for n, word in enumerate(words) if start <= word.start() < (end or len(text))]
    index = draw.choice(inside)
    word = words[index]
    way = draw.choice(("leave out", "double", "replace", "swap"))
    if way == "swap" and index + 1 in inside:
        after = words[index + 1]
        between = text[word.end() : after.start()]
        return Edit(word.start(), after.end(), f"{after[0]}{between}{word[0]}")
    if way == "leave out":
        return Edit(word.start(), word.end(), "")
    if way == "double":
        return Edit(word.end(), word.end(), f" {word[0]}")
    return Edit(word.start(), word.end(), draw.choice(words)[0])


def character_fault(text: str, draw: random.Random) -> Edit:
    """Up to nine characters replaced by others, or repeated."""
    start = draw.randrange(len(text) + 1)
    end = min(len(text), start + draw.choice((0, 0, 1, 1, 2, 9)))
    if draw.random() < 0.1:
        return Edit(start, start, text[start : start + 60])
    return Edit(start, end, draw.choice(ODD_TEXTS))


def number_fault(text: str, draw: random.Random) -> Edit:
    """A number replaced by an extreme one."""
    numerals = list(_NUMERAL.finditer(text, text.find("\n")))
    if not numerals:
        return character_fault(text, draw)
    numeral = draw.choice(numerals)
    return Edit(numeral.start(), numeral.end(), draw.choice(EXTREMES))
