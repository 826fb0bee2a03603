"""What a spec's growth comes to: operators that its models can't take, limits without room."""

from __future__ import annotations

from collections.abc import Iterator

from ev3lang.check import errors, typed
from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.plan.growth.copies import Unfit
from ev3lang.plan.growth.grown import grown_plans
from ev3lang.plan.lower import lower
from ev3lang.plan.memory import examples_of
from ev3lang.plan.plan import Architecture, Growing, Limit, Operation
from ev3lang.plan.room import MOST_BYTES, need, written_bytes
from ev3lang.plan.stages import fact, is_kept
from ev3lang.source import Span


def review_size(program: typed.TypedProgram) -> Iterator[Diagnostic]:
    """A run that no machine has the memory for, as it starts."""
    plan = lower(program)
    needed = need(plan, examples_of(plan.data))
    if needed.total > MOST_BYTES:
        sizes = written_bytes(needed.total), needed.words, written_bytes(MOST_BYTES)
        yield errors.run_too_large(program.explore.span, *sizes)


def review_growth(program: typed.TypedProgram) -> Iterator[Diagnostic]:
    """What is wrong with the growth of a program that is right by itself; it has to grow."""
    plan = lower(program)
    assert plan.patience is not None and plan.patience.growing is not None
    assert program.adapt.patience is not None and program.adapt.patience.growing is not None
    growing, written = plan.patience.growing, program.adapt.patience.growing
    unfit = list(_unfit(plan.architecture, growing, written))
    yield from unfit
    if unfit:
        return
    below = list(_below_start(plan.architecture, growing, written))
    yield from below
    if not below:
        yield from _never_starts(plan.architecture, growing, written)


def _unfit(
    architecture: Architecture, growing: Growing, written: typed.GrowingInfo
) -> Iterator[Diagnostic]:
    """Operators that the models can't take as they are at the start."""
    for operation, place in zip(growing.operations, written.operators, strict=True):
        refusal = _refusal(architecture, operation)
        if refusal is not None:
            fresh = Operation("fresh", (("operator", operation),))
            is_fresh_possible = operation.name != "fresh" and not _refusal(architecture, fresh)
            yield errors.growth_unfit(place.span, refusal.model, str(refusal), is_fresh_possible)


def _refusal(architecture: Architecture, operation: Operation) -> Unfit | None:
    """Why an operator can't grow a group, and which of its models forbids it; None if it can."""
    try:
        grown_plans(architecture, operation)
    except Unfit as reason:
        return reason
    return None


def _below_start(
    architecture: Architecture, growing: Growing, written: typed.GrowingInfo
) -> Iterator[Diagnostic]:
    """Limits that the models are beyond before they grow."""
    for limit, place in zip(growing.limits, written.limits, strict=True):
        try:
            is_beyond = not is_kept(limit, architecture)
        except ZeroDivisionError:
            yield errors.limit_without_value(place.span, place.value.span)
            continue
        if is_beyond:
            start = _value(limit, architecture)
            yield errors.limit_below_start(place.span, start, limit.most, limit.is_strict)


def _never_starts(
    architecture: Architecture, growing: Growing, written: typed.GrowingInfo
) -> Iterator[Diagnostic]:
    """Growth whose first step is beyond a limit by every operator."""
    beyond: list[tuple[Span, float, str]] = []
    for operation, place in zip(growing.operations, written.operators, strict=True):
        grown = grown_plans(architecture, operation)
        limits = zip(growing.limits, written.limits, strict=True)
        broken = next((each for each in limits if not is_kept(each[0], grown)), None)
        if broken is None:
            return
        beyond.append((place.span, _value(broken[0], grown), broken[1].span.text))
    yield errors.growth_never_starts(written.span, beyond)


def _value(limit: Limit, architecture: Architecture) -> float:
    """What models of an architecture have of that which is limited."""
    return fact(limit.value, {model.name: model for model in architecture})
