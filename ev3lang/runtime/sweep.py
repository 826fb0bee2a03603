"""All points of a sweep: data read once, programs compiled once, one table over all."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import attrs

from ev3lang.backend.modules import ModuleError
from ev3lang.diagnostics.figures import share
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import Plan, Reference
from ev3lang.plan.sweep import Point
from ev3lang.runtime import device, folder, sweep_report
from ev3lang.runtime.events import Event, Listener, PointEnded, PointStarted
from ev3lang.runtime.faults import DataError, MemoryFault, WeightsError
from ev3lang.runtime.kept import Kept
from ev3lang.runtime.report import Quantity, rule_words, sweep_words
from ev3lang.runtime.run import Lane, Result, may_go_together, run_together
from ev3lang.runtime.sweep_report import PointResult, SweepReport, settings_words
from ev3lang.signals import end_of, handled, raise_for
from ev3lang.source import Source

ALONE_ON = ("cpu",)
"""Platforms where seeds run one after the other.

Measured on digits, four candidates of 50 steps with mlps of 16 and 64, four seeds, two cores, as
processor time an iteration and seed: one after the other 8.7 and 21.9 ms; side by side, one vmap
over the states, 16.6 and 34.8; in two threads 7.6 and 23.5, as the candidates keep the cores busy
by themselves. Compiling takes 4.5 s, side by side 7 to 8. On other devices small networks leave
most of the device idle; that seeds side by side make use of it has not been measured.
"""

MOST_LANES = 16
"""Seeds side by side; halved whenever they are too many for the device's memory."""

FINDINGS, FAILURE = 1, 6

_Fault = DataError | MemoryFault | ModuleError | OSError | WeightsError
FAULTS = (DataError, MemoryFault, ModuleError, OSError, WeightsError)
"""What ends one point and leaves the others untouched."""


@attrs.frozen
class SweepResult:
    """What a sweep leaves.

    stopped   the signal that came, as the end that it asked for
    """

    report: SweepReport
    folder: Path
    stopped: Outcome | None = None

    @property
    def exit_status(self) -> int:
        return self.report.exit_status if self.stopped is None else self.stopped.exit_status


def sweep(
    points: Sequence[Point],
    source: Source,
    *,
    overrides: Mapping[str, str] = MappingProxyType({}),
    on: str = "auto",
    out: Path | None = None,
    listen: Listener = lambda event: None,
    import_s: float = 0.0,
    allow_python: Collection[str] = (),
    most_lanes: int | None = None,
) -> SweepResult:
    """Runs every point, each into a folder of its own inside the sweep's.

    source       the spec as given, kept in each point's folder with `overrides` and its settings
    on           the kind of device: auto, cpu, gpu or tpu
    out          the folder to write, new or empty; None for the next of `runs/`
    listen       hears where the sweep is, and every event of a point as it happens; of points side
                 by side those of the first
    import_s     what was spent before this call, for the first point's report
    allow_python packages whose code may run
    most_lanes   how many points that differ in their seed alone run side by side; None for what
                 the device is good at. One after the other each is, bit for bit, what it would be
                 alone; side by side sums may be taken in another order.

    A point that fails does not stop the others. Ctrl-C, SIGTERM and SIGHUP end the running point as
    they end a run, and the sweep with it. Raises DeviceError before anything is written, OSError
    where the sweep's own files can't be written.
    """
    platform = device.pick(on).platform
    if most_lanes is None:
        most_lanes = 1 if platform in ALONE_ON else MOST_LANES
    where = folder.create(out, *(point.plan for point in points))
    sweeping = _Sweeping(
        points,
        source,
        overrides,
        on,
        where,
        listen,
        import_s,
        allow_python,
        [PointResult(number, point.settings) for number, point in enumerate(points, 1)],
    )
    with handled(sweeping.stop):
        try:
            folder.write_text(where / folder.SPEC, source.text)
            sweeping.write()
            for group in _groups([point.plan for point in points], most_lanes):
                sweeping.run(group)
                if sweeping.stopped is not None:
                    break
                # what no point to come reads makes room
                sweeping.kept.forget_all_but({point.plan.data for point in points[group[-1] + 1 :]})
        except KeyboardInterrupt as stop:
            sweeping.stopped = end_of(stop)
            sweeping.cut_off()
        sweeping.write()
    return SweepResult(sweeping.report, where, sweeping.stopped)


def _groups(plans: Sequence[Plan], most: int) -> Iterator[list[int]]:
    """The points' places in order, together those that may run side by side."""
    group: list[int] = []
    for place, plan in enumerate(plans):
        if group and (len(group) == most or not may_go_together(plans[group[0]], plan)):
            yield group
            group = []
        group.append(place)
    yield group


@attrs.define(eq=False)
class _Sweeping:
    """A sweep between its first point and its report."""

    points: Sequence[Point]
    source: Source
    overrides: Mapping[str, str]
    on: str
    where: Path
    listen: Listener
    import_s: float
    allow_python: Collection[str]
    results: list[PointResult]
    kept: Kept = attrs.Factory(Kept)
    device: str | None = None
    stopped: Outcome | None = None
    quantities: dict[str, Quantity] = attrs.Factory(dict)
    began_s: float = attrs.Factory(time.monotonic)

    def run(self, places: Sequence[int]) -> None:
        """Runs the points at these places, side by side where several."""
        first = self.results[places[0]]
        self.listen(
            PointStarted(
                first.number,
                len(self.points),
                settings_words(first.settings),
                beside=len(places) - 1,
            )
        )
        try:
            results = run_together(
                [self._lane(place, is_shown=place == places[0]) for place in places],
                self.source,
                on=self.on,
                import_s=self.import_s,
                allow_python=self.allow_python,
                kept=self.kept,
            )
        except FAULTS as fault:
            if isinstance(fault, MemoryFault) and len(places) > 1:
                self._run_in_halves(places)
                return
            for place in places:
                self._failed(place, fault)
        else:
            for place, result in zip(places, results, strict=True):
                self.stopped = self.stopped or result.stopped
                self._done(place, result)
        finally:
            self.import_s = 0.0
        self.write()

    def _run_in_halves(self, places: Sequence[int]) -> None:
        for place in places:
            shutil.rmtree(self.where / self._folder(place), ignore_errors=True)
        middle = len(places) // 2
        for half in (places[:middle], places[middle:]):
            if self.stopped is None:
                self.run(half)

    def _lane(self, place: int, *, is_shown: bool) -> Lane:
        point = self.points[place]
        out = self.where / self._folder(place)
        out.parent.mkdir(exist_ok=True)
        settings = {name: text for name, text in point.settings.items() if name != "seed"}
        listen = self.listen if is_shown else _unheard
        return Lane(point.plan, {**self.overrides, **settings}, out, listen)

    def _folder(self, place: int) -> str:
        """`points/001-seed=0,width=16`, with what no file system minds."""
        result = self.results[place]
        settings = ",".join(f"{name}={text}" for name, text in result.settings.items())
        return f"points/{result.number:03d}-{re.sub(r'[^0-9A-Za-z_.,=+%-]+', '_', settings)[:100]}"

    def _done(self, place: int, result: Result) -> None:
        report = result.report
        self.device = report.device
        self.quantities.update(report.quantities)
        ended = sweep_report.done(self.results[place], report, self._folder(place))
        ranked = ended.metrics.get(report.ranked_by)
        value = ""
        if ranked is not None:
            is_share = report.quantities[report.ranked_by].is_share
            number = share(ranked.value) if is_share else f"{ranked.value:.4g}"
            of = "" if ended.delivered == "accepted" else " of the start"
            value = f", {report.ranked_by}{of} {number} on {ended.split}"
        times = "acceptance" if ended.acceptances == 1 else "acceptances"
        words = ended.reason or f"{report.outcome.words}, {ended.acceptances} {times}{value}"
        self._note(place, ended, words)

    def _failed(self, place: int, fault: _Fault) -> None:
        words = str(fault) if isinstance(fault, OSError) else f"{fault}; {fault.help}"
        is_spec_fault = isinstance(fault, DataError | ModuleError) and fault.is_spec_fault
        ended = attrs.evolve(
            self.results[place],
            status="failed",
            reason=words,
            exit_status=FINDINGS if is_spec_fault else FAILURE,
            folder=self._written(place),
        )
        self._note(place, ended, words)

    def _note(self, place: int, ended: PointResult, words: str) -> None:
        self.results[place] = ended
        settings = settings_words(ended.settings)
        count, is_failed = len(self.points), ended.status == "failed"
        self.listen(PointEnded(ended.number, count, settings, words, is_failed))

    def stop(self, end: Outcome) -> None:
        """What a signal between points does."""
        self.stopped = end
        raise_for(end)

    def cut_off(self) -> None:
        """Notes which points were running: those that left something and came to no end."""
        for place, result in enumerate(self.results):
            written = self._written(place)
            if result.status == "not run" and written is not None:
                self.results[place] = attrs.evolve(result, status="interrupted", folder=written)

    def _written(self, place: int) -> str | None:
        name = self._folder(place)
        return name if (self.where / name).is_dir() else None

    def write(self) -> None:
        """Writes what is known by now: a sweep that is killed leaves a table as well."""
        folder.write_json(self.where / "sweep.json", sweep_report.to_json(self.report))

    @property
    def report(self) -> SweepReport:
        # Where the confidence is an axis, the least of them is what holds for all.
        plan = max((point.plan for point in self.points), key=_delta)
        axes: dict[str, dict[str, None]] = {name: {} for name in self.points[0].settings}
        for point in self.points:
            for name, text in point.settings.items():
                axes[name][text] = None
        return SweepReport(
            name=plan.name,
            spec=self.source.name,
            device=self.device,
            axes={name: tuple(values) for name, values in axes.items()},
            rule=rule_words(plan) if plan.runs == 1 else sweep_words(plan),
            quantities=dict(self.quantities),
            points=tuple(self.results),
            wall_s=time.monotonic() - self.began_s,
            stopped=self.stopped or Outcome.INTERRUPTED,
        )


def _delta(plan: Plan) -> float:
    return 0.0 if isinstance(plan.rule, Reference) else plan.rule.delta


def _unheard(event: Event) -> None:
    """Of points side by side one is shown; the others' events stand in their folders."""
    del event
