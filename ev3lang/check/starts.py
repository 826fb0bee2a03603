"""Where a model's weights come from: training before the run, or a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from pathlib import PurePath
from typing import Literal

from ev3lang.check import errors, phases, typed
from ev3lang.check.amounts import counted
from ev3lang.check.checking import Checking, only
from ev3lang.check.expand import walk
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
    read = {
        name: _models_read(checking, found.loss)
        for name, found in starts.items()
        if isinstance(found, typed.TrainedByInfo)
    }
    for name, found in starts.items():
        if not isinstance(found, typed.TrainedByInfo):
            continue
        declaration = checking.names.declared[name]
        assert isinstance(declaration, tree.Model)
        place = next(each for each in declaration.items if isinstance(each, tree.TrainedBy))
        if found.unit == "epochs" and info is not None and info.is_endless:
            checking.report(errors.epochs_of_endless(place.amount.span, info.name))
        circle = _circle(read, name)
        if circle and name == min(circle):
            checking.report(errors.circular(declaration.name, place.loss.span, circle))


def _models_read(checking: Checking, loss: typed.Expr) -> tuple[str, ...]:
    """The models that a loss reads, in alphabetical order."""
    parts = walk(checking.written_out(loss))
    return tuple(sorted({e.model for e in parts if isinstance(e, typed.Forward | typed.Weights)}))


def _circle(read: Mapping[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    """The shortest way from a model to itself, each trained by a loss that reads the next.

    read   what the loss of each trained model reads; that a model reads itself is no circle
    """
    ways: dict[str, tuple[str, ...]] = {
        other: (name, other) for other in read.get(name, ()) if other != name
    }
    waiting = deque(ways)
    while waiting:
        model = waiting.popleft()
        for other in read.get(model, ()):
            if other == name:
                return ways[model]
            if other not in ways:
                ways[other] = (*ways[model], other)
                waiting.append(other)
    return ()
