"""A run between its first iteration and its report: segments on the device, told as they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import evaluation, succession
from ev3lang.backend.elders import OneOf
from ev3lang.backend.emit import SEGMENT, Program
from ev3lang.backend.state import Record, RunState
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import (
    Architecture,
    Plan,
    Reference,
)
from ev3lang.runtime import (
    folder,
    records,
)
from ev3lang.runtime.ahead import Facts, Told, told
from ev3lang.runtime.events import (
    Closed,
    Event,
    Grown,
    IterationDone,
    Listener,
    Measuring,
    RunEnded,
    Scores,
    SearchChanged,
    Warned,
)
from ev3lang.runtime.faults import MemoryFault
from ev3lang.runtime.growing import Stages, Step
from ev3lang.runtime.interrupts import LOOK_S, begin, computed, interruptible
from ev3lang.runtime.ranges import Outside
from ev3lang.runtime.report import Tally
from ev3lang.runtime.saving import Saved, Sized
from ev3lang.runtime.stopwatch import Stopwatch
from ev3lang.signals import Stop

SEGMENT_S = 0.2
"""How long a segment should last: about the time between two pictures of the terminal."""


@attrs.frozen(eq=False)
class Segment:
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


@attrs.define
class Running:
    """A run between its first iteration and its report.

    program, plan   of the stage that runs now
    base            the plan as it was lowered
    saved           what its folder has of the accepted model
    stop            what signals have asked of the run
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
    saved: Saved
    stop: Stop
    stages: Stages | None = None
    notes: list[str] = attrs.field(factory=list)
    outcome: Outcome = Outcome.RUNNING
    last: IterationDone | None = None

    def to_the_end(self, state: RunState) -> RunState:
        """The state after the last iteration, with every event told and logged."""
        started_s = time.monotonic()
        with self.watch("training_s"):
            segment: Callable[[], Segment] | None = self._begin(state, 1, started_s)
            while segment is not None:
                done, segment = segment(), None
                later: Callable[[], Event | None] = _nothing
                goes_on = done.outcome is Outcome.RUNNING and self.stop.asked is None
                save = self.saving(done, lambda done=done: done.state)  # type: ignore[misc]
                # the device goes on while the host tells of what is done
                if goes_on and not done.is_due:
                    count = 1 if self.plan.has_host else _next_count(done)
                    segment = self._begin(done.state, count, started_s)
                    self._look_ahead(done)
                elif goes_on and self._is_ready(done):
                    segment, later = self._go_on(done, started_s)
                save()
                self.tell_all(done)
                if goes_on and segment is None and self._comes_next(done):
                    segment, later = self._go_on(done, started_s)
                self._tell_of(later())
        self.end(done.outcome)
        return done.state

    def end(self, outcome: Outcome) -> None:
        """Tells how the run ended; one that would still go on was ended by a signal."""
        by_signal = self.stop.asked or Outcome.INTERRUPTED
        self.outcome = by_signal if outcome is Outcome.RUNNING else outcome
        self._tell(RunEnded(self.outcome, self.tally.iterations))
        self.log.flush()

    def saving(self, done: Segment, at_end: Callable[[], RunState]) -> Callable[[], None]:
        """What writes the model that a segment accepted, if any, while the device goes on.

        at_end   the run's state after the segment
        Its weights are copied at once: the next segment uses up the state that they are in.
        """
        decisions = [*done.ring.decision[: done.filled], done.closing.decision]
        if not self.saved.is_due(decisions):
            return _nothing
        state = at_end()
        return self.saved.writing(self.accepted(state), state.frozen)

    def _begin(self, state: RunState, count: int, started_s: float) -> Callable[[], Segment]:
        """Starts a segment; the function that is returned waits for its end."""
        seconds, began_s = self.plan.stop.seconds, time.monotonic()
        is_time_up = seconds is not None and began_s - started_s >= seconds

        program, plan = self.program, self.plan

        def work() -> Segment:
            return _segment(program, plan, state, count, is_time_up, began_s)

        return begin(work)

    # ------------------------------------------------------------ growth

    def _look_ahead(self, done: Segment) -> None:
        """Has the next stage's program compiled, beside the run."""
        if self.stages is not None and done.told.get("may grow", False):
            self.stages.look_ahead(Facts.of(done.told))

    def _is_ready(self, done: Segment) -> bool:
        """Whether a step into the next stage takes no compiling."""
        assert self.stages is not None, "only a run that grows is called for"
        return self.stages.is_ready(Facts.of(done.told))

    def _comes_next(self, done: Segment) -> bool:
        """Compiles what comes next, when all that is done is told; False where a signal came."""
        assert self.stages is not None, "only a run that grows is called for"
        self.listen(Measuring("compiling what comes next"))
        facts = Facts.of(done.told)
        while self.stop.asked is None and not self.stages.is_ready(facts):
            self.stages.look_ahead(facts)
            self.stages.wait(LOOK_S)
        return self.stop.asked is None

    def _go_on(
        self, done: Segment, started_s: float
    ) -> tuple[Callable[[], Segment], Callable[[], Event | None]]:
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
        segment: Callable[[], Segment]
        if step.tried:
            segment = partial(_tried, self.plan, step, time.monotonic() - began_s)
        else:
            segment = self._first_of(step, done, started_s)
        self.watch.add("growth_s", time.monotonic() - began_s)
        return segment, partial(self.stages.told_of, step, self._scores)

    def _scores(self, plan: Plan, record: Record) -> Scores:
        return records.iteration(plan, record, self.examples, self.units).current

    def _first_of(self, step: Step, done: Segment, started_s: float) -> Callable[[], Segment]:
        """A stage's first segment, or one of the stage before where memory has no room for it."""
        first = self._begin(step.state, 1, started_s)

        def wait() -> Segment:
            try:
                return first()
            except MemoryFault as fault:
                assert self.stages is not None
                self.stages.leave()
                self.plan, self.program = self.stages.plan, self.stages.program
                self._tell(self._given_up(fault))
                return self._stay(done.state, started_s)()

        return wait

    def _stay(self, state: RunState, started_s: float) -> Callable[[], Segment]:
        """The next segment of a run that grows no more."""
        return self._begin(_without_growth(state), 1, started_s)

    def _given_up(self, fault: MemoryFault) -> Warned:
        what = f"growth was given up, and the run went on with the size that it had: {fault}"
        self.notes.append(what)
        return Warned(what)

    def _tell_of(self, event: Event | None) -> None:
        if event is not None:
            self._tell(event)
            self.log.flush()

    def tell_all(self, done: Segment) -> None:
        """Tells and logs what a segment did."""
        if done.filled and not self.tally.iterations:
            self.watch.mark("first_iteration_s")
        for row in range(done.filled):
            record = jax.tree.map(lambda leaf, row=row: leaf[row], done.ring)
            event = records.iteration(done.plan, record, self.examples, self.units)
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

    @property
    def units(self) -> float | None:
        """The groups or blocks of an assessment as so many of one size; None: each example."""
        found = self.program.units.get("assess")
        return None if found is None else float(found.effective)

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
            if isinstance(self.base.rule, Reference):
                # whatever the models go on as replaces accepted
                self.saved.is_behind = True
        elif isinstance(event, Closed):
            self.tally.close(event)
        self.log(event)
        self.listen(event)


def _segment(
    program: Program,
    plan: Plan,
    state: RunState,
    count: int,
    is_time_up: bool,
    began_s: float,
) -> Segment:
    """Runs a segment to its end."""
    after, ring, filled, closing = program.segment(state, count, is_time_up)
    # the one transfer of a segment
    ring, filled, closing, code, seen = jax.device_get(
        (ring, filled, closing, after.outcome, told(after))
    )
    wall_s = time.monotonic() - began_s
    # all that is here by now, and nothing of the next segment
    news = program.faults.news()
    return Segment(plan, after, ring, int(filled), closing, Outcome(int(code)), wall_s, news, seen)


def _tried(plan: Plan, step: Step, wall_s: float) -> Segment:
    """The iteration in which a growth was tried, as the segment that it was."""
    best = step.tried[0]
    outcome = Outcome(best.code)
    return Segment(plan, step.state, best.ring, 1, best.closing, outcome, wall_s, (), best.told)


def _nothing() -> None:
    """No event, and nothing to write."""


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


def to_their_ends(runs: Sequence[Running], states: Sequence[RunState]) -> list[RunState]:
    """The states after the last iterations of runs side by side, with every event told."""
    program, ends = runs[0].program, list(states)
    going = set(range(len(runs)))
    count, together = 1, stacked(states)
    with ExitStack() as opened:
        for run in runs:
            opened.enter_context(run.watch("training_s"))
        while going and runs[0].stop.asked is None:
            began_s = time.monotonic()
            together, rings, filled, closings = interruptible(
                partial(computed, partial(program.side_by_side, together, count))
            )
            rings, filled, closings, codes = jax.device_get(
                (rings, filled, closings, together.outcome)
            )
            wall_s = time.monotonic() - began_s
            for lane in sorted(going):
                ring, closing = row_of(rings, lane), row_of(closings, lane)
                outcome = Outcome(int(codes[lane]))
                count_of = int(filled[lane])
                plan = runs[lane].plan
                done = Segment(plan, together, ring, count_of, closing, outcome, wall_s, ())
                runs[lane].saving(done, partial(row_of, together, lane))()
                runs[lane].tell_all(done)
                count = _next_count(done)
                if outcome is not Outcome.RUNNING:
                    # beside the others it goes on idly: what it ended with is kept
                    ends[lane] = row_of(together, lane)
                    runs[lane].end(outcome)
                    going.remove(lane)
        for lane in going:
            ends[lane] = row_of(together, lane)
            runs[lane].end(Outcome.RUNNING)
    return ends


def stacked(states: Sequence[RunState]) -> RunState:
    """The states of several runs as one, with a leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def row_of(tree: Any, lane: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[lane], tree)


def _next_count(done: Segment) -> int:
    """How many iterations make a segment of the wanted length, at most four times as many."""
    wanted = int(SEGMENT_S * done.filled / max(done.wall_s, 1e-6))
    return max(1, min(wanted, 4 * done.filled, SEGMENT))
