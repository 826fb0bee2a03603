"""What a run says before its first step of splits that can prove nothing."""

from __future__ import annotations

import math

import numpy as np

from ev3lang.outcome import Outcome
from ev3lang.plan.plan import Plan
from ev3lang.runtime.evidence import shortfall
from ev3lang.runtime.report import claim_words, unit_words
from tests.plan.test_units import planned


def told(plan: Plan, sizes: list[int]) -> list[str]:
    """What is said where every split has groups of these sizes."""
    who = np.repeat(np.arange(len(sizes)), sizes)
    tables = {
        use: {"who": who, "day": np.arange(len(who)), "back": np.zeros(len(who), np.int32)}
        for use in ("explore", "assess", "adapt", "report")
    }
    return list(shortfall(plan, tables))


def test_groups_that_can_prove_nothing_are_told_with_how_many_could() -> None:
    """One large group among small ones: 15 are filled to 1/30 but for one."""
    sizes = [30] + [1] * 14
    filled = (1 + 14 / 30) / 15
    needed = math.ceil(math.log(20) / math.log1p(0.95 * filled))
    (said,) = told(planned("grouped by who"), sizes)
    assert "15 groups by who in adapt can't show a gain at 95% confidence" in said
    assert f"at least {needed} are needed" in said


def test_enough_groups_are_no_matter() -> None:
    assert told(planned("grouped by who"), [10] * 15) == []


def test_blocks_of_time_are_counted() -> None:
    (said,) = told(planned("ordered by day in blocks of 20 examples"), [40])
    assert "2 blocks in adapt" in said


def test_single_examples_are_counted_where_the_spec_does_not() -> None:
    (said,) = told(planned(""), [4])
    assert "4 adapt examples can't show a gain at 95% confidence, and at least 5 are needed" in said
    assert told(planned(""), [5]) == []


def test_what_was_proven_names_what_was_counted() -> None:
    grouped = planned("grouped by who")
    words = claim_words(grouped, 1, Outcome.ITERATIONS, 800, 40)
    assert "on 800 examples that chose nothing else, counted as 40 whole groups by who" in words
    blocks = planned("ordered by day in blocks of 20 examples")
    words = claim_words(blocks, 1, Outcome.ITERATIONS, 800, 40)
    assert "at most about 5%" in words
    assert f"counted as 40 {unit_words(blocks)}, for the time that they cover" in words
