"""Optimizer chains: each link and schedule is optax's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import optax
from jax.typing import ArrayLike

from ev3lang.plan.plan import Link, OptimizerPlan


def build(optimizer: OptimizerPlan) -> optax.GradientTransformation:
    """The chain as one optax transformation: `init(params)`, `update(grads, state, params)`."""
    links = [_build_link(link) for link in optimizer.links]
    return links[0] if len(links) == 1 else optax.chain(*links)


def _build_link(link: Link) -> Any:
    """A transformation or, for the name of a schedule, a function from step count to value."""
    options = {
        name: _build_link(value) if isinstance(value, Link) else value
        for name, value in link.options
    }
    return TABLE[link.name](**options)


def cosine(
    *, init_value: ArrayLike, over: int, alpha: ArrayLike, exponent: ArrayLike
) -> optax.Schedule:
    """`optax.cosine_decay_schedule`: half a cosine down to alpha times the start."""
    return optax.cosine_decay_schedule(init_value, over, alpha, exponent)


def warmup(*, peak_value: ArrayLike, over: int, init_value: ArrayLike) -> optax.Schedule:
    """`optax.warmup_constant_schedule`: a straight line up to the peak, which then stays."""
    return optax.warmup_constant_schedule(init_value, peak_value, over)


def warmup_cosine(
    *,
    peak_value: ArrayLike,
    warmup_steps: int,
    over: int,
    init_value: ArrayLike,
    end_value: ArrayLike,
    exponent: ArrayLike,
) -> optax.Schedule:
    """`optax.warmup_cosine_decay_schedule`: a straight line up, then half a cosine down."""
    return optax.warmup_cosine_decay_schedule(
        init_value, peak_value, warmup_steps, over, end_value, exponent
    )


TABLE: Mapping[str, Callable[..., Any]] = {
    "sgd": optax.sgd,
    "adam": optax.adam,
    "adamw": optax.adamw,
    "lion": optax.lion,
    "rmsprop": optax.rmsprop,
    "sign_sgd": optax.sign_sgd,
    "clip_by_global_norm": optax.clip_by_global_norm,
    "clip": optax.clip,
    "add_decayed_weights": optax.add_decayed_weights,
    "scale": optax.scale,
    "constant_schedule": optax.constant_schedule,
    "linear_schedule": optax.linear_schedule,
    "polynomial_schedule": optax.polynomial_schedule,
    "exponential_decay": optax.exponential_decay,
    "cosine_decay_schedule": optax.cosine_decay_schedule,
    "warmup_constant_schedule": optax.warmup_constant_schedule,
    "warmup_cosine_decay_schedule": optax.warmup_cosine_decay_schedule,
    "cosine": cosine,
    "warmup": warmup,
    "warmup_cosine": warmup_cosine,
}
