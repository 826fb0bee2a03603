"""SyntaxTree to TypedProgram: the whole checker, in the order a reader would check a spec."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

from ev3lang.check import data, declarations, errors, models, optimizers, phases, typed
from ev3lang.check.checking import Checking
from ev3lang.check.resolve import resolve
from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.syntax import tree


def check(
    syntax_tree: tree.SyntaxTree,
    overrides: Mapping[str, tree.Expression],
    default_name: str,
) -> tuple[typed.TypedProgram | None, tuple[Diagnostic, ...]]:
    """Check a file. The program is None where it is at fault or has parts that can't be run yet.

    overrides     params set from outside, by name
    default_name  of the experiment, where the spec gives none
    """
    names, found = resolve(syntax_tree)
    checking = Checking(names, overrides, found=list(found))
    for declaration in syntax_tree.declarations:
        _not_built_declaration(checking, declaration)
    seed = _experiment(checking)
    _params(checking)
    blocks = _data_blocks(checking)
    losses, objectives, metrics = _values(checking)
    infos = {
        name: models.model(checking, each)
        for name, each in names.declared.items()
        if isinstance(each, tree.Model)
    }
    for each in names.declared.values():
        if isinstance(each, tree.Model):
            models.check_block(checking, each)
        elif isinstance(each, tree.Group):
            used = each.name.text in checking.used
            declarations.members(checking, each.name)
            if not used:
                checking.used.discard(each.name.text)
        elif isinstance(each, tree.Optimizer):
            optimizers.check_declared(checking, each)
    explore = None if names.explore is None else phases.explore(checking, names.explore)
    rank_by = None if names.assess is None else phases.assess(checking, names.assess)
    info = _read_block(checking, explore, objectives, blocks)
    block = next(iter(blocks.values()), None) if len(blocks) == 1 else info
    is_endless = block is not None and block.is_endless
    adapt = None if names.adapt is None else phases.adapt(checking, names.adapt, is_endless)
    explored = names.explore.model.text if names.explore is not None else ""
    shown, baselines = phases.report(
        checking, names.report, explore.models if explore is not None else (), explored
    )
    _same_model(checking)
    _unused(checking)
    if info is not None:
        _batches(checking, info, explore)
    diagnostics = tuple(sorted(checking.found, key=_place))
    stops = [each for each in diagnostics if each.severity == "error" or each.code == NOT_BUILT]
    if stops:
        return None, diagnostics
    parts = (info, explore, rank_by, adapt)
    assert None not in parts and None not in (*infos.values(), *losses.values(), *metrics.values())
    assert info is not None and explore is not None and rank_by is not None and adapt is not None
    known = {name: each for name, each in objectives.items() if each is not None}
    program = typed.TypedProgram(
        name=default_name if names.experiment is None else names.experiment.name.text,
        seed=seed,
        data=data.with_batch(info, explore.batch),
        models=_known(infos),
        values=_known(checking.values),
        losses=_known(losses),
        objectives=MappingProxyType(known),
        metrics=_known(metrics),
        explore=explore,
        rank_by=rank_by,
        adapt=adapt,
        shown=shown
        if shown is not None
        else tuple(typed.ShownInfo(name, each.value) for name, each in known.items()),
        baselines=baselines,
    )
    return program, diagnostics


NOT_BUILT = "not-built-yet"


Value = TypeVar("Value")


def _known(table: Mapping[str, Value | None]) -> Mapping[str, Value]:
    return MappingProxyType({name: each for name, each in table.items() if each is not None})


def _place(diagnostic: Diagnostic) -> tuple[int, int]:
    span = diagnostic.span
    return (-1, -1) if span is None else (span.start, span.end)


def _not_built_declaration(checking: Checking, declaration: tree.Declaration) -> None:
    match declaration:
        case tree.Use():
            what = "`use` of another file"
        case tree.Extern():
            what = "an `extern` function"
        case tree.Archive():
            what = "an `archive`"
            declarations.members(checking, declaration.model)
            checking.used.update((declaration.best.text, declaration.per.text))
        case tree.Allow():
            what = "`allow`"
        case tree.Sweep():
            what = "`sweep`"
            checking.used.update(axis.name.text for axis in declaration.axes)
        case _:
            return
    checking.report(errors.not_built_yet(declaration.keyword_span, what))


def _experiment(checking: Checking) -> int:
    block = checking.names.experiment
    seed = 0
    seen: dict[str, tree.Setting] = {}
    for setting in block.settings if block is not None else ():
        name = setting.name.text
        if name in seen:
            checking.report(errors.duplicate_statement(setting.span, seen[name].span, f"`{name}`"))
            continue
        seen[name] = setting
        match name, setting.value:
            case "seed", tree.Number(unit=None, value=int() as value):
                seed = value
            case "seed", value:
                checking.report(
                    errors.wrong_type(value.span, "a whole number as the seed", value.span.text)
                )
            case "precision", tree.Name(text="f32"):
                pass
            case "precision", tree.Name(text="bf16"):
                checking.report(errors.not_built_yet(setting.span, "`precision bf16`"))
            case "precision", value:
                checking.report(errors.wrong_type(value.span, "`f32` or `bf16`", value.span.text))
            case _:
                checking.report(errors.unknown_setting(setting.name, ("seed", "precision")))
    return seed


def _params(checking: Checking) -> None:
    """Check every param, used or not, and that each name set from outside is one."""
    declared = {
        name: each for name, each in checking.names.declared.items() if isinstance(each, tree.Param)
    }
    for name in checking.overrides:
        if name not in declared:
            checking.report(errors.unknown_override(name, tuple(declared)))
    for name, each in declared.items():
        was_used = name in checking.used
        declarations.param(checking, each)
        if not was_used:
            checking.used.discard(name)


def _data_blocks(checking: Checking) -> Mapping[str, typed.DataInfo | None]:
    return {
        name: data.data(checking, each)
        for name, each in checking.names.declared.items()
        if isinstance(each, tree.Data)
    }


def _values(
    checking: Checking,
) -> tuple[
    Mapping[str, typed.LossInfo | None],
    Mapping[str, typed.ObjectiveInfo | None],
    Mapping[str, typed.MetricInfo | None],
]:
    losses: dict[str, typed.LossInfo | None] = {}
    objectives: dict[str, typed.ObjectiveInfo | None] = {}
    metrics: dict[str, typed.MetricInfo | None] = {}
    for name, each in checking.names.declared.items():
        match each:
            case tree.Let():
                was_used = name in checking.used
                declarations.value(checking, each, each.name)
                if not was_used:
                    checking.used.discard(name)
            case tree.Loss():
                losses[name] = declarations.loss(checking, each, each.name)
            case tree.Objective():
                objectives[name] = declarations.objective(checking, each)
            case tree.Metric():
                metrics[name] = declarations.metric(checking, each)
            case _:
                pass
    return losses, objectives, metrics


def _read_block(
    checking: Checking,
    explore: typed.ExploreInfo | None,
    objectives: Mapping[str, typed.ObjectiveInfo | None],
    blocks: Mapping[str, typed.DataInfo | None],
) -> typed.DataInfo | None:
    """The one data block that the run reads."""
    read: dict[str, typed.Expr] = {}
    for descent in explore.descents if explore is not None else ():
        if descent.loss.facts.data is not None:
            read.setdefault(descent.loss.facts.data, descent.loss)
    for objective in objectives.values():
        if objective is not None and objective.value.facts.data is not None:
            read.setdefault(objective.value.facts.data, objective.value)
    for other in list(read)[1:]:
        what = "a run over several data blocks"
        checking.report(errors.not_built_yet(read[other].span, what))
    return blocks.get(next(iter(read))) if read else None


def _same_model(checking: Checking) -> None:
    names = checking.names
    if names.explore is None:
        return
    for block in (names.assess, names.adapt):
        if block is not None and block.model.text != names.explore.model.text:
            checking.report(errors.other_model(block.model, names.explore.model))


def _batches(checking: Checking, info: typed.DataInfo, explore: typed.ExploreInfo | None) -> None:
    declaration = checking.names.declared[info.name]
    assert isinstance(declaration, tree.Data)
    batch = explore.batch if explore is not None else None
    place: tree.Node = data.batch_place(declaration)
    block = checking.names.explore
    if batch is not None and block is not None:
        stated = phases.only(checking, block.items, tree.Batch, "`batch`")
        place = place if stated is None else stated.size
    data.check_batch(checking, info, info.batch if batch is None else batch, place)


_REPORTED_UNUSED = (
    tree.Param,
    tree.Data,
    tree.Model,
    tree.Group,
    tree.Let,
    tree.Loss,
    tree.Metric,
    tree.Optimizer,
)


def _unused(checking: Checking) -> None:
    """Warn of what nothing reads; not where errors may hide the reading."""
    if any(each.severity == "error" for each in checking.found):
        return
    for name, each in checking.names.declared.items():
        if isinstance(each, _REPORTED_UNUSED) and name not in checking.used:
            checking.report(errors.unused(each.name, type(each).__name__.lower()))
