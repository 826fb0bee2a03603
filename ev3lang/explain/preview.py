"""A preview as text and as a document: what a run would cost and what it could prove."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import attrs

from ev3lang.diagnostics.figures import chance
from ev3lang.explain.values import counted, duration, grouped, listed, percent
from ev3lang.plan.growing import Alternative, GrowthCost, StageCost
from ev3lang.plan.prospects import ClaimProspects, Column, GuardProspects, Prospects
from ev3lang.plan.show import CandidateCost, PointCost, Preview
from ev3lang.printable import printable

WIDTH = 96

FORMAT_VERSION = "1.0"

UNKNOWN = "?"
NOTHING = "-"


def document(preview: Preview, points: Sequence[PointCost] = ()) -> dict[str, Any]:
    """The preview as a tree of JSON's own types, with the fields of its classes.

    points   what the runs of a sweep cost; the preview is of the first of them
    """
    told = {"format_version": FORMAT_VERSION, **attrs.asdict(preview)}
    return told | ({"points": [attrs.asdict(each) for each in points]} if points else {})


def explain_preview(preview: Preview, points: Sequence[PointCost] = ()) -> str:
    """The preview as text, for people.

    points   what the runs of a sweep cost; the preview is of the first of them
    """
    sections = (
        _section(f"Plan of {preview.name}", _whole(preview)),
        _section("Sweep", _points(preview, points)),
        _section("Models", _models(preview)),
        _section("Candidates of an iteration", _candidates(preview)),
        _section("Functions of yours", _externs(preview)),
        _section("Work" if preview.growth is None else "Work, at the first size", _work(preview)),
        _section("Growth", _growth(preview)),
        _section("Memory on the device", _memory(preview)),
        _section(f"Evidence: rule {preview.evidence.rule}", _rule(preview)),
        *(
            _section(_title(each, preview.evidence), _claim(each, preview))
            for each in preview.evidence.claims
        ),
        _section("Guards", _guards(preview)),
    )
    return "\n\n".join(section for section in sections if section)


def _section(title: str, lines: Iterable[str]) -> str:
    """A heading and what stands under it; nothing where nothing does.

    A line that starts with two blanks is a row of a table and stays whole.
    """
    found = []
    for line in map(printable, lines):
        if line.startswith("  "):
            found.append(line.rstrip())
        else:
            found.append(textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="    "))
    return "\n".join([printable(title), *found]) if found else ""


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows in columns: the first to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [each.rjust(width) for each, width in zip(others, widths[1:], strict=True)]
        yield "  " + "  ".join(cells)


# ---------------------------------------------------------------- costs


def _whole(preview: Preview) -> Iterator[str]:
    ends = []
    if preview.iterations is not None:
        ends.append(counted(preview.iterations, "iteration", "iterations"))
    if preview.seconds is not None:
        ends.append(duration(preview.seconds))
    yield f"at most {listed(ends, 'or')}" if ends else "until a condition of its stop is met"
    if preview.is_endless:
        assert preview.sizes is not None, "an endless source has evaluation draws"
        draw = grouped(preview.sizes["assess"])
        yield f"data: {preview.source}, endless; an evaluation draws {draw} fresh examples"
        return
    if preview.sizes is None:
        yield (
            f"data: {preview.source}; how many examples there are is known once they are read, "
            "so what depends on it shows a question mark, and evidence is told for several sizes"
        )
        return
    sizes = ", ".join(f"{use} {grouped(count)}" for use, count in preview.sizes.items())
    yield f"data: {preview.source}, {grouped(sum(preview.sizes.values()))} examples: {sizes}"


def _points(preview: Preview, points: Sequence[PointCost]) -> Iterator[str]:
    if not points:
        return
    rows = [["", "runs", "parameters", "FLOP of all iterations"]]
    for each in points:
        name = ", ".join(f"{name}={value}" for name, value in each.settings.items())
        count = UNKNOWN if each.parameters is None else grouped(each.parameters)
        work = _amount(each.flops)
        if each.most != each.flops:
            work += f" to {_amount(each.most)}"
        rows.append([name or "all seeds", grouped(each.runs), count, work])
    yield from _table(rows)
    if preview.growth is not None:
        yield "from no growth at all to each growth as early as can be"
    yield "what follows is told of the first run; --set shows another"


def _externs(preview: Preview) -> Iterator[str]:
    for each in preview.externs:
        if not each.is_host:
            yield f"{each.name}: runs in the program; what it computes is not counted below"
            continue
        assert each.calls is not None, "a host's calls are counted"
        calls = counted(each.calls, "call", "calls")
        size = "a split" if each.examples is None else counted(each.examples, "example", "examples")
        yield (
            f"{each.name}: {calls} an iteration, with {size} where models are assessed: each "
            "iteration ends a segment and waits for Python on the host, and what is computed "
            "there is not counted below"
        )


def _models(preview: Preview) -> Iterator[str]:
    rows = [["", "parameters", "FLOP an example"]]
    for each in preview.models:
        name = f"{each.name} (explored)" if each.is_explored else each.name
        count = UNKNOWN if each.parameters is None else grouped(each.parameters)
        rows.append([name, count, _amount(each.flops)])
    yield from _table(rows)
    if any(each.flops is None for each in preview.models):
        yield "?: a class of yours is counted when a run loads it"


def _candidates(preview: Preview) -> Iterator[str]:
    rows = [["", "what", "batch", "FLOP"]]
    for each in preview.candidates:
        batch = grouped(each.batch) if each.batch else NOTHING
        rows.append([each.name, _what(each), batch, _amount(each.flops)])
    for each in preview.by_members:
        batch = grouped(each.batch)
        rows.append([f"{each.name}, by each member", _what(each), batch, _amount(each.flops)])
    if preview.work.frozen != 0:
        rows.append(["frozen models, shared", "each step", "", _amount(preview.work.frozen)])
    yield from _table(rows)
    if preview.by_members:
        yield (
            "by each member: of an archive, which is empty as the run starts, so that these are "
            "counted with growth alone"
        )


def _what(candidate: CandidateCost) -> str:
    match candidate.kind:
        case "descent":
            if candidate.longest > candidate.steps:
                return f"{grouped(candidate.steps)} to {grouped(candidate.longest)} steps"
            return counted(candidate.steps, "gradient step", "gradient steps")
        case "evolution":
            generations = counted(candidate.steps, "generation", "generations")
            return f"{generations} of {grouped(candidate.population)}"
        case "perturbation":
            return "a draw of noise"
        case "average":
            return "a mean of weights"


def _work(preview: Preview) -> Iterator[str]:
    work = preview.work
    is_asked = preview.evidence.rule == "gate"
    parts = [work.explore, work.assess, *(() if is_asked else (work.adapt,))]
    whole = None if None in parts else sum(part for part in parts if part is not None)
    rows = [
        ["explore", _amount(work.explore), _share(work.explore, whole)],
        ["assess", _amount(work.assess), _share(work.assess, whole)],
        ["adapt", _amount(work.adapt), "each question" if is_asked else _share(work.adapt, whole)],
        ["an iteration", _amount(whole), "without questions" if is_asked else ""],
    ]
    if preview.iterations is not None:
        total = None if whole is None else whole * preview.iterations
        shown = counted(preview.iterations, "iteration", "iterations")
        rows.append([f"all {shown}", _amount(total), "" if preview.growth is None else "no growth"])
        if preview.growth is not None:
            rows.append([f"all {shown}", _amount(preview.growth.work), "earliest growth"])
    if work.before != 0:
        rows.append(["teachers, once before", _amount(work.before), ""])
    if work.after != 0:
        rows.append(["baselines, once after", _amount(work.after), ""])
    yield from _table([["", "FLOP", ""], *rows])
    yield (
        "a multiplication and its addition are two; norms and activations are not counted; a "
        "gradient step takes three forward passes"
    )


# ---------------------------------------------------------------- growth

MOST_ROWS = 12
"""Sizes that are shown; of more the middle is left out."""


SIZE_HEADINGS = (
    "from", "steps", "parameters", "FLOP an example", "an iteration", "members", "with them",
    "memory",
)  # fmt: skip


def _growth(preview: Preview) -> Iterator[str]:
    growth = preview.growth
    if growth is None:
        return
    yield _trigger(growth)
    yield from _table(list(_sizes(growth)))
    yield from _sizes_legend(growth)
    most = preview.iterations
    if most is not None and growth.stages[-1].first > most:
        if growth.stages[1].first > most:
            yield f"the run ends after {counted(most, 'iteration', 'iterations')}: it can't grow"
        else:
            yield f"sizes from iterations after {grouped(most)} are beyond its stop"
    yield from _last(growth)
    yield from _passes(preview, growth)
    if growth.members:
        later = growth.passes is not None or growth.restarts
        yield (
            "members: candidates that are taught by archives' models, if one of each size before "
            "was accepted" + (f"; in later passes {growth.members} at most" if later else "")
        )


def _trigger(growth: GrowthCost) -> str:
    wait = f"after {counted(growth.patience, 'iteration', 'iterations')} without progress"
    limits = f", while {listed(growth.limits)}" if growth.limits else ""
    match growth.choice:
        case "only":
            by = listed(growth.operations)
        case "or":
            by = f"{listed(growth.operations, 'or')}, one drawn by the seed each time"
        case "best of":
            by = (
                f"the best of {listed(growth.operations)}: each has one iteration, and assess "
                "ranks what they come to"
            )
    return f"{wait} {growth.explored} grows by {by}{limits}"


def _sizes(growth: GrowthCost) -> Iterator[list[str]]:
    """The rows of the table of sizes, its headings first."""
    is_longer = len({each.steps for each in growth.stages}) > 1
    has_members = any(each.members for each in growth.stages)

    def chosen(row: Mapping[str, str]) -> list[str]:
        hidden = set() if is_longer else {"steps"}
        hidden |= set() if has_members else {"members", "with them"}
        return [cell for heading, cell in row.items() if heading not in hidden]

    def row(name: str, size: StageCost | Alternative) -> dict[str, str]:
        found = {
            "parameters": grouped(size.parameters),
            "FLOP an example": _amount(size.flops),
            "an iteration": _amount(size.work),
        }
        if isinstance(size, StageCost):
            found |= {
                "from": grouped(size.first),
                "steps": grouped(size.steps),
                "members": grouped(size.members),
                "with them": _amount(size.taught),
                "memory": _size(size.memory),
            }
        return {"size": name} | {heading: found.get(heading, "") for heading in SIZE_HEADINGS}

    yield chosen({heading: heading for heading in ("size", *SIZE_HEADINGS)})
    left_out = range(MOST_ROWS - 2, len(growth.stages) - 1)
    for number, stage in enumerate(growth.stages):
        if len(growth.stages) > MOST_ROWS and number in left_out:
            if number == left_out.start:
                yield [f"… {len(left_out)} sizes …", *[""] * (len(chosen(row("", stage))) - 1)]
            continue
        name = "start" if stage.operation is None else f"{number}. {stage.operation}"
        yield chosen(row(name, stage))
        for each in stage.alternatives:
            yield chosen(row(f"{' ' * len(f'{number}. ')}or {each.operation}", each))


def _sizes_legend(growth: GrowthCost) -> Iterator[str]:
    first = "one that is a new best at its size and " if growth.stay > growth.patience else ""
    yield (
        f"from: the first iteration at a size, at the earliest, as each lasts "
        f"{counted(growth.stay, 'iteration', 'iterations')} or more: {first}"
        f"{growth.patience} without progress"
    )
    if growth.choice == "or":
        yield "what is drawn depends on the seed: another one comes to other sizes"
    elif any(each.alternatives for each in growth.stages):
        yield "told as if the first always won"


def _last(growth: GrowthCost) -> Iterator[str]:
    """What stops growth."""
    if not growth.ends:
        yield "and so on: no limit stops growth at any size that is told here"
        return
    last = "growth ends at the last size" if len(growth.stages) > 1 else "nothing can grow"
    yield f"{last}: {'; '.join(growth.ends)}"


def _passes(preview: Preview, growth: GrowthCost) -> Iterator[str]:
    """What comes after the last size."""
    if not growth.ends:
        return
    least = growth.stay * len(growth.stages)
    if growth.passes is not None:
        whole = counted(growth.passes, "pass", "passes")
        yield (
            f"without progress at the last size a pass ends and the next starts from the smallest, "
            f"with fresh weights: {whole}, of {counted(least, 'iteration', 'iterations')} or more "
            "each, and then the run ends"
        )
        if preview.iterations is not None and preview.iterations < least * growth.passes:
            most = preview.iterations // least
            yield (
                f"{counted(preview.iterations, 'iteration', 'iterations')} are too few for that: "
                f"{'no pass is' if most == 0 else 'at most ' + counted(most, 'is', 'are')} whole"
            )
    elif growth.restarts:
        yield (
            "without progress at the last size the search starts again from the smallest, with "
            f"fresh weights, after {counted(least, 'iteration', 'iterations')} at the earliest"
        )
    else:
        yield "there the run goes on until its stop"


def _share(part: int | None, whole: int | None) -> str:
    if part is None or not whole:
        return ""
    share = 100 * part / whole
    if 99.9 < share < 100:
        return "> 99.9%"
    return "< 0.1%" if 0 < share < 0.1 else f"{share:.1f}%"


# ---------------------------------------------------------------- memory


def _memory(preview: Preview) -> Iterator[str]:
    memory = preview.memory
    rows = [
        ["weights", _size(memory.weights)],
        ["optimizers", _size(memory.optimizers)],
        ["data", _size(memory.data)],
        ["activations, about", _size(memory.activations)],
        ["all", _size(memory.total)],
    ]
    yield from _table(rows)
    yield (
        "weights are those of current, accepted, every candidate and frozen models; optimizers "
        "keep as many numbers for each weight as their states have; activations are estimated "
        "from the layers' sizes, and what the compiler adds is not known here"
    )
    if preview.growth is not None and len(preview.growth.stages) > 1:
        yield (
            "at the largest size that the run can come to, with room for an accepted model of an "
            "earlier one"
            + (" and for as many members of archives as can be there" if preview.by_members else "")
        )


_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def _amount(count: int | None) -> str:
    """`678 M`: three digits and a power of a thousand."""
    if count is None:
        return UNKNOWN
    value = float(count)
    for prefix in _PREFIXES:
        # 999.6 would be shown as 1000.
        if value < 999.5 or prefix == _PREFIXES[-1]:
            return f"{_figure(value)} {prefix}".rstrip()
        value /= 1000
    raise AssertionError("the last prefix takes what is left")


def _size(count: int | None) -> str:
    return UNKNOWN if count is None else f"{_amount(count)}B" if count >= 1000 else f"{count} B"


def _figure(value: float) -> str:
    """Three digits: `0.0213`, `1.9`, `27`, `678`."""
    return f"{value:.3g}"


# ---------------------------------------------------------------- evidence


def _level(fraction: float) -> str:
    """Three digits of a percentage: `0.25%`, `0.0208%`; none below 100% is written as it."""
    return chance(fraction)


def _rule(preview: Preview) -> Iterator[str]:
    evidence = preview.evidence
    yield f"because {evidence.why}"
    yield from _independence(evidence)
    if evidence.delta is None:
        assert evidence.widths is not None, "rule reference has bounds"
        assess, decide = evidence.widths
        yield (
            f"bounds are {assess:g} standard errors wide in assess and {decide:g} in adapt; "
            "nothing bounds the chance that the run ever accepts a model that is no better"
        )
        return
    delta = _level(evidence.delta)
    about = "about " if evidence.is_approximate else ""
    if evidence.is_each_time:
        yield (
            f"each decision accepts a model that is no better with a chance of at most "
            f"{about}{delta}"
        )
        return
    if preview.runs == 1:
        yield (
            "the chance that the run ever accepts a model that is no better is at most "
            f"{about}{delta}"
        )
    else:
        runs = counted(preview.runs, "run", "runs")
        yield (
            f"the chance that any of the {runs} of the sweep ever accepts a model that is no "
            f"better is at most {about}{_level(evidence.delta * preview.runs)}: each has {delta} "
            "of it"
        )
    if evidence.rule == "gate":
        yield (
            f"the first question has a level of {_level(evidence.delta / 20)}; an acceptance "
            "leaves 90% of the budget to later ones, a rejection 5%; the last one, at the run's "
            f"own stop, has all that is left: {delta} where none was asked before"
        )
    else:
        yield (
            f"the first challenger has a level of {_level(evidence.delta / 2)}, the j-th that "
            "of 1 in j (j + 1) of the whole, and what earlier ones have left"
        )


def _independence(evidence: Prospects) -> Iterator[str]:
    """What a test takes for independent, where that isn't each example."""
    match evidence.counts:
        case "groups":
            yield "groups are taken for independent of each other, the examples of one are not"
            if evidence.deciding is None:
                yield (
                    "how many there are is known once the data are read: `in 300 groups of up to "
                    "40 examples` after the field tells it before"
                )
        case "blocks":
            yield (
                "blocks are taken for independent of each other, which holds about where they are "
                "longer than what happens at one time is felt; drift after adapt is beyond any test"
            )


_TESTS = {
    "mcnemar": "exact, by the examples that one model alone gets right",
    "betting": "exact, by bets on paired differences",
    "bootstrap": "approximate, by a bootstrap of the difference",
}


def _title(claim: ClaimProspects, evidence: Prospects) -> str:
    is_unpaired = evidence.rule == "reference"
    how = "by bounds of unpaired values" if is_unpaired else _TESTS[claim.test]
    verb = "higher" if claim.direction == "maximize" else "lower"
    margin = f" by over {_gain(claim.margin, claim)}" if claim.margin else ""
    kept = ""
    if claim.clipped is not None and not is_unpaired:
        kept = f", each value kept in {claim.clipped[0]:g} to {claim.clipped[1]:g}"
    of = "" if claim.counts == "examples" else f", each of the {claim.counts} counted as one"
    if claim.counts == "blocks" and not is_unpaired:
        how = how.replace("exact, by", "exact for independent blocks, by")
    return f"That {claim.objective} is {verb}{margin}{kept}: {how}{of}"


def _claim(claim: ClaimProspects, preview: Preview) -> Iterator[str]:
    if not claim.columns:
        yield "bounds of a set's value come from a bootstrap; what they could show isn't known"
        return
    yield from _figures(claim, preview)
    yield from _legend(claim)


def _figures(claim: ClaimProspects, preview: Preview) -> Iterator[str]:
    """The table, with a line of headings that stand over several columns above it."""
    noun = f"adapt {claim.counts}"
    if preview.is_endless or preview.evidence.rule == "reference":
        noun = "examples a decision"
    rows = [[noun, *(_heading(each, claim) for each in claim.columns)]]
    for row in claim.rows:
        times = {None: "", 1: " (this spec)"}.get(row.times, f" ({row.times}x)")
        cells = [
            NOTHING if value is None else _cell(value, column, claim)
            for value, column in zip(row.values, claim.columns, strict=True)
        ]
        rows.append([grouped(row.examples) + times, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    over = " " * (widths[0] + 2)
    at = 1
    for question, columns in groupby(claim.columns, key=lambda each: each.question):
        group = list(columns)
        # Groups stand a little apart; the last column makes room for a long heading.
        widths[at] += 2 if question != claim.columns[0].question else 0
        title = _question(group[0], claim)
        end = at + len(group)
        width = sum(widths[at:end]) + 2 * (len(group) - 1)
        indent = widths[at] - max(len(row[at]) for row in rows)
        widths[end - 1] += max(0, indent + len(title) - width)
        over += (" " * indent + title).ljust(sum(widths[at:end]) + 2 * (len(group) - 1) + 2)
        at = end
    yield "  " + over
    for first, *others in rows:
        cells = [each.rjust(width) for each, width in zip(others, widths[1:], strict=True)]
        yield "  " + "  ".join([first.ljust(widths[0]), *cells])


def _question(column: Column, claim: ClaimProspects) -> str:
    match column.kind:
        case "iterations":
            return "iterations to show a gain of"
        case "apart":
            return "if so many are right" if claim.is_answers else "at a standard deviation of"
    assert column.level is not None, "a test has a level"
    return f"{column.question} at {_level(column.level)}"


def _heading(column: Column, claim: ClaimProspects) -> str:
    match column.kind:
        case "least" | "asked":
            return column.kind
        case "iterations":
            assert column.gain is not None, "a challenger's iterations are those of a gain"
            return _gain(column.gain, claim)
        case "found" | "apart":
            assert column.spread is not None, "what is found depends on how models differ"
            return percent(column.spread) if claim.is_answers or claim.has_range else "1"


def _cell(value: float, column: Column, claim: ClaimProspects) -> str:
    if column.kind == "iterations":
        return f"{value:.0f}"
    if claim.unit == "pp":
        return f"{100 * value:.1f}" if value >= 0.001 else f"{100 * value:.2g}"
    return _figure(value)


def _gain(value: float, claim: ClaimProspects) -> str:
    return f"{_figure(100 * value)} pp" if claim.unit == "pp" else _figure(value)


def _legend(claim: ClaimProspects) -> Iterator[str]:
    kinds = {each.kind for each in claim.columns}
    spreads = list(dict.fromkeys(e.spread for e in claim.columns if e.kind in ("found", "apart")))
    shown = listed((percent(each) for each in spreads if each is not None), "or")
    if "iterations" in kinds:
        (spread,) = {each.spread or 0.0 for each in claim.columns}
        differ = f"the models differ on {percent(spread)} of the examples"
        if not claim.is_answers:
            differ = f"differences have a standard deviation of {percent(spread)} of the range"
        is_dropped = any(None in row.values for row in claim.rows)
        age = "; -: dropped for its age before that" if is_dropped else ""
        yield f"the median, if {differ}{age}"
        return
    unit = "in pp" if claim.unit == "pp" else f"in the unit of {claim.objective}"
    is_out_of_reach = any(None in row.values for row in claim.rows)
    yield f"gains {unit}" + (
        f"; -: out of reach on so few {claim.counts}" if is_out_of_reach else ""
    )
    if "least" in kinds:
        one = {"examples": "example", "groups": "group", "blocks": "block"}[claim.counts]
        best = "with no example lost" if claim.test == "mcnemar" else f"with every {one} better"
        yield f"least: no smaller gain can be shown, and this one only {best}"
    if "apart" in kinds:
        is_share = claim.has_range and not claim.is_answers
        shares = "; deviations are shares of the range" if is_share else ""
        yield f"what parts the unpaired bounds with a chance of 90%{shares}"
        return
    if claim.test == "bootstrap" and claim.counts == "examples":
        differ = f"if its standard error is that of answers which differ on {shown} of the examples"
    elif claim.counts != "examples":
        differ = (
            f"if means of {claim.counts} differ by a standard deviation of {shown} of the range"
        )
    elif claim.is_answers:
        differ = f"if the models differ on {shown} of the examples"
    else:
        differ = f"if paired differences have a standard deviation of {shown} of the range"
    yield f"{shown}: found with a chance of 90% {differ}"
    if "asked" in kinds:
        yield (
            "asked: what assess has to show, at the larger of these, before a question is asked; "
            "what shows less waits for the last one"
        )
    if claim.rejections is not None:
        times = counted(claim.rejections, "rejection", "rejections")
        yield (
            f"a bootstrap takes 20 / level resamples and 200,000 at most, so that after {times} "
            "no question is asked while the run goes on"
        )


def _guards(preview: Preview) -> Iterator[str]:
    for each in preview.evidence.guards:
        yield f"{each.name}: {_proof(each, preview)}"


def _proof(guard: GuardProspects, preview: Preview) -> str:
    if not guard.is_proven:
        return "looked at on assess, not proven"
    if preview.evidence.rule == "reference":
        return "looked at, not proven: rule reference tests nothing"
    best = "for identical models" if guard.is_of_equals else "for a perfect model"
    if guard.iterations is not None:
        times = counted(guard.iterations, "iteration", "iterations")
        return f"can be proven; {best} it takes {times}"
    if guard.needed is None:
        can = "can be proven, approximately: by a bootstrap"
        return can if guard.is_provable else f"can't be proven, not even {best}"
    needed = f"even {best} it takes {grouped(guard.needed)} adapt {preview.evidence.counts}"
    if guard.is_provable is None or preview.evidence.deciding is None:
        return needed
    can = "can" if guard.is_provable else "can't"
    return f"{can} be proven: {needed}, and {grouped(preview.evidence.deciding)} are there"
