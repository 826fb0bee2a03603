"""Candidates without a gradient: generations of a population, and weights with noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ev3lang.backend import expressions
from ev3lang.backend.descent import mean_loss
from ev3lang.backend.expressions import Memo, Networks
from ev3lang.backend.keys import named
from ev3lang.backend.layout import Held
from ev3lang.backend.rollout import Batches, known, part
from ev3lang.backend.state import Params, PyTree
from ev3lang.backend.streams import Fields
from ev3lang.plan.plan import Evolution, ObjectivePlan, Perturbation

Array: TypeAlias = jax.Array


@attrs.frozen(eq=False)
class Population:
    """What an evolution strategy works on.

    networks     every model, with the weights of those that aren't trained
    start        the weights that it starts from, as roll-outs hold them
    restore      from there to each trained model's weights
    trained      the models' names
    key          [] of this candidate in this iteration
    batches      one a generation, along the leading axis
    read         from one generation's part of them to its fields
    is_stacked   whether models are applied to all members at once, rather than to one by one
    """

    networks: Networks
    start: Held
    restore: Callable[[Held], Params]
    trained: frozenset[str]
    key: Array
    batches: Batches
    read: Callable[[Batches], Fields]
    is_stacked: bool


def evolved(evolution: Evolution, task: Population) -> Held:
    """The weights behind all generations; running statistics stay as they were.

    Each generation moves the weights by learning_rate times the mean over its members of noise
    times standing, which has mean 0 and standard deviation 1 where no two members are equally
    fit: how large an objective's differences are says nothing, and where all are equally fit
    nothing moves. Members come in pairs with opposite noise, but for the last of an odd
    population. Source: Salimans et al. (2017), arXiv:1703.03864, algorithm 1 with the ranks of
    section 2.1; the step is not divided by sigma, so that it doesn't grow as the spread shrinks.
    """
    size, pairs = evolution.population, (evolution.population + 1) // 2

    def generation(learned: PyTree, at: tuple[Array, Batches]) -> tuple[PyTree, None]:
        number, batch = at
        noise = _Noise(named(task.key, number), learned, pairs, task.is_stacked)
        fitness_of = _fitness(evolution.objective, task, task.read(batch))

        def fitness(member: Array) -> Array:
            sign = jnp.where(member < pairs, 1.0, -1.0)
            return fitness_of(_moved(learned, sign * evolution.sigma, noise.of(member % pairs)))

        every = jax.vmap(fitness) if task.is_stacked else lambda each: jax.lax.map(fitness, each)
        standing = jnp.pad(standings(every(jnp.arange(size))), (0, 2 * pairs - size))
        direction = noise.sum((standing[:pairs] - standing[pairs:]) / size)
        return _moved(learned, evolution.learning_rate, direction), None

    numbers = jnp.arange(evolution.generations)
    learned, _ = jax.lax.scan(generation, task.start.learned, (numbers, task.batches))
    return Held(learned, task.start.statistics)


def perturbed(perturbation: Perturbation, start: Held, key: Array) -> Held:
    """The weights with normal noise on all that is learned."""
    return Held(
        _moved(start.learned, perturbation.scale, normal(key, start.learned)), start.statistics
    )


def normal(key: Array, learned: PyTree) -> PyTree:
    """Standard normal noise for every learned number, the same however roll-outs hold them."""
    vector, unravel = ravel_pytree(learned)
    noise: PyTree = unravel(jax.random.normal(key, vector.shape, vector.dtype))
    return noise


def standings(fitness: Array) -> Array:
    """Where each member stands among all, [P] float32: mean 0, and at most sqrt(3).

    fitness   [P] float32, more is better; what is no number counts as worst
    Ranks from 0 to P - 1, equals with the mean of theirs, brought to mean 0 and to the standard
    deviation 1 of a uniform distribution between the ends.
    """
    fit = jnp.where(jnp.isnan(fitness), -jnp.inf, fitness)
    below = jnp.sum(fit[None, :] < fit[:, None], axis=1)
    level = jnp.sum(fit[None, :] == fit[:, None], axis=1)
    ranks = below + (level - 1) / 2
    return jnp.sqrt(12.0) * (ranks / (len(fitness) - 1) - 0.5)


def _fitness(
    objective: ObjectivePlan, task: Population, fields: Fields
) -> Callable[[PyTree], Array]:
    """How fit learned weights are on a batch, [] float32 so that more is better.

    An objective of examples is averaged as a loss is: over those that know what it reads, and
    between the labels of mixed examples. One of a set takes the batch as it is.
    """
    still: Memo = known(task.networks, [objective.value], task.trained, fields)

    def of(learned: PyTree) -> Array:
        networks = task.networks.holding(task.restore(Held(learned, task.start.statistics)))
        if objective.value.level == "example":
            return objective.sign * mean_loss(objective.value, fields, networks, dict(still))
        value = expressions.evaluate(objective.value, fields, networks, dict(still))
        return objective.sign * jnp.asarray(value, jnp.float32)

    return of


@attrs.frozen(eq=False)
class _Noise:
    """A generation's noises, one a pair: kept, or drawn again wherever they are needed.

    A convolution's noises are as many numbers as its weights, for each pair: drawing them twice
    takes less than keeping them.
    """

    key: Array
    learned: PyTree
    pairs: int
    is_kept: bool
    kept: PyTree = attrs.field(init=False)

    @kept.default
    def _all(self) -> PyTree:
        return jax.vmap(self._drawn)(jnp.arange(self.pairs)) if self.is_kept else None

    def _drawn(self, pair: Array) -> PyTree:
        return normal(named(self.key, pair), self.learned)

    def of(self, pair: Array) -> PyTree:
        return part(self.kept, pair) if self.is_kept else self._drawn(pair)

    def sum(self, shares: Array) -> PyTree:
        """All noises, each times its share: [pairs] float32."""
        if self.is_kept:
            return jax.tree.map(lambda leaf: jnp.tensordot(shares, leaf, 1), self.kept)
        none = jax.tree.map(jnp.zeros_like, self.learned)
        total: PyTree = jax.lax.fori_loop(
            0, self.pairs, lambda pair, sum_: _moved(sum_, shares[pair], self._drawn(pair)), none
        )
        return total


def _moved(weights: PyTree, length: float | Array, direction: PyTree) -> PyTree:
    return jax.tree.map(lambda w, d: w + length * d, weights, direction)
