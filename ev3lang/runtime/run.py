"""A run from its plan to its report: segments on the device, events and files on the host."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import attrs
import jax

from ev3lang.backend import modules
from ev3lang.backend.emit import SEGMENT, Program, emit
from ev3lang.backend.state import Record, RunState
from ev3lang.outcome import Outcome
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import BaselinePlan, Forward, Plan, fields_of, subexpressions
from ev3lang.runtime import (
    checkpoints,
    data,
    device,
    folder,
    measuring,
    records,
    streaming,
    teachers,
)
from ev3lang.runtime import report as reports
from ev3lang.runtime.events import (
    Closed,
    Compiled,
    Event,
    IterationDone,
    Listener,
    Measuring,
    RunEnded,
    RunStarted,
)
from ev3lang.runtime.interrupts import begin, computed, interruptible, interrupts, stop_at_once
from ev3lang.runtime.report import Report, Tally
from ev3lang.runtime.stopwatch import Stopwatch
from ev3lang.source import Source

SEGMENT_S = 0.2
"""How long a segment should last: about the time between two pictures of the terminal."""


@attrs.frozen
class Result:
    """What a run leaves."""

    report: Report
    folder: Path


def run(
    plan: Plan,
    source: Source,
    *,
    overrides: Mapping[str, str] = MappingProxyType({}),
    on: str = "auto",
    out: Path | None = None,
    listen: Listener = lambda event: None,
    import_s: float = 0.0,
    allow_python: Collection[str] = (),
    stream_above_bytes: int | None = None,
) -> Result:
    """Runs a plan to its end and measures what came of it.

    source     the spec as given, kept in the run's folder with `overrides`
    on         the kind of device: auto, cpu, gpu or tpu
    out        the folder to write, new or empty; None for the next of `runs/`
    listen     hears every event as it happens
    import_s   what was spent before this call, for the report
    allow_python   packages whose code may run: networks from Python classes need theirs
    stream_above_bytes   what the explore split may take on the device; one beyond it stays on the
             host and its batches are brought, with the same results. None for a share of the
             device's memory.

    Ctrl-C ends the run in order after its segment, a second one at once; before the first
    iteration one is enough. Raises DeviceError, ModuleError, DataError, WeightsError, OSError and
    KeyboardInterrupt, each before anything is written or with everything written so far whole.
    """
    watch = Stopwatch({"import_s": import_s})
    chosen = device.pick(on)
    device.keep_programs()
    modules.load(plan.models, allow_python, (source.folder, Path()))
    with _default_device(chosen), closing(streaming.Feed()) as feed:
        with watch("data_s"):
            dataset = data.read(plan.data, source.folder)
        tables = dataset.tables
        is_streamed = streaming.is_needed(plan, tables, chosen, stream_above_bytes)
        is_new = out is None or not out.exists()
        where = folder.create(out, plan)
        try:
            _write_inputs(where, plan, source, dataset.files, overrides, chosen, on)
            sizes = {use: len(next(iter(table.values()))) for use, table in tables.items()}
            listen(RunStarted(plan, device.describe(chosen), where, sizes))
            given = _given(plan, dataset, source, chosen, watch, listen)
            weights = given.weights | teachers.frozen_weights(plan, given.weights)
            program = emit(
                fuse(plan, chosen.platform),
                tables,
                dataset.statistics,
                weights,
                feed.begin if is_streamed else None,
            )
            with watch("compile_s"):
                state = _compile(program, plan)
            listen(Compiled(watch.timings["compile_s"]))
        except BaseException:
            # nothing ran: nobody should take what is there for a run
            _remove(where, is_new=is_new)
            raise
        with closing(folder.EventLog(where)) as log:
            started = _Running(program, plan, log, listen, sizes, watch, Tally(plan))
            state = started.to_the_end(state)
        return _finish(started, state, dataset, given.warnings, source, chosen, where)


# ---------------------------------------------------------------- before


@contextmanager
def _default_device(chosen: jax.Device) -> Iterator[None]:
    """Computes there, in whatever thread, until left."""
    before = jax.config.jax_default_device  # type: ignore[attr-defined]
    jax.config.update("jax_default_device", chosen)
    try:
        yield
    finally:
        jax.config.update("jax_default_device", before)


def _given(
    plan: Plan,
    dataset: data.Dataset,
    source: Source,
    chosen: jax.Device,
    watch: Stopwatch,
    listen: Listener,
) -> teachers.Given:
    """The weights that don't start fresh, with the time that they take."""
    if all(model.start is None for model in plan.models):
        return teachers.Given({}, ())
    with watch("teachers_s"):
        return teachers.given_weights(
            plan, dataset, source.folder, platform=chosen.platform, listen=listen
        )


def _compile(program: Program, plan: Plan) -> RunState:
    """The first state, with the program compiled: a segment of no iteration costs nothing else."""

    def work() -> RunState:
        state = program.init(jax.random.key(plan.seed))
        state, *_ = program.segment(state, 0, False)
        return state

    return interruptible(partial(computed, work))


def _write_inputs(
    where: Path,
    plan: Plan,
    source: Source,
    files: Iterable[data.FileRecord],
    overrides: Mapping[str, str],
    chosen: jax.Device,
    on: str,
) -> None:
    folder.write_text(where / "spec.ev3", source.text)
    folder.write_json(
        where / "run.json",
        {
            "name": plan.name,
            "spec": source.name,
            "semantic_hash": folder.semantic_hash(plan),
            "seed": plan.seed,
            "data": [attrs.asdict(each) for each in files],
            "device": device.describe(chosen),
            "flags": {"device": on, "set": dict(overrides)},
            "versions": folder.versions(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )


def _remove(where: Path, *, is_new: bool) -> None:
    """Takes back a folder without a run; one that was there before stays, empty as it was."""
    if is_new:
        shutil.rmtree(where, ignore_errors=True)
        return
    for path in where.iterdir():
        path.unlink()


# ---------------------------------------------------------------- iterations


@attrs.frozen(eq=False)
class _Segment:
    """What a segment ended with: the state on the device, all else on the host."""

    state: RunState
    ring: Record
    filled: int
    closing: Record
    outcome: Outcome
    wall_s: float


@attrs.define
class _Running:
    """A run between its first iteration and its report."""

    program: Program
    plan: Plan
    log: folder.EventLog
    listen: Listener
    sizes: Mapping[str, int]
    watch: Stopwatch
    tally: Tally
    outcome: Outcome = Outcome.RUNNING
    is_interrupted: bool = False

    def to_the_end(self, state: RunState) -> RunState:
        """The state after the last iteration, with every event told and logged."""
        started_s = time.monotonic()
        with self.watch("training_s"), interrupts(self._interrupt):
            segment: Callable[[], _Segment] | None = self._begin(state, 1, started_s)
            while segment is not None:
                done, segment = segment(), None
                if done.outcome is Outcome.RUNNING and not self.is_interrupted:
                    # the device goes on while the host tells of what is done
                    segment = self._begin(done.state, _next_count(done), started_s)
                self._tell_all(done)
        is_cut = done.outcome is Outcome.RUNNING
        self.outcome = Outcome.INTERRUPTED if is_cut else done.outcome
        self._tell(RunEnded(self.outcome, self.tally.iterations))
        self.log.flush()
        return done.state

    def _begin(self, state: RunState, count: int, started_s: float) -> Callable[[], _Segment]:
        """Starts a segment; the function that is returned waits for its end."""
        seconds, began_s = self.plan.stop.seconds, time.monotonic()
        is_time_up = seconds is not None and began_s - started_s >= seconds

        def work() -> _Segment:
            after, ring, filled, closing = self.program.segment(state, count, is_time_up)
            # the one transfer of a segment
            ring, filled, closing, code = jax.device_get((ring, filled, closing, after.outcome))
            wall_s = time.monotonic() - began_s
            return _Segment(after, ring, int(filled), closing, Outcome(int(code)), wall_s)

        return begin(work)

    def _tell_all(self, done: _Segment) -> None:
        if done.filled and not self.tally.iterations:
            self.watch.mark("first_iteration_s")
        for row in range(done.filled):
            record = jax.tree.map(lambda leaf, row=row: leaf[row], done.ring)
            self._tell(records.iteration(self.plan, record, self.examples))
        if done.outcome.is_own_stop:
            self._tell(records.closed(self.plan, done.closing))
        self.log.flush()

    @property
    def examples(self) -> int:
        """How many examples an assessment measures on."""
        if self.plan.data.is_endless:
            assert self.plan.data.evaluate is not None, "an endless source has a draw"
            return self.plan.data.evaluate * self.plan.data.batch
        return self.sizes["assess"]

    def _tell(self, event: Event) -> None:
        if isinstance(event, IterationDone):
            self.tally.add(event)
        elif isinstance(event, Closed):
            self.tally.close(event)
        self.log(event)
        self.listen(event)

    def _interrupt(self) -> None:
        """The first Ctrl-C asks, the second insists."""
        if self.is_interrupted:
            raise KeyboardInterrupt
        self.is_interrupted = True


def _next_count(done: _Segment) -> int:
    """How many iterations make a segment of the wanted length, at most four times as many."""
    wanted = int(SEGMENT_S * done.filled / max(done.wall_s, 1e-6))
    return max(1, min(wanted, 4 * done.filled, SEGMENT))


# ---------------------------------------------------------------- after


def _finish(
    run: _Running,
    state: RunState,
    dataset: data.Dataset,
    notes: tuple[str, ...],
    source: Source,
    chosen: jax.Device,
    where: Path,
) -> Result:
    """Measures, writes the report and the accepted weights."""
    plan, program, watch = run.plan, run.program, run.watch
    key = jax.random.key(plan.seed)
    split: Literal["report", "assess"] = "report" if run.outcome.is_own_stop else "assess"
    weights = {"accepted": state.accepted, "current": state.current}
    steps = {"accepted": int(state.accepted_steps), "current": int(state.current_steps)}
    warnings = [*notes, *dataset.warnings, *_data_warnings(plan, dataset.tables)]
    with interrupts(stop_at_once):
        if run.outcome.is_own_stop:
            with watch("baselines_s"):
                for baseline in plan.baselines:
                    run.listen(Measuring(f"training baseline {baseline.name}"))
                    steps[baseline.name] = _baseline_steps(plan, baseline, state)
                    train = partial(program.train_baseline, key, baseline, steps[baseline.name])
                    weights[baseline.name] = interruptible(partial(computed, train))
        elif plan.baselines:
            warnings.append("the baselines were not trained, since the run did not end by its stop")
        with watch("report_s"):
            run.listen(Measuring(f"measuring on {split}"))
            measured = interruptible(
                lambda: measuring.measure(
                    plan,
                    program,
                    {name: {**state.frozen, **each} for name, each in weights.items()},
                    program.examples(key, split),
                )
            )
    report = reports.Report(
        name=plan.name,
        spec=source.name,
        device=device.describe(chosen),
        seed=plan.seed,
        asked=reports.asked(plan, run.sizes),
        outcome=run.outcome,
        iterations=run.tally.iterations,
        rule=reports.rule_words(plan),
        ranked_by=plan.ranking.keys[0].name,
        tried=run.tally.tried(),
        acceptances=tuple(run.tally.acceptances),
        queries=run.tally.queries,
        budget_left=run.tally.budget_left,
        split=split,
        quantities=measured.quantities,
        steps=steps,
        baselines=tuple(
            (baseline.name, reports.baseline_words(baseline))
            for baseline in plan.baselines
            if baseline.name in weights
        ),
        metrics=measured.metrics,
        tables=measured.tables,
        comparisons=measured.comparisons,
        timings=dict(watch.timings),
        warnings=tuple(warnings),
    )
    saved = jax.device_get({**state.frozen, **state.accepted})
    checkpoints.save(where / "accepted", plan, dataset, saved)
    folder.write_json(where / "report.json", reports.to_json(report))
    return Result(report, where)


def _baseline_steps(plan: Plan, baseline: BaselinePlan, state: RunState) -> int:
    if baseline.is_same_lineage:
        return int(state.accepted_steps)
    return int(state.iteration) * sum(candidate.steps for candidate in plan.descents)


def _data_warnings(plan: Plan, tables: data.Tables) -> Iterator[str]:
    values = [each.loss for each in plan.descents]
    inputs = fields_of(
        *(part for value in values for part in subexpressions(value) if isinstance(part, Forward))
    )
    count = data.examples_in_two_splits(tables, inputs) if inputs else 0
    if count == 1:
        yield "1 example has the same inputs as one in another split"
    elif count:
        yield f"{count} examples have the same inputs as one in another split"
