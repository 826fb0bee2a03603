"""Whether stored numbers are the probabilities, or log-probabilities, that a spec declares."""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs
import numpy as np

BLOCK_BYTES = 2**20
"""What is checked at a time, so that no second copy of the data is made."""

SLACK = 1e-3
"""How far a sum can be from 1 for reasons other than how the numbers are stored."""

LEAST = 1e-5
"""How far below 0 the arithmetic that made a probability may have left it."""

_STEPS = (1 / 100, 1 / 255, 1 / 1000, 1 / 10000)
"""Of numbers rounded to decimals, or stored as bytes."""


@attrs.frozen
class Fault:
    """The first example whose numbers are none of a distribution.

    row     counted from 0
    count   how many examples there are like it
    what    what is wrong, to follow the field's name: `sums to 100`
    """

    row: int
    count: int
    what: str


def fault(column: np.ndarray, kind: str) -> Fault | None:
    """The first example of a column that is no distribution over its last axis; None without one.

    column   [N, ..., C] float32, finite; `probs`, or `log_probs` in nats, as `kind` says
    A sum may differ from 1 by what rounding does to it: to float32, float16 or bfloat16, to
    bytes, or to some decimals, whichever the numbers show that they were stored in.
    """
    if not column.size:
        return None
    most = SLACK + _rounding(column, kind)
    wrong = np.concatenate([_is_wrong(block, kind, most) for block in _blocks(column)])
    rows = np.flatnonzero(wrong)
    if not len(rows):
        return None
    row = int(rows[0])
    return Fault(row, len(rows), _said(column[row], kind, most))


def _is_wrong(block: np.ndarray, kind: str, most: float) -> np.ndarray:
    """[B] bool."""
    sums = _sums(block, kind)
    # not `> most`: a sum of infinity less one is compared too
    wrong = ~(np.abs(sums - 1) <= most)
    if kind == "probs":
        wrong |= block.min(axis=-1) < -LEAST
    return wrong.reshape(len(block), -1).any(axis=1)


def _sums(values: np.ndarray, kind: str) -> np.ndarray:
    """Of the probabilities over the last axis, float64."""
    if kind == "log_probs":
        with np.errstate(over="ignore"):
            values = np.exp(values.astype(np.float64))
    sums: np.ndarray = values.sum(axis=-1, dtype=np.float64)
    return sums


def _said(example: np.ndarray, kind: str, most: float) -> str:
    if kind == "probs" and example.min() < -LEAST:
        return f"has a probability of {example.min():.4g}"
    sums = np.atleast_1d(_sums(example, kind)).ravel()
    total = float(sums[np.argmax(~(np.abs(sums - 1) <= most))])
    subject = "sums to" if kind == "probs" else "has probabilities that sum to"
    return f"{subject} {total:.4g}" if abs(total - 1) > SLACK else f"{subject} {total:.6f}"


def _rounding(column: np.ndarray, kind: str) -> float:
    """How much rounding can move a sum of probabilities, by the coarsest grid that they lie on.

    Roundings to a step of one size are independent: with C of them a sum is off by less than half
    a step each, and hardly ever by more than the root of C steps times two. Those to a few bits
    are relative, and so their sum.
    """
    classes = column.shape[-1]
    for step in _STEPS:
        if all(_is_on_grid(block, step) for block in _blocks(column)):
            # a logarithm's rounding is its probability's relative one
            return (
                step / 2 if kind == "log_probs" else step * min(classes / 2, 2 * math.sqrt(classes))
            )
    bits = 8 if all(_is_bfloat16(block) for block in _blocks(column)) else 11
    if bits == 11 and not all(_is_float16(block) for block in _blocks(column)):
        return 0.0
    # a logarithm's rounding grows with it: -8 and less have little weight in the sum
    return (8 if kind == "log_probs" else 2) * 2.0**-bits


def _is_on_grid(block: np.ndarray, step: float) -> bool:
    places = block.astype(np.float64) / step
    apart = np.abs(places - np.round(places)) * step
    return bool((apart <= 1e-7 * np.maximum(1, np.abs(block))).all())


def _is_bfloat16(block: np.ndarray) -> bool:
    return not (np.ascontiguousarray(block).view(np.uint32) & 0xFFFF).any()


def _is_float16(block: np.ndarray) -> bool:
    with np.errstate(over="ignore"):
        return bool((block.astype(np.float16).astype(np.float32) == block).all())


def _blocks(column: np.ndarray) -> Iterator[np.ndarray]:
    rows = max(1, BLOCK_BYTES * len(column) // max(1, column.nbytes))
    for begin in range(0, len(column), rows):
        yield column[begin : begin + rows]
