"""Values outside of the range that a spec states for them, as warnings."""

from __future__ import annotations

import math

import attrs

from ev3lang.plan.plan import Plan
from ev3lang.runtime.events import IterationDone


@attrs.define
class Outside:
    """The objectives whose values left their range: the first case of each, and how many.

    Assess takes such a candidate out of its iteration; nothing that it has computed is used.
    """

    plan: Plan
    _first: dict[str, str] = attrs.field(factory=dict)
    _count: dict[str, int] = attrs.field(factory=dict)

    def add(self, done: IterationDone) -> tuple[str, ...]:
        """What is seen for the first time in this iteration, in words."""
        news = []
        for measure in self.plan.measures:
            if measure.range is None or measure.is_binary:
                continue
            low, high = measure.range
            slack = SLACK * max(1.0, abs(low), abs(high))
            for candidate in done.candidates:
                value = candidate.scores[measure.name].value
                if not math.isfinite(value) or low - slack <= value <= high + slack:
                    continue
                self._count[measure.name] = self._count.get(measure.name, 0) + 1
                if measure.name not in self._first:
                    self._first[measure.name] = (
                        f"{measure.name} was {value:g} for {candidate.name} in iteration "
                        f"{done.iteration}, outside of its range {low:g} to {high:g}"
                    )
                    news.append(self._first[measure.name])
        return tuple(news)

    def summary(self) -> tuple[str, ...]:
        """Of each objective the first case, and how many there were."""
        return tuple(
            first
            + (f", the first of {self._count[name]} cases" if self._count[name] > 1 else "")
            + "; such a candidate is out of the iteration"
            for name, first in self._first.items()
        )


SLACK = 1e-5
"""How far rounding may carry a float32 value out of a range, over the size of its bounds."""
