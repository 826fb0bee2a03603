"""Stages: what a run's plan is with models of another size, and which sizes are to come."""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, product
from typing import Any

import attrs

from ev3lang.plan.growth.copies import Unfit
from ev3lang.plan.growth.grown import grown_plans
from ev3lang.plan.plan import (
    Apply,
    Architecture,
    ArchivePlan,
    Constant,
    Descent,
    Expr,
    Forward,
    Growing,
    Limit,
    ModelPlan,
    Operation,
    Plan,
    Weights,
    inner_first,
    models_of,
    rewritten,
)
from ev3lang.plan.work import depth, flops, parameters


@attrs.frozen
class Member:
    """An accepted model that an archive holds.

    per    what the archive keeps the best for, of this model
    model  the plan of its weights, frozen, under a name of its own
    """

    archive: str
    per: float
    model: ModelPlan


@attrs.frozen
class Step:
    """A growth that is possible, and what it makes of the explored models."""

    operation: Operation
    architecture: Architecture


def steps(plan: Plan, architecture: Architecture, number: int) -> tuple[Step, ...]:
    """The growths that come next: several where each is to be tried, none where limits stop it.

    number   of growths so far in the run: what `or` draws by, beside the seed
    An operator that these models can't take, or that leads beyond a limit, is left out before one
    is drawn.
    """
    assert plan.patience is not None and plan.patience.growing is not None
    growing = plan.patience.growing
    fit = tuple(_fitting(growing, architecture))
    if growing.choice != "or" or len(fit) < 2:
        return fit
    digest = hashlib.sha256(f"{plan.seed} growth {number}".encode()).digest()
    return (fit[int.from_bytes(digest[:8], "big") % len(fit)],)


def ladder(plan: Plan) -> tuple[Step, ...]:
    """All growths of the first pass, in their order; where several are tried, as if the first won.

    At most RUNGS of them.
    """
    found: list[Step] = []
    architecture = plan.architecture
    while plan.grows and len(found) < RUNGS:
        after = steps(plan, architecture, len(found))
        if not after:
            break
        found.append(after[0])
        architecture = after[0].architecture
    return tuple(found)


RUNGS = 64
"""Growths that are told beforehand."""


def at(
    plan: Plan,
    architecture: Architecture,
    elders: Sequence[Architecture] = (),
    members: Sequence[Member] = (),
) -> Plan:
    """The plan with explored models of this architecture, and a candidate for each member.

    plan      as it was lowered
    elders    architectures that accepted or challengers may have
    """
    explored = {model.name: model for model in architecture}
    taught = (_of_members(plan.archives, each, members) for each in plan.by_members)
    return attrs.evolve(
        plan,
        models=(
            *(explored.get(model.name, model) for model in plan.models),
            *(member.model for member in members),
        ),
        descents=(*plan.descents, *chain.from_iterable(taught)),
        elders=tuple(elders),
    )


def member(archive: ArchivePlan, model: ModelPlan) -> Member:
    """The place that a model has in an archive."""
    per = fact(archive.per, {model.name: model})
    name = f"{archive.name} at {per:,g}"
    return Member(archive.name, per, attrs.evolve(model, name=name, is_explored=False, start=None))


def _of_members(
    archives: Sequence[ArchivePlan], descent: Descent, members: Sequence[Member]
) -> Iterator[Descent]:
    """The descent with each member, or each combination of them, in the place of its archive."""
    applied = [each.name for each in archives if each.name in models_of(descent.loss)]
    choices = [[each.model.name for each in members if each.archive == name] for name in applied]
    for chosen in product(*choices):
        names = dict(zip(applied, chosen, strict=True))
        yield attrs.evolve(
            descent,
            name=f"{descent.name} from {' and '.join(chosen)}",
            loss=_renamed(descent.loss, names),
        )


def _renamed(expr: Expr, names: Mapping[str, str]) -> Expr:
    def change(_: Expr, part: Expr) -> Expr:
        if isinstance(part, Forward):
            return attrs.evolve(part, model=names.get(part.model, part.model))
        return part

    return rewritten(expr, change)


# ---------------------------------------------------------------- limits


def _fitting(growing: Growing, architecture: Architecture) -> Iterator[Step]:
    for operation in growing.operations:
        try:
            grown = grown_plans(architecture, operation)
        except Unfit:
            continue
        if grown != architecture and all(is_kept(limit, grown) for limit in growing.limits):
            yield Step(operation, grown)


def is_kept(limit: Limit, architecture: Architecture) -> bool:
    """Whether models of an architecture keep to a limit."""
    value = fact(limit.value, {model.name: model for model in architecture})
    return value < limit.most if limit.is_strict else value <= limit.most


def fact(expr: Expr, sizes: Mapping[str, ModelPlan]) -> float:
    """A fact of models' shapes: what an expression of parameters, depth, flops and numbers is."""
    known: dict[Expr, float] = {}
    for part in inner_first(expr):
        match part:
            case Constant(value=value):
                known[part] = value
            case Weights():
                pass
            case Apply(function=function, inputs=(Weights(model=model),)):
                known[part] = _FACTS[function](sizes[model])
            case Apply(function=function, inputs=inputs):
                known[part] = _computed(function, [known[each] for each in inputs])
            case _:
                raise AssertionError(f"{part} is no fact of a model's shapes")
    return known[expr]


def _computed(function: str, values: Sequence[float]) -> float:
    """The value of an operator; infinite where it is beyond a float."""
    try:
        return float(_ARITHMETIC[function](*map(float, values)))
    except OverflowError:
        return math.inf


def _parameters(model: ModelPlan) -> int:
    count = parameters(model)
    assert count is not None, f"{model.name} is made of layers, or it could not grow"
    return count


_FACTS: Mapping[str, Callable[[ModelPlan], float]] = {
    "parameters": _parameters,
    "depth": depth,
    "flops": flops,
}

_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
    "negate": operator.neg,
}
"""Functions of numbers that a fact may be computed by."""
