"""Expressions of a plan as arrays: each distinct one is computed once, however often it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import attrs
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from ev3lang.backend import arithmetic, externs, losses, metrics, models, scores
from ev3lang.backend.elders import OneOf
from ev3lang.backend.keys import named
from ev3lang.catalog.index import FUNCTIONS
from ev3lang.catalog.signature import Type
from ev3lang.check.folding import can_fold, fold
from ev3lang.plan.plan import (
    Apply,
    Constant,
    Expr,
    Extern,
    Field,
    Forward,
    Mean,
    ModelPlan,
    Weights,
    holding,
    inner_first,
    parts_of,
    subexpressions,
    uses,
)
from ev3lang.plan.work import rows_at_once

Array: TypeAlias = jax.Array
PyTree: TypeAlias = Any
Memo: TypeAlias = dict[Expr, Any]

TABLE = {**arithmetic.TABLE, **losses.TABLE, **metrics.TABLE, **scores.TABLE}
"""Every function of expressions by its catalogue name."""


@attrs.frozen(eq=False)
class Networks:
    """The models that an expression may use, with the weights to use them with.

    dropout_key   None while nothing is dropped; models in `still` never drop anything
    dtype         what models compute in
    externs       the functions of the user's, under the names that calls have for them
    moved         in training, the running statistics of each trained model as they stand behind
                  its last application; None otherwise
    elders        further architectures of the explored models; weights that are `OneOf` them
                  may be measured, and not trained
    """

    plans: Mapping[str, ModelPlan]
    params: Mapping[str, PyTree]
    dropout_key: Array | None = None
    still: frozenset[str] = frozenset()
    dtype: DTypeLike = jnp.float32
    externs: Mapping[str, Extern] = MappingProxyType({})
    moved: dict[str, PyTree] | None = None
    elders: tuple[Mapping[str, ModelPlan], ...] = ()

    def holding(self, params: Mapping[str, PyTree] | OneOf) -> Networks:
        """The same models, some with these weights instead."""
        if isinstance(params, OneOf):
            params = {name: params.of(name) for name in params.params[0]}
        return attrs.evolve(self, params={**self.params, **params})

    def dropping(self, key: Array | None) -> Networks:
        """The same models, dropping what this key says."""
        return attrs.evolve(self, dropout_key=key)

    def in_secret(self) -> Networks:
        """The same models on examples of which the run tells nothing."""
        secret = {name: externs.in_secret(each) for name, each in self.externs.items()}
        return attrs.evolve(self, externs=secret)

    def training(self) -> Networks:
        """The same models in one step of training, with nothing moved so far."""
        return attrs.evolve(self, moved={})

    def apply(self, name: str, inputs: Array) -> Array:
        """The model's outputs `[B, *output]` for `[B, *input]`."""
        key = None
        if self.dropout_key is not None and name not in self.still:
            key = named(self.dropout_key, name)
        params = self.params[name]
        if isinstance(params, OneOf):
            return self._of_one(name, params, lambda network: network.apply(name, inputs))
        plan = self.plans[name]
        if self.moved is None or name in self.still:
            apply = partial(models.apply, plan, params, dropout_key=key, dtype=self.dtype)
            # what is dropped belongs to a batch's place, and a user's module may look at all of it
            if key is not None or plan.module is not None:
                return apply(inputs)
            return _in_pieces(apply, inputs, rows_at_once(plan))
        if name in self.moved:
            params = models.joined(models.parted(params)[0], self.moved[name])
        outputs, self.moved[name] = models.train(
            plan, params, inputs, dropout_key=key, dtype=self.dtype
        )
        return outputs

    def fact(self, function: str, name: str) -> Any:
        """What a function of a model itself says: its size, or the size of its weights."""
        params = self.params[name]
        if isinstance(params, OneOf):
            return self._of_one(
                name,
                params,
                lambda network: jnp.asarray(network.fact(function, name), jnp.float32),
            )
        return models.TABLE[function](self.plans[name], params)

    def _of_one(self, name: str, params: OneOf, function: Callable[[Networks], Array]) -> Array:
        """The function's value for the architecture that the weights have."""
        architectures = (self.plans, *self.elders)
        branches = [
            partial(
                function,
                attrs.evolve(
                    self,
                    plans={**self.plans, name: plans[name]},
                    params={**self.params, name: each},
                ),
            )
            for plans, each in zip(architectures, params.params, strict=True)
        ]
        found: Array = jax.lax.switch(params.place, branches)
        return found


def _in_pieces(apply: Callable[[Array], Array], inputs: Array, rows: int) -> Array:
    """A model's outputs `[B, …]`, of so many examples at a time where there are more.

    Without batch statistics no example looks at another: the outputs are those of one piece.
    """
    whole = len(inputs) // rows
    if len(inputs) <= rows:
        return apply(inputs)
    pieces = inputs[: whole * rows].reshape(whole, rows, *inputs.shape[1:])
    outputs = jax.lax.map(apply, pieces)
    outputs = outputs.reshape(whole * rows, *outputs.shape[2:])
    rest = inputs[whole * rows :]
    return jnp.concatenate([outputs, apply(rest)]) if len(rest) else outputs


NO_NETWORKS = Networks({}, {})


def evaluate(
    expr: Expr,
    fields: Mapping[str, Array],
    networks: Networks = NO_NETWORKS,
    memo: Memo | None = None,
) -> Any:
    """The value of an expression over a batch: `[B, *type.dimensions]`, or `[]` above examples.

    A constant is Python's own number, so that it takes the dtype of what it meets.

    fields     each field that it reads, `[B, *dimensions]`
    networks   the models that it uses
    memo       values known for these fields and networks; what is computed here is added, so that
               expressions evaluated with one memo share what they have in common
    """
    memo = {} if memo is None else memo
    for part in inner_first(expr, known=memo):
        if not isinstance(part, Weights):
            memo[part] = _computed(part, fields, networks, memo)
    return memo[expr]


def _computed(expr: Expr, fields: Mapping[str, Array], networks: Networks, memo: Memo) -> Any:
    """The value of an expression from the values of what it is made of."""
    match expr:
        case Constant():
            return expr.value
        case Field():
            return fields[expr.name]
        case Forward():
            parts, types = [memo[each] for each in expr.inputs], [each.type for each in expr.inputs]
            return networks.apply(expr.model, joined(parts, types, networks.plans[expr.model]))
        case Mean():
            return mean(memo[expr.value])
        case Apply(function=function, inputs=(Weights(model=model),)):
            return networks.fact(function, model)
        case Apply() if expr.function in networks.externs:
            parts = [memo[each] for each in expr.inputs]
            return externs.call(networks.externs[expr.function], expr, parts)
        case Apply():
            parts = [memo[each] for each in expr.inputs]
            value = _folded(expr, parts)
            return TABLE[expr.function](*parts, **keywords(expr)) if value is None else value
        case Weights():
            raise AssertionError("weights are read by the function that is applied to them")


def _folded(expr: Apply, parts: list[Any]) -> int | float | None:
    """The value of an operation on numbers of Python's, such as the sizes of models.

    They have no end, and an array's int32 has one. None where there is no such value.
    """
    options = [value for _, value in expr.options]
    numbers = tuple(each for each in (*parts, *options) if isinstance(each, (int, float)))
    if not can_fold(expr.function) or len(numbers) < len(parts) + len(options):
        return None
    value = fold(expr.function, numbers)
    return None if isinstance(value, str) else value


def joined(parts: Sequence[Array], types: Sequence[Type], plan: ModelPlan) -> Array:
    """A model's inputs as the one that it is applied to, [B, *plan.input].

    parts   [B, *dimensions] each, of these types
    """
    wide = [_numbers(part, type_) for part, type_ in zip(parts, types, strict=True)]
    return _join(wide, plan)


def _numbers(part: Array, type_: Type) -> Array:
    """An input as numbers: a category as one for each that there is, 1 for the one it is."""
    if type_.kind in ("class", "text"):
        (count,) = type_.dimensions
        return jax.nn.one_hot(part, int(count), dtype=jnp.float32)
    return part


def _join(parts: list[Array], plan: ModelPlan) -> Array:
    """Inputs side by side along the last axis; scalars count as one number wide."""
    if len(parts) == 1:
        return parts[0]
    wide = [part if part.ndim > 1 else part[:, None] for part in parts]
    joined = jnp.concatenate([part.astype(jnp.float32) for part in wide], axis=-1)
    assert joined.shape[1:] == plan.input, f"{plan.name} takes {plan.input}, not {joined.shape[1:]}"
    return joined


def keywords(expr: Apply) -> dict[str, Any]:
    """The options of a function, and what its entry says it is told of its inputs."""
    found: dict[str, Any] = {name: _number(value) for name, value in expr.options}
    function = FUNCTIONS.get(expr.function)
    for fact in function.told if function is not None else ():
        if fact == "kinds":
            found["kinds"] = tuple(part.type.kind for part in expr.inputs)
        elif fact == "classes":
            found["classes"] = expr.inputs[0].type.dimensions[-1]
        else:
            found["groups"] = expr.inputs[-1].type.dimensions[-1]
    return found


def _number(value: Any) -> Any:
    """An option's value; a real where it is a whole number that int32 can't hold."""
    is_beyond = isinstance(value, int) and not -(2**31) <= value < 2**31
    return float(value) if is_beyond else value


def mean(value: Array) -> Array:
    """The mean over examples as a float32 scalar; a bool counts as 0 or 1."""
    return jnp.mean(jnp.asarray(value, jnp.float32))


def applications(exprs: Iterable[Expr], models: Iterable[str]) -> tuple[Forward, ...]:
    """The distinct applications of the named models in expressions, in order of appearance."""
    names = frozenset(models)
    parts = subexpressions(*exprs)
    return tuple(each for each in parts if isinstance(each, Forward) and each.model in names)


def independent_parts(expr: Expr, models: frozenset[str]) -> Iterator[Expr]:
    """The largest parts of an expression that use none of the named models."""
    moving = holding(expr, wanted=uses(models))
    parts = subexpressions(expr, inside=lambda part: parts_of(part) if part in moving else ())
    return (part for part in parts if part not in moving)
