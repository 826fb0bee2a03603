"""Where a model's weights come from: training before the run, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Literal

from ev3lang.check import errors, phases, typed
from ev3lang.check.amounts import counted
from ev3lang.check.checking import Checking, only
from ev3lang.check.expand import expand, walk
from ev3lang.check.optimizers import optimizer
from ev3lang.syntax import tree
from ev3lang.syntax.write import write_expression

ACCEPTED = "accepted"
"""The folder in which a run leaves its accepted weights, and the data they were trained on."""


def start(checking: Checking, declaration: tree.Model) -> typed.StartInfo | None:
    """What the lines of a model's block say of its weights; None where they start fresh.

    Apart from the model: a loss that trains it needs it first.
    """
    only(checking, declaration.items, tree.Frozen, "`frozen`")
    found: typed.StartInfo | None = None
    for item in declaration.items:
        match item:
            case tree.TrainedBy():
                found = _trained_by(checking, declaration, item) or found
            case tree.FromCheckpoint(path=path):
                found = typed.CheckpointInfo(path.value)
                if PurePath(path.value).name != ACCEPTED:
                    checking.report(
                        errors.checkpoint_split_unknown(item.span, declaration.name.text)
                    )
            case tree.Frozen():
                pass
    return found


def _trained_by(
    checking: Checking, declaration: tree.Model, item: tree.TrainedBy
) -> typed.TrainedByInfo | None:
    name = declaration.name.text
    loss = phases.descended(checking, item.loss, (name,), name)
    chain = optimizer(checking, item.optimizer)
    unit: Literal["epochs", "steps"] = "steps" if item.amount.unit in _STEPS else "epochs"
    words = "how long to train, such as `30 epochs` or `1000 steps`"
    length = counted(checking, item.amount, unit, words)
    if loss is None or chain is None or length is None:
        return None
    assert isinstance(length, int)
    return typed.TrainedByInfo(write_expression(item.loss), loss, chain, length, unit)


_STEPS = ("step", "steps")


def review_trained(
    checking: Checking, starts: Mapping[str, typed.StartInfo], info: typed.DataInfo | None
) -> None:
    """Report models that would have to be trained before each other, or for endless epochs."""
    for name, found in starts.items():
        if not isinstance(found, typed.TrainedByInfo):
            continue
        declaration = checking.names.declared[name]
        assert isinstance(declaration, tree.Model)
        place = next(each for each in declaration.items if isinstance(each, tree.TrainedBy))
        if found.unit == "epochs" and info is not None and info.is_endless:
            checking.report(errors.epochs_of_endless(place.amount.span, info.name))
        circle = _circle(checking, starts, [name])
        if circle and name == min(circle):
            checking.report(errors.circular(declaration.name, place.loss.span, circle))


def _circle(
    checking: Checking, starts: Mapping[str, typed.StartInfo], way: list[str]
) -> tuple[str, ...]:
    """The models from the first to itself, each trained by a loss that reads the next."""
    found = starts.get(way[-1])
    if not isinstance(found, typed.TrainedByInfo):
        return ()
    parts = walk(expand(found.loss, checking.values, {}))
    read = {each.model for each in parts if isinstance(each, typed.Forward | typed.Weights)}
    for other in sorted(read - {way[-1]}):
        if other == way[0]:
            return tuple(way)
        if other not in way and (circle := _circle(checking, starts, [*way, other])):
            return circle
    return ()
