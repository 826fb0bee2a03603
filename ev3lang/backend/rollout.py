"""Roll-outs: gradient steps from shared weights, of one candidate or of several side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

import attrs
import jax
import jax.numpy as jnp
import optax

from ev3lang.backend import expressions
from ev3lang.backend.descent import mean_loss
from ev3lang.backend.expressions import Memo, Networks
from ev3lang.backend.layout import Held
from ev3lang.backend.pytree import pytree
from ev3lang.backend.state import Params, PyTree
from ev3lang.backend.streams import Fields
from ev3lang.plan.plan import Expr

Array: TypeAlias = jax.Array
Batches: TypeAlias = Any
"""A roll-out's batches, the steps along the leading axis: rows of a split, or fresh fields."""


@attrs.frozen(eq=False)
class Task:
    """The roll-outs of K candidates with equally many steps.

    losses, chains, opt_states   of each candidate
    averages   the decay of each candidate's average of weights, None for the last weights alone
    parts      how many parts of a batch have their gradients computed one after the other
    networks   every model, with the weights of those that aren't trained
    start      the weights that all start from, as the roll-out holds them
    restore    from there to each trained model's weights
    trained    the models' names
    keys       [steps, K] PRNG keys of what is dropped, None for nothing
    batches    each stream's, under its name
    stream_of  which of them each candidate reads
    read       from one step's part of a stream's batches to its fields
    count      [] int32, how many of the steps are taken; None for all of them
    """

    losses: Sequence[Expr]
    chains: Sequence[optax.GradientTransformation]
    averages: Sequence[float | None]
    networks: Networks
    start: Held
    restore: Callable[[Held], Params]
    trained: frozenset[str]
    parts: int
    opt_states: Sequence[PyTree]
    keys: Array | None
    batches: dict[str, Batches]
    stream_of: Sequence[str]
    read: Callable[[Batches], Fields]
    count: Array | None = None

    def known(self, fields: Fields) -> Memo:
        """What the losses need of a batch that no gradient reaches; each part finds its own."""
        return {} if self.parts > 1 else known(self.networks, self.losses, self.trained, fields)


@pytree
@attrs.frozen(eq=False)
class Rolled:
    """What K candidates' roll-outs ended with."""

    weights: Held  # [K, ...]
    opt_states: tuple[PyTree, ...]
    losses: Array  # [K] float32, mean over the steps


def roll_out(lowering: Literal["one body", "vmap", "apart"], task: Task) -> Rolled:
    """Every candidate's roll-out; the lowerings differ in speed alone."""
    return _LOWERINGS[lowering](task)


def _one_body(task: Task) -> Rolled:
    """Each step of all candidates in one scan body, where independent ones run side by side."""

    def body(carry: PyTree, at_step: PyTree) -> tuple[PyTree, Array]:
        batches, keys = at_step
        fields = {name: task.read(batch) for name, batch in batches.items()}
        memos = {name: task.known(fields[name]) for name in fields}
        followed, losses = [], []
        for k, (weights, opt_state, average) in enumerate(carry):
            stream = task.stream_of[k]
            weights, opt_state, loss = gradient_step(
                task.losses[k],
                task.chains[k],
                task.networks.dropping(None if keys is None else keys[k]),
                task.restore,
                weights,
                opt_state,
                fields[stream],
                memos[stream],
                task.parts,
            )
            followed.append((weights, opt_state, averaged(average, weights, task.averages[k])))
            losses.append(loss)
        return followed, jnp.stack(losses)

    carry = [
        (task.start, opt_state, no_average(task.start, decay))
        for opt_state, decay in zip(task.opt_states, task.averages, strict=True)
    ]
    batches = {name: task.batches[name] for name in task.stream_of}
    ended, losses, steps = steps_of(body, carry, (batches, task.keys), task.count)
    return Rolled(
        stack(
            [
                ended_with(weights, average, decay, steps)
                for (weights, _, average), decay in zip(ended, task.averages, strict=True)
            ]
        ),
        tuple(opt_state for _, opt_state, _ in ended),
        losses,
    )


def steps_of(
    body: Callable[[PyTree, PyTree], tuple[PyTree, Array]],
    carry: PyTree,
    each: PyTree,
    count: Array | None,
) -> tuple[PyTree, Array, int | Array]:
    """What steps end with, the mean of their losses, and how many there were.

    each    what every step reads, along the leading axis
    count   [] int32, how many of them are taken; None for all, in a scan that needs no indexing
    """
    if count is None:
        ended, losses = jax.lax.scan(body, carry, each)
        return ended, jnp.mean(losses, axis=0), len(losses)

    def at(step: Array, held: tuple[PyTree, Array]) -> tuple[PyTree, Array]:
        ended, losses = body(held[0], jax.tree.map(lambda leaf: leaf[step], each))
        return ended, held[1] + losses

    first = jax.tree.map(lambda leaf: leaf[0], each)
    losses = jax.eval_shape(body, carry, first)[1]
    ended, total = jax.lax.fori_loop(0, count, at, (carry, jnp.zeros(losses.shape, losses.dtype)))
    return ended, total / count, count


def _stacked(task: Task) -> Rolled:
    """All candidates' weights along a leading axis, their models applied once for all.

    Losses and optimizers may differ: each candidate's loss takes its own slice of the outputs,
    and the gradient of the sum of all losses holds each one's own gradient in its slice.
    """
    assert not jax.tree.leaves(task.start.statistics), "running statistics are not stacked"
    assert task.parts == 1, "a batch in parts is not stacked"
    assert not any(task.averages), "averages of weights are not stacked"
    candidates = range(len(task.losses))
    applications = expressions.applications(task.losses, task.trained)
    (stream,) = set(task.stream_of)

    def body(carry: PyTree, at_step: PyTree) -> tuple[PyTree, Array]:
        stacked, opt_states = carry
        still = task.start.statistics
        batch, keys = at_step
        fields = task.read(batch)
        memo = task.known(fields)

        def apply_all(weights: PyTree, key: Array | None) -> list[Array]:
            networks = task.networks.dropping(key).holding(task.restore(Held(weights, still)))
            seen = dict(memo)
            return [expressions.evaluate(each, fields, networks, seen) for each in applications]

        def total(stacked: PyTree) -> tuple[Array, Array]:
            outputs = jax.vmap(apply_all)(stacked, keys)
            losses = []
            for k in candidates:
                seen = memo | dict(zip(applications, part(outputs, k), strict=True))
                networks = task.networks.holding(task.restore(Held(part(stacked, k), still)))
                losses.append(mean_loss(task.losses[k], fields, networks, seen))
            return jnp.sum(jnp.stack(losses)), jnp.stack(losses)

        grads, losses = jax.grad(total, has_aux=True)(stacked)
        updated = [
            task.chains[k].update(part(grads, k), opt_states[k], part(stacked, k))
            for k in candidates
        ]
        updates = stack([updates for updates, _ in updated])
        followed = optax.apply_updates(stacked, updates)
        return (followed, tuple(opt_state for _, opt_state in updated)), losses

    carry = (stack([task.start.learned for _ in candidates]), tuple(task.opt_states))
    ended, losses, _ = steps_of(body, carry, (task.batches[stream], task.keys), task.count)
    stacked, opt_states = ended
    return Rolled(Held(stacked, task.start.statistics), opt_states, losses)


def _apart(task: Task) -> Rolled:
    """One scan after the other."""
    alone = [
        _one_body(
            attrs.evolve(
                task,
                losses=task.losses[k : k + 1],
                chains=task.chains[k : k + 1],
                averages=task.averages[k : k + 1],
                opt_states=task.opt_states[k : k + 1],
                keys=None if task.keys is None else task.keys[:, k : k + 1],
                stream_of=task.stream_of[k : k + 1],
            )
        )
        for k in range(len(task.losses))
    ]
    return joined(alone, range(len(task.losses)))


def joined(groups: Sequence[Rolled], order: Iterable[int]) -> Rolled:
    """Several groups' roll-outs as one, the candidate that came k-th at place `order[k]`."""
    places = [place for place, _ in sorted(enumerate(order), key=lambda pair: pair[1])]
    opt_states = [opt_state for group in groups for opt_state in group.opt_states]
    at = jnp.asarray(places)
    if len(groups) == 1 and places == sorted(places):
        return groups[0]
    weights = jax.tree.map(
        lambda *leaves: jnp.concatenate(leaves)[at], *(group.weights for group in groups)
    )
    losses = jnp.concatenate([group.losses for group in groups])[at]
    return Rolled(weights, tuple(opt_states[place] for place in places), losses)


_LOWERINGS: dict[str, Callable[[Task], Rolled]] = {
    "one body": _one_body,
    "vmap": _stacked,
    "apart": _apart,
}


def gradient_step(
    loss: Expr,
    chain: optax.GradientTransformation,
    networks: Networks,
    restore: Callable[[Held], Params],
    weights: Held,
    opt_state: PyTree,
    fields: Fields,
    memo: Memo,
    parts: int = 1,
) -> tuple[Held, PyTree, Array]:
    """The weights and optimizer state after one step down a loss, and the loss before it.

    restore, weights   the trained models' weights as the roll-out holds them, and the way back
    memo               what is known of the batch without them; nothing where it has parts
    """

    def descended(
        learned: PyTree, statistics: PyTree, fields: Fields, networks: Networks, memo: Memo
    ) -> tuple[Array, PyTree]:
        training = networks.training().holding(restore(Held(learned, statistics)))
        value = mean_loss(loss, fields, training, memo)
        assert training.moved is not None
        moved = training.moved
        return value, {name: moved.get(name, still) for name, still in statistics.items()}

    gradient = jax.value_and_grad(descended, has_aux=True)
    if parts == 1:
        (value, statistics), grads = gradient(
            weights.learned, weights.statistics, fields, networks, dict(memo)
        )
    else:
        value, statistics, grads = _of_parts(gradient, networks, weights, fields, parts)
    updates, opt_state = chain.update(grads, opt_state, weights.learned)
    return Held(optax.apply_updates(weights.learned, updates), statistics), opt_state, value


def _of_parts(
    gradient: Callable[..., Any], networks: Networks, weights: Held, fields: Fields, parts: int
) -> tuple[Array, PyTree, PyTree]:
    """Loss, statistics and gradient of a batch, its parts one after the other: memory for time.

    The means over equal parts have the batch's mean. Each part is seen by itself by batch norm,
    and by a term that is averaged over the examples that know a field.
    """
    # A whole batch divides evenly; known examples that are fewer than one need not.
    parts = math.gcd(parts, len(next(iter(fields.values()))))
    cut = {
        name: field.reshape(parts, field.shape[0] // parts, *field.shape[1:])
        for name, field in fields.items()
    }

    def of_part(carry: PyTree, at: PyTree) -> tuple[PyTree, None]:
        total, sums, statistics = carry
        place, part_fields = at
        key = networks.dropout_key
        dropping = networks.dropping(None if key is None else jax.random.fold_in(key, place))
        (value, statistics), grads = gradient(
            weights.learned, statistics, part_fields, dropping, {}
        )
        return (total + value, jax.tree.map(jnp.add, sums, grads), statistics), None

    none = jax.tree.map(jnp.zeros_like, weights.learned)
    begin = (jnp.zeros(()), none, weights.statistics)
    (total, sums, statistics), _ = jax.lax.scan(of_part, begin, (jnp.arange(parts), cut))
    return total / parts, statistics, jax.tree.map(lambda each: each / parts, sums)


# ---------------------------------------------------------------- averages of weights


def no_average(weights: Held, decay: float | None) -> Held | None:
    """The average before the first step; None where nothing is averaged."""
    return None if decay is None else jax.tree.map(jnp.zeros_like, weights)


def averaged(average: Held | None, weights: Held, decay: float | None) -> Held | None:
    """The running average behind one more step, running statistics with it."""
    if decay is None:
        return None
    return jax.tree.map(lambda a, w: decay * a + (1 - decay) * w, average, weights)


def ended_with(
    weights: Held, average: Held | None, decay: float | None, steps: int | Array
) -> Held:
    """What a roll-out ends with: its last weights, or their average, freed of its start at zero.

    Source: Polyak and Juditsky (1992), SIAM J. Control Optim. 30:838-855, with weights that fall
    off by `decay` a step; the correction is that of Kingma and Ba (2015), arXiv:1412.6980.
    """
    if decay is None:
        return weights
    # 1 - decay**steps, which loses its digits in float32 where decay is near 1.
    log_decay = math.log(decay) if decay > 0 else -math.inf
    share = -jnp.expm1(steps * log_decay)
    return jax.tree.map(lambda a: a / share, average)


def known(
    networks: Networks, losses: Sequence[Expr], trained: frozenset[str], fields: Fields
) -> Memo:
    """What losses need of a batch that no gradient reaches, such as a teacher's outputs."""
    memo: Memo = {}
    for loss in losses:
        for each in expressions.independent_parts(loss, trained):
            expressions.evaluate(each, fields, networks, memo)
    return memo


def stack(trees: Sequence[PyTree]) -> PyTree:
    """Equal trees as one, along a new leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def part(tree: PyTree, k: int | Array) -> PyTree:
    """One of the trees that were stacked."""
    return jax.tree.map(lambda leaf: leaf[k], tree)
