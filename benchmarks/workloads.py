"""What is timed: experiments as plans, with their data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs
import numpy as np

from ev3lang.analysis import analyze
from ev3lang.catalog.signature import Type
from ev3lang.check.typed import SPLITS, split_sizes
from ev3lang.compile import experiment
from ev3lang.plan.plan import (
    Apply,
    Claim,
    DataPlan,
    Descent,
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
    Ranking,
    Split,
    StopPlan,
)
from ev3lang.runtime import data as runtime_data
from ev3lang.runtime import teachers
from ev3lang.source import Source

Tables = dict[str, dict[str, np.ndarray]]

STEPS = 100
NEVER = 1_000_000_000


@attrs.frozen
class Workload:
    """A plan to run, its tables (empty where data are endless), and what it stands for.

    given   weights of models that don't start fresh
    """

    name: str
    plan: Plan
    tables: Tables
    about: str
    given: Mapping[str, Any] = MappingProxyType({})


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
    return Workload("B", plan, runtime_data.read(data).tables, about)


def c() -> Workload:
    """A small residual net: convolutions, and batch norm's running statistics."""
    plan = _written("C", IMAGES)
    return Workload(
        "C", plan, _noise(plan), "32 x 32 x 3 images, resnet 16/32/64, batch 64, " + TWO
    )


def d() -> Workload:
    """A small encoder of tokens."""
    plan = _written("D", TOKENS)
    about = "128 tokens, transformer of 2 layers, 64 wide, batch 64, "
    return Workload("D", plan, _noise(plan), about + TWO)


def e() -> Workload:
    """B with a frozen teacher: two of the four losses read its outputs."""
    same = b()
    image, label = (Field(name, type_) for name, type_ in same.plan.data.fields)
    logits, taught = (Forward(name, (image,), Type("logits", (10,))) for name in ("net", "teacher"))
    probs = Type("probs", (10,))
    student, teacher = (Apply("softmax", (each,), probs, "example") for each in (logits, taught))
    losses = {
        "entropy": _loss("cross_entropy", logits, label, label_smoothing=0.0),
        "taught": Apply("kl_divergence", (teacher, student), Type("real"), "example"),
    }
    plan = attrs.evolve(
        same.plan,
        name="E",
        models=(
            *same.plan.models,
            attrs.evolve(
                _mlp((8, 8, 1), (512, 512), taught.type), name="teacher", is_explored=False
            ),
        ),
        descents=_candidates(losses, (_adamw(1e-3), _sgd(0.01, 0.9)), same.plan.data.batch),
    )
    about = "B with a frozen teacher, mlp [512, 512], in two of its losses"
    return Workload("E", plan, same.tables, about, teachers.frozen_weights(plan, {}))


WORKLOADS = {"A": a, "B": b, "C": c, "D": d, "E": e}

TWO = "2 candidates of 10 steps, 256 assess and 256 adapt examples"

_REST = """
loss entropy = cross_entropy(net({input}), label)
objective accuracy = maximize argmax(net({input})) == label
explore net {{ descend entropy with adamw(1e-3), sgd(0.1, momentum: 0.9) for 10 steps }}
assess net {{ rank by accuracy }}
adapt net {{ accept when accuracy improves; stop after 1_000_000_000 iterations }}
"""

IMAGES = """ev3 1
data pictures = npz("made up") {
  image: f32[32, 32, 3]
  label: class[10]
  rows 2_560
  split explore 70%, assess 10%, adapt 10%, report 10%
  batch 64
}
model net: image -> logits(label) = resnet(stages: [1, 1, 1], width: 16, shortcut: projection)
""" + _REST.format(input="image")

TOKENS = """ev3 1
data texts = npz("made up") {
  text: tokens[1000, 128]
  label: class[5]
  rows 2_560
  split explore 70%, assess 10%, adapt 10%, report 10%
  batch 64
}
model net: text -> logits(label) =
  embed(64) | transformer(layers: 2, heads: 4, width: 64) | mean_pool | dense
""" + _REST.format(input="text")


def _written(name: str, text: str) -> Plan:
    """The plan of a spec."""
    return experiment(analyze(Source(f"{name}.ev3", text))).plan


def _noise(plan: Plan) -> Tables:
    """Random examples in the spec's shares: what a step costs doesn't depend on what it reads."""
    generator = np.random.default_rng(0)
    assert plan.data.split is not None
    assert plan.data.rows is not None
    tables: Tables = {}
    sizes = split_sizes(plan.data.rows, plan.data.split.shares)
    for split, count in zip(SPLITS, sizes, strict=True):
        tables[split] = {}
        for name, type_ in plan.data.fields:
            if type_.kind == "f32":
                values = generator.normal(size=(count, *type_.dimensions)).astype(np.float32)
            else:
                highest, *shape = type_.dimensions
                values = generator.integers(0, highest, (count, *shape), np.int32)
            tables[split][name] = values
    return tables


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
    objective = ObjectivePlan("accuracy", accuracy, "maximize", None, (0.0, 1.0))
    return Plan(
        name=name,
        seed=0,
        data=data,
        models=(model,),
        explored=model.name,
        descents=_candidates(losses, optimizers, data.batch),
        batches="shared",
        objectives=(objective,),
        ranking=Ranking("then", (objective,)),
        move="unless worse",
        rule=Gate((Claim(objective, 1.0, 0.0, "mcnemar"),), 0.05),
        stop=StopPlan(NEVER, None, (), False),
        shown=(),
        baselines=(),
    )


def _candidates(
    losses: Mapping[str, Expr], optimizers: tuple[OptimizerPlan, ...], batch: int
) -> tuple[Descent, ...]:
    return tuple(
        Descent(f"{loss} with {each.name}", expr, loss, each, STEPS, batch)
        for loss, expr in losses.items()
        for each in optimizers
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
