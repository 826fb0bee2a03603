"""Growth while a run goes on: which stage comes next, compiled ahead, and the step into it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import jax
import jax.numpy as jnp
import numpy as np

from ev3lang.backend import fronts, succession
from ev3lang.backend.assess import furthest
from ev3lang.backend.claims import keeps_all
from ev3lang.backend.elders import OneOf
from ev3lang.backend.emit import Program
from ev3lang.backend.growth import grow_group, shaped, warm
from ev3lang.backend.keys import named
from ev3lang.backend.state import Params, Record, RunState, Values
from ev3lang.plan import stages, work
from ev3lang.plan.fuse import fuse
from ev3lang.plan.growth.copies import written
from ev3lang.plan.memory import memory
from ev3lang.plan.plan import (
    Architecture,
    Challenger,
    ModelPlan,
    ObjectivePlan,
    Operation,
    Plan,
    Ranking,
    Reference,
)
from ev3lang.plan.stages import Member
from ev3lang.runtime import device
from ev3lang.runtime.events import Grown, Scores, Trial
from ev3lang.runtime.faults import MemoryFault
from ev3lang.runtime.interrupts import computed, worded

SEEN = 512
"""Assess examples on which outputs before and after a growth are compared."""


@attrs.frozen
class Way:
    """Where a run may go on: by a growth, or from the smallest models again.

    operation   None for a new start
    """

    operation: Operation | None
    architecture: Architecture

    @property
    def keeps_function(self) -> bool:
        return self.operation is not None and self.operation.name != "fresh"

    @property
    def words(self) -> str:
        return "from the smallest again" if self.operation is None else written(self.operation)


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


Told: TypeAlias = Mapping[str, Any]
"""Small arrays of a state by name, which travel to the host with a segment's records."""


def told(state: RunState) -> Told:
    """What the host has to know of a state to prepare the next stage; nothing of runs that stay."""
    if state.progress is None:
        return {}
    found = {"is due": state.progress.is_due, "may grow": state.progress.may_grow}
    if isinstance(state.accepted, OneOf):
        found["accepted"] = state.accepted.place
    held = state.challengers
    if held is not None:
        found["filled"] = held.is_filled
        if isinstance(held.params, OneOf):
            found["challengers"] = held.params.place
    if state.archived is not None:
        found["archived"] = state.archived.is_filled
    return found


@attrs.frozen
class Facts:
    """What the next stage's plan depends on, beside the way into it.

    elders     which architectures, by their place, accepted and challengers have; 0 is current's
    archived   for each archive, whether a model of this architecture has come into it
    """

    elders: tuple[int, ...]
    archived: tuple[bool, ...]

    @classmethod
    def of(cls, told: Told) -> Facts:
        """Of what was told, on the host."""
        places = {int(told.get("accepted", 0))}
        if "filled" in told:
            held = told.get("challengers", np.zeros_like(told["filled"], int))
            places |= {int(place) for place in held[told["filled"]]}
        return cls(tuple(sorted(places)), tuple(map(bool, told.get("archived", ()))))


@attrs.define(eq=False)
class Prepared:
    """The next stage's program on its way, in a thread of its own.

    key     what the weights of a new start, or the noise of a growth, are drawn by
    drawn   the weights of a new start, which don't depend on the run so far
    """

    way: Way
    plan: Plan
    key: jax.Array | None = None
    program: Program | None = None
    blank: RunState | None = None
    drawn: Params | None = None
    failure: BaseException | None = None
    thread: threading.Thread | None = None

    def wait(self) -> None:
        """Until it is there. Raises what its preparation raised; MemoryFault for want of memory."""
        if self.thread is not None:
            self.thread.join()
        if self.failure is not None:
            raise self.failure


@attrs.frozen(eq=False)
class Tried:
    """What a growth came to in the one iteration that it had."""

    prepared: Prepared
    current: Params  # before it, on the host
    state: RunState  # behind it, on the device
    ring: Record  # on the host, its iteration in the first row
    closing: Record
    code: int
    told: Told
    values: Values  # of current behind it, on the host

    @property
    def record(self) -> Record:
        found: Record = jax.tree.map(lambda rows: rows[0], self.ring)
        return found

    @property
    def steps(self) -> int:
        """Gradient steps of its candidates."""
        return int(np.sum(self.record.steps))


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
                _require_room(plan, way, self.device)
                prepared.key = key()
                program = known or before[0].over(fuse(plan, self.device.platform), given)
                _compile(prepared, program, before)
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
                _try(each, *self._entered(each, state, is_trial=True)) for each in prepared
            ]
            values = [each.values for each in all_tried]
            tried_by = ranked_by(self.base.ranking, state.current_values)
            best = all_tried[best_tried(self.base, tried_by, values, state.accepted_values)]
            tried = (best, *all_tried)
            chosen, current = best.prepared, best.current
            placed = _behind(best, all_tried)
        step = Step(
            chosen.way,
            int(state.iteration),
            (self.program, {**state.frozen, **state.current}),
            (_program(chosen), {**state.frozen, **current}),
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
        program, blank, way = _program(prepared), prepared.blank, prepared.way
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
        self.plan, self.program = prepared.plan, _program(prepared)
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


def _require_room(plan: Plan, way: Way, chosen: jax.Device) -> None:
    """Raises MemoryFault where weights and optimizers alone are more than a device has.

    A machine that lends out more memory than it has would end the run, and all with it.
    """
    has_bytes, needed = device.memory_bytes(chosen), memory(plan, None)
    assert needed.weights is not None and needed.optimizers is not None, "layers can be counted"
    needed_bytes = needed.weights + needed.optimizers
    if has_bytes is not None and needed_bytes > has_bytes:
        raise MemoryFault(
            f"{way.words} leads to {needed_bytes:,} bytes of weights and optimizers' states, and "
            f"{device.describe(chosen)} has {has_bytes:,}"
        )


def _compile(prepared: Prepared, program: Program, before: tuple[Program, Plan]) -> None:
    """Calls once all that will be called on the way into a stage; `before` is the one before."""
    blank = program.blank()
    computed(lambda: succession.on_device(succession.on_host(blank)))
    computed(lambda: program.segment(program.blank(), 0, False))
    computed(lambda: program.begin(blank.current))
    operation = prepared.way.operation
    if operation is not None and prepared.way.keeps_function:
        last, plan = before
        warm(plan.architecture, operation)
        for one, state in ((program, blank), (last, last.blank())):
            jax.block_until_ready(one.outputs({**state.frozen, **state.current}, SEEN))
    else:
        assert prepared.key is not None, "it comes first"
        prepared.drawn = jax.device_get(program.draw(prepared.key))
        computed(lambda: program.appraise(blank))
    prepared.blank, prepared.program = blank, program


def _program(prepared: Prepared) -> Program:
    assert prepared.program is not None, "it was waited for"
    return prepared.program


def _try(prepared: Prepared, state: RunState, current: Params) -> Tried:
    """One iteration of a stage, of which adapt hears nothing."""
    after, ring, _, closing = _program(prepared).segment(state, 1, False)
    ring, closing, code, values, seen = computed(
        lambda: jax.device_get((ring, closing, after.outcome, after.current_values, told(after)))
    )
    return Tried(prepared, current, after, ring, closing, int(code), seen, values)


def ranked_by(ranking: Ranking, before: Values) -> tuple[ObjectivePlan, ...]:
    """The objectives that growths are ranked by.

    before   the values of current before it grew: by priority the one that they leave furthest
             from its target leads
    """
    if ranking.kind != "priority":
        return ranking.keys
    return (ranking.keys[int(furthest(ranking.keys, before))],)


def best_tried(
    plan: Plan, keys: Sequence[ObjectivePlan], values: Sequence[Values], accepted: Values
) -> int:
    """Which of several growths assess ranks first, as it would rank candidates.

    values   of current behind each trial, on the same assess examples
    Where some keep every guard beside accepted, the others are out. Of a front's members the one
    with the largest hypervolume; else the best by the first key, and of those within one paired
    standard error of it the best by the next, and so on.
    """
    keeps = [bool(keeps_all(plan.guards, each, accepted)) for each in values]
    alive = [k for k, is_kept in enumerate(keeps) if is_kept or not any(keeps)]
    by_key = [
        [key.sign * np.asarray(each[key.name], np.float64) for each in values] for key in keys
    ]
    if plan.ranking.kind == "pareto":
        means = [[np.mean(of_key[k]) for of_key in by_key] for k in range(len(values))]
        points, is_alive = jnp.asarray(means, jnp.float32), jnp.zeros(len(values), bool)
        is_alive = is_alive.at[jnp.asarray(alive)].set(True)
        volumes = fronts.volumes(points, fronts.worst(keys, points, is_alive))
        return int(jnp.argmax(jnp.where(fronts.is_on_front(points, is_alive), volumes, -jnp.inf)))
    for of_key in by_key:
        top = max(alive, key=lambda k: float(np.mean(of_key[k])))
        alive = [k for k in alive if k == top or _is_level(of_key[k] - of_key[top])]
    return top


def _is_level(gains: np.ndarray) -> bool:
    """Whether a mean of paired differences is at most one standard error below 0."""
    if gains.ndim == 0:
        return bool(gains >= 0)
    return bool(np.mean(gains) >= -np.std(gains, ddof=1) / np.sqrt(len(gains)))


def _behind(best: Tried, tried: Sequence[Tried]) -> RunState:
    """The state behind the trial that goes on; the others' gradient steps were taken too."""
    state, progress = best.state, best.state.progress
    assert progress is not None, "a run that grows keeps its progress"
    others = sum(each.steps for each in tried) - best.steps
    return attrs.evolve(
        state,
        progress=attrs.evolve(progress, is_trial=jnp.bool_(False)),
        descended=state.descended + jnp.int32(others),
    )


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
