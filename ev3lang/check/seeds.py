"""What a seed is, wherever one is given: a whole number that names a random key of its own."""

from __future__ import annotations

import operator
from typing import SupportsIndex

from ev3lang.catalog.signature import LARGEST_SEED
from ev3lang.check import errors
from ev3lang.check.checking import Checking
from ev3lang.syntax import tree


def seed_of(checking: Checking, value: tree.Expression) -> int | None:
    """The seed that a value means; None, reported, where it is none."""
    match value:
        case tree.Number(unit=None, value=int() as seed) if 0 <= seed <= LARGEST_SEED:
            return seed
    checking.report(errors.no_seed(value.span, value.span.text, LARGEST_SEED))
    return None


def valid(seed: SupportsIndex) -> int:
    """A seed that a Python caller gives, NumPy's whole numbers among them.

    Raises TypeError for what is no whole number, ValueError for one that is out of bounds: a key
    has 32 bits, and a larger number would be the same run as the one that it wraps to.
    """
    if isinstance(seed, bool | float | str):
        raise TypeError(f"a seed is a whole number, not {seed!r}")
    try:
        number = operator.index(seed)
    except TypeError as error:
        raise TypeError(f"a seed is a whole number, not {seed!r}") from error
    if not 0 <= number <= LARGEST_SEED:
        raise ValueError(f"a seed lies in 0 to {LARGEST_SEED}, and this is {number}")
    return number
