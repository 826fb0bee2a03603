"""The names a mistyped one may have meant."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that the fewest edits away from `name`, or None where none is near.

    Near is a third of the length: one slip in a short name, a few in a long one. Of equals the
    first in alphabetical order, so that a message never changes from run to run.
    """
    limit = max(1, len(name) // 3)
    ranked = sorted((edit_distance(name, other, limit), other) for other in known if other != name)
    return ranked[0][1] if ranked and ranked[0][0] <= limit else None


def edit_distance(a: str, b: str, limit: int) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.

    Anything above `limit` is returned as `limit + 1`. Source: Damerau (1964), Communications of
    the ACM 7:171-176, in the restricted form (no substring is edited twice).
    """
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before, row = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, char_a in enumerate(a, start=1):
        older, before = before, row
        row = [i] + [0] * len(b)
        for j, char_b in enumerate(b, start=1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (char_a != char_b))
            is_swap = i > 1 and j > 1 and char_a == b[j - 2] and a[i - 2] == char_b
            if is_swap:
                row[j] = min(row[j], older[j - 2] + 1)
    return min(row[-1], limit + 1)
