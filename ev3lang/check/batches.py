"""What is computed over a batch, where a batch has one example: batch norm, contrastive losses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ev3lang.catalog.index import FUNCTIONS
from ev3lang.catalog.networks import resnet_convolutions
from ev3lang.check import data, errors, typed
from ev3lang.check.checking import Checking, only
from ev3lang.check.expand import walk
from ev3lang.syntax import tree


def review(
    checking: Checking,
    info: typed.DataInfo | None,
    explore: typed.ExploreInfo | None,
    models: Mapping[str, typed.ModelInfo | None],
) -> None:
    """Report models that are trained by batches in which a channel has one value.

    Explored models and those that are trained before the run go by one size of batch, of which
    each part is normalised by itself. A model that isn't trained goes by what it has seen.
    """
    if info is None or explore is None:
        return
    drawn = data.with_batch(info, explore.batch)
    if drawn.batch == drawn.parts:
        _losses(checking, info)
    for name in _trained(checking, explore):
        model = models.get(name)
        values = None if model is None else _values(model)
        if values is None:
            continue
        place = _batch_place(checking, info)
        declaration = checking.names.declared[name]
        assert isinstance(declaration, tree.Model)
        examples = drawn.batch // drawn.parts
        if examples * values == 1:
            checking.report(errors.norm_of_one(place.span, declaration.name.span, name))
            continue
        for each in drawn.known:
            # A loss of such terms alone draws its batches from the examples that know the field.
            if each.count is not None and each.count * values == 1 and _draws(checking, each.field):
                known = _known_place(checking, info, each.field)
                checking.report(
                    errors.norm_of_one(known.span, declaration.name.span, name, each.field)
                )


def _losses(checking: Checking, info: typed.DataInfo) -> None:
    """Report losses that compare examples of a batch, where each has one."""
    seen: set[str] = set()
    for loss in checking.losses.values():
        for part in () if loss is None else walk(checking.written_out(loss.value)):
            if compares_examples(part) and isinstance(part, typed.Apply):
                if part.function not in seen:
                    place = _batch_place(checking, info)
                    checking.report(errors.batch_of_one(place.span, part.span, part.function))
                seen.add(part.function)


def compares_examples(part: typed.Expr) -> bool:
    """Whether a value of one example depends on the others that it is computed with."""
    if not isinstance(part, typed.Apply) or part.is_extern:
        return False
    function = FUNCTIONS.get(part.function)
    return function is not None and function.compares_examples


def _trained(checking: Checking, explore: typed.ExploreInfo) -> tuple[str, ...]:
    """The models that gradients train, before the run or in it."""
    report = checking.names.report
    has_baselines = any(
        isinstance(each, tree.Baseline) for each in (report.items if report else ())
    )
    explored = explore.models if explore.descents or has_baselines else ()
    taught = (
        name
        for name, each in checking.names.declared.items()
        if isinstance(each, tree.Model)
        and any(isinstance(item, tree.TrainedBy) for item in each.items)
    )
    return tuple(dict.fromkeys((*explored, *taught)))


def _values(model: typed.ModelInfo) -> int | None:
    """The fewest values of an example that a batch norm has for a channel.

    None without batch norm, and where a size is not known.
    """
    sizes = (size for each in model.inputs for size in each.dimensions)
    if not all(isinstance(size, int) for size in sizes):
        return None
    return min(_counts(model.layers), default=None)


def _counts(layers: Iterable[typed.LayerInfo]) -> Iterable[int]:
    for layer in layers:
        options = dict(layer.options)
        if layer.name == "batch_norm":
            yield math.prod(layer.input[:-1])
        elif layer.name == "resnet" and options["norm"] == "batch":
            yield from (each.places for each in resnet_convolutions(layer.input, options))
        yield from _counts(layer.inner)


def _draws(checking: Checking, field: str) -> bool:
    """Whether a loss draws its batches from the examples that know a field: it is in every term."""
    return any(
        all(_reads(term, field) for term in _terms(checking.written_out(loss.value)))
        for loss in checking.losses.values()
        if loss is not None
    )


def _terms(loss: typed.Expr) -> Iterable[typed.Expr]:
    """The terms of a sum that read examples."""
    waiting = [loss]
    while waiting:
        term = waiting.pop()
        if isinstance(term, typed.Apply) and term.function in ("+", "-", "negate"):
            waiting += term.inputs
        elif term.facts.level == "example":
            yield term


def _reads(expr: typed.Expr, field: str) -> bool:
    return any(isinstance(part, typed.Field) and part.name == field for part in walk(expr))


def _batch_place(checking: Checking, info: typed.DataInfo) -> tree.Node:
    """Where the batch in force is stated, else the name of the data."""
    declaration = checking.names.declared[info.name]
    assert isinstance(declaration, tree.Data)
    block = checking.names.explore
    stated = None if block is None else only(checking, block.items, tree.Batch, "`batch`")
    return data.batch_place(declaration) if stated is None else stated


def _known_place(checking: Checking, info: typed.DataInfo, field: str) -> tree.Node:
    declaration = checking.names.declared[info.name]
    assert isinstance(declaration, tree.Data)
    return next(
        item
        for item in declaration.items
        if isinstance(item, tree.KnownItem) and item.field.text == field
    )
