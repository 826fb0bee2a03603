"""What explores beside descent: populations, noise, averages, and mutated optimizers."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ev3lang.catalog.index import OPTIMIZERS, PERTURBATIONS, STRATEGIES
from ev3lang.catalog.optimizers import FIXED
from ev3lang.check import errors, judging, operations, typed
from ev3lang.check.amounts import ACCEPTED, counted, whole
from ev3lang.check.checking import Checking
from ev3lang.check.expand import walk
from ev3lang.check.limits import MOST_DRAWS
from ev3lang.source import Span
from ev3lang.syntax import tree
from ev3lang.syntax.write import write_expression


@attrs.frozen(eq=False)
class Explorers:
    """All candidates that descend nothing, and what changes those that do.

    places   where each candidate stands, by its name; one of another kind can't have its name
    """

    models: tuple[str, ...]
    explored: str
    places: dict[str, Span]
    evolutions: list[typed.Evolution] = attrs.Factory(list)
    perturbations: list[typed.Perturbation] = attrs.Factory(list)
    averages: list[int] = attrs.Factory(list)

    def add(self, checking: Checking, item: tree.Evolve | tree.Perturb | tree.Average) -> None:
        """Check a statement and keep what it declares."""
        match item:
            case tree.Evolve():
                self._evolve(checking, item)
            case tree.Perturb():
                self._perturb(checking, item)
            case tree.Average():
                count = whole(checking, item.count, ACCEPTED)
                name = f"average of the last {item.count.span.text}"
                if count is not None and self._is_new(checking, name, item.count.span):
                    self.averages.append(count)

    def _is_new(self, checking: Checking, name: str, span: Span) -> bool:
        if name in self.places:
            checking.report(errors.identical_candidates(span, name, self.places[name]))
            return False
        self.places[name] = span
        return True

    def _evolve(self, checking: Checking, item: tree.Evolve) -> None:
        objective = judging.objective_info(checking, item.objective)
        strategy = operations.operation(checking, item.strategy, STRATEGIES, "strategy")
        words = "a count of generations, such as `10 generations`"
        generations = counted(checking, item.amount, "generations", words)
        if objective is None or strategy is None or generations is None:
            return
        if self.models and not _moves(checking, objective.value, self.models):
            checking.report(
                errors.nothing_to_evolve(
                    item.objective.span,
                    objective.name,
                    self.explored,
                    checking.names.declared[objective.name].name.span,
                )
            )
            return
        name = f"{objective.name} with {write_expression(item.strategy)}"
        if self._is_new(checking, name, item.span):
            self.evolutions.append(typed.Evolution(name, objective, strategy, int(generations)))

    def _perturb(self, checking: Checking, item: tree.Perturb) -> None:
        noise = operations.operation(checking, item.strategy, PERTURBATIONS, "perturbation")
        draws = counted(checking, item.amount, "draws", "a count of draws, such as `2 draws`")
        if noise is None or draws is None:
            return
        if draws > MOST_DRAWS:
            text = item.amount.span.text
            checking.report(
                errors.uncountable(item.amount.span, "the number of draws", MOST_DRAWS, text)
            )
            return
        name = write_expression(item.strategy)
        if self._is_new(checking, name, item.span):
            self.perturbations.append(typed.Perturbation(name, noise, int(draws)))


def _moves(checking: Checking, value: typed.Expr, models: tuple[str, ...]) -> bool:
    """Whether a value can change with the weights of the models."""
    return any(
        (isinstance(part, typed.Forward) and part.model in models)
        or (
            isinstance(part, typed.Apply)
            and part.function == "l2"
            and any(
                isinstance(each, typed.Weights) and each.model in models for each in part.inputs
            )
        )
        for part in walk(checking.written_out(value))
    )


# ---------------------------------------------------------------- mutations

NUMBERS = ("real", "ratio", "schedule")
"""Kinds of options that a factor can change."""


def mutations(
    checking: Checking, items: tuple[tree.ExploreItem, ...], descents: list[typed.Descent]
) -> tuple[typed.Mutation, ...]:
    """What every descent multiplies its optimizer's options by.

    descents   all that were declared without a fault
    """
    found: dict[str, typed.Mutation] = {}
    places: dict[str, Span] = {}
    for item in items:
        if not isinstance(item, tree.Mutate):
            continue
        option = item.hyperparameter.text
        factors = tuple(_factors(checking, item))
        if option in places:
            what = f"`mutate {option}`"
            checking.report(errors.duplicate_statement(item.span, places[option], what))
            continue
        places[option] = item.span
        if len(factors) == len(item.factors) and _is_mutable(checking, item, descents):
            found[option] = typed.Mutation(option, factors)
    return tuple(found.values())


def _factors(checking: Checking, item: tree.Mutate) -> Iterator[float]:
    for written in item.factors:
        factor = counted(checking, written, "factor", "a factor, such as `0.8x`")
        if factor == 0:
            text = written.span.text
            checking.report(errors.out_of_range(written.span, "a factor", "above 0x", text))
        elif factor is not None:
            yield float(factor)


def _is_mutable(checking: Checking, item: tree.Mutate, descents: list[typed.Descent]) -> bool:
    """Whether some optimizer of the search has the number, and each that has it lets it change."""
    option = item.hyperparameter
    is_declared = any(isinstance(e, tree.Descend) for e in _explore_items(checking))
    if is_declared and not descents:
        return False  # what is wrong with them was reported
    known: set[str] = set()
    for descent in descents:
        for link in descent.optimizer.links:
            kinds = {each.name: each.kind for each in OPTIMIZERS[link.name].options}
            numbers = {
                name for name, value in link.options if kinds[name] in NUMBERS and value is not None
            }
            fixed = FIXED.get(link.name, frozenset())
            if option.text in numbers & fixed:
                checking.report(
                    errors.fixed_option(option.span, option.text, link.name, descent.optimizer.name)
                )
                return False
            known |= numbers - fixed
    if option.text not in known:
        checking.report(errors.unknown_name(option, sorted(known), "hyperparameter"))
        return False
    return True


def _explore_items(checking: Checking) -> tuple[tree.ExploreItem, ...]:
    return checking.names.explore.items if checking.names.explore is not None else ()
