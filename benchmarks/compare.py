"""`python -m benchmarks compare`: a search beside plain training, on four sets by five seeds.

A seed draws the split, the start weights and the batches. The specs in `benchmarks/specs/` are what
is run, and their reports are what is read; two more baselines are trained here: one that stops
where assess says, and one that has the examples of assess and adapt to train on.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import jax
import numpy as np

import ev3lang
from benchmarks import paired
from ev3lang.backend.emit import Program, emit
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import BaselinePlan, Plan
from ev3lang.runtime import data
from ev3lang.runtime.report import Report
from ev3lang.runtime.run import run
from ev3lang.source import Source

SPECS = Path(__file__).parent / "specs"
TASKS = ("digits", "breast_cancer", "wine", "diabetes")
SEEDS = range(5)

BASELINES = {
    "adam": "adamw",
    "momentum": "sgd with momentum",
    "adam_as_long": "adamw, as long as accepted",
    "adam_stopped": "adamw, stopped by assess",
    "adam_on_all": "adamw, on more examples",
}
"""What each is called in the tables. The specs declare the first three; the first two and the last
take as many steps as all candidates together."""

SEARCHED = ("accepted", "current")


def measure(
    tasks: Sequence[str] = TASKS, seeds: Sequence[int] = SEEDS, iterations: int | None = None
) -> dict[str, Any]:
    """What every model came to on the report split, and both of the search beside the baselines.

    iterations   instead of the specs' own, for a look
    """
    return {
        "about": "worth on the report split, seed by seed; gains are paired, positive where the "
        "search is better, with Student's 95% interval over seeds",
        "seeds": list(seeds),
        "sets": {task: _set(task, seeds, iterations) for task in tasks},
    }


def _set(task: str, seeds: Sequence[int], iterations: int | None) -> dict[str, Any]:
    runs = [_run(task, seed, iterations) for seed in seeds]
    first = runs[0]
    worth = {model: [run["worth"][model] for run in runs] for model in first["worth"]}
    return {
        "objective": first["objective"],
        "less_is_better": first["less_is_better"],
        "examples": first["examples"],
        "gradient_steps": {
            model: [run["steps"][model] for run in runs] for model in first["steps"]
        },
        "worth": {model: paired.summary(each) for model, each in worth.items()},
        "gains": gains(worth, SEARCHED, BASELINES, less_is_better=first["less_is_better"]),
    }


def gains(
    worth: Mapping[str, Sequence[float]],
    ours: Sequence[str],
    baselines: Sequence[str] | Mapping[str, str],
    *,
    less_is_better: bool,
) -> dict[str, dict[str, Any]]:
    """Each of our models beside each baseline."""
    return {
        model: {
            name: paired.gain(worth[model], worth[name], less_is_better=less_is_better)
            for name in baselines
        }
        for model in ours
    }


def _run(task: str, seed: int, iterations: int | None) -> dict[str, Any]:
    """One seed: what the report says, and the two baselines that no report has."""
    experiment = ev3lang.load(SPECS / f"{task}.ev3", seed=seed)
    plan = with_split(experiment.plan, seed)
    if iterations is not None:
        plan = attrs.evolve(plan, stop=attrs.evolve(plan.stop, iterations=iterations))
    report = reported(plan, experiment.source)
    (objective,) = plan.objectives
    dataset = data.read(plan.data)
    adam = plan.baselines[0]
    steps = dict(report.steps)
    program = program_of(plan, dataset.tables, dataset.statistics)
    steps["adam_stopped"], stopped = stopped_early(program, plan, adam, steps[adam.name])
    steps["adam_on_all"] = steps[adam.name]
    merged = program_of(plan, _merged(dataset.tables), dataset.statistics)
    on_all = merged.train_baseline(jax.random.key(seed), adam, steps["adam_on_all"])
    return {
        "objective": objective.name,
        "less_is_better": objective.direction == "minimize",
        "examples": {
            split: len(next(iter(table.values()))) for split, table in dataset.tables.items()
        },
        "steps": {name: int(count) for name, count in steps.items()},
        "worth": {
            **worth_of(report, objective.name),
            "adam_stopped": worth_on(program, plan, stopped, "report"),
            "adam_on_all": worth_on(program, plan, on_all, "report"),
        },
    }


# ---------------------------------------------------------------- one run


def with_split(plan: Plan, seed: int) -> Plan:
    """The plan with another draw of its splits."""
    assert plan.data.split is not None, "finite data are split"
    split = attrs.evolve(plan.data.split, seed=seed)
    return attrs.evolve(plan, data=attrs.evolve(plan.data, split=split))


def reported(plan: Plan, source: Source) -> Report:
    """The report of a whole run, as `ev3lang run` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        report = run(plan, source, out=Path(folder) / "out").report
    assert report.split == "report", "the run ended by its own stop"
    return report


def worth_of(report: Report, objective: str) -> dict[str, float]:
    """An objective of every model of a report; shares in %.

    What the run delivers is `accepted`, though nothing may have been and it is the start.
    """
    scale = 100 if report.quantities[objective].is_share else 1
    return {
        "accepted" if model == report.delivered else model: round(
            scale * metrics[objective].value, 4
        )
        for model, metrics in report.metrics.items()
    }


def program_of(
    plan: Plan,
    tables: data.Tables,
    statistics: Mapping[str, Any],
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Program:
    """The program that trains the plan's baselines on the given tables."""
    return emit(fuse(plan, jax.default_backend()), tables, statistics, given)


def worth_on(program: Program, plan: Plan, weights: Any, split: str) -> float:
    """The objective of weights on a split; shares in %."""
    (objective,) = plan.objectives
    fields = program.examples(jax.random.key(plan.seed), split)
    values = np.asarray(program.measure(weights, fields)[objective.name])
    scale = 100 if objective.value.type.kind == "bool" else 1
    return round(scale * float(np.mean(values, dtype=np.float64)), 4)


def stopped_early(
    program: Program,
    plan: Plan,
    baseline: BaselinePlan,
    most: int,
    frozen: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[int, Any]:
    """A baseline stopped where assess is best: how many steps, and its weights then.

    most   steps at most; looked at are 50, 100, 200, … and these
    Of lengths that are equally good, the shortest.
    """
    (objective,) = plan.objectives
    sign = -1 if objective.direction == "minimize" else 1
    lengths = [*itertools.takewhile(lambda n: n < most, (50 * 2**k for k in range(31))), most]
    weights = [
        {**frozen, **program.train_baseline(jax.random.key(plan.seed), baseline, length)}
        for length in lengths
    ]
    best = max(
        range(len(lengths)),
        key=lambda place: (sign * worth_on(program, plan, weights[place], "assess"), -place),
    )
    return lengths[best], weights[best]


def _merged(tables: data.Tables) -> data.Tables:
    """The tables with the examples of assess and adapt in explore, too."""
    splits = ("explore", "assess", "adapt")
    explore = {
        name: np.concatenate([tables[split][name] for split in splits])
        for name in tables["explore"]
    }
    return {**tables, "explore": explore}


# ---------------------------------------------------------------- in words


def tables(result: Mapping[str, Any]) -> str:
    """The result as two tables in markdown: what each came to, and the gains."""
    return f"{_worth_table(result)}\n\n{_gain_table(result)}"


def _worth_table(result: Mapping[str, Any]) -> str:
    sets = result["sets"]
    heads = [f"{name}: {_unit(found)}" for name, found in sets.items()]
    lines = [f"| | {' | '.join(heads)} |", f"| --- |{' --- |' * len(sets)}"]
    examples = [
        " + ".join(str(found["examples"][split]) for split in ("explore", "assess", "adapt"))
        + f", {found['examples']['report']}"
        for found in sets.values()
    ]
    lines.append(f"| examples: explore + assess + adapt, report | {' | '.join(examples)} |")
    words = {"current": "search: current", "accepted": "search: accepted", **BASELINES}
    for model, said in words.items():
        values = [
            f"{found['worth'][model]['mean']:.2f} ({_steps(found['gradient_steps'][model])} steps)"
            for found in sets.values()
        ]
        lines.append(f"| {said} | {' | '.join(values)} |")
    return "\n".join(lines)


def _steps(each: Sequence[int]) -> str:
    low, high = min(each), max(each)
    return f"{low}" if low == high else f"{low} to {high}"


def _unit(found: Mapping[str, Any]) -> str:
    return f"{found['objective']}, less is better" if found["less_is_better"] else "accuracy in %"


def _gain_table(result: Mapping[str, Any]) -> str:
    lines = [
        "| set | beside | accepted: gain (95%) | is | seeds better / worse / equal "
        "| current: gain (95%) | is | seeds better / worse / equal |",
        f"| {' | '.join(['---'] * 8)} |",
    ]
    for name, found in result["sets"].items():
        for baseline, said in BASELINES.items():
            cells = [paired.cells(found["gains"][model][baseline]) for model in SEARCHED]
            lines.append(f"| {name} | {said} | {' | '.join(cells)} |")
    return "\n".join(lines)
