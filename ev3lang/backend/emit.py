"""A fused plan as a program: pure functions from state to state, and the only calls of `jax.jit`.

An iteration reads as the method does: explore, assess, adapt. Whatever the plan fixes is closed
over; the data are arguments, so that no program holds them as constants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import jax
import jax.numpy as jnp
import numpy as np

from ev3lang.backend import (
    adapt,
    archives,
    assess,
    cached,
    challenger,
    elders,
    evaluation,
    expressions,
    externs,
    fronts,
    models,
    mutation,
    plain,
    progress,
    recent,
    reference,
    streams,
    units,
)
from ev3lang.backend.cached import Columns
from ev3lang.backend.descent import KNOWN
from ev3lang.backend.explore import (
    Explored,
    explore,
    explored_models,
    networks,
    pools,
    start_optimizer,
    start_streams,
)
from ev3lang.backend.externs import Faults
from ev3lang.backend.feeding import Blocks, Feeder, host_streams
from ev3lang.backend.keys import named
from ev3lang.backend.layout import explored_chains, held
from ev3lang.backend.rollout import part
from ev3lang.backend.state import (
    Decision,
    Front,
    Params,
    PyTree,
    Record,
    RunState,
    Values,
    blank_record,
    is_finite,
    no_proofs,
    pick,
)
from ev3lang.backend.streams import Block, Data, Fields
from ev3lang.backend.units import Sample, Units
from ev3lang.check.typed import SPLITS
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import (
    BaselinePlan,
    Challenger,
    Expr,
    FusedPlan,
    Plan,
    Reference,
    fields_of,
)
from ev3lang.plan.simplify import stable

Array: TypeAlias = jax.Array
Tables: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Split to field to its examples `[B, *dimensions]`, derived and normalised; empty if endless."""

SEGMENT = 256
"""Records that one segment can hold: the most iterations between two words to the host."""


@attrs.frozen(eq=False)
class Program:
    """An experiment as functions; each is compiled once, at its first call.

    init            (key) -> RunState, with the start weights of every model
    step            (state) -> (state, record): one iteration
    segment         (state, count, is_time_up) -> (state, records, filled, closing): at most
                    `count` iterations on the device, fewer if the run ends; `records` has
                    SEGMENT rows of which `filled` are used. If the spec's own stop has come, or
                    `is_time_up` says so, the last query is made and `closing` is its record
                    (with no candidates). `state` is used up: its arrays are given to the result.
    side_by_side    (states, count) -> the same for several runs at once: all with a leading axis
                    of runs that differ in their seed alone. A run that has ended stays where it
                    is. Not with a feeder.
    measure         (params, fields) -> every objective and shown value by name, per example
                    `[B]` or of the set
    resample        (params, fields, rows, names) -> the named values of a set on resampled
                    sets, `[R]` for rows `[R, B]`; models are applied once
    plain           (key, baseline) -> plain training from the start, in parts of any length
    examples        (key, split) -> the fields of a split: a finite one's, else a fresh draw
    draw            (key) -> the explored models' weights, as a run with this key starts them
    outputs         (params, most) -> what each application of an explored model in a measure gives
                    for at most so many assess examples
    begin           (current) -> every descent's optimizer state before its first step from there
    appraise        (state) -> the state with current's values on assess measured anew
    blank           () -> a state of zeros: of what shapes and dtypes every state is
    over            (fused, given) -> the program of another stage of the plan over the same data;
                    `given` are the weights of frozen models, those of this program's too
    teach           (given) -> None: from now on frozen models have these weights where their
                    outputs were computed beforehand; a state holds its own
    units           of assess, adapt and report, where several examples count as one
    traces          what was traced so far, a name each: `segment` stands in it once for a run
    faults          what went wrong in functions on the host while the program ran
    """

    fused: FusedPlan
    init: Callable[[Array], RunState]
    step: Callable[[RunState], tuple[RunState, Record]]
    segment: Callable[[RunState, int, bool], tuple[RunState, Record, Array, Record]]
    side_by_side: Callable[[RunState, int], tuple[RunState, Record, Array, Record]]
    measure: Callable[[Params, Fields], dict[str, Array]]
    resample: Callable[[Params, Fields, Any, tuple[str, ...]], dict[str, Array]]
    plain: Callable[[Array, BaselinePlan], plain.Course]
    examples: Callable[[Array, str], Fields]
    draw: Callable[[Array], Params]
    outputs: Callable[[Params, int], tuple[Array, ...]]
    begin: Callable[[Params], tuple[PyTree, ...]]
    appraise: Callable[[RunState], RunState]
    blank: Callable[[], RunState]
    over: Callable[[FusedPlan, Mapping[str, Params]], Program]
    teach: Callable[[Mapping[str, Params]], None]
    units: Mapping[str, Units]
    traces: list[str]
    faults: Faults

    def train_baseline(self, key: Array, baseline: BaselinePlan, steps: int) -> Params:
        """A baseline's weights after so many steps from the start."""
        course = self.plain(key, baseline)
        return course.ended(course.advance(course.begin(), steps))


def emit(
    fused: FusedPlan,
    tables: Tables,
    statistics: Mapping[str, tuple[Any, Any]] = MappingProxyType({}),
    given: Mapping[str, Params] = MappingProxyType({}),
    feeder: Feeder | None = None,
) -> Program:
    """The program of a plan over its data.

    tables       explore, assess, adapt and report, as NumPy or device arrays
    statistics   mean and standard deviation of the fields that the program normalises
    given        weights of models that don't start fresh, on the host
    feeder       with one, explore stays on the host and its batches are what the feeder brings:
                 the same as without. `init` takes the key of the plan's seed then, and there is
                 nothing to train baselines on.
    """
    return _over(_Ground(_on_device(fused.plan, tables, statistics, feeder), feeder), fused, given)


@attrs.define(eq=False)
class _Ground:
    """What the programs of a run's stages share.

    whole     the data, on the device; explore on the host where there is a feeder
    blocks    what the feeder brings, once the first program has said what it reads; `block` is
              the last
    columns   outputs of frozen models, so that no stage computes them again
    """

    whole: Data
    feeder: Feeder | None
    faults: Faults = attrs.Factory(Faults)
    blocks: Blocks | None = None
    block: Block | None = None
    columns: Columns = attrs.Factory(Columns)


def _over(ground: _Ground, fused: FusedPlan, given: Mapping[str, Params]) -> Program:
    """The program of a stage's plan over the run's data."""
    faults, whole = ground.faults, ground.whole
    fused = attrs.evolve(fused, plan=externs.heard(fused.plan, faults))
    plan = fused.plan
    outputs = cached.outputs(plan, given, whole)
    whole = _with_columns(whole, ground.columns.of(plan, outputs, given, whole))
    fused = cached.reading(fused, outputs)
    if ground.feeder is not None:
        explore = {name: np.asarray(each) for name, each in whole.splits["explore"].items()}
        whole = _without_explore(whole)
        if ground.blocks is None:
            ground.blocks = ground.feeder(host_streams(fused.plan, whole, explore))
    blocks = ground.blocks
    # The report split stays out of every function that the run itself calls.
    seen = attrs.evolve(
        whole,
        splits={use: each for use, each in whole.splits.items() if use != "report"},
        units={use: each for use, each in whole.units.items() if use != "report"},
    )

    def teach(given: Mapping[str, Params]) -> None:
        seen.splits["explore"].update(ground.columns.of(plan, outputs, given, ground.whole))

    traces: list[str] = []

    def traced(name: str, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def note(*args: Any) -> Any:
            traces.append(name)
            return function(*args)

        return jax.jit(note, **options)

    def run_segment(state: RunState, count: int, is_time_up: bool) -> Any:
        block, count = None, min(count, SEGMENT)
        if blocks is not None:
            iteration = int(state.iteration)
            if count or ground.block is None:
                ground.block = blocks(iteration)
                count = min(count, _iterations_left(ground.block, iteration))
            # no iteration looks at the batches: the last ones do
            block = ground.block
        return segment(seen, state, np.int32(count), np.bool_(is_time_up), block)

    init = traced("init", lambda data, given, key: start(plan, data, given, key))
    step = traced("step", lambda data, state, block: iterate(fused, data, state, block))
    segment = traced(
        "segment",
        lambda data, state, count, is_time_up, block: run(
            fused, data, state, count, is_time_up, block
        ),
        donate_argnums=1,
    )
    side_by_side = traced(
        "side by side",
        lambda data, states, count: jax.vmap(
            lambda state: run(fused, data, state, count, jnp.bool_(False))
        )(states),
        donate_argnums=1,
    )
    measure = traced("measure", lambda params, fields: report_values(plan, params, fields))
    examples = traced(
        "examples",
        lambda split, scales, key, draw: streams.examples(plan.data, split, scales, key, draw),
        static_argnums=3,
    )
    resample = traced(
        "resample",
        lambda params, fields, rows, names: resampled(plan, params, fields, rows, names),
        static_argnums=3,
    )
    begin_plain = traced(
        "baseline begun",
        lambda data, given, key, baseline: plain.begin(plan, baseline, data, given, key),
        static_argnums=3,
    )
    advance_plain = traced(
        "baseline",
        lambda data, given, key, training, until, baseline: plain.advance(
            plan, baseline, data, given, key, training, until
        ),
        static_argnums=5,
        donate_argnums=3,
    )
    end_plain = traced(
        "baseline ended",
        lambda data, given, key, training, baseline: plain.ended(
            plan, baseline, given, key, training
        ),
        static_argnums=4,
    )

    def begun(key: Array, baseline: BaselinePlan) -> plain.Course:
        baseline = attrs.evolve(baseline, loss=cached.with_columns(stable(baseline.loss), outputs))
        return plain.Course(
            begin=lambda: begin_plain(seen, dict(given), key, baseline),
            advance=lambda training, until: advance_plain(
                seen, dict(given), key, training, np.int32(until), baseline
            ),
            ended=lambda training: end_plain(seen, dict(given), key, training, baseline),
        )

    draw = traced("weights", lambda key: _explored(plan, models.start(plan.models, {}, key)))
    begin = traced("optimizers", lambda current: start_optimizers(plan, current))
    outputs_of = traced(
        "outputs",
        lambda data, params, most: applied(plan, data, params, most),
        static_argnums=2,
    )
    appraise = traced("appraise", lambda data, state: appraised(plan, data, state))

    def blank() -> RunState:
        shapes = jax.eval_shape(
            lambda key: start(plan, seen, given, key), jax.random.key(plan.seed)
        )
        return jax.tree.map(_zeros, shapes)

    return Program(
        fused=fused,
        init=lambda key: init(seen, dict(given), key),
        step=lambda state: step(
            seen, state, None if blocks is None else blocks(int(state.iteration))
        ),
        segment=run_segment,
        side_by_side=lambda states, count: side_by_side(
            seen, states, np.int32(min(count, SEGMENT))
        ),
        measure=measure,
        resample=resample,
        plain=begun,
        examples=lambda key, split: examples(whole.splits[split], whole.scales, key, split),
        draw=draw,
        outputs=lambda params, most: outputs_of(seen, params, most),
        begin=begin,
        appraise=lambda state: appraise(seen, state),
        blank=blank,
        over=lambda fused, given: _over(ground, fused, given),
        teach=teach,
        units=whole.units,
        traces=traces,
        faults=faults,
    )


def _zeros(shape: Any) -> Any:
    if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), shape.shape)
    return jnp.zeros(shape.shape, shape.dtype)


def fields_read(plan: Plan) -> tuple[str, ...]:
    """The fields that a run needs of its data, sorted."""
    return fields_of(
        *plan.losses,
        *(measure.value for measure in plan.measures),
        *(shown.value for shown in plan.shown),
    )


def _on_device(
    plan: Plan,
    tables: Tables,
    statistics: Mapping[str, tuple[Any, Any]],
    feeder: Feeder | None,
) -> Data:
    """The fields that the plan reads, on the device, of each split; explore not with a feeder."""
    if not tables:
        return Data({split: {} for split in SPLITS}, {}, {})
    read = fields_read(plan)
    explore = tables["explore"]
    of_explore = [
        *read,
        *(f"{each.field} {KNOWN}" for each in plan.data.known if each.field in read),
    ]
    columns: dict[str, dict[str, Any]] = {
        split: {name: jnp.asarray(tables[split][name]) for name in read}
        for split in SPLITS
        if split != "explore"
    }
    place = np.asarray if feeder is not None else jnp.asarray
    columns["explore"] = {name: place(explore[name]) for name in of_explore}
    return Data(
        columns,
        {
            name: (jnp.asarray(mean, jnp.float32), jnp.asarray(std, jnp.float32))
            for name, (mean, std) in statistics.items()
        },
        {name: jnp.asarray(rows, jnp.int32) for name, rows in pools(plan, explore).items()},
        # a draw of single examples has no whole units
        {} if evaluation.examples_drawn(plan) else units.of_splits(plan.data.split, tables),
    )


def _with_columns(data: Data, columns: Fields) -> Data:
    """The data with further columns in explore alone."""
    explore = {**data.splits["explore"], **columns}
    return attrs.evolve(data, splits={**data.splits, "explore": explore})


def _without_explore(data: Data) -> Data:
    """The data with a column of no width in explore, which says how many examples it has."""
    count = len(next(iter(data.splits["explore"].values())))
    empty = {"no field": jnp.zeros((count, 0), jnp.uint8)}
    return attrs.evolve(data, splits={**data.splits, "explore": empty})


def _iterations_left(block: Block, iteration: int) -> int:
    """How many iterations a block has batches for, from one of them on."""
    length = len(jax.tree.leaves(block.fields)[0])
    left = int(block.begin) + length - iteration
    assert 0 < left <= length, f"a block from {block.begin} was brought for iteration {iteration}"
    return left


# ---------------------------------------------------------------- a run


def start(plan: Plan, data: Data, given: Mapping[str, Params], key: Array) -> RunState:
    """The state before the first iteration: weights as given, or drawn by their model's name."""
    params = models.start(plan.models, given, key)
    explored = explored_models(plan)
    current = _explored(plan, params)
    frozen = {name: params[name] for name in params if name not in explored}
    draws = evaluation.start(plan, data, key)
    _, rows = evaluation.draw(plan, key, draws)
    fields = evaluation.examples(plan, data, key, "assess", jnp.int32(0), rows)
    values = assess.measure(plan.measures, fields, networks(plan, params))
    zero = jnp.int32(0)
    older = [
        {model.name: models.init(model, named(key, "elder", model.name)) for model in architecture}
        for architecture in plan.elders
    ]
    return RunState(
        iteration=zero,
        current=current,
        accepted=elders.among(current, older),
        frozen=frozen,
        opt_states=start_optimizers(plan, current),
        streams={**start_streams(plan, key, data), **draws},
        key=key,
        log_budget=_start_budget(plan),
        current_values=values,
        accepted_values=values,
        current_steps=zero,
        accepted_steps=zero,
        descended=zero,
        progress=progress.start(plan),
        lost_in_a_row=zero,
        outcome=jnp.int32(Outcome.RUNNING),
        leading=zero,
        proofs=no_proofs(),
        challengers=challenger.start(plan, elders.among(current, older))
        if has_challengers(plan)
        else None,
        front=fronts.start(current, len(plan.ranking.keys))
        if plan.ranking.kind == "pareto"
        else None,
        factors=mutation.start(plan),
        recent=recent.start(plan, current),
        archived=archives.start(plan, current),
    )


def _explored(plan: Plan, params: Params) -> Params:
    explored = explored_models(plan)
    return {name: params[name] for name in params if name in explored}


def start_optimizers(plan: Plan, current: Params) -> tuple[PyTree, ...]:
    """Every descent's optimizer state before its first step from the current weights."""
    return tuple(start_optimizer(plan, each.optimizer, current) for each in plan.descents)


def applied(plan: Plan, data: Data, params: Params, most: int) -> tuple[Array, ...]:
    """The outputs of explored models wherever a measure applies one, `[B, ...]` each.

    On the first assess examples, `most` of them; of endless data on a draw of its own.
    """
    key = named(jax.random.key(plan.seed), "outputs")
    fields = streams.examples(
        plan.data, data.splits["assess"], data.scales, key, "assess", jnp.int32(0)
    )
    some = {name: field[:most] for name, field in fields.items()}
    network, memo = networks(plan, params), expressions.Memo()
    found = expressions.applications(
        (measure.value for measure in plan.measures), explored_models(plan)
    )
    return tuple(expressions.evaluate(each, some, network, memo) for each in found)


def appraised(plan: Plan, data: Data, state: RunState) -> RunState:
    """The state with current's values on assess, where it is another model than they were of."""
    _, rows = evaluation.draw(plan, state.key, state.streams)
    fields = evaluation.examples(plan, data, state.key, "assess", state.iteration, rows)
    network = networks(plan, state.frozen).holding(state.current)
    return attrs.evolve(state, current_values=assess.measure(plan.measures, fields, network))


def has_challengers(plan: Plan) -> bool:
    return isinstance(plan.rule, Challenger)


def _start_budget(plan: Plan) -> Array:
    """log of the chance to be wrong that a run may spend; of none where its rule bounds none."""
    return jnp.log(jnp.float32(0.0 if isinstance(plan.rule, Reference) else plan.rule.delta))


def iterate(
    fused: FusedPlan, data: Data, state: RunState, block: Block | None = None
) -> tuple[RunState, Record]:
    """One iteration of explore, assess and adapt; on a block's batches, where there is one."""
    plan = fused.plan
    base = networks(plan, state.frozen)
    iteration = state.iteration
    moved_streams, explored = explore(fused, state, data, block)

    draws, rows = evaluation.draw(plan, state.key, state.streams)
    fields = evaluation.examples(plan, data, state.key, "assess", iteration, rows)
    state = _measured_anew(plan, state, fields)
    state = attrs.evolve(state, iteration=iteration + 1, streams={**moved_streams, **draws})
    verdict = contest = None
    if has_challengers(plan):
        state, verdict = adapt.challenge(plan, state, base, fields)
    sample = Sample(fields, data.units.get("assess"))
    ranking = assess.rank(
        fused, sample, base, explored, state, named(state.key, "assess", iteration)
    )
    if isinstance(plan.rule, Reference):
        adapt_fields = evaluation.examples(plan, data, state.key, "adapt", iteration, rows)
        contest = adapt.compete(plan, state, base, adapt_fields, ranking)
        ranking = attrs.evolve(ranking, leads=contest.winner == reference.BEST)
    state = _moved(plan, state, explored, ranking)
    any_finite = jnp.any(ranking.is_finite)
    if contest is not None:
        state, verdict = adapt.settle(plan, state, contest, any_finite)
    elif verdict is not None:
        state = challenger.enter(plan, state, ranking.leads)
        assert state.challengers is not None
        state = attrs.evolve(state, log_budget=challenger.left(plan, state.challengers))
    else:
        splits = _splits(plan, data, state.key, sample, iteration)
        may_ask = any_finite & ~progress.is_trial(state)
        state, verdict = adapt.decide(plan, state, base, splits, may_ask)
    is_accepted = verdict.decision == Decision.ACCEPTED
    state = recent.remember(state, is_accepted)
    state = archives.keep(
        plan, state, is_accepted, assess.means(plan.measures, state.accepted_values)
    )
    standing = assess.means(plan.measures, state.current_values)
    state = progress.followed(plan, state, is_accepted, standing)
    state = attrs.evolve(state, outcome=adapt.outcome(plan, state))
    return state, _record(
        plan,
        state,
        verdict,
        sample.units,
        scores=ranking.scores,
        errors=ranking.errors,
        is_sound=ranking.is_sound,
        beyond=ranking.beyond,
        extents=ranking.extents,
        loss=explored.losses,
        is_present=explored.is_present,
        is_finite=ranking.is_finite,
        keeps=ranking.keeps,
        steps=explored.steps,
        chosen=jnp.where(any_finite, ranking.best, -1),
        moved=ranking.leads,
    )


def run(
    fused: FusedPlan,
    data: Data,
    state: RunState,
    count: Array,
    is_time_up: Array,
    block: Block | None = None,
) -> tuple[RunState, Record, Array, Record]:
    """Up to `count` iterations, and at the spec's own stop the last query: a segment."""
    plan = fused.plan
    blank = blank_record(
        len(plan.candidates), len(plan.measures), len(plan.guards), len(plan.descents)
    )
    ring = jax.tree.map(lambda leaf: jnp.zeros((SEGMENT, *leaf.shape), leaf.dtype), blank)
    time = jnp.where(is_time_up, jnp.int32(Outcome.TIME), jnp.int32(Outcome.RUNNING))
    state = attrs.evolve(state, outcome=adapt.first(state.outcome, time))

    def goes_on(carry: tuple[RunState, Record, Array]) -> Array:
        state, _, filled = carry
        goes_on = (filled < count) & (state.outcome == Outcome.RUNNING)
        return goes_on & ~progress.is_due(state)

    def one_more(carry: tuple[RunState, Record, Array]) -> tuple[RunState, Record, Array]:
        state, records, filled = carry
        state, record = iterate(fused, data, state, block)
        records = jax.tree.map(
            lambda rows, row: jax.lax.dynamic_update_index_in_dim(rows, row, filled, 0),
            records,
            record,
        )
        return state, records, filled + 1

    state, records, filled = jax.lax.while_loop(goes_on, one_more, (state, ring, jnp.int32(0)))
    is_own_stop = jnp.any(jnp.stack([state.outcome == end for end in Outcome if end.is_own_stop]))
    state, closing = _closed(plan, data, state, is_own_stop)
    return state, records, filled, closing


def _closed(plan: Plan, data: Data, state: RunState, is_closing: Array) -> tuple[RunState, Record]:
    """The state after the last query and that query's record, where it is time for it."""
    # the draw that the state's values are on is the last iteration's
    fields = _examples(plan, data, state.key, "assess", state.iteration - 1)
    sample = Sample(fields, data.units.get("assess"))
    splits = _splits(plan, data, state.key, sample, state.iteration)
    closed, verdict = adapt.close(plan, state, networks(plan, state.frozen), splits, is_closing)
    return closed, _record(plan, closed, verdict, sample.units)


def _measured_anew(plan: Plan, state: RunState, fields: Fields) -> RunState:
    """The state with its two models' values on assess; those on a whole split still hold.

    But for what a function on the host had no number for: it may have one now.
    """
    base = networks(plan, state.frozen)
    before = state.current_values, state.accepted_values

    def anew() -> tuple[Values, Values]:
        return (
            assess.measure(plan.measures, fields, base.holding(state.current)),
            assess.measure(plan.measures, fields, base.holding(state.accepted)),
        )

    if evaluation.is_new_each_time(plan):
        current, accepted = anew()
    elif plan.has_host:
        current, accepted = jax.lax.cond(is_finite(before), lambda: before, anew)
    else:
        return state
    return attrs.evolve(state, current_values=current, accepted_values=accepted)


def _moved(plan: Plan, state: RunState, explored: Explored, ranking: assess.Ranking) -> RunState:
    """Current in the place of the best candidate where it leads; optimizers go on, or anew."""
    steps = jnp.pad(explored.steps, (0, len(plan.others)))
    is_lost = ~jnp.any(ranking.is_finite)
    return attrs.evolve(
        state,
        current=pick(ranking.leads, ranking.params, state.current),
        current_values=pick(ranking.leads, ranking.values, state.current_values),
        leading=ranking.leading,
        front=_front(plan, state, explored, ranking),
        current_steps=state.current_steps + jnp.where(ranking.leads, steps[ranking.best], 0),
        descended=state.descended + jnp.sum(explored.steps),
        factors=mutation.kept(
            state.factors, explored.factors, jnp.where(ranking.leads, ranking.best, -1)
        ),
        opt_states=tuple(
            pick(is_whole, opt_state, start_optimizer(plan, candidate.optimizer, state.current))
            for candidate, opt_state, is_whole in zip(
                plan.descents,
                explored.opt_states,
                ranking.is_finite[: len(plan.descents)],
                strict=True,
            )
        ),
        lost_in_a_row=jnp.where(is_lost, state.lost_in_a_row + 1, 0),
    )


def _front(
    plan: Plan, state: RunState, explored: Explored, ranking: assess.Ranking
) -> Front | None:
    """The front with this iteration's candidates; None where the ranking keeps none."""
    front = state.front
    if front is None:
        return None
    _, restore = held(state.current, explored_chains(plan))
    names = [measure.name for measure in plan.measures]
    places = jnp.asarray([names.index(key.name) for key in plan.ranking.keys])
    for k in range(len(plan.candidates)):
        front = fronts.joined(
            front,
            plan.ranking.keys,
            restore(part(explored.weights, k)),
            ranking.scores[k, places],
            ranking.is_finite[k] & jnp.all(ranking.keeps[k]),
            state.iteration,
        )
    return front


def _record(
    plan: Plan, state: RunState, verdict: adapt.Verdict, units: Units | None, **candidates: Array
) -> Record:
    """What the host hears of an iteration or, without candidates, of the last query."""
    return attrs.evolve(
        blank_record(0, len(plan.measures)),
        iteration=state.iteration,
        current=assess.means(plan.measures, state.current_values),
        accepted=assess.means(plan.measures, state.accepted_values),
        current_errors=assess.standard_errors(plan.measures, state.current_values, units),
        accepted_errors=assess.standard_errors(plan.measures, state.accepted_values, units),
        wins=verdict.wins,
        losses=verdict.losses,
        gain=verdict.gain,
        error=verdict.error,
        decision=verdict.decision,
        power=verdict.power,
        log_level=verdict.log_level,
        log_evidence=verdict.log_evidence,
        age=verdict.age,
        leading=state.leading,
        log_budget=state.log_budget,
        outcome=state.outcome,
        **candidates,
    )


def _examples(plan: Plan, data: Data, key: Array, split: str, draw: Array) -> Fields:
    """What a split is measured on in an iteration."""
    return streams.examples(plan.data, data.splits[split], data.scales, key, split, draw)


def _splits(plan: Plan, data: Data, key: Array, sample: Sample, draw: Array) -> adapt.Splits:
    """What a decision is made on: a sample of assess, and adapt or a draw in its place."""
    adapt_split, units = data.splits["adapt"], data.units.get("adapt")
    count = len(next(iter(adapt_split.values()), ())) or sample.examples

    def deciding() -> Sample:
        return Sample(_examples(plan, data, key, "adapt", draw), units)

    return adapt.Splits(sample, deciding, count if units is None else units.count)


# ---------------------------------------------------------------- beside the run


def _reported(plan: Plan) -> dict[str, Expr]:
    """Every measured and shown value by its name."""
    values = {each.name: each.value for each in plan.measures}
    return values | {each.name: each.value for each in plan.shown}


def report_values(plan: Plan, params: Params, fields: Fields) -> dict[str, Array]:
    """Every objective and shown value over a split, per example or of the set.

    params   the weights of all models, explored or not
    """
    memo: expressions.Memo = {}
    network = networks(plan, params)
    return {
        name: jnp.asarray(expressions.evaluate(value, fields, network, memo))
        for name, value in _reported(plan).items()
    }


def resampled(
    plan: Plan, params: Params, fields: Fields, rows: Array, names: tuple[str, ...]
) -> dict[str, Array]:
    """Values of a set on resampled sets, `[R]` each; a resample takes rows of models' outputs."""
    values = _reported(plan)
    network = networks(plan, params)
    outputs: expressions.Memo = {}
    applied = expressions.applications((values[name] for name in names), network.plans)
    for each in applied:
        expressions.evaluate(each, fields, network, outputs)

    def of_one(drawn: Array) -> dict[str, Array]:
        some = {name: field[drawn] for name, field in fields.items()}
        memo: expressions.Memo = {each: outputs[each][drawn] for each in applied}
        return {
            name: jnp.asarray(expressions.evaluate(values[name], some, network, memo))
            for name in names
        }

    found: dict[str, Array] = jax.lax.map(of_one, rows)
    return found
