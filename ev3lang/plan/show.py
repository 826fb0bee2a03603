"""What a run would cost and what it could prove, before anything is spent: pure Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import attrs

from ev3lang.plan.growing import GrowthCost, at_largest, growth_cost, most_work
from ev3lang.plan.known import pool
from ev3lang.plan.memory import CHALLENGERS, Memory, examples_of, memory
from ev3lang.plan.plan import (
    Apply,
    Averaged,
    Candidate,
    Challenger,
    Descent,
    Evolution,
    Expr,
    Extern,
    Forward,
    Gate,
    Perturbation,
    Plan,
    Reference,
    TrainedBy,
    holding,
    models_of,
    parts_of,
    reads,
    subexpressions,
    uses,
)
from ev3lang.plan.prospects import Prospects, prospects
from ev3lang.plan.sweep import Point
from ev3lang.plan.work import flops, parameters, summed

# ---------------------------------------------------------------- what is told


@attrs.frozen
class ModelCost:
    """A model's size, each None for a class of the user's, which nothing has loaded yet.

    parameters   numbers that it learns
    flops        floating-point operations of one example's forward pass
    """

    name: str
    parameters: int | None
    flops: int | None
    is_explored: bool


@attrs.frozen
class CandidateCost:
    """What a candidate takes each iteration.

    steps        gradient steps of a descent, generations of an evolution, else 0
    longest      the same where roll-outs may become longer; work is told of `steps`
    population   members of a generation, else 0
    batch        examples of a step or a generation, else 0
    flops        without those of frozen models; None where a model's aren't known
    """

    name: str
    kind: Literal["descent", "evolution", "perturbation", "average"]
    steps: int
    longest: int
    population: int
    batch: int
    flops: int | None


@attrs.frozen
class Work:
    """Floating-point operations, each None where something that they depend on isn't known.

    explore   of an iteration: three forward passes a gradient step, one a member of a generation
    frozen    of it, by frozen models, whose outputs are shared by descents of the same batches
    assess    of an iteration: every candidate on the assess examples
    adapt     of a question under rule `gate`, of an iteration under the others
    before    of training teachers and computing their outputs, once
    after     of the baselines, once
    """

    explore: int | None
    frozen: int | None
    assess: int | None
    adapt: int | None
    before: int | None
    after: int | None


@attrs.frozen
class ExternCost:
    """A function of the user's, what it computes being nowhere counted.

    is_host   whether each iteration ends a segment on the device and waits for it
    calls     an iteration, of a host's: once for each model that is measured and each place that
              it is named in
    examples  of each call, of a host's; None where they aren't known
    """

    name: str
    is_host: bool
    calls: int | None
    examples: int | None


@attrs.frozen
class Preview:
    """What a run of a plan costs and could prove.

    iterations   at most, None where the spec doesn't count them
    runs         of the sweep that it is a point of, which share the chance to be wrong
    rows         of the source, None where they aren't known before the data are read, or endless
    sizes        examples of each split; of an endless source those of an evaluation draw
    models, candidates, work   as the run starts, whatever grows later
    by_members   what each member of an archive adds where it becomes a teacher, by descent
    growth       None where models stay as they are
    memory       at the largest size that the run can come to
    """

    name: str
    iterations: int | None
    seconds: float | None
    runs: int
    source: str
    is_endless: bool
    rows: int | None
    sizes: Mapping[str, int] | None
    models: tuple[ModelCost, ...]
    candidates: tuple[CandidateCost, ...]
    by_members: tuple[CandidateCost, ...]
    externs: tuple[ExternCost, ...]
    work: Work
    growth: GrowthCost | None
    memory: Memory
    evidence: Prospects


def preview(plan: Plan) -> Preview:
    """What a run of a plan costs and could prove; reads no data and loads no backend."""
    sizes = examples_of(plan.data)
    return Preview(
        name=plan.name,
        iterations=plan.stop.iterations,
        seconds=plan.stop.seconds,
        runs=plan.runs,
        source=plan.data.source,
        is_endless=plan.data.is_endless,
        rows=plan.data.rows,
        sizes=sizes,
        models=tuple(
            ModelCost(each.name, parameters(each), _forward(each.name, plan), each.is_explored)
            for each in plan.models
        ),
        candidates=tuple(_candidate(plan, each, sizes) for each in plan.candidates),
        by_members=tuple(_candidate(plan, each, sizes) for each in plan.by_members),
        externs=tuple(_extern(plan, each, sizes) for each in plan.externs),
        work=_work(plan, sizes),
        growth=growth_cost(plan, sizes, partial(_whole, sizes=sizes)) if plan.grows else None,
        memory=memory(at_largest(plan), sizes),
        evidence=prospects(plan, sizes),
    )


@attrs.frozen
class PointCost:
    """Runs of a sweep that differ in their seed alone.

    settings     each other axis's value, as `--set` takes it
    parameters   that the explored models learn at the start
    flops        of all iterations of all of them, without growth; None where that isn't known
    most         the same with each growth as early as can be
    """

    settings: Mapping[str, str]
    runs: int
    parameters: int | None
    flops: int | None
    most: int | None


def point_costs(points: Sequence[Point]) -> tuple[PointCost, ...]:
    """What the runs of a sweep cost, without teachers, questions and baselines."""
    alike: dict[tuple[tuple[str, str], ...], list[Plan]] = {}
    for point in points:
        settings = tuple((name, value) for name, value in point.settings.items() if name != "seed")
        alike.setdefault(settings, []).append(point.plan)
    return tuple(_point(dict(settings), plans) for settings, plans in alike.items())


def _point(settings: Mapping[str, str], plans: Sequence[Plan]) -> PointCost:
    """What runs cost that differ in their seed alone."""
    plan, sizes = plans[0], examples_of(plans[0].data)

    def cost(plan: Plan) -> int | None:
        work = _work(plan, sizes)
        return summed((work.explore, work.assess))

    flops = _times(len(plans), _times(plan.stop.iterations, cost(plan)))
    # What `or` draws depends on the seed.
    most = summed(most_work(each, cost) for each in plans) if plan.grows else flops
    return PointCost(settings, len(plans), summed(map(parameters, plan.architecture)), flops, most)


# ---------------------------------------------------------------- work


def _whole(plan: Plan, sizes: Mapping[str, int] | None) -> int | None:
    """Operations of an iteration, without the questions of rule `gate`."""
    work = _work(plan, sizes)
    adapt = () if isinstance(plan.rule, Gate) else (work.adapt,)
    return summed((work.explore, work.assess, *adapt))


def _forward(name: str, plan: Plan) -> int | None:
    model = next(each for each in plan.models if each.name == name)
    return None if model.module is not None else flops(model)


def _passes(plan: Plan, applications: Iterable[Forward]) -> int | None:
    """Operations of applying models to one example, each application once."""
    return summed(_forward(each.model, plan) for each in dict.fromkeys(applications))


def _applications(*exprs: Expr) -> list[Forward]:
    return [part for part in subexpressions(*exprs) if isinstance(part, Forward)]


def _times(factor: int | None, count: int | None) -> int | None:
    # What is done no times costs nothing, known or not.
    if 0 in (factor, count):
        return 0
    return None if factor is None or count is None else factor * count


def _of_step(plan: Plan, loss: Expr) -> int | None:
    """Operations of a gradient step for each example of its batch, but for frozen models.

    A gradient takes two forward passes more, of what lies behind the explored weights only.
    """
    explored = {model.name for model in plan.models if model.is_explored}
    moving = holding(loss, wanted=uses(explored))
    return _times(3, _passes(plan, (each for each in _applications(loss) if each in moving)))


def _frozen(plan: Plan, loss: Expr) -> set[Forward]:
    """The applications of frozen models that a gradient step has to compute.

    What such a model makes of unchanging fields is computed before the first step.
    """
    explored = {model.name for model in plan.models if model.is_explored}
    ready = set(_applications(*_ready(plan, loss)))
    moving = holding(loss, wanted=uses(explored))
    return {each for each in _applications(loss) if each not in ready and each not in moving}


def _of_frozen(plan: Plan, sizes: Mapping[str, int] | None) -> int | None:
    """Operations of frozen models in an iteration's gradient steps.

    Descents that step side by side through the same batches compute each application once.
    """
    applied: dict[tuple[int, str, tuple[str, ...]], set[Forward]] = {}
    for each in plan.descents:
        batch = _batch(plan, each.loss, each.batch, sizes)
        together = each.name if plan.batches == "fresh" or each.parts > 1 else ""
        rows = pool(plan.data, each.loss)
        applied.setdefault((each.steps * batch, together, rows), set()).update(
            _frozen(plan, each.loss)
        )
    return summed(
        _times(examples, _passes(plan, found)) for (examples, _, _), found in applied.items()
    )


def _ready(plan: Plan, expr: Expr) -> Iterator[Forward]:
    """The largest applications of frozen models that are the same whenever they are drawn."""
    if plan.data.is_endless:
        return
    explored = {model.name for model in plan.models if model.is_explored}
    changing = {each.field for each in plan.data.augmented}
    changing |= {each.field for each in plan.data.known}
    moving = holding(expr, wanted=uses(explored)) | holding(expr, wanted=reads(changing))

    def inside(part: Expr) -> tuple[Expr, ...]:
        return parts_of(part) if part in moving or not isinstance(part, Forward) else ()

    for part in subexpressions(expr, inside=inside):
        if isinstance(part, Forward) and part not in moving:
            yield part


def _batch(plan: Plan, loss: Expr, batch: int, sizes: Mapping[str, int] | None) -> int:
    """Examples of a step: fewer than a batch where fewer are there to draw."""
    known = {each.field: each.count for each in plan.data.known}
    rows = [known[name] for name in pool(plan.data, loss)]
    # Of several fields those of either count, and how many share some isn't known.
    most = rows[0] if len(rows) == 1 else None
    if not rows and sizes is not None:
        most = sizes.get("explore")
    return batch if most is None else min(batch, most)


def _candidate(plan: Plan, candidate: Candidate, sizes: Mapping[str, int] | None) -> CandidateCost:
    match candidate:
        case Descent(name=name, loss=loss, steps=steps):
            batch = _batch(plan, loss, candidate.batch, sizes)
            work = _times(steps * batch, _of_step(plan, loss))
            return CandidateCost(name, "descent", steps, candidate.longest, 0, batch, work)
        case Evolution(name=name, population=population, generations=generations):
            batch = _batch(plan, candidate.objective.value, candidate.batch, sizes)
            forward = _passes(plan, _applications(candidate.objective.value))
            work = _times(population * generations * batch, forward)
            return CandidateCost(
                name, "evolution", generations, generations, population, batch, work
            )
        case Perturbation(name=name):
            return CandidateCost(name, "perturbation", 0, 0, 0, 0, 0)
        case Averaged(name=name):
            return CandidateCost(name, "average", 0, 0, 0, 0, 0)


def _work(plan: Plan, sizes: Mapping[str, int] | None) -> Work:
    known = {} if sizes is None else sizes
    frozen = _of_frozen(plan, sizes)
    drawn = _draw(plan)
    on_assess = known.get("assess") if drawn is None else drawn
    on_adapt = known.get("adapt") if drawn is None else drawn
    measured = _passes(plan, _applications(*(each.value for each in plan.measures)))
    tested = [
        *plan.rule.claims,
        *plan.proven,
    ]
    decided = _passes(plan, _applications(*(each.measure.value for each in tested)))
    match plan.rule:
        case Gate():
            adapt = _times(2, _times(on_adapt, decided))
        case Challenger():
            adapt = _times(CHALLENGERS, _times(on_adapt, measured))
        case Reference():
            adapt = _times(3, _times(on_adapt, decided))
    return Work(
        explore=summed((*(_candidate(plan, e, sizes).flops for e in plan.candidates), frozen)),
        frozen=frozen,
        assess=_times(_measured_models(plan), _times(on_assess, measured)),
        adapt=adapt,
        before=_before(plan, known.get("explore")),
        after=_after(plan, sizes),
    )


def _extern(plan: Plan, extern: Extern, sizes: Mapping[str, int] | None) -> ExternCost:
    if not extern.is_host:
        return ExternCost(extern.name, False, None, None)

    def places(*exprs: Expr) -> int:
        applied = (part for part in subexpressions(*exprs) if isinstance(part, Apply))
        return sum(part.function == extern.function for part in applied)

    measured = places(*(each.value for each in plan.measures))
    calls = measured * _measured_models(plan)
    for each in plan.others:
        if isinstance(each, Evolution):
            calls += places(each.objective.value) * each.population * each.generations
    drawn = _draw(plan)
    size = drawn if drawn is not None else None if sizes is None else sizes["assess"]
    return ExternCost(extern.name, True, calls, size)


def _measured_models(plan: Plan) -> int:
    """How many models assess measures in an iteration."""
    # On other examples than the last iteration's, current and accepted are measured anew.
    is_drawn = plan.data.is_endless or _draw(plan) is not None
    return len(plan.candidates) + (2 if is_drawn else 0)


def _draw(plan: Plan) -> int | None:
    """Examples that rule `reference` draws for a decision; None where splits are used whole."""
    if not isinstance(plan.rule, Reference) or plan.rule.evaluate is None:
        return None
    return plan.rule.evaluate * plan.data.batch


def _before(plan: Plan, explore: int | None) -> int | None:
    total: list[int | None] = []
    for model in plan.models:
        start = model.start
        if isinstance(start, TrainedBy):
            steps: int | None = start.length
            if start.unit == "epochs":
                steps = None if explore is None else start.length * max(1, explore // start.batch)
            forward = _passes(plan, _applications(start.loss))
            total.append(_times(_times(steps, 3 * start.batch), forward))
    # what members of an archive say is computed when they join, not before
    archives = {each.name for each in plan.archives}
    ready = [each for loss in plan.losses for each in _ready(plan, loss)]
    ready = [each for each in ready if archives.isdisjoint(models_of(each))]
    if ready:
        total.append(_times(explore, _passes(plan, _applications(*ready))))
    return summed(total)


def _after(plan: Plan, sizes: Mapping[str, int] | None) -> int | None:
    iterations = plan.stop.iterations
    steps = sum(each.steps for each in plan.descents)
    return summed(
        _times(
            None
            if iterations is None
            else steps * iterations * _batch(plan, each.loss, each.batch, sizes),
            summed((_of_step(plan, each.loss), _passes(plan, _frozen(plan, each.loss)))),
        )
        for each in plan.baselines
    )
