"""Growth: its operators and limits, and the passes and restarts that start it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from ev3lang.catalog.index import GROWTH
from ev3lang.check import errors, expressions, operations, typed
from ev3lang.check.arguments import bind, known_number
from ev3lang.check.checking import Checking, only
from ev3lang.check.expand import inner_first, walk
from ev3lang.source import Span
from ev3lang.syntax import tree
from ev3lang.syntax.write import write_expression


def is_written(checking: Checking) -> bool:
    """Whether the spec says that something grows, rightly or not."""
    adapt = checking.names.adapt
    blocks = () if adapt is None else adapt.items
    items = (item for each in blocks if isinstance(each, tree.After) for item in each.items)
    return any(isinstance(item, tree.Grow) for item in items)


def growing(
    checking: Checking, block: tree.After, explored: tuple[str, ...]
) -> typed.GrowingInfo | None:
    """How the explored models become larger; None where nothing grows, or it is at fault."""
    grow = only(checking, block.items, tree.Grow, "`grow by`")
    written = [each for each in block.items if isinstance(each, tree.Limit)]
    operators = () if grow is None else tuple(_operators(checking, grow))
    limits = [_limit(checking, each, explored) for each in written]
    if grow is None:
        if written:
            checking.report(errors.limit_without_growth(written[0].span))
        return None
    if not written:
        checking.report(errors.growth_without_limit(grow.span))
    known = tuple(each for each in limits if each is not None)
    if len(operators) < len(grow.operators) or len(known) < len(written):
        return None
    return typed.GrowingInfo(operators, grow.choice, known, span=grow.span)


def _operators(checking: Checking, grow: tree.Grow) -> Iterator[typed.OperationInfo]:
    """The operators that are as they should be, each once."""
    found: dict[object, Span] = {}
    for written in grow.operators:
        operator = operations.operation(checking, written, GROWTH, "growth operator")
        if operator is None or _is_counted_twice(checking, written):
            continue
        key = _key(operator)
        if key in found:
            checking.report(errors.identical_operators(written.span, found[key]))
            continue
        found[key] = written.span
        yield operator


def _key(operator: typed.OperationInfo) -> object:
    """What two operators share that do the same."""
    return operator.name, tuple(
        (name, _key(value) if isinstance(value, typed.OperationInfo) else value)
        for name, value in operator.options
    )


def _is_counted_twice(checking: Checking, written: tree.Expression) -> bool:
    """Whether a call, or one inside it, says both how many and how many times; reports it."""
    for call in tree.walk(written):
        if not isinstance(call, tree.Call) or call.function.text not in GROWTH:
            continue
        entry = GROWTH[call.function.text]
        bound = bind(checking, call, [option.name for option in entry.options])
        if bound is not None and {"count", "factor"} <= bound.given.keys():
            checking.report(errors.count_and_factor(call.span, entry.name))
            return True
    return False


# ---------------------------------------------------------------- limits

SHAPE_FACTS = ("parameters", "depth", "flops")
"""Facts of a model that its shapes alone make."""

ARITHMETIC = ("+", "-", "*", "/", "^", "negate")
"""What a fact of shapes may be computed by."""

MOST_POWER = 10
"""The highest power in a limit: beyond it counts of parameters are no numbers any more."""

_MIRRORED = {">": "<", ">=": "<="}


@attrs.frozen
class _Bound:
    """A limit's two sides."""

    value: tree.Expression
    most: tree.Expression
    is_strict: bool


def _limit(
    checking: Checking, limit: tree.Limit, explored: tuple[str, ...]
) -> typed.LimitInfo | None:
    scope = expressions.Scope(is_measured=True)
    condition = limit.condition
    if expressions.infer(checking, condition, scope) is None:
        return None
    bound = _bound(condition)
    value = None if bound is None else expressions.infer(checking, bound.value, scope)
    most = None if bound is None else expressions.infer(checking, bound.most, scope)
    if bound is None or value is None or most is None or value.facts.level == "constant":
        expected = "an upper bound, such as `size <= 200_000`"
        checking.report(errors.wrong_type(condition.span, expected, condition.span.text))
        return None
    if not explored or not is_fact(
        checking, bound.value.span, value, explored, "growth can't keep to it"
    ):
        return None
    number = known_number(checking, most)
    if number is None:
        got = f"`{bound.most.span.text}`"
        checking.report(errors.wrong_type(bound.most.span, "a number as the limit", got))
        return None
    name = write_expression(condition)
    return typed.LimitInfo(name, value, number, bound.is_strict, span=condition.span)


def _bound(condition: tree.Expression) -> _Bound | None:
    """`size <= 200_000` or `200_000 >= size`; None for anything else."""
    if not isinstance(condition, tree.Binary):
        return None
    left, right, operator = condition.left, condition.right, condition.operator
    if operator in _MIRRORED:
        left, right, operator = right, left, _MIRRORED[operator]
    return _Bound(left, right, operator == "<") if operator in ("<", "<=") else None


def is_fact(
    checking: Checking, place: Span, value: typed.Expr, models: tuple[str, ...], so: str
) -> bool:
    """Whether a value is computed from shapes of these models alone; what is not, is reported.

    so   what follows for the reader where it is none, for the message
    """
    if value.facts.level not in ("model", "constant"):
        what = f"`{place.text}` is no fact of a model, so {so}"
        checking.report(errors.wrong_level(place, what))
        return False
    why = _no_fact(checking.written_out(value), models)
    if why is None:
        return True
    span, words = why
    checking.report(
        errors.no_shape_fact(place, words, SHAPE_FACTS, None if span == place else span)
    )
    return False


def _no_fact(value: typed.Expr, models: tuple[str, ...]) -> tuple[Span, str] | None:
    """What of a value, written out, no shape of the models says: where, and why not."""
    found: dict[typed.Expr, tuple[Span, str] | None] = {}
    for part in inner_first(value):
        found[part] = _no_fact_of(part, models, found)
    return found[value]


def _no_fact_of(
    value: typed.Expr,
    models: tuple[str, ...],
    found: Mapping[typed.Expr, tuple[Span, str] | None],
) -> tuple[Span, str] | None:
    """The same, where it is known of what the value is made of."""
    match value:
        case typed.Constant():
            return None
        case typed.Apply(function=function, inputs=(typed.Weights(model=model),)):
            if function not in SHAPE_FACTS:
                return value.span, f"`{function}` changes with the weights"
            if model not in models:
                return value.span, f"`{model}` never grows"
            return None
        case typed.Apply(function="^", inputs=(base, power)):
            number = power.value if isinstance(power, typed.Constant) else None
            if not isinstance(number, int) or not 0 <= number <= MOST_POWER:
                return power.span, f"a power is a whole number from 0 to {MOST_POWER}"
            return found[base]
        case typed.Apply(function="/", inputs=(_, divisor)) if _may_become_zero(divisor):
            return divisor.span, "a divisor with a minus may become 0"
        case typed.Apply(function=function, inputs=inputs) if function in ARITHMETIC:
            return next((why for each in inputs if (why := found[each])), None)
        case typed.Apply(function=function):
            return value.span, f"`{function}` stands in none"
        case _:
            return value.span, f"`{value.span.text}` is none"


def _may_become_zero(divisor: typed.Expr) -> bool:
    """Whether growth may lead to 0 what isn't 0 at the start: counts only become larger."""
    return any(
        (isinstance(part, typed.Apply) and part.function in ("-", "negate"))
        or (isinstance(part, typed.Constant) and part.value < 0)
        for part in walk(divisor)
    )


# ---------------------------------------------------------------- starting again


def passes(checking: Checking, block: tree.Adapt) -> tree.Repeat | None:
    """`repeat … from smallest`, which no `restart from smallest` may stand beside."""
    repeat = only(checking, block.items, tree.Repeat, "`repeat`")
    for after in block.items:
        for item in after.items if isinstance(after, tree.After) else ():
            if isinstance(item, tree.Restart) and repeat is not None:
                what = "starting again, by `repeat` or `restart`,"
                checking.report(
                    errors.duplicate_statement(item.span, repeat.span, what, "one `adapt`")
                )
    return repeat


def review_passes(checking: Checking) -> None:
    """Report passes and restarts that no growth gives a meaning to."""
    if is_written(checking):
        return
    adapt = checking.names.adapt
    items = adapt.items if adapt is not None else ()
    blocks = [each for each in items if isinstance(each, tree.After)]
    starts_again: list[tree.Node] = [each for each in items if isinstance(each, tree.Repeat)]
    for block in blocks:
        starts_again += [each for each in block.items if isinstance(each, tree.Restart)]
    for each in starts_again:
        checking.report(errors.repeat_without_growth(each.span))


def check_lengthen(
    checking: Checking, item: tree.Lengthen, steps: int | None, most: float | None
) -> None:
    """Report a factor that lengthens nothing, or a cap on roll-outs below where they start."""
    if item.factor.value <= 1:
        checking.report(
            errors.out_of_range(item.factor.span, "the factor", "above 1x", item.factor.span.text)
        )
    if item.cap is not None and steps is not None and most is not None and most < steps:
        checking.report(errors.cap_below_start(item.cap.span, most, steps))
