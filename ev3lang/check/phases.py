"""The phases of an experiment: what is explored, how it is ranked, when it is accepted."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ev3lang.catalog.index import PERTURBATIONS, STRATEGIES
from ev3lang.check import (
    data,
    declarations,
    errors,
    expressions,
    growth,
    operations,
    optimizers,
    power,
    typed,
)
from ev3lang.check.arguments import counted, known_number, whole
from ev3lang.check.checking import Checking, only
from ev3lang.check.expand import expand, walk
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
    for item in block.items:
        if isinstance(item, tree.Descend):
            _descend(checking, block, models, item, descents, places)
        elif isinstance(item, (tree.Evolve, tree.Perturb, tree.Mutate, tree.Average)):
            _not_built_explorer(checking, item)
    explorers = (tree.Descend, tree.Evolve, tree.Perturb)
    if not any(isinstance(item, explorers) for item in block.items):
        statement = "descend entropy with adamw(1e-3) for 100 steps"
        checking.report(errors.missing_statement("explore", block.keyword_span, statement))
    if not models or not descents:
        return None
    return typed.ExploreInfo(
        models=models,
        name=block.model.text,
        descents=tuple(descents),
        batches="shared" if batches is None else batches.mode,
        state="lasting" if state is None else state.mode,
        batch=batch,
    )


def _descend(
    checking: Checking,
    block: tree.Explore,
    models: tuple[str, ...],
    item: tree.Descend,
    descents: list[typed.Descent],
    places: dict[str, Span],
) -> None:
    steps = counted(checking, item.amount, "steps", "a count of steps, such as `100 steps`")
    chains = [optimizers.optimizer(checking, each) for each in item.optimizers]
    for written in item.losses:
        loss = descended(checking, written, models, block.model.text)
        for chain, where in zip(chains, item.optimizers, strict=True):
            if loss is None or chain is None or steps is None:
                continue
            name = f"{write_expression(written)} with {chain.name}"
            if name in places:
                twice = where.span if len(item.optimizers) > 1 else written.span
                checking.report(errors.identical_candidates(twice, name, places[name]))
                continue
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
        kind = "an expression" if declaration is None else f"the {_kind(declaration)}"
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
    for part in walk(expand(loss, checking.values, {})):
        if isinstance(part, typed.Apply):
            reached = frozenset().union(*(each.facts.gradient for each in part.inputs))
            if reached & set(models) and not part.facts.gradient & set(models):
                return part.span
    return None


def _not_built_explorer(
    checking: Checking, item: tree.Evolve | tree.Perturb | tree.Mutate | tree.Average
) -> None:
    match item:
        case tree.Evolve():
            _objective(checking, item.objective)
            operations.operation(checking, item.strategy, STRATEGIES, "strategy")
            counted(checking, item.amount, "generations", "a count of generations")
            checking.report(errors.not_built_yet(item.span, "`evolve`"))
        case tree.Perturb():
            operations.operation(checking, item.strategy, PERTURBATIONS, "perturbation")
            counted(checking, item.amount, "draws", "a count of draws")
            checking.report(errors.not_built_yet(item.span, "`perturb`"))
        case tree.Mutate():
            for factor in item.factors:
                counted(checking, factor, "factor", "a factor, such as `0.8x`")
            checking.report(errors.not_built_yet(item.span, "`mutate`"))
        case tree.Average():
            whole(checking, item.count, "a count of accepted models")
            checking.report(errors.not_built_yet(item.span, "`average`"))


# ---------------------------------------------------------------- assess


def assess(checking: Checking, block: tree.Assess) -> str | None:
    """The objective that ranks candidates."""
    rank = only(checking, block.items, tree.RankBy, "`rank by`")
    prioritize = only(checking, block.items, tree.Prioritize, "`prioritize`")
    for item in block.items:
        if isinstance(item, tree.Guard):
            _guard(checking, item)
    if prioritize is not None:
        for name in prioritize.objectives:
            known = _objective(checking, name)
            declaration = checking.names.declared.get(known or "")
            if isinstance(declaration, tree.Objective) and declaration.target is None:
                checking.report(errors.missing_target(name, declaration.name.span))
        checking.report(errors.not_built_yet(prioritize.span, "`prioritize`"))
        return None
    if rank is None:
        checking.report(errors.missing_statement("assess", block.keyword_span, "rank by accuracy"))
        return None
    if len(rank.keys) == 1 and isinstance(rank.keys[0], tree.Name):
        return _objective(checking, rank.keys[0])
    for key in rank.keys:
        if isinstance(key, tree.Name):
            _objective(checking, key)
        elif isinstance(key, tree.Call) and key.function.text == "pareto":
            for argument in key.arguments:
                if isinstance(argument.value, tree.Name):
                    _objective(checking, argument.value)
        else:
            expressions.infer(checking, key, expressions.Scope(is_measured=True))
            _weighted(checking, key)
    what = "ranking by several objectives"
    checking.report(errors.not_built_yet(rank.span, what))
    return None


def _weighted(checking: Checking, key: tree.Expression) -> None:
    """Report a sum of objectives that point in different directions."""
    objectives = [
        declaration
        for node in tree.walk(key)
        if isinstance(node, tree.Name)
        and isinstance(declaration := checking.names.declared.get(node.text), tree.Objective)
    ]
    directions = {each.direction for each in objectives}
    has_minus = any(isinstance(n, tree.Binary) and n.operator == "-" for n in tree.walk(key))
    if len(directions) > 1 and not has_minus:
        rising = next(each for each in objectives if each.direction == "maximize")
        names = [each.name.text for each in objectives]
        checking.report(errors.mixed_directions(key.span, rising.name.span, names))


def _guard(checking: Checking, item: tree.Guard) -> None:
    condition = item.condition
    if not isinstance(condition, tree.Binary) or condition.operator not in _MIRRORED:
        checking.report(
            errors.wrong_type(
                condition.span, "a comparison, such as `recall >= 90%`", condition.span.text
            )
        )
        return
    left = expressions.infer(checking, condition.left, expressions.Scope(is_measured=True))
    if left is not None:
        # On the right, `accepted` is what the accepted model gives for the left side.
        facts = {"accepted": left.facts}
        scope = expressions.Scope(parameters=facts, is_measured=True)
        expressions.infer(checking, condition, scope)
    checking.report(errors.not_built_yet(item.span, "`guard`"))


def _objective(checking: Checking, name: tree.Name) -> str | None:
    """A declared objective's name; None, reported, where it names something else."""
    declaration = checking.names.declared.get(name.text)
    if isinstance(declaration, tree.Objective):
        checking.used.add(name.text)
        return name.text
    if isinstance(declaration, tree.Metric):
        checking.used.add(name.text)
        # One word is missing in one place, however often the metric stands for an objective.
        if all(each.code != "no-direction" for each in checking.found):
            checking.report(errors.no_direction(name, declaration.name.span))
        return None
    if declaration is None:
        known = [
            each.name.text
            for each in checking.names.declared.values()
            if isinstance(each, tree.Objective)
        ]
        checking.report(errors.unknown_name(name, known, "objective"))
        return None
    checking.used.add(name.text)
    checking.report(
        errors.wrong_type(name.span, "an objective", f"the {_kind(declaration)} `{name.text}`")
    )
    return None


def _kind(declaration: tree.Declaration) -> str:
    return type(declaration).__name__.lower()


# ---------------------------------------------------------------- adapt


def adapt(checking: Checking, block: tree.Adapt, is_endless: bool) -> typed.AdaptInfo | None:
    """The rule by which the best candidate is accepted, and when the run ends."""
    accept = only(checking, block.items, tree.Accept, "`accept`")
    rule = only(checking, block.items, tree.Rule, "`rule`")
    move = only(checking, block.items, tree.Move, "`move`")
    stop = only(checking, block.items, tree.Stop, "`stop`")
    evaluate = only(checking, block.items, tree.Evaluate, "`evaluate`")
    for item in block.items:
        if isinstance(item, tree.After):
            _after(checking, item)
        elif isinstance(item, tree.Repeat):
            counted(checking, item.amount, "passes", "a count of passes")
            checking.report(errors.not_built_yet(item.span, "`repeat`"))
    objective = confidence = None
    if accept is None:
        statement = "accept when accuracy improves"
        checking.report(errors.missing_statement("adapt", block.keyword_span, statement))
    else:
        objective, confidence = _accept(checking, accept)
    has_rule = _rule(checking, rule, accept, is_endless)
    batches = DEFAULT_EVALUATION if is_endless else None
    if evaluate is not None:
        amount = counted(checking, evaluate.amount, "batches", "a count of batches")
        if not is_endless:
            what = "`evaluate` over a finite split, which rule `reference` needs,"
            checking.report(errors.not_built_yet(evaluate.span, what))
        batches = None if amount is None else int(amount)
    if stop is None:
        checking.report(errors.missing_stop(block.keyword_span))
        return None
    ends = _stop(checking, stop)
    if objective is None or confidence is None or ends is None or not has_rule:
        return None
    return typed.AdaptInfo(
        objective=objective,
        confidence=confidence,
        move="unless worse" if move is None else move.mode,
        evaluate=batches,
        stop=ends,
    )


def _accept(checking: Checking, accept: tree.Accept) -> tuple[str | None, float | None]:
    confidence: float | None = power.DEFAULT_CONFIDENCE
    if accept.confidence is not None:
        amount = counted(checking, accept.confidence, "ratio", "a confidence, such as `95%`")
        confidence = None if amount is None else float(amount)
        if confidence is not None and not 0 < confidence < 1:
            checking.report(
                errors.out_of_range(
                    accept.confidence.span,
                    "a confidence",
                    "above 0% and below 100%",
                    accept.confidence.span.text,
                )
            )
            confidence = None
    if accept.margin is not None:
        checking.report(errors.not_built_yet(accept.margin.span, "a margin of improvement"))
    if accept.scope == "each time":
        checking.report(errors.not_built_yet(accept.span, "confidence spent `each time`"))
    if accept.objective is None:
        assess = checking.names.assess
        leads = any(isinstance(e, tree.Prioritize) for e in (assess.items if assess else ()))
        if not leads and assess is not None:
            checking.report(errors.no_leading_objective(accept.span))
        checking.report(errors.not_built_yet(accept.span, "`leading objective`"))
        return None, confidence
    name = _objective(checking, accept.objective)
    if name is None:
        return None, confidence
    info = declarations.objective(checking, _declared_objective(checking, name))
    if info is None:
        return None, confidence
    facts = info.value.facts
    if facts.type.kind != "bool" or facts.level != "example":
        what = "acceptance by an objective that is not true or false for each example"
        checking.report(errors.not_built_yet(accept.objective.span, what))
        return None, confidence
    return name, confidence


def _declared_objective(checking: Checking, name: str) -> tree.Objective:
    declaration = checking.names.declared[name]
    assert isinstance(declaration, tree.Objective)
    return declaration


_RULES = ("gate", "challenger", "reference")


def _rule(
    checking: Checking, rule: tree.Rule | None, accept: tree.Accept | None, is_endless: bool
) -> bool:
    """Whether the rule in force is `gate`, the one that can be run."""
    if rule is None:
        if is_endless and accept is not None:
            what = "rule `challenger`, which fresh examples for every decision ask for,"
            checking.report(
                errors.not_built_yet(
                    accept.span, what, "`rule gate` is sound here too, if slower to accept"
                )
            )
        return not is_endless
    name = rule.rule.function if isinstance(rule.rule, tree.Call) else rule.rule
    if name.text not in _RULES:
        checking.report(errors.unknown_choice(name, "rule", _RULES))
        return False
    if name.text != "gate":
        checking.report(errors.not_built_yet(rule.span, f"rule `{name.text}`"))
        return False
    if isinstance(rule.rule, tree.Call) and rule.rule.arguments:
        checking.report(errors.too_many_arguments("gate", 0, rule.rule.arguments[0].span))
        return False
    return True


def _after(checking: Checking, block: tree.After) -> None:
    counted(checking, block.amount, "iterations", "a count of iterations")
    growth.check_growth(checking, block, _explored(checking))
    for item in block.items:
        if isinstance(item, tree.Lengthen):
            counted(checking, item.factor, "factor", "a factor, such as `1.5x`")
            if item.cap is not None:
                counted(checking, item.cap, "steps", "a count of steps")
            growth.check_lengthen(checking, item, _longest_roll_out(checking))
    checking.report(errors.not_built_yet(block.amount.span, "`after … without progress`"))


def _explored(checking: Checking) -> tuple[str, ...]:
    block = checking.names.explore
    return () if block is None else declarations.members(checking, block.model)


def _longest_roll_out(checking: Checking) -> int | None:
    block = checking.names.explore
    items = block.items if block is not None else ()
    steps = [int(each.amount.value) for each in items if isinstance(each, tree.Descend)]
    return max(steps, default=None)


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
    objective = _objective(checking, name)
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
