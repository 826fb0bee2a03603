"""Plans written by hand, and data for them: small, and every figure in sight."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from ev3lang.catalog.signature import Type
from ev3lang.plan.plan import (
    Apply,
    BaselinePlan,
    Claim,
    Constant,
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
    Shown,
    Split,
    StopPlan,
)

FEATURES, CLASSES = 6, 3
POINT = Type("f32", (FEATURES,))
LABEL = Type("class", (CLASSES,))
LOGITS = Type("logits", (CLASSES,))
REAL, BOOL = Type("real"), Type("bool")

point, label = Field("point", POINT), Field("label", LABEL)


def mlp(name: str, *hidden: int, input: tuple[int, ...], output: Type, **options: Any) -> ModelPlan:
    layer = LayerPlan(
        "mlp",
        (("hidden", hidden), ("activation", "relu"), ("width", output.dimensions[0])),
        input,
        output.dimensions,
    )
    return ModelPlan(name, input, output, Layers((layer,)), options.get("is_explored", True))


def normed(name: str, width: int, *, input: tuple[int, ...], output: Type) -> ModelPlan:
    """A hidden layer with batch norm."""
    hidden, momentum = (("width", width),), (("momentum", 0.9),)
    layers = (
        LayerPlan("dense", hidden, input, (width,)),
        LayerPlan("batch_norm", momentum, (width,), (width,)),
        LayerPlan("relu", (), (width,), (width,)),
        LayerPlan("dense", (("width", output.dimensions[0]),), (width,), output.dimensions),
    )
    return ModelPlan(name, input, output, Layers(layers), is_explored=True)


def cross_entropy(logits: Expr, label: Expr = label, label_smoothing: float = 0.0) -> Apply:
    options = (("label_smoothing", label_smoothing),)
    return Apply("cross_entropy", (logits, label), REAL, "example", options)


def focal(logits: Expr, gamma: float) -> Apply:
    return Apply("focal_loss", (logits, label), REAL, "example", (("gamma", gamma),))


def softmax(logits: Expr) -> Apply:
    return Apply("softmax", (logits,), Type("probs", logits.type.dimensions), "example")


def divided(value: Expr, by: float) -> Apply:
    return Apply("/", (value, Constant(by, REAL)), value.type, "example")


def divergence(target: Expr, prediction: Expr) -> Apply:
    return Apply("kl_divergence", (softmax(target), softmax(prediction)), REAL, "example")


def predicted(logits: Expr) -> Apply:
    return Apply("argmax", (logits,), Type("class", logits.type.dimensions), "example")


def right(logits: Expr, label: Expr = label) -> Apply:
    return Apply("==", (predicted(logits), label), BOOL, "example")


def wrong(logits: Expr) -> Apply:
    return Apply("!=", (predicted(logits), label), BOOL, "example")


def sgd(rate: float, momentum: float | None = None) -> OptimizerPlan:
    options = (("learning_rate", rate), ("momentum", momentum), ("nesterov", False))
    return OptimizerPlan(f"sgd({rate}, {momentum})", (Link("sgd", options),))


def adam(rate: float) -> OptimizerPlan:
    options = (
        ("learning_rate", rate),
        ("b1", 0.9),
        ("b2", 0.999),
        ("eps", 1e-8),
        ("eps_root", 0.0),
        ("nesterov", False),
    )
    return OptimizerPlan(f"adam({rate})", (Link("adam", options),))


def adamw(rate: float, weight_decay: float = 1e-4) -> OptimizerPlan:
    options = (
        ("learning_rate", rate),
        ("b1", 0.9),
        ("b2", 0.999),
        ("eps", 1e-8),
        ("eps_root", 0.0),
        ("weight_decay", weight_decay),
        ("nesterov", False),
    )
    return OptimizerPlan(f"adamw({rate})", (Link("adamw", options),))


def candidate(
    loss: Expr, optimizer: OptimizerPlan, *, loss_name: str = "entropy", **options: Any
) -> Descent:
    steps, batch = options.pop("steps", 8), options.pop("batch", 16)
    name = options.pop("name", f"{loss_name} with {optimizer.name}")
    return Descent(name, loss, loss_name, optimizer, steps, batch, **options)


NET = mlp("net", 5, input=(FEATURES,), output=LOGITS)
TEACHER = mlp("teacher", 7, input=(FEATURES,), output=LOGITS, is_explored=False)
logits = Forward("net", (point,), LOGITS)
teacher_logits = Forward("teacher", (point,), LOGITS)

ACCURACY = ObjectivePlan("accuracy", right(logits), "maximize", None, (0.0, 1.0))
ERROR = ObjectivePlan("error", wrong(logits), "minimize", None, (0.0, 1.0))
LOG_LOSS = ObjectivePlan("log_loss", cross_entropy(logits), "minimize", None, None)


def by(*keys: ObjectivePlan) -> Ranking:
    """Ranking by one objective, or by several in order of importance."""
    return Ranking("then", keys)


def gate(objective: ObjectivePlan, delta: float = 0.05) -> Gate:
    """Acceptance by right and wrong answers, without a margin."""
    return Gate((Claim(objective, 1.0, 0.0, "mcnemar"),), delta)


CLOUDS = DataPlan(
    name="clouds",
    source="npz",
    options=(),
    fields=(("point", POINT), ("label", LABEL)),
    derived=(),
    normalized=(),
    split=Split((0.5, 0.2, 0.2, 0.1), "label", 0),
    rows=1000,
    batch=16,
)

PLAN = Plan(
    name="clouds",
    seed=0,
    data=CLOUDS,
    models=(NET,),
    explored="net",
    descents=(candidate(cross_entropy(logits), sgd(0.1)),),
    batches="shared",
    objectives=(ACCURACY, LOG_LOSS),
    ranking=by(ACCURACY),
    move="unless worse",
    rule=gate(ACCURACY),
    stop=StopPlan(15, None, (), False),
    shown=(Shown("accuracy", ACCURACY.value, "higher", (0.0, 1.0)),),
    baselines=(BaselinePlan("plain", cross_entropy(logits), "entropy", sgd(0.1), False, 16),),
)

FOUR = attrs.evolve(
    PLAN,
    descents=(
        candidate(cross_entropy(logits), sgd(0.05)),
        candidate(cross_entropy(logits), sgd(0.02, 0.9)),
        candidate(focal(logits, 2.0), adam(3e-3), loss_name="focal"),
        candidate(cross_entropy(logits, label_smoothing=0.1), adamw(1e-2), loss_name="smooth"),
    ),
)

TAUGHT = attrs.evolve(
    PLAN,
    models=(NET, TEACHER),
    descents=(
        candidate(cross_entropy(logits), sgd(0.05)),
        candidate(
            divergence(divided(teacher_logits, 2.0), divided(logits, 2.0)),
            adam(3e-3),
            loss_name="taught",
        ),
    ),
)

MOONS_LABEL = Type("class", (2,))
MOONS_LOGITS = Type("logits", (2,))
moons_point = Field("point", Type("f32", (2,)))
moons_label = Field("label", MOONS_LABEL)
moons_logits = Forward("net", (moons_point,), MOONS_LOGITS)

MOONS_ACCURACY = ObjectivePlan(
    "accuracy", right(moons_logits, moons_label), "maximize", None, (0.0, 1.0)
)

MOONS = attrs.evolve(
    PLAN,
    name="moons",
    data=DataPlan(
        name="moons",
        source="two_moons",
        options=(("noise", 0.3), ("n", None)),
        fields=(("point", moons_point.type), ("label", MOONS_LABEL)),
        derived=(),
        normalized=(),
        split=None,
        rows=None,
        batch=16,
        evaluate=8,
    ),
    models=(mlp("net", 8, 8, input=(2,), output=MOONS_LOGITS),),
    descents=(
        candidate(cross_entropy(moons_logits, moons_label), sgd(0.1)),
        candidate(cross_entropy(moons_logits, moons_label), adam(1e-2)),
    ),
    objectives=(MOONS_ACCURACY,),
    ranking=by(MOONS_ACCURACY),
    rule=gate(MOONS_ACCURACY),
    shown=(),
    baselines=(
        BaselinePlan(
            "plain", cross_entropy(moons_logits, moons_label), "entropy", sgd(0.1), False, 16
        ),
    ),
)


def clouds(seed: int = 0, distance: float = 1.3) -> dict[str, dict[str, np.ndarray]]:
    """Three overlapping normal clouds in six dimensions, in the four splits of `CLOUDS`."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(CLASSES, FEATURES))
    centers *= distance / np.linalg.norm(centers, axis=1, keepdims=True)

    def split(count: int) -> dict[str, np.ndarray]:
        labels = rng.integers(0, CLASSES, count).astype(np.int32)
        points = centers[labels] + rng.normal(size=(count, FEATURES))
        return {"point": points.astype(np.float32), "label": labels}

    return {"explore": split(500), "assess": split(200), "adapt": split(200), "report": split(100)}
