"""What a growth operator makes of a model's plan, or why it can't; no array is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ev3lang.plan.growth.copies import Growth, Unfit, written
from ev3lang.plan.growth.deepen import deepen, deepen_every_stage
from ev3lang.plan.growth.widen import fresh, widen, widen_stage
from ev3lang.plan.plan import ModelPlan, Operation


def growth(model: ModelPlan, operation: Operation) -> Growth:
    """The larger model, and what becomes of each array.

    operation   of the catalogue's GROWTH, with all its options
    Raises Unfit, a ValueError, where the operator can't keep this model's function.
    """
    if model.module is not None:
        raise Unfit(
            f"{written(operation)} knows the layers of the language, and {model.name} is made by "
            f"{model.module.target}"
        )
    return TABLE[operation.name](model, operation)


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


def grown_plans(models: Iterable[ModelPlan], operation: Operation) -> tuple[ModelPlan, ...]:
    """A group's models after growth: what is explored grows, all else stays. Raises as `growth`."""
    return tuple(grown_plan(model, operation) if model.is_explored else model for model in models)


TABLE: Mapping[str, Callable[[ModelPlan, Operation], Growth]] = {
    "widen": widen,
    "widen_stage": widen_stage,
    "deepen": deepen,
    "deepen_every_stage": deepen_every_stage,
    "fresh": fresh,
}
