"""Statistics before spending: what a split of this size can show at this confidence."""

from __future__ import annotations

from itertools import pairwise

import attrs

from ev3lang.check import bounds, errors, expressions, typed
from ev3lang.check.arguments import known_number
from ev3lang.check.checking import Checking
from ev3lang.diagnostics.diagnostic import Diagnostic
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
        deciding = Deciding.of(info)
        _objectives(checking, adapt, deciding, place)
        if info is not None:
            _guards(checking, adapt, guards, deciding)


@attrs.frozen
class Deciding:
    """What decides on acceptance: so many examples of adapt, or groups or blocks of them.

    count      None where the spec doesn't say
    units      what they are called where they aren't single examples: `groups by patient`
    fullness   how full they are in the mean, as a share of the largest
    """

    count: int | None
    units: str | None = None
    fullness: float = 1.0

    @staticmethod
    def of(info: typed.DataInfo | None) -> Deciding:
        if info is None:
            return Deciding(None)
        split = info.split
        if split is None or not split.has_units:
            return Deciding(info.examples("adapt"))
        words = "blocks" if split.block is not None else f"groups by {split.by}"
        return Deciding(info.units("adapt"), words, info.fullness)


# ---------------------------------------------------------------- objectives


def _objectives(
    checking: Checking, adapt: typed.AdaptInfo, deciding: Deciding, place: Span
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
        if deciding.count is None:
            continue
        needed = _needed(objective, adapt.margin, delta, deciding)
        if deciding.count < needed:
            checking.report(_no_power(adapt, deciding, deciding.count, needed, place))
            return
        smallest = _smallest(objective, adapt, deciding, deciding.count)
        _aims_apart(checking, objective, deciding.count, smallest, deciding.units)


def _no_power(
    adapt: typed.AdaptInfo, deciding: Deciding, count: int, needed: int, place: Span
) -> Diagnostic:
    if deciding.units is None:
        return errors.no_power(place, count, needed, adapt.confidence, adapt.runs)
    return errors.few_units(place, count, needed, adapt.confidence, deciding.units, adapt.runs)


def _is_counted(objective: typed.ObjectiveInfo, margin: float, deciding: Deciding) -> bool:
    """Whether McNemar's test decides: by right and wrong alone, without a margin or groups."""
    is_answer = objective.value.facts.type.kind == "bool"
    return is_answer and margin == 0 and deciding.units is None


def _width(objective: typed.ObjectiveInfo) -> float:
    assert objective.range is not None, "evidence about a mean needs a range"
    low, high = objective.range
    return high - low


def _needed(objective: typed.ObjectiveInfo, margin: float, delta: float, deciding: Deciding) -> int:
    """The fewest units on which any gain beyond the margin can be shown at all."""
    if _is_counted(objective, margin, deciding):
        return bounds.least_wins(delta)
    width = _width(objective)
    return bounds.examples_for(delta, deciding.fullness * (width - margin) / (width + margin))


def _smallest(
    objective: typed.ObjectiveInfo, adapt: typed.AdaptInfo, deciding: Deciding, count: int
) -> float:
    """The smallest gain that can be shown at the whole of delta, in the objective's unit."""
    delta = adapt.delta
    if _is_counted(objective, adapt.margin, deciding):
        return bounds.least_wins(delta) / count
    scale = _width(objective) + adapt.margin
    return adapt.margin + scale * bounds.least_excess(delta, count) / deciding.fullness


def _aims_apart(
    checking: Checking,
    objective: typed.ObjectiveInfo,
    count: int,
    smallest: float,
    units: str | None,
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
                    other.span, one.span, count, smallest, high - low, units, is_share=is_share
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
    deciding: Deciding,
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
        count, excess = deciding.count, excess * deciding.fullness
        needed = None if excess <= 0 else bounds.examples_for(level, excess)
        if needed is None or (count is not None and count < needed):
            checking.report(
                errors.guard_never_proven(
                    written.span,
                    guard.name,
                    count,
                    needed,
                    deciding.units,
                    is_of_equals=is_of_equals,
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
