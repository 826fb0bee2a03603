"""The names a mistyped one may have meant."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Iterable

MOST_COMPARED = 50
"""Names that are compared edit by edit; of more, those that share most pairs of letters."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that the fewest edits away from `name`, or None where none is near.

    Near is a third of the length: one slip in a short name, a few in a long one. Of equals the
    first in alphabetical order, so that a message never changes from run to run.
    """
    limit = max(1, len(name) // 3)
    close = {each for each in known if each != name and abs(len(each) - len(name)) <= limit}
    best: tuple[int, str] | None = None
    for other in _likeliest(name, close):
        distance = edit_distance(name, other, limit)
        if distance <= limit and (best is None or (distance, other) < best):
            # what is further away than the best so far needn't be measured to its end
            best, limit = (distance, other), distance
    return None if best is None else best[1]


def _likeliest(name: str, known: set[str]) -> list[str]:
    """At most MOST_COMPARED of the names, the likeliest first."""
    own = _pairs(name)

    def rank(other: str) -> tuple[int, str]:
        return -len(own & _pairs(other)), other

    return heapq.nsmallest(MOST_COMPARED, known, key=rank)


@functools.lru_cache(maxsize=2**16)
def _pairs(name: str) -> frozenset[str]:
    """The pairs of neighbours in a name, and its ends: one edit changes three at most."""
    whole = f"^{name}$"
    return frozenset(whole[i : i + 2] for i in range(len(whole) - 1))


def edit_distance(a: str, b: str, limit: int) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.

    Anything above `limit` is returned as `limit + 1`, and found out by a band of 2 limit + 1 of
    the table. Source: Damerau (1964), Communications of the ACM 7:171-176, in the restricted form
    (no substring is edited twice); Ukkonen (1985), Information and Control 64:100-118.
    """
    far = limit + 1
    if abs(len(a) - len(b)) > limit:
        return far
    before, row = [far] * (len(b) + 1), [min(j, far) for j in range(len(b) + 1)]
    for i, char_a in enumerate(a, start=1):
        older, before = before, row
        row = [far] * (len(b) + 1)
        if i <= limit:
            row[0] = i
        for j in range(max(1, i - limit), min(len(b), i + limit) + 1):
            char_b = b[j - 1]
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (char_a != char_b))
            is_swap = i > 1 and j > 1 and char_a == b[j - 2] and a[i - 2] == char_b
            if is_swap:
                row[j] = min(row[j], older[j - 2] + 1)
        # a swap reads the row before the last
        if min(row) > limit and min(before) > limit:
            return far
    return min(row[-1], far)
