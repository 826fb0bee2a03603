"""SyntaxTree to TypedProgram: the whole checker, in the order a reader would check a spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, TypeVar

import attrs

from ev3lang.check import (
    archives,
    batches,
    data,
    declarations,
    errors,
    externs,
    judging,
    models,
    optimizers,
    phases,
    reviews,
    seeds,
    starts,
    sweeps,
    typed,
)
from ev3lang.check.causes import roots
from ev3lang.check.checking import Checking, only
from ev3lang.check.resolve import definitions, resolve
from ev3lang.diagnostics.diagnostic import NOT_BUILT, Diagnostic, Label
from ev3lang.source import Span
from ev3lang.syntax import tree


@attrs.frozen
class Settings:
    """What the experiment's own block says."""

    seed: int
    precision: Literal["f32", "bf16"]


@attrs.frozen(eq=False)
class Findings:
    """What one look at a file found out; None where a part is missing, at fault or to come."""

    settings: Settings
    data: typed.DataInfo | None
    models: Mapping[str, typed.ModelInfo | None]
    losses: Mapping[str, typed.LossInfo | None]
    objectives: Mapping[str, typed.ObjectiveInfo | None]
    metrics: Mapping[str, typed.MetricInfo | None]
    explore: typed.ExploreInfo | None
    ranking: typed.RankingInfo | None
    guards: tuple[typed.GuardInfo, ...] | None
    adapt: typed.AdaptInfo | None
    shown: tuple[typed.ShownInfo, ...] | None
    baselines: tuple[typed.BaselineInfo, ...]
    starts: Mapping[str, typed.StartInfo]
    externs: Mapping[str, typed.ExternInfo | None]
    archives: Mapping[str, typed.ArchiveInfo | None]


@attrs.frozen(eq=False)
class Checked:
    """What a check of a file gives.

    points       every run that it asks for, one without a sweep; none where the file is at fault
                 or has parts that can't be run yet
    types        what is known of each expression that could be typed, by its place
    definitions  where each name that is used is declared, by the place of the use
    """

    points: tuple[sweeps.Point, ...]
    diagnostics: tuple[Diagnostic, ...]
    types: Mapping[Span, typed.Facts]
    definitions: Mapping[Span, Span]


def check(
    syntax_tree: tree.SyntaxTree,
    overrides: Mapping[str, tree.Expression],
    default_name: str,
    seed: int | None = None,
    review: Callable[[typed.TypedProgram], Iterable[Diagnostic]] = lambda program: (),
) -> Checked:
    """Check a file.

    overrides     params set from outside, by name
    default_name  of the experiment, where the spec gives none
    seed          instead of the spec's own; like an override, it is no axis of a sweep then
    review        what else there is to say of a program without a fault
    A sweep is checked at every point.
    """
    names, faults = resolve(syntax_tree)
    checking = Checking(names, overrides, found=list(faults))
    axes = () if names.sweep is None else sweeps.axes(checking, names.sweep)
    fixed = overrides if seed is None else {**overrides, "seed": seed}
    axes = tuple(axis for axis in axes if axis.name.text not in fixed)
    first, *others = sweeps.checked_points(axes)
    runs = math.prod(len(axis.values) for axis in axes)
    everywhere = list(checking.found)
    looks: list[_Look] = []
    for point in (first, *others):
        if looks:
            checking = Checking(names, overrides, found=list(everywhere))
        checking.overrides, checking.runs = {**point, **overrides}, runs
        looks.append(_Look(point, checking, _look(checking, syntax_tree)))
    if all(_is_ready(look.checking.found) for look in looks):
        for look in looks:
            for each in review(_program(look.checking, look.findings, default_name)):
                look.checking.report(each)
    checking = looks[0].checking
    found = checking.found
    if axes:
        _unused_axes(checking, axes)
        found = everywhere + _at_points(everywhere, looks)
    ordered = sorted(found, key=_place(syntax_tree))
    diagnostics = roots(_merged(ordered, names.declared), syntax_tree.declarations)
    return Checked(
        tuple(_points(looks, axes, default_name, seed)) if _is_ready(diagnostics) else (),
        diagnostics,
        checking.types,
        definitions(names, syntax_tree),
    )


def _is_ready(found: Iterable[Diagnostic]) -> bool:
    """Whether what was found lets a file be run."""
    return not any(each.severity == "error" or each.code == NOT_BUILT for each in found)


def _look(checking: Checking, syntax_tree: tree.SyntaxTree) -> Findings:
    """Check all of a file, with the params as they are set."""
    names = checking.names
    settings = _experiment(checking)
    _params(checking)
    blocks = _data_blocks(checking)
    losses, objectives, metrics = _values(checking)
    infos = {
        name: models.model(checking, each)
        for name, each in names.declared.items()
        if isinstance(each, tree.Model)
    }
    found: dict[str, typed.StartInfo] = {}
    for each in names.declared.values():
        if isinstance(each, tree.Model):
            begun = starts.start(checking, each)
            if begun is not None:
                found[each.name.text] = begun
        elif isinstance(each, tree.Group):
            used = each.name.text in checking.used
            declarations.members(checking, each.name)
            if not used:
                checking.used.discard(each.name.text)
        elif isinstance(each, tree.Optimizer):
            optimizers.check_declared(checking, each)
    functions = {
        name: externs.extern(checking, each)
        for name, each in names.declared.items()
        if isinstance(each, tree.Extern)
    }
    kept = {
        name: archives.archive(checking, each)
        for name, each in names.declared.items()
        if isinstance(each, tree.Archive)
    }
    explore = None if names.explore is None else phases.explore(checking, names.explore)
    ranking = guards = None
    if names.assess is not None:
        ranking = judging.ranking(checking, names.assess)
        guards = judging.guards(checking, names.assess)
    info = _read_block(checking, explore, found, objectives, blocks)
    block = next(iter(blocks.values()), None) if len(blocks) == 1 else info
    adapt = None
    if names.adapt is not None:
        batch = None if explore is None else explore.batch
        drawn = None if block is None else data.with_batch(block, batch)
        adapt = phases.adapt(checking, names.adapt, ranking, drawn)
    explored = names.explore.model.text if names.explore is not None else ""
    shown, baselines = phases.report(
        checking, names.report, explore.models if explore is not None else (), explored
    )
    _same_model(checking)
    if kept:
        elsewhere = _outside_explore(checking, found, baselines, shown or (), guards or ())
        sound = [name for name, each in kept.items() if each is not None]
        archives.review(checking, sound, explore, adapt, elsewhere)
    starts.review_trained(checking, found, info)
    if info is not None:
        _batches(checking, info, explore)
    if not any(each.severity == "error" for each in checking.found):
        # Where errors may hide what a part reads or does, a second thought would be a guess.
        _unused(checking, syntax_tree)
        batches.review(checking, info, explore, infos)
        reviews.review(checking, block, infos, objectives, adapt, guards or ())
    return Findings(
        settings,
        info,
        infos,
        losses,
        objectives,
        metrics,
        explore,
        ranking,
        guards,
        adapt,
        shown,
        baselines,
        found,
        functions,
        kept,
    )


def _program(checking: Checking, findings: Findings, default_name: str) -> typed.TypedProgram:
    """The program of a file without a fault."""
    info, explore, adapt = findings.data, findings.explore, findings.adapt
    assert info is not None and explore is not None and adapt is not None
    assert findings.ranking is not None and findings.guards is not None
    experiment = checking.names.experiment
    objectives = _known(findings.objectives)
    return typed.TypedProgram(
        name=default_name if experiment is None else experiment.name.text,
        seed=findings.settings.seed,
        data=data.with_batch(info, explore.batch),
        models=_known(findings.models),
        values=_known(checking.values),
        written_out=checking.written_out,
        losses=_known(findings.losses),
        objectives=objectives,
        metrics=_known(findings.metrics),
        explore=explore,
        ranking=findings.ranking,
        guards=findings.guards,
        adapt=adapt,
        shown=findings.shown
        if findings.shown is not None
        else tuple(typed.ShownInfo(name, each.value) for name, each in objectives.items()),
        baselines=findings.baselines,
        precision=findings.settings.precision,
        starts=findings.starts,
        externs=_known(findings.externs),
        archives=_known(findings.archives),
    )


# ---------------------------------------------------------------- sweeps


@attrs.frozen(eq=False)
class _Look:
    """What was found at one combination of a sweep, seeds aside."""

    point: Mapping[str, tree.Expression]
    checking: Checking
    findings: Findings


def _points(
    looks: list[_Look], axes: tuple[sweeps.Axis, ...], default_name: str, seed: int | None
) -> Iterator[sweeps.Point]:
    """The runs of a file without a fault; those that differ in the seed alone come together."""
    for look in looks:
        program = _program(look.checking, look.findings, default_name)
        if seed is not None:
            program = attrs.evolve(program, seed=seed)
        for values in sweeps.with_seeds(axes, look.point):
            drawn = seeds.seed_of(look.checking, values["seed"]) if "seed" in values else None
            yield sweeps.Point(
                {name: sweeps.as_text(value) for name, value in values.items()},
                program if drawn is None else attrs.evolve(program, seed=drawn),
            )


def _unused_axes(checking: Checking, axes: tuple[sweeps.Axis, ...]) -> None:
    """Report an axis of a param that nothing else reads; an error, so only where there is none."""
    if any(each.severity == "error" for each in checking.found):
        return
    for axis in axes:
        if axis.name.text not in (*checking.used, "seed"):
            checking.report(errors.unused_axis(axis.name))


def _at_points(everywhere: list[Diagnostic], looks: list[_Look]) -> list[Diagnostic]:
    """What is found at the points, each once; beside it the point, unless every point has it.

    everywhere  what was found before any look
    """
    seen: dict[tuple[object, ...], list[Diagnostic]] = {}
    first_at: dict[tuple[object, ...], Mapping[str, tree.Expression]] = {}
    for look in looks:
        for each in look.checking.found:
            key = (each.code, each.span, each.message)
            seen.setdefault(key, []).append(each)
            first_at.setdefault(key, look.point)
    known = {(each.code, each.span, each.message) for each in everywhere}
    return [
        each[0]
        if len(each) == len(looks) or each[0].code == "unused-axis"
        else sweeps.at_point(each[0], first_at[key])
        for key, each in seen.items()
        if key not in known and not _is_axis(each[0], looks[0].point)
    ]


def _is_axis(diagnostic: Diagnostic, point: Mapping[str, tree.Expression]) -> bool:
    """Whether it says of an axis's param that nothing reads it: `unused-axis` says more."""
    is_unused = diagnostic.code == "unused-name" and diagnostic.span is not None
    return is_unused and diagnostic.span is not None and diagnostic.span.text in point


# ---------------------------------------------------------------- putting diagnostics in order


def _place(syntax_tree: tree.SyntaxTree) -> Callable[[Diagnostic], tuple[int, str, int, int]]:
    """The file's own diagnostics first, then those of used files, each in the text's order."""

    def key(diagnostic: Diagnostic) -> tuple[int, str, int, int]:
        span = diagnostic.span
        if span is None:
            return (-1, "", 0, 0)
        is_used = span.source is not syntax_tree.span.source
        return (int(is_used), span.source.name, span.start, span.end)

    return key


_OF_A_TYPE = ("wrong-type", "wrong-scores", "not-a-value", "shape-mismatch", "class-count")


def _merged(diagnostics: list[Diagnostic], names: Mapping[str, object]) -> list[Diagnostic]:
    """One mistake for each name and message, however often it shows: later places are labels.

    names   what the file declares: one of the wrong type is a mistake where it is declared
    """
    first: dict[tuple[str, str], int] = {}
    merged: list[Diagnostic] = []
    for each in diagnostics:
        keys = _mistakes(each, names)
        at = next((first[key] for key in keys if key in first), len(merged))
        for key in keys:
            first.setdefault(key, at)
        if each.span is None or at == len(merged):
            merged.append(each)
        else:
            label = Label(each.span, "and here")
            merged[at] = attrs.evolve(merged[at], labels=(*merged[at].labels, label))
    return merged


def _mistakes(diagnostic: Diagnostic, names: Mapping[str, object]) -> list[tuple[str, str]]:
    """What a diagnostic shares with others about the same mistake."""
    code, text = diagnostic.code, "" if diagnostic.span is None else diagnostic.span.text
    if code == "unknown-name":
        return [(code, text)]
    if code in _OF_A_TYPE:
        return [(code, diagnostic.message), *([(code, text)] if text in names else [])]
    return []


Value = TypeVar("Value")


def _known(table: Mapping[str, Value | None]) -> Mapping[str, Value]:
    return MappingProxyType({name: each for name, each in table.items() if each is not None})


def _experiment(checking: Checking) -> Settings:
    block = checking.names.experiment
    seed = 0
    precision: Literal["f32", "bf16"] = "f32"
    seen: dict[str, tree.Setting] = {}
    for setting in block.settings if block is not None else ():
        name = setting.name.text
        if name in seen:
            checking.report(errors.duplicate_statement(setting.span, seen[name].span, f"`{name}`"))
            continue
        seen[name] = setting
        match name, setting.value:
            case "seed", value:
                seed = seeds.seed_of(checking, value) or 0
            case "precision", tree.Name(text="f32" | "bf16" as found):
                precision = "bf16" if found == "bf16" else "f32"
            case "precision", value:
                checking.report(errors.wrong_type(value.span, "`f32` or `bf16`", value.span.text))
            case _:
                checking.report(errors.unknown_setting(setting.name, ("seed", "precision")))
    return Settings(seed, precision)


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
    begun: Mapping[str, typed.StartInfo],
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
    for start in begun.values():
        if isinstance(start, typed.TrainedByInfo) and start.loss.facts.data is not None:
            read.setdefault(start.loss.facts.data, start.loss)
    for other in list(read)[1:]:
        what = "a run over several data blocks"
        checking.report(errors.not_built_yet(read[other].span, what))
    return blocks.get(next(iter(read))) if read else None


def _outside_explore(
    checking: Checking,
    begun: Mapping[str, typed.StartInfo],
    baselines: tuple[typed.BaselineInfo, ...],
    shown: tuple[typed.ShownInfo, ...],
    guards: tuple[typed.GuardInfo, ...],
) -> Iterator[tuple[Span, typed.Expr]]:
    """All that is computed but by what explore descends: each value, by where it is read."""
    for name, declaration in checking.names.declared.items():
        value = checking.values.get(name)
        if value is not None and isinstance(declaration, tree.Objective | tree.Metric):
            yield declaration.name.span, value
    for value in (
        *(each.loss for each in begun.values() if isinstance(each, typed.TrainedByInfo)),
        *(each.loss for each in baselines),
        *(each.value for each in shown),
        *(each.measure.value for each in guards),
    ):
        yield value.span, value


def _same_model(checking: Checking) -> None:
    names = checking.names
    if names.explore is None:
        return
    explored = names.declared.get(names.explore.model.text)
    if not isinstance(explored, tree.Model | tree.Group):
        return  # the name of the explored model is at fault, and was reported
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
        stated = only(checking, block.items, tree.Batch, "`batch`")
        place = place if stated is None else stated.size
    data.check_batch(checking, info, info.batch if batch is None else batch.size, place)


_REPORTED_UNUSED = (
    tree.Param,
    tree.Data,
    tree.Model,
    tree.Group,
    tree.Let,
    tree.Loss,
    tree.Metric,
    tree.Optimizer,
    tree.Extern,
    tree.Archive,
)


def _unused(checking: Checking, syntax_tree: tree.SyntaxTree) -> None:
    """Warn of what nothing reads; a used file may declare more than one spec needs."""
    for name, each in checking.names.declared.items():
        is_own = each.span.source is syntax_tree.span.source
        if is_own and isinstance(each, _REPORTED_UNUSED) and name not in checking.used:
            checking.report(errors.unused(each.name, type(each).__name__.lower()))
