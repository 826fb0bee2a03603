"""A spec run whole, with every event that was told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from ev3lang.analysis import analyze
from ev3lang.compile import experiment
from ev3lang.plan.plan import Plan
from ev3lang.runtime.events import Event, Grown, RunEnded
from ev3lang.runtime.run import Result, run
from ev3lang.source import Source


@attrs.frozen(eq=False)
class Ran:
    result: Result
    events: list[Event]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def ended(self) -> RunEnded:
        (ended,) = self.of(RunEnded)
        assert isinstance(ended, RunEnded)
        return ended

    @property
    def sizes(self) -> list[int]:
        """Parameters of `net` after each growth."""
        return [event.parameters["net"] for event in self.of(Grown)]


def plan_of(text: str) -> Plan:
    return experiment(analyze(Source("spec.ev3", text))).plan


def ran(text: str, where: Path, **options: Any) -> Ran:
    """The run of a spec beside the folder that it writes; options are those of `run`."""
    events: list[Event] = []
    listen = options.pop("listen", lambda event: None)

    def hear(event: Event) -> None:
        events.append(event)
        listen(event)

    source = Source(str(where.parent / "spec.ev3"), text)
    plan = experiment(analyze(source)).plan
    return Ran(run(plan, source, out=where, listen=hear, **options), events)
