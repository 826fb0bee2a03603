"""Assess: every candidate by what really matters, the best of them, and whether it may lead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import bootstrap, claims, expressions, fronts, reference
from ev3lang.backend import units as units_of
from ev3lang.backend.arithmetic import in_own_unit
from ev3lang.backend.explore import Explored
from ev3lang.backend.expressions import Memo, Networks
from ev3lang.backend.keys import named
from ev3lang.backend.layout import Held, explored_chains, held
from ev3lang.backend.pytree import pytree
from ev3lang.backend.rollout import part, stack
from ev3lang.backend.state import Params, PyTree, RunState, Values, is_finite
from ev3lang.backend.streams import Fields
from ev3lang.backend.units import Sample, Units
from ev3lang.plan.plan import Forward, FusedPlan, ObjectivePlan, Plan, Reference

Array: TypeAlias = jax.Array

RANGE_SLACK = 1e-5
"""How far rounding may carry a float32 value out of a range, over the size of its bounds."""


@pytree
@attrs.frozen(eq=False)
class Ranking:
    """K candidates on assess, in the order of the plan, and the one ranked first."""

    scores: Array  # [K, M] float32, each measure's mean
    errors: Array  # [K, M] float32, its standard error, 0 for what examples have no part in
    is_sound: Array  # [K, M] bool, whether all its values are finite, a set's in its range
    beyond: Array  # [K, M] int32, examples whose value lies beyond the measure's range
    extents: Array  # [K, M, 2] float32, the least and the greatest value
    is_finite: Array  # [K] bool, False where quarantined
    keeps: Array  # [K, G] bool, which guards each keeps
    leading: Array  # [] int32, the key that the ranking went by
    best: Array  # [] int32, 0 where all are lost
    params: Params  # of the best
    values: Values  # of the best
    leads: Array  # [] bool, whether the best becomes current


def measure(objectives: Sequence[ObjectivePlan], fields: Fields, networks: Networks) -> Values:
    """Every objective's values over a split."""
    return measure_finite(objectives, fields, networks)[0]


def measure_finite(
    objectives: Sequence[ObjectivePlan], fields: Fields, networks: Networks
) -> tuple[Values, Array]:
    """Every objective's values, and whether they and all models' outputs are sound.

    Sound is what is finite and, for one value of a whole set or of a model, in its range. An
    example's value may lie beyond a range: see `claims.bounded`. A comparison makes a bool of
    anything: only the outputs show that it compared with a NaN.
    """
    memo: Memo = {}
    values = {
        objective.name: jnp.asarray(
            expressions.evaluate(objective.value, fields, networks, memo), jnp.float32
        )
        for objective in objectives
    }
    outputs = [value for expr, value in memo.items() if isinstance(expr, Forward)]
    return values, is_finite(outputs) & jnp.all(are_sound(objectives, values))


def are_sound(objectives: Sequence[ObjectivePlan], values: Values) -> Array:
    """Whether all values of each objective are sound, as `measure_finite` says: `[..., M]` bool."""
    return jnp.stack([_is_sound(each, values[each.name]) for each in objectives], axis=-1)


def _is_sound(objective: ObjectivePlan, values: Array) -> Array:
    """`[...]` bool of `[..., B]` where the objective has a value for each example, else `[...]`."""
    if objective.value.level == "example":
        return jnp.all(jnp.isfinite(values), axis=-1)
    return jnp.isfinite(values) & ~_is_beyond(objective, values)


def _is_beyond(objective: ObjectivePlan, values: Array) -> Array:
    """Which values lie beyond the objective's range, rounding apart: bool, False for a NaN."""
    if objective.example_range is None or objective.is_binary:
        return jnp.zeros(values.shape, bool)
    low, high = objective.example_range
    slack = RANGE_SLACK * max(1.0, abs(low), abs(high))
    return (values < low - slack) | (values > high + slack)


def beyond(objectives: Sequence[ObjectivePlan], values: Values) -> Array:
    """How many examples of each objective lie beyond its range, `[..., M]` int32."""
    return jnp.stack(
        [
            jnp.sum(_is_beyond(each, values[each.name]), axis=-1, dtype=jnp.int32)
            if each.value.level == "example"
            else _is_beyond(each, values[each.name]).astype(jnp.int32)
            for each in objectives
        ],
        axis=-1,
    )


def extents(objectives: Sequence[ObjectivePlan], values: Values) -> Array:
    """The least and the greatest value of each objective, `[..., M, 2]` float32."""
    return jnp.stack(
        [
            jnp.stack([jnp.min(one, axis=-1), jnp.max(one, axis=-1)], axis=-1)
            if each.value.level == "example"
            else jnp.stack([one, one], axis=-1)
            for each in objectives
            for one in [values[each.name]]
        ],
        axis=-2,
    )


def means(objectives: Sequence[ObjectivePlan], values: Values) -> Array:
    """[..., M] float32, each objective's mean over its examples."""
    return jnp.stack(
        [
            jnp.mean(values[objective.name], axis=-1)
            if objective.value.level == "example"
            else values[objective.name]
            for objective in objectives
        ],
        axis=-1,
    )


def standard_errors(
    objectives: Sequence[ObjectivePlan], values: Values, units: Units | None
) -> Array:
    """[..., M] float32, of each objective's mean; 0 where an example has no value of its own."""
    found = []
    for objective in objectives:
        each = values[objective.name]
        if objective.value.level == "example":
            found.append(units_of.standard_error(units, each))
        else:
            found.append(jnp.zeros_like(each))
    return jnp.stack(found, axis=-1)


def rank(
    fused: FusedPlan,
    sample: Sample,
    networks: Networks,
    explored: Explored,
    state: RunState,
    key: Array,
) -> Ranking:
    """The candidates measured and ranked, and whether the best becomes current.

    sample    assess, which the state's values of current and accepted are on
    key       [] the iteration's own, for the bootstrap of a set's value
    A candidate with a loss, weight, output or value that isn't finite is out, as is one with a
    set's value out of its range, and one that is not there yet. One that breaks a guard comes
    behind all that keep every guard. Of equal ones the first by name is best, so that their order
    in the file says nothing.
    """
    plan = fused.plan
    _, restore = held(state.current, explored_chains(plan))

    def of_one(weights: PyTree) -> tuple[Values, Array]:
        values, is_measured = measure_finite(
            plan.measures, sample.fields, networks.holding(restore(weights))
        )
        return values, is_measured & is_finite(weights)

    values, are_finite = _for_each(fused, of_one, explored.weights)
    are_finite &= explored.is_sound
    count = len(plan.candidates)
    keeps = jnp.stack([_keeps(plan, part(values, k), state) for k in range(count)])
    compared = _Compared(
        plan,
        values,
        means(plan.measures, values),
        lambda k: networks.holding(restore(part(explored.weights, k))),
        state.current_values,
        networks.holding(state.current),
        sample,
        key,
    )
    leading = compared.leading()
    best = compared.best(_without_breakers(are_finite, keeps), leading)
    current_keeps = jnp.all(_keeps(plan, state.current_values, state))
    leads = compared.leads(best, leading) & jnp.any(are_finite)
    leads &= jnp.all(keeps[best]) | ~current_keeps
    return Ranking(
        compared.scores,
        standard_errors(plan.measures, values, sample.units),
        are_sound(plan.measures, values),
        beyond(plan.measures, values),
        extents(plan.measures, values),
        are_finite,
        keeps,
        leading,
        best,
        restore(part(explored.weights, best)),
        part(values, best),
        leads,
    )


def _for_each(
    fused: FusedPlan, of_one: Callable[[PyTree], PyTree], weights: Held
) -> tuple[Values, Array]:
    """What a function makes of each candidate's weights, `[K, ...]`; lowered as the roll-outs."""
    lowerings = {group.lowering for group in fused.rollouts} or {fused.members}
    if lowerings == {"vmap"}:
        return jax.vmap(of_one)(weights)
    return stack([of_one(part(weights, k)) for k in range(len(fused.plan.candidates))])


def _keeps(plan: Plan, values: Values, state: RunState) -> Array:
    """Which guards a model keeps beside accepted, `[G]` bool."""
    kept = [claims.keeps(guard, values, state.accepted_values) for guard in plan.guards]
    return jnp.stack(kept) if kept else jnp.zeros(0, bool)


def _without_breakers(are_finite: Array, keeps: Array) -> Array:
    """Those that keep every guard, `[K]` bool; all that are finite where none does."""
    sound = are_finite & jnp.all(keeps, axis=-1)
    return jnp.where(jnp.any(sound), sound, are_finite)


# ---------------------------------------------------------------- who is best, and who leads


def furthest(keys: Sequence[ObjectivePlan], values: Values) -> Array:
    """[] int32, the key that is furthest from its target.

    A distance is in widths of the range that is known, else in sizes of the target. Where all
    targets are reached, the one that is passed by least.
    """
    distances = [
        key.sign * (_target(key) - jnp.mean(values[key.name])) / _unit(key) for key in keys
    ]
    return jnp.argmax(jnp.stack(distances)).astype(jnp.int32)


@attrs.frozen(eq=False)
class _Compared:
    """K candidates beside each other and beside current.

    values    `[K, B]` or `[K]` of each measure; scores are their means, `[K, M]`
    holding   the models with a candidate's weights
    """

    plan: Plan
    values: Values
    scores: Array
    holding: Callable[[int | Array], Networks]
    current_values: Values
    current: Networks
    sample: Sample
    key: Array

    def signed(self, key: ObjectivePlan) -> Array:
        """`[K]` float32, a key of the ranking so that more is better."""
        names = [measure.name for measure in self.plan.measures]
        return key.sign * self.scores[:, names.index(key.name)]

    def leading(self) -> Array:
        """[] int32, the key that is furthest from its target, by current on assess."""
        if self.plan.ranking.kind != "priority":
            return jnp.int32(0)
        return furthest(self.plan.ranking.keys, self.current_values)

    def best(self, alive: Array, leading: Array) -> Array:
        """[] int32, the best of those that are alive, `[K]` bool."""
        keys = self.plan.ranking.keys
        match self.plan.ranking.kind:
            case "priority":
                standing = jnp.stack([self.signed(key) for key in keys])[leading]
                return self._first(standing, alive)
            case "pareto":
                points = jnp.stack([self.signed(key) for key in keys], axis=-1)
                worst = fronts.worst(keys, points, alive)
                volumes = fronts.volumes(points, worst)
                return self._first(volumes, fronts.is_on_front(points, alive))
            case "then":
                for key in keys[:-1]:
                    top = self._first(self.signed(key), alive)
                    alive &= self._is_level(key, top)
                return self._first(self._standing(keys[-1]), alive)

    def _standing(self, key: ObjectivePlan) -> Array:
        """`[K]` float32, what a key ranks by: means, or lower bounds under rule `reference`."""
        rule = self.plan.rule
        if isinstance(rule, Reference):
            return reference.standing(key, self.values[key.name], rule.assess)
        return self.signed(key)

    def _first(self, standing: Array, alive: Array) -> Array:
        """The index of the highest of `[K]`, of equals the candidate whose name comes first."""
        candidates = self.plan.candidates
        by_name = sorted(range(len(candidates)), key=lambda k: candidates[k].name)
        order = jnp.asarray(by_name, jnp.int32)
        return order[jnp.argmax(jnp.where(alive, standing, -jnp.inf)[order])]

    def _is_level(self, key: ObjectivePlan, top: Array) -> Array:
        """Which candidates lie within one paired standard error of the best one, `[K]` bool."""
        values = self.values[key.name]
        best = values[top], partial(self.holding, top)
        return jnp.stack(
            [
                self._is_no_worse(key, (values[k], partial(self.holding, k)), best)
                for k in range(len(values))
            ]
        )

    def leads(self, best: Array, leading: Array) -> Array:
        """Whether the best candidate becomes current by the plan's rule, [] bool.

        By several keys of a front it is worse where it is behind in one and ahead in none.
        """
        if self.plan.move == "always":
            return jnp.bool_(True)
        keys = self.plan.ranking.keys[:1]
        if self.plan.ranking.kind != "then":
            keys = self.plan.ranking.keys
        no_worse = jnp.stack([self._moves(key, best) for key in keys])
        if self.plan.ranking.kind == "priority":
            return no_worse[leading]
        gains = jnp.stack([jnp.mean(self._gains(key, best)) for key in keys])
        return jnp.all(no_worse) | (len(keys) > 1) & jnp.any(gains > 0)

    def _gains(self, key: ObjectivePlan, best: Array) -> Array:
        return key.sign * (self.values[key.name][best] - self.current_values[key.name])

    def _moves(self, key: ObjectivePlan, best: Array) -> Array:
        # A current without a value stands in nobody's way.
        is_lost = ~is_finite(self.current_values[key.name])
        if self.plan.move == "when better":
            return is_lost | (jnp.sum(self._gains(key, best)) > 0)
        return is_lost | self._is_no_worse(
            key,
            (self.values[key.name][best], lambda: self.holding(best)),
            (self.current_values[key.name], lambda: self.current),
        )

    def _is_no_worse(
        self,
        key: ObjectivePlan,
        one: tuple[Array, Callable[[], Networks]],
        other: tuple[Array, Callable[[], Networks]],
    ) -> Array:
        """Whether one is behind another by at most one paired standard error, [] bool."""
        gains = key.sign * (one[0] - other[0])
        if key.value.level != "set":
            return is_within_one_error(gains, self.sample.units)
        difference = bootstrap.difference(key.value, self.sample.fields, one[1](), other[1]())
        drawn = named(self.key, "resamples")
        return gains >= -bootstrap.standard_error(difference, drawn, self.sample)


def is_within_one_error(gains: Array, units: Units | None = None) -> Array:
    """Whether a mean is at most one standard error below 0, [] bool.

    gains    [B] float32, paired differences; [] for a value that no example has a part in, whose
             standard error is 0
    units    the groups or blocks that count as one each: the sums below are over their gains
    With sum S and sum of squares Q, S/n < -sqrt((Q - S^2/n) / (n (n - 1))) is S < 0 and S^2 > Q.
    For right and wrong both are whole numbers: losing one example more is exactly one standard
    error, a tie that the quotients would leave to rounding.
    """
    if not gains.ndim:
        return gains >= 0
    # exact, and the squares of the smallest and largest gains stay numbers
    scaled, _ = in_own_unit(units_of.sums(units, gains), 0)
    total, squares = jnp.sum(scaled), jnp.sum(jnp.square(scaled))
    return (total >= 0) | (jnp.square(total) <= squares)


def _target(key: ObjectivePlan) -> float:
    assert key.target is not None, f"{key.name} has no target to be far from"
    return key.target


def _unit(key: ObjectivePlan) -> float:
    """What a distance from the target is measured in."""
    if key.range is not None:
        return key.range[1] - key.range[0]
    return abs(_target(key)) or 1.0
