"""Growth: which operators a model can take, and whether its limits leave room."""

from __future__ import annotations

from ev3lang.catalog.index import GROWTH
from ev3lang.check import errors, expressions, models, operations, typed
from ev3lang.check.arguments import known_number
from ev3lang.check.checking import Checking
from ev3lang.check.expand import expand
from ev3lang.syntax import tree

GROWING = ("mlp", "resnet", "transformer")
KEEPS = ("relu",)
"""Activations that change nothing when applied twice, so that a new layer can be the identity."""


def check_growth(checking: Checking, block: tree.After, explored: tuple[str, ...]) -> None:
    """The operators and limits of `after … without progress`."""
    grows = [each for each in block.items if isinstance(each, tree.Grow)]
    limits = [each for each in block.items if isinstance(each, tree.Limit)]
    for grow in grows:
        for written in grow.operators:
            operation = operations.operation(checking, written, GROWTH, "growth operator")
            if operation is not None:
                _fits(checking, written, operation.name, explored)
    for limit in limits:
        _limit(checking, limit)
    if grows and not limits:
        checking.report(errors.growth_without_limit(grows[0].span))
    if limits and not grows:
        checking.report(errors.limit_without_growth(limits[0].span))


def _fits(
    checking: Checking, written: tree.Expression, name: str, explored: tuple[str, ...]
) -> None:
    """Report an operator that no explored model can take."""
    if not explored:
        return
    layers: list[typed.LayerInfo] = []
    for model in explored:
        info = checking.models.get(model)
        if info is None:
            return
        layers += [each for each in info.layers if each.name in GROWING]
    if name == "fresh":
        return
    if not layers:
        checking.report(errors.nothing_grows(written.span, name, GROWING))
        return
    for layer in layers:
        options = dict(layer.options)
        if name == "deepen_every_stage" and layer.name != "resnet":
            checking.report(errors.growth_unfit(written.span, name, layer.name))
        elif name == "deepen" and layer.name == "mlp" and options["activation"] not in KEEPS:
            activation = str(options["activation"])
            checking.report(errors.growth_changes_function(written.span, activation))
        elif name == "widen_stage" and isinstance(written, tree.Call):
            _stage(checking, written, layer)


def _stage(checking: Checking, written: tree.Call, layer: typed.LayerInfo) -> None:
    options = dict(layer.options)
    counted = {"mlp": options.get("hidden"), "resnet": options.get("stages")}.get(layer.name)
    stages = len(counted) if isinstance(counted, tuple) else None
    first = written.arguments[0].value if written.arguments else None
    expr = None if first is None else expressions.infer(checking, first)
    number = None if expr is None else known_number(checking, expr)
    if stages is not None and number is not None and number > stages and first is not None:
        what = f"a stage of `{layer.name}`"
        checking.report(errors.out_of_range(first.span, what, f"from 1 to {stages}", number))


def _limit(checking: Checking, limit: tree.Limit) -> None:
    scope = expressions.Scope(is_measured=True)
    condition = limit.condition
    if expressions.infer(checking, condition, scope) is None:
        return
    is_bound = isinstance(condition, tree.Binary) and condition.operator in ("<", "<=")
    if not is_bound or not isinstance(condition, tree.Binary):
        checking.report(
            errors.wrong_type(
                condition.span, "an upper bound, such as `size <= 200_000`", condition.span.text
            )
        )
        return
    value = expressions.infer(checking, condition.left, scope)
    bound = expressions.infer(checking, condition.right, scope)
    if value is None or bound is None:
        return
    if value.facts.level != "model":
        what = f"`{condition.left.span.text}` is no fact of a model, so growth can't keep to it"
        checking.report(errors.wrong_level(condition.left.span, what))
        return
    start, most = _at_start(checking, value), known_number(checking, bound)
    if start is None or most is None:
        return
    if start > most or (start == most and condition.operator == "<"):
        checking.report(errors.limit_below_start(condition.span, start, most))


def _at_start(checking: Checking, value: typed.Expr) -> int | None:
    """What a count of a model is before any growth, where the checker can count it."""
    expanded = expand(value, checking.values, {})
    if not isinstance(expanded, typed.Apply):
        return None
    if expanded.function == "+":
        parts = [_at_start(checking, each) for each in expanded.inputs]
        return sum(each for each in parts if each is not None) if None not in parts else None
    weights = expanded.inputs[0]
    info = checking.models.get(weights.model) if isinstance(weights, typed.Weights) else None
    if info is None:
        return None
    if expanded.function == "parameters":
        return models.parameters(info)
    return models.depth(info) if expanded.function == "depth" else None


def review_passes(checking: Checking) -> None:
    """Report passes and restarts that no growth gives a meaning to."""
    adapt = checking.names.adapt
    items = adapt.items if adapt is not None else ()
    blocks = [each for each in items if isinstance(each, tree.After)]
    grows = any(isinstance(item, tree.Grow) for block in blocks for item in block.items)
    if grows:
        return
    starts_again: list[tree.Node] = [each for each in items if isinstance(each, tree.Repeat)]
    for block in blocks:
        starts_again += [each for each in block.items if isinstance(each, tree.Restart)]
    for each in starts_again:
        checking.report(errors.repeat_without_growth(each.span))


def check_lengthen(checking: Checking, item: tree.Lengthen, steps: int | None) -> None:
    """Report a cap on roll-outs below where they start."""
    if item.factor.value <= 1:
        checking.report(
            errors.out_of_range(item.factor.span, "the factor", "above 1x", item.factor.span.text)
        )
    if item.cap is not None and steps is not None and item.cap.value < steps:
        checking.report(errors.cap_below_start(item.cap.span, item.cap.value, steps))
