"""`python -m benchmarks.moves`: when the best candidate becomes current, measured on four sets.

Three rules, four sets that are bundled with scikit-learn, twenty draws of the split and five seeds
each: the same splits, starts and batches for every rule, so that rules are compared in pairs.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import jax
import numpy as np

from benchmarks.__main__ import keep
from benchmarks.whole import data_of, measured, whole
from ev3lang.analysis import analyze
from ev3lang.compile import experiment
from ev3lang.plan.plan import Plan
from ev3lang.runtime import data
from ev3lang.source import Source

MOVES = ("unless worse", "when better", "always")
SPLITS = range(20)
SEEDS = range(5)

SPEC = """ev3 1
data examples = sklearn.{source}() {{
  split explore 50%, assess 15%, adapt 15%, report 20% {drawn} seed {seed}
  {derive}
  normalize {input}
  batch 32
}}
model net: {input} -> {output} = mlp(hidden: [32])
loss first = {first}
loss second = {second}
objective worth = maximize {worth}
explore net {{ descend first, second with adamw(1e-3), sgd(0.1, momentum: 0.9) for 50 steps }}
assess net {{ rank by worth }}
adapt net {{ accept when worth improves; move {move}; stop after 30 iterations }}
"""


@attrs.frozen
class Task:
    """A bundled set and what is made of it: the words that `SPEC` leaves open."""

    source: str
    input: str = "features"
    drawn: str = "stratified by label"
    derive: str = ""
    output: str = "logits(label)"
    first: str = "cross_entropy(net({input}), label)"
    second: str = "cross_entropy(net({input}), label, label_smoothing: 0.1)"
    worth: str = "argmax(net({input})) == label"

    def plan(self, move: str, seed: int) -> Plan:
        """The experiment with one rule and one draw of the split."""
        words = attrs.asdict(self)
        words |= {name: words[name].format(**words) for name in ("first", "second", "worth")}
        text = SPEC.format(move=move, seed=seed, **words)
        return experiment(analyze(Source(f"{self.source}.ev3", text))).plan


TASKS = (
    Task("digits", input="image"),
    Task("breast_cancer"),
    Task("wine"),
    Task(
        "diabetes",
        drawn="",
        derive="derive score = (target - 150) / 80",
        output="real",
        first="huber_loss(net({input}), score)",
        second="quantile_loss(net({input}), score, quantile: 50%)",
        worth="absolute_error(net({input}), score) <= 0.5",
    ),
)


def measure(
    tasks: Sequence[Task] = TASKS, splits: Sequence[int] = SPLITS, seeds: Sequence[int] = SEEDS
) -> dict[str, Any]:
    """What each rule came to on each set and over all, and in pairs with the first rule."""
    found = {task.source: _runs(task, splits, seeds) for task in tasks}
    # the sets are fixed: over all of them, what varies is the draw of the splits
    found["all"] = {
        move: {
            name: np.mean([rules[move][name] for rules in found.values()], axis=0)
            for name in ("current", "accepted", "moved")
        }
        for move in MOVES
    }
    return {
        "about": "accuracy in % on the report split (diabetes: predictions at most 40 units off)",
        "splits": len(splits),
        "seeds": len(seeds),
        "sets": {
            name: {
                move: {
                    "worth": _summary(each),
                    f"beside {MOVES[0]}": _summary(
                        {value: each[value] - rules[MOVES[0]][value] for value in each}
                    ),
                }
                for move, each in rules.items()
            }
            for name, rules in found.items()
        },
    }


def _runs(
    task: Task, splits: Sequence[int], seeds: Sequence[int]
) -> dict[str, dict[str, np.ndarray]]:
    """For each rule, current, accepted (in %) and share moved of every run: [splits, seeds]."""
    tables = [data.read(task.plan(MOVES[0], seed).data).tables for seed in splits]
    found = {}
    for move in MOVES:
        plan = task.plan(move, 0)
        run = whole(plan)
        rows = [
            [_worth(plan, run(data_of(plan, each), jax.random.key(seed)), each) for seed in seeds]
            for each in tables
        ]
        found[move] = {
            name: np.asarray([[one[name] for one in row] for row in rows]) for name in rows[0][0]
        }
    return found


def _worth(plan: Plan, ended: Any, tables: Mapping[str, Any]) -> dict[str, float]:
    """What a run ended with, all in %."""
    state, records, _ = ended
    values = measured(plan, state, tables["report"])
    return {
        **{model: 100 * float(np.mean(values[model]["worth"])) for model in values},
        "moved": 100 * float(np.mean(records.moved)),
    }


def _summary(each: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Means with the standard error over splits: seeds on one split share its examples."""
    return {name: _mean_and_error(np.mean(values, axis=1)) for name, values in each.items()}


def _mean_and_error(of_splits: np.ndarray) -> dict[str, float]:
    values = [float(value) for value in of_splits]
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return {"mean": round(statistics.mean(values), 2), "standard_error": round(error, 2)}


def table(result: Mapping[str, Any]) -> str:
    """The result as a table in markdown."""
    lines = [
        f"| set | rule | current | accepted | current beside `{MOVES[0]}` | accepted beside it "
        "| iterations that moved |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, rules in result["sets"].items():
        for move, found in rules.items():
            worth, beside = found["worth"], found[f"beside {MOVES[0]}"]
            cells = [_cell(worth[model], "") for model in ("current", "accepted")]
            cells += [
                _cell(beside[model], "+") if move != MOVES[0] else ""
                for model in ("current", "accepted")
            ]
            moved = f"{worth['moved']['mean']:.0f}%"
            lines.append(f"| {name} | `{move}` | {' | '.join(cells)} | {moved} |")
    return "\n".join(lines)


def _cell(value: Mapping[str, float], sign: str) -> str:
    return f"{value['mean']:{sign}.2f} ± {value['standard_error']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.moves", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="write results/moves.json")
    arguments = parser.parse_args()
    found = measure()
    print(table(found))
    if arguments.keep:
        keep("moves", found, "python -m benchmarks.moves --keep")


if __name__ == "__main__":
    main()
