"""What frozen models make of the explore split: computed once, then read like a field."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend import expressions, streams
from ev3lang.backend.explore import networks
from ev3lang.backend.state import Params
from ev3lang.backend.streams import Data, Fields
from ev3lang.plan.plan import (
    Apply,
    Expr,
    Field,
    Forward,
    FusedPlan,
    Plan,
    Weights,
    fields_of,
    holding,
    models_of,
    rewritten,
    subexpressions,
)
from ev3lang.plan.simplify import stable

Array: TypeAlias = jax.Array
Outputs: TypeAlias = Mapping[Forward, Field]
"""Applications of frozen models, each with the column that holds its outputs."""

MOST_BYTES = 2**30
"""What all columns may take on the device; what is beyond is computed anew for every batch."""

CHUNK = 1024
"""Examples that a model is applied to at a time."""


def outputs(plan: Plan, given: Mapping[str, Params], data: Data) -> Outputs:
    """The largest applications of frozen models in losses that are the same whenever drawn.

    Those of models whose weights are given, over fields of finite data that nothing augments and
    every example knows.
    """
    if plan.data.is_endless:
        return {}
    frozen = frozenset(
        model.name for model in plan.models if not model.is_explored and model.name in given
    )
    moving = frozenset(
        [each.field for each in plan.data.augmented] + [each.field for each in plan.data.known]
    )
    found: dict[Forward, Field] = {}
    count = len(next(iter(data.splits["explore"].values())))
    left = MOST_BYTES
    for loss in plan.losses:
        for each in _applications(stable(loss), frozen, moving):
            size_bytes = 4 * count * math.prod(map(int, each.type.dimensions))
            if each not in found and size_bytes <= left:
                left -= size_bytes
                found[each] = Field(f"outputs of {each.model} {len(found)}", each.type)
    return found


def _applications(expr: Expr, frozen: frozenset[str], moving: frozenset[str]) -> Iterator[Forward]:
    def is_moved(part: Expr) -> bool:
        is_other = isinstance(part, (Forward, Weights)) and part.model not in frozen
        return is_other or (isinstance(part, Field) and part.name in moving)

    moved = holding(expr, wanted=is_moved)
    reading = holding(expr, wanted=lambda part: isinstance(part, Field))

    def is_ready(part: Expr) -> bool:
        return isinstance(part, Forward) and part in reading and part not in moved

    def inside(part: Expr) -> tuple[Expr, ...]:
        return part.inputs if isinstance(part, (Apply, Forward)) and not is_ready(part) else ()

    for part in subexpressions(expr, inside=inside):
        if isinstance(part, Forward) and is_ready(part):
            yield part


@attrs.define(eq=False)
class Columns:
    """Outputs of frozen models over the explore split, computed once for all stages of a run."""

    _known: dict[Forward, tuple[tuple[Params, ...], Array]] = attrs.field(factory=dict)
    _functions: dict[Forward, Callable[..., Array]] = attrs.field(factory=dict)

    def of(self, plan: Plan, found: Outputs, given: Mapping[str, Params], data: Data) -> Fields:
        """Each application's outputs, under the name of its column.

        returns   [B, *type.dimensions] float32 each, on the device; what the same weights have
                  given before isn't computed again
        """
        return {field.name: self._column(plan, expr, given, data) for expr, field in found.items()}

    def _column(self, plan: Plan, expr: Forward, given: Mapping[str, Params], data: Data) -> Array:
        used = {name: given[name] for name in models_of(expr)}
        weights = tuple(used.values())
        before = self._known.get(expr)
        if before is not None and all(map(operator.is_, before[0], weights)):
            return before[1]
        if expr not in self._functions:
            self._functions[expr] = jax.jit(_application(plan, expr, data))
        split = {name: data.splits["explore"][name] for name in fields_of(expr)}
        count = len(next(iter(split.values())))
        chunks = [
            self._functions[expr](
                used, {name: each[at : at + CHUNK] for name, each in split.items()}
            )
            for at in range(0, count, CHUNK)
        ]
        column = jnp.concatenate(chunks)
        self._known[expr] = weights, column
        return column


def _application(
    plan: Plan, expr: Forward, data: Data
) -> Callable[[Mapping[str, Params], Fields], Array]:
    """The outputs `[B, ...]` for some weights, of examples as they are stored."""

    def applied(params: Mapping[str, Params], fields: Fields) -> Array:
        fields = streams.prepared(plan.data, fields, data.scales)
        outputs: Array = expressions.evaluate(expr, fields, networks(plan, dict(params)))
        return outputs

    return applied


def reading(fused: FusedPlan, found: Outputs) -> FusedPlan:
    """The plan with its candidates reading the columns instead of applying the models."""
    if not found:
        return fused
    plan = fused.plan
    return attrs.evolve(
        fused,
        plan=attrs.evolve(
            plan,
            descents=tuple(
                attrs.evolve(each, loss=with_columns(each.loss, found)) for each in plan.descents
            ),
        ),
    )


def with_columns(expr: Expr, found: Outputs) -> Expr:
    """The expression with every application that has a column replaced by it."""
    return rewritten(
        expr, lambda old, new: found.get(old, new) if isinstance(old, Forward) else new
    )
