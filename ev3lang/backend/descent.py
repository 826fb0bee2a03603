"""A loss over a batch: the mean over its examples, or over those that know a field."""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from ev3lang.backend import expressions
from ev3lang.backend.augmentations import PARTNER, WEIGHT
from ev3lang.backend.expressions import Memo, Networks
from ev3lang.plan.plan import (
    Apply,
    Expr,
    Forward,
    fields_of,
    holding,
    inner_first,
    reads,
)

Array = jax.Array
Fields = dict[str, Array]

KNOWN = "known"


def mean_loss(loss: Expr, fields: Fields, networks: Networks, memo: Memo) -> Array:
    """A loss averaged over a batch, [] float32.

    A term that reads a field which only some examples know is averaged over those; where none
    does it is 0. Of a mixed batch it is the loss of the own labels and of the partners', weighted.
    """
    if WEIGHT not in fields:
        return _mean(loss, fields, networks, memo, None)
    weight = fields[WEIGHT]
    own = _mean(loss, fields, networks, memo, weight)
    mixes = {name.removeprefix(f"{PARTNER} ") for name in fields if name.startswith(f"{PARTNER} ")}
    partners = {
        name: fields[f"{PARTNER} {name}"] if name in mixes else field
        for name, field in fields.items()
    }
    # What a model makes of the mixed field alone is the same for both.
    same: Memo = {
        expr: value
        for expr, value in memo.items()
        if isinstance(expr, Forward) and mixes.isdisjoint(fields_of(expr))
    }
    return own + _mean(loss, partners, networks, same, 1 - weight)


def _mean(
    expr: Expr, fields: Fields, networks: Networks, memo: Memo, weight: Array | None
) -> Array:
    """The weighted mean of an expression, its terms each over the examples that know it."""
    partial = holding(expr, wanted=reads(partial_fields(expr, fields)))

    def terms(part: Expr) -> tuple[Expr, ...]:
        return _averaged_in(part) if part in partial else ()

    means: dict[Expr, Array] = {}
    for part in inner_first(expr, inside=terms):
        if not terms(part):
            means[part] = _mean_of_term(part, fields, networks, memo, weight)
            continue
        assert isinstance(part, Apply), "only an operator's operands are averaged by themselves"
        inputs = [
            means[each]
            if each in terms(part)
            else expressions.evaluate(each, fields, networks, memo)
            for each in part.inputs
        ]
        match part.function, inputs:
            case "+", [first, second]:
                means[part] = first + second
            case "-", [first, second]:
                means[part] = first - second
            case "*", [first, second]:
                means[part] = first * second
            case "/", [first, second]:
                means[part] = first / second
            case _, [only]:
                means[part] = -only
    return means[expr]


def _averaged_in(expr: Expr) -> tuple[Expr, ...]:
    """What of a sum, or of a product with what no example has a part in, is averaged by itself."""
    if not isinstance(expr, Apply):
        return ()
    match expr.function, expr.inputs:
        case (("+" | "-" | "negate"), parts):
            return parts
        case "*", (factor, part) if factor.level != "example":
            return (part,)
        case (("*" | "/"), (part, factor)) if factor.level != "example":
            return (part,)
    return ()


def _mean_of_term(
    expr: Expr, fields: Fields, networks: Networks, memo: Memo, weight: Array | None
) -> Array:
    partial = partial_fields(expr, fields)
    value = expressions.evaluate(expr, fields, networks, memo)
    if not partial:
        # What is the same for all examples is shared between own and partner too.
        weighed = value if weight is None else weight * jnp.asarray(value, jnp.float32)
        return expressions.mean(weighed)
    knows = jnp.stack([fields[f"{name} {KNOWN}"] for name in partial]).all(0)
    counted = knows.astype(jnp.float32)
    # Not a product: what is unknown may be anything, infinite too.
    values_known = jnp.where(knows, jnp.asarray(value, jnp.float32), 0)
    if weight is not None:
        values_known = weight * values_known
    return jnp.sum(values_known) / jnp.maximum(jnp.sum(counted), 1)


def partial_fields(expr: Expr, fields: Iterable[str]) -> tuple[str, ...]:
    """The fields of an expression that only some examples know."""
    return tuple(name for name in fields_of(expr) if f"{name} {KNOWN}" in fields)
