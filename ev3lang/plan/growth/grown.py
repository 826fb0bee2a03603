"""What a growth operator makes of a model's plan, or why it can't; no array is touched.

An operator is a function from a model's plan to a `Larger` one. A new one takes a file beside
this one, a line in `TABLE` and, for the checker and the docs, an entry in the catalogue's GROWTH.
It says by which recipe each array of the larger model is made; `widths` knows what the axes of each
are over. All else follows: weights and the averages of optimizers grow by recipes, and limits,
costs and `fresh(OPERATOR)` read the plan. Only a role of an axis, or a start of an array, that is
new takes more: its case in `backend/growth.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ev3lang.check.limits import MOST_LAYERS, MOST_PARAMETERS
from ev3lang.plan.growth.copies import Growth, Larger, NothingGrows, Unfit, written
from ev3lang.plan.growth.deepen import deepen, deepen_every_stage
from ev3lang.plan.growth.widen import widen, widen_stage
from ev3lang.plan.plan import ModelPlan, Operation
from ev3lang.plan.work import layers, parameters, widest_layer


@functools.lru_cache(maxsize=256)
def growth(model: ModelPlan, operation: Operation) -> Growth:
    """The larger model, and what becomes of each array.

    operation   of the catalogue's GROWTH, with all its options
    Raises Unfit, a ValueError, where the operator can't keep this model's function.
    """
    try:
        return _growth(model, operation)
    except Unfit as reason:
        reason.model = model.name
        raise


def _growth(model: ModelPlan, operation: Operation) -> Growth:
    if model.module is not None:
        raise Unfit(
            f"{written(operation)} knows the layers of the language, and {model.name} is made by "
            f"{model.module.target}"
        )
    larger = TABLE[operation.name](model, operation)
    _require_size(larger.plan, operation)
    recipes = None if larger.recipes is None else larger.recipes()
    noise = dict[str, Any](operation.options).get("noise", 0.0)
    return Growth(larger.plan, recipes, float(noise))


MOST_UNITS = 2**20
"""Units of a layer that growth makes: what each is a copy of is told one by one."""


def _require_size(larger: ModelPlan, operation: Operation) -> None:
    """Raises Unfit for a model that no program could hold, before its arrays are described."""
    depth, count, units = layers(larger), parameters(larger), widest_layer(larger)
    words = f"{written(operation)} would come to"
    if depth > MOST_LAYERS:
        raise Unfit(f"{words} {depth:_} layers, more than the {MOST_LAYERS:_} that can be compiled")
    if units > MOST_UNITS:
        raise Unfit(f"{words} {units:_} units in a layer, and growth makes {MOST_UNITS:_} at most")
    if count is not None and count > MOST_PARAMETERS:
        raise Unfit(
            f"{words} {count:.3g} parameters, more than the {MOST_PARAMETERS:.3g} that a run can "
            "hold"
        )


def grown_plan(model: ModelPlan, operation: Operation) -> ModelPlan:
    """The model after growth: hidden widths, blocks, layers and shapes. Raises as `growth`."""
    return growth(model, operation).plan


def fits(model: ModelPlan, operation: Operation) -> str | None:
    """Why the operator can't grow the model, as a sentence without its point; None if it can."""
    try:
        growth(model, operation)
    except Unfit as reason:
        return str(reason)
    return None


def growths(models: Iterable[ModelPlan], operation: Operation) -> dict[str, Growth | None]:
    """What becomes of each explored model of a group, None for one that stays as it is.

    A head without anything to make larger stays while its trunk grows. Raises as `growth`, where
    one of them can't keep its function or nothing grows in any.
    """
    found: dict[str, Growth | None] = {}
    nothing: NothingGrows | None = None
    for model in models:
        if model.is_explored:
            try:
                found[model.name] = growth(model, operation)
            except NothingGrows as reason:
                found[model.name], nothing = None, nothing or reason
    if nothing is not None and not any(found.values()):
        raise nothing
    return found


def grown_plans(models: Iterable[ModelPlan], operation: Operation) -> tuple[ModelPlan, ...]:
    """A group after growth: what is explored grows, all else stays. Raises as `growths`."""
    models = tuple(models)
    found = growths(models, operation)
    return tuple(
        grown.plan if (grown := found.get(model.name)) is not None else model for model in models
    )


def fresh(model: ModelPlan, operation: Operation) -> Larger:
    """The plan that another operator leads to, with weights that are drawn anew.

    An operator that can't keep the function serves as well, if its larger plan is one.
    """
    inner = dict[str, Any](operation.options)["operator"]
    return Larger(TABLE[inner.name](model, inner).plan, None)


TABLE: Mapping[str, Callable[[ModelPlan, Operation], Larger]] = {
    "widen": widen,
    "widen_stage": widen_stage,
    "deepen": deepen,
    "deepen_every_stage": deepen_every_stage,
    "fresh": fresh,
}
