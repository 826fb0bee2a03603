"""A run from its plan to its report: segments on the device, events and files on the host."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import attrs
import jax
import jax.numpy as jnp
import numpy as np

from ev3lang.backend import assess, evaluation, externs, modules, succession
from ev3lang.backend.elders import OneOf
from ev3lang.backend.emit import SEGMENT, Program, emit
from ev3lang.backend.rollout import part
from ev3lang.backend.state import PROOFS, Params, Proofs, Record, RunState
from ev3lang.outcome import Outcome
from ev3lang.plan import stages
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import (
    Architecture,
    BaselinePlan,
    Forward,
    Plan,
    Reference,
    fields_of,
    subexpressions,
)
from ev3lang.runtime import (
    checkpoints,
    data,
    device,
    folder,
    growing,
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
    Grown,
    IterationDone,
    Listener,
    Measuring,
    RunEnded,
    RunStarted,
    Scores,
    SearchChanged,
    Warned,
)
from ev3lang.runtime.faults import DataError, MemoryFault
from ev3lang.runtime.growing import Facts, Stages, Told
from ev3lang.runtime.interrupts import (
    begin,
    computed,
    ended_by_interrupts,
    interruptible,
    interrupts,
)
from ev3lang.runtime.kept import Kept
from ev3lang.runtime.ranges import Outside
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


@attrs.frozen(eq=False)
class Lane:
    """One of several runs that go side by side.

    overrides   kept in the run's folder with the spec
    out         the folder to write, new or empty; None for the next of `runs/`
    listen      hears every event of this run as it happens
    """

    plan: Plan
    overrides: Mapping[str, str] = MappingProxyType({})
    out: Path | None = None
    listen: Listener = lambda event: None


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
    kept: Kept | None = None,
) -> Result:
    """Runs a plan to its end and measures what came of it.

    source     the spec as given, kept in the run's folder with `overrides`
    on         the kind of device: auto, cpu, gpu or tpu
    out        the folder to write, new or empty; None for the next of `runs/`
    listen     hears every event as it happens
    import_s   what was spent before this call, for the report
    allow_python   packages whose code may run: networks from Python classes and functions of the
             user's need theirs
    stream_above_bytes   what the explore split may take on the device; one beyond it stays on the
             host and its batches are brought, with the same results. None for a share of the
             device's memory.
    kept       what earlier runs read and compiled, used again where it is the same

    Ctrl-C ends the run in order after its segment, a second one at once; before the first
    iteration one is enough. Raises DeviceError, ModuleError, DataError, MemoryFault, WeightsError,
    OSError and KeyboardInterrupt, each before anything is written or with everything written so
    far whole.
    """
    (result,) = run_together(
        (Lane(plan, overrides, out, listen),),
        source,
        on=on,
        import_s=import_s,
        allow_python=allow_python,
        stream_above_bytes=stream_above_bytes,
        kept=kept,
    )
    return result


def run_together(
    lanes: Sequence[Lane],
    source: Source,
    *,
    on: str = "auto",
    import_s: float = 0.0,
    allow_python: Collection[str] = (),
    stream_above_bytes: int | None = None,
    kept: Kept | None = None,
) -> tuple[Result, ...]:
    """Runs of one plan but for its seed, all at once on the device; one is an ordinary `run`.

    Several have to be fit for it: `may_go_together`.
    """
    kept = Kept() if kept is None else kept
    watches = [Stopwatch({"import_s": import_s}) for _ in lanes]
    plan, watch = lanes[0].plan, watches[0]
    assert len(lanes) == 1 or all(may_go_together(plan, lane.plan) for lane in lanes)
    first = stages.at(plan, plan.architecture)
    chosen = device.pick(on)
    device.keep_programs()
    modules.load(plan.models, allow_python, (source.folder, Path()))
    externs.load(plan, allow_python, (source.folder, Path()))
    with _default_device(chosen), closing(streaming.Feed()) as feed, ExitStack() as opened:
        with watch("data_s"):
            dataset = kept.dataset(plan.data, source.folder)
        tables = dataset.tables
        is_streamed = streaming.is_needed(plan, tables, chosen, stream_above_bytes)
        sizes = {use: len(next(iter(table.values()))) for use, table in tables.items()}
        externs.try_uses(plan, sizes.values())
        made: list[tuple[Path, bool]] = []
        try:
            with ended_by_interrupts():
                for lane in lanes:
                    is_new = lane.out is None or not lane.out.exists()
                    made.append((folder.create(lane.out, lane.plan), is_new))
                    where, _ = made[-1]
                    _write_inputs(where, lane, source, dataset.files, chosen, on)
                    lane.listen(RunStarted(lane.plan, device.describe(chosen), where, sizes))
                given = _given(plan, dataset, source, chosen, watch, lanes[0].listen)
                weights = given.weights | teachers.frozen_weights(plan, given.weights)
                emitted = partial(
                    emit,
                    fuse(first, chosen.platform),
                    tables,
                    dataset.statistics,
                    weights,
                    feed.begin if is_streamed else None,
                )
                # weights that don't start fresh and streams have the seed in them
                is_of_seed = bool(weights) or is_streamed
                program = emitted() if is_of_seed else kept.program(plan, emitted)
                # a program that was there before has heard of other runs
                program.faults.clear()
                with watch("compile_s"):
                    states = _compile(program, [lane.plan for lane in lanes])
                for lane, state in zip(lanes, states, strict=True):
                    _require_measured(lane.plan, state)
                    lane.listen(Compiled(watch.timings["compile_s"]))
        except BaseException:
            # nothing ran: nobody should take what is there for a run
            for where, is_new in made:
                _remove(where, is_new=is_new)
            raise
        runs = [
            _Running(
                program,
                stages.at(lane.plan, lane.plan.architecture),
                opened.enter_context(closing(folder.EventLog(where))),
                lane.listen,
                sizes,
                each,
                Tally(lane.plan),
                Outside(lane.plan),
                lane.plan,
                opened.enter_context(closing(Stages(lane.plan, chosen, weights, first, program)))
                if plan.grows
                else None,
            )
            for lane, (where, _), each in zip(lanes, made, watches, strict=True)
        ]
        is_alone = len(runs) == 1
        ends = [runs[0].to_the_end(states[0])] if is_alone else _to_their_ends(runs, states)
        return tuple(
            _finish(started, state, dataset, given.warnings, source, chosen, where)
            for started, state, (where, _) in zip(runs, ends, made, strict=True)
        )


def may_go_together(plan: Plan, other: Plan) -> bool:
    """Whether two plans are one program and may share a device without a change of meaning.

    Not where one's pace would end the other by its time, and not where weights or the host have a
    part in the program that depends on the seed.
    """
    is_fresh = all(model.start is None and model.is_explored for model in plan.models)
    is_alike = attrs.evolve(plan, seed=other.seed) == other
    is_steady = plan.stop.seconds is None and not plan.has_host and not plan.grows
    return is_alike and is_fresh and is_steady


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


def _compile(program: Program, plans: Sequence[Plan]) -> list[RunState]:
    """The first states, with the program compiled: a segment of no iteration costs nothing else."""

    def work() -> list[RunState]:
        states = [program.init(jax.random.key(plan.seed)) for plan in plans]
        if len(states) == 1:
            state, *_ = program.segment(states[0], 0, False)
            return [state]
        stacked, *_ = program.side_by_side(_stacked(states), 0)
        return [_row(stacked, lane) for lane in range(len(states))]

    return interruptible(partial(computed, work))


def _write_inputs(
    where: Path,
    lane: Lane,
    source: Source,
    files: Iterable[data.FileRecord],
    chosen: jax.Device,
    on: str,
) -> None:
    folder.write_text(where / "spec.ev3", source.text)
    folder.write_json(
        where / "run.json",
        {
            "name": lane.plan.name,
            "spec": source.name,
            "semantic_hash": folder.semantic_hash(lane.plan),
            "seed": lane.plan.seed,
            "runs_of_sweep": lane.plan.runs,
            "data": [attrs.asdict(each) for each in files],
            "externs": externs.record(lane.plan),
            "device": device.describe(chosen),
            "flags": {"device": on, "set": dict(lane.overrides)},
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
    """What a segment ended with: the state on the device, all else on the host.

    plan   of the stage that it belongs to
    told   what the host has to know of the state for the next stage
    """

    plan: Plan
    state: RunState
    ring: Record
    filled: int
    closing: Record
    outcome: Outcome
    wall_s: float
    warnings: tuple[str, ...]
    told: Told = MappingProxyType({})

    @property
    def is_due(self) -> bool:
        """Whether the run is to go on in another stage."""
        return bool(self.told.get("is due", False))


@attrs.frozen(eq=False)
class Sized:
    """Explored models' weights, with the architecture that they have."""

    architecture: Architecture
    params: Params


@attrs.define
class _Running:
    """A run between its first iteration and its report.

    program, plan   of the stage that runs now
    base            the plan as it was lowered
    stages          of a run whose models grow
    notes           what the report should warn of
    """

    program: Program
    plan: Plan
    log: folder.EventLog
    listen: Listener
    sizes: Mapping[str, int]
    watch: Stopwatch
    tally: Tally
    outside: Outside
    base: Plan
    stages: Stages | None = None
    notes: list[str] = attrs.field(factory=list)
    outcome: Outcome = Outcome.RUNNING
    last: IterationDone | None = None
    is_interrupted: bool = False

    def to_the_end(self, state: RunState) -> RunState:
        """The state after the last iteration, with every event told and logged."""
        started_s = time.monotonic()
        with self.watch("training_s"), interrupts(self.interrupt):
            segment: Callable[[], _Segment] | None = self._begin(state, 1, started_s)
            while segment is not None:
                done, segment = segment(), None
                later: Callable[[], Event | None] = _nothing
                if done.outcome is Outcome.RUNNING and not self.is_interrupted:
                    # the device goes on while the host tells of what is done
                    if done.is_due:
                        segment, later = self._go_on(done, started_s)
                    else:
                        count = 1 if self.plan.has_host else _next_count(done)
                        segment = self._begin(done.state, count, started_s)
                        self._look_ahead(done)
                self.tell_all(done)
                self._tell_of(later())
        self.end(done.outcome)
        return done.state

    def end(self, outcome: Outcome) -> None:
        """Tells how the run ended; one that would still go on was interrupted."""
        self.outcome = Outcome.INTERRUPTED if outcome is Outcome.RUNNING else outcome
        self._tell(RunEnded(self.outcome, self.tally.iterations))
        self.log.flush()

    def _begin(self, state: RunState, count: int, started_s: float) -> Callable[[], _Segment]:
        """Starts a segment; the function that is returned waits for its end."""
        seconds, began_s = self.plan.stop.seconds, time.monotonic()
        is_time_up = seconds is not None and began_s - started_s >= seconds

        program, plan = self.program, self.plan

        def work() -> _Segment:
            return _segment(program, plan, state, count, is_time_up, began_s)

        return begin(work)

    # ------------------------------------------------------------ growth

    def _look_ahead(self, done: _Segment) -> None:
        """Has the next stage's program compiled, beside the run."""
        if self.stages is not None and done.told.get("may grow", False):
            self.stages.look_ahead(Facts.of(done.told))

    def _go_on(
        self, done: _Segment, started_s: float
    ) -> tuple[Callable[[], _Segment], Callable[[], Event | None]]:
        """The first segment of the next stage, and what is to be told of the step into it.

        A stage that memory has no room for is given up, and growing with it: the run goes on
        where it was, since the state that it had is still whole.
        """
        assert self.stages is not None, "only a run that grows is called for"
        began_s = time.monotonic()
        if not self.stages.ways():
            return self._begin(_at_the_end(done.state, self.stages), 1, started_s), _nothing
        try:
            step = self.stages.step(succession.on_host(done.state), Facts.of(done.told))
        except MemoryFault as fault:
            return self._stay(done.state, started_s), partial(self._given_up, fault)
        self.plan, self.program = self.stages.plan, self.stages.program
        segment: Callable[[], _Segment]
        if step.tried:
            segment = partial(_tried, self.plan, step, time.monotonic() - began_s)
        else:
            segment = self._first_of(step, done, started_s)
        self.watch.add("growth_s", time.monotonic() - began_s)
        return segment, partial(self.stages.told_of, step, self._scores)

    def _scores(self, plan: Plan, record: Record) -> Scores:
        return records.iteration(plan, record, self.examples).current

    def _first_of(
        self, step: growing.Step, done: _Segment, started_s: float
    ) -> Callable[[], _Segment]:
        """A stage's first segment, or one of the stage before where memory has no room for it."""
        first = self._begin(step.state, 1, started_s)

        def wait() -> _Segment:
            try:
                return first()
            except MemoryFault as fault:
                assert self.stages is not None
                self.stages.leave()
                self.plan, self.program = self.stages.plan, self.stages.program
                self._tell(self._given_up(fault))
                return self._stay(done.state, started_s)()

        return wait

    def _stay(self, state: RunState, started_s: float) -> Callable[[], _Segment]:
        """The next segment of a run that grows no more."""
        return self._begin(_without_growth(state), 1, started_s)

    def _given_up(self, fault: MemoryFault) -> Warned:
        what = f"growth was given up, and the run went on with the size that it had: {fault}"
        self.notes.append(what)
        return Warned(what)

    def _tell_of(self, event: Event | None) -> None:
        if event is not None:
            self._tell(event)

    def tell_all(self, done: _Segment) -> None:
        """Tells and logs what a segment did."""
        if done.filled and not self.tally.iterations:
            self.watch.mark("first_iteration_s")
        for row in range(done.filled):
            record = jax.tree.map(lambda leaf, row=row: leaf[row], done.ring)
            event = records.iteration(done.plan, record, self.examples)
            self._tell(event)
            for what in self.outside.add(event):
                self._tell(Warned(what))
        if done.outcome.is_own_stop and not isinstance(self.plan.rule, Reference):
            self._tell(records.closed(done.plan, done.closing))
        for what in done.warnings:
            self._tell(Warned(what))
        self.log.flush()

    @property
    def examples(self) -> int:
        """How many examples an assessment measures on."""
        if self.plan.data.is_endless:
            assert self.plan.data.evaluate is not None, "an endless source has a draw"
            return self.plan.data.evaluate * self.plan.data.batch
        return evaluation.examples_drawn(self.plan) or self.sizes["assess"]

    def program_of(self, architecture: Architecture) -> Program:
        """The program that models of an architecture are measured by."""
        return self.program if self.stages is None else self.stages.programs[architecture]

    def accepted(self, state: RunState) -> Sized:
        """The model that the run delivers, in the size that it has."""
        weights = state.accepted
        if not isinstance(weights, OneOf):
            return Sized(self.plan.architecture, weights)
        place = int(weights.place)
        architectures = (self.plan.architecture, *self.plan.elders)
        return Sized(architectures[place], weights.params[place])

    @property
    def deciding_examples(self) -> int:
        """How many examples one decision is made on."""
        if evaluation.is_new_each_time(self.plan):
            return self.examples
        return self.sizes["adapt"]

    def _tell(self, event: Event) -> None:
        if isinstance(event, IterationDone):
            changed = None if self.last is None else records.changed(self.last, event)
            self.last = event
            if changed is not None:
                self._tell(changed)
            self.tally.add(event)
        elif isinstance(event, SearchChanged):
            self.tally.change(event)
        elif isinstance(event, Grown):
            self.tally.grow(event)
        elif isinstance(event, Closed):
            self.tally.close(event)
        self.log(event)
        self.listen(event)

    def interrupt(self) -> None:
        """The first Ctrl-C asks, the second insists."""
        if self.is_interrupted:
            raise KeyboardInterrupt
        self.is_interrupted = True


def _segment(
    program: Program,
    plan: Plan,
    state: RunState,
    count: int,
    is_time_up: bool,
    began_s: float,
) -> _Segment:
    """Runs a segment to its end."""
    after, ring, filled, closing = program.segment(state, count, is_time_up)
    # the one transfer of a segment
    ring, filled, closing, code, told = jax.device_get(
        (ring, filled, closing, after.outcome, growing.told(after))
    )
    wall_s = time.monotonic() - began_s
    # all that is here by now, and nothing of the next segment
    news = program.faults.news()
    return _Segment(plan, after, ring, int(filled), closing, Outcome(int(code)), wall_s, news, told)


def _tried(plan: Plan, step: growing.Step, wall_s: float) -> _Segment:
    """The iteration in which a growth was tried, as the segment that it was."""
    best = step.tried[0]
    outcome = Outcome(best.code)
    return _Segment(plan, step.state, best.ring, 1, best.closing, outcome, wall_s, (), best.told)


def _nothing() -> None:
    """No event."""


def _at_the_end(state: RunState, at: Stages) -> RunState:
    """The state of a run whose models can't grow any more: it ends with its passes, or goes on."""
    if at.ends_run:
        return attrs.evolve(state, outcome=jnp.int32(Outcome.PASSES))
    return _without_growth(state)


def _without_growth(state: RunState) -> RunState:
    progress = state.progress
    assert progress is not None, "a run that grows keeps its progress"
    never = jnp.bool_(False)
    return attrs.evolve(
        state, progress=attrs.evolve(progress, may_grow=never, is_due=jnp.bool_(False))
    )


def _to_their_ends(runs: Sequence[_Running], states: Sequence[RunState]) -> list[RunState]:
    """The states after the last iterations of runs side by side, with every event told."""
    program, ends = runs[0].program, list(states)
    going = set(range(len(runs)))
    count, stacked = 1, _stacked(states)

    def interrupt() -> None:
        for run in runs:
            run.interrupt()

    with ExitStack() as opened:
        for run in runs:
            opened.enter_context(run.watch("training_s"))
        opened.enter_context(interrupts(interrupt))
        while going and not runs[0].is_interrupted:
            began_s = time.monotonic()
            stacked, rings, filled, closings = interruptible(
                partial(computed, partial(program.side_by_side, stacked, count))
            )
            rings, filled, closings, codes = jax.device_get(
                (rings, filled, closings, stacked.outcome)
            )
            wall_s = time.monotonic() - began_s
            for lane in sorted(going):
                ring, closing = _row(rings, lane), _row(closings, lane)
                outcome = Outcome(int(codes[lane]))
                count_of = int(filled[lane])
                plan = runs[lane].plan
                done = _Segment(plan, stacked, ring, count_of, closing, outcome, wall_s, ())
                runs[lane].tell_all(done)
                count = _next_count(done)
                if outcome is not Outcome.RUNNING:
                    # beside the others it goes on idly: what it ended with is kept
                    ends[lane] = _row(stacked, lane)
                    runs[lane].end(outcome)
                    going.remove(lane)
        for lane in going:
            ends[lane] = _row(stacked, lane)
            runs[lane].end(Outcome.RUNNING)
    return ends


def _require_measured(plan: Plan, state: RunState) -> None:
    """Refuses a run whose start can't be measured: no candidate compares with it."""
    if plan.has_host:
        # a function of the user's may fail once: that is told, and measured again
        return
    for measure in plan.measures:
        if bool(assess.are_sound([measure], state.accepted_values).all()):
            continue
        found = float(jnp.mean(state.accepted_values[measure.name]))
        where = "an evaluation draw" if plan.data.is_endless else "the assess split"
        if measure.range is not None and math.isfinite(found):
            low, high = measure.range
            problem = f"leaves its range of {low:g} to {high:g} on {where}"
        else:
            problem = f"is no number on {where}"
        raise DataError(
            f"{measure.name} {problem} for the model that the run starts with, so no candidate "
            "can be compared with it",
            "look at what it is computed from: a ratio of nothing, a logarithm of 0, or a split "
            "that has only one class (`stratified by` keeps their shares)",
        )


def _stacked(states: Sequence[RunState]) -> RunState:
    """The states of several runs as one, with a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def _row(tree: Any, lane: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[lane], tree)


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
    plan, watch = run.base, run.watch
    key = jax.random.key(plan.seed)
    split: Literal["report", "assess"] = "report" if run.outcome.is_own_stop else "assess"
    accepted = run.accepted(state)
    weights = {"accepted": accepted, "current": Sized(run.plan.architecture, state.current)}
    steps = {"accepted": int(state.accepted_steps), "current": int(state.current_steps)}
    front = _front(run, state)
    archived = _archived(run, state)
    beside = {member.name: weights for member, weights in front} | archived
    program = run.program_of(plan.architecture)
    warnings = [
        *notes,
        # what a function of the user's has done is told with its own words
        *(() if plan.has_host else run.tally.warnings),
        *dataset.warnings,
        *_data_warnings(plan, dataset.tables),
    ]
    with ended_by_interrupts():
        if run.outcome.is_own_stop:
            with watch("baselines_s"):
                for baseline in plan.baselines:
                    run.listen(Measuring(f"training baseline {baseline.name}"))
                    steps[baseline.name] = _baseline_steps(plan, baseline, state)
                    train = partial(program.train_baseline, key, baseline, steps[baseline.name])
                    trained = interruptible(partial(computed, train))
                    weights[baseline.name] = Sized(plan.architecture, trained)
        elif plan.baselines:
            warnings.append("the baselines were not trained, since the run did not end by its stop")
        with watch("report_s"):
            run.listen(Measuring(f"measuring on {split}"))
            measured = interruptible(
                lambda: measuring.measure(
                    plan,
                    {
                        name: measuring.Weighed(
                            run.program_of(each.architecture), {**state.frozen, **each.params}
                        )
                        for name, each in (weights | beside).items()
                    },
                    program.examples(key, split),
                    beside=beside,
                )
            )
    warnings += [*run.notes, *program.faults.summary(), *run.outside.summary()]
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
        changes=tuple(run.tally.changes),
        acceptances=_proven(plan, run, state),
        claim=reports.claim_words(
            plan, len(run.tally.acceptances), run.outcome, run.deciding_examples
        ),
        front=tuple(member for member, _ in front),
        archived=tuple(archived),
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
        stages=run.tally.stages(),
        accepted_stage=run.tally.accepted_stage,
    )
    _save(where / "accepted", plan, dataset, state, accepted)
    if front:
        (where / "front").mkdir(exist_ok=True)
    for member, sized in front:
        number = member.name.rpartition(" ")[2]
        _save(where / "front" / number, plan, dataset, state, sized)
    if archived:
        (where / "archive").mkdir(exist_ok=True)
    for name, sized in archived.items():
        # `peers at 1,210` in `peers-1210`
        folder_name = name.replace(" at ", "-").replace(",", "")
        _save(where / "archive" / folder_name, plan, dataset, state, sized)
    folder.write_json(where / "report.json", reports.to_json(report))
    return Result(report, where)


def _save(final: Path, plan: Plan, dataset: data.Dataset, state: RunState, sized: Sized) -> None:
    """Writes the weights of the plan's own models, with the shapes that they have."""
    own = stages.at(plan, sized.architecture)
    whole = {**state.frozen, **sized.params}
    saved = jax.device_get(
        {model.name: whole[model.name] for model in own.models if model.name in whole}
    )
    checkpoints.save(final, own, dataset, saved)


def _proven(plan: Plan, run: _Running, state: RunState) -> tuple[reports.Acceptance, ...]:
    """The acceptances, with what the deciding examples said once nothing can be asked again."""
    acceptances = run.tally.acceptances
    if not run.outcome.is_own_stop or isinstance(plan.rule, Reference):
        return tuple(acceptances)
    kept: Proofs = jax.device_get(state.proofs)
    assert int(kept.count) == len(acceptances), "every acceptance is told of"
    oldest = len(acceptances) - PROOFS
    return tuple(
        attrs.evolve(each, proof=records.proof(plan, kept, number % PROOFS))
        if number >= oldest
        else each
        for number, each in enumerate(acceptances)
    )


def _archived(run: _Running, state: RunState) -> dict[str, Sized]:
    """The members of all archives by name, those of the last stage too."""
    if run.stages is None or not run.base.archives:
        return {}
    run.stages.keep(succession.on_host(state))
    return {
        each.member.model.name: Sized(each.architecture, each.params) for each in run.stages.members
    }


def _front(run: _Running, state: RunState) -> list[tuple[reports.FrontMember, Sized]]:
    """The members of a ranking's front in the order in which they were found."""
    front = state.front
    if front is None:
        return []
    iterations, is_filled, is_here = jax.device_get(
        (front.iteration, front.is_filled, front.is_here)
    )

    def weights(place: int) -> Sized:
        if is_here[place]:
            return Sized(run.plan.architecture, part(front.params, place))
        assert run.stages is not None, "only growth leaves members behind"
        # the last stage that found one there
        retired = next(each for each in reversed(run.stages.retired) if each.is_filled[place])
        return Sized(retired.architecture, part(retired.params, place))

    places = sorted(np.flatnonzero(is_filled), key=lambda place: int(iterations[place]))
    return [
        (
            reports.FrontMember(f"front {number}", int(iterations[place])),
            weights(int(place)),
        )
        for number, place in enumerate(places, start=1)
    ]


def _baseline_steps(plan: Plan, baseline: BaselinePlan, state: RunState) -> int:
    if baseline.is_same_lineage:
        return int(state.accepted_steps)
    return int(state.descended)


def _data_warnings(plan: Plan, tables: data.Tables) -> Iterator[str]:
    values = [each.loss for each in plan.descents] or [each.value for each in plan.objectives]
    inputs = fields_of(
        *(part for value in values for part in subexpressions(value) if isinstance(part, Forward))
    )
    count = data.examples_in_two_splits(tables, inputs) if inputs else 0
    if count == 1:
        yield "1 example has the same inputs as one in another split"
    elif count:
        yield f"{count} examples have the same inputs as one in another split"
