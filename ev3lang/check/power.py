"""Statistics before spending: what a split of this size can show at this confidence."""

from __future__ import annotations

import math
from itertools import pairwise

from ev3lang.check import declarations, errors, expressions, typed
from ev3lang.check.arguments import known_number
from ev3lang.check.checking import Checking
from ev3lang.syntax import tree

DEFAULT_CONFIDENCE = 0.95

FIRST_QUERY = 20
"""Rule `gate` asks its first question at a twentieth of the budget."""


def least_wins(delta: float) -> int:
    """The fewest examples that the new model alone must get right, none being lost.

    Under the hypothesis "no better" each is a fair coin at best, so k in a row have chance 2^-k.
    """
    return math.ceil(-math.log2(delta))


def smallest_gain(delta: float, examples: int) -> float:
    """The smallest gain that can be accepted at level delta, as a fraction."""
    return least_wins(delta) / examples


def guard_needs(delta: float, margin: float) -> int:
    """Adapt examples below which a guard's margin can't be proven, even for identical models.

    The betting test's best bet on a difference that is always 0, at the level of the first query.
    """
    level = delta / FIRST_QUERY
    return math.ceil(-math.log(level) / math.log1p(0.95 * margin / (1 + margin)))


def confidence(checking: Checking, accept: tree.Accept) -> float | None:
    """The confidence that is written or meant; None where it is at fault."""
    if accept.confidence is None:
        return DEFAULT_CONFIDENCE
    expr = expressions.infer(checking, accept.confidence)
    number = None if expr is None else known_number(checking, expr)
    return number if number is not None and 0 < number < 1 else None


def review(checking: Checking, info: typed.DataInfo | None, iterations: int | None) -> None:
    """Warn of what the adapt split can't show, and of confidence that adds up to little."""
    adapt = checking.names.adapt
    accepts = [e for e in (adapt.items if adapt else ()) if isinstance(e, tree.Accept)]
    if adapt is None or not accepts:
        return
    accept = accepts[0]
    trust = confidence(checking, accept)
    if trust is None:
        return
    delta = 1 - trust
    place = accept.confidence if accept.confidence is not None else accept
    if trust < 0.5:
        checking.report(errors.low_confidence(place.span, trust))
    if accept.scope == "each time" and iterations is not None:
        ever = 1 - trust**iterations
        checking.report(errors.confidence_each_time(accept.span, trust, iterations, ever))
    examples = None if info is None or info.is_endless else info.examples("adapt")
    rules = [each for each in adapt.items if isinstance(each, tree.Rule)]
    if examples is None or any(_rule(each) != "gate" for each in rules):
        return
    if examples < least_wins(delta):
        checking.report(errors.no_power(place.span, examples, least_wins(delta), trust))
    elif accept.objective is not None:
        _thresholds(checking, accept.objective.text, examples, delta)
    for guard in _guards(checking):
        margin = _margin(checking, guard)
        if guard.is_proven and margin is not None and examples < guard_needs(delta, margin):
            checking.report(
                errors.guard_never_proven(guard.span, margin, examples, guard_needs(delta, margin))
            )


def _rule(rule: tree.Rule) -> str:
    name = rule.rule.function if isinstance(rule.rule, tree.Call) else rule.rule
    return name.text


def _thresholds(checking: Checking, name: str, examples: int, delta: float) -> None:
    """Two aims for one objective, closer together than a gain that can be shown."""
    declaration = checking.names.declared.get(name)
    if not isinstance(declaration, tree.Objective):
        return
    objective = declarations.objective(checking, declaration)
    if objective is None or objective.value.facts.type.kind != "bool":
        return
    aims: list[tuple[float, tree.Expression]] = []
    if declaration.target is not None and objective.target is not None:
        aims.append((objective.target, declaration.target))
    adapt = checking.names.adapt
    for stop in adapt.items if adapt else ():
        for condition in stop.conditions if isinstance(stop, tree.Stop) else ():
            if isinstance(condition, tree.StopWhen):
                aims.extend(_aims(checking, condition.condition, name))
    smallest = smallest_gain(delta, examples)
    aims.sort(key=lambda aim: aim[0])
    for (low, one), (high, other) in pairwise(aims):
        if 0 < high - low < smallest:
            checking.report(errors.low_power(other.span, one.span, examples, smallest, high - low))


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


def _guards(checking: Checking) -> list[tree.Guard]:
    block = checking.names.assess
    return [each for each in (block.items if block else ()) if isinstance(each, tree.Guard)]


def _margin(checking: Checking, guard: tree.Guard) -> float | None:
    """What `accepted - 1 pp` allows to be lost; None for a guard of another form."""
    condition = guard.condition
    if not isinstance(condition, tree.Binary) or not isinstance(condition.right, tree.Binary):
        return None
    right = condition.right
    is_slack = (condition.operator, right.operator) in ((">=", "-"), (">", "-"), ("<=", "+"))
    of_accepted = isinstance(right.left, tree.Name) and right.left.text == "accepted"
    if not is_slack or not of_accepted:
        return None
    expr = expressions.infer(checking, right.right)
    number = None if expr is None else known_number(checking, expr)
    return float(number) if number is not None and number > 0 else None


def review_guards(checking: Checking) -> None:
    """Warn of a guard that holds whatever a candidate does."""
    for guard in _guards(checking):
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
