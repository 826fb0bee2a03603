"""How candidates are judged: rankings, guards, and what has to improve for one to be accepted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ev3lang.check import batches, declarations, errors, expressions, typed
from ev3lang.check.arguments import known_number
from ev3lang.check.checking import Checking, only
from ev3lang.check.expand import walk
from ev3lang.check.typed import Direction
from ev3lang.source import Span
from ev3lang.syntax import tree
from ev3lang.syntax.write import write_expression

# ---------------------------------------------------------------- rankings


def ranking(checking: Checking, block: tree.Assess) -> typed.RankingInfo | None:
    """How assess orders candidates; None, reported, where it is at fault."""
    rank = only(checking, block.items, tree.RankBy, "`rank by`")
    prioritize = only(checking, block.items, tree.Prioritize, "`prioritize`")
    if rank is not None and prioritize is not None:
        checking.report(
            errors.duplicate_statement(prioritize.span, rank.span, "`rank by` or `prioritize`")
        )
        return None
    if prioritize is not None:
        found = _all(_targeted(checking, name) for name in prioritize.objectives)
        return None if found is None else typed.RankingInfo("priority", found)
    if rank is None:
        checking.report(errors.missing_statement("assess", block.keyword_span, "rank by accuracy"))
        return None
    front = rank.keys[0]
    if isinstance(front, tree.Call) and front.function.text == "pareto":
        return _front(checking, rank, front)
    found = _all(_key(checking, key) for key in rank.keys)
    return None if found is None else typed.RankingInfo("then", found)


def _all(
    found: Iterable[typed.ObjectiveInfo | None],
) -> tuple[typed.ObjectiveInfo, ...] | None:
    """All of them, None where one is at fault; each is looked at."""
    each = tuple(found)
    whole = tuple(one for one in each if one is not None)
    return whole if len(whole) == len(each) else None


def _front(checking: Checking, rank: tree.RankBy, call: tree.Call) -> typed.RankingInfo | None:
    if len(rank.keys) > 1:
        hint = "`pareto` stands alone: all of its objectives count at once"
        checking.report(errors.wrong_type(rank.span, "`pareto(…)` alone", "a second key", hint))
        return None
    if len(call.arguments) < 2:
        hint = "`rank by accuracy` ranks by one"
        checking.report(errors.wrong_type(call.span, "two objectives or more", "fewer", hint))
        return None
    found = []
    for argument in call.arguments:
        if argument.name is not None:
            checking.report(errors.unknown_argument("pareto", argument.name, ()))
            return None
        if not isinstance(argument.value, tree.Name):
            got = f"`{argument.value.span.text}`"
            checking.report(errors.wrong_type(argument.value.span, "an objective", got))
            return None
        found.append(objective_info(checking, argument.value))
    known = _all(found)
    return None if known is None else typed.RankingInfo("pareto", known)


def _targeted(checking: Checking, name: tree.Name) -> typed.ObjectiveInfo | None:
    info = objective_info(checking, name)
    if info is not None and info.target is None:
        checking.report(errors.missing_target(name, checking.names.declared[name.text].name.span))
        return None
    return info


def objective_info(checking: Checking, name: tree.Name) -> typed.ObjectiveInfo | None:
    """The objective of a name; None, reported, where it names something else or is at fault."""
    known = objective(checking, name)
    if known is None:
        return None
    declaration = checking.names.declared[known]
    assert isinstance(declaration, tree.Objective)
    return declarations.objective(checking, declaration)


def _key(checking: Checking, key: tree.Expression) -> typed.ObjectiveInfo | None:
    """An objective, or a weighted sum of objectives and metrics as one."""
    if isinstance(key, tree.Name):
        return objective_info(checking, key)
    expr = expressions.infer(checking, key, expressions.Scope(is_measured=True))
    if expr is None:
        return None
    named = [
        declaration
        for node in tree.walk(key)
        if isinstance(node, tree.Name)
        and isinstance(declaration := checking.names.declared.get(node.text), tree.Objective)
    ]
    if not named:
        hint = "a direction is missing: name an objective, or a sum with one in it"
        checking.report(errors.wrong_type(key.span, "an objective", f"`{key.span.text}`", hint))
        return None
    directions = {each.direction for each in named}
    has_minus = any(isinstance(n, tree.Binary) and n.operator == "-" for n in tree.walk(key))
    if len(directions) > 1 and not has_minus:
        rising = next(each for each in named if each.direction == "maximize")
        names = [each.name.text for each in named]
        checking.report(errors.mixed_directions(key.span, rising.name.span, names))
        return None
    # what is subtracted points the other way, so the first one says which way the sum does
    value = _value(checking, key, expr)
    bounds = value.facts.range
    return typed.ObjectiveInfo(
        write_expression(key),
        named[0].direction,
        value,
        None,
        bounds,
        declarations.clips(checking, value, bounds),
    )


def _value(checking: Checking, written: tree.Expression, expr: typed.Expr) -> typed.Expr:
    """A measured expression for each example where it can be, so that examples can be paired."""
    names = {
        part.name
        for part in walk(expr)
        if isinstance(part, typed.Reference) and part.name in checking.values
    }
    levels = set()
    for name in names:
        value = checking.values[name]
        levels.add("constant" if value is None else value.facts.level)
    is_linear = all(
        part.function in ("+", "-", "*", "/", "negate")
        for part in walk(expr)
        if isinstance(part, typed.Apply)
    )
    if "set" in levels or "example" not in levels or not is_linear:
        return expr
    each = expressions.infer(checking, written)
    # the mean of a sum is the sum of the means; of a product of two values of examples it isn't
    products = [
        part
        for part in (walk(each) if each is not None else ())
        if isinstance(part, typed.Apply)
        and part.function in ("*", "/")
        and sum(one.facts.level == "example" for one in part.inputs) > 1
    ]
    return expr if each is None or products else each


# ---------------------------------------------------------------- guards


def guards(checking: Checking, block: tree.Assess) -> tuple[typed.GuardInfo, ...] | None:
    """What no accepted model may break; None where one is at fault, which was reported."""
    found = [_guard(checking, item) for item in block.items if isinstance(item, tree.Guard)]
    known = tuple(each for each in found if each is not None)
    return known if len(known) == len(found) else None


_GUARDS: dict[str, Direction] = {
    ">=": "maximize",
    ">": "maximize",
    "<=": "minimize",
    "<": "minimize",
}


def _guard(checking: Checking, item: tree.Guard) -> typed.GuardInfo | None:
    condition = item.condition
    if not isinstance(condition, tree.Binary) or condition.operator not in _GUARDS:
        expected = "a comparison by `<`, `<=`, `>` or `>=`, such as `recall >= 90%`"
        checking.report(errors.wrong_type(condition.span, expected, condition.span.text))
        return None
    left = expressions.infer(checking, condition.left, expressions.Scope(is_measured=True))
    if left is None:
        return None
    # On the right, `accepted` is what the accepted model gives for the left side.
    scope = expressions.Scope(parameters={"accepted": left.facts}, is_measured=True)
    if expressions.infer(checking, condition, scope) is None:
        return None
    bound = _linear(checking, condition.right, scope)
    if bound is None:
        checking.report(
            errors.wrong_type(
                condition.right.span,
                "a number, or `accepted` scaled or shifted by one",
                f"`{condition.right.span.text}`",
                "as in `top3 >= accepted - 1 pp`",
            )
        )
        return None
    value = _measure_of(checking, condition.left, left)
    if value is None:
        return None
    direction = _GUARDS[condition.operator]
    factor, offset = bound
    name = write_expression(condition)
    bounds = _range(checking, condition.left, value)
    left_name = write_expression(condition.left)
    measure = typed.ObjectiveInfo(
        left_name, direction, value, None, bounds, declarations.clips(checking, value, bounds)
    )
    margin = offset if direction == "maximize" else -offset
    if item.is_proven:
        if value.facts.level == "model":
            what = f"`{measure.name}` is a fact of the model: there is nothing to prove"
            checking.report(errors.wrong_level(item.span, what, "take out `proven`"))
            return None
        if any(map(batches.compares_examples, walk(checking.written_out(value)))):
            what = f"`{measure.name}` has no value for one example by itself: no test can prove it"
            checking.report(errors.wrong_level(item.span, what, "take out `proven`"))
            return None
        if value.facts.level == "example" and measure.range is None:
            checking.report(errors.unknown_range(condition.left.span, measure.name))
            return None
    is_strict = condition.operator in (">", "<")
    return typed.GuardInfo(name, measure, factor, margin, is_strict, item.is_proven)


def _measure_of(
    checking: Checking, written: tree.Expression, expr: typed.Expr
) -> typed.Expr | None:
    """What a guard compares: a declared value for each example, or an expression of such."""
    if isinstance(written, tree.Name):
        declaration = checking.names.declared.get(written.text)
        if isinstance(declaration, (tree.Objective, tree.Metric)):
            return declarations.value(checking, declaration, written)
    if expr.facts.level in ("set", "model", "example"):
        return _value(checking, written, expr)
    what = f"`{written.span.text}` is the same for every model"
    checking.report(errors.wrong_level(written.span, what))
    return None


def _range(
    checking: Checking, written: tree.Expression, value: typed.Expr
) -> tuple[float, float] | None:
    if isinstance(written, tree.Name):
        declaration = checking.names.declared.get(written.text)
        if isinstance(declaration, (tree.Objective, tree.Metric)):
            return declarations.with_declared_range(checking, declaration, value.facts).range
    return value.facts.range


def _linear(
    checking: Checking, expression: tree.Expression, scope: expressions.Scope
) -> tuple[float, float] | None:
    """The (factor, offset) of `factor * accepted + offset`; None for anything else."""
    match expression:
        case tree.Name(text="accepted"):
            return 1.0, 0.0
        case tree.Unary(operator="-", operand=inner):
            found = _linear(checking, inner, scope)
            return None if found is None else (-found[0], -found[1])
        case tree.Binary(operator="+" | "-" | "*" | "/" as operator, left=left, right=right):
            one, other = _linear(checking, left, scope), _linear(checking, right, scope)
            if one is None or other is None:
                return None
            return _combined(operator, one, other)
    expr = expressions.infer(checking, expression, scope)
    number = None if expr is None else known_number(checking, expr)
    return None if number is None else (0.0, float(number))


def _combined(
    operator: str, one: tuple[float, float], other: tuple[float, float]
) -> tuple[float, float] | None:
    match operator:
        case "+":
            return one[0] + other[0], one[1] + other[1]
        case "-":
            return one[0] - other[0], one[1] - other[1]
        case "*" if one[0] == 0:
            return one[1] * other[0], one[1] * other[1]
        case "*" if other[0] == 0:
            return one[0] * other[1], one[1] * other[1]
        case "/" if other[0] == 0 and other[1] != 0:
            return one[0] / other[1], one[1] / other[1]
    return None


# ---------------------------------------------------------------- what has to improve


def acceptable(checking: Checking, info: typed.ObjectiveInfo, place: Span) -> bool:
    """Whether there can be evidence that an objective has improved; reports why not."""
    level = info.value.facts.level
    if level == "model":
        what = f"`{info.name}` is a fact of the model: no example speaks for or against it"
        checking.report(errors.wrong_level(place, what, "hold it by a guard, or rank by it"))
        return False
    parts = walk(checking.written_out(info.value))
    if level == "example" and any(map(batches.compares_examples, parts)):
        what = f"`{info.name}` has no value for one example by itself: it depends on the others"
        checking.report(errors.wrong_level(place, what, "rank by it, and accept by another"))
        return False
    is_binary = info.value.facts.type.kind == "bool"
    if level == "example" and not is_binary and info.range is None:
        checking.report(errors.unknown_range(place, info.name))
        return False
    return True


def default_rule(
    objectives: Iterable[typed.ObjectiveInfo], *, is_endless: bool, is_each_time: bool
) -> Literal["gate", "challenger"]:
    """The rule where a spec names none.

    `challenger` where every decision has fresh examples that bets can be placed on, else `gate`.
    """
    has_bets = all(each.value.facts.level == "example" for each in objectives)
    return "challenger" if is_endless and has_bets and not is_each_time else "gate"


def rule_in_force(
    checking: Checking, accept: tree.Accept | None, *, is_endless: bool
) -> Literal["gate", "challenger"]:
    """The rule of a spec without a fault that names none."""
    found: tuple[typed.ObjectiveInfo | None, ...] = ()
    if accept is not None and accept.objective is not None:
        found = (objective_info(checking, accept.objective),)
    elif checking.names.assess is not None:
        keys = ranking(checking, checking.names.assess)
        found = () if keys is None else keys.keys
    return default_rule(
        [each for each in found if each is not None],
        is_endless=is_endless,
        is_each_time=accept is not None and accept.scope == "each time",
    )


def margin(
    checking: Checking, written: tree.Number, objectives: tuple[typed.ObjectiveInfo, ...]
) -> float | None:
    """By how much an objective has to improve, in its own unit; None, reported, if it can't."""
    expr = expressions.infer(checking, written)
    number = None if expr is None else known_number(checking, expr)
    if expr is None or number is None:
        return None
    for info in objectives:
        facts = expressions.measured(info.value.facts)
        is_share = facts.type.kind == "ratio" or info.range == (0.0, 1.0)
        if is_share and expr.facts.type.kind != "pp":
            expected = f"a difference in `pp` for `{info.name}`, such as `0.5 pp`"
            checking.report(errors.wrong_unit(written.span, f"`{written.span.text}`", expected))
            return None
        if not is_share and written.unit is not None:
            expected = f"a number without a unit for `{info.name}`"
            checking.report(errors.wrong_unit(written.span, f"`{written.span.text}`", expected))
            return None
        width = None if info.range is None else info.range[1] - info.range[0]
        if number <= 0 or (width is not None and number >= width):
            bounds = "above 0" if width is None else f"above 0 and below {width:g}"
            text = written.span.text
            checking.report(errors.out_of_range(written.span, "a margin", bounds, text))
            return None
    return float(number)


def objective(checking: Checking, name: tree.Name) -> str | None:
    """A declared objective's name; None, reported, where it names something else."""
    declaration = checking.names.declared.get(name.text)
    if isinstance(declaration, tree.Objective):
        checking.used.add(name.text)
        return name.text
    if isinstance(declaration, tree.Metric):
        checking.used.add(name.text)
        # One word is missing in one place, however often the metric stands for an objective.
        if all(each.code != "no-direction" for each in checking.found):
            checking.report(errors.no_direction(name, declaration.name.span))
        return None
    if declaration is None:
        known = [
            each.name.text
            for each in checking.names.declared.values()
            if isinstance(each, tree.Objective)
        ]
        checking.report(errors.unknown_name(name, known, "objective"))
        return None
    checking.used.add(name.text)
    kind = type(declaration).__name__.lower()
    checking.report(errors.wrong_type(name.span, "an objective", f"the {kind} `{name.text}`"))
    return None
