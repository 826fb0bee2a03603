"""`python -m benchmarks growth`: what a student that grows is worth, beside one that doesn't.

`specs/growth.ev3` beside this file by five seeds, each with its own draw of the splits: a student
grows from 8 hidden units to 128 where progress stops. Beside it the same search over a student
that stays as it is: the largest from the start, with as many gradient steps and with as many
floating-point operations, and the smallest to the end. And one that grows as well, but draws its
weights anew each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs

import ev3lang
from benchmarks import compare, paired
from ev3lang.plan import stages
from ev3lang.plan.plan import Architecture, Operation, Plan
from ev3lang.plan.show import examples_of
from ev3lang.plan.work import flops, parameters
from ev3lang.runtime.report import Report
from ev3lang.source import Source

SPEC = compare.SPECS / "growth.ev3"
SEEDS = range(5)

Stays: TypeAlias = Sequence[tuple[Architecture, int]]
"""The sizes of a search one after the other, with the iterations at each."""

GROWS = "grows"
BESIDE = {
    "largest": "largest from the start, as many steps",
    "largest_as_costly": "largest from the start, as many FLOPs",
    "smallest": "smallest to the end, as many steps",
    "anew": "grows by `fresh(widen(2x))`, as many steps",
}
"""What each search beside it is called in the tables: three without growth, one that forgets."""


def measure(seeds: Sequence[int] = SEEDS, iterations: int | None = None) -> dict[str, Any]:
    """Accuracy on the report split in %, what it cost, and gains of growth in pp.

    iterations   instead of the spec's own, for a look
    """
    runs = [_run(seed, iterations) for seed in seeds]
    searches: dict[str, Any] = {
        name: {
            "parameters": [run[name]["parameters"] for run in runs],
            "accepted_parameters": [run[name]["accepted_parameters"] for run in runs],
            "iterations": [run[name]["iterations"] for run in runs],
            "gradient_steps": [run[name]["gradient_steps"] for run in runs],
            "gflops": paired.summary([run[name]["gflops"] for run in runs]),
            "worth": {
                model: paired.summary([run[name]["worth"][model] for run in runs])
                for model in compare.SEARCHED
            },
        }
        for name in (GROWS, *BESIDE)
    }
    return {
        "about": "accuracy on the report split in %, seed by seed, and gains of growth in pp with "
        "Student's 95% interval over seeds; floating-point operations of the student in "
        "roll-outs and on assess",
        "seeds": list(seeds),
        "searches": searches,
        "stages": [run["stages"] for run in runs],
        "gains": {
            model: {
                name: paired.gain(
                    searches[GROWS]["worth"][model]["each"],
                    searches[name]["worth"][model]["each"],
                    less_is_better=False,
                )
                for name in BESIDE
            }
            for model in compare.SEARCHED
        },
    }


def _run(seed: int, iterations: int | None) -> dict[str, Any]:
    """One seed: the search that grows, then the others, which depend on what it cost."""
    experiment = ev3lang.load(SPEC, seed=seed)
    plan, source = compare.with_split(experiment.plan, seed), experiment.source
    if iterations is not None:
        plan = attrs.evolve(plan, stop=attrs.evolve(plan.stop, iterations=iterations))
    sizes = [plan.architecture, *(rung.architecture for rung in stages.ladder(plan))]
    report, stays = _growing(plan, source, sizes)
    anew = _forgetting(plan)
    cost = sum(count * iteration_flops(plan, each) for each, count in stays)
    as_costly = max(1, round(cost / iteration_flops(plan, sizes[-1])))
    return {
        GROWS: _row(report, stays, plan),
        "largest": _without_growth(plan, source, sizes[-1], report.iterations),
        "largest_as_costly": _without_growth(plan, source, sizes[-1], as_costly),
        "smallest": _without_growth(plan, source, sizes[0], report.iterations),
        "anew": _row(*_growing(anew, source, sizes), anew),
        "stages": [
            {
                "parameters": sum(stage.parameters.values()),
                "first": stage.first,
                "last": stage.last,
                "acceptances": stage.acceptances,
                "final": stage.final,
                "max_output_change": stage.max_output_change,
            }
            for stage in report.stages
        ],
    }


def _forgetting(plan: Plan) -> Plan:
    """The plan with weights that are drawn anew at each growth."""
    patience = plan.patience
    assert patience is not None and patience.growing is not None, "the spec grows"
    (operation,) = patience.growing.operations
    fresh = Operation("fresh", (("operator", operation),))
    growing = attrs.evolve(patience.growing, operations=(fresh,))
    return attrs.evolve(plan, patience=attrs.evolve(patience, growing=growing))


def _growing(plan: Plan, source: Source, sizes: Sequence[Architecture]) -> tuple[Report, Stays]:
    """The report of a search that grows, and how long it had each of the sizes."""
    report = compare.reported(plan, source)
    by_parameters = {_parameters(each): each for each in sizes}
    return report, [
        (by_parameters[sum(stage.parameters.values())], stage.last - stage.first + 1)
        for stage in report.stages
    ]


def _without_growth(
    plan: Plan, source: Source, architecture: Architecture, iterations: int
) -> dict[str, Any]:
    """The same search over models that stay as they are."""
    still = attrs.evolve(
        stages.at(plan, architecture),
        patience=None,
        stop=attrs.evolve(plan.stop, iterations=iterations),
    )
    report = compare.reported(still, source)
    return _row(report, [(architecture, report.iterations)], still)


def _row(report: Report, stays: Stays, plan: Plan) -> dict[str, Any]:
    """What a search came to, and what it cost."""
    count = sum(count for _, count in stays)
    assert count == report.iterations, "each iteration is at one size"
    (objective,) = plan.objectives
    worth = compare.worth_of(report, objective.name)
    cost = sum(count * iteration_flops(plan, each) for each, count in stays)
    return {
        "parameters": _parameters(stays[-1][0]),
        "accepted_parameters": int(report.metrics[report.delivered]["size"].value),
        "iterations": count,
        "gradient_steps": count * sum(descent.steps for descent in plan.descents),
        "gflops": round(cost / 1e9, 3),
        "worth": {model: worth[model] for model in compare.SEARCHED},
    }


def iteration_flops(plan: Plan, architecture: Architecture) -> int:
    """Floating-point operations of an iteration with explored models of this architecture.

    A gradient step is three forward passes over its batch, and each candidate is measured on
    assess. What frozen models make of explore is computed once for a run, and left out.
    """
    sizes = examples_of(plan.data)
    assert sizes is not None, "a bundled set has a known number of examples"
    examples = sum(3 * descent.steps * descent.batch for descent in plan.descents)
    examples += len(plan.candidates) * sizes["assess"]
    return examples * sum(map(flops, architecture))


def _parameters(architecture: Architecture) -> int:
    return sum(parameters(model) or 0 for model in architecture)


# ---------------------------------------------------------------- in words


def tables(result: Mapping[str, Any]) -> str:
    """The result in markdown: what each search came to, the gains of growth, and its stages."""
    return f"{_worth_table(result)}\n\n{_gain_table(result)}\n\n{_stage_table(result)}"


def _worth_table(result: Mapping[str, Any]) -> str:
    lines = [
        "| search | parameters at the end | of the accepted model | iterations | gradient steps "
        "| GFLOP | current: accuracy in % | accepted: accuracy in % |",
        f"| {' | '.join(['---'] * 8)} |",
    ]
    for name, said in {GROWS: "grows", **BESIDE}.items():
        found = result["searches"][name]
        counts = [
            _spread(found[each])
            for each in ("parameters", "accepted_parameters", "iterations", "gradient_steps")
        ]
        worth = [
            f"{found['worth'][model]['mean']:.2f} ({_spread(found['worth'][model]['each'], 1)})"
            for model in ("current", "accepted")
        ]
        cells = [said, *counts, f"{found['gflops']['mean']:.2f}", *worth]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(each: Sequence[float], digits: int = 0) -> str:
    low, high = min(each), max(each)
    if low == high:
        return f"{low:,.{digits}f}"
    return f"{low:,.{digits}f} to {high:,.{digits}f}"


def _gain_table(result: Mapping[str, Any]) -> str:
    lines = [
        "| growth beside | current: gain in pp (95%) | is | seeds better / worse / equal "
        "| accepted: gain in pp (95%) | is | seeds better / worse / equal |",
        f"| {' | '.join(['---'] * 7)} |",
    ]
    for name, said in BESIDE.items():
        cells = [paired.cells(result["gains"][model][name]) for model in ("current", "accepted")]
        lines.append(f"| {said} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _stage_table(result: Mapping[str, Any]) -> str:
    sizes = sorted({stage["parameters"] for run in result["stages"] for stage in run})
    lines = [
        f"| seed | {' | '.join(f'{size:,} parameters' for size in sizes)} |",
        f"| {' | '.join(['---'] * (1 + len(sizes)))} |",
    ]
    for seed, run in zip(result["seeds"], result["stages"], strict=True):
        at = {stage["parameters"]: stage for stage in run}
        cells = [_stay(at[size]) if size in at else "-" for size in sizes]
        lines.append(f"| {seed} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _stay(stage: Mapping[str, Any]) -> str:
    reached = "?" if stage["final"] is None else f"{100 * stage['final']:.1f}%"
    count = stage["acceptances"]
    accepted = f", {count} accepted" if count else ""
    return f"iterations {stage['first']} to {stage['last']}: {reached}{accepted}"
