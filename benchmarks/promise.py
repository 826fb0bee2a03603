"""`python -m benchmarks.promise`: how often whole runs accept a model that is no better.

The labels are drawn apart from the points, so they tell nothing: every model there is has the same
worth in the population, and whatever a run accepts is no better than what it had. Each run has
data of its own, three candidates and 200 iterations, and ends by its own stop.

`--data` names other kinds of noise. In `groups` the examples of a person lie around a place of
their own and have one label, drawn for the whole person. In `series` points and labels are
autoregressive in time, apart from each other. Both have rows that take each example for independent
as well. What the report would say of the model at hand is measured with them: how often its 95%
interval holds the truth, which is one half.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from benchmarks.__main__ import keep
from benchmarks.whole import ENDLESS, data_of, whole
from ev3lang.analysis import analyze
from ev3lang.backend.emit import fields_read, report_values, resampled
from ev3lang.backend.state import Decision, RunState
from ev3lang.backend.streams import Data
from ev3lang.backend.units import Sample, Units, of_splits
from ev3lang.backend.units import resampled as resampled_rows
from ev3lang.compile import experiment
from ev3lang.plan.plan import Plan
from ev3lang.runtime.measuring import RESAMPLES, MeasuredSplit, Metric
from ev3lang.source import Source

Array: TypeAlias = jax.Array

RUNS = 400
ITERATIONS = 200
DELTA = 0.05
FEATURES = 4
SIZES = {"explore": 256, "assess": 400, "adapt": 600}
REPORTED = 400
"""Examples of the report split, for the intervals."""

PEOPLE = {"explore": 17, "assess": 27, "adapt": 40, "report": 27}
"""Groups of each split: 15 examples each in the mean, some of a few, others of fifty."""

MEMORY = 0.9
"""How neighbours in time correlate, of points and of the process that labels are the sign of."""

BLOCK = 20
"""Examples of a block of time; over so many, products of two such series correlate by 0.015."""

SPEC = """ev3 1
data noise = {source} {{
  {fields}
  {split}
  batch 32
}}
model net: point -> logits(label) = dense
loss entropy = cross_entropy(net(point), label)
objective worth {bounds} = maximize {worth}
explore net {{
  descend entropy with sgd(0.3), sgd(0.1, momentum: 0.9), adamw(3e-2) for 4 steps
}}
assess net {{ rank by worth }}
adapt net {{
  accept when worth improves {confidence}
  {rule}
  {evaluation}
  {move}
  stop after {iterations} iterations
}}
"""


@attrs.frozen
class Aim:
    """A kind of objective, whose mean is one half for every model where labels tell nothing."""

    about: str
    worth: str
    bounds: str = ""


RIGHT = Aim("right or wrong", "argmax(net(point)) == label")
SURE = Aim(
    "a real: probability of the label", "exp(-cross_entropy(net(point), label))", "in 0 to 1"
)
SHARES = "split explore 40%, assess 20%, adapt 30%, report 10%"

Kind: TypeAlias = Literal["examples", "groups", "series"]
"""How the examples of a made-up set depend on each other."""

WAYS: dict[Kind, str] = {
    "examples": "",
    "groups": " grouped by person",
    "series": f" ordered by day in blocks of {BLOCK} examples",
}

RECALL = Aim("of the set: balanced accuracy", "balanced_accuracy(argmax(net(point)), label)")


@attrs.frozen
class Row:
    """A rule with a kind of objective: the words that `SPEC` leaves open.

    promises   what is claimed of the share of runs that accept anything
    is_counted whether the spec counts what depends on each other as one, where anything does
    move       `when better` climbs on assess, so that the most is asked; challengers are the more
               the more often current moves; none under `reference`, which moves by itself
    """

    name: str
    aim: Aim
    promises: str
    move: str = "when better"
    confidence: str = ""
    rule: str = ""
    is_endless: bool = False
    kind: Kind = "examples"
    is_counted: bool = True

    @property
    def split(self) -> str:
        """How the spec splits its data; plainly where it doesn't count what depends as one."""
        return SHARES + (WAYS[self.kind] if self.is_counted else "")

    def plan(self, iterations: int) -> Plan:
        """The experiment."""
        source = 'csv("noise.csv")'
        if self.kind == "examples":
            examples = "" if self.is_endless else ", n: 2000"
            source = f"gaussian_clusters(classes: 2, distance: 0.0, dimensions: 4{examples})"
        text = SPEC.format(
            source=source,
            fields="" if self.kind == "examples" else _FIELDS,
            split="" if self.is_endless else self.split,
            worth=self.aim.worth,
            bounds=self.aim.bounds,
            move=f"move {self.move}" if self.move else "",
            confidence=self.confidence,
            rule=self.rule,
            evaluation="evaluate 16 batches" if self.is_endless else "",
            iterations=iterations,
        )
        return experiment(analyze(Source("noise.ev3", text))).plan


_FIELDS = "point: f32[4] from columns 1 to 4\n  person: id\n  day: i32\n  label: class[2]"
_EXACT, _ABOUT, _NOTHING = "at most 5%", "about 5% at most", "nothing"
_PUBLISHED = "rule reference(assess: 0.5, decide: 1.96)"

ROWS = (
    Row("gate", RIGHT, _EXACT),
    Row("gate", RIGHT, _EXACT, move="unless worse"),
    Row("gate", SURE, _EXACT),
    Row("gate", RECALL, _ABOUT),
    Row("challenger", RIGHT, _EXACT, move="unless worse", is_endless=True),
    Row("challenger", SURE, _EXACT, move="unless worse", is_endless=True),
    Row(
        "gate, each time",
        RIGHT,
        _NOTHING,
        move="unless worse",
        confidence="with confidence 95% each time",
    ),
    Row("reference", RIGHT, _NOTHING, move="", rule=_PUBLISHED),
    Row("reference, fresh examples", RIGHT, _NOTHING, move="", rule=_PUBLISHED, is_endless=True),
)

GROUPED = (
    Row("gate, groups counted", RIGHT, _EXACT, kind="groups"),
    Row("gate, groups counted", RIGHT, _EXACT, move="unless worse", kind="groups"),
    Row("gate, groups counted", SURE, _EXACT, kind="groups"),
    Row("gate, groups counted", RECALL, _ABOUT, kind="groups"),
    Row("gate, examples counted", RIGHT, _NOTHING, kind="groups", is_counted=False),
)

SERIES = (
    Row("gate, blocks counted", RIGHT, _ABOUT, kind="series"),
    Row("gate, blocks counted", SURE, _ABOUT, kind="series"),
    Row("gate, blocks counted", RECALL, _ABOUT, kind="series"),
    Row("gate, examples counted", RIGHT, _NOTHING, kind="series", is_counted=False),
)

TABLES = {"examples": ROWS, "groups": GROUPED, "series": SERIES}


def measure(
    rows: Sequence[Row] = ROWS, runs: int = RUNS, iterations: int = ITERATIONS
) -> dict[str, Any]:
    """For each row, how many runs accepted anything, and what they asked."""
    return {
        "about": "labels without information: every acceptance is of a model that is no better",
        "runs": runs,
        "iterations": iterations,
        "examples": dict(SIZES),
        "fresh examples an iteration, of endless data": 16 * 32,
        "chance keeps a true 5% at or below": f"{most(runs)} of {runs} in 95% of such tables",
        "rows": [_row(row, runs, iterations) for row in rows],
    }


def most(runs: int) -> int:
    """The runs with an acceptance that a true share of delta stays at or below, in 95%."""
    return int(scipy.stats.binom.ppf(0.95, runs, DELTA))


def _row(row: Row, runs: int, iterations: int) -> dict[str, Any]:
    plan = row.plan(iterations)
    run = whole(plan)
    accepted, asked, held = [], [], []
    begin = time.perf_counter()
    for seed in range(runs):
        tables = TABLES_OF[row.kind](seed)
        data = ENDLESS if row.is_endless else data_of(plan, tables)
        state, records, closing = run(data, jax.random.key(seed))
        if row.kind != "examples":
            held.append(_holds(plan, state, tables["report"]))
        decisions = np.append(np.asarray(records.decision), int(closing.decision))
        accepted.append(int(np.sum(decisions == Decision.ACCEPTED)))
        asked.append(int(np.sum(decisions != Decision.NOT_ASKED)))
    wall_s = time.perf_counter() - begin
    count = int(np.sum(np.asarray(accepted) > 0))
    interval = scipy.stats.binomtest(count, runs).proportion_ci(method="wilson")
    return {
        "rule": row.name,
        "moves": row.move,
        "objective": row.aim.about,
        "promises": row.promises,
        "runs_that_accepted": count,
        "share": round(100 * count / runs, 2),
        "low": round(100 * float(interval.low), 2),
        "high": round(100 * float(interval.high), 2),
        "acceptances_a_run": round(statistics.mean(accepted), 2),
        "questions_a_run": round(statistics.mean(asked), 2),
        "intervals_that_hold_the_truth": round(100 * statistics.mean(held), 1) if held else None,
        "ms_a_run": round(1e3 * wall_s / runs, 1),
    }


def _holds(plan: Plan, state: RunState, table: Mapping[str, np.ndarray]) -> bool:
    """Whether the 95% interval of current on fresh examples holds one half, its true worth."""
    objective = plan.objectives[0]
    units = of_splits(plan.data.split, dict.fromkeys(("explore", "assess", "report"), table))
    sample = Sample({name: jnp.asarray(table[name]) for name in fields_read(plan)})
    sample = attrs.evolve(sample, units=units.get("report"))
    value, values = _of_current(
        plan, state, sample.fields, sample.units, has_resamples=objective.value.level == "set"
    )
    resamples = None if values is None else np.asarray(values)
    found = MeasuredSplit(sample).interval(Metric.of(objective), np.asarray(value), resamples)
    return found.low is not None and found.high is not None and found.low <= 0.5 <= found.high


@partial(jax.jit, static_argnums=0, static_argnames="has_resamples")
def _of_current(
    plan: Plan,
    state: RunState,
    fields: dict[str, Array],
    units: Units | None,
    *,
    has_resamples: bool,
) -> tuple[Array, Array | None]:
    sample = Sample(fields, units)
    name, params = plan.objectives[0].name, state.frozen | state.current
    value = report_values(plan, params, sample.fields)[name]
    if not has_resamples:
        return value, None
    rows = resampled_rows(sample, jax.random.key(0), RESAMPLES)
    return value, resampled(plan, params, sample.fields, rows, (name,))[name]


# ---------------------------------------------------------------- labels that tell nothing

Tables: TypeAlias = dict[str, dict[str, np.ndarray]]


def examples(seed: int) -> Tables:
    """Points and labels that have nothing to do with each other, each drawn by itself."""
    rng = np.random.default_rng(seed)
    return {
        split: {
            "point": rng.normal(size=(count, FEATURES)).astype(np.float32),
            "label": rng.integers(0, 2, count, np.int32),
        }
        for split, count in SIZES.items()
    }


def groups(seed: int) -> Tables:
    """The examples of a person lie around one place; a label is drawn for the whole person."""
    rng = np.random.default_rng(seed)
    found: Tables = {}
    for split, count in (SIZES | {"report": REPORTED}).items():
        people = PEOPLE[split]
        shares = rng.dirichlet(np.full(people, 2.0))
        sizes = 1 + rng.multinomial(count - people, shares)
        person = np.repeat(np.arange(people, dtype=np.int32), sizes)
        place = rng.normal(size=(people, FEATURES))
        found[split] = {
            "point": (place[person] + 0.3 * rng.normal(size=(count, FEATURES))).astype(np.float32),
            "label": rng.integers(0, 2, people, np.int32)[person],
            "person": person,
        }
    return found


def series(seed: int) -> Tables:
    """Points and labels that remember their past, and know nothing of each other."""
    rng = np.random.default_rng(seed)
    found: Tables = {}
    for split, count in (SIZES | {"report": REPORTED}).items():
        drawn = rng.normal(size=(count, FEATURES + 1))
        for day in range(1, count):
            drawn[day] = MEMORY * drawn[day - 1] + np.sqrt(1 - MEMORY**2) * drawn[day]
        found[split] = {
            "point": drawn[:, :FEATURES].astype(np.float32),
            "label": (drawn[:, FEATURES] > 0).astype(np.int32),
            "day": np.arange(count, dtype=np.int32),
        }
    return found


TABLES_OF: dict[Kind, Callable[[int], Tables]] = {
    "examples": examples,
    "groups": groups,
    "series": series,
}


def noise(plan: Plan, seed: int) -> Data:
    """Points and labels that have nothing to do with each other, as a run reads them."""
    return data_of(plan, examples(seed))


def table(result: Mapping[str, Any]) -> str:
    """The result as a table in markdown."""
    lines = [
        "| rule | moves | objective | promised | runs that ever accepted | acceptances a run "
        "| questions a run |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    has_intervals = any(row.get("intervals_that_hold_the_truth") for row in result["rows"])
    if has_intervals:
        lines[0] += " 95% intervals that hold the truth |"
        lines[1] += " --- |"
    for row in result["rows"]:
        share = (
            f"{row['runs_that_accepted']} of {result['runs']}: {row['share']:.1f}% "
            f"({row['low']:.1f} to {row['high']:.1f})"
        )
        cells = [
            row["rule"],
            f"`{row['moves']}`" if row["moves"] else "",
            row["objective"],
            row["promises"],
            share,
            f"{row['acceptances_a_run']:.2f}",
            f"{row['questions_a_run']:.1f}",
            *([f"{row['intervals_that_hold_the_truth']:.1f}%"] if has_intervals else []),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promise", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each row (default {RUNS})")
    parser.add_argument("--keep", action="store_true", help="write results/promise.json")
    parser.add_argument(
        "--data", choices=TABLES, default="examples", help="how examples depend on each other"
    )
    arguments = parser.parse_args()
    found = measure(TABLES[arguments.data], runs=arguments.runs)
    print(table(found))
    if arguments.keep:
        name = "promise" if arguments.data == "examples" else f"promise_{arguments.data}"
        words = "" if arguments.data == "examples" else f" --data {arguments.data}"
        keep(name, found, f"python -m benchmarks.promise{words} --keep")


if __name__ == "__main__":
    main()
