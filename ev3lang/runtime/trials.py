"""Growths that are tried: one iteration each, and the one that assess ranks first."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import jax
import jax.numpy as jnp
import numpy as np

from ev3lang.backend import fronts
from ev3lang.backend.assess import furthest, is_within_one_error
from ev3lang.backend.claims import keeps_all
from ev3lang.backend.state import Params, Record, RunState, Values
from ev3lang.backend.units import Units
from ev3lang.plan.plan import ObjectivePlan, Plan, Ranking
from ev3lang.runtime.ahead import Prepared, Told, told
from ev3lang.runtime.interrupts import computed


@attrs.frozen(eq=False)
class Tried:
    """What a growth came to in the one iteration that it had."""

    prepared: Prepared
    current: Params  # before it, on the host
    state: RunState  # behind it, on the device
    ring: Record  # on the host, its iteration in the first row
    closing: Record
    code: int
    told: Told
    values: Values  # of current behind it, on the host

    @property
    def record(self) -> Record:
        found: Record = jax.tree.map(lambda rows: rows[0], self.ring)
        return found

    @property
    def steps(self) -> int:
        """Gradient steps of its candidates."""
        return int(np.sum(self.record.steps))


def try_growth(prepared: Prepared, state: RunState, current: Params) -> Tried:
    """One iteration of a stage, of which adapt hears nothing."""
    after, ring, _, closing = prepared.program.segment(state, 1, False)
    ring, closing, code, values, seen = computed(
        lambda: jax.device_get((ring, closing, after.outcome, after.current_values, told(after)))
    )
    return Tried(prepared, current, after, ring, closing, int(code), seen, values)


def ranked_by(ranking: Ranking, before: Values) -> tuple[ObjectivePlan, ...]:
    """The objectives that growths are ranked by.

    before   the values of current before it grew: by priority the one that they leave furthest
             from its target leads
    """
    if ranking.kind != "priority":
        return ranking.keys
    return (ranking.keys[int(furthest(ranking.keys, before))],)


def best_tried(
    plan: Plan,
    keys: Sequence[ObjectivePlan],
    values: Sequence[Values],
    accepted: Values,
    units: Units | None = None,
) -> int:
    """Which of several growths assess ranks first, as it would rank candidates.

    values   of current behind each trial, on the same assess examples
    units    the groups or blocks of those examples that count as one each
    Where some keep every guard beside accepted, the others are out. Of a front's members the one
    with the largest hypervolume; else the best by the first key, and of those within one paired
    standard error of it the best by the next, and so on.
    """
    keeps = [bool(keeps_all(plan.guards, each, accepted)) for each in values]
    alive = [k for k, is_kept in enumerate(keeps) if is_kept or not any(keeps)]
    by_key = [
        [key.sign * np.asarray(each[key.name], np.float64) for each in values] for key in keys
    ]
    if plan.ranking.kind == "pareto":
        means = [[np.mean(of_key[k]) for of_key in by_key] for k in range(len(values))]
        points, is_alive = jnp.asarray(means, jnp.float32), jnp.zeros(len(values), bool)
        is_alive = is_alive.at[jnp.asarray(alive)].set(True)
        volumes = fronts.volumes(points, fronts.worst(keys, points, is_alive))
        return int(jnp.argmax(jnp.where(fronts.is_on_front(points, is_alive), volumes, -jnp.inf)))
    for of_key in by_key:
        top = max(alive, key=lambda k: float(np.mean(of_key[k])))
        alive = [k for k in alive if k == top or _is_level(of_key[k] - of_key[top], units)]
    return top


def _is_level(gains: np.ndarray, units: Units | None) -> bool:
    """Whether a mean of paired differences is at most one standard error below 0."""
    return bool(is_within_one_error(jnp.asarray(gains, jnp.float32), units))


def behind(best: Tried, tried: Sequence[Tried]) -> RunState:
    """The state behind the trial that goes on; the others' gradient steps were taken too."""
    state, progress = best.state, best.state.progress
    assert progress is not None, "a run that grows keeps its progress"
    others = sum(each.steps for each in tried) - best.steps
    return attrs.evolve(
        state,
        progress=attrs.evolve(progress, is_trial=jnp.bool_(False)),
        descended=state.descended + jnp.int32(others),
    )
