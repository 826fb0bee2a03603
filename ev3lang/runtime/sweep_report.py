"""What came of a sweep as a value: how each of its points ended, and the spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs
import numpy as np

from ev3lang.outcome import Outcome
from ev3lang.runtime.codec import Json
from ev3lang.runtime.events import interval_json, number
from ev3lang.runtime.intervals import Interval, student
from ev3lang.runtime.report import (
    INTERVALS,
    Delivered,
    Quantity,
    Report,
    require_format,
    require_quantity,
)

FORMAT_VERSION = "1.0"

Status: TypeAlias = Literal["done", "failed", "interrupted", "not run"]


@attrs.frozen
class PointResult:
    """How one point of a sweep ended.

    number       from 1, in the order of the sweep
    settings     each axis's value as `--set` and `--seed` take it
    folder       of its run, inside the sweep's; None where there is none
    reason       why it failed, None where it didn't
    exit_status  what the command would have left with, had it been run alone; 0 if not run
    outcome      how it ended, None where it never began
    split        what its values were measured on: `report`, or `assess` where it didn't end by its
                 own stop; None without values
    metrics      the values of the model that the run delivers
    delivered    `accepted`, or `start` where nothing was accepted and it is the one it started with
    """

    number: int
    settings: Mapping[str, str]
    status: Status = "not run"
    folder: str | None = None
    reason: str | None = None
    exit_status: int = 0
    outcome: Outcome | None = None
    iterations: int = 0
    acceptances: int = 0
    split: Literal["report", "assess"] | None = None
    metrics: Mapping[str, Interval] = attrs.Factory(dict)
    delivered: Delivered = "accepted"


@attrs.frozen
class Moments:
    """A value over several seeds.

    mean        with Student's interval, which says how far other seeds' mean may lie on the same
                split; `examples` of it counts seeds
    deviation   the sample's standard deviation, None for a single seed
    """

    mean: Interval
    deviation: float | None


@attrs.frozen
class Replicated:
    """The points that differ in their seed alone.

    settings   those of the other axes
    seeds      how many of them are done
    starts     how many of these accepted nothing, so that their values are those of a start
    """

    settings: Mapping[str, str]
    seeds: int
    metrics: Mapping[str, Moments]
    starts: int = 0


@attrs.frozen
class SweepReport:
    """All points of a sweep, for a reader who hasn't seen the spec.

    axes       each axis and its values, in the order of the spec
    rule       what an acceptance means, over all runs together
    device     None where no point got as far
    stopped    the end that a signal asked for, where points are left
    """

    name: str
    spec: str
    device: str | None
    axes: Mapping[str, tuple[str, ...]]
    rule: str
    quantities: Mapping[str, Quantity]
    points: tuple[PointResult, ...]
    wall_s: float
    stopped: Outcome = Outcome.INTERRUPTED

    @property
    def is_interrupted(self) -> bool:
        return any(point.status in ("interrupted", "not run") for point in self.points)

    @property
    def exit_status(self) -> int:
        """0 where all is done, 130 or 4 where a signal ended it, else the highest of the failed."""
        if self.is_interrupted:
            return self.stopped.exit_status
        return max(point.exit_status for point in self.points)

    @property
    def replicated(self) -> tuple[Replicated, ...]:
        """The points by their settings but for the seed; none where the seed is no axis."""
        if len(self.axes.get("seed", ())) < 2:
            return ()
        groups: dict[tuple[tuple[str, str], ...], list[PointResult]] = {}
        for point in self.points:
            key = tuple(each for each in point.settings.items() if each[0] != "seed")
            groups.setdefault(key, []).append(point)
        return tuple(
            self._replicated(dict(key), [each for each in points if each.split == "report"])
            for key, points in groups.items()
        )

    def _replicated(self, settings: Mapping[str, str], points: list[PointResult]) -> Replicated:
        values: dict[str, list[float]] = {}
        for point in points:
            for name, interval in point.metrics.items():
                values.setdefault(name, []).append(interval.value)
        return Replicated(
            settings,
            len(points),
            {
                name: _moments(each, is_share=self.quantities[name].is_share)
                for name, each in values.items()
            },
            sum(point.delivered == "start" for point in points),
        )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all values that any point that is done was measured by."""
        return tuple(
            dict.fromkeys(
                name for point in self.points if point.status == "done" for name in point.metrics
            )
        )


def done(point: PointResult, report: Report, folder: str) -> PointResult:
    """A point with what its run came to."""
    outcome = report.outcome
    status: Status = "done" if outcome.exit_status == 0 else "failed"
    if outcome.is_by_signal:
        status = "interrupted"
    return attrs.evolve(
        point,
        status=status,
        folder=folder,
        reason=outcome.words if status == "failed" else None,
        exit_status=outcome.exit_status,
        outcome=outcome,
        iterations=report.iterations,
        acceptances=len(report.acceptances),
        split=report.split,
        metrics=report.metrics[report.delivered],
        delivered=report.delivered,
    )


def settings_words(settings: Mapping[str, str]) -> str:
    """`seed 2, width 16`."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _moments(values: list[float], *, is_share: bool) -> Moments:
    found = np.asarray(values)
    with np.errstate(invalid="ignore"):  # a value that is no finite number leaves none
        deviation = float(np.std(found, ddof=1)) if len(found) > 1 else None
        mean = student(found)
    if is_share and mean.low is not None and mean.high is not None:
        # no mean of shares lies elsewhere
        mean = attrs.evolve(mean, low=max(0.0, mean.low), high=min(1.0, mean.high))
    return Moments(mean, deviation)


# ---------------------------------------------------------------- as JSON


def to_json(report: SweepReport) -> dict[str, Any]:
    """The value of `sweep.json`."""
    return {
        "format_version": FORMAT_VERSION,
        "name": report.name,
        "spec": report.spec,
        "device": report.device,
        "axes": {name: list(values) for name, values in report.axes.items()},
        "rule": report.rule,
        "exit_status": report.exit_status,
        "quantities": {name: attrs.asdict(each) for name, each in report.quantities.items()},
        "points": [_point_json(point) for point in report.points],
        "over_seeds": [
            {
                "settings": dict(each.settings),
                "seeds": each.seeds,
                "starts": each.starts,
                "metrics": {name: _moments_json(value) for name, value in each.metrics.items()},
            }
            for each in report.replicated
        ],
        "wall_s": report.wall_s,
    }


def _point_json(point: PointResult) -> dict[str, Any]:
    return {
        **attrs.asdict(point, recurse=False),
        "settings": dict(point.settings),
        "outcome": None if point.outcome is None else point.outcome.name.lower(),
        "metrics": {name: interval_json(each) for name, each in point.metrics.items()},
    }


def _moments_json(moments: Moments) -> dict[str, Any]:
    return {
        "mean": number(moments.mean.value),
        "low": number(moments.mean.low),
        "high": number(moments.mean.high),
        "deviation": number(moments.deviation),
    }


def from_json(value: Any) -> SweepReport:
    """The report that `to_json` gave the value of.

    Raises ValueError with the place for a value of another format, and for one that doesn't hold
    together.
    """
    return from_document(Json(value))


def from_document(json: Json) -> SweepReport:
    """The report of a document, as `from_json`."""
    require_format(json, "a sweep's report", FORMAT_VERSION)
    is_terminated = json["exit_status"].as_(int) == Outcome.TERMINATED.exit_status
    report = SweepReport(
        name=json["name"].as_(str),
        spec=json["spec"].as_(str),
        device=json["device"].as_(str | None),
        axes=json["axes"].as_(Mapping[str, tuple[str, ...]]),
        rule=json["rule"].as_(str),
        quantities=json["quantities"].as_(Mapping[str, Quantity]),
        points=json["points"].as_(tuple[PointResult, ...], INTERVALS),
        wall_s=json["wall_s"].as_(float),
        stopped=Outcome.TERMINATED if is_terminated else Outcome.INTERRUPTED,
    )
    if not report.rule:
        json["rule"].fail("is empty")
    if not report.points:
        json["points"].fail("is empty")
    for place, point in enumerate(report.points):
        for name in point.metrics:
            require_quantity(name, report.quantities, f"points[{place}].metrics")
    return report
