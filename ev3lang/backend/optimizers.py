"""Optimizer chains: each link and schedule is optax's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import optax
import optax.contrib
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
    return twin(link.name)(**options)


def twin(name: str) -> Callable[..., Any]:
    """What makes a link: ours, or the function of that name in optax or `optax.contrib`.

    Raises ValueError where the installed optax is of another release and has none.
    """
    found = TABLE.get(name) or getattr(optax, name, None) or getattr(optax.contrib, name, None)
    if found is None:
        raise ValueError(f"optax {optax.__version__} has no {name}; another release has it")
    return found


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


def scale_by_schedule(*, step_size_fn: ArrayLike | optax.Schedule) -> optax.GradientTransformation:
    """`optax.scale_by_schedule`, for a number too, as every schedule of a spec may be one."""
    if callable(step_size_fn):
        return optax.scale_by_schedule(step_size_fn)
    return optax.scale_by_schedule(optax.constant_schedule(step_size_fn))


TABLE: Mapping[str, Callable[..., Any]] = {
    "cosine": cosine,
    "warmup": warmup,
    "warmup_cosine": warmup_cosine,
    "scale_by_schedule": scale_by_schedule,
}
"""Links that are not called as they stand in optax."""
