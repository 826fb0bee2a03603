"""What `plan` tells of groups and blocks: the least gain, by a closed form, and what is counted."""

from __future__ import annotations

import math

import pytest

from ev3lang.analysis import analyze
from ev3lang.compile import experiment
from ev3lang.plan.plan import Plan
from ev3lang.plan.prospects import counts, prospects, too_few
from ev3lang.source import Source

SPEC = """ev3 1
data visits = csv("visits.csv") {{
  x: f32[4] from columns 1 to 4
  who: id
  day: i32
  back: class[2]
  rows 4_000
  split explore 40%, assess 20%, adapt 20%, report 20% {units}
}}
model net: x -> logits(back) = dense
loss entropy = cross_entropy(net(x), back)
objective accuracy = maximize argmax(net(x)) == back
explore net {{ descend entropy with adamw(1e-3) for 10 steps }}
assess net {{ rank by accuracy }}
adapt net {{
  accept when accuracy improves
  stop after 20 iterations
}}
"""


def planned(units: str) -> Plan:
    return experiment(analyze(Source("visits.ev3", SPEC.format(units=units)))).plan


def leasts(plan: Plan) -> list[tuple[int, float | None]]:
    """Units and the least gain at the first question."""
    sizes = {"explore": 1600, "assess": 800, "adapt": 800, "report": 800}
    (claim,) = prospects(plan, sizes).claims
    place = [column.kind for column in claim.columns].index("least")
    return [(row.examples, row.values[place]) for row in claim.rows]


@pytest.mark.parametrize(
    ("units", "first", "fullness", "what"),
    [
        ("grouped by who in 300 groups", 60, 1.0, "groups"),
        # 4000 rows in 300 groups fill a third of the largest
        ("grouped by who in 300 groups of up to 40 examples", 60, 1 / 3, "groups"),
        ("ordered by day in blocks of 20 examples", 40, 1.0, "blocks"),
    ],
)
def test_the_least_gain_is_jensens_bound_over_units(
    units: str, first: int, fullness: float, what: str
) -> None:
    plan = planned(units)
    assert counts(plan) == what
    found = leasts(plan)
    assert [count for count, _ in found] == [first * times for times in (1, 2, 4, 10)]
    for count, gain in found:
        expected = math.expm1(math.log(1 / 0.0025) / count) / 0.95 / fullness
        assert gain == pytest.approx(expected if expected <= 1 else None)


def test_groups_that_nobody_counted_are_told_for_several_sizes() -> None:
    plan = planned("grouped by who")
    assert [count for count, _ in leasts(plan)] == [10, 30, 100, 300, 1000, 3000]
    assert prospects(plan, None).deciding is None


def test_the_fewest_units_are_those_of_the_last_question() -> None:
    """All won: (1 + 0.95 f) ** n reaches 1 / 0.05 at n units that are f full."""
    plan = planned("grouped by who in 300 groups")
    for fullness in (1.0, 0.25):
        needed = math.ceil(math.log(20) / math.log1p(0.95 * fullness))
        assert too_few(plan, needed - 1, fullness) == needed
        assert too_few(plan, needed, fullness) is None


def test_blocks_hold_their_level_about_and_groups_exactly() -> None:
    assert planned("ordered by day in blocks of 20 examples").is_approximate
    assert not planned("grouped by who").is_approximate
