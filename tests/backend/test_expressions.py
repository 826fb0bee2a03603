"""Expressions are computed once each, and by the definitions of their parts."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from ev3lang.backend import expressions, models
from ev3lang.backend.expressions import Networks
from ev3lang.catalog.signature import Type
from ev3lang.plan import work
from ev3lang.plan.plan import (
    Apply,
    Constant,
    Expr,
    Field,
    Forward,
    LayerPlan,
    Layers,
    ModelPlan,
    Weights,
)
from ev3lang.plan.simplify import stable
from tests.plan import examples

NETWORKS = Networks(
    {"net": examples.NET, "teacher": examples.TEACHER},
    {
        "net": models.init(examples.NET, jax.random.key(0)),
        "teacher": models.init(examples.TEACHER, jax.random.key(1)),
    },
)
FIELDS = {name: jnp.asarray(field) for name, field in examples.clouds()["assess"].items()}


def test_what_two_expressions_share_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[str] = []
    plain = models.apply

    def counted(model: Any, *arguments: Any, **options: Any) -> Any:
        applied.append(model.name)
        return plain(model, *arguments, **options)

    monkeypatch.setattr(models, "apply", counted)
    memo: dict[Expr, Any] = {}
    for expr in (
        examples.right(examples.logits),
        examples.cross_entropy(examples.logits),
        examples.divergence(examples.teacher_logits, examples.logits),
    ):
        expressions.evaluate(expr, FIELDS, NETWORKS, memo)
    assert sorted(applied) == ["net", "teacher"]


def test_several_inputs_are_joined_along_the_last_axis() -> None:
    pair = examples.mlp("pair", 4, input=(3,), output=examples.LOGITS)
    params = models.init(pair, jax.random.key(2))
    a, b = Field("a", Type("f32", (2,))), Field("b", Type("real"))
    fields = {"a": jnp.arange(8.0).reshape(4, 2), "b": jnp.arange(4.0)}
    joined = jnp.concatenate([fields["a"], fields["b"][:, None]], axis=1)
    np.testing.assert_array_equal(
        expressions.evaluate(
            Forward("pair", (a, b), examples.LOGITS),
            fields,
            Networks({"pair": pair}, {"pair": params}),
        ),
        models.apply(pair, params, joined, dropout_key=None),
    )


def test_facts_of_a_model_are_those_of_its_weights() -> None:
    leaves = jax.tree.leaves(NETWORKS.params["net"])

    def fact(name: str) -> Any:
        expr = Apply(name, (Weights("net"),), Type("real"), "model")
        return expressions.evaluate(expr, FIELDS, NETWORKS)

    assert fact("parameters") == sum(leaf.size for leaf in leaves)
    assert fact("depth") == 1
    np.testing.assert_allclose(fact("l2"), sum(np.square(leaf).sum() for leaf in leaves), rtol=1e-6)


def test_the_parts_that_no_gradient_reaches_are_the_largest_ones() -> None:
    loss = examples.divergence(
        examples.divided(examples.teacher_logits, 2.0), examples.divided(examples.logits, 2.0)
    )
    (teacher_part, *rest) = expressions.independent_parts(loss, frozenset({"net"}))
    assert teacher_part == examples.softmax(examples.divided(examples.teacher_logits, 2.0))
    assert all(isinstance(part, Constant | Field) for part in rest)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_a_rewritten_divergence_of_softmaxes_is_right_where_softmax_rounds_to_zero(
    scale: float,
) -> None:
    fields = {"point": FIELDS["point"] * scale}
    loss = stable(examples.divergence(examples.teacher_logits, examples.logits))
    p, q = (
        scipy.special.log_softmax(
            np.asarray(expressions.evaluate(each, fields, NETWORKS), np.float64), axis=1
        )
        for each in (examples.teacher_logits, examples.logits)
    )
    exact = np.sum(np.exp(p) * (p - q), axis=1)
    ours = expressions.evaluate(loss, fields, NETWORKS)
    np.testing.assert_allclose(ours, exact, rtol=1e-4, atol=1e-5 * scale)


def test_a_rewritten_divergence_says_what_kinds_it_has() -> None:
    loss = stable(examples.divergence(examples.teacher_logits, examples.logits))
    assert isinstance(loss, Apply)
    assert [part.type.kind for part in loss.inputs] == ["log_probs", "log_probs"]


def test_only_models_that_may_drop_do() -> None:
    layer = examples.mlp("net", 5, input=(6,), output=examples.LOGITS).layers.layers[0]
    drop = LayerPlan("dropout", (("rate", 0.5),), (6,), (6,))
    model = ModelPlan("net", (6,), examples.LOGITS, Layers((drop, layer)), True)
    params = {"net": models.init(model, jax.random.key(0))}

    def logits(networks: Networks) -> Any:
        return np.asarray(expressions.evaluate(examples.logits, FIELDS, networks))

    plain = logits(Networks({"net": model}, params))
    key = jax.random.key(3)
    dropping = Networks({"net": model}, params, key)
    assert not np.array_equal(logits(dropping), plain)
    np.testing.assert_array_equal(logits(dropping), logits(dropping))
    still = Networks({"net": model}, params, key, frozenset({"net"}))
    np.testing.assert_array_equal(logits(still), plain)


def test_a_split_in_pieces_is_measured_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    net = examples.mlp("net", 8, 8, input=(examples.FEATURES,), output=examples.LOGITS)
    params = {"net": models.init(net, jax.random.key(0))}
    fields = {"point": jax.random.normal(jax.random.key(1), (103, examples.FEATURES))}
    networks = Networks({"net": net}, params)
    whole = expressions.evaluate(examples.logits, fields, networks)
    # pieces of 10 examples, and a rest of 3
    monkeypatch.setattr(work, "AT_ONCE", 10 * work.widest(net))
    pieces = expressions.evaluate(examples.logits, fields, networks)
    np.testing.assert_allclose(pieces, whole, rtol=1e-6, atol=1e-6)


def test_what_is_doubled_again_and_again_is_traced_once_for_each_doubling() -> None:
    doubled: Expr = Field("x", Type("f32"))
    for _ in range(60):
        doubled = Apply("+", (doubled, doubled), Type("real"), "example")

    def value(x: jax.Array) -> jax.Array:
        return jnp.sum(expressions.evaluate(doubled, {"x": x}))

    x = jnp.asarray([1.0, 3.0])
    assert len(jax.make_jaxpr(value)(x).eqns) == 61
    np.testing.assert_allclose(value(x), 4 * 2.0**60, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(value)(x), [2.0**60] * 2, rtol=1e-6)
