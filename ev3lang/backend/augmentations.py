"""Augmentations: examples changed at random while exploring, a whole batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array

from ev3lang.backend.keys import named
from ev3lang.plan.plan import Augmented


def augmented(plan: Augmented, key: Array, x: Array) -> Array:
    """A batch of a field behind all of its operations but mixup, in the order of the spec.

    key       [] of `jax.random.key`; an operation draws by its name and place
    x         [B, *dimensions] float32
    returns   the same shape and dtype
    """
    for place, operation in enumerate(plan.operations):
        if operation.name in TABLE:
            draw = named(key, operation.name, jnp.int32(place))
            x = TABLE[operation.name](draw, x, **dict(operation.options))
    return x


def shift(key: Array, x: Array, *, most: int) -> Array:
    """Images moved by up to `most` pixels along each axis, zeros around them: [B, H, W, C]."""
    return random_crop(key, x, padding=most)


def random_crop(key: Array, x: Array, *, padding: int) -> Array:
    """A window of each image's own size, from the image with zeros around it: [B, H, W, C].

    Rows are gathered, then columns, of all images at once.
    Source: Krizhevsky, Sutskever and Hinton (2012), NIPS 25.
    """
    batch, height, width, _ = x.shape
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(x, around)
    offsets = jax.random.randint(key, (2, batch), 0, 2 * padding + 1)
    rows = offsets[0][:, None] + jnp.arange(height)
    columns = offsets[1][:, None] + jnp.arange(width)
    found = jnp.take_along_axis(padded, rows[:, :, None, None], axis=1, mode="promise_in_bounds")
    return jnp.take_along_axis(found, columns[:, None, :, None], axis=2, mode="promise_in_bounds")


def flip_horizontal(key: Array, x: Array) -> Array:
    """Left and right changed in about half of the images: [B, H, W, C]."""
    is_flipped = jax.random.bernoulli(key, shape=(x.shape[0], 1, 1, 1))
    return jnp.where(is_flipped, jnp.flip(x, 2), x)


def gaussian_noise(key: Array, x: Array, *, scale: float) -> Array:
    """Normal noise of standard deviation `scale` on every number."""
    return x + scale * jax.random.normal(key, x.shape, x.dtype)


def cutout(key: Array, x: Array, *, size: int) -> Array:
    """Zeros in a square of each image, whose centre may lie anywhere in it: [B, H, W, C].

    Source: DeVries and Taylor (2017), arXiv:1708.04552, section 3.2.
    """
    batch, height, width, _ = x.shape
    for_row, for_column = jax.random.split(key)
    top = jax.random.randint(for_row, (batch, 1), 0, height) - size // 2
    left = jax.random.randint(for_column, (batch, 1), 0, width) - size // 2
    rows, columns = jnp.arange(height), jnp.arange(width)
    in_rows = (rows >= top) & (rows < top + size)
    in_columns = (columns >= left) & (columns < left + size)
    is_cut = in_rows[:, :, None] & in_columns[:, None, :]
    return jnp.where(is_cut[..., None], 0, x)


WEIGHT, PARTNER = "mixup weight", "mixup"
"""What a mixed batch holds beside its fields: each example's weight, and `mixup label` of its
partner for every field that is not mixed itself."""


def mixed(plan: Augmented, key: Array, fields: Mapping[str, Array]) -> dict[str, Array]:
    """The fields with one of them mixed: each example with another of the batch.

    returns   the field as w x + (1 - w) x', and beside it w, [B] float32 of Beta(alpha, alpha),
              and all other fields of the partners
    A loss is then w times that of the own labels plus 1 - w times that of the partner's: for cross
    entropy the same as of mixed labels. Source: Zhang et al. (2018), arXiv:1710.09412, equation 1.
    """
    options = [dict(each.options) for each in plan.operations if each.name == "mixup"]
    if not options:
        return dict(fields)
    alpha = options[0]["alpha"]
    assert isinstance(alpha, int | float)
    x = fields[plan.field]
    for_weight, for_partner = jax.random.split(named(key, "mixup"))
    weight = jax.random.beta(for_weight, alpha, alpha, (x.shape[0],))
    partner = jax.random.permutation(for_partner, x.shape[0])
    wide = weight.reshape(-1, *(1 for _ in x.shape[1:]))
    found = {f"{PARTNER} {name}": field[partner] for name, field in fields.items()}
    del found[f"{PARTNER} {plan.field}"]
    mean = wide * x + (1 - wide) * x[partner]
    return {**fields, **found, plan.field: mean, WEIGHT: weight}


TABLE: Mapping[str, Callable[..., Array]] = {
    "random_crop": random_crop,
    "flip_horizontal": flip_horizontal,
    "shift": shift,
    "gaussian_noise": gaussian_noise,
    "cutout": cutout,
}
"""Every augmentation that changes one example by itself."""
