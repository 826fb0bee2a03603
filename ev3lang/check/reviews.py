"""What a careful reviewer would ask of a spec whose every part is right by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ev3lang.catalog.index import FUNCTIONS, SOURCES
from ev3lang.catalog.signature import SCORES
from ev3lang.check import declarations, errors, growth, optimizers, power, typed
from ev3lang.check.amounts import ACCEPTED, STEPS, settled
from ev3lang.check.checking import Checking
from ev3lang.check.expand import walk
from ev3lang.syntax import tree


def review(
    checking: Checking,
    info: typed.DataInfo | None,
    models: Mapping[str, typed.ModelInfo | None],
    objectives: Mapping[str, typed.ObjectiveInfo | None],
    adapt: typed.AdaptInfo | None,
    guards: tuple[typed.GuardInfo, ...],
) -> None:
    """Look at the whole. Called for a spec without errors only."""
    iterations = planned_iterations(checking)
    power.review(checking, info, adapt, guards, iterations)
    power.review_guards(checking)
    growth.review_passes(checking)
    _stop(checking)
    _ranking(checking)
    _schedules(checking, iterations)
    _averages(checking, iterations)
    _baselines(checking)
    _directions(checking, objectives)
    _models(checking, models)
    _inputs(checking, info)
    _leaks(checking, objectives)
    _stale(checking, info)
    _futures(checking, models)


def planned_iterations(checking: Checking) -> int | None:
    """The most iterations that the spec's stop allows, None where it counts none."""
    counts = [
        settled(checking, each.amount, "iterations")
        for each in _stop_conditions(checking)
        if isinstance(each, tree.StopAfter) and each.amount.unit in ("iteration", "iterations")
    ]
    return min((int(each.value) for each in counts if each is not None), default=None)


def _adapt_items(checking: Checking) -> tuple[tree.AdaptItem, ...]:
    return checking.names.adapt.items if checking.names.adapt is not None else ()


def _explore_items(checking: Checking) -> tuple[tree.ExploreItem, ...]:
    return checking.names.explore.items if checking.names.explore is not None else ()


def _stop_conditions(
    checking: Checking,
) -> Iterator[tree.StopAfter | tree.StopWhen | tree.StopTargets]:
    for each in _adapt_items(checking):
        if isinstance(each, tree.Stop):
            yield from each.conditions


# ---------------------------------------------------------------- phases


def _stop(checking: Checking) -> None:
    conditions = list(_stop_conditions(checking))
    if conditions and not any(isinstance(each, tree.StopAfter) for each in conditions):
        checking.report(errors.may_not_stop(conditions[0].span))


def _ranking(checking: Checking) -> None:
    """Candidates ranked by one thing and accepted by another."""
    assess = checking.names.assess
    ranks = [each for each in (assess.items if assess else ()) if isinstance(each, tree.RankBy)]
    accepts = [each for each in _adapt_items(checking) if isinstance(each, tree.Accept)]
    if len(ranks) != 1 or len(accepts) != 1 or accepts[0].objective is None:
        return
    (rank,), (accept,) = ranks, accepts
    first = rank.keys[0]
    named = {node.text for node in tree.walk(first) if isinstance(node, tree.Name)}
    if accept.objective is not None and accept.objective.text not in named:
        checking.report(errors.rank_differs(accept.objective, first.span, first.span.text))


_ZERO_AT_END = {
    "cosine": ("over", "alpha"),
    "cosine_decay_schedule": ("decay_steps", "alpha"),
    "linear_schedule": ("transition_steps", "end_value"),
    "polynomial_schedule": ("transition_steps", "end_value"),
    "warmup_cosine": ("over", "end_value"),
    "warmup_cosine_decay_schedule": ("decay_steps", "end_value"),
}
_RISES_UNTIL = {
    "warmup": "over",
    "warmup_constant_schedule": "warmup_steps",
    "warmup_cosine": "warmup_steps",
    "warmup_cosine_decay_schedule": "warmup_steps",
}


def _schedules(checking: Checking, iterations: int | None) -> None:
    """Schedules that end at zero inside the run, or never get off the ground."""
    resets = any(
        isinstance(each, tree.OptimizerState) and each.mode == "reset"
        for each in _explore_items(checking)
    )
    for item in _explore_items(checking):
        if not isinstance(item, tree.Descend):
            continue
        number = settled(checking, item.amount, STEPS)
        if number is None:
            continue
        steps = int(number.value)
        if resets:
            total = steps
        elif iterations is not None:
            total = steps * iterations
        else:
            continue
        for written in item.optimizers:
            chain = optimizers.optimizer(checking, written)
            for link in chain.links if chain is not None else ():
                for _, schedule in link.options:
                    if isinstance(schedule, typed.LinkInfo):
                        _schedule(checking, written, schedule, steps, total)


def _schedule(
    checking: Checking, place: tree.Expression, schedule: typed.LinkInfo, steps: int, total: int
) -> None:
    options = dict(schedule.options)
    length, end = _ZERO_AT_END.get(schedule.name, ("", ""))
    last = options.get(length)
    begin = options.get("transition_begin", 0)
    if isinstance(last, int) and isinstance(begin, int) and options.get(end) == 0:
        last += begin
        if last < total:
            checking.report(errors.schedule_short(place.span, schedule.name, last, steps, total))
    peak = options.get(_RISES_UNTIL.get(schedule.name, ""))
    if isinstance(peak, int) and peak > total:
        checking.report(errors.schedule_long(place.span, schedule.name, peak, total))


def _averages(checking: Checking, iterations: int | None) -> None:
    for item in _explore_items(checking):
        if isinstance(item, tree.Average):
            number = settled(checking, item.count, ACCEPTED)
            count = 0 if number is None else number.value
            if count == 1:
                checking.report(
                    errors.out_of_range(item.count.span, "an average", "of 2 or more", 1)
                )
            elif iterations is not None and count > iterations:
                checking.report(errors.average_too_long(item.count.span, int(count), iterations))


def _baselines(checking: Checking) -> None:
    """Baselines of an experiment in which nothing takes a gradient step."""
    report = checking.names.report
    items = _explore_items(checking)
    if not items or any(isinstance(each, tree.Descend) for each in items):
        return
    for item in report.items if report is not None else ():
        if isinstance(item, tree.Baseline):
            checking.report(errors.idle_baseline(item.name))


# ---------------------------------------------------------------- objectives and models


def _directions(checking: Checking, objectives: Mapping[str, typed.ObjectiveInfo | None]) -> None:
    """An objective that maximises what is better low, or the other way round."""
    for name, objective in objectives.items():
        if objective is None:
            continue
        value = checking.written_out(objective.value)
        while isinstance(value, typed.Apply) and value.function in ("clip", "mean"):
            value = value.inputs[0]
        entry = FUNCTIONS.get(value.function) if isinstance(value, typed.Apply) else None
        if entry is None or entry.better is None:
            continue
        wanted = "maximize" if entry.better == "higher" else "minimize"
        if objective.direction != wanted:
            declaration = checking.names.declared[name]
            assert isinstance(declaration, tree.Objective)
            checking.report(errors.wrong_direction(declaration.value.span, entry.name, wanted))


def _models(checking: Checking, models: Mapping[str, typed.ModelInfo | None]) -> None:
    """Models that nothing trains, and models that are trained in two ways."""
    block = checking.names.explore
    explored = () if block is None else declarations.members(checking, block.model)
    for name in models:
        declaration = checking.names.declared[name]
        assert isinstance(declaration, tree.Model)
        starts = [e for e in declaration.items if not isinstance(e, tree.Frozen)]
        if len(starts) > 1:
            checking.report(errors.trained_twice(starts[1].span, starts[0].span))
        is_set = bool(starts) or declaration.module is not None
        if name not in explored and not is_set and name in checking.used:
            checking.report(errors.untrained_model(declaration.name))


# ---------------------------------------------------------------- data


def _inputs(checking: Checking, info: typed.DataInfo | None) -> None:
    """Fields whose numbers differ in scale by orders of magnitude, taken as they are."""
    entry = None if info is None else SOURCES.get(info.source)
    if info is None or entry is None:
        return
    normalized = {each.field for each in info.normalized}
    for name in entry.unscaled:
        if name in normalized:
            continue
        for declaration in checking.names.declared.values():
            if isinstance(declaration, tree.Model):
                for field in declaration.input.fields:
                    bare = field.name if isinstance(field, tree.Member) else field
                    if bare.text == name:
                        checking.report(errors.unnormalized_input(field.span, name, info.name))


def _leaks(checking: Checking, objectives: Mapping[str, typed.ObjectiveInfo | None]) -> None:
    """Inputs that are made of the label, and teachers that may have seen the split."""
    targets: set[str] = set()
    for objective in objectives.values():
        if objective is not None:
            targets |= _targets(checking, objective.value)
    for declaration in checking.names.declared.values():
        if isinstance(declaration, tree.Model):
            for field in declaration.input.fields:
                bare = field.name if isinstance(field, tree.Member) else field
                for target in sorted(_sources(checking, bare.text) & targets):
                    checking.report(errors.label_leak(field.span, bare.text, target))
        elif isinstance(declaration, tree.Data):
            for item in declaration.items:
                if isinstance(item, tree.FieldItem) and item.name.text in checking.used:
                    kind = item.type.head.text
                    if kind in ("logits", "probs", "log_probs"):
                        checking.report(errors.teacher_split_unknown(item.span, item.name.text))


def _stale(checking: Checking, info: typed.DataInfo | None) -> None:
    """Stored outputs in a loss beside a model whose input is another one in each step."""
    places = {
        item.field.text: item.span
        for declaration in checking.names.declared.values()
        if isinstance(declaration, tree.Data)
        for item in declaration.items
        if isinstance(item, tree.AugmentItem)
    }
    if info is None or not info.augmented:
        return
    # mixup weighs the losses with both outputs
    changing = {
        each.field
        for each in info.augmented
        if any(operation.name != "mixup" for operation in each.operations)
    }
    for loss in checking.losses.values():
        if loss is None:
            continue
        parts = list(walk(checking.written_out(loss.value)))
        seen = {
            part.name
            for part in walk(*(e for m in parts if isinstance(m, typed.Forward) for e in m.inputs))
            if isinstance(part, typed.Field)
        }
        for part in parts:
            if isinstance(part, typed.Field) and part.facts.type.kind in SCORES:
                for name in sorted(seen & changing):
                    checking.report(errors.stale_scores(places[name], name, part.name))


def _futures(checking: Checking, models: Mapping[str, typed.ModelInfo | None]) -> None:
    """Models that are to foretell the tokens that they look at."""
    values = [checking.written_out(each) for each in checking.values.values() if each is not None]
    beside = [
        each
        for part in walk(*values)
        if isinstance(part, typed.Apply) and any(map(_foretells, part.inputs))
        for each in part.inputs
    ]
    for part in walk(*beside):
        info = models.get(part.model) if isinstance(part, typed.Forward) else None
        if info is not None and _looks_ahead(info.layers):
            checking.report(errors.sees_its_target(part.span, info.name))


def _foretells(value: typed.Expr) -> bool:
    return isinstance(value, typed.Apply) and value.function == "next_token"


def _looks_ahead(layers: tuple[typed.LayerInfo, ...]) -> bool:
    return any(
        dict(layer.options).get("causal") is False or _looks_ahead(layer.inner) for layer in layers
    )


def _targets(checking: Checking, value: typed.Expr) -> set[str]:
    """The labels that a value is compared with: fields outside of every model's inputs."""
    found: set[str] = set()
    seen: set[typed.Expr] = set()
    waiting = [checking.written_out(value)]
    while waiting:
        part = waiting.pop()
        if part in seen:
            continue
        seen.add(part)
        if isinstance(part, typed.Field):
            if part.facts.type.kind in ("class", "multi", "bool", "real", "int"):
                found |= _sources(checking, part.name)
        elif isinstance(part, typed.Apply):
            waiting.extend(part.inputs)
    return found


def _sources(checking: Checking, name: str) -> set[str]:
    """A field and all fields that it is derived from."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        field = waiting.pop()
        if field in found:
            continue
        found.add(field)
        for symbol in checking.names.fields.get(field, ()):
            info = checking.field_infos.get((symbol.data, field))
            if info is not None and info.value is not None:
                parts = walk(checking.written_out(info.value))
                waiting += [each.name for each in parts if isinstance(each, typed.Field)]
    return found
