"""The sizes that a run's models may grow to, and what each of them would cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

from ev3lang.plan.growth.copies import Unfit, written
from ev3lang.plan.growth.grown import grown_plans
from ev3lang.plan.memory import CHALLENGERS, memory
from ev3lang.plan.plan import Architecture, Challenger, Descent, Growing, Plan, Reference
from ev3lang.plan.stages import Member, Step, at, fact, is_kept, ladder, member, steps
from ev3lang.plan.work import flops, parameters, summed

Cost: TypeAlias = Callable[[Plan], int | None]
"""Floating-point operations of an iteration of a plan, None where they aren't known."""


@attrs.frozen
class Alternative:
    """A growth that `best of` tries beside the one that leads to a size.

    parameters, flops, work   as in `StageCost`
    """

    operation: str
    parameters: int
    flops: int
    work: int | None


@attrs.frozen
class StageCost:
    """The explored models at one size.

    operation     what leads to it, as a spec writes it; None at the start
    alternatives  what is tried as well, an iteration each
    first         the iteration that is the first one at this size if no growth comes later than
                  it must
    steps         of the longest roll-out by then, 0 without a descent
    parameters    of all explored models together
    flops         of one example's forward pass through each of them
    work          of an iteration, without candidates by members of archives; None where a part
                  isn't known
    members       candidates that archives add in the first pass if a model of each size before
                  was accepted
    taught        of an iteration with these
    memory        bytes on the device with these, and with room for what was accepted at the sizes
                  just before; None where a part isn't known
    """

    operation: str | None
    alternatives: tuple[Alternative, ...]
    first: int
    steps: int
    parameters: int
    flops: int
    work: int | None
    members: int
    taught: int | None
    memory: int | None


@attrs.frozen
class GrowthCost:
    """How the explored models of a run may grow, and to which sizes in its first pass.

    explored    the model or group that grows
    operations  those named, as a spec writes them
    choice      how one of several is taken: `only`, `or`, `best of`
    patience    iterations without progress before each growth
    stay        the fewest iterations at one size
    ends        why each operation leads no further from the last size, in words; empty where more
                sizes follow than are told
    members     candidates that archives add once every size has an accepted model
    passes      as `Plan.passes`
    restarts    whether the models start again from the smallest without an end
    work        of all iterations, with each growth as early as can be, then at the last size, and
                with all members by then; None where their number or a part isn't known
    """

    explored: str
    operations: tuple[str, ...]
    choice: Literal["only", "or", "best of"]
    limits: tuple[str, ...]
    patience: int
    stay: int
    stages: tuple[StageCost, ...]
    ends: tuple[str, ...]
    members: int
    passes: int | None
    restarts: bool
    work: int | None


def growth_cost(plan: Plan, sizes: Mapping[str, int] | None, cost: Cost) -> GrowthCost:
    """How a plan that grows may do so, and what that costs.

    sizes   examples of each split, as `memory` takes them
    """
    assert plan.patience is not None and plan.patience.growing is not None, "the plan grows"
    growing, rungs = plan.patience.growing, ladder(plan)
    last = _architectures(plan, rungs)[-1]
    is_whole = not steps(plan, last, len(rungs))
    everyone = _members(plan, _architectures(plan, rungs))
    return GrowthCost(
        explored=plan.explored,
        operations=tuple(map(written, growing.operations)),
        choice=growing.choice,
        limits=tuple(each.name for each in growing.limits),
        patience=plan.patience.iterations,
        stay=stay(plan),
        stages=tuple(_stage(plan, rungs, number, sizes, cost) for number in range(len(rungs) + 1)),
        ends=tuple(_ends(growing, last)) if is_whole else (),
        members=len(at(plan, last, members=everyone).descents) - len(plan.descents),
        passes=plan.passes,
        restarts=plan.patience.restarts,
        work=most_work(plan, cost),
    )


def most_work(plan: Plan, cost: Cost) -> int | None:
    """Operations of all iterations of a plan that grows, as `GrowthCost.work` is of them.

    Where no pass ends, roll-outs go on becoming longer at the last size.
    """
    assert plan.patience is not None
    left = plan.stop.iterations
    if left is None:
        return None
    rungs = ladder(plan)
    is_endless = plan.passes is None and not plan.patience.restarts
    parts: list[int | None] = []
    ends = 0
    while left > 0:
        number = min(ends, len(rungs))
        longer = _stretch(plan, ends) != _stretch(plan, ends + 1)
        is_last = ends >= len(rungs) and not (is_endless and longer)
        count = left if is_last else min(left, stay(plan))
        work = cost(_staged(plan, rungs, number, ends=ends))
        parts.append(None if work is None else count * work)
        if ends <= len(rungs):
            parts += [each.work for each in _alternatives(plan, rungs, ends, cost)]
        left -= count
        ends += 1
    return summed(parts)


def at_largest(plan: Plan) -> Plan:
    """The plan as it is at the last size that its iterations let it come to."""
    if not plan.grows:
        return plan
    rungs = ladder(plan)
    number = len(rungs)
    if plan.stop.iterations is not None:
        number = min(number, (plan.stop.iterations - 1) // stay(plan))
    return _staged(plan, rungs, number)


def stay(plan: Plan) -> int:
    """The fewest iterations at one size.

    The first of them is a new best of current, since there was none at that size. Under rule
    `reference` only an acceptance is progress.
    """
    assert plan.patience is not None
    return plan.patience.iterations + (0 if isinstance(plan.rule, Reference) else 1)


# ---------------------------------------------------------------- sizes


def _architectures(plan: Plan, rungs: Sequence[Step]) -> list[Architecture]:
    return [plan.architecture, *(rung.architecture for rung in rungs)]


def _stage(
    plan: Plan, rungs: Sequence[Step], number: int, sizes: Mapping[str, int] | None, cost: Cost
) -> StageCost:
    alone, taught = _alone(plan, rungs, number), _staged(plan, rungs, number)
    return StageCost(
        operation=written(rungs[number - 1].operation) if number else None,
        alternatives=tuple(_alternatives(plan, rungs, number, cost)),
        first=1 + number * stay(plan),
        steps=max((each.steps for each in alone.descents), default=0),
        parameters=_parameters(alone.architecture),
        flops=sum(map(flops, alone.architecture)),
        work=cost(alone),
        members=len(taught.descents) - len(alone.descents),
        taught=cost(taught),
        memory=memory(taught, sizes).total,
    )


def _alone(plan: Plan, rungs: Sequence[Step], number: int) -> Plan:
    """The plan after so many growths, and as many times longer roll-outs."""
    return at(_lengthened(plan, number), _architectures(plan, rungs)[number])


def _staged(plan: Plan, rungs: Sequence[Step], number: int, ends: int | None = None) -> Plan:
    """The same with all that archives can hold by then and elders of the sizes before.

    ends   how often patience has ended, where roll-outs have become longer beyond the last growth
    """
    found = _architectures(plan, rungs)
    before = found[:number]
    # A program has room for the size before, as its last model may have been accepted, and for
    # what accepted and challengers were then: at most as large.
    count = 2 + (CHALLENGERS if isinstance(plan.rule, Challenger) else 0)
    # Under rule `reference` growth replaces accepted.
    elders = () if isinstance(plan.rule, Reference) else before[-count:]
    longer = _lengthened(plan, number if ends is None else ends)
    return at(longer, found[number], elders, _members(plan, before))


def _members(plan: Plan, architectures: Iterable[Architecture]) -> tuple[Member, ...]:
    """What archives hold once a model of each of these architectures was accepted."""
    found = [
        member(archive, model)
        for architecture in architectures
        for archive in plan.archives
        for model in architecture
        if model.name == archive.model
    ]
    return tuple({each.model.name: each for each in found}.values())


def _lengthened(plan: Plan, ends: int) -> Plan:
    """The plan with roll-outs as they are once patience has ended so often."""
    stretch = _stretch(plan, ends)

    def longer(descents: Iterable[Descent]) -> tuple[Descent, ...]:
        return tuple(
            attrs.evolve(each, steps=min(round(each.steps * stretch), each.longest))
            for each in descents
        )

    return attrs.evolve(plan, descents=longer(plan.descents), by_members=longer(plan.by_members))


def _stretch(plan: Plan, ends: int) -> float:
    """How many times as long as at first roll-outs are once patience has ended so often."""
    assert plan.patience is not None
    descents = (*plan.descents, *plan.by_members)
    most = max((each.longest / each.steps for each in descents), default=1.0)
    stretch = 1.0
    for _ in range(ends if plan.patience.lengthen is not None else 0):
        assert plan.patience.lengthen is not None
        if stretch >= most:
            break
        stretch = min(stretch * plan.patience.lengthen, most)
    return stretch


def _alternatives(
    plan: Plan, rungs: Sequence[Step], number: int, cost: Cost
) -> Iterator[Alternative]:
    """What is tried beside the growth that leads to a size."""
    if number == 0:
        return
    before = _architectures(plan, rungs)[number - 1]
    for each in steps(plan, before, number - 1)[1:]:
        yield Alternative(
            operation=written(each.operation),
            parameters=_parameters(each.architecture),
            flops=sum(map(flops, each.architecture)),
            work=cost(at(_lengthened(plan, number), each.architecture)),
        )


def _ends(growing: Growing, last: Architecture) -> Iterator[str]:
    """Why no operation leads further."""
    for operation in growing.operations:
        try:
            grown = grown_plans(last, operation)
        except Unfit as reason:
            yield str(reason)
            continue
        sizes = {model.name: model for model in grown}
        broken = [
            f"{_figure(fact(limit.value, sizes))}, beyond {limit.name}"
            for limit in growing.limits
            if not is_kept(limit, grown)
        ]
        if broken:
            yield f"{written(operation)} would come to {' and to '.join(broken)}"
        else:
            yield f"{written(operation)} changes nothing"


def _figure(value: float) -> str:
    """A fact of shapes, as the language writes a long number."""
    if value >= 1e15 or value != int(value):
        return f"{value:.4g}"
    return f"{int(value):_}" if value >= 10_000 else f"{int(value)}"


def _parameters(architecture: Architecture) -> int:
    count = summed(map(parameters, architecture))
    assert count is not None, "a model that grows is made of layers"
    return count
