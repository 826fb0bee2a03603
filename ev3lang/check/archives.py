"""Archives: accepted models of earlier sizes, which a loss applies as teachers."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ev3lang.check import declarations, errors, expressions, growth, judging, models, typed
from ev3lang.check.checking import Checking
from ev3lang.check.expand import walk
from ev3lang.source import Span
from ev3lang.syntax import tree


def archive(checking: Checking, declaration: tree.Archive) -> typed.ArchiveInfo | None:
    """The best accepted model of the explored ones, for each value of a fact of its shapes."""
    model = _model(checking, declaration)
    best = _best(checking, declaration.best)
    per = _per(checking, declaration.per)
    if model is None or best is None or per is None:
        return None
    name = declaration.name.text
    so = f"`{name}` can't have a member for each of its values"
    if not growth.is_fact(checking, declaration.per.span, per, (model,), so):
        return None
    return typed.ArchiveInfo(name, model, best, per)


def _model(checking: Checking, declaration: tree.Archive) -> str | None:
    """The model whose accepted weights are kept: one that is explored."""
    members = declarations.members(checking, declaration.model)
    block = checking.names.explore
    if not members or block is None:
        return None
    explored = declarations.members(checking, block.model)
    if explored and members[0] not in explored:
        checking.report(errors.archive_never_fills(declaration.model, block.model))
        return None
    if isinstance(checking.names.declared[declaration.model.text], tree.Group):
        got = f"the group `{declaration.model.text}`"
        hint = "name the member that teaches"
        checking.report(errors.wrong_type(declaration.model.span, "one model", got, hint))
        return None
    return members[0]


def _best(checking: Checking, name: tree.Name) -> typed.ObjectiveInfo | None:
    """What members are the best by: an objective whose value changes with the weights."""
    info = judging.objective_info(checking, name)
    if info is None or info.value.facts.level in ("example", "set"):
        return info
    what = f"`{name.text}` is a fact of the model, and the same for all weights that it may have"
    hint = "name an objective of examples or of a set, such as `accuracy`"
    checking.report(errors.wrong_level(name.span, what, hint))
    return None


def _per(checking: Checking, name: tree.Name) -> typed.Expr | None:
    """What there is one member for each value of: an objective or a metric."""
    found = checking.names.declared.get(name.text)
    kinds = (tree.Objective, tree.Metric)
    if isinstance(found, kinds):
        return declarations.value(checking, found, name)
    checking.used.add(name.text)
    if found is None:
        known = [k for k, each in checking.names.declared.items() if isinstance(each, kinds)]
        checking.report(errors.unknown_name(name, known, "metric"))
    else:
        kind = type(found).__name__.lower()
        checking.report(errors.wrong_type(name.span, "a metric", f"the {kind} `{name.text}`"))
    return None


def apply(
    checking: Checking, declaration: tree.Archive, call: tree.Call, scope: expressions.Scope
) -> typed.Expr | None:
    """A member of the archive applied: as its model, but with no gradient to any weights."""
    checking.used.add(declaration.name.text)
    model = checking.names.declared.get(declaration.model.text)
    if not isinstance(model, tree.Model):
        for argument in call.arguments:
            expressions.infer(checking, argument.value, scope)
        return None
    applied = models.forward(checking, model, call, scope)
    if applied is None:
        return None
    inner = frozenset[str]().union(*(each.facts.gradient for each in applied.inputs))
    facts = typed.Facts(applied.facts.type, "example", gradient=inner, data=applied.facts.data)
    return typed.Forward(declaration.name.text, applied.inputs, facts, span=call.span)


# ---------------------------------------------------------------- the whole


def review(
    checking: Checking,
    archives: Collection[str],
    explore: typed.ExploreInfo | None,
    adapt: typed.AdaptInfo | None,
    elsewhere: Iterator[tuple[Span, typed.Expr]],
) -> None:
    """Report archives where no candidate can have their members, and those that stay empty.

    archives    those without a fault
    elsewhere   all values but the losses that explore descends, by where each is read
    """
    seen: set[Span] = set()
    for place, value in elsewhere:
        for use in _uses(checking, value, archives):
            if use.span not in seen:
                seen.add(use.span)
                checking.report(errors.archive_outside_loss(use.span, use.model, place))
    if explore is None:
        return
    taught = [(each, _uses(checking, each.loss, archives)) for each in explore.descents]
    by_members = [(each, uses[0]) for each, uses in taught if uses]
    if not by_members:
        return
    descent, use = by_members[0]
    others = (*explore.evolutions, *explore.perturbations)
    if len(by_members) == len(explore.descents) and not others:
        checking.report(errors.archive_is_all(descent.loss.span, use.model))
    elif adapt is not None and not growth.is_written(checking):
        checking.report(errors.archive_without_growth(descent.loss.span, use.model))


def _uses(checking: Checking, value: typed.Expr, archives: Collection[str]) -> list[typed.Forward]:
    """Where a value applies an archive."""
    parts = walk(checking.written_out(value))
    return [each for each in parts if isinstance(each, typed.Forward) and each.model in archives]
