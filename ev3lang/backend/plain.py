"""Plain training from a run's own start: of a baseline, or of a model before the run.

In parts of any length, one after the other the same as in one: so that it can tell how far it is
and be ended in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import models, optimizers, streams
from ev3lang.backend.explore import count_of, explored_models, networks, pool_name, read
from ev3lang.backend.keys import named
from ev3lang.backend.layout import held
from ev3lang.backend.pytree import pytree
from ev3lang.backend.rollout import averaged, ended_with, gradient_step, known, no_average
from ev3lang.backend.state import Params, PyTree, pick
from ev3lang.backend.streams import Data, Fields
from ev3lang.plan.plan import BaselinePlan, Plan
from ev3lang.plan.simplify import stable

Array: TypeAlias = jax.Array
Given: TypeAlias = Mapping[str, Params]
"""Weights of models that don't start fresh."""


@pytree
@attrs.frozen(eq=False)
class Training:
    """How far plain training is.

    step      [] int32, steps so far
    stream    of the batches; None where each is drawn afresh
    weights   of the explored models, as roll-outs hold them
    average   of the weights so far; None where the optimizer averages none
    """

    step: Array
    stream: PyTree
    weights: PyTree
    opt_state: PyTree
    average: PyTree


@attrs.frozen(eq=False)
class Course:
    """Plain training of one baseline, compiled.

    begin     () -> Training, before its first step
    advance   (training, until) -> Training, once so many steps are done; `training` is donated
    ended     (training) -> the explored models' weights
    """

    begin: Callable[[], Training]
    advance: Callable[[Training, int], Training]
    ended: Callable[[Training], Params]


def begin(plan: Plan, baseline: BaselinePlan, data: Data, given: Given, key: Array) -> Training:
    """Plain training before its first step, with the weights that the run starts with."""
    stream = None
    if not plan.data.is_endless:
        count = count_of(data, pool_name(plan.data, baseline.loss))
        stream = streams.start(named(key, "batches", baseline.name), count)
    weights, _ = held(_start(plan, given, key)[0], [baseline.optimizer])
    return Training(
        jnp.int32(0),
        stream,
        weights,
        optimizers.build(baseline.optimizer).init(weights.learned),
        no_average(weights, optimizers.average_decay(baseline.optimizer)),
    )


def advance(
    plan: Plan,
    baseline: BaselinePlan,
    data: Data,
    given: Given,
    key: Array,
    training: Training,
    until: Array,
) -> Training:
    """Plain training once `until` steps are done.

    Its batches and what it drops are drawn by the baseline's name, so that it neither follows a
    candidate nor changes with one.
    """
    explored, loss = explored_models(plan), stable(baseline.loss)
    trained, fixed = _start(plan, given, key)
    frozen = networks(plan, fixed)
    chain = optimizers.build(baseline.optimizer)
    decay = optimizers.average_decay(baseline.optimizer)
    batch_key = named(key, "batches", baseline.name)
    augment_key = named(key, "augment", baseline.name)
    rows_name = pool_name(plan.data, baseline.loss)
    size = baseline.batch
    if not plan.data.is_endless:
        size = min(size, count_of(data, rows_name))
    drop_key = named(key, "dropout", baseline.name)
    _, restore = held(trained, [baseline.optimizer])

    def next_batch(step: Array, stream: streams.Stream | None) -> tuple[PyTree, Fields]:
        if stream is None:
            keys = named(batch_key, step), named(augment_key, step)
            return None, streams.fresh(plan.data, keys[0], size, keys[1])
        stream, rows = streams.draw(stream, batch_key, batch=size, steps=1)
        chosen = data.pools[rows_name][rows[0]] if rows_name else rows[0]
        key_of_step = named(augment_key, step) if plan.data.augmented else None
        return stream, read(plan.data, data, (chosen, key_of_step))

    def one_step(step: Array, carry: PyTree) -> PyTree:
        stream, weights, opt_state, average = carry
        stream, fields = next_batch(step, stream)
        weights, opt_state, _ = gradient_step(
            loss,
            chain,
            frozen.dropping(named(drop_key, step)),
            restore,
            weights,
            opt_state,
            fields,
            known(frozen, [loss], explored, fields) if baseline.parts == 1 else {},
            baseline.parts,
        )
        return stream, weights, opt_state, averaged(average, weights, decay)

    carry = training.stream, training.weights, training.opt_state, training.average
    ended = jax.lax.fori_loop(training.step, until, one_step, carry)
    return Training(jnp.maximum(training.step, until), *ended)


def ended(
    plan: Plan, baseline: BaselinePlan, given: Given, key: Array, training: Training
) -> Params:
    """The explored models' weights after the steps so far."""
    _, restore = held(_start(plan, given, key)[0], [baseline.optimizer])
    decay = optimizers.average_decay(baseline.optimizer)
    last = ended_with(training.weights, training.average, decay, training.step)
    # after no step there is no average
    return restore(pick(training.step > 0, last, training.weights))


def _start(plan: Plan, given: Given, key: Array) -> tuple[Params, Params]:
    """The weights that the run starts with, of explored models and of all others."""
    explored = explored_models(plan)
    params = models.start(plan.models, given, key)
    return (
        {name: params[name] for name in params if name in explored},
        {name: params[name] for name in params if name not in explored},
    )
