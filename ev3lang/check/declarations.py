"""Declared values, each checked when it is first asked for.

Declarations may stand in any order and use each other, so this file and `expressions` need one
another: a name leads here, and what it stands for leads back.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import attrs

from ev3lang.catalog.signature import SCALARS, Type
from ev3lang.check import errors, expressions, operators, reachable, typed, types
from ev3lang.check.arguments import fits_number, known_number
from ev3lang.check.checking import Checking
from ev3lang.check.expand import walk
from ev3lang.check.resolve import FieldSymbol
from ev3lang.syntax import tree

Valued: TypeAlias = tree.Let | tree.Objective | tree.Metric


def param(checking: Checking, declaration: tree.Param) -> typed.Constant | None:
    """What a param stands for in this run: its default, or what it was set to."""
    name = declaration.name.text
    checking.used.add(name)
    if name not in checking.params:
        checking.params[name] = _param(checking, declaration)
    return checking.params[name]


def _param(checking: Checking, declaration: tree.Param) -> typed.Constant | None:
    kind = types.scalar_type(checking, declaration.type)
    given = checking.overrides.get(declaration.name.text, declaration.default)
    if given is None:
        checking.report(errors.param_without_value(declaration))
        return None
    if kind is None:
        return None
    what = f"the param `{declaration.name.text}`"
    if kind.kind == "path":
        if isinstance(given, tree.String):
            checking.paths[declaration.name.text] = given.value
        else:
            checking.report(errors.wrong_type(given.span, f"a path for {what}", given.span.text))
        return None
    if kind.kind == "bool" and isinstance(given, tree.Name) and given.text in ("true", "false"):
        facts = typed.Facts(kind, "constant", range=(0.0, 1.0))
        return typed.Constant(given.text == "true", facts, span=given.span)
    if kind.kind not in ("real", "int", "ratio", "bool"):
        what = f"a param of type `{kind.kind}`"
        checking.report(errors.not_built_yet(declaration.type.span, what))
        return None
    expr = expressions.constant(checking, given, what)
    number = None if expr is None else known_number(checking, expr)
    if expr is None or number is None:
        return None
    if not fits_number(kind.kind, expr.facts.type):
        checking.report(errors.wrong_type(given.span, f"{kind} for {what}", str(expr.facts.type)))
        return None
    facts = typed.Facts(kind, "constant", range=(number, number))
    return typed.Constant(number, facts, span=given.span)


def path(checking: Checking, name: tree.Name) -> str | None:
    """The path that a param stands for; None where the name is no param of type path."""
    declaration = checking.names.declared.get(name.text)
    if not isinstance(declaration, tree.Param) or declaration.type.head.text != "path":
        return None
    param(checking, declaration)
    return checking.paths.get(name.text)


def value(checking: Checking, declaration: Valued, use: tree.Name) -> typed.Expr | None:
    """What a let, an objective or a metric stands for."""
    name = declaration.name.text
    checking.used.add(name)
    if name not in checking.values:
        with checking.opening(declaration.name, use) as is_new:
            if not is_new:
                return None
            checking.values[name] = expressions.infer(checking, declaration.value)
    return checking.values[name]


def with_declared_range(
    checking: Checking, declaration: Valued | tree.Loss, facts: typed.Facts
) -> typed.Facts:
    """The facts, with the range that the spec states; of one that is known, the part in both."""
    declared = getattr(declaration, "range", None)
    if declared is None:
        return facts
    ends = []
    for end in (declared.low, declared.high):
        expr = expressions.constant(checking, end, "the end of a range")
        number = None if expr is None else known_number(checking, expr)
        if number is None:
            return facts
        ends.append(float(number))
    if ends[0] >= ends[1]:
        checking.report(
            errors.out_of_range(declared.span, "a range", "from less to more", declared.span.text)
        )
        return facts
    known = facts.range or (-math.inf, math.inf)
    low, high = max(ends[0], known[0]), min(ends[1], known[1])
    if low >= high:
        within = f"within {known[0]:g} to {known[1]:g}, where the value lies"
        checking.report(errors.out_of_range(declared.span, "a range", within, declared.span.text))
        return facts
    return attrs.evolve(facts, range=(low, high))


def clips(checking: Checking, value: typed.Expr, bounds: tuple[float, float] | None) -> bool:
    """Whether a range is stated for a value of each example, which may then lie beyond it."""
    if bounds is None or value.facts.level != "example" or value.facts.type.kind == "bool":
        return False
    declared = (
        checking.names.declared.get(part.name)
        for part in walk(value)
        if isinstance(part, typed.Reference)
    )
    return value.facts.range != bounds or any(
        getattr(each, "range", None) is not None for each in declared
    )


def loss(checking: Checking, declaration: tree.Loss, use: tree.Name) -> typed.LossInfo | None:
    """A loss with its parameters; it has to be one real for each example, or for a model."""
    name = declaration.name.text
    if name not in checking.losses:
        with checking.opening(declaration.name, use) as is_new:
            if not is_new:
                return None
            checking.losses[name] = _loss(checking, declaration)
            info = checking.losses[name]
            checking.values[name] = None if info is None else info.value
    return checking.losses[name]


def _loss(checking: Checking, declaration: tree.Loss) -> typed.LossInfo | None:
    parameters: list[typed.ParameterInfo] = []
    facts: dict[str, typed.Facts] = {}
    for each in declaration.parameters:
        if each.name.text in facts:
            earlier = next(p for p in declaration.parameters if p.name.text == each.name.text)
            checking.report(errors.duplicate_name(each.name, earlier.name.span))
            continue
        info = _parameter(checking, each)
        if info is None:
            return None
        parameters.append(info)
        facts[info.name] = typed.Facts(info.type, "constant")
    body = expressions.infer(checking, declaration.value, expressions.Scope(parameters=facts))
    if body is None:
        return None
    if body.facts.level == "set":
        checking.report(errors.set_level_loss(declaration.value.span, declaration.name.text))
        return None
    if body.facts.level == "constant":
        what = f"the loss `{declaration.name.text}` is the same for every example"
        checking.report(errors.wrong_level(declaration.value.span, what))
        return None
    if operators.scalar(body.facts.type) is None:
        hint = "`mean(…)` or `sum(…)` makes one number of it" if body.facts.type.is_tensor else None
        checking.report(
            errors.wrong_type(
                declaration.value.span,
                f"one number for each example as the loss `{declaration.name.text}`",
                str(body.facts.type),
                hint,
            )
        )
        return None
    return typed.LossInfo(declaration.name.text, tuple(parameters), body)


def _parameter(checking: Checking, parameter: tree.Parameter) -> typed.ParameterInfo | None:
    kind = types.scalar_type(checking, parameter.type)
    if kind is None:
        return None
    if kind.kind not in ("real", "int", "ratio"):
        checking.report(
            errors.wrong_type(parameter.type.span, "`real`, `int` or `ratio`", str(kind))
        )
        return None
    default: typed.Constant | None = None
    if parameter.default is not None:
        what = f"the default of `{parameter.name.text}`"
        expr = expressions.constant(checking, parameter.default, what)
        number = None if expr is None else known_number(checking, expr)
        if expr is None or number is None:
            return None
        if not fits_number(kind.kind, expr.facts.type):
            checking.report(
                errors.wrong_type(
                    parameter.default.span, f"{kind} for {what}", str(expr.facts.type)
                )
            )
            return None
        default = typed.Constant(number, typed.Facts(kind, "constant"), span=parameter.default.span)
    return typed.ParameterInfo(parameter.name.text, kind, default)


def objective(checking: Checking, declaration: tree.Objective) -> typed.ObjectiveInfo | None:
    """An objective: one number with a direction, of examples, of a set or of a model."""
    found = _measure(checking, declaration)
    if found is None:
        return None
    target: float | None = None
    if declaration.target is not None:
        expr = expressions.constant(checking, declaration.target, "a target")
        number = None if expr is None else known_number(checking, expr)
        if expr is None or number is None:
            return None
        whole = expressions.measured(found.facts)
        if not is_comparable(
            checking, declaration.target, expr.facts.type, whole, number, found.name
        ):
            return None
        target = float(number)
    return typed.ObjectiveInfo(
        declaration.name.text,
        declaration.direction,
        found.value,
        target,
        found.facts.range,
        clips(checking, found.value, found.facts.range),
    )


def metric(checking: Checking, declaration: tree.Metric) -> typed.MetricInfo | None:
    """A metric: measured and shown, without a direction."""
    found = _measure(checking, declaration, allows_arrays=True)
    if found is None:
        return None
    return typed.MetricInfo(declaration.name.text, found.value, found.facts.range)


@attrs.frozen
class _Measure:
    name: str
    value: typed.Expr
    facts: typed.Facts


def _measure(
    checking: Checking,
    declaration: tree.Objective | tree.Metric,
    allows_arrays: bool = False,
) -> _Measure | None:
    was_used = declaration.name.text in checking.used
    expr = value(checking, declaration, declaration.name)
    if not was_used:
        checking.used.discard(declaration.name.text)
    if expr is None:
        return None
    name, span = declaration.name.text, declaration.value.span
    ends = expr.facts.range
    if expr.facts.level == "constant" or (ends is not None and ends[0] == ends[1]):
        checking.report(errors.wrong_level(span, f"`{name}` is the same for every model"))
        return None
    is_table = allows_arrays and expr.facts.level == "set" and expr.facts.type.is_tensor
    is_number = operators.scalar(expr.facts.type) is not None and expr.facts.type.kind != "class"
    if not is_number and not is_table:
        checking.report(errors.wrong_type(span, f"one number as `{name}`", str(expr.facts.type)))
        return None
    return _Measure(name, expr, with_declared_range(checking, declaration, expr.facts))


def is_comparable(
    checking: Checking,
    place: tree.Expression,
    type_: Type,
    facts: typed.Facts,
    number: float,
    name: str,
) -> bool:
    """Whether a number may be compared with the objective of that name; reports why not."""
    if type_.kind == "pp":
        checking.report(
            errors.wrong_unit(place.span, f"`{place.span.text}`, a difference", "a value")
        )
        return False
    if facts.range is not None and not facts.range[0] <= number <= facts.range[1]:
        checking.report(errors.never_met(place.span, name, facts.range, number))
        return False
    return True


def field(
    checking: Checking, symbol: FieldSymbol, use: tree.Name | tree.Member
) -> typed.FieldInfo | None:
    """A field of the data with its type; a derived one with what it is computed from."""
    key = (symbol.data, symbol.name)
    if key not in checking.field_infos:
        if symbol.item is None:
            checking.field_infos[key] = _source_field(checking, symbol)
        elif isinstance(symbol.item, tree.FieldItem):
            kind = types.type_of(checking, symbol.item.type)
            origin = _origin(checking, symbol.item)
            info = None if kind is None else typed.FieldInfo(symbol.name, kind, origin=origin)
            checking.field_infos[key] = info
        else:
            bare = use.name if isinstance(use, tree.Member) else use
            with checking.opening(symbol.item.name, bare) as is_new:
                if not is_new:
                    return None
                checking.field_infos[key] = _derived(checking, symbol, symbol.item)
    return checking.field_infos[key]


def _origin(checking: Checking, item: tree.FieldItem) -> str | tuple[int, int] | None:
    """Where a file has a field, if not under the field's own name."""
    if isinstance(item.origin, tree.String):
        return item.origin.value
    if item.origin is None:
        return None
    ends = []
    for end in (item.origin.range.low, item.origin.range.high):
        expr = expressions.constant(checking, end, "a column")
        number = None if expr is None else known_number(checking, expr)
        if number is None:
            return None
        if not isinstance(number, int) or number < 1:
            text = end.span.text
            checking.report(
                errors.out_of_range(end.span, "a column", "a whole number from 1", text)
            )
            return None
        ends.append(number)
    if ends[0] > ends[1]:
        checking.report(
            errors.out_of_range(
                item.origin.span, "columns", "from less to more", item.origin.span.text
            )
        )
        return None
    return ends[0], ends[1]


def _source_field(checking: Checking, symbol: FieldSymbol) -> typed.FieldInfo | None:
    """A field that the source brings; some take their sizes from the source's options."""
    assert symbol.type is not None
    declaration = checking.names.declared[symbol.data]
    assert isinstance(declaration, tree.Data)
    sizes: dict[str, int] = {}
    if any(isinstance(size, str) for size in symbol.type.dimensions):
        options = types.source_options(checking, declaration)
        if options is None:
            return None
        sizes = {name: size for name, size in options if isinstance(size, int)}
    dimensions = tuple(
        sizes[size] if isinstance(size, str) else size for size in symbol.type.dimensions
    )
    return typed.FieldInfo(symbol.name, Type(symbol.type.kind, dimensions))


def _derived(
    checking: Checking, symbol: FieldSymbol, item: tree.DeriveItem
) -> typed.FieldInfo | None:
    expr = expressions.infer(checking, item.value)
    declared = None if item.type is None else types.type_of(checking, item.type)
    if expr is None or (item.type is not None and declared is None):
        return None
    parts = list(walk(checking.written_out(expr)))
    if any(isinstance(each, typed.Forward | typed.Weights) for each in parts):
        checking.report(errors.derived_from_model(item.value.span))
        return None
    if any(isinstance(each, typed.Apply) and each.is_extern for each in parts):
        checking.report(errors.not_built_yet(item.value.span, "a field derived by an `extern`"))
    if expr.facts.level == "constant":
        what = f"the field `{symbol.name}` is the same for every example"
        checking.report(errors.wrong_level(item.value.span, what))
        return None
    if expr.facts.level != "example":
        what = f"the field `{symbol.name}` has a value for each example, and this is a whole set's"
        checking.report(errors.wrong_level(item.value.span, what))
        return None
    if expr.facts.data not in (None, symbol.data):
        checking.report(errors.two_data_blocks(item.value.span, symbol.data, str(expr.facts.data)))
        return None
    result = expr.facts.type if declared is None else declared
    if declared is not None and not _derives(expr.facts.type, declared):
        assert item.type is not None
        checking.report(
            errors.wrong_type(
                item.type.span, f"a type that {expr.facts.type} can become", str(declared)
            )
        )
        return None
    if result.kind == "class" and isinstance(result.dimensions[0], int):
        reached = reachable.numbers(checking.written_out(expr))
        if reached is not None and not 0 <= reached[0] <= reached[1] < result.dimensions[0]:
            place = item.value.span if item.type is None else item.type.span
            classes = result.dimensions[0]
            checking.report(errors.label_out_of_range(place, symbol.name, classes, *reached))
            return None
        if reached is not None and reached[0] == reached[1]:
            what = f"the field `{symbol.name}` is {reached[0]:g} for every example"
            checking.report(errors.wrong_level(item.value.span, what))
            return None
    return typed.FieldInfo(symbol.name, result, expr)


def _derives(actual: Type, declared: Type) -> bool:
    """Whether a computed value may be read as the declared type; labels are checked when read."""
    if actual == declared:
        return True
    if declared.kind == "class":
        is_bool = actual.kind == "bool" and declared.dimensions == (2,)
        # words are numbered in their order, so that a column of them is a column of labels
        same = actual.kind in ("class", "text") and actual.dimensions == declared.dimensions
        return is_bool or same or actual.kind == "int"
    if declared.kind in SCALARS:
        return fits_number(declared.kind, actual) if declared.kind in ("real", "int") else False
    both = actual.is_tensor and declared.is_tensor
    # what is computed is no whole number
    is_float = declared.kind in ("f32", "bf16")
    return both and is_float and actual.dimensions == declared.dimensions


def members(checking: Checking, name: tree.Name) -> tuple[str, ...]:
    """The models that a name stands for: itself, or a group's members; faults are reported."""
    declaration = checking.names.declared.get(name.text)
    if isinstance(declaration, tree.Model):
        checking.used.add(name.text)
        return (name.text,)
    known = [
        each.name.text
        for each in checking.names.declared.values()
        if isinstance(each, (tree.Model, tree.Group))
    ]
    if isinstance(declaration, tree.Group):
        checking.used.add(name.text)
        found: list[str] = []
        for member in declaration.members:
            model = checking.names.declared.get(member.text)
            if isinstance(model, tree.Model):
                checking.used.add(member.text)
                found.append(member.text)
            elif model is None:
                checking.report(errors.unknown_name(member, known, "model"))
            else:
                kind = type(model).__name__.lower()
                checking.report(
                    errors.wrong_type(member.span, "a model", f"the {kind} `{member.text}`")
                )
        return tuple(dict.fromkeys(found))
    if declaration is None:
        checking.report(errors.unknown_name(name, known, "model"))
    else:
        kind = type(declaration).__name__.lower()
        checking.report(errors.wrong_type(name.span, "a model", f"the {kind} `{name.text}`"))
    return ()
