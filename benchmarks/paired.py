"""Paired comparisons over seeds: a mean difference, its interval, and how often it is a gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ev3lang.runtime.intervals import student


def summary(each: Sequence[float]) -> dict[str, Any]:
    """The values and their mean."""
    return {"mean": round(float(np.mean(each)), 3), "each": list(each)}


def gain(ours: Sequence[float], theirs: Sequence[float], *, less_is_better: bool) -> dict[str, Any]:
    """How much better ours is, seed by seed, with Student's 95% interval of the mean.

    ours, theirs   a value for each seed
    returns        positive where ours is better; seeds that are `better`, `worse` and `equal`
    """
    difference = np.subtract(theirs, ours) if less_is_better else np.subtract(ours, theirs)
    # what is equal on every example differs by rounding at most
    difference = np.round(difference, 6)
    found = student(difference)
    return {
        "mean": round(found.value, 3),
        "low": None if found.low is None else round(found.low, 3),
        "high": None if found.high is None else round(found.high, 3),
        "better": int(np.sum(difference > 0)),
        "worse": int(np.sum(difference < 0)),
        "equal": int(np.sum(difference == 0)),
    }


def verdict(found: Mapping[str, Any]) -> str:
    """`better` or `worse` where the interval leaves 0 out, else `noise`."""
    if found["low"] is not None and found["low"] > 0:
        return "better"
    if found["high"] is not None and found["high"] < 0:
        return "worse"
    return "noise"


def cells(found: Mapping[str, Any], digits: int = 2) -> str:
    """A gain as three cells of a table: its mean and interval, what it is, and the seeds."""
    mean, low, high = (
        "?" if found[each] is None else f"{found[each]:+.{digits}f}"
        for each in ("mean", "low", "high")
    )
    seeds = f"{found['better']} / {found['worse']} / {found['equal']}"
    return f"{mean} ({low} to {high}) | {verdict(found)} | {seeds}"
