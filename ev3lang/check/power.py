"""Statistics before spending: what a split of this size can show at this confidence."""

from __future__ import annotations

from itertools import pairwise

from ev3lang.check import bounds, errors, expressions, typed
from ev3lang.check.arguments import known_number
from ev3lang.check.checking import Checking
from ev3lang.source import Span
from ev3lang.syntax import tree

DEFAULT_CONFIDENCE = 0.95


def review(
    checking: Checking,
    info: typed.DataInfo | None,
    adapt: typed.AdaptInfo | None,
    guards: tuple[typed.GuardInfo, ...],
    iterations: int | None,
) -> None:
    """Warn of what the adapt split can't show, and of confidence that adds up to little."""
    block = checking.names.adapt
    if block is None or adapt is None:
        return
    accept = next(each for each in block.items if isinstance(each, tree.Accept))
    place = accept.span if accept.confidence is None else accept.confidence.span
    if adapt.rule == "reference":
        rule = next(each for each in block.items if isinstance(each, tree.Rule))
        checking.report(errors.no_promise(rule.span))
        return
    if adapt.confidence < 0.5:
        checking.report(errors.low_confidence(place, adapt.confidence))
    if adapt.scope == "each time" and iterations is not None:
        ever = 1 - adapt.confidence**iterations
        checking.report(
            errors.confidence_each_time(accept.span, adapt.confidence, iterations, ever)
        )
    # Under rule challenger the examples never run out.
    if adapt.rule == "gate":
        _objectives(checking, adapt, None if info is None else info.examples("adapt"), place)
        if info is not None:
            _guards(checking, adapt, guards, info.examples("adapt"))


# ---------------------------------------------------------------- objectives


def _objectives(
    checking: Checking, adapt: typed.AdaptInfo, examples: int | None, place: Span
) -> None:
    """Report objectives of which nothing can be shown, and aims that can't be told apart."""
    delta = adapt.delta
    for objective in adapt.objectives:
        if objective.value.facts.level == "set":
            if not bounds.is_affordable(delta):
                most = bounds.MOST_RESAMPLES
                checking.report(
                    errors.no_resamples(place, objective.name, adapt.confidence, most, adapt.runs)
                )
            continue
        if examples is None:
            continue
        needed = _needed(objective, adapt.margin, delta)
        if examples < needed:
            checking.report(errors.no_power(place, examples, needed, adapt.confidence, adapt.runs))
            return
        _aims_apart(checking, objective, examples, _smallest(objective, adapt, examples))


def _is_counted(objective: typed.ObjectiveInfo, margin: float) -> bool:
    """Whether McNemar's test decides: by right and wrong alone, without a margin."""
    return objective.value.facts.type.kind == "bool" and margin == 0


def _width(objective: typed.ObjectiveInfo) -> float:
    assert objective.range is not None, "evidence about a mean needs a range"
    low, high = objective.range
    return high - low


def _needed(objective: typed.ObjectiveInfo, margin: float, delta: float) -> int:
    """The fewest examples on which any gain beyond the margin can be shown at all."""
    if _is_counted(objective, margin):
        return bounds.least_wins(delta)
    width = _width(objective)
    return bounds.examples_for(delta, (width - margin) / (width + margin))


def _smallest(objective: typed.ObjectiveInfo, adapt: typed.AdaptInfo, examples: int) -> float:
    """The smallest gain that can be shown at the whole of delta, in the objective's unit."""
    delta = adapt.delta
    if _is_counted(objective, adapt.margin):
        return bounds.least_wins(delta) / examples
    scale = _width(objective) + adapt.margin
    return adapt.margin + scale * bounds.least_excess(delta, examples)


def _aims_apart(
    checking: Checking, objective: typed.ObjectiveInfo, examples: int, smallest: float
) -> None:
    """Two aims for one objective, closer together than a gain that can be shown."""
    declaration = checking.names.declared[objective.name]
    assert isinstance(declaration, tree.Objective)
    aims: list[tuple[float, tree.Expression]] = []
    if declaration.target is not None and objective.target is not None:
        aims.append((objective.target, declaration.target))
    adapt = checking.names.adapt
    for stop in adapt.items if adapt else ():
        for condition in stop.conditions if isinstance(stop, tree.Stop) else ():
            if isinstance(condition, tree.StopWhen):
                aims.extend(_aims(checking, condition.condition, objective.name))
    is_share = objective.value.facts.type.kind == "bool" or objective.range == (0.0, 1.0)
    aims.sort(key=lambda aim: aim[0])
    for (low, one), (high, other) in pairwise(aims):
        if 0 < high - low < smallest:
            checking.report(
                errors.low_power(
                    other.span, one.span, examples, smallest, high - low, is_share=is_share
                )
            )


def _aims(
    checking: Checking, condition: tree.Expression, name: str
) -> list[tuple[float, tree.Expression]]:
    if not isinstance(condition, tree.Binary):
        return []
    if condition.operator == "and":
        sides = (condition.left, condition.right)
        return [aim for side in sides for aim in _aims(checking, side, name)]
    for one, other in ((condition.left, condition.right), (condition.right, condition.left)):
        if isinstance(one, tree.Name) and one.text == name and isinstance(other, tree.Number):
            expr = expressions.infer(checking, other)
            number = None if expr is None else known_number(checking, expr)
            return [] if number is None else [(float(number), other)]
    return []


# ---------------------------------------------------------------- guards


def _written_guards(checking: Checking) -> list[tree.Guard]:
    block = checking.names.assess
    return [each for each in (block.items if block else ()) if isinstance(each, tree.Guard)]


def _guards(
    checking: Checking,
    adapt: typed.AdaptInfo,
    guards: tuple[typed.GuardInfo, ...],
    examples: int | None,
) -> None:
    """Report guards whose proof the adapt split can't give at the first question's level."""
    delta = adapt.delta
    level = delta if adapt.scope == "each time" else delta / bounds.FIRST_QUERY
    for written, guard in zip(_written_guards(checking), guards, strict=True):
        measure = guard.measure
        if not guard.is_proven or measure.range is None or measure.value.facts.level == "set":
            continue
        excess, is_of_equals = bounds.best_excess(
            *measure.range,
            is_falling=measure.direction == "minimize",
            factor=guard.factor,
            margin=guard.margin,
        )
        needed = None if excess <= 0 else bounds.examples_for(level, excess)
        if needed is None or (examples is not None and examples < needed):
            checking.report(
                errors.guard_never_proven(
                    written.span, guard.name, examples, needed, is_of_equals=is_of_equals
                )
            )


def review_guards(checking: Checking) -> None:
    """Warn of a guard that holds whatever a candidate does."""
    for guard in _written_guards(checking):
        condition = guard.condition
        if not isinstance(condition, tree.Binary):
            continue
        left = expressions.infer(checking, condition.left, expressions.Scope(is_measured=True))
        right = condition.right
        if left is None or left.facts.range is None or not isinstance(right, tree.Number):
            continue
        expr = expressions.infer(checking, right)
        number = None if expr is None else known_number(checking, expr)
        if number is None:
            continue
        low, high = left.facts.range
        always = {">=": number <= low, ">": number < low, "<=": number >= high, "<": number > high}
        never = {">=": number > high, ">": number >= high, "<=": number < low, "<": number <= low}
        if always.get(condition.operator):
            checking.report(errors.guard_never_fails(guard.span, condition.left.span.text))
        elif never.get(condition.operator):
            checking.report(
                errors.never_met(right.span, condition.left.span.text, (low, high), number)
            )
