"""Optimizers: chains of links, with schedules where a rate may change over steps."""

from __future__ import annotations

from typing import Literal

from ev3lang.catalog.index import OPTIMIZERS
from ev3lang.catalog.optimizers import DECAYS, DECAYS_ALL, DECAYS_UNMASKED
from ev3lang.catalog.signature import Optimizer, Option, Value
from ev3lang.check import errors, expressions, typed
from ev3lang.check.arguments import bind
from ev3lang.check.checking import Checking
from ev3lang.syntax import tree
from ev3lang.syntax.write import write_expression


def optimizer(checking: Checking, expression: tree.Expression) -> typed.OptimizerInfo | None:
    """A declared optimizer by its name, or a chain as it is written."""
    if isinstance(expression, tree.Name):
        declaration = checking.names.declared.get(expression.text)
        if isinstance(declaration, tree.Optimizer):
            return _declared(checking, declaration)
        if declaration is not None or expression.text not in OPTIMIZERS:
            _not_an_optimizer(checking, expression, declaration)
            return None
    return _chain(checking, expression, write_expression(expression))


def _declared(checking: Checking, declaration: tree.Optimizer) -> typed.OptimizerInfo | None:
    name = declaration.name.text
    checking.used.add(name)
    return check_declared(checking, declaration)


def check_declared(checking: Checking, declaration: tree.Optimizer) -> typed.OptimizerInfo | None:
    """A declared chain under its own name."""
    name = declaration.name.text
    if name not in checking.optimizers:
        checking.optimizers[name] = _chain(checking, declaration.chain, name)
    return checking.optimizers[name]


def _not_an_optimizer(
    checking: Checking, name: tree.Name, declaration: tree.Declaration | None
) -> None:
    if declaration is not None:
        kind = type(declaration).__name__.lower()
        checking.report(errors.wrong_type(name.span, "an optimizer", f"the {kind} `{name.text}`"))
        return
    known = [
        each.name.text
        for each in checking.names.declared.values()
        if isinstance(each, tree.Optimizer)
    ]
    checking.report(errors.unknown_name(name, (*known, *OPTIMIZERS), "optimizer"))


def _chain(
    checking: Checking, expression: tree.Expression, name_of_chain: str
) -> typed.OptimizerInfo | None:
    stages = expression.stages if isinstance(expression, tree.Pipe) else (expression,)
    links: list[typed.LinkInfo] = []
    cut: tree.DecayOnly | None = None
    roles: set[str] = set()
    for stage in stages:
        if isinstance(stage, tree.DecayOnly):
            if stage.what.text != "matrices":
                checking.report(errors.unknown_choice(stage.what, "kind of weights", ["matrices"]))
                return None
            cut = stage
            continue
        if not isinstance(stage, (tree.Name, tree.Call)):
            checking.report(errors.wrong_type(stage.span, "an optimizer", f"`{stage.span.text}`"))
            return None
        name = stage.function if isinstance(stage, tree.Call) else stage
        entry = OPTIMIZERS.get(name.text)
        if entry is None:
            _not_an_optimizer(checking, name, checking.names.declared.get(name.text))
            return None
        if entry.role == "schedule":
            checking.report(
                errors.wrong_type(
                    stage.span,
                    "an optimizer",
                    f"the schedule `{name.text}`",
                    f"a schedule stands in the place of a rate: `adam({name.text}(…))`",
                )
            )
            return None
        roles.add(entry.role)
        link = _link(checking, entry, stage)
        if link is None:
            return None
        links.append(link)
        if entry.name == AVERAGE and stage is not stages[-1]:
            expected = f"`{AVERAGE}` as the last link, since it averages what all others make"
            checking.report(errors.wrong_type(stage.span, expected, "a link before others"))
            return None
    if "optimizer" not in roles:
        checking.report(errors.no_learning_rate(expression.span))
        return None
    if cut is not None and not _can_cut(checking, cut, stages, links):
        return None
    decays: Literal["all", "matrices"] = "all" if cut is None else "matrices"
    return typed.OptimizerInfo(name_of_chain, tuple(links), decays)


AVERAGE = "params_ema"


def _can_cut(
    checking: Checking,
    cut: tree.DecayOnly,
    stages: tuple[tree.Expression, ...],
    links: list[typed.LinkInfo],
) -> bool:
    """Whether a chain decays weights, and can keep that from some of them."""
    rates = {link.name: dict(link.options) for link in links}
    unmasked = {name for name, of_link in rates.items() if of_link.get(DECAYS_UNMASKED)}
    decaying = {name for name, of_link in rates.items() if any(map(of_link.get, DECAYS))}
    unmasked |= decaying & DECAYS_ALL
    if not decaying | unmasked:
        checking.report(errors.nothing_decays(cut.span))
        return False
    for stage in stages:
        name = stage.function if isinstance(stage, tree.Call) else stage
        if isinstance(name, tree.Name) and name.text in unmasked:
            checking.report(errors.decays_all(cut.span, name.text, stage.span))
            return False
    return True


def _link(
    checking: Checking, entry: Optimizer, stage: tree.Name | tree.Call
) -> typed.LinkInfo | None:
    bound = bind(checking, stage, [option.name for option in entry.options])
    if bound is None:
        return None
    missing = bound.missing([option.name for option in entry.options if option.is_required])
    if missing:
        checking.report(errors.missing_argument(entry.name, missing, stage.span))
        return None
    values: list[tuple[str, Value | typed.LinkInfo | None]] = []
    for option in entry.options:
        given = bound.given.get(option.name)
        if given is None:
            values.append((option.name, option.default))
            continue
        value = _option(checking, entry, option, given)
        if value is None:
            return None
        values.append((option.name, value))
    return typed.LinkInfo(entry.name, tuple(values))


def _option(
    checking: Checking, entry: Optimizer, option: Option, given: tree.Expression
) -> Value | typed.LinkInfo | None:
    if option.kind == "schedule" and isinstance(given, tree.Call):
        schedule = OPTIMIZERS.get(given.function.text)
        if schedule is not None and schedule.role == "schedule":
            return _link(checking, schedule, given)
        if schedule is not None or given.function.text not in checking.names.declared:
            known = [name for name, each in OPTIMIZERS.items() if each.role == "schedule"]
            checking.report(errors.unknown_name(given.function, known, "schedule"))
            return None
    value = expressions.option_value(checking, entry.name, option, given, expressions.TOP)
    assert value is None or isinstance(value, int | float | bool | str | tuple), (
        "an optimizer stands in no loss, so its options are known"
    )
    return value
