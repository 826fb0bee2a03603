"""The smallest case that still fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from tests.fuzz.part import Case
from tests.syntax.mutation import tokens_of

MOST_TRIES = 400


def minimized(case: Case, fails: Callable[[Case], bool], most_tries: int = MOST_TRIES) -> Case:
    """The case with all parts taken out that it fails without, by words where it is a spec.

    Source: Zeller and Hildebrandt (2002), IEEE Transactions on Software Engineering 28:183-200.
    Ends after so many tries with the smallest case until then.
    """
    left = most_tries

    def still_fails(smaller: Case) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and fails(smaller)

    for name in list(case.files):
        fewer = {other: data for other, data in case.files.items() if other != name}
        if fewer and still_fails(attrs.evolve(case, files=fewer)):
            case = attrs.evolve(case, files=fewer)
    for name in case.files:
        case = _smaller(case, name, still_fails)
    return case


def _smaller(case: Case, name: str, fails: Callable[[Case], bool]) -> Case:
    """The case with less of one of its files."""

    def with_parts(kept: Sequence[bytes]) -> Case:
        return attrs.evolve(case, files={**case.files, name: b"".join(kept)})

    data = case.files[name]
    parts = _words(data) if name.endswith(".ev3") else _bytes(data)
    return with_parts(_fewest(parts, lambda kept: fails(with_parts(kept))))


def _fewest(parts: Sequence[bytes], fails: Callable[[Sequence[bytes]], bool]) -> Sequence[bytes]:
    """The parts of which none can be taken out, nor a row of them."""
    size = max(1, len(parts) // 2)
    while size:
        start, is_smaller = 0, False
        while start < len(parts):
            fewer = [*parts[:start], *parts[start + size :]]
            if fails(fewer):
                parts, is_smaller = fewer, True
            else:
                start += size
        if not is_smaller or size > len(parts):
            size //= 2
    return parts


def _words(data: bytes) -> Sequence[bytes]:
    """The words, each with what stands before it."""
    text = data.decode()
    parts, end = [], 0
    for token in tokens_of(text):
        parts.append(text[end : token.end()].encode())
        end = token.end()
    return [*parts, text[end:].encode()]


def _bytes(data: bytes) -> Sequence[bytes]:
    return [data[n : n + 1] for n in range(len(data))]
