"""Made-up data, drawn inside the program: as many fresh examples as wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array

from ev3lang.catalog.index import SOURCES
from ev3lang.plan.plan import Options


def draw(source: str, key: Array, count: int, options: Options) -> dict[str, Array]:
    """Fresh examples of a source: every field by name, [count, ...].

    options   all of the source's; the one that states a finite count is not read here
    """
    rows_option = SOURCES[source].rows_option
    keywords = {name: value for name, value in options if name != rows_option}
    return TABLE[source](key, count, **keywords)


def two_moons(key: Array, count: int, *, noise: float) -> dict[str, Array]:
    """Two half circles of radius 1 that reach into each other, with normal noise.

    Class 0 lies on the upper half circle around (0, 0), class 1 on the lower one around
    (1, 0.5); places on them are uniform and the classes equally likely.

    noise     standard deviation of what is added to both coordinates
    returns   `point` [count, 2] float32, `label` [count] int32 in {0, 1}
    Source: scikit-learn's make_moons, with random places and classes.
    """
    for_label, for_place, for_noise = jax.random.split(key, 3)
    label = jax.random.bernoulli(for_label, shape=(count,)).astype(jnp.int32)
    angle = jax.random.uniform(for_place, (count,), maxval=math.pi)
    upper = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    lower = jnp.array([1.0, 0.5]) - upper
    point = jnp.where(label[:, None] == 1, lower, upper)
    return {"point": point + noise * jax.random.normal(for_noise, (count, 2)), "label": label}


def gaussian_clusters(
    key: Array, count: int, *, classes: int, distance: float, dimensions: int
) -> dict[str, Array]:
    """Normal clouds of variance 1, one for each of equally likely classes.

    Their centres are equally spaced on a circle in the first two dimensions, neighbours
    `distance` apart. Nothing tells two clouds apart more often than 1 - Phi(-distance / 2).

    returns   `point` [count, dimensions] float32, `label` [count] int32 in [0, classes)
    """
    for_label, for_point = jax.random.split(key)
    label = jax.random.randint(for_label, (count,), 0, classes)
    centers = cluster_centers(classes, distance, dimensions)
    point = centers[label] + jax.random.normal(for_point, (count, dimensions))
    return {"point": point, "label": label}


def cluster_centers(classes: int, distance: float, dimensions: int) -> Array:
    """The centres of `gaussian_clusters`: [classes, dimensions] float32, their mean at 0."""
    radius = distance / (2 * math.sin(math.pi / classes))
    angle = 2 * math.pi * jnp.arange(classes) / classes
    circle = radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    return jnp.pad(circle, ((0, 0), (0, dimensions - 2)))


def teacher_network(
    key: Array,
    count: int,
    *,
    classes: int,
    dimensions: int,
    hidden: int,
    temperature: float,
    seed: int,
) -> dict[str, Array]:
    """Normal points, labelled by a random network of one hidden layer.

    Its weights have variance 1 / inputs, times 9 in the first layer, so that tanh bends; they
    depend on `seed` alone, whatever the key of the draw.

    temperature   labels are drawn from softmax(logits / temperature); 0 takes the highest logit
    returns   `point` [count, dimensions] float32, `label` [count] int32 in [0, classes)
    Source: Gardner and Derrida (1989), J. Phys. A 22:1983-1994, a student that learns a teacher.
    """
    first, second = jax.random.split(jax.random.key(seed))
    inner = 3 * jax.random.normal(first, (dimensions, hidden)) / math.sqrt(dimensions)
    outer = jax.random.normal(second, (hidden, classes)) / math.sqrt(hidden)
    for_point, for_label = jax.random.split(key)
    point = jax.random.normal(for_point, (count, dimensions))
    logits = jnp.tanh(point @ inner) @ outer
    if temperature == 0:
        label = jnp.argmax(logits, axis=-1)
    else:
        label = jax.random.categorical(for_label, logits / temperature)
    return {"point": point, "label": label.astype(jnp.int32)}


TABLE: Mapping[str, Callable[..., dict[str, Array]]] = {
    "two_moons": two_moons,
    "gaussian_clusters": gaussian_clusters,
    "teacher_network": teacher_network,
}
