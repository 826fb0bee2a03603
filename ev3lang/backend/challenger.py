"""Rule `challenger`: frozen candidates gather evidence from each iteration's fresh examples.

A challenger is frozen before the examples that speak for it are drawn, so each draw is a fair bet
against the claim that it is no better than accepted, and the wealths multiply from iteration to
iteration. Challenger j may be accepted at alpha_j = delta / (j (j + 1)); all of them together sum
to delta. A dropped one leaves min(1, wealth) of its alpha to the next: that is what its claim is
still worth. An accepted one leaves all of it: if it was truly better no error was made, and if it
wasn't the run has made the one error that delta is about.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import assess, betting, claims
from ev3lang.backend.elders import OneOf, like
from ev3lang.backend.expressions import Networks
from ev3lang.backend.pytree import pytree
from ev3lang.backend.rollout import part
from ev3lang.backend.state import (
    Challengers,
    Decision,
    Params,
    RunState,
    Values,
    is_finite,
    pick,
)
from ev3lang.backend.streams import Fields
from ev3lang.plan.plan import Challenger, Claim, Plan

Array: TypeAlias = jax.Array

SLOTS = 2
OLDEST = 32
"""Iterations after which a challenger that isn't accepted makes room."""

TRIAL = 2
"""Iterations that a challenger has before a loss on average drops it."""


@pytree
@attrs.frozen(eq=False)
class News:
    """What became of the challengers in an iteration."""

    decision: Array  # [] int32, a Decision: REJECTED where one was dropped
    log_evidence: Array  # [] float32, log wealth of the accepted one, else of the richest
    log_level: Array  # [] float32, log alpha of the same
    age: Array  # [] int32, iterations that the same has gathered evidence
    claim: Array  # [] int32, which of the rule's claims the same is to show


def start(plan: Plan, current: Params | OneOf) -> Challengers:
    """No challenger, and all of delta to spend."""
    # of its claim, and of each guard that must be proven
    tests = 1 + len(plan.proven)
    return Challengers(
        params=jax.tree.map(lambda leaf: jnp.stack([leaf] * SLOTS), current),
        steps=jnp.zeros(SLOTS, jnp.int32),
        is_filled=jnp.zeros(SLOTS, bool),
        claim=jnp.zeros(SLOTS, jnp.int32),
        age=jnp.zeros(SLOTS, jnp.int32),
        alpha=jnp.zeros(SLOTS, jnp.float32),
        excess=jnp.zeros(SLOTS, jnp.float32),
        log_wealths=jnp.zeros((SLOTS, tests, len(betting.STAKES)), jnp.float32),
        started=jnp.int32(0),
        inherited=jnp.float32(0),
    )


def weigh(plan: Plan, state: RunState, fields: Fields, networks: Networks) -> tuple[RunState, News]:
    """The state behind an iteration's examples: challengers richer or poorer, accepted or dropped.

    fields   examples that were drawn after every challenger was frozen; accepted's values in the
             state are on them
    """
    held = state.challengers
    assert held is not None, "rule challenger has challengers"
    measured = [
        assess.measure_finite(plan.measures, fields, networks.holding(part(held.params, slot)))
        for slot in range(SLOTS)
    ]
    values = [each for each, _ in measured]
    surplus = jnp.stack(
        [_surplus(plan, values[slot], state, held.claim[slot]) for slot in range(SLOTS)]
    )
    is_sound = jnp.stack([sound & is_finite(surplus[k]) for k, (_, sound) in enumerate(measured)])
    log_wealths = betting.grown(held.log_wealths, jnp.where(is_sound[:, None, None], surplus, 0.0))
    # every claim has to be shown: the poorest counts
    log_evidence = jnp.min(betting.log_mixture(log_wealths), axis=-1)
    age = held.age + 1
    gathered = held.excess + jnp.mean(surplus[:, 0], axis=-1)
    keeps = jnp.stack(
        [claims.keeps_all(plan.guards, each, state.accepted_values) for each in values]
    )

    log_alpha = jnp.log(jnp.maximum(held.alpha, 1e-38))
    is_proven = held.is_filled & is_sound & keeps & (log_evidence >= betting.MARGIN - log_alpha)
    accepted = jnp.argmax(jnp.where(is_proven, log_evidence + log_alpha, -jnp.inf))
    is_accepted = jnp.any(is_proven)
    is_spent = ~is_sound | (age >= OLDEST) | ((age >= TRIAL) & (gathered < 0))
    is_dropped = held.is_filled & is_spent & ~is_accepted

    # on an acceptance the others are compared with a model that is no longer there
    left = jnp.where(is_accepted, False, held.is_filled & ~is_dropped)
    worth = held.alpha * jnp.exp(jnp.minimum(log_evidence, 0.0))
    freed = jnp.sum(jnp.where(is_dropped, worth, 0.0))
    others = jnp.sum(jnp.where(held.is_filled & (jnp.arange(SLOTS) != accepted), worth, 0.0))
    freed = jnp.where(is_accepted, held.alpha[accepted] + others, freed)

    richest = jnp.argmax(jnp.where(held.is_filled, log_evidence + log_alpha, -jnp.inf))
    told = jnp.where(is_accepted, accepted, richest)
    decision = jnp.where(
        is_accepted,
        Decision.ACCEPTED,
        jnp.where(jnp.any(is_dropped), Decision.REJECTED, Decision.NOT_ASKED),
    ).astype(jnp.int32)
    any_filled = jnp.any(held.is_filled)
    news = News(
        decision,
        jnp.where(any_filled, log_evidence[told], 0.0),
        jnp.where(any_filled, log_alpha[told], -jnp.inf),
        jnp.where(any_filled, age[told], 0),
        held.claim[told],
    )
    weights = part(held.params, accepted)
    new_values = jax.tree.map(lambda *each: jnp.stack(each)[accepted], *values)
    return (
        attrs.evolve(
            state,
            accepted=pick(is_accepted, weights, state.accepted),
            accepted_values=pick(is_accepted, new_values, state.accepted_values),
            accepted_steps=pick(is_accepted, held.steps[accepted], state.accepted_steps),
            challengers=attrs.evolve(
                held,
                is_filled=left,
                age=age,
                excess=gathered,
                log_wealths=log_wealths,
                inherited=held.inherited + freed,
            ),
        ),
        news,
    )


def _surplus(plan: Plan, values: Values, state: RunState, claim: Array) -> Array:
    """How far each example's gains pass the margins, `[tests, B]`: of its claim, then of guards."""

    def of(each: Claim) -> Array:
        return claims.excess(each, values, state.accepted_values)

    rows = jnp.stack([of(each) for each in plan.rule.claims])
    return jnp.stack([rows[claim], *map(of, plan.proven)])


def enter(plan: Plan, state: RunState, may_enter: Array) -> RunState:
    """The state with current frozen in a free slot, where there is one and assess favours it.

    may_enter   [] bool, whether current has moved to a finite candidate in this iteration
    """
    held = state.challengers
    assert held is not None, "rule challenger has challengers"
    assert isinstance(plan.rule, Challenger)
    both = state.current_values, state.accepted_values
    gained = jnp.stack(
        [
            jnp.minimum(
                jnp.mean(claims.gains(each, *both)), jnp.mean(claims.bounded_gains(each, *both))
            )
            - each.margin
            for each in plan.rule.claims
        ]
    )
    is_favoured = (gained[state.leading] > 0) & claims.keeps_all(
        plan.guards, state.current_values, state.accepted_values
    )
    enters = may_enter & is_favoured & ~jnp.all(held.is_filled)
    here = enters & (jnp.arange(SLOTS) == jnp.argmin(held.is_filled))
    number = (held.started + 1).astype(jnp.float32)
    alpha = plan.rule.delta / (number * (number + 1)) + held.inherited
    number_of_tests = held.log_wealths.shape[1:]

    def put(new: Array, old: Array) -> Array:
        return jnp.where(here.reshape(SLOTS, *[1] * (old.ndim - 1)), new, old)

    return attrs.evolve(
        state,
        challengers=Challengers(
            params=jax.tree.map(
                lambda new, old: put(new[None], old),
                like(part(held.params, 0), state.current),
                held.params,
            ),
            steps=put(state.current_steps, held.steps),
            is_filled=held.is_filled | here,
            claim=put(state.leading, held.claim),
            age=put(jnp.int32(0), held.age),
            alpha=put(alpha, held.alpha),
            excess=put(jnp.float32(0), held.excess),
            log_wealths=put(jnp.zeros((1, *number_of_tests), jnp.float32), held.log_wealths),
            started=held.started + enters,
            inherited=jnp.where(enters, 0.0, held.inherited),
        ),
    )


def left(plan: Plan, held: Challengers) -> Array:
    """log of the part of delta that no challenger has taken and lost, [] float32."""
    assert isinstance(plan.rule, Challenger)
    to_come = plan.rule.delta / (held.started + 1).astype(jnp.float32)
    at_stake = jnp.sum(jnp.where(held.is_filled, held.alpha, 0.0))
    return jnp.log(jnp.maximum(to_come + at_stake + held.inherited, 1e-38))
