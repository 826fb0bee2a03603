"""What the rule of acceptance could prove: the smallest gains, and how more data change them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Literal, TypeAlias

import attrs

from ev3lang.check import bounds
from ev3lang.check.bounds import (
    FIRST_QUERY,
    best_excess,
    examples_for,
    is_affordable,
    least_excess,
    least_wins,
)
from ev3lang.check.typed import SPLITS
from ev3lang.plan import power
from ev3lang.plan.plan import Challenger, Claim, Gate, Guard, Plan, Reference, Rule, Test
from ev3lang.plan.power import Outcomes

DIFFER = (0.05, 0.1)
"""Shares of the examples on which two models differ, for which gains are told."""

DEVIATIONS = (0.05, 0.2)
"""Standard deviations of paired differences, as shares of a measure's range."""

RIGHT = (0.5, 0.9)
"""Shares of right answers, for which the unpaired bounds of rule `reference` are told."""

GAINS = (0.005, 0.01, 0.02, 0.05)
"""Gains beyond the margin, as shares of a measure's range, that a challenger is told for."""

TIMES = (1, 2, 4, 10)
"""How much more data the prospects are told for."""

ASSUMED = (100, 300, 1000, 3000, 10_000, 30_000)
"""Sizes of the adapt split that are told where it isn't known yet."""

ASSUMED_UNITS = (10, 30, 100, 300, 1000, 3000)
"""Groups or blocks of the adapt split that are told where it isn't known yet."""

UnitName: TypeAlias = Literal["examples", "groups", "blocks"]
"""What counts as one in a test."""

Question: TypeAlias = Literal["first", "last", "each"]


@attrs.frozen
class Column:
    """What a figure of a table says.

    question  which decision: the first of a run, the last where none was asked before, or each
    level     of its test; None under rule `reference`, which has none
    kind      `least`: the smallest gain that any result on so many examples can show;
              `found`: the gain that is shown with a chance of 90%; `asked`: the gain on assess
              from which rule `gate` asks; `iterations`: until a challenger is accepted, in the
              median; `apart`: the gain that parts two unpaired bounds with a chance of 90%
    spread    the share of the examples on which the models differ; for other values, and for means
              of groups or blocks, the standard deviation of their paired differences as a share of
              the range; for `apart` the share
              of right answers, or the standard deviation of the values as a share of the range,
              as it is where no range is known; None for `least`
    gain      of `iterations`, in the measure's unit
    """

    question: Question
    level: float | None
    kind: Literal["least", "found", "asked", "iterations", "apart"]
    spread: float | None = None
    gain: float | None = None


@attrs.frozen
class Row:
    """The figures for so many examples, None where nothing would do.

    examples, on_assess   that decide, and of assess; groups or blocks where those count as one
    times                 how much more data it is than the spec has; None where that isn't known
    values                one a column
    """

    examples: int
    on_assess: int
    times: int | None
    values: tuple[float | None, ...]


@attrs.frozen
class ClaimProspects:
    """What evidence for a gain would take.

    unit        `pp`: figures are fractions to be read as percentage points; else the measure's
    has_range   whether the measure's range is known
    is_answers  whether spreads are shares of examples that differ: for right and wrong, and as a
                comparison for the value of a set
    rejections  after how many rejections a bootstrap is no longer asked; None for exact tests
    clipped     the range that the test keeps each example's value in; None where none can leave it
    counts      what the rows count: what is drawn independently
    """

    objective: str
    direction: Literal["maximize", "minimize"]
    test: Test
    margin: float
    unit: Literal["pp", ""]
    has_range: bool
    is_answers: bool
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    rejections: int | None = None
    clipped: tuple[float, float] | None = None
    counts: UnitName = "examples"


@attrs.frozen
class GuardProspects:
    """Whether a guard's proof is possible.

    is_of_equals whether identical models are the best case that counts; else a perfect model is
    needed       adapt examples below which rule `gate` can't prove it at its first question, even
                 in that case; None where there is no such bound
    iterations   of fresh examples that a proof takes rule `challenger` in that case
    is_provable  None where nothing is to be proven, or the examples aren't known
    """

    name: str
    is_proven: bool
    is_of_equals: bool = True
    needed: int | None = None
    iterations: int | None = None
    is_provable: bool | None = None


@attrs.frozen
class Prospects:
    """The rule of acceptance and what it could prove.

    why      it is this rule
    delta    chance of ever accepting a no better model; of each decision where it is spent each
             time; None under rule `reference`, which bounds nothing
    widths   of its bounds in standard errors, in assess and in adapt; None under the others
    is_approximate   whether a test is a bootstrap, so that delta is held only about
    counts   what counts as one in a test
    deciding how many of them decide; None where that isn't known
    """

    rule: Literal["gate", "challenger", "reference"]
    why: str
    delta: float | None
    is_each_time: bool
    widths: tuple[float, float] | None
    claims: tuple[ClaimProspects, ...]
    guards: tuple[GuardProspects, ...]
    is_approximate: bool = False
    counts: UnitName = "examples"
    deciding: int | None = None


def prospects(plan: Plan, sizes: Mapping[str, int] | None) -> Prospects:
    """What the plan's rule of acceptance could prove.

    sizes   examples of each split, or of an evaluation draw; None where they aren't known
    """
    claims = tuple(_claim(plan, each, sizes) for each in plan.rule.claims)
    units = _units(plan, "adapt", sizes)
    guards = tuple(_guard(plan, each, units) for each in plan.guards)
    match plan.rule:
        case Gate(delta=delta, is_each_time=is_each_time):
            return Prospects(
                "gate",
                _why_gate(plan),
                delta,
                is_each_time,
                None,
                claims,
                guards,
                is_approximate=plan.is_approximate,
                counts=counts(plan),
                deciding=units,
            )
        case Challenger(delta=delta):
            why = "every iteration has fresh examples, so evidence adds up from one to the next"
            return Prospects("challenger", why, delta, False, None, claims, guards)
        case Reference(assess=assess, decide=decide):
            why = "the spec asks for the published rule"
            return Prospects("reference", why, None, False, (assess, decide), claims, guards)


def counts(plan: Plan) -> UnitName:
    """What counts as one in a test."""
    split = plan.data.split
    if split is None or not split.has_units or isinstance(plan.rule, Reference):
        return "examples"
    return "groups" if split.method == "grouped" else "blocks"


def fullness(plan: Plan) -> float:
    """How full a group is in the mean, as a share of the largest, as far as the spec says it."""
    split = plan.data.split
    return 1.0 if split is None else bounds.fullness(plan.data.rows, split.groups, split.largest)


def _units(plan: Plan, use: str, sizes: Mapping[str, int] | None) -> int | None:
    """How many examples, groups or blocks a use has; None where that isn't known."""
    split = plan.data.split
    match counts(plan):
        case "examples":
            return None if sizes is None else sizes[use]
        case "blocks":
            assert split is not None, "blocks are a split's"
            return None if sizes is None else bounds.blocks(sizes[use], split.block or 1)
        case "groups":
            assert split is not None, "groups are a split's"
            share = split.shares[SPLITS.index(use)]
            is_whole = split.parts == (None,) * len(SPLITS)
            return round(split.groups * share) if split.groups and is_whole else None


def too_few(plan: Plan, units: int, fullness: float) -> int | None:
    """How many units a test of acceptance takes at least, where there are fewer; else None.

    units      examples, groups or blocks that decide
    fullness   how full they are in the mean, as a share of the largest
    At the level of the last question, with all of them won.
    """
    if not isinstance(plan.rule, Gate):
        return None
    needed = 0
    for claim in plan.rule.claims:
        if claim.test == "mcnemar":
            needed = max(needed, least_wins(plan.rule.delta))
        elif claim.test == "betting":
            best = (_width(claim) - claim.margin) / claim.scale * fullness
            needed = max(needed, examples_for(plan.rule.delta, best))
    return needed if units < needed else None


def _why_gate(plan: Plan) -> str:
    assert isinstance(plan.rule, Gate)
    if not plan.data.is_endless:
        return "the adapt split is finite, so every question reads the same examples"
    sets = [each.measure.name for each in plan.rule.claims if each.test == "bootstrap"]
    if sets:
        return f"{sets[0]} has no value for each example, so evidence can't add up over iterations"
    if plan.rule.is_each_time:
        return "confidence each time asks anew, so evidence doesn't add up over iterations"
    return "the spec asks for it; fresh examples would allow rule `challenger`"


def levels(rule: Rule) -> tuple[tuple[Question, float], ...]:
    """The levels of a rule's tests, where nothing was spent before; none for `reference`."""
    match rule:
        case Gate(delta=delta, is_each_time=True):
            return (("each", delta),)
        case Gate(delta=delta):
            return (("first", delta / FIRST_QUERY), ("last", delta))
        case Challenger(delta=delta):
            return (("first", delta / 2),)
        case Reference():
            return ()


# ---------------------------------------------------------------- claims


def _claim(plan: Plan, claim: Claim, sizes: Mapping[str, int] | None) -> ClaimProspects:
    assert claim.test is not None, "a fact of the model is no claim of acceptance"
    counted = counts(plan)
    columns = tuple(_columns(plan.rule, claim, counted))
    found = list(_counts(plan, sizes)) if columns else []
    return ClaimProspects(
        objective=claim.measure.name,
        direction=claim.measure.direction,
        test=claim.test,
        margin=claim.margin,
        unit="pp" if claim.measure.is_share else "",
        has_range=claim.measure.range is not None,
        is_answers=_is_answers(claim, counted),
        columns=columns,
        rows=tuple(
            Row(n, m, k, tuple(_figure(plan, each, claim, n, m) for each in columns))
            for n, m, k in found
        ),
        rejections=_rejections(plan.rule) if claim.test == "bootstrap" else None,
        clipped=claim.clipped,
        counts=counted,
    )


def _counts(plan: Plan, sizes: Mapping[str, int] | None) -> Iterator[tuple[int, int, int | None]]:
    """Units that decide, units on assess, and how much more than the spec's they are."""
    adapt, assess = _units(plan, "adapt", sizes), _units(plan, "assess", sizes)
    if isinstance(plan.rule, Reference) and plan.rule.evaluate is not None:
        drawn = plan.rule.evaluate * plan.data.batch
        yield from ((drawn * k, drawn * k, k) for k in TIMES)
    elif adapt is not None and assess is not None:
        yield from ((adapt * k, assess * k, k) for k in TIMES)
    else:
        assert plan.data.split is not None, "an endless source has draws of known size"
        _, on_assess, on_adapt, _ = plan.data.split.shares
        assumed = ASSUMED if counts(plan) == "examples" else ASSUMED_UNITS
        yield from ((n, max(1, round(n * on_assess / on_adapt)), None) for n in assumed)


def _is_answers(claim: Claim, counted: UnitName) -> bool:
    """Whether spreads are shares of examples that differ; groups differ by more or less."""
    return (claim.measure.is_binary or claim.test == "bootstrap") and counted == "examples"


def _width(claim: Claim) -> float:
    """The length of the measure's range; 1 where it isn't known."""
    if claim.measure.range is None:
        return 1.0
    low, high = claim.measure.range
    return high - low


def _columns(rule: Rule, claim: Claim, counted: UnitName) -> Iterator[Column]:
    is_answers = _is_answers(claim, counted)
    spreads: tuple[float, ...] = DIFFER if is_answers else DEVIATIONS
    match rule:
        case Reference() if claim.test == "bootstrap":
            return
        case Reference():
            spreads = RIGHT if is_answers else spreads
            if claim.measure.range is None and not is_answers:
                spreads = (1.0,)
            for spread in spreads:
                yield Column("each", None, "apart", spread)
        case Challenger():
            # A tenth of the answers differing is much; so is a twentieth of a range.
            spread = DIFFER[-1] if is_answers else DEVIATIONS[0]
            for _, level in levels(rule):
                for gain in GAINS:
                    told = claim.margin + gain * _width(claim)
                    yield Column("first", level, "iterations", spread, told)
        case Gate():
            for question, level in levels(rule):
                if claim.test != "bootstrap":
                    yield Column(question, level, "least")
                for spread in spreads:
                    yield Column(question, level, "found", spread)
                # Each time a question costs nothing: it is asked whenever assess favours it.
                if question == "first":
                    yield Column(question, level, "asked", spreads[-1])


def _figure(plan: Plan, column: Column, claim: Claim, n: int, on_assess: int) -> float | None:
    """A gain in the measure's unit, or a count of iterations; n units decide."""
    rule, full = plan.rule, fullness(plan)
    is_answers = _is_answers(claim, counts(plan))
    spread, level, width = column.spread or 0.0, column.level, _width(claim)
    if not (n and on_assess):
        return None
    if isinstance(rule, Reference):
        # Of answers the spread is that of a coin which is right so often.
        deviation = math.sqrt(spread * (1 - spread)) if is_answers else spread * width
        return power.apart_gain(deviation, n, rule.decide)
    assert level is not None, "only rule reference has no level"
    excesses = _excesses(claim, spread, full, is_answers=claim.measure.is_binary and is_answers)
    if column.kind == "iterations":
        assert column.gain is not None, "a challenger's iterations are those of a gain"
        if column.gain > width:
            return None
        return power.challenger_iterations(excesses(column.gain), n, level)
    most = spread if claim.measure.is_binary and is_answers else width
    match claim.test:
        case "mcnemar":
            return _by_counts(column, level, spread, n, on_assess)
        case "betting" if column.kind == "least":
            least = claim.margin + claim.scale * least_excess(level, n) / full
            return least if least <= width else None
        case "betting" if column.kind == "asked":
            return power.betting_asked(excesses, most, n, level, on_assess)
        case "betting":
            return power.betting_gain(excesses, most, n, level, on_assess)
        case "bootstrap":
            if not is_affordable(level):
                return None
            # As if the set's value were a share of answers of which so many differ, or a mean of
            # groups that differ so much.
            deviation = math.sqrt(spread) if is_answers else spread
            error = width * deviation / math.sqrt(on_assess if column.kind == "asked" else n)
            if column.kind == "asked":
                return claim.margin + error * power.asked_standing(on_assess, n, level)
            return claim.margin + power.normal_gain(error, level)
        case None:
            raise AssertionError("a fact of the model is no claim of acceptance")


def _by_counts(column: Column, level: float, share: float, n: int, on_assess: int) -> float | None:
    match column.kind:
        case "least":
            wins = least_wins(level)
            return wins / n if wins <= n else None
        case "asked":
            return power.mcnemar_asked(share, on_assess, n, level)
        case _:
            return power.mcnemar_gain(n, share, level)


def _excesses(
    claim: Claim, spread: float, full: float, *, is_answers: bool
) -> Callable[[float], Outcomes]:
    """From a gain to the excesses of units that differ so much and are so full in the mean."""
    if is_answers:
        outcomes = partial(power.answers, spread)
    else:
        outcomes = partial(power.around, spread * _width(claim))
    return lambda gain: power.excesses(outcomes(gain), claim.margin, claim.scale / full)


def _rejections(rule: Rule) -> int | None:
    """After how many rejections rule `gate` is at a level that a bootstrap can't serve."""
    if not isinstance(rule, Gate) or rule.is_each_time:
        return None
    level, count = rule.delta / FIRST_QUERY, 0
    while is_affordable(level):
        level, count = level / FIRST_QUERY, count + 1
    return count


# ---------------------------------------------------------------- guards


def _guard(plan: Plan, guard: Guard, units: int | None) -> GuardProspects:
    rule = plan.rule
    told = GuardProspects(guard.name, guard.is_proven)
    if not guard.is_proven or isinstance(rule, Reference):
        return told
    _, level = levels(rule)[0]
    if guard.claim.test == "bootstrap":
        return attrs.evolve(told, is_provable=is_affordable(level))
    claim = guard.claim
    assert claim.measure.range is not None, "only what has a range can be bet on"
    excess, is_of_equals = best_excess(
        *claim.measure.range,
        is_falling=claim.measure.direction == "minimize",
        factor=claim.factor,
        margin=claim.margin,
    )
    told = attrs.evolve(told, is_of_equals=is_of_equals)
    if excess <= 0:
        return attrs.evolve(told, is_provable=False)
    if isinstance(rule, Challenger):
        assert units is not None, "fresh examples come in draws of known size"
        found = power.challenger_iterations(((excess, 1.0),), units, level)
        return attrs.evolve(told, iterations=found, is_provable=found is not None)
    needed = examples_for(level, excess * fullness(plan))
    is_provable = None if units is None else units >= needed
    return attrs.evolve(told, needed=needed, is_provable=is_provable)
