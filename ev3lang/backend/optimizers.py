"""Optimizer chains: each link and schedule is optax's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax.typing import ArrayLike

from ev3lang.catalog.index import OPTIMIZERS
from ev3lang.catalog.optimizers import DECAYS
from ev3lang.plan.plan import Link, OptimizerPlan

Multipliers = Mapping[str, ArrayLike]
"""What options of a chain's links are multiplied by, under their names: [] float32 each."""

NONE: Multipliers = MappingProxyType({})


def build(
    optimizer: OptimizerPlan, multipliers: Multipliers = NONE
) -> optax.GradientTransformation:
    """The chain as one optax transformation: `init(params)`, `update(grads, state, params)`.

    multipliers   of options that every link which has them is built with; its state is the same
                  whatever they are, so that a state of one choice goes on with another
    An average of weights is no part of it: roll-outs keep that.
    """
    links = [
        _build_link(link, optimizer.decays, multipliers)
        for link in optimizer.links
        if link.name != AVERAGE
    ]
    return links[0] if len(links) == 1 else optax.chain(*links)


AVERAGE = "params_ema"


def average_decay(optimizer: OptimizerPlan) -> float | None:
    """What an average of weights keeps of itself each step; None where there is no average."""
    for link in optimizer.links:
        if link.name == AVERAGE:
            decay = dict(link.options)["decay"]
            assert isinstance(decay, int | float)
            return float(decay)
    return None


def _build_link(
    link: Link, decays: Literal["all", "matrices"] = "all", multipliers: Multipliers = NONE
) -> Any:
    """A transformation or, for the name of a schedule, a function from step count to value."""
    options = {
        name: _build_link(value) if isinstance(value, Link) else value
        for name, value in link.options
    }
    # A link that decays nothing needs no mask, and may have none.
    is_masked = decays == "matrices" and any(map(options.get, DECAYS))
    for name, multiplier in multipliers.items():
        if options.get(name) is not None:
            options[name] = _multiplied(link.name, name, options[name], multiplier)
    if is_masked:
        options[_mask_of(link.name)] = are_matrices
    return twin(link.name)(**options)


def _multiplied(link: str, name: str, value: Any, multiplier: ArrayLike) -> Any:
    """An option times a number, or its schedule at every step; at most what the option may be."""
    (most,) = (option.high for option in OPTIMIZERS[link].options if option.name == name)

    def product(number: ArrayLike) -> jax.Array:
        changed = jnp.asarray(multiplier, jnp.float32) * number
        return changed if most is None else jnp.minimum(changed, most)

    if callable(value):
        return lambda count: product(value(count))
    return product(value)


def _mask_of(name: str) -> str:
    """What a link calls the choice of arrays that its weight decay reaches."""
    known = inspect.signature(twin(name)).parameters
    found = [each for each in ("weight_decay_mask", "mask") if each in known]
    assert found, f"{name} decays all weights; the checker refuses to cut it down"
    return found[0]


NO_MATRICES = frozenset(
    ("b", "beta", "bias", "biases", "gain", "gains", "gamma", "negative_slope", "scale", "scales")
)
"""Names of what is added to values or scales them, whatever its axes: no map between features."""


def are_matrices(params: Any) -> Any:
    """True for what maps features, as kernels, embeddings and factors of LoRA do; else False.

    An array is no matrix where it has fewer than two axes, or where its name says that it is a
    bias or a scale: `bias`, `scale` and the like, by themselves or as in `query_bias`. Its axes
    alone don't tell: the biases of flax's attention have two, [heads, depth], and those of
    stacked layers one more than each of them.
    """
    return jax.tree_util.tree_map_with_path(_is_matrix, params)


def _is_matrix(path: tuple[Any, ...], leaf: jax.Array) -> bool:
    keys = (getattr(key, "key", getattr(key, "name", None)) for key in reversed(path))
    name = next((key.lower() for key in keys if isinstance(key, str)), "")
    words = name.split("_")
    is_spared = name in NO_MATRICES or not _ADDED.isdisjoint((words[0], words[-1]))
    return leaf.ndim > 1 and not is_spared


_ADDED = frozenset(("bias", "scale"))
"""The first or last word of a name of several."""


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


def muon(*, weight_decay_mask: Any = None, **options: Any) -> optax.GradientTransformation:
    """`optax.contrib.muon`, whose orthogonal steps are for arrays of two axes that are matrices.

    By itself it takes every array of two axes for a matrix, attention's biases too.
    """

    def dimensions(params: Any) -> Any:
        return jax.tree.map(
            lambda leaf, is_matrix: _PLAIN_MATRIX if is_matrix and leaf.ndim == 2 else None,
            params,
            are_matrices(params),
        )

    return optax.contrib.muon(
        **options, weight_decay_mask=weight_decay_mask, muon_weight_dimension_numbers=dimensions
    )


_PLAIN_MATRIX = optax.contrib.MuonDimensionNumbers()


TABLE: Mapping[str, Callable[..., Any]] = {
    "cosine": cosine,
    "muon": muon,
    "warmup": warmup,
    "warmup_cosine": warmup_cosine,
    "scale_by_schedule": scale_by_schedule,
}
"""Links that are not called as they stand in optax."""
