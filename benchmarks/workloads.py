"""What is timed: two experiments as plans, with their data."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from ev3lang.catalog.signature import Type
from ev3lang.plan.plan import (
    Apply,
    Candidate,
    DataPlan,
    Expr,
    Field,
    Forward,
    Gate,
    LayerPlan,
    Layers,
    Link,
    ModelPlan,
    ObjectivePlan,
    OptimizerPlan,
    Plan,
    Split,
    StopPlan,
)
from ev3lang.runtime import data as runtime_data

Tables = dict[str, dict[str, np.ndarray]]

STEPS = 100
NEVER = 1_000_000_000


@attrs.frozen
class Workload:
    """A plan to run, its tables (empty where data are endless), and what it stands for."""

    name: str
    plan: Plan
    tables: Tables
    about: str


def a() -> Workload:
    """A tiny net on endless data: what an iteration costs when arithmetic costs nothing."""
    point, label = Field("point", Type("f32", (2,))), Field("label", Type("class", (2,)))
    data = DataPlan(
        name="moons",
        source="two_moons",
        options=(("noise", 0.3), ("n", None)),
        fields=((point.name, point.type), (label.name, label.type)),
        derived=(),
        normalized=(),
        split=None,
        rows=None,
        batch=32,
        evaluate=8,
    )
    logits = Forward("net", (point,), Type("logits", (2,)))
    model = _mlp((2,), (8, 8), logits.type)
    optimizers = (_sgd(0.1, None), _sgd(0.01, 0.95))
    plan = _plan("A", data, model, logits, label, optimizers)
    return Workload("A", plan, {}, "two_moons, mlp [8, 8], batch 32, 4 candidates of 100 steps")


def b() -> Workload:
    """A net that keeps two cores busy, on scikit-learn's digits in the default split."""
    image, label = Field("image", Type("f32", (8, 8, 1))), Field("label", Type("class", (10,)))
    data = DataPlan(
        name="digits",
        source="sklearn.digits",
        options=(),
        fields=((image.name, image.type), (label.name, label.type)),
        derived=(),
        normalized=(),
        split=Split((0.6, 0.15, 0.15, 0.1), "label", 0),
        rows=1797,
        batch=128,
    )
    logits = Forward("net", (image,), Type("logits", (10,)))
    model = _mlp((8, 8, 1), (128, 128), logits.type)
    optimizers = (_adamw(1e-3), _sgd(0.01, 0.9))
    plan = _plan("B", data, model, logits, label, optimizers)
    about = "digits, mlp [128, 128], batch 128, 4 candidates of 100 steps, default split"
    return Workload("B", plan, runtime_data.read(data), about)


WORKLOADS = {"A": a, "B": b}


def _plan(
    name: str,
    data: DataPlan,
    model: ModelPlan,
    logits: Forward,
    label: Field,
    optimizers: tuple[OptimizerPlan, ...],
) -> Plan:
    """Two losses by two optimizers, ranked by accuracy."""
    predicted = Apply("argmax", (logits,), label.type, "example")
    accuracy = Apply("==", (predicted, label), Type("bool"), "example")
    losses = {
        "entropy": _loss("cross_entropy", logits, label, label_smoothing=0.0),
        "smooth": _loss("cross_entropy", logits, label, label_smoothing=0.1),
    }
    return Plan(
        name=name,
        seed=0,
        data=data,
        models=(model,),
        explored=model.name,
        candidates=tuple(
            Candidate(f"{loss} with {each.name}", expr, loss, each, STEPS, data.batch)
            for loss, expr in losses.items()
            for each in optimizers
        ),
        batches="shared",
        objectives=(ObjectivePlan("accuracy", accuracy, "maximize", None, (0.0, 1.0)),),
        rank_by="accuracy",
        move="unless worse",
        rule=Gate("accuracy", 0.05),
        stop=StopPlan(NEVER, None, (), False),
        shown=(),
        baselines=(),
    )


def _loss(function: str, logits: Expr, label: Expr, **options: Any) -> Apply:
    return Apply(function, (logits, label), Type("real"), "example", tuple(options.items()))


def _mlp(input: tuple[int, ...], hidden: tuple[int, ...], output: Type) -> ModelPlan:
    (width,) = output.dimensions
    assert isinstance(width, int)
    options = (("hidden", hidden), ("activation", "relu"), ("width", width))
    layer = LayerPlan("mlp", options, input, (width,))
    return ModelPlan("net", input, output, Layers((layer,)), True)


def _sgd(rate: float, momentum: float | None) -> OptimizerPlan:
    options = (("learning_rate", rate), ("momentum", momentum), ("nesterov", False))
    name = f"sgd({rate})" if momentum is None else f"sgd({rate}, momentum: {momentum})"
    return OptimizerPlan(name, (Link("sgd", options),))


def _adamw(rate: float) -> OptimizerPlan:
    options = (
        ("learning_rate", rate),
        ("b1", 0.9),
        ("b2", 0.999),
        ("eps", 1e-8),
        ("eps_root", 0.0),
        ("weight_decay", 1e-4),
        ("nesterov", False),
    )
    return OptimizerPlan(f"adamw({rate})", (Link("adamw", options),))
