"""The phases of an experiment: what is explored, how it is ranked, when it is accepted."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from ev3lang.check import (
    data,
    declarations,
    errors,
    explorers,
    expressions,
    growth,
    judging,
    optimizers,
    power,
    reference,
    typed,
)
from ev3lang.check.amounts import STEPS, counted, share
from ev3lang.check.arguments import known_number
from ev3lang.check.checking import Checking, only
from ev3lang.check.expand import walk
from ev3lang.check.limits import MOST_COUNT
from ev3lang.source import Span
from ev3lang.syntax import tree
from ev3lang.syntax.write import write_expression

DEFAULT_EVALUATION = 8

# ---------------------------------------------------------------- explore


def explore(checking: Checking, block: tree.Explore) -> typed.ExploreInfo | None:
    """The candidates of every iteration."""
    models = declarations.members(checking, block.model)
    for model in models:
        declaration = checking.names.declared[model]
        assert isinstance(declaration, tree.Model)
        frozen = next((each for each in declaration.items if isinstance(each, tree.Frozen)), None)
        if frozen is not None:
            checking.report(errors.frozen_explored(block.model, frozen.span))
            models = ()  # so that its losses are not blamed for having no gradient
    batches = only(checking, block.items, tree.Batches, "`batches`")
    state = only(checking, block.items, tree.OptimizerState, "`state`")
    batch_item = only(checking, block.items, tree.Batch, "`batch`")
    batch = data.batch_of(checking, batch_item) if batch_item is not None else None
    descents: list[typed.Descent] = []
    places: dict[str, Span] = {}
    others = explorers.Explorers(models, block.model.text, places)
    for item in block.items:
        if isinstance(item, tree.Descend):
            _descend(checking, block, models, item, descents, places)
        elif isinstance(item, (tree.Evolve, tree.Perturb, tree.Average)):
            others.add(checking, item)
    mutations = explorers.mutations(checking, block.items, descents)
    if not any(isinstance(e, (tree.Descend, tree.Evolve, tree.Perturb)) for e in block.items):
        statement = "descend entropy with adamw(1e-3) for 100 steps"
        checking.report(errors.missing_statement("explore", block.keyword_span, statement))
    if not models or not (descents or others.evolutions or others.perturbations):
        return None
    return typed.ExploreInfo(
        models=models,
        name=block.model.text,
        descents=tuple(descents),
        batches="shared" if batches is None else batches.mode,
        state="lasting" if state is None else state.mode,
        batch=batch,
        evolutions=tuple(others.evolutions),
        perturbations=tuple(others.perturbations),
        averages=tuple(others.averages),
        mutations=mutations,
        span=block.model.span,
    )


def _descend(
    checking: Checking,
    block: tree.Explore,
    models: tuple[str, ...],
    item: tree.Descend,
    descents: list[typed.Descent],
    places: dict[str, Span],
) -> None:
    steps = counted(checking, item.amount, "steps", STEPS)
    chains = [optimizers.optimizer(checking, each) for each in item.optimizers]
    words = [write_expression(each) for each in item.losses]
    twice: set[Span] = set()
    for index, (written, word) in enumerate(zip(item.losses, words, strict=True)):
        loss = descended(checking, written, models, block.model.text)
        used: set[str] = set()
        for chain, where in zip(chains, item.optimizers, strict=True):
            if loss is None or chain is None or steps is None:
                continue
            name = f"{word} with {chain.name}"
            if name in places:
                # One word too many makes several candidates identical: it is reported once.
                is_loss = word in words[:index] or chain.name not in used
                place = written.span if is_loss else where.span
                if place not in twice:
                    checking.report(errors.identical_candidates(place, name, places[name]))
                twice.add(place)
                continue
            used.add(chain.name)
            places[name] = written.span
            assert isinstance(steps, int)
            descents.append(typed.Descent(write_expression(written), loss, chain, steps))


def descended(
    checking: Checking, written: tree.Expression, models: tuple[str, ...], explored: str
) -> typed.Expr | None:
    """A loss that may be descended: one with a gradient to the explored model."""
    name = written.function if isinstance(written, tree.Call) else written
    declaration = checking.names.declared.get(name.text) if isinstance(name, tree.Name) else None
    if not isinstance(declaration, tree.Loss):
        known = [
            each.name.text
            for each in checking.names.declared.values()
            if isinstance(each, tree.Loss)
        ]
        if declaration is None and isinstance(name, tree.Name):
            checking.report(errors.unknown_name(name, known, "loss"))
            return None
        kind = (
            "an expression" if declaration is None else f"the {type(declaration).__name__.lower()}"
        )
        got = kind if declaration is None else f"{kind} `{written.span.text}`"
        checking.report(errors.wrong_type(written.span, "a declared loss", got))
        if isinstance(name, tree.Name):
            checking.used.add(name.text)
        return None
    loss = expressions.infer(checking, written)
    if loss is None:
        return None
    if models and not loss.facts.gradient & set(models):
        checking.report(
            errors.no_gradient(
                written.span,
                write_expression(written),
                explored,
                _end_of_gradient(checking, loss, models),
                declaration.value.span,
            )
        )
        return None
    return loss


def _end_of_gradient(checking: Checking, loss: typed.Expr, models: tuple[str, ...]) -> Span | None:
    """Where a gradient on its way to the models stops, if it sets out at all."""
    for part in walk(checking.written_out(loss)):
        if isinstance(part, typed.Apply):
            reached = frozenset().union(*(each.facts.gradient for each in part.inputs))
            if reached & set(models) and not part.facts.gradient & set(models):
                return part.span
    return None


# ---------------------------------------------------------------- adapt


def adapt(
    checking: Checking,
    block: tree.Adapt,
    ranking: typed.RankingInfo | None,
    info: typed.DataInfo | None,
) -> typed.AdaptInfo | None:
    """The rule by which the best candidate is accepted, and when the run ends."""
    accept = only(checking, block.items, tree.Accept, "`accept`")
    rule = only(checking, block.items, tree.Rule, "`rule`")
    move = only(checking, block.items, tree.Move, "`move`")
    stop = only(checking, block.items, tree.Stop, "`stop`")
    after = only(checking, block.items, tree.After, "`after … without progress`")
    patience = None if after is None else _after(checking, after)
    repeat = growth.passes(checking, block)
    passes = None
    if repeat is not None:
        passes = counted(checking, repeat.amount, "passes", "a count of passes")
    is_reference = reference.is_chosen(block.items)
    accepting = None
    if accept is None:
        statement = "accept when accuracy improves"
        checking.report(errors.missing_statement("adapt", block.keyword_span, statement))
    else:
        accepting = _accept(checking, accept, ranking, is_reference=is_reference)
    is_endless = info is not None and info.is_endless
    chosen = _rule(checking, rule, accept, accepting, ranking, is_endless)
    evaluate = _evaluate(checking, block, info, is_reference=is_reference)
    if stop is None:
        checking.report(errors.missing_stop(block.keyword_span))
        return None
    ends = _stop(checking, stop)
    if accepting is None or ends is None or chosen is None:
        return None
    name, widths = chosen
    return typed.AdaptInfo(
        objectives=accepting.objectives,
        margin=accepting.margin,
        confidence=accepting.confidence,
        scope=accepting.scope,
        rule=name,
        widths=widths,
        move="unless worse" if move is None else move.mode,
        evaluate=evaluate,
        stop=ends,
        patience=patience,
        runs=checking.runs,
        passes=None if passes is None else int(passes),
    )


@attrs.frozen(eq=False)
class _Accepting:
    """What `accept when …` says."""

    objectives: tuple[typed.ObjectiveInfo, ...]
    margin: float
    confidence: float
    scope: Literal["over the run", "each time"]


def _accept(
    checking: Checking,
    accept: tree.Accept,
    ranking: typed.RankingInfo | None,
    *,
    is_reference: bool,
) -> _Accepting | None:
    confidence = _confidence(checking, accept)
    objectives: tuple[typed.ObjectiveInfo, ...] = ()
    if accept.objective is None:
        assess = checking.names.assess
        if not any(isinstance(e, tree.Prioritize) for e in (assess.items if assess else ())):
            if assess is not None:
                checking.report(errors.no_leading_objective(accept.span))
            return None
        objectives = () if ranking is None else ranking.keys
    else:
        info = judging.objective_info(checking, accept.objective)
        objectives = () if info is None else (info,)
    place = accept.span if accept.objective is None else accept.objective.span
    accepts = reference.acceptable if is_reference else judging.acceptable
    if not objectives or not all(accepts(checking, each, place) for each in objectives):
        return None
    margin: float | None = 0.0
    if accept.margin is not None:
        margin = judging.margin(checking, accept.margin, objectives)
    if confidence is None or margin is None:
        return None
    return _Accepting(objectives, margin, confidence, accept.scope or "over the run")


def _confidence(checking: Checking, accept: tree.Accept) -> float | None:
    if accept.confidence is None:
        return power.DEFAULT_CONFIDENCE
    amount = share(checking, accept.confidence, "a confidence, such as `95%`")
    if amount is None or 0 < amount < 1:
        return None if amount is None else float(amount)
    is_literal = isinstance(accept.confidence, tree.Number)
    text = accept.confidence.span.text if is_literal else f"{100 * amount:g}%"
    bounds = "above 0% and below 100%"
    checking.report(errors.out_of_range(accept.confidence.span, "a confidence", bounds, text))
    return None


RuleName: TypeAlias = Literal["gate", "challenger", "reference"]

_RULES: tuple[RuleName, ...] = ("gate", "challenger", "reference")


def _rule(
    checking: Checking,
    rule: tree.Rule | None,
    accept: tree.Accept | None,
    accepting: _Accepting | None,
    ranking: typed.RankingInfo | None,
    is_endless: bool,
) -> tuple[RuleName, tuple[float, float] | None] | None:
    """The rule in force, with the widths of `reference`; None, reported, where it can't be.

    Without a word of the spec: `challenger` where every decision has fresh examples that bets can
    be placed on, else `gate`.
    """
    objectives = () if accepting is None else accepting.objectives
    of_sets = [each for each in objectives if each.value.facts.level == "set"]
    is_each_time = accepting is not None and accepting.scope == "each time"
    if rule is None:
        plain = judging.default_rule(objectives, is_endless=is_endless, is_each_time=is_each_time)
        return plain, None
    name = next((each for each in _RULES if each == rule.name.text), None)
    if name is None:
        checking.report(errors.unknown_choice(rule.name, "rule", _RULES))
        return None
    if name == "reference":
        return _reference(checking, rule, ranking)
    if isinstance(rule.rule, tree.Call) and rule.rule.arguments:
        checking.report(errors.too_many_arguments(name, 0, rule.rule.arguments[0].span))
        return None
    if name == "challenger":
        why = None
        if not is_endless:
            why = "a finite split has no fresh examples for every decision"
        elif of_sets:
            why = f"`{of_sets[0].name}` has no value for each example to bet on"
        elif is_each_time:
            why = "its evidence adds up over the run, and `each time` asks anew"
        if why is not None:
            checking.report(errors.no_challenger(rule.span, why))
            return None
    return name, None


def _reference(
    checking: Checking, rule: tree.Rule, ranking: typed.RankingInfo | None
) -> tuple[RuleName, tuple[float, float] | None] | None:
    widths = reference.widths(checking, rule)
    is_fit = reference.review(checking, checking.names.assess, checking.names.adapt, ranking)
    return ("reference", widths) if widths is not None and is_fit else None


def _evaluate(
    checking: Checking, block: tree.Adapt, info: typed.DataInfo | None, *, is_reference: bool
) -> int | None:
    """Batches of an evaluation draw; None where splits are used whole."""
    is_endless = info is not None and info.is_endless
    evaluate = only(checking, block.items, tree.Evaluate, "`evaluate`")
    if evaluate is None:
        return DEFAULT_EVALUATION if is_endless else None
    amount = counted(checking, evaluate.amount, "batches", "a count of batches")
    if amount is None:
        return None
    if not is_endless and not is_reference:
        checking.report(errors.evaluate_finite(evaluate.span))
        return None
    if info is not None and amount * info.batch > MOST_COUNT:
        what = f"the examples of {amount:_} batches of {info.batch:_}"
        place = evaluate.amount.span
        checking.report(errors.uncountable(place, what, MOST_COUNT, f"{amount * info.batch:_}"))
        return None
    if info is not None and not is_endless:
        reference.review_evaluation(checking, evaluate, info, int(amount), info.batch)
    return int(amount)


def _declared_objective(checking: Checking, name: str) -> tree.Objective:
    declaration = checking.names.declared[name]
    assert isinstance(declaration, tree.Objective)
    return declaration


LONGEST = 10
"""Roll-outs that are lengthened without a word of how far become at most so many times as long."""


def _after(checking: Checking, block: tree.After) -> typed.PatienceInfo | None:
    """What follows a stop of progress; None where it is at fault."""
    iterations = counted(checking, block.amount, "iterations", "a count of iterations")
    growing = growth.growing(checking, block, _explored(checking))
    restart = only(checking, block.items, tree.Restart, "`restart`")
    lengthen = only(checking, block.items, tree.Lengthen, "`lengthen`")
    factor = most = None
    if lengthen is not None:
        factor = counted(checking, lengthen.factor, "factor", "a factor, such as `1.5x`")
        longest = _longest_roll_out(checking)
        if lengthen.cap is not None:
            most = counted(checking, lengthen.cap, "steps", "a count of steps")
        elif longest is not None:
            most = min(LONGEST * longest, MOST_COUNT)
        growth.check_lengthen(checking, lengthen, longest, most)
    if iterations is None:
        return None
    return typed.PatienceInfo(
        int(iterations),
        None if factor is None else float(factor),
        None if most is None else int(most),
        growing,
        restarts=restart is not None,
    )


def _explored(checking: Checking) -> tuple[str, ...]:
    block = checking.names.explore
    return () if block is None else declarations.members(checking, block.model)


def _longest_roll_out(checking: Checking) -> int | None:
    block = checking.names.explore
    items = block.items if block is not None else ()
    steps = [
        counted(checking, each.amount, "steps", STEPS)
        for each in items
        if isinstance(each, tree.Descend)
    ]
    return max((int(each) for each in steps if each is not None), default=None)


# ---------------------------------------------------------------- stop


def _stop(checking: Checking, stop: tree.Stop) -> typed.StopInfo | None:
    iterations: list[int] = []
    seconds: list[float] = []
    any_of: list[tuple[typed.ComparisonInfo, ...]] = []
    when_targets_met = False
    is_whole = True
    for condition in stop.conditions:
        match condition:
            case tree.StopAfter(amount=amount):
                if amount.unit in ("iteration", "iterations"):
                    count = counted(checking, amount, "iterations", "iterations")
                    is_whole = is_whole and count is not None
                    iterations.extend([int(count)] if count is not None else [])
                else:
                    words = "iterations or a time, such as `60 iterations` or `20 min`"
                    time_s = counted(checking, amount, "duration", words)
                    is_whole = is_whole and time_s is not None
                    seconds.extend([float(time_s)] if time_s is not None else [])
            case tree.StopWhen(condition=expression):
                parts = _comparisons(checking, expression)
                is_whole = is_whole and parts is not None
                any_of.extend([parts] if parts is not None else [])
            case tree.StopTargets():
                when_targets_met = True
                if not any(
                    isinstance(each, tree.Objective) and each.target is not None
                    for each in checking.names.declared.values()
                ):
                    checking.report(
                        errors.wrong_type(
                            condition.span,
                            "an objective with a target",
                            "none",
                            "state one: `objective accuracy target 97% = …`",
                        )
                    )
                    is_whole = False
    if not is_whole:
        return None
    return typed.StopInfo(
        iterations=min(iterations, default=None),
        seconds=min(seconds, default=None),
        any_of=tuple(any_of),
        when_targets_met=when_targets_met,
    )


Comparison: TypeAlias = Literal["<", "<=", ">", ">=", "==", "!="]

# What a comparison becomes when its sides change places.
_MIRRORED: dict[str, Comparison] = {
    "<": ">",
    "<=": ">=",
    ">": "<",
    ">=": "<=",
    "==": "==",
    "!=": "!=",
}


def _comparisons(
    checking: Checking, expression: tree.Expression
) -> tuple[typed.ComparisonInfo, ...] | None:
    """`accuracy >= 98% and log_loss < 0.1` as its parts."""
    if isinstance(expression, tree.Binary) and expression.operator == "and":
        left = _comparisons(checking, expression.left)
        right = _comparisons(checking, expression.right)
        return None if left is None or right is None else (*left, *right)
    if not isinstance(expression, tree.Binary) or expression.operator not in _MIRRORED:
        checking.report(
            errors.wrong_type(
                expression.span, "a comparison, such as `accuracy >= 98%`", expression.span.text
            )
        )
        return None
    scope = expressions.Scope(is_measured=True)
    if expressions.infer(checking, expression, scope) is None:
        return None
    name, number = expression.left, expression.right
    operator = _MIRRORED[_MIRRORED[expression.operator]]
    if not isinstance(name, tree.Name):
        name, number, operator = number, name, _MIRRORED[expression.operator]
    if not isinstance(name, tree.Name):
        checking.report(
            errors.not_built_yet(expression.span, "a condition on more than one objective")
        )
        return None
    objective = judging.objective(checking, name)
    value = expressions.constant(checking, number, "what a stop compares with", scope)
    known = None if value is None else known_number(checking, value)
    if objective is None or value is None or known is None:
        return None
    declaration = _declared_objective(checking, objective)
    found = declarations.objective(checking, declaration)
    if found is None:
        return None
    facts = declarations.with_declared_range(checking, declaration, found.value.facts)
    whole_facts = expressions.measured(facts)
    if not declarations.is_comparable(
        checking, number, value.facts.type, whole_facts, known, objective
    ):
        return None
    return (typed.ComparisonInfo(objective, operator, float(known)),)


# ---------------------------------------------------------------- report


def report(
    checking: Checking,
    block: tree.Report | None,
    models: tuple[str, ...],
    explored: str,
) -> tuple[tuple[typed.ShownInfo, ...] | None, tuple[typed.BaselineInfo, ...]]:
    """What the report shows, None for the default, and the baselines beside it."""
    if block is None:
        return None, ()
    shown: list[typed.ShownInfo] | None = None
    baselines: dict[str, typed.BaselineInfo] = {}
    places: dict[str, Span] = {}
    for item in block.items:
        if isinstance(item, tree.Show):
            shown = [] if shown is None else shown
            for written in item.values:
                expr = _shown(checking, written)
                if expr is not None:
                    shown.append(typed.ShownInfo(write_expression(written), expr))
            continue
        loss = descended(checking, item.loss, models, explored)
        chain = optimizers.optimizer(checking, item.optimizer)
        name = item.name.text
        if name in places:
            checking.report(errors.duplicate_name(item.name, places[name]))
            continue
        places[name] = item.name.span
        if loss is not None and chain is not None:
            baselines[name] = typed.BaselineInfo(
                name, write_expression(item.loss), loss, chain, item.is_same_lineage
            )
    return None if shown is None else tuple(shown), tuple(baselines.values())


def _shown(checking: Checking, written: tree.Expression) -> typed.Expr | None:
    if isinstance(written, tree.Name):
        declaration = checking.names.declared.get(written.text)
        if isinstance(declaration, (tree.Objective, tree.Metric)):
            return declarations.value(checking, declaration, written)
    expr = expressions.infer(checking, written)
    if expr is not None and expr.facts.level == "constant":
        checking.report(errors.wrong_level(written.span, "this is the same for every model"))
        return None
    return expr
