"""What is left to do when a run has ended: baselines, the report, weights on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs
import jax
import numpy as np

from ev3lang.backend import succession
from ev3lang.backend.plain import Course
from ev3lang.backend.rollout import part
from ev3lang.backend.state import PROOFS, Params, Proofs, RunState
from ev3lang.plan.plan import (
    BaselinePlan,
    Gate,
    Plan,
    Reference,
)
from ev3lang.runtime import (
    device,
    folder,
    measuring,
    plain,
    records,
)
from ev3lang.runtime import report as reports
from ev3lang.runtime.events import (
    Measuring,
)
from ev3lang.runtime.faults import MemoryFault
from ev3lang.runtime.interrupts import interruptible
from ev3lang.runtime.iterations import Running
from ev3lang.runtime.report import Report
from ev3lang.runtime.saving import Sized
from ev3lang.source import Source


def finish(
    run: Running,
    state: RunState,
    notes: tuple[str, ...],
    source: Source,
    chosen: jax.Device,
    where: Path,
) -> Report:
    """Writes the accepted weights, trains baselines, measures, and writes the report.

    The first signal asks: baselines that aren't finished are left out then.
    """
    plan, watch = run.base, run.watch
    key = jax.random.key(plan.seed)
    split: Literal["report", "assess"] = "report" if run.outcome.is_own_stop else "assess"
    accepted = run.accepted(state)
    delivered = run.tally.delivered
    weights = {delivered: accepted, "current": Sized(run.plan.architecture, state.current)}
    steps = {delivered: int(state.accepted_steps), "current": int(state.current_steps)}
    front = _front(run, state)
    archived = _archived(run, state)
    beside = {member.name: weights for member, weights in front} | archived
    program = run.program_of(plan.architecture)
    # what is done stays, whatever becomes of the rest
    run.saved.write("accepted", accepted, state.frozen)
    for member, sized in front:
        number = member.name.rpartition(" ")[2]
        run.saved.write(f"front/{number}", sized, state.frozen)
    for name, sized in archived.items():
        # `peers at 1,210` in `peers-1210`
        run.saved.write(
            f"archive/{name.replace(' at ', '-').replace(',', '')}", sized, state.frozen
        )
    warnings = [
        *notes,
        # what a function of the user's has done is told with its own words
        *(() if plan.has_host else run.tally.warnings),
    ]
    if run.outcome.is_own_stop:
        with watch("baselines_s"):
            for baseline in plan.baselines:
                count = _baseline_steps(plan, baseline, state)
                trained = _trained(run, program.plain(key, baseline), baseline, count)
                if isinstance(trained, str):
                    warnings.append(trained)
                else:
                    steps[baseline.name] = count
                    weights[baseline.name] = Sized(plan.architecture, trained)
    elif plan.baselines:
        warnings.append("the baselines were not trained, since the run did not end by its stop")
    with watch("report_s"):
        run.listen(Measuring(f"measuring on {split}"))
        measured = interruptible(
            lambda: measuring.measure(
                plan,
                {
                    name: measuring.Weighed(
                        run.program_of(each.architecture), {**state.frozen, **each.params}
                    )
                    for name, each in (weights | beside).items()
                },
                program.examples(key, split),
                delivered,
                beside=beside,
                units=program.units.get(split),
            )
        )
    warnings += [*run.notes, *program.faults.summary(), *run.outside.summary()]
    warnings += measured.notes
    warnings += _unsound(plan, run, state)
    units = {use: each.count for use, each in program.units.items()}
    report = reports.Report(
        name=plan.name,
        spec=source.name,
        device=device.describe(chosen),
        seed=plan.seed,
        asked=reports.asked(plan, run.sizes, units),
        outcome=run.outcome,
        iterations=run.tally.iterations,
        rule=reports.rule_words(plan),
        ranked_by=plan.ranking.keys[0].name,
        tried=run.tally.tried(),
        changes=tuple(run.tally.changes),
        acceptances=_proven(plan, run, state),
        claim=reports.claim_words(
            plan,
            len(run.tally.acceptances),
            run.outcome,
            run.deciding_examples,
            units.get("adapt"),
        ),
        front=tuple(member for member, _ in front),
        archived=tuple(archived),
        queries=run.tally.queries,
        budget_left=run.tally.budget_left,
        split=split,
        quantities=measured.quantities,
        steps=steps,
        baselines=tuple(
            (baseline.name, reports.baseline_words(baseline))
            for baseline in plan.baselines
            if baseline.name in weights
        ),
        metrics=measured.metrics,
        tables=measured.tables,
        comparisons=measured.comparisons,
        timings=dict(watch.timings),
        warnings=tuple(warnings),
        stages=run.tally.stages(),
        accepted_stage=run.tally.accepted_stage,
        delivered=delivered,
    )
    folder.write_json(where / "report.json", reports.to_json(report))
    return report


def _trained(run: Running, course: Course, baseline: BaselinePlan, steps: int) -> Params | str:
    """A baseline's weights, or in words why the report does without it."""
    left_out = f"baseline {baseline.name} is left out"
    if run.stop.asked is not None:
        return f"{left_out}: {run.stop.asked.words} before it was trained"
    what = f"training baseline {baseline.name}"
    run.listen(Measuring(f"{what}, {steps:,} steps"))
    try:
        trained = plain.train(course, steps, what, run.listen, run.stop)
    except MemoryFault as fault:
        return f"{left_out}: {fault}"
    if trained is None:
        assert run.stop.asked is not None, "it ends early by a signal alone"
        return f"{left_out}: {run.stop.asked.words} while it was trained"
    return trained


def _proven(plan: Plan, run: Running, state: RunState) -> tuple[reports.Acceptance, ...]:
    """The acceptances, with what the deciding examples said once nothing can be asked again."""
    acceptances = run.tally.acceptances
    if not run.outcome.is_own_stop or isinstance(plan.rule, Reference):
        return tuple(acceptances)
    kept: Proofs = jax.device_get(state.proofs)
    assert int(kept.count) == len(acceptances), "every acceptance is told of"
    oldest = len(acceptances) - PROOFS
    return tuple(
        attrs.evolve(each, proof=records.proof(plan, kept, number % PROOFS))
        if number >= oldest
        else each
        for number, each in enumerate(acceptances)
    )


def _unsound(plan: Plan, run: Running, state: RunState) -> tuple[str, ...]:
    """Queries that no test decided, in words, once nothing can be asked again."""
    if not run.outcome.is_own_stop or not isinstance(plan.rule, Gate):
        return ()
    count = int(state.proofs.unsound)
    if not count:
        return ()
    times = "one query was" if count == 1 else f"{count} queries were"
    return (
        f"{times} rejected since a value on adapt was not finite, or a set's out of its range: "
        "that spent evidence as any rejection does, and says nothing of the gain",
    )


def _archived(run: Running, state: RunState) -> dict[str, Sized]:
    """The members of all archives by name, those of the last stage too."""
    if run.stages is None or not run.base.archives:
        return {}
    run.stages.keep(succession.on_host(state))
    return {
        each.member.model.name: Sized(each.architecture, each.params) for each in run.stages.members
    }


def _front(run: Running, state: RunState) -> list[tuple[reports.FrontMember, Sized]]:
    """The members of a ranking's front in the order in which they were found."""
    front = state.front
    if front is None:
        return []
    iterations, is_filled, is_here = jax.device_get(
        (front.iteration, front.is_filled, front.is_here)
    )

    def weights(place: int) -> Sized:
        if is_here[place]:
            return Sized(run.plan.architecture, part(front.params, place))
        assert run.stages is not None, "only growth leaves members behind"
        # the last stage that found one there
        retired = next(each for each in reversed(run.stages.retired) if each.is_filled[place])
        return Sized(retired.architecture, part(retired.params, place))

    places = sorted(np.flatnonzero(is_filled), key=lambda place: int(iterations[place]))
    return [
        (
            reports.FrontMember(f"front {number}", int(iterations[place])),
            weights(int(place)),
        )
        for number, place in enumerate(places, start=1)
    ]


def _baseline_steps(plan: Plan, baseline: BaselinePlan, state: RunState) -> int:
    if baseline.is_same_lineage:
        return int(state.accepted_steps)
    return int(state.descended)
