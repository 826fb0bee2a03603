"""Succession: a run's state handed on to models of another architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs
import jax
import jax.numpy as jnp
import numpy as np

from ev3lang.backend.elders import OneOf
from ev3lang.backend.moments import grow_opt_state
from ev3lang.backend.state import Params, PyTree, RunState
from ev3lang.plan.plan import Architecture, Operation, Plan, Reference

Array: TypeAlias = jax.Array


# ---------------------------------------------------------------- between device and host


@attrs.frozen(eq=False)
class _Key:
    """A key's words: keys themselves can't leave the device."""

    words: np.ndarray


def on_host(tree: PyTree) -> PyTree:
    """The tree as NumPy arrays: whatever becomes of the device's, it stays. One transfer."""
    is_key = jax.tree.map(lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key), tree)
    words = jax.tree.map(
        lambda leaf, is_one: jax.random.key_data(leaf) if is_one else leaf, tree, is_key
    )
    got = jax.device_get(words)
    return jax.tree.map(lambda leaf, is_one: _Key(leaf) if is_one else leaf, got, is_key)


def on_device(tree: PyTree) -> PyTree:
    """The way back, to arrays that a program may use up."""
    words = jax.tree.map(lambda leaf: leaf.words if isinstance(leaf, _Key) else leaf, tree)
    # copies: the program uses up what it is given, and these are needed again
    put = jax.device_put(words, may_alias=False)
    return jax.tree.map(
        lambda leaf, before: jax.random.wrap_key_data(leaf) if isinstance(before, _Key) else leaf,
        put,
        tree,
    )


def _host(value: Any, dtype: str) -> Any:
    """An array of NumPy where a state has one of the device's.

    To make one of those would be a small program for each shape, compiled while the device waits.
    """
    return np.asarray(value, dtype)


# ---------------------------------------------------------------- the next stage's state


def succeed(
    before: Plan,
    after: Plan,
    state: RunState,
    blank: RunState,
    *,
    current: Params,
    opt_states: tuple[PyTree, ...],
    frozen: Params,
    is_trial: bool = False,
) -> RunState:
    """The state of a run whose current model goes on in another architecture.

    before, after   the plans of the stages
    state           as the stage before ended, on the host
    blank           of the next stage's program: what every array looks like
    current         the explored models' weights from now on, and each descent's optimizer state
    frozen          the other models', with the members of archives
    is_trial        whether this is one of several growths that are tried
    Current starts the stage without progress. Accepted and challengers keep weights, shape and
    evidence; what current's shape alone can hold starts anew: the mean of the last accepted
    models, the archives' places (the host has what was in them), and the weights of a front's
    members. Under rule `reference` accepted becomes current, untested, as published.
    """
    is_untested = isinstance(after.rule, Reference)
    kept = attrs.evolve(
        state,
        current=current,
        frozen=frozen,
        opt_states=opt_states,
        factors=_factors(before, after, state),
        streams={name: state.streams.get(name, each) for name, each in blank.streams.items()},
        recent=blank.recent,
        archived=None
        if blank.archived is None
        else attrs.evolve(
            blank.archived, scores=_host(np.full(blank.archived.scores.shape, -np.inf), "f4")
        ),
        front=None
        if state.front is None or blank.front is None
        else attrs.evolve(
            state.front,
            params=blank.front.params,
            is_here=_host(np.zeros(state.front.is_here.shape), "bool"),
        ),
        progress=None
        if state.progress is None
        else attrs.evolve(
            state.progress,
            stalled=_host(0, "i4"),
            best=_host(np.full(state.progress.best.shape, -np.inf), "f4"),
            is_due=_host(False, "bool"),
            is_trial=_host(is_trial, "bool"),
        ),
    )
    if is_untested:
        return attrs.evolve(kept, accepted=current)
    where = [before.architecture, *before.elders]
    return attrs.evolve(
        kept,
        accepted=_moved(state.accepted, blank.accepted, where, after),
        challengers=None
        if state.challengers is None or blank.challengers is None
        else attrs.evolve(
            state.challengers,
            params=_moved(state.challengers.params, blank.challengers.params, where, after),
        ),
    )


def accepted_as_current(state: RunState) -> RunState:
    """The state of rule `reference` whose current is another model than accepted's values say."""
    # copies: a program uses up each array that it is given, and none can be used up twice
    now = state.current, state.current_values, state.current_steps
    accepted, values, steps = jax.device_put(now, may_alias=False)
    return attrs.evolve(state, accepted=accepted, accepted_values=values, accepted_steps=steps)


def without_steps(state: RunState) -> RunState:
    """The state whose current is a model that no step has led to."""
    return attrs.evolve(state, current_steps=_host(0, "i4"))


def started_again(state: RunState) -> RunState:
    """The state with a search that begins as the spec does: its roll-outs are as long."""
    return attrs.evolve(
        state,
        progress=None
        if state.progress is None
        else attrs.evolve(state.progress, stretch=_host(1, "f4")),
    )


def grown_opt_states(
    before: Plan,
    after: Plan,
    operation: Operation,
    params: Params,
    opt_states: tuple[PyTree, ...],
    fresh: tuple[PyTree, ...],
) -> tuple[PyTree, ...]:
    """Each descent's optimizer state behind a growth: carried where that is right, else fresh.

    params       current's weights before growth
    opt_states   of the descents of `before`; `fresh` of those of `after`
    """
    known = {each.name: k for k, each in enumerate(before.descents)}
    return tuple(
        grow_opt_state(
            before.architecture,
            params,
            operation,
            descent.optimizer,
            opt_states[known[descent.name]],
            start,
        )
        if descent.name in known
        else start
        for descent, start in zip(after.descents, fresh, strict=True)
    )


def _factors(before: Plan, after: Plan, state: RunState) -> Any:
    known = {each.name: k for k, each in enumerate(before.descents)}
    factors = np.ones((len(after.descents), len(after.mutations)), np.float32)
    for k, descent in enumerate(after.descents):
        if descent.name in known:
            factors[k] = state.factors[known[descent.name]]
    return factors


def _moved(weights: Any, blank: Any, where: Sequence[Architecture], after: Plan) -> Params | OneOf:
    """Weights of one of the architectures `where`, in the form of the next stage's `blank`."""
    options = weights.params if isinstance(weights, OneOf) else (weights,)
    places = np.asarray(weights.place if isinstance(weights, OneOf) else 0)
    targets = [after.architecture, *after.elders]
    # an architecture that nobody has any more may be missing; whoever has it isn't filled
    to = np.asarray([targets.index(each) if each in targets else 0 for each in where], np.int32)
    fillers = blank.params if isinstance(blank, OneOf) else (blank,)
    params = tuple(
        options[where.index(each)] if each in where[: len(options)] else filler
        for each, filler in zip(targets, fillers, strict=True)
    )
    if not isinstance(blank, OneOf):
        return params[0]
    shape = np.shape(blank.place)
    return OneOf(params, _host(np.broadcast_to(to[places], shape), "i4"))
