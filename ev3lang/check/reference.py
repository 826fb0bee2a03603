"""Rule `reference`: what it takes, and what has no place under it."""

from __future__ import annotations

from collections.abc import Iterable

from ev3lang.catalog.index import RULES
from ev3lang.check import errors, operations, typed
from ev3lang.check.checking import Checking
from ev3lang.source import Span
from ev3lang.syntax import tree

NAME = "reference"


def is_chosen(items: Iterable[tree.Node]) -> bool:
    """Whether one of adapt's statements chooses rule `reference`."""
    return any(isinstance(item, tree.Rule) and item.name.text == NAME for item in items)


def widths(checking: Checking, rule: tree.Rule) -> tuple[float, float] | None:
    """The widths `assess` and `decide` in standard errors; None, reported, where they don't fit."""
    found = operations.operation(checking, rule.rule, RULES, "rule")
    if found is None:
        return None
    options = dict(found.options)
    assess, decide = options["assess"], options["decide"]
    assert isinstance(assess, int | float) and isinstance(decide, int | float)
    return float(assess), float(decide)


def review(
    checking: Checking,
    assess: tree.Assess | None,
    adapt: tree.Adapt | None,
    ranking: typed.RankingInfo | None,
) -> bool:
    """Whether assess and adapt keep to what the published rule has; what it lacks is reported."""
    assess_items = () if assess is None else assess.items
    found = list(_beyond(assess_items, () if adapt is None else adapt.items))
    for each in found:
        checking.report(errors.outside_reference(*each))
    is_fit = not found
    for rank in assess_items:
        if isinstance(rank, tree.RankBy) and ranking is not None and is_fit:
            is_fit = all(acceptable(checking, key, rank.span) for key in ranking.keys)
    return is_fit


def _beyond(
    assess: tuple[tree.AssessItem, ...], adapt: tuple[tree.AdaptItem, ...]
) -> Iterable[tuple[Span, str, str, str]]:
    """Place, what stands there, why it can't, and what to do."""
    one = "assess ranks by the lower bound of one objective"
    instead = "rank by one objective, such as `rank by accuracy`"
    for item in assess:
        match item:
            case tree.Prioritize():
                yield item.span, "`prioritize`", one, instead
            case tree.RankBy(keys=(_, _, *_)):
                yield item.span, "a second key", one, instead
            case tree.RankBy(keys=(tree.Call(function=tree.Name(text="pareto")),)):
                yield item.span, "`pareto`", one, instead
            case tree.Guard(is_proven=True):
                yield (
                    item.span,
                    "a guard `proven`",
                    "it tests nothing on adapt but its objective",
                    "take out `proven`: the guard is then looked at on assess; or use another rule",
                )
    for each in adapt:
        if isinstance(each, tree.Move):
            why = "the winner on adapt becomes current"
            yield each.span, "`move`", why, "take it out, or use another rule"
        elif isinstance(each, tree.Accept):
            if each.margin is not None:
                why = "it asks that two bounds lie apart, however little"
                yield each.margin.span, "a margin", why, "take it out, or use another rule"
            if each.confidence is not None or each.scope is not None:
                place = each if each.confidence is None else each.confidence
                why = "it bounds nothing over the run"
                hint = "take it out: `rule reference(decide: 1.96)` says how wide its bounds are"
                yield place.span, "a confidence", why, hint


def acceptable(checking: Checking, info: typed.ObjectiveInfo, place: Span) -> bool:
    """Whether an objective has a value for each example, which its standard error is made of.

    Unlike evidence over a run, bounds of one's own need no known range.
    """
    if info.value.facts.level == "example":
        return True
    checking.report(
        errors.wrong_level(
            place,
            f"`{info.name}` has no value for each example, so rule `reference` knows no standard "
            "error of it",
            "name an objective that is a mean over examples, or use another rule",
        )
    )
    return False


def review_evaluation(
    checking: Checking, evaluate: tree.Evaluate, info: typed.DataInfo, batches: int, batch: int
) -> None:
    """Report an evaluation draw that is larger than a split it is drawn from."""
    for use in ("assess", "adapt"):
        rows = info.examples(use)
        if rows is not None and batches * batch > rows:
            place = evaluate.amount.span
            checking.report(errors.evaluation_too_large(place, batches * batch, use, rows))
            return
