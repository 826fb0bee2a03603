"""A plan: everything a run computes, with all names resolved and all defaults filled in.

It is a value without behaviour, and the same for one meaning: two specs that differ in layout
alone give equal plans. The backend turns it into a program; the oracle in tests/ interprets it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import attrs

from ev3lang.catalog.signature import Level, Type, Value

Comparison: TypeAlias = Literal["<", "<=", ">", ">=", "==", "!="]

Options: TypeAlias = tuple[tuple[str, "Value | Link | Layers | None"], ...]
"""Every option of a built-in by name, in the catalogue's order, defaults filled in."""


# ---------------------------------------------------------------- expressions


@attrs.frozen
class Constant:
    """A number, known now. Ratios are fractions: `95%` is 0.95, `1 pp` is 0.01."""

    value: int | float
    type: Type
    level: Level = "constant"


@attrs.frozen
class Field:
    """A field of the data, after derivation and normalisation: `[B, *type.dimensions]`."""

    name: str
    type: Type
    level: Level = "example"


@attrs.frozen
class Forward:
    """A model applied to its inputs, which are joined along the last axis where several."""

    model: str
    inputs: tuple[Expr, ...]
    type: Type
    level: Level = "example"


@attrs.frozen
class Weights:
    """A model itself, as `parameters(m)` takes it."""

    model: str
    type: Type = Type("real")
    level: Level = "model"


@attrs.frozen
class Apply:
    """A function or operator of the catalogue applied.

    function   a name in the catalogue; operators under their signs: `+ - * / ^ mod == != < <= >
               >= in and or not`, and `negate` for the sign
    """

    function: str
    inputs: tuple[Expr, ...]
    type: Type
    level: Level
    options: Options = ()


Expr: TypeAlias = Constant | Field | Forward | Weights | Apply


def subexpressions(expr: Expr) -> Iterator[Expr]:
    """The expression and all inside it, outer before inner."""
    yield expr
    if isinstance(expr, (Apply, Forward)):
        for part in expr.inputs:
            yield from subexpressions(part)


def fields_of(*exprs: Expr) -> tuple[str, ...]:
    """The names of the fields that the expressions read, sorted."""
    found = {e.name for expr in exprs for e in subexpressions(expr) if isinstance(e, Field)}
    return tuple(sorted(found))


def models_of(*exprs: Expr) -> tuple[str, ...]:
    """The names of the models that the expressions use, sorted."""
    found = set()
    for expr in exprs:
        for e in subexpressions(expr):
            if isinstance(e, (Forward, Weights)):
                found.add(e.model)
    return tuple(sorted(found))


# ---------------------------------------------------------------- data


@attrs.frozen
class Split:
    """Shares of a finite source, in the order explore, assess, adapt, report.

    shares   fractions in [0, 1] that sum to at most 1
    by       the field a stratified draw keeps the proportions of, None for a plain draw
    seed     of the draw, apart from the experiment's
    """

    shares: tuple[float, float, float, float]
    by: str | None
    seed: int


@attrs.frozen
class Derived:
    """A field computed from others, once, when the data are read."""

    name: str
    value: Expr
    type: Type


@attrs.frozen
class Normalized:
    """A field brought to mean 0 and standard deviation 1 by the explore split's statistics.

    mean, std   as the spec gives them, one for each channel, or None: measured
    """

    field: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


@attrs.frozen
class DataPlan:
    """What is read, how it is split, and how batches are drawn.

    split         None for an endless source
    rows          examples of a finite source, where known before reading
    evaluate      batches in one evaluation draw of an endless source; None for a finite one
    """

    name: str
    source: str
    options: Options
    fields: tuple[tuple[str, Type], ...]
    derived: tuple[Derived, ...]
    normalized: tuple[Normalized, ...]
    split: Split | None
    rows: int | None
    batch: int
    evaluate: int | None = None

    @property
    def is_endless(self) -> bool:
        return self.split is None


# ---------------------------------------------------------------- models and optimizers


@attrs.frozen
class LayerPlan:
    """One layer with its example shapes; `options` hold inner pipes as `Layers`."""

    name: str
    options: Options
    input: tuple[int, ...]
    output: tuple[int, ...]


@attrs.frozen
class Layers:
    """Layers one after the other."""

    layers: tuple[LayerPlan, ...]


@attrs.frozen
class ModelPlan:
    """A network: the shape of its joined input, its layers, and what its output means."""

    name: str
    input: tuple[int, ...]
    output: Type
    layers: Layers
    is_explored: bool


@attrs.frozen
class Link:
    """A link of an optimizer's chain, or a schedule as the value of an option."""

    name: str
    options: Options


@attrs.frozen
class OptimizerPlan:
    """A chain of links; `name` is what the report calls it."""

    name: str
    links: tuple[Link, ...]


# ---------------------------------------------------------------- the three phases


@attrs.frozen
class Candidate:
    """A roll-out of gradient steps from the current weights.

    name    unique among candidates, made of what it does, never of its place in the file:
            its random draws depend on it
    loss    averaged over a batch of examples and descended
    keeps_state  whether its optimizer state lasts from one iteration to the next
    """

    name: str
    loss: Expr
    loss_name: str
    optimizer: OptimizerPlan
    steps: int
    batch: int
    keeps_state: bool = True


@attrs.frozen
class ObjectivePlan:
    """What matters: `value` per example (a bool counts as 0 or 1) or of a set, and its direction.

    range   inclusive bounds of one value, where known
    """

    name: str
    value: Expr
    direction: Literal["maximize", "minimize"]
    target: float | None
    range: tuple[float, float] | None

    @property
    def is_binary(self) -> bool:
        """Whether each example is right or wrong, so that counts decide."""
        return self.value.level == "example" and self.value.type.kind == "bool"


@attrs.frozen
class Gate:
    """Rule `gate`: `delta` bounds the chance that the run ever accepts a no better model."""

    objective: str
    delta: float


@attrs.frozen
class Condition:
    """`accuracy >= 0.98`, read off the accepted model on assess."""

    objective: str
    operator: Comparison
    value: float


@attrs.frozen
class StopPlan:
    """When a run ends: at the first of these that comes.

    seconds   read by the host, between segments
    any_of    each inner tuple is met when all its conditions are
    """

    iterations: int | None
    seconds: float | None
    any_of: tuple[tuple[Condition, ...], ...]
    when_targets_met: bool


@attrs.frozen
class Shown:
    """A value of the report."""

    name: str
    value: Expr
    better: Literal["higher", "lower"] | None
    range: tuple[float, float] | None = None


@attrs.frozen
class BaselinePlan:
    """Plain training beside the run: the same start, as many gradient steps.

    is_same_lineage   as many as led to the accepted model, rather than as all candidates took
    """

    name: str
    loss: Expr
    loss_name: str
    optimizer: OptimizerPlan
    is_same_lineage: bool
    batch: int


@attrs.frozen
class Plan:
    """A whole experiment.

    explored   the name of the model or group that is explored
    rank_by    the objective whose mean on assess orders the candidates
    move       when the best candidate becomes current
    objectives every declared one, measured for every candidate each iteration
    """

    name: str
    seed: int
    data: DataPlan
    models: tuple[ModelPlan, ...]
    explored: str
    candidates: tuple[Candidate, ...]
    batches: Literal["shared", "fresh"]
    objectives: tuple[ObjectivePlan, ...]
    rank_by: str
    move: Literal["unless worse", "when better", "always"]
    rule: Gate
    stop: StopPlan
    shown: tuple[Shown, ...]
    baselines: tuple[BaselinePlan, ...]

    def objective(self, name: str) -> ObjectivePlan:
        """The declared objective of that name."""
        return next(objective for objective in self.objectives if objective.name == name)


# ---------------------------------------------------------------- lowering


@attrs.frozen
class RollOuts:
    """Candidates of one roll-out length that are lowered together.

    lowering   `one body`: each step of all of them in one scan body, side by side;
               `vmap`: stacked along a leading axis; `apart`: one scan after the other
    """

    candidates: tuple[int, ...]
    steps: int
    lowering: Literal["one body", "vmap", "apart"]


@attrs.frozen
class FusedPlan:
    """A plan and how its candidates are lowered."""

    plan: Plan
    rollouts: tuple[RollOuts, ...]
