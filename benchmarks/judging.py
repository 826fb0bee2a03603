"""`python -m benchmarks.judging`: what judging costs beside the models' own forward passes.

Workload B with one gradient step a candidate is little but assessing and adapting; a hand-written
scan of the same steps and forward passes stands beside it. What is left between the two is ranking,
moving, asking and recording, told as a share of an iteration of B as it is, of 100 steps.
"""

from __future__ import annotations

import argparse
import statistics

import attrs

from benchmarks import floor
from benchmarks.__main__ import keep, ours, repeated, timed
from benchmarks.workloads import WORKLOADS, Workload
from ev3lang.catalog.signature import Type
from ev3lang.plan.plan import Apply, Claim, Gate, Guard, ObjectivePlan, Plan, Ranking

ITERATIONS = 64


def short(workload: Workload) -> Workload:
    """The workload with one step a candidate."""
    descents = tuple(attrs.evolve(each, steps=1) for each in workload.plan.descents)
    return attrs.evolve(workload, plan=attrs.evolve(workload.plan, descents=descents))


def judged(plan: Plan) -> Plan:
    """The plan ranked by two values, with a guard, accepted by bets on a real value."""
    log_loss = plan.descents[0].loss
    clipped = ObjectivePlan(
        "log_loss",
        Apply("clip", (log_loss,), Type("real"), "example", (("low", 0.0), ("high", 5.0))),
        "minimize",
        None,
        (0.0, 5.0),
    )
    (accuracy,) = plan.objectives
    guard = Guard("accuracy kept", Claim(accuracy, 1.0, -0.01, "betting"), False, False)
    return attrs.evolve(
        plan,
        objectives=(accuracy, clipped),
        ranking=Ranking("then", (accuracy, clipped)),
        rule=Gate((Claim(clipped, 1.0, 0.0, "betting"),), 0.05),
        guards=(guard,),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judging", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="turns of each (default 15)")
    parser.add_argument("--keep", action="store_true", help="write results/judging.json")
    arguments = parser.parse_args()
    whole, one = WORKLOADS["B"](), short(WORKLOADS["B"]())
    richer = attrs.evolve(one, plan=judged(one.plan))
    bare = floor.bare(one)
    runs = {
        "an iteration of B": (ours(whole, 4)[0], 4),
        "one step each": (ours(one, ITERATIONS)[0], ITERATIONS),
        "one step each, two keys, a guard, bets": (ours(richer, ITERATIONS)[0], ITERATIONS),
        "one step each, by hand": (lambda: repeated(bare, ITERATIONS), ITERATIONS),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run, _ in runs.values():
        timed(run, 1)
    for _ in range(arguments.rounds):
        for name, (run, iterations) in runs.items():
            times[name].append(timed(run, iterations))
    best = {name: min(each) for name, each in times.items()}
    median = {name: statistics.median(each) for name, each in times.items()}
    shares = {
        name: (best[name] - best["one step each, by hand"]) / best["an iteration of B"]
        for name in ("one step each", "one step each, two keys, a guard, bets")
    }
    for name in runs:
        print(f"{name:<40} {median[name]:8.2f} ms (median), {best[name]:.2f} (minimum)")
    for name, share in shares.items():
        print(f"judging, {name}: {100 * share:.1f}% of an iteration of B; to reach: 5%")
    if arguments.keep:
        result = {"minimum_ms": best, "median_ms": median, "shares_of_an_iteration": shares}
        keep("judging", result, "python -m benchmarks.judging --keep")


if __name__ == "__main__":
    main()
