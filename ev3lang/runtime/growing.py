"""Growth while a run goes on: which stage comes next, compiled ahead, and the step into it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

import attrs
import jax
import numpy as np

from ev3lang.backend import succession
from ev3lang.backend.elders import OneOf
from ev3lang.backend.emit import Program
from ev3lang.backend.growth import grow_group, shaped
from ev3lang.backend.keys import named
from ev3lang.backend.state import Params, Record, RunState
from ev3lang.plan import stages, work
from ev3lang.plan.fuse import fuse
from ev3lang.plan.growth.copies import written
from ev3lang.plan.plan import (
    Architecture,
    Challenger,
    ModelPlan,
    ObjectivePlan,
    Plan,
    Reference,
)
from ev3lang.plan.stages import Member
from ev3lang.runtime.ahead import SEEN, Facts, Prepared, Way, compile_stage, require_room
from ev3lang.runtime.events import Grown, Scores, Trial
from ev3lang.runtime.faults import MemoryFault
from ev3lang.runtime.interrupts import worded
from ev3lang.runtime.trials import Tried, behind, best_tried, ranked_by, try_growth


@attrs.frozen(eq=False)
class Kept:
    """A member of an archive with its weights, on the host.

    architecture, params   of all models of the group that was accepted
    own     the weights of the one that teaches
    score   by what the archive keeps the best for, on assess, so that more is better
    """

    member: Member
    architecture: Architecture
    params: Params
    own: Params
    score: float


@attrs.frozen(eq=False)
class Step:
    """A step from one stage into the next.

    iteration   the last one before it
    before, after   the programs of the two, and all models' weights in them, on the host
    state    what the next stage goes on with, on the device
    tried    where several were: the one that goes on, then all in the order of the spec
    tried_by the objectives that assess ranked them by
    """

    way: Way
    iteration: int
    before: tuple[Program, Params]
    after: tuple[Program, Params]
    state: RunState
    tried: tuple[Tried, ...] = ()
    tried_by: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Retired:
    """The members of a front that were found in a stage: weights [F, ...] on the host."""

    architecture: Architecture
    params: Params
    is_filled: np.ndarray  # [F] bool, which of them were found in that stage


@attrs.define(eq=False)
class Stages:
    """Which architecture a run has now, which come next, and what earlier ones have left.

    base       the plan as it was lowered
    given      weights of the models that are not explored, on the host
    plan, program   of the stage that runs now
    number     of growths so far
    number_of_pass  from 1
    programs   of every architecture that had one, for what is measured when the run has ended
    """

    base: Plan
    device: jax.Device
    given: Mapping[str, Params]
    plan: Plan
    program: Program
    number: int = 0
    number_of_pass: int = 1
    kept: dict[tuple[str, float], Kept] = attrs.Factory(dict)
    retired: list[Retired] = attrs.Factory(list)
    programs: dict[Architecture, Program] = attrs.Factory(dict)
    _ahead: list[Prepared] = attrs.Factory(list)
    _made: dict[Plan, Program] = attrs.Factory(dict)
    _before: tuple[Plan, Program, int, int] | None = None

    def __attrs_post_init__(self) -> None:
        self.programs[self.plan.architecture] = self.program
        self._made[self.plan] = self.program

    # ------------------------------------------------------------ what comes next

    def ways(self) -> tuple[Way, ...]:
        """Where the run may go on when progress stops; none where it stays."""
        grown = stages.steps(self.base, self.plan.architecture, self.number)
        if grown:
            return tuple(Way(each.operation, each.architecture) for each in grown)
        if self.starts_again:
            return (Way(None, self.base.architecture),)
        return ()

    @property
    def starts_again(self) -> bool:
        patience, passes = self.base.patience, self.base.passes
        assert patience is not None
        return patience.restarts or (passes is not None and self.number_of_pass < passes)

    @property
    def ends_run(self) -> bool:
        """Whether the last pass ends where no growth is left."""
        return self.base.passes is not None and not self.starts_again

    def _planned(self, way: Way, facts: Facts) -> Plan:
        """The plan of the stage that a way leads to, as things stand."""
        elders: list[Architecture] = []
        if not isinstance(self.base.rule, Reference):
            now = [self.plan.architecture, *self.plan.elders]
            # accepted may take current's shape at any time before the stage ends
            elders = [now[0], *(now[place] for place in facts.elders if place)]
            elders = [each for each in elders if each != way.architecture]
        members = {key: each.member for key, each in self.kept.items()}
        for member, is_there in zip(
            self._members_of(self.plan.architecture), facts.archived, strict=True
        ):
            if is_there:
                members[member.archive, member.per] = member
        return stages.at(
            self.base, way.architecture, elders, sorted(members.values(), key=_by_size)
        )

    def _members_of(self, architecture: Architecture) -> list[Member]:
        """For each archive the place that a model of an architecture has."""
        models = {model.name: model for model in architecture}
        return [stages.member(each, models[each.model]) for each in self.base.archives]

    # ------------------------------------------------------------ compiling ahead

    def look_ahead(self, facts: Facts) -> None:
        """Prepares the programs that come next, unless they are on their way already."""
        wanted = [(way, self._planned(way, facts)) for way in self.ways()]
        known = {(each.way, each.plan): each for each in self._ahead}
        running = [each for each in self._ahead if each.thread and each.thread.is_alive()]
        self._ahead = [known[each] for each in wanted if each in known]
        self._ahead += [each for each in running if each not in self._ahead]
        if not running:
            for each in wanted:
                if each not in known:
                    self._ahead.append(self._prepare(*each))
                    # one after the other, so that they don't take the run's own cores
                    return

    def is_ready(self, facts: Facts) -> bool:
        """Whether the programs that come next are there, so that a step takes no compiling."""
        there = {
            (each.way, each.plan)
            for each in self._ahead
            if each.thread is not None and not each.thread.is_alive()
        }
        return all((way, self._planned(way, facts)) in there for way in self.ways())

    def _prepare(self, way: Way, plan: Plan) -> Prepared:
        """Compiles a stage's program in a thread of its own, and draws what is drawn for it."""
        prepared = Prepared(way, plan)
        key = self._key(way)
        before = self.program, self.plan
        given = self._given(plan)
        # a pass leads to the stages of the one before, often with the same plans
        known = self._made.get(plan)

        def work_ahead() -> None:
            try:
                require_room(plan, way, self.device)
                prepared.key = key()
                program = known or before[0].over(fuse(plan, self.device.platform), given)
                compile_stage(prepared, program, before)
            except jax.errors.JaxRuntimeError as failure:
                prepared.failure = worded(failure)
            except MemoryError as failure:
                prepared.failure = MemoryFault(f"there is not enough memory: {failure}")
            except BaseException as failure:
                prepared.failure = failure

        prepared.thread = threading.Thread(target=work_ahead)
        prepared.thread.start()
        return prepared

    def _given(self, plan: Plan) -> dict[str, Params]:
        """The weights of a stage's frozen models, zeros for members that are yet to come."""
        known = {each.member.model.name: each.own for each in self.kept.values()}
        archives = {each.name for each in self.base.models}
        to_come = [each for each in plan.models if each.name not in archives | known.keys()]
        return {**self.given, **known, **{each.name: _zeros(each) for each in to_come}}

    def _key(self, way: Way) -> Callable[[], jax.Array]:
        """By which the weights of a new start, or the noise of a growth, are drawn.

        The first call compiles, so that it is for the thread beside the run.
        """
        seed, is_start = self.base.seed, way.operation is None
        name, number = ("pass", self.number_of_pass + 1) if is_start else ("growth", self.number)
        return lambda: named(jax.random.key(seed), name, number)

    def wait(self, most_s: float) -> None:
        """Until what is being compiled is there, at most so long."""
        for each in self._ahead:
            if each.thread is not None and each.thread.is_alive():
                each.thread.join(most_s)
                return

    def close(self) -> None:
        """Waits for what is being compiled: a thread in the middle of it would crash the exit."""
        for each in self._ahead:
            if each.thread is not None:
                each.thread.join()

    # ------------------------------------------------------------ the step

    def _prepared(self, facts: Facts) -> Iterator[Prepared]:
        """The next stages, compiled: those that were prepared, or now."""
        for way in self.ways():
            plan = self._planned(way, facts)
            found = next(
                (each for each in self._ahead if each.plan == plan and each.way == way), None
            )
            if found is None:
                for each in self._ahead:
                    if each.thread is not None:
                        each.thread.join()
                found = self._prepare(way, plan)
            found.wait()
            yield found

    def step(self, state: RunState, facts: Facts) -> Step:
        """Goes on in the next stage: the only one, or of several the best on assess.

        state   as this stage ended, on the host; whatever becomes of the device's, it stays
        Raises MemoryFault with nothing changed.
        """
        self.keep(state)
        prepared = list(self._prepared(facts))
        tried: tuple[Tried, ...] = ()
        tried_by: tuple[ObjectivePlan, ...] = ()
        if len(prepared) == 1:
            (chosen,) = prepared
            placed, current = self._entered(chosen, state, is_trial=False)
        else:
            all_tried = [
                try_growth(each, *self._entered(each, state, is_trial=True)) for each in prepared
            ]
            values = [each.values for each in all_tried]
            tried_by = ranked_by(self.base.ranking, state.current_values)
            ranked = best_tried(
                self.base,
                tried_by,
                values,
                state.accepted_values,
                self.program.units.get("assess"),
            )
            best = all_tried[ranked]
            tried = (best, *all_tried)
            chosen, current = best.prepared, best.current
            placed = behind(best, all_tried)
        step = Step(
            chosen.way,
            int(state.iteration),
            (self.program, {**state.frozen, **state.current}),
            (chosen.program, {**state.frozen, **current}),
            placed,
            tried,
            tuple(key.name for key in tried_by),
        )
        self._enter(chosen, state)
        return step

    def _entered(
        self, prepared: Prepared, state: RunState, *, is_trial: bool
    ) -> tuple[RunState, Params]:
        """The state that a prepared stage begins with, on the device, and current on the host."""
        program, blank, way = prepared.program, prepared.blank, prepared.way
        assert blank is not None, "a program has a state"
        given = self._given(prepared.plan)
        program.teach(given)
        frozen = {name: state.frozen.get(name, given.get(name)) for name in blank.frozen}
        members = {each.member.model.name for each in self.members}
        frozen |= {name: given[name] for name in frozen if name in members}
        if way.keeps_function:
            assert way.operation is not None
            assert prepared.key is not None, "it was waited for"
            current = grow_group(self.plan.architecture, state.current, way.operation, prepared.key)
            fresh = jax.device_get(program.begin(current))
            opt_states = succession.grown_opt_states(
                self.plan, prepared.plan, way.operation, state.current, state.opt_states, fresh
            )
        else:
            assert prepared.drawn is not None, "weights were drawn ahead"
            current = prepared.drawn
            opt_states = jax.device_get(program.begin(current))
            state = succession.without_steps(state)
            state = succession.started_again(state) if way.operation is None else state
        after = succession.succeed(
            self.plan,
            prepared.plan,
            state,
            blank,
            current=current,
            opt_states=opt_states,
            frozen=frozen,
            is_trial=is_trial,
        )
        placed = succession.on_device(after)
        if not way.keeps_function:
            placed = program.appraise(placed)
        if isinstance(self.base.rule, Reference):
            placed = succession.accepted_as_current(placed)
        return placed, current

    def _enter(self, prepared: Prepared, state: RunState) -> None:
        if state.front is not None and np.any(state.front.is_filled & state.front.is_here):
            is_found = np.asarray(state.front.is_filled & state.front.is_here)
            self.retired.append(Retired(self.plan.architecture, state.front.params, is_found))
        self._before = self.plan, self.program, self.number, self.number_of_pass
        if prepared.way.operation is None:
            self.number_of_pass += 1
        else:
            self.number += 1
        self.plan, self.program = prepared.plan, prepared.program
        self.programs[self.plan.architecture] = self.program
        self._made[self.plan] = self.program
        self._ahead = []

    def leave(self) -> None:
        """Goes back to the stage before the last step, which memory had no room for."""
        assert self._before is not None, "only a step can be taken back"
        self.plan, self.program, self.number, self.number_of_pass = self._before

    def told_of(self, step: Step, scores: Callable[[Plan, Record], Scores]) -> Grown:
        """The event of a step; to be asked while the device is at work, as it computes outputs.

        scores   of current in a record, of a stage's plan
        """
        operation, change = step.way.operation, None
        if step.way.keeps_function:
            change = _change(step)
        return Grown(
            iteration=step.iteration,
            operation=None if operation is None else written(operation),
            parameters=_sizes(self.plan.architecture),
            max_output_change=change,
            number_of_pass=self.number_of_pass,
            trials=tuple(
                Trial(
                    each.prepared.way.words,
                    sum(_sizes(each.prepared.plan.architecture).values()),
                    scores(each.prepared.plan, each.record),
                )
                for each in step.tried[1:]
            ),
            tried_by=step.tried_by,
            members=tuple(each.member.model.name for each in self.members),
        )

    def keep(self, state: RunState) -> None:
        """Puts the stage's best accepted models into the archives; `state` is on the host."""
        archived = state.archived
        if archived is None:
            return
        here = self.plan.architecture
        for place, is_filled in enumerate(archived.is_filled):
            if is_filled:
                params = jax.tree.map(lambda leaf, at=place: leaf[at], archived.params)
                self._put(place, here, params, float(archived.scores[place]))
        accepted, any_accepted = state.accepted, int(state.proofs.count) > 0
        if not (isinstance(self.base.rule, Challenger) and any_accepted):
            return
        if isinstance(accepted, OneOf) and int(accepted.place) > 0:
            # a challenger from before the last growth may have been accepted since
            elder = int(accepted.place)
            for place, archive in enumerate(self.base.archives):
                reached = float(np.mean(state.accepted_values[archive.best.name]))
                self._put(
                    place,
                    self.plan.elders[elder - 1],
                    accepted.params[elder],
                    archive.best.sign * reached,
                )

    def _put(self, place: int, architecture: Architecture, params: Params, score: float) -> None:
        """Puts an accepted model into an archive, unless a better one of its kind is there."""
        archive, member = self.base.archives[place], self._members_of(architecture)[place]
        before = self.kept.get((member.archive, member.per))
        if before is None or before.score < score:
            self.kept[member.archive, member.per] = Kept(
                member, architecture, params, params[archive.model], score
            )

    @property
    def members(self) -> tuple[Kept, ...]:
        """What archives hold, each archive's members by what it keeps the best for."""
        return tuple(sorted(self.kept.values(), key=lambda each: _by_size(each.member)))


# ---------------------------------------------------------------- one stage


def _change(step: Step) -> float | None:
    """The greatest difference of outputs, as a part of the largest.

    None where no measure applies the model, or memory has no room to look.
    """
    try:
        before, after = jax.device_get(
            tuple(program.outputs(params, SEEN) for program, params in (step.before, step.after))
        )
    except jax.errors.JaxRuntimeError:
        return None
    changes = [
        float(np.max(np.abs(new - old)) / (np.max(np.abs(old)) or 1.0))
        for old, new in zip(before, after, strict=True)
    ]
    return max(changes, default=None)


def _sizes(architecture: Architecture) -> dict[str, int]:
    """Parameters of each explored model."""
    return {model.name: work.parameters(model) or 0 for model in architecture}


def _zeros(model: ModelPlan) -> Params:
    zeros: Params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shaped(model))
    return zeros


def _by_size(member: Member) -> tuple[str, float]:
    return member.archive, member.per
