"""TypedProgram to Plan: everything written out, nothing decided twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ev3lang.catalog.signature import Value
from ev3lang.check import typed
from ev3lang.check.expand import inner_first
from ev3lang.check.expressions import measured
from ev3lang.plan import plan as p


def lower(program: typed.TypedProgram) -> p.Plan:
    """The plan of a checked program."""
    plan = _without_externs(program)
    called = {
        part.function
        for part in p.subexpressions(*plan.values, *(each.loss for each in plan.by_members))
        if isinstance(part, p.Apply)
    }
    declared = [
        p.Extern(
            each.name,
            each.target,
            each.is_host,
            each.inputs,
            each.output,
            f"{each.span.source.name}:{each.span.first.line}",
        )
        for each in program.externs.values()
    ]
    return attrs.evolve(plan, externs=tuple(each for each in declared if each.function in called))


def _without_externs(program: typed.TypedProgram) -> p.Plan:
    batch, parts = program.data.batch, program.data.parts
    objectives = {each.name: _objective(program, each) for each in program.objectives.values()}
    descents = tuple(_descent(program, each) for each in program.explore.descents)
    by_members = tuple(
        each for each in descents if not program.archives.keys().isdisjoint(p.models_of(each.loss))
    )
    return p.Plan(
        name=program.name,
        seed=program.seed,
        data=_data(program),
        models=tuple(
            _model(program, model, name in program.explore.models)
            for name, model in sorted(program.models.items())
        ),
        explored=program.explore.name,
        descents=tuple(each for each in descents if each not in by_members),
        batches=program.explore.batches,
        objectives=tuple(objectives.values()),
        ranking=p.Ranking(
            program.ranking.kind,
            tuple(_objective(program, each) for each in program.ranking.keys),
        ),
        move=program.adapt.move,
        rule=_rule(program),
        stop=_stop(program.adapt.stop),
        shown=tuple(_shown(program, each) for each in program.shown),
        baselines=tuple(
            p.BaselinePlan(
                name=each.name,
                loss=_value(program, each.loss),
                loss_name=each.loss_name,
                optimizer=_optimizer(each.optimizer),
                is_same_lineage=each.is_same_lineage,
                batch=batch,
                parts=parts,
            )
            for each in program.baselines
        ),
        precision=program.precision,
        runs=program.adapt.runs,
        guards=tuple(_guard(program, each) for each in program.guards),
        patience=_patience(program),
        others=tuple(_others(program)),
        mutations=tuple(
            p.Mutation(each.option, each.factors) for each in program.explore.mutations
        ),
        passes=program.adapt.passes,
        archives=tuple(
            p.ArchivePlan(
                each.name,
                each.model,
                _objective(program, each.best),
                _value(program, each.per),
            )
            for each in program.archives.values()
        ),
        by_members=by_members,
    )


# ---------------------------------------------------------------- expressions


def _value(program: typed.TypedProgram, expr: typed.Expr) -> p.Expr:
    lowered: dict[typed.Expr, p.Expr] = {}
    whole = program.written_out(expr)
    for part in inner_first(whole):
        lowered[part] = _expr(part, lowered)
    return lowered[whole]


def _expr(expr: typed.Expr, lowered: Mapping[typed.Expr, p.Expr]) -> p.Expr:
    """The plan's own, with that of all it is made of."""
    facts = expr.facts
    match expr:
        case typed.Constant(value=value):
            return p.Constant(value, facts.type)
        case typed.Field(name=name):
            return p.Field(name, facts.type)
        case typed.Forward(model=model, inputs=inputs):
            return p.Forward(model, tuple(lowered[each] for each in inputs), facts.type)
        case typed.Weights(model=model):
            return p.Weights(model)
        case typed.Apply(function=function, inputs=inputs, options=options):
            return p.Apply(
                function,
                tuple(lowered[each] for each in inputs),
                facts.type,
                facts.level,
                tuple((name, _option(value)) for name, value in options),
            )
        case typed.Parameter() | typed.Reference():
            raise AssertionError(f"{expr.name} was to be written out")


def _measured(program: typed.TypedProgram, expr: typed.Expr) -> p.Expr:
    """A measured value; a name that stands for a mean over examples becomes that mean."""
    facts = expr.facts
    match expr:
        case typed.Reference() if facts.level == "set":
            value = _value(program, expr)
            return p.Mean(value) if value.level == "example" else value
        case typed.Apply(inputs=inputs) if facts.level == "set" and any(
            isinstance(each, (typed.Reference, typed.Apply)) and each.facts.level == "set"
            for each in inputs
        ):
            return p.Apply(
                expr.function,
                tuple(_measured(program, each) for each in inputs),
                facts.type,
                facts.level,
                tuple((name, _option(value)) for name, value in expr.options),
            )
    return _value(program, expr)


def _option(value: Value | typed.Expr | None) -> Value | None:
    assert not isinstance(value, typed.Expr), "an option is known once its loss has arguments"
    return value


# ---------------------------------------------------------------- data, models, optimizers


def _data(program: typed.TypedProgram) -> p.DataPlan:
    data = program.data
    split = data.split
    return p.DataPlan(
        name=data.name,
        source=data.source,
        options=data.options,
        fields=tuple((name, info.type) for name, info in data.fields.items() if info.value is None),
        derived=tuple(
            p.Derived(name, _value(program, info.value), info.type)
            for name, info in data.fields.items()
            if info.value is not None
        ),
        normalized=tuple(p.Normalized(each.field, each.mean, each.std) for each in data.normalized),
        split=None
        if split is None
        else p.Split(
            (
                split.shares["explore"].fraction,
                split.shares["assess"].fraction,
                split.shares["adapt"].fraction,
                split.shares["report"].fraction,
            ),
            split.by,
            split.seed,
            split.method or "stratified",
            (
                split.shares["explore"].part,
                split.shares["assess"].part,
                split.shares["adapt"].part,
                split.shares["report"].part,
            ),
            split.block,
            split.groups,
            split.largest,
        ),
        rows=data.rows.get(None),
        batch=data.batch,
        evaluate=program.adapt.evaluate,
        origins=tuple(
            (name, info.origin) for name, info in data.fields.items() if info.origin is not None
        ),
        rows_in=tuple((part, rows) for part, rows in data.rows.items() if part is not None),
        augmented=tuple(
            p.Augmented(
                each.field,
                tuple(_operation(one) for one in each.operations),
            )
            for each in data.augmented
        ),
        known=tuple(p.Known(each.field, each.count, each.mask) for each in data.known),
        is_pooled=split is not None and split.is_pooled,
    )


def _model(program: typed.TypedProgram, model: typed.ModelInfo, is_explored: bool) -> p.ModelPlan:
    start = program.starts.get(model.name)
    return p.ModelPlan(
        name=model.name,
        input=model.input,
        output=model.output,
        layers=_layers(model.layers),
        is_explored=is_explored,
        takes="tokens" if any(each.kind == "tokens" for each in model.inputs) else "numbers",
        start=None if start is None else _start(program, start),
        module=None
        if model.module is None
        else p.Module(model.module.target, model.module.options),
    )


def _start(program: typed.TypedProgram, start: typed.StartInfo) -> p.TrainedBy | p.FromCheckpoint:
    if isinstance(start, typed.CheckpointInfo):
        return p.FromCheckpoint(start.path)
    return p.TrainedBy(
        loss=_value(program, start.loss),
        loss_name=start.name,
        optimizer=_optimizer(start.optimizer),
        length=start.length,
        unit=start.unit,
        batch=program.data.batch,
    )


def _layers(layers: tuple[typed.LayerInfo, ...]) -> p.Layers:
    return p.Layers(
        tuple(
            p.LayerPlan(
                each.name,
                (*each.options, *((("layers", _layers(each.inner)),) if each.inner else ())),
                each.input,
                each.output,
            )
            for each in layers
        )
    )


def _optimizer(optimizer: typed.OptimizerInfo) -> p.OptimizerPlan:
    links = tuple(_link(each) for each in optimizer.links)
    return p.OptimizerPlan(optimizer.name, links, optimizer.decays)


def _link(link: typed.LinkInfo) -> p.Link:
    return p.Link(
        link.name,
        tuple(
            (name, _link(value) if isinstance(value, typed.LinkInfo) else value)
            for name, value in link.options
        ),
    )


def _operation(operation: typed.OperationInfo) -> p.Operation:
    return p.Operation(
        operation.name,
        tuple(
            (name, _operation(value) if isinstance(value, typed.OperationInfo) else value)
            for name, value in operation.options
        ),
    )


# ---------------------------------------------------------------- phases


def _descent(program: typed.TypedProgram, descent: typed.Descent) -> p.Descent:
    patience = program.adapt.patience
    return p.Descent(
        name=f"{descent.name} with {descent.optimizer.name}",
        loss=_value(program, descent.loss),
        loss_name=descent.name,
        optimizer=_optimizer(descent.optimizer),
        steps=descent.steps,
        batch=program.data.batch,
        keeps_state=program.explore.state == "lasting",
        parts=program.data.parts,
        most=None if patience is None else patience.most,
    )


def _others(
    program: typed.TypedProgram,
) -> Iterator[p.Evolution | p.Perturbation | p.Averaged]:
    explore = program.explore
    for each in explore.evolutions:
        options: dict[str, Any] = dict(each.strategy.options)
        yield p.Evolution(
            name=each.name,
            objective=_objective(program, each.objective),
            population=options["population"],
            sigma=options["sigma"],
            learning_rate=options["learning_rate"],
            generations=each.generations,
            batch=program.data.batch,
        )
    for noise in explore.perturbations:
        scale = dict(noise.noise.options)["scale"]
        assert isinstance(scale, int | float)
        for draw in range(1, noise.draws + 1):
            yield p.Perturbation(f"{noise.name} draw {draw}", scale)
    for count in explore.averages:
        yield p.Averaged(f"average of the last {count} accepted", count)


def _objective(program: typed.TypedProgram, objective: typed.ObjectiveInfo) -> p.ObjectivePlan:
    return p.ObjectivePlan(
        name=objective.name,
        value=_measured(program, objective.value),
        direction=objective.direction,
        target=objective.target,
        range=objective.range,
        clips=objective.clips,
    )


def _rule(program: typed.TypedProgram) -> p.Rule:
    adapt = program.adapt
    claims = tuple(
        _claim(program, _objective(program, each), 1.0, adapt.margin) for each in adapt.objectives
    )
    match adapt.rule:
        case "gate":
            return p.Gate(claims, adapt.delta, adapt.scope == "each time")
        case "challenger":
            return p.Challenger(claims, adapt.delta)
        case "reference":
            assert adapt.widths is not None, "the checker fills in the widths"
            return p.Reference(claims, *adapt.widths, adapt.evaluate)


def _patience(program: typed.TypedProgram) -> p.Patience | None:
    patience = program.adapt.patience
    if patience is None:
        return None
    return p.Patience(
        patience.iterations,
        patience.lengthen,
        None if patience.growing is None else _growing(program, patience.growing),
        patience.restarts,
    )


def _growing(program: typed.TypedProgram, growing: typed.GrowingInfo) -> p.Growing:
    return p.Growing(
        tuple(_operation(each) for each in growing.operators),
        growing.choice,
        tuple(
            p.Limit(each.name, _value(program, each.value), each.most, each.is_strict)
            for each in growing.limits
        ),
    )


def _claim(
    program: typed.TypedProgram, measure: p.ObjectivePlan, factor: float, margin: float
) -> p.Claim:
    """The claim with the test that its kind of value has; only single examples are counted."""
    split = program.data.split
    is_counted = split is None or not split.has_units
    match measure.value.level:
        case "example" if measure.is_binary and (factor, margin) == (1, 0) and is_counted:
            return p.Claim(measure, factor, margin, "mcnemar")
        case "example":
            return p.Claim(measure, factor, margin, "betting")
        case "set":
            return p.Claim(measure, factor, margin, "bootstrap")
        case _:
            return p.Claim(measure, factor, margin, None)


def _guard(program: typed.TypedProgram, guard: typed.GuardInfo) -> p.Guard:
    claim = _claim(program, _objective(program, guard.measure), guard.factor, guard.margin)
    return p.Guard(guard.name, claim, guard.is_strict, guard.is_proven)


def _stop(stop: typed.StopInfo) -> p.StopPlan:
    return p.StopPlan(
        iterations=stop.iterations,
        seconds=stop.seconds,
        any_of=tuple(
            tuple(p.Condition(each.objective, each.operator, each.value) for each in parts)
            for parts in stop.any_of
        ),
        when_targets_met=stop.when_targets_met,
    )


def _shown(program: typed.TypedProgram, shown: typed.ShownInfo) -> p.Shown:
    objective = program.objectives.get(shown.name)
    if objective is not None:
        return p.Shown(
            shown.name,
            _value(program, objective.value),
            "higher" if objective.direction == "maximize" else "lower",
            objective.range,
        )
    metric = program.metrics.get(shown.name)
    value = shown.value if metric is None else metric.value
    bounds = measured(value.facts).range if metric is None else metric.range
    return p.Shown(shown.name, _value(program, value), None, bounds)
