"""Expressions: what each is, where its gradient goes, and whose value it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import assert_never

import attrs

from ev3lang.catalog.index import FUNCTIONS, LAYERS, OPERATORS, OPTIMIZERS, SOURCES
from ev3lang.catalog.signature import SAME, Dimension, Function, Level, Option, Type, Value
from ev3lang.catalog.units import UNITS
from ev3lang.check import (
    archives,
    declarations,
    errors,
    externs,
    mixtures,
    models,
    operators,
    typed,
)
from ev3lang.check.arguments import (
    Bound,
    bind,
    bounds_of,
    fits_number,
    is_within,
    known_number,
    literal,
)
from ev3lang.check.checking import Checking
from ev3lang.check.expand import TooLarge, value_of, walk
from ev3lang.check.folding import can_fold, fold_range
from ev3lang.check.limits import MOST_COUNT
from ev3lang.source import Span
from ev3lang.syntax import tree


@attrs.frozen
class Scope:
    """Where an expression stands.

    parameters   of the loss whose body it is, by name
    is_measured  whether objectives and metrics stand for their value over a whole set, as in
                 `stop when` and `guard`, rather than for what they average
    """

    parameters: Mapping[str, typed.Facts] = MappingProxyType({})
    is_measured: bool = False


TOP = Scope()


def infer(checking: Checking, expression: tree.Expression, scope: Scope = TOP) -> typed.Expr | None:
    """The typed expression; None where it is at fault, which was reported."""
    try:
        expr = _infer(checking, expression, scope)
        if expr is None:
            return None
        checking.written_out(expr)
        type_ = expr.facts.type
        if type_.dimensions and type_.has_sizes and type_.size > MOST_COUNT:
            checking.report(errors.value_too_large(expression.span, type_, MOST_COUNT))
            return None
    except TooLarge as size:
        checking.report_first(errors.expression_too_large(expression.span, str(size)))
        return None
    checking.types[expression.span] = expr.facts
    return expr


def _infer(checking: Checking, expression: tree.Expression, scope: Scope) -> typed.Expr | None:
    match expression:
        case tree.Number():
            return _number(checking, expression)
        case tree.Name():
            return _name(checking, expression, scope)
        case tree.Member():
            return _field(checking, expression)
        case tree.Unary():
            return _unary(checking, expression, scope)
        case tree.Binary():
            return _binary(checking, expression, scope)
        case tree.Call():
            return _call(checking, expression, scope)
        case tree.String() | tree.ListOf() | tree.Range() | tree.Pipe() | tree.DecayOnly():
            words = {
                tree.String: "a text",
                tree.ListOf: "a list",
                tree.Range: "a range",
                tree.Pipe: "a pipe",
                tree.DecayOnly: "a link of an optimizer",
            }
            checking.report(errors.wrong_type(expression.span, "a value", words[type(expression)]))
            return None
        case _:
            assert_never(expression)


def constant(
    checking: Checking, expression: tree.Expression, what: str, scope: Scope = TOP
) -> typed.Expr | None:
    """An expression that is a number, known now or once a loss has its arguments."""
    expr = infer(checking, expression, scope)
    if expr is not None and expr.facts.level != "constant":
        checking.report(
            errors.wrong_level(
                expression.span, f"{what} has to be a constant, and this changes with the data"
            )
        )
        return None
    return expr


def option_values(
    checking: Checking, bound: Bound, options: tuple[Option, ...], scope: Scope = TOP
) -> tuple[tuple[str, Value | typed.Expr | None], ...] | None:
    """Every option's value by name, defaults filled in; None where one is at fault.

    Handles all kinds but `layers` and calls of schedules, which have rooms of their own.
    """
    missing = bound.missing([option.name for option in options if option.is_required])
    if missing:
        checking.report(errors.missing_argument(bound.function, missing, bound.span))
    values: list[tuple[str, Value | typed.Expr | None]] = []
    is_whole = not missing
    for option in options:
        expression = bound.given.get(option.name)
        if expression is None:
            values.append((option.name, option.default))
            continue
        value = option_value(checking, bound.function, option, expression, scope)
        is_whole = is_whole and value is not None
        values.append((option.name, value))
    return tuple(values) if is_whole else None


def option_value(
    checking: Checking, function: str, option: Option, expression: tree.Expression, scope: Scope
) -> Value | typed.Expr | None:
    """One option's value; None, reported, where it doesn't fit."""
    what = f"`{option.name}` of `{function}`"
    if option.kind == "ints":
        return _whole_numbers(checking, option, expression, what, scope)
    if option.kind == "reals":
        return _numbers(checking, option, expression, what)
    if option.kind == "path" and isinstance(expression, tree.Name):
        found = declarations.path(checking, expression)
        if found is not None:
            return found
    if option.kind not in ("real", "int", "ratio", "schedule"):
        value = literal(checking, option, expression)
        if isinstance(value, int | float) and not is_within(option, value):
            checking.report(
                errors.out_of_range(expression.span, what, bounds_of(option, value), value)
            )
            return None
        return value
    expr = constant(checking, expression, what, scope)
    if expr is None:
        return None
    if not fits_number(option.kind, expr.facts.type):
        expected = {"int": "a whole number", "ratio": "a fraction"}.get(option.kind, "a number")
        checking.report(
            errors.wrong_type(expression.span, f"{expected} for {what}", str(expr.facts.type))
        )
        return None
    number = known_number(checking, expr)
    if number is None:
        return expr
    if not is_within(option, number):
        checking.report(
            errors.out_of_range(
                expression.span, what, bounds_of(option, number), expression.span.text
            )
        )
        return None
    return number


def check_instance(checking: Checking, call: typed.Reference) -> None:
    """Report what a loss's arguments make wrong inside it.

    Options out of range, 1 / 0, and a mean of probabilities one of whose weights is below 0.
    """
    parts = tuple(walk(checking.written_out(call)))
    least = ((part.span, checking.mixtures.least_weight(part)) for part in parts)
    below = next(
        ((span, weight) for span, weight in least if weight is not None and weight < 0), None
    )
    if below is not None:
        what = f"a weight of `{below[0].text}`"
        checking.report(errors.out_of_range(call.span, what, "at least 0", f"{below[1]:g}"))
    for part in parts:
        if not isinstance(part, typed.Apply):
            continue
        if part.function in ("/", "mod"):
            divisor = part.inputs[1]
            if isinstance(divisor, typed.Constant) and divisor.value == 0:
                checking.report(errors.division_by_zero(call.span, divisor.span))
                continue
        fault = value_of(part)
        if isinstance(fault, str):
            checking.report(errors.no_number(call.span, fault, part.span))
        if _is_upside_down(part.function, dict(part.options)):
            high = dict(part.options)["high"]
            what = "`high` of `clip`"
            checking.report(errors.out_of_range(call.span, what, "above `low`", f"{high:g}"))
        entry = FUNCTIONS.get(part.function)
        for option in entry.options if entry else ():
            value = dict(part.options)[option.name]
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if not is_within(option, value):
                what = f"`{option.name}` of `{part.function}`"
                checking.report(
                    errors.out_of_range(call.span, what, bounds_of(option, value), f"{value:g}")
                )


# ---------------------------------------------------------------- atoms


def _number(checking: Checking, number: tree.Number) -> typed.Expr | None:
    if number.unit is None:
        kind = "int" if isinstance(number.value, int) else "real"
        value: int | float = number.value
    elif number.unit not in UNITS:
        checking.report(errors.unknown_unit(number, UNITS))
        return None
    elif UNITS[number.unit].measures in ("ratio", "difference"):
        kind = "ratio" if number.unit == "%" else "pp"
        value = UNITS[number.unit].in_base(number.value)
    else:
        checking.report(
            errors.wrong_unit(number.span, f"`{number.span.text}`", "a number or a fraction")
        )
        return None
    return typed.Constant(
        value, typed.Facts(Type(kind), "constant", range=(value, value)), span=number.span
    )


def _name(checking: Checking, name: tree.Name, scope: Scope) -> typed.Expr | None:
    if name.text in scope.parameters:
        return typed.Parameter(name.text, scope.parameters[name.text], span=name.span)
    declaration = checking.names.declared.get(name.text)
    if declaration is not None and name.text in checking.names.fields:
        return None  # one name for two things, which was reported where it is declared
    match declaration:
        case None:
            pass
        case tree.Param() if declaration.type.head.text == "path":
            declarations.param(checking, declaration)
            checking.report(errors.no_value(name.span, f"the path `{name.text}`", "open it"))
            return None
        case tree.Param():
            value = declarations.param(checking, declaration)
            return None if value is None else attrs.evolve(value, span=name.span)
        case tree.Loss():
            return _loss_call(checking, declaration, Bound(name.text, name.span, {}), scope)
        case tree.Let() | tree.Objective() | tree.Metric():
            return _reference(checking, declaration, name, scope)
        case tree.Model() | tree.Group() | tree.Archive() | tree.Extern():
            checking.used.add(name.text)
            hint = f"apply it, as in `{name.text}(…)`"
            checking.report(errors.no_value(name.span, f"the network `{name.text}`", hint))
            return None
        case tree.Data() | tree.Optimizer():
            checking.used.add(name.text)
            what = "data block" if isinstance(declaration, tree.Data) else "optimizer"
            hint = "name one of its fields" if what == "data block" else "it stands after `with`"
            checking.report(errors.no_value(name.span, f"the {what} `{name.text}`", hint))
            return None
        case _:
            assert_never(declaration)
    if name.text in checking.names.fields:
        return _field(checking, name)
    if name.text in FUNCTIONS:
        hint = f"call it, as in `{name.text}(…)`"
        checking.report(errors.no_value(name.span, f"the function `{name.text}`", hint))
        return None
    if checking.names.has_unknown_fields:
        return None
    known = (*scope.parameters, *checking.names.declared, *checking.names.fields, *FUNCTIONS)
    checking.report(errors.unknown_name(name, known))
    return None


def _reference(
    checking: Checking,
    declaration: tree.Let | tree.Objective | tree.Metric,
    use: tree.Name,
    scope: Scope,
) -> typed.Expr | None:
    value = declarations.value(checking, declaration, use)
    if value is None:
        return None
    facts = value.facts
    if scope.is_measured and not isinstance(declaration, tree.Let):
        facts = measured(declarations.with_declared_range(checking, declaration, facts))
    return typed.Reference(declaration.name.text, (), facts, span=use.span)


def measured(facts: typed.Facts) -> typed.Facts:
    """What is known of the mean over a set of a value that is known for each example."""
    is_fraction = facts.type.kind in ("bool", "ratio") or facts.range == (0.0, 1.0)
    level: Level = "set" if facts.level == "example" else facts.level
    return attrs.evolve(
        facts,
        type=Type("ratio") if is_fraction else facts.type,
        level=level,
        gradient=frozenset(),
        range=(0.0, 1.0) if facts.type.kind == "bool" else facts.range,
        is_token_mean=False,
    )


def _field(checking: Checking, name: tree.Name | tree.Member) -> typed.Expr | None:
    symbol = checking.field(name)
    if symbol is None:
        return None
    info = declarations.field(checking, symbol, name)
    if info is None:
        return None
    bounds = (0.0, 1.0) if info.type.kind == "bool" else None
    facts = typed.Facts(info.type, "example", data=symbol.data, range=bounds)
    return typed.Field(symbol.name, facts, span=name.span)


# ---------------------------------------------------------------- operators


def _unary(checking: Checking, expression: tree.Unary, scope: Scope) -> typed.Expr | None:
    operand = infer(checking, expression.operand, scope)
    if operand is None:
        return None
    kind = operand.facts.type
    if expression.operator == "not":
        if kind.kind != "bool":
            checking.report(errors.wrong_type(expression.operand.span, "true or false", str(kind)))
            return None
        facts = attrs.evolve(operand.facts, gradient=frozenset())
        return typed.Apply("not", (operand,), (), facts, span=expression.span)
    number = operators.scalar(kind)
    if number is None and not (kind.is_tensor or kind.is_scores):
        checking.report(errors.wrong_type(expression.operand.span, "a number", str(kind)))
        return None
    # The negative of scores orders the classes the other way round: it is no score any more.
    result = number if number is not None else Type("f32", kind.dimensions)
    if result.kind == "bool":
        result = operators.INT
    facts = attrs.evolve(
        operand.facts, type=result, range=fold_range("negate", (operand.facts.range,))
    )
    return _folded(checking, typed.Apply("negate", (operand,), (), facts, span=expression.span))


def _binary(checking: Checking, expression: tree.Binary, scope: Scope) -> typed.Expr | None:
    left = infer(checking, expression.left, scope)
    right = infer(checking, expression.right, scope)
    if left is None or right is None:
        return None
    operator = expression.operator
    a, b = left.facts.type, right.facts.type
    type_ = _binary_type(checking, expression, a, b)
    if type_ is None:
        return None
    level = operators.join_levels(left.facts.level, right.facts.level)
    if level is None:
        checking.report(
            errors.wrong_level(
                expression.span,
                "this joins a value of one example with a value of a whole set",
                "average the one or take the other apart: they can't be added",
            )
        )
        return None
    is_token_mean = left.facts.is_token_mean or right.facts.is_token_mean
    if is_token_mean and not _is_linear(operator, left, right):
        checking.report(errors.of_token_mean(expression.span, f"`{operator}`"))
        return None
    data = one_data_block(checking, expression.span, (left, right))
    is_smooth = OPERATORS[operator].is_differentiable
    facts = typed.Facts(
        type=type_,
        level=level,
        gradient=left.facts.gradient | right.facts.gradient if is_smooth else frozenset(),
        data=data,
        range=(
            (0.0, 1.0)
            if type_.kind == "bool"
            else fold_range(operator, (left.facts.range, right.facts.range))
        ),
        is_token_mean=is_token_mean,
    )
    applied = typed.Apply(operator, (left, right), (), facts, span=expression.span)
    if type_.kind == "f32" and checking.mixtures.is_mixture(checking.written_out(applied)):
        mean = attrs.evolve(facts, type=Type("probs", type_.dimensions), range=(0.0, 1.0))
        return attrs.evolve(applied, facts=mean)
    return _folded(checking, applied)


def _is_linear(operator: str, left: typed.Expr, right: typed.Expr) -> bool:
    """Whether a mean over examples of the operation is the operation on their means."""
    is_same_for_all = [each.facts.level in ("constant", "model") for each in (left, right)]
    return (
        operator in ("+", "-")
        or (operator == "*" and any(is_same_for_all))
        or (operator == "/" and is_same_for_all[1])
    )


def _binary_type(
    checking: Checking, expression: tree.Binary, left: Type, right: Type
) -> Type | None:
    operator, spans = expression.operator, (expression.left.span, expression.right.span)

    def fault() -> None:
        checking.report(
            errors.wrong_operands(operator, expression.span, spans[0], left, spans[1], right)
        )

    if operator in operators.LOGIC:
        if left.kind == right.kind == "bool":
            return operators.BOOL
        fault()
        return None
    if operator == "in":
        if left.kind != "class" or right.kind != "classes":
            fault()
            return None
        if left.dimensions == right.dimensions:
            return operators.BOOL
    elif operators.units_clash(operator, left, right):
        fraction = spans[0] if right.kind == "pp" else spans[1]
        other = left if right.kind == "pp" else right
        difference = spans[1] if right.kind == "pp" else spans[0]
        checking.report(
            errors.fraction_and_difference(expression.span, fraction, other, difference)
        )
        return None
    elif operator in operators.ARITHMETIC:
        result = operators.arithmetic(operator, left, right)
        if result is not None:
            return result
        if not operators.dimensions_clash(left, right):
            fault()
            return None
    elif not operators.dimensions_clash(left, right):
        if operators.comparison(operator, left, right):
            return operators.BOOL
        fault()
        return None
    what = "this compares" if operators.scalar(left) is not None else f"`{operator}` joins"
    checking.report(errors.shape_mismatch(expression.span, what, spans[0], left, spans[1], right))
    return None


def _folded(checking: Checking, applied: typed.Apply) -> typed.Expr | None:
    """A constant where all that goes in is known by now; None, reported, where it has no value."""
    divides = applied.function in ("/", "mod")
    if divides and known_number(checking, applied.inputs[1]) == 0:
        checking.report(errors.division_by_zero(applied.span, applied.inputs[1].span))
        return None
    if applied.facts.level != "constant":
        return applied
    found = checking.written_out(applied)
    if isinstance(found, typed.Constant):
        return found
    fault = value_of(found) if isinstance(found, typed.Apply) else None
    if isinstance(fault, str):
        checking.report(errors.no_number(applied.span, fault, applied.span))
        return None
    if can_fold(applied.function):
        return applied
    what = f"`{applied.function}` is taken of what changes with the data, and this is a number"
    checking.report(errors.wrong_level(applied.span, what))
    return None


def one_data_block(checking: Checking, span: Span, parts: tuple[typed.Expr, ...]) -> str | None:
    blocks = [part.facts.data for part in parts if part.facts.data is not None]
    other = next((block for block in blocks if block != blocks[0]), None)
    if other is not None:
        checking.report(errors.two_data_blocks(span, blocks[0], other))
    return blocks[0] if blocks else None


# ---------------------------------------------------------------- calls


def _call(checking: Checking, call: tree.Call, scope: Scope) -> typed.Expr | None:
    name = call.function
    declaration = checking.names.declared.get(name.text)
    match declaration:
        case tree.Model():
            return models.forward(checking, declaration, call, scope)
        case tree.Loss():
            places = [parameter.name.text for parameter in declaration.parameters]
            bound = bind(checking, call, places)
            return None if bound is None else _loss_call(checking, declaration, bound, scope)
        case tree.Archive():
            return archives.apply(checking, declaration, call, scope)
        case tree.Extern():
            return externs.call_extern(checking, declaration, call, scope)
        case None:
            pass
        case _:
            checking.used.add(name.text)
            what = type(declaration).__name__.lower()
            checking.report(
                errors.no_value(name.span, f"the {what} `{name.text}` with arguments", "")
            )
            return None
    if name.text in FUNCTIONS:
        return _function(checking, FUNCTIONS[name.text], call, scope)
    if name.text in LAYERS or name.text in OPTIMIZERS or name.text in SOURCES:
        what = "layer" if name.text in LAYERS else "optimizer"
        what = "source of data" if name.text in SOURCES else what
        checking.report(errors.wrong_type(call.span, "a value", f"a {what}"))
        return None
    callable_ = [
        each.name.text
        for each in checking.names.declared.values()
        if isinstance(each, (tree.Model, tree.Loss, tree.Archive, tree.Extern))
    ]
    if name.text in checking.names.fields:
        checking.report(errors.wrong_type(name.span, "a function", f"the field `{name.text}`"))
        return None
    checking.report(errors.unknown_name(name, (*callable_, *FUNCTIONS), "function"))
    return None


def note_names(checking: Checking, expression: tree.Expression) -> None:
    """Count the names in an expression that can't be typed as used."""
    for node in tree.walk(expression):
        if isinstance(node, tree.Name):
            checking.used.add(node.text)


def _loss_call(
    checking: Checking, declaration: tree.Loss, bound: Bound, scope: Scope
) -> typed.Expr | None:
    use = tree.Name(declaration.name.text, span=bound.span)
    loss = declarations.loss(checking, declaration, use)
    checking.used.add(declaration.name.text)
    if loss is None:
        for given in bound.given.values():
            note_names(checking, given)
        return None
    arguments: list[tuple[str, typed.Expr]] = []
    missing: list[str] = []
    is_whole = True
    for parameter in loss.parameters:
        expression = bound.given.get(parameter.name)
        if expression is None:
            if parameter.default is None:
                missing.append(parameter.name)
            else:
                arguments.append((parameter.name, parameter.default))
            continue
        what = f"`{parameter.name}` of `{loss.name}`"
        value = constant(checking, expression, what, scope)
        if value is None:
            is_whole = False
        elif not fits_number(parameter.type.kind, value.facts.type):
            checking.report(
                errors.wrong_type(
                    expression.span, f"{parameter.type} for {what}", str(value.facts.type)
                )
            )
            is_whole = False
        else:
            arguments.append((parameter.name, value))
    if missing:
        checking.report(errors.missing_argument(loss.name, missing, bound.span))
    if missing or not is_whole:
        return None
    reference = typed.Reference(loss.name, tuple(arguments), loss.value.facts, span=bound.span)
    check_instance(checking, reference)
    return reference


def _function(
    checking: Checking, entry: Function, call: tree.Call, scope: Scope
) -> typed.Expr | None:
    places = [each.name for each in entry.inputs] + [each.name for each in entry.options]
    bound = bind(checking, call, places)
    if bound is None:
        return None
    missing = bound.missing([each.name for each in entry.inputs])
    if missing:
        checking.report(errors.missing_argument(entry.name, missing, call.span))
    if entry.family == "model":
        return _of_model(checking, entry, bound)
    inputs = [
        infer(checking, bound.given[each.name], scope)
        for each in entry.inputs
        if each.name in bound.given
    ]
    options = option_values(checking, bound, entry.options, scope)
    known = tuple(each for each in inputs if each is not None)
    if missing or options is None or len(known) < len(inputs):
        return None
    variables = _unify_inputs(checking, entry, known)
    if variables is None or not _within_classes(checking, entry, bound, options, variables):
        return None
    tables = [each for each in known if each.facts.level == "set" and each.facts.type.dimensions]
    if tables:
        what = f"`{entry.name}` works on the values of an example, and this is a table of a set"
        checking.report(errors.wrong_level(tables[0].span, what))
        return None
    if any(each.facts.is_token_mean for each in known) and entry.name != "stop_gradient":
        checking.report(errors.of_token_mean(call.span, f"`{entry.name}`"))
        return None
    if entry.level == "set":
        too_high = next((each for each in known if each.facts.level != "example"), None)
        if too_high is not None:
            what = f"`{entry.name}` is taken over the examples of a set, and this is no example's"
            checking.report(errors.wrong_level(too_high.span, what))
            return None
    level: Level = "constant"
    for each in known:
        joined = operators.join_levels(level, each.facts.level)
        if joined is None:
            what = f"`{entry.name}` joins a value of one example with a value of a whole set"
            checking.report(errors.wrong_level(call.span, what))
            return None
        level = joined
    reached = [
        value
        for place, value in zip(entry.inputs, known, strict=True)
        if entry.gradient_to in (None, place.name)
    ]
    gradient = frozenset().union(*(each.facts.gradient for each in reached))
    if _is_upside_down(entry.name, dict(options)):
        place = bound.given["high"].span
        checking.report(errors.out_of_range(place, "`high` of `clip`", "above `low`", place.text))
        return None
    facts = typed.Facts(
        type=_output_type(entry, known, variables),
        level="set" if entry.level == "set" else level,
        gradient=gradient if entry.is_differentiable else frozenset(),
        data=one_data_block(checking, call.span, known),
        range=_function_range(entry, dict(options)),
        is_token_mean=dict(options).get("over") == "tokens"
        or any(each.facts.is_token_mean for each in known),
    )
    return _folded(checking, typed.Apply(entry.name, known, options, facts, span=call.span))


def _of_model(checking: Checking, entry: Function, bound: Bound) -> typed.Expr | None:
    argument = bound.given.get(entry.inputs[0].name)
    if argument is None:
        return None
    names = checking.names.declared
    is_model = isinstance(argument, tree.Name) and isinstance(
        names.get(argument.text), (tree.Model, tree.Group)
    )
    if isinstance(argument, tree.Name) and _stands_for_nothing(checking, argument):
        return None
    if not is_model or not isinstance(argument, tree.Name):
        checking.report(
            errors.wrong_type(argument.span, f"a model for `{entry.name}`", argument.span.text)
        )
        return None
    members = declarations.members(checking, argument)
    total: typed.Expr | None = None
    for member in members:
        declaration = names[member]
        assert isinstance(declaration, tree.Model), "a group's members are models"
        model = models.model(checking, declaration)
        if model is None:
            return None
        if model.module is not None and entry.name in ("depth", "flops"):
            checking.report(errors.not_countable(argument.span, entry.name, member))
            return None
        smooth = entry.is_differentiable and not model.is_frozen
        facts = typed.Facts(
            entry.output,
            "model",
            gradient=frozenset({member}) if smooth else frozenset(),
            range=entry.range,
        )
        weights = typed.Weights(member, attrs.evolve(facts, type=Type("real")), span=argument.span)
        one = typed.Apply(entry.name, (weights,), (), facts, span=bound.span)
        if total is None:
            total = one
        else:
            joined = attrs.evolve(facts, gradient=facts.gradient | total.facts.gradient)
            total = typed.Apply("+", (total, one), (), joined, span=bound.span)
    return total


def _within_classes(
    checking: Checking,
    entry: Function,
    bound: Bound,
    options: tuple[tuple[str, Value | typed.Expr | None], ...],
    variables: Mapping[str, Dimension | tuple[Dimension, ...]],
) -> bool:
    """Whether options that count or name classes keep to those that there are."""
    classes = variables.get("C")
    if "groups" in entry.told and not isinstance(variables.get("G"), int):
        group = bound.given[entry.inputs[-1].name]
        expected = "a known number of groups, such as `text[12]`"
        checking.report(errors.wrong_type(group.span, expected, f"text[{variables.get('G')}]"))
        return False
    for option, (name, value) in zip(entry.options, options, strict=True):
        if option.kind == "reals" and isinstance(value, tuple) and isinstance(classes, int):
            if len(value) != classes:
                place = bound.given[name].span
                expected = f"{classes} numbers, one for each class"
                checking.report(errors.wrong_type(place, expected, str(len(value))))
                return False
            continue
        if option.most is None or not isinstance(classes, int) or not isinstance(value, int):
            continue
        most = classes if option.most == "C" else classes - 1
        if value > most:
            what = f"`{name}` of `{entry.name}`"
            allowed = f"at most {most} with {classes} classes"
            checking.report(errors.out_of_range(bound.given[name].span, what, allowed, value))
            return False
    return True


def _stands_for_nothing(checking: Checking, name: tree.Name) -> bool:
    """Whether a name stands for nothing at all, which is reported as such."""
    known = name.text in checking.names.declared or name.text in checking.names.fields
    if not known:
        infer(checking, name)
    return not known


# ---------------------------------------------------------------- unification


def _unify_inputs(
    checking: Checking, entry: Function, inputs: tuple[typed.Expr, ...]
) -> dict[str, Dimension | tuple[Dimension, ...]] | None:
    """What the signature's variables stand for; None, reported, where an input doesn't fit."""
    variables: dict[str, Dimension | tuple[Dimension, ...]] = {}
    bound_by: dict[str, typed.Expr] = {}
    for place, given in zip(entry.inputs, inputs, strict=True):
        actual = given.facts.type
        fitting = [wanted for wanted in place.types if _is_kind(wanted, actual)]
        if not fitting:
            _report_kind(checking, entry, place.name, place.types, given)
            return None
        solved = next(
            (new for wanted in fitting if (new := _unify(wanted, actual, variables)) is not None),
            None,
        )
        if solved is None:
            clash = next(
                (bound_by[name] for name in _variables(fitting[0]) if name in bound_by), None
            )
            if clash is None:
                wanted = " or ".join(str(each) for each in fitting)
                checking.report(errors.wrong_type(given.span, wanted, str(actual)))
            else:
                _report_clash(checking, entry, clash, given)
            return None
        for name in solved.keys() - variables.keys():
            bound_by[name] = given
        variables = solved
    return variables


def _report_clash(
    checking: Checking, entry: Function, first: typed.Expr, second: typed.Expr
) -> None:
    what, left, right = f"`{entry.name}` joins", first.facts.type, second.facts.type
    givers = [_giver(checking, each) for each in (first, second)]
    if left.is_scores and right.is_scores and givers[0] != givers[1]:
        sides = (first.span, left, givers[0]), (second.span, right, givers[1])
        checking.report(errors.other_classes(second.span, what, *sides))
        return
    checking.report(errors.shape_mismatch(second.span, what, first.span, left, second.span, right))


def _giver(checking: Checking, expr: typed.Expr) -> str:
    """What scores come from: a model or a field; as they are written where it is neither."""
    for part in walk(checking.written_out(expr)):
        if isinstance(part, typed.Forward):
            return part.model
        if isinstance(part, typed.Field):
            return part.name
    return expr.span.text


def _is_kind(wanted: Type, actual: Type) -> bool:
    if wanted.is_scores or wanted.kind in ("class", "multi", "classes", "text", "tokens"):
        return wanted.kind == actual.kind
    number = operators.scalar(actual)
    if wanted.is_tensor:
        return actual.is_tensor or actual.is_scores
    if wanted.kind == "int":
        return number == operators.INT
    if wanted.kind == "bool":
        return actual.kind == "bool"
    return number is not None and actual.kind != "class"


def _unify(
    wanted: Type, actual: Type, variables: dict[str, Dimension | tuple[Dimension, ...]]
) -> dict[str, Dimension | tuple[Dimension, ...]] | None:
    solved = dict(variables)
    if not wanted.dimensions:
        is_alike = not actual.dimensions or actual.kind == "class"
        return solved if is_alike else None
    if wanted.dimensions == ("...",):
        same = solved.setdefault("...", actual.dimensions)
        return solved if same == actual.dimensions else None
    if len(wanted.dimensions) != len(actual.dimensions):
        return None
    for name, size in zip(wanted.dimensions, actual.dimensions, strict=True):
        if isinstance(name, int):
            if name != size:
                return None
        elif solved.setdefault(name, size) != size:
            return None
    return solved


def _variables(wanted: Type) -> tuple[str, ...]:
    return tuple(name for name in wanted.dimensions if isinstance(name, str))


def _report_kind(
    checking: Checking, entry: Function, place: str, wanted: tuple[Type, ...], given: typed.Expr
) -> None:
    actual = given.facts.type
    expected = [each for each in wanted if each.is_scores]
    if expected and actual.is_scores:
        checking.report(errors.wrong_scores(given.span, entry.name, expected[0].kind, actual))
        return
    words = " or ".join(dict.fromkeys(str(each) for each in wanted))
    hint = _off_balance(checking, given) if any(each.kind == "probs" for each in wanted) else None
    checking.report(
        errors.wrong_type(given.span, f"{words} as `{place}` of `{entry.name}`", str(actual), hint)
    )


def _off_balance(checking: Checking, given: typed.Expr) -> str | None:
    """What keeps a sum of probabilities from being probabilities; None for anything else."""
    total = checking.mixtures.total_weight(checking.written_out(given))
    if total is None:
        return None
    if abs(total - 1) <= mixtures.CLOSE:
        return "a weight of these probabilities is below 0"
    return f"the weights of these probabilities sum to {total:.4g}: they have to sum to 1"


def _output_type(
    entry: Function,
    inputs: tuple[typed.Expr, ...],
    variables: Mapping[str, Dimension | tuple[Dimension, ...]],
) -> Type:
    if entry.output == SAME:
        largest = max((each.facts.type for each in inputs), key=lambda each: len(each.dimensions))
        kinds = {each.kind for place in entry.inputs for each in place.types}
        if largest.is_scores and largest.kind not in kinds:
            # scores taken as plain numbers: their exponential, or the greater of two, is no score
            return Type("f32", largest.dimensions)
        return operators.scalar(largest) or largest
    dimensions: list[Dimension] = []
    for name in entry.output.dimensions:
        value = variables.get(name, name) if isinstance(name, str) else name
        dimensions.extend(value if isinstance(value, tuple) else (value,))
    return Type(entry.output.kind, tuple(dimensions))


def _is_upside_down(function: str, options: Mapping[str, object]) -> bool:
    """Whether bounds to keep a value between leave nothing between them."""
    if function != "clip":
        return False
    low, high = options["low"], options["high"]
    return isinstance(low, int | float) and isinstance(high, int | float) and low >= high


def _function_range(entry: Function, options: Mapping[str, object]) -> tuple[float, float] | None:
    if entry.name == "clip":
        low, high = options["low"], options["high"]
        if isinstance(low, int | float) and isinstance(high, int | float):
            return (float(low), float(high))
    return entry.range


def _numbers(
    checking: Checking, option: Option, expression: tree.Expression, what: str
) -> tuple[float, ...] | None:
    """A list of numbers, each within the option's bounds."""
    items = expression.items if isinstance(expression, tree.ListOf) else (expression,)
    numbers: list[float] = []
    for item in items:
        expr = constant(checking, item, what)
        if expr is None:
            return None
        number = known_number(checking, expr)
        if number is None or not fits_number("real", expr.facts.type):
            kind = str(expr.facts.type) if number is not None else f"`{item.span.text}`"
            checking.report(errors.wrong_type(item.span, f"known numbers for {what}", kind))
            return None
        if not is_within(option, number):
            place = item.span
            checking.report(errors.out_of_range(place, what, bounds_of(option), place.text))
            return None
        numbers.append(float(number))
    return tuple(numbers)


def _whole_numbers(
    checking: Checking, option: Option, expression: tree.Expression, what: str, scope: Scope
) -> tuple[int, ...] | None:
    items = expression.items if isinstance(expression, tree.ListOf) else (expression,)
    numbers: list[int] = []
    for item in items:
        expr = constant(checking, item, what, scope)
        number = None if expr is None else known_number(checking, expr)
        if expr is None:
            return None
        if not isinstance(number, int) or isinstance(number, bool):
            checking.report(
                errors.wrong_type(item.span, f"a whole number for {what}", str(expr.facts.type))
            )
            return None
        if not is_within(option, number):
            checking.report(errors.out_of_range(item.span, what, bounds_of(option, number), number))
            return None
        numbers.append(number)
    if not numbers:
        checking.report(
            errors.wrong_type(expression.span, f"at least one number for {what}", "an empty list")
        )
        return None
    return tuple(numbers)
