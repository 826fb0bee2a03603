"""`python -m benchmarks.promise`: how often whole runs accept a model that is no better.

The labels are drawn apart from the points, so they tell nothing: every model there is has the same
worth in the population, and whatever a run accepts is no better than what it had. Each run has
data of its own, three candidates and 200 iterations, and ends by its own stop.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import jax
import numpy as np
import scipy.stats

from benchmarks.__main__ import keep
from benchmarks.whole import ENDLESS, data_of, whole
from ev3lang.analysis import analyze
from ev3lang.backend.state import Decision
from ev3lang.backend.streams import Data
from ev3lang.compile import experiment
from ev3lang.plan.plan import Plan
from ev3lang.source import Source

RUNS = 400
ITERATIONS = 200
DELTA = 0.05
FEATURES = 4
SIZES = {"explore": 256, "assess": 400, "adapt": 600}

SPEC = """ev3 1
data noise = gaussian_clusters(classes: 2, distance: 0.0, dimensions: 4{examples}) {{
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
RECALL = Aim("of the set: balanced accuracy", "balanced_accuracy(argmax(net(point)), label)")


@attrs.frozen
class Row:
    """A rule with a kind of objective: the words that `SPEC` leaves open.

    promises   what is claimed of the share of runs that accept anything
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

    def plan(self, iterations: int) -> Plan:
        """The experiment."""
        text = SPEC.format(
            examples="" if self.is_endless else ", n: 2000",
            split="" if self.is_endless else "split explore 40%, assess 20%, adapt 30%, report 10%",
            worth=self.aim.worth,
            bounds=self.aim.bounds,
            move=f"move {self.move}" if self.move else "",
            confidence=self.confidence,
            rule=self.rule,
            evaluation="evaluate 16 batches" if self.is_endless else "",
            iterations=iterations,
        )
        return experiment(analyze(Source("noise.ev3", text))).plan


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
    accepted, asked = [], []
    begin = time.perf_counter()
    for seed in range(runs):
        data = ENDLESS if row.is_endless else noise(plan, seed)
        _, records, closing = run(data, jax.random.key(seed))
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
        "ms_a_run": round(1e3 * wall_s / runs, 1),
    }


def noise(plan: Plan, seed: int) -> Data:
    """Points and labels that have nothing to do with each other, in three splits."""
    rng = np.random.default_rng(seed)
    tables = {
        split: {
            "point": rng.normal(size=(count, FEATURES)).astype(np.float32),
            "label": rng.integers(0, 2, count, np.int32),
        }
        for split, count in SIZES.items()
    }
    return data_of(plan, tables)


def table(result: Mapping[str, Any]) -> str:
    """The result as a table in markdown."""
    lines = [
        "| rule | moves | objective | promised | runs that ever accepted | acceptances a run "
        "| questions a run |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
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
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promise", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each row (default {RUNS})")
    parser.add_argument("--keep", action="store_true", help="write results/promise.json")
    arguments = parser.parse_args()
    found = measure(runs=arguments.runs)
    print(table(found))
    if arguments.keep:
        keep("promise", found, "python -m benchmarks.promise --keep")


if __name__ == "__main__":
    main()
