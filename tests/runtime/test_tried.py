"""Of several growths the one goes on that assess would rank first among candidates."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from ev3lang.backend.state import Values
from ev3lang.plan.plan import Plan
from ev3lang.runtime.events import Grown
from ev3lang.runtime.trials import best_tried, ranked_by
from tests.runtime.ran import plan_of, ran

SPEC = """\
ev3 1

data iris = sklearn.iris() {{
  split explore 40%, assess 25%, adapt 25%, report 10% stratified by label
  batch 16
  normalize features
}}
model net: features -> logits(label) = mlp(hidden: [2])

loss entropy = cross_entropy(net(features), label)
objective accuracy target 90% = maximize argmax(net(features)) == label
objective entropy_of target 0.5 in 0 to 4 = minimize clip(entropy, 0, 4)
metric size = parameters(net)

explore net {{ descend entropy with sgd(1.0, momentum: 0.9) for 4 steps }}
assess net {{
  {ranking}
  {guard}
}}
adapt net {{
  accept when accuracy improves
  after 1 iterations without progress {{
    grow by best of widen(2x), deepen(1)
    limit size <= 40
  }}
  stop after 16 iterations
}}
"""

FRONT = "rank by pareto(accuracy, entropy_of)"
URGENT = "prioritize accuracy, entropy_of by distance to target"
ROWS = 37
"""Examples of the assess split."""


def planned(ranking: str, guard: str = "") -> Plan:
    return plan_of(SPEC.format(ranking=ranking, guard=guard))


def values(accuracy: float, entropy: float) -> Values:
    """So many right answers, and the same entropy for each example."""
    right = np.arange(ROWS) < round(accuracy * ROWS)
    return {
        "accuracy": right.astype(np.float32),
        "entropy_of": np.full(ROWS, entropy, np.float32),
    }


def chosen(plan: Plan, before: Values, tried: list[Values], accepted: Values | None = None) -> int:
    keys = ranked_by(plan.ranking, before)
    return best_tried(plan, keys, tried, before if accepted is None else accepted)


def test_by_priority_what_is_furthest_from_its_target_decides() -> None:
    plan = planned(URGENT)
    tried = [values(0.8, 0.9), values(0.7, 0.7)]
    # 90% - 60% of a range of 1, and (0.9 - 0.5) of a range of 4
    assert chosen(plan, values(0.6, 0.9), tried) == 0
    # 90% - 88%, and (2.5 - 0.5) of 4
    assert chosen(plan, values(0.88, 2.5), tried) == 1


def test_of_a_front_the_largest_volume_goes_on() -> None:
    plan = planned(FRONT)
    rng = np.random.default_rng(5)
    for _ in range(50):
        points = [(rng.integers(0, ROWS + 1) / ROWS, rng.uniform(0, 4)) for _ in range(3)]
        tried = [values(*point) for point in points]
        # from the worst that the ranges know: no right answer, and an entropy of 4
        volumes = [accuracy * (4 - entropy) for accuracy, entropy in points]
        assert chosen(plan, values(0.5, 1), tried) == int(np.argmax(volumes))


def test_the_next_key_decides_among_what_is_level() -> None:
    plan = planned("rank by accuracy then entropy_of")
    for level, other in itertools.permutations((0, 1)):
        tried = [values(0.8, 0.4), values(0.8, 0.4)]
        tried[other] = values(0.8 - 1 / ROWS, 0.2)
        assert chosen(plan, values(0.5, 1), tried) == other, "one example is one standard error"
        tried[other] = values(0.5, 0.2)
        assert chosen(plan, values(0.5, 1), tried) == level


def test_growth_that_breaks_a_guard_comes_last() -> None:
    plan = planned("rank by accuracy", guard="guard entropy_of <= accepted + 0.1")
    accepted = values(0.5, 0.5)
    better, kept = values(0.9, 0.7), values(0.6, 0.55)
    assert chosen(plan, accepted, [better, kept], accepted) == 1
    assert chosen(plan, accepted, [better, values(0.6, 0.8)], accepted) == 0, "both break it"


@pytest.mark.parametrize("ranking", [FRONT, URGENT])
def test_a_run_tells_by_what_it_chose(ranking: str, tmp_path: Path) -> None:
    told = ran(SPEC.format(ranking=ranking, guard=""), tmp_path / "run")
    grown = next(event for event in told.of(Grown) if len(event.trials) == 2)
    scores = [
        (each.scores["accuracy"].value, each.scores["entropy_of"].value) for each in grown.trials
    ]
    if ranking == FRONT:
        assert grown.tried_by == ("accuracy", "entropy_of")
        merits = [accuracy * (4 - entropy) for accuracy, entropy in scores]
    else:
        (name,) = grown.tried_by
        merits = [accuracy if name == "accuracy" else -entropy for accuracy, entropy in scores]
    best = grown.trials[int(np.argmax(merits))]
    assert grown.operation == best.operation
    (stage,) = [each for each in told.result.report.stages if each.trials == grown.trials]
    assert stage.tried_by == grown.tried_by
