"""Values on assess beyond the range of their measure, as warnings; and how near to it they come."""

from __future__ import annotations

import math

import attrs

from ev3lang.plan.plan import ObjectivePlan, Plan, Reference
from ev3lang.runtime.events import CandidateDone, IterationDone

NARROW = 0.25
"""The summary suggests a narrower range where all values lie in less than this part of it."""


@attrs.define
class Outside:
    """The measures whose values left their range: the first case of each, and how many.

    A candidate with a set's value out of its range is out of the iteration. An example's value
    beyond a stated range costs nothing: tests of acceptance count the nearer end of the range.
    """

    plan: Plan
    _first: dict[str, str] = attrs.field(factory=dict)
    _count: dict[str, int] = attrs.field(factory=dict)
    _extent: dict[str, tuple[float, float]] = attrs.field(factory=dict)

    def add(self, done: IterationDone) -> tuple[str, ...]:
        """What is seen for the first time in this iteration, in words."""
        news = []
        for measure in self.plan.measures:
            if measure.range is None or measure.is_binary:
                continue
            for candidate in done.candidates:
                self._stretch(measure, candidate)
                words = _words(measure, candidate, done.iteration)
                if words is None:
                    continue
                self._count[measure.name] = self._count.get(measure.name, 0) + 1
                if measure.name not in self._first:
                    self._first[measure.name] = words
                    news.append(f"{words}; {self._consequence(measure)}")
        return tuple(news)

    def _stretch(self, measure: ObjectivePlan, candidate: CandidateDone) -> None:
        low, high = candidate.extents.get(measure.name, (math.nan, math.nan))
        if measure.clips and math.isfinite(low) and math.isfinite(high):
            least, most = self._extent.get(measure.name, (low, high))
            self._extent[measure.name] = min(least, low), max(most, high)

    def _consequence(self, measure: ObjectivePlan) -> str:
        if measure.value.level != "example":
            return "such a candidate is out of the iteration"
        return (
            "tests of acceptance count such a value as the nearer end of the range"
            if measure.name in _claimed(self.plan)
            else "no test of acceptance reads it, so nothing follows from that"
        )

    def summary(self) -> tuple[str, ...]:
        """Of each measure the first case and how many there were, or how much of a range is used.

        A test by bets is the stronger the narrower its range is.
        """
        measures = {measure.name: measure for measure in self.plan.measures}
        cases = tuple(
            first
            + (f", the first of {self._count[name]} candidates" if self._count[name] > 1 else "")
            + f"; {self._consequence(measures[name])}"
            for name, first in self._first.items()
        )
        return cases + tuple(
            f"{name} lay in {low:.3g} to {high:.3g} on assess for every candidate, and its range "
            f"is stated as {_range(measures[name])}: a narrower range lets tests show "
            "smaller gains"
            for name, (low, high) in self._extent.items()
            if name in _claimed(self.plan)
            and name not in self._first
            and high - low < NARROW * _width(measures[name])
        )


def _words(measure: ObjectivePlan, candidate: CandidateDone, iteration: int) -> str | None:
    """How a candidate left the measure's range, None where it did not."""
    where = f"for {candidate.name} in iteration {iteration}"
    if measure.value.level != "example":
        if measure.name not in candidate.out_of_range:
            return None
        value = candidate.scores[measure.name].value
        return f"{measure.name} was {value:g} {where}, outside of its range {_range(measure)}"
    count = candidate.beyond.get(measure.name, 0)
    if not count:
        return None
    low, high = candidate.extents[measure.name]
    of = candidate.scores[measure.name].examples
    return (
        f"{measure.name} lay beyond its range {_range(measure)} on {count} of {of} assess "
        f"examples {where}, where its values go from {low:.6g} to {high:.6g}"
    )


def _claimed(plan: Plan) -> set[str]:
    """The measures that tests by bets are about."""
    if isinstance(plan.rule, Reference):
        return set()
    claims = (*plan.rule.claims, *plan.proven)
    return {claim.measure.name for claim in claims if claim.test == "betting"}


def _range(measure: ObjectivePlan) -> str:
    assert measure.example_range is not None
    low, high = measure.example_range
    return f"{low:g} to {high:g}"


def _width(measure: ObjectivePlan) -> float:
    assert measure.example_range is not None
    return measure.example_range[1] - measure.example_range[0]
