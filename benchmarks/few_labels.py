"""`python -m benchmarks few_labels`: what a teacher is worth where labels are few.

`specs/few_labels.ev3` at widths 4, 8 and 16 by ten seeds, beside students that see the hundred
labelled images alone. Four ways: images as the source has them and normalised, one draw of the
splits for all seeds and one for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import jax

import ev3lang
from benchmarks import compare, paired
from ev3lang.plan.plan import Normalized, Plan
from ev3lang.runtime import data, teachers

SPEC = Path(__file__).parent.parent / "specs" / "few_labels.ev3"
WIDTHS = (4, 8, 16)
SEEDS = range(10)

IMAGES = {"as they come": (), "normalised": (Normalized("image"),)}
DRAWS = ("one draw of the splits", "a draw for each seed")

BASELINES = {
    "without_teacher": "as many steps as all",
    "as_long": "as long as accepted",
    "stopped": "stopped by assess",
}
"""What each student of the labels alone is called in the tables; the first is the spec's own."""


def measure(
    widths: Sequence[int] = WIDTHS,
    seeds: Sequence[int] = SEEDS,
    ways: Sequence[tuple[str, str]] = tuple((one, two) for one in IMAGES for two in DRAWS),
    iterations: int | None = None,
) -> dict[str, Any]:
    """Accuracy on the report split in %, and gains over the labels alone in pp.

    ways         images and draws, each a key of `IMAGES` and one of `DRAWS`
    iterations   instead of the spec's own, for a look
    """
    return {
        "about": f"{SPEC.name}: accuracy on the report split in %, seed by seed, and gains in pp "
        "with Student's 95% interval over seeds",
        "seeds": list(seeds),
        "ways": [
            {
                "images": images,
                "splits": draw,
                "widths": {
                    str(width): _width(width, seeds, images, draw, iterations) for width in widths
                },
            }
            for images, draw in ways
        ],
    }


def _width(
    width: int, seeds: Sequence[int], images: str, draw: str, iterations: int | None
) -> dict[str, Any]:
    runs = [_run(width, seed, images, draw, iterations) for seed in seeds]
    worth = {model: [run["worth"][model] for run in runs] for model in runs[0]["worth"]}
    return {
        "gradient_steps": {
            model: [run["steps"][model] for run in runs] for model in runs[0]["steps"]
        },
        "queries": [run["queries"] for run in runs],
        "worth": {model: paired.summary(each) for model, each in worth.items()},
        "gains": compare.gains(worth, compare.SEARCHED, BASELINES, less_is_better=False),
        "accepted beside current": paired.gain(
            worth["accepted"], worth["current"], less_is_better=False
        ),
    }


def _run(width: int, seed: int, images: str, draw: str, iterations: int | None) -> dict[str, Any]:
    experiment = ev3lang.load(SPEC, {"width": str(width)}, seed=seed)
    plan = _changed(experiment.plan, seed, images, draw, iterations)
    (objective,) = plan.objectives
    report = compare.reported(plan, experiment.source)
    dataset = data.read(plan.data)
    given = teachers.given_weights(plan, dataset, SPEC.parent, platform=jax.default_backend())
    program = compare.program_of(plan, dataset.tables, dataset.statistics, given.weights)
    alone = plan.baselines[0]
    steps = dict(report.steps)
    steps["stopped"], stopped = compare.stopped_early(
        program, plan, alone, steps[alone.name], frozen=given.weights
    )
    return {
        "worth": {
            **compare.worth_of(report, objective.name),
            "stopped": compare.worth_on(program, plan, stopped, "report"),
        },
        "steps": steps,
        "queries": report.queries,
    }


def _changed(plan: Plan, seed: int, images: str, draw: str, iterations: int | None) -> Plan:
    """The plan one of the four ways, with a baseline as long as the accepted model's training."""
    (alone,) = plan.baselines
    as_long = attrs.evolve(alone, name="as_long", is_same_lineage=True)
    plan = attrs.evolve(
        plan,
        data=attrs.evolve(plan.data, normalized=IMAGES[images]),
        baselines=(alone, as_long),
    )
    if iterations is not None:
        plan = attrs.evolve(plan, stop=attrs.evolve(plan.stop, iterations=iterations))
    return plan if draw == DRAWS[0] else compare.with_split(plan, seed)


# ---------------------------------------------------------------- in words


def tables(result: Mapping[str, Any]) -> str:
    """The result as two tables in markdown: what each came to, and the gains."""
    worth = [
        "| images | splits | width "
        + "".join(f"| labels alone, {said} " for said in BASELINES.values())
        + "| current | accepted | accepted beside current (95%) |",
        f"| {' | '.join(['---'] * 9)} |",
    ]
    gains = [
        "| images | splits | width | labels alone | current: gain in pp (95%) | is | seeds better "
        "/ worse / equal | accepted: gain in pp (95%) | is | seeds better / worse / equal |",
        f"| {' | '.join(['---'] * 10)} |",
    ]
    for way in result["ways"]:
        for width, found in way["widths"].items():
            head = f"| {way['images']} | {way['splits']} | {width} |"
            values = [
                f"{found['worth'][model]['mean']:.1f}"
                for model in (*BASELINES, "current", "accepted")
            ]
            beside, _, _ = paired.cells(found["accepted beside current"]).split(" | ")
            worth.append(f"{head} {' | '.join(values)} | {beside} |")
            gains += [
                f"{head} {said} | "
                + " | ".join(
                    paired.cells(found["gains"][model][baseline], digits=1)
                    for model in ("current", "accepted")
                )
                + " |"
                for baseline, said in BASELINES.items()
            ]
    return "\n".join(worth) + "\n\n" + "\n".join(gains)
