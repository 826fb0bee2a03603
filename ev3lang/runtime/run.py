"""A run from its plan to its report: segments on the device, events and files on the host."""

from __future__ import annotations

import math
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import assess, externs, modules
from ev3lang.backend.emit import Program, emit
from ev3lang.backend.state import RunState
from ev3lang.outcome import Outcome
from ev3lang.plan import stages
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import (
    Plan,
)
from ev3lang.runtime import (
    data,
    device,
    evidence,
    folder,
    programs,
    room,
    sequences,
    streaming,
    suitability,
    teachers,
    whole,
)
from ev3lang.runtime.ending import finish
from ev3lang.runtime.events import (
    Compiled,
    Listener,
    RunStarted,
    Warned,
)
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.growing import Stages
from ev3lang.runtime.interrupts import computed, interruptible
from ev3lang.runtime.iterations import Running, row_of, stacked, to_their_ends
from ev3lang.runtime.kept import Kept
from ev3lang.runtime.ranges import Outside
from ev3lang.runtime.report import Report, Tally
from ev3lang.runtime.saving import Saved
from ev3lang.runtime.stopwatch import Stopwatch
from ev3lang.signals import Stop, ended_by
from ev3lang.source import Source


@attrs.frozen
class Result:
    """What a run leaves.

    stopped   the signal that came, as the end that it asked for, even where all was done
    """

    report: Report
    folder: Path
    stopped: Outcome | None = None

    @property
    def exit_status(self) -> int:
        return (self.report.outcome if self.stopped is None else self.stopped).exit_status


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

    Ctrl-C, SIGTERM and SIGHUP end the run in order: after its segment, or without the baselines
    that are not finished; a second one ends it at once; before the first iteration one is enough.
    Raises DeviceError, ModuleError, DataError, MemoryFault, WeightsError, OSError and
    KeyboardInterrupt (for SIGTERM and SIGHUP its kind Terminated), each before anything is written
    or with everything written so far whole.
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
    chosen = device.pick(on)
    modules.load(plan.models, allow_python, (source.folder, Path()))
    externs.load(plan, allow_python, (source.folder, Path()))
    stop = Stop()
    with (
        ended_by(stop),
        programs.kept() as damaged,
        _default_device(chosen),
        closing(streaming.Feed()) as feed,
        ExitStack() as opened,
    ):
        room.require(stages.at(plan, plan.architecture), chosen)
        with watch("data_s"):
            dataset = kept.dataset(plan.data, source.folder)
        tables = dataset.tables
        whole.check(plan, tables)
        lanes = [
            attrs.evolve(lane, plan=sequences.with_reaches(lane.plan, tables)) for lane in lanes
        ]
        plan = lanes[0].plan
        first = stages.at(plan, plan.architecture)
        doubts = (
            *dataset.warnings,
            *evidence.shortfall(plan, tables),
            *suitability.warnings(plan, tables),
            *modules.warnings(plan),
        )
        is_streamed = streaming.is_needed(plan, tables, chosen, stream_above_bytes)
        sizes = {use: len(next(iter(table.values()))) for use, table in tables.items()}
        externs.try_uses(plan, sizes.values())
        made: list[tuple[Path, bool]] = []
        try:
            for lane in lanes:
                is_new = lane.out is None or not lane.out.exists()
                made.append((folder.create(lane.out, lane.plan), is_new))
                where, _ = made[-1]
                _write_inputs(where, lane, source, dataset.files, chosen, on, doubts)
                lane.listen(RunStarted(lane.plan, device.describe(chosen), where, sizes))
                for what in doubts:
                    lane.listen(Warned(what))
            given = _given(plan, dataset, source, chosen, watch, lanes[0].listen, stop)
            for what in given.warnings:
                for lane in lanes:
                    lane.listen(Warned(what))
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
            if damaged.count:
                lanes[0].listen(Warned(_mended(damaged.count)))
            for lane, state in zip(lanes, states, strict=True):
                _require_measured(lane.plan, state)
                lane.listen(Compiled(watch.timings["compile_s"]))
            stop.wait_from_now_on()
        except BaseException:
            # nothing ran: nobody should take what is there for a run
            for where, is_new in made:
                _remove(where, is_new=is_new)
            raise
        runs = [
            Running(
                program,
                stages.at(lane.plan, lane.plan.architecture),
                opened.enter_context(closing(folder.EventLog(where))),
                lane.listen,
                sizes,
                each,
                Tally(lane.plan),
                Outside(lane.plan),
                lane.plan,
                Saved(where, lane.plan, dataset),
                stop,
                opened.enter_context(
                    _left(Stages(lane.plan, chosen, weights, first, program), stop)
                )
                if plan.grows
                else None,
            )
            for lane, (where, _), each in zip(lanes, made, watches, strict=True)
        ]
        is_alone = len(runs) == 1
        ends = [runs[0].to_the_end(states[0])] if is_alone else to_their_ends(runs, states)
        reports = [
            finish(started, state, (*given.warnings, *doubts), source, chosen, where)
            for started, state, (where, _) in zip(runs, ends, made, strict=True)
        ]
        return tuple(
            Result(report, where, stop.asked)
            for report, (where, _) in zip(reports, made, strict=True)
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


@contextmanager
def _left(stages: Stages, stop: Stop) -> Iterator[Stages]:
    """Waits for what is compiled beside the run, unless a signal is what it ends by.

    The command ends its process without waiting for threads then; a caller in Python goes on.
    """
    try:
        yield stages
    finally:
        if stop.asked is None:
            stages.close()


def _given(
    plan: Plan,
    dataset: data.Dataset,
    source: Source,
    chosen: jax.Device,
    watch: Stopwatch,
    listen: Listener,
    stop: Stop,
) -> teachers.Given:
    """The weights that don't start fresh, with the time that they take."""
    if all(model.start is None for model in plan.models):
        return teachers.Given({}, teachers.of_stored_outputs(plan))
    with watch("teachers_s"):
        return teachers.given_weights(
            plan, dataset, source.folder, platform=chosen.platform, listen=listen, stop=stop
        )


def _compile(program: Program, plans: Sequence[Plan]) -> list[RunState]:
    """The first states, with the program compiled: a segment of no iteration costs nothing else."""

    def work() -> list[RunState]:
        states = [program.init(jax.random.key(plan.seed)) for plan in plans]
        if len(states) == 1:
            state, *_ = program.segment(states[0], 0, False)
            return [state]
        together, *_ = program.side_by_side(stacked(states), 0)
        return [row_of(together, lane) for lane in range(len(states))]

    return interruptible(partial(computed, work))


def _mended(count: int) -> str:
    what = "1 program" if count == 1 else f"{count} programs"
    return f"{what} in the cache could not be read, and were compiled again"


def _write_inputs(
    where: Path,
    lane: Lane,
    source: Source,
    files: Iterable[data.FileRecord],
    chosen: jax.Device,
    on: str,
    doubts: Sequence[str],
) -> None:
    folder.write_text(where / folder.SPEC, source.text)
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
            "warnings": list(doubts),
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
        if measure.range is not None and measure.value.level != "example" and math.isfinite(found):
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
