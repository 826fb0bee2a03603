"""Networks from Python classes: found, tried on shapes, and carried through training as ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ev3lang.analysis import analyze
from ev3lang.backend import models, modules
from ev3lang.backend.modules import ModuleError
from ev3lang.catalog.signature import Type
from ev3lang.compile import experiment
from ev3lang.plan.plan import Layers, ModelPlan, Module
from ev3lang.source import Source

CODE = '''\
from flax import nnx
import jax
import jax.numpy as jnp


class Plain(nnx.Module):
    def __init__(self, width, *, rngs, deep=False):
        self.first = nnx.Linear(4, width, rngs=rngs)
        self.rest = nnx.List([nnx.Linear(width, width, rngs=rngs) for _ in range(2 * deep)])
        self.last = nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.first(x))
        for layer in self.rest:
            x = nnx.relu(layer(x))
        return self.last(x)


class Modes(nnx.Module):
    """Dropout and batch norm, told by their attributes."""

    def __init__(self, rngs):
        self.first = nnx.Linear(4, 64, rngs=rngs)
        self.norm = nnx.BatchNorm(64, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.last = nnx.Linear(64, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(self.dropout(self.norm(self.first(x))))


class Told(nnx.Module):
    """The same by arguments."""

    def __init__(self, rngs):
        self.scale = nnx.Param(jnp.ones(3))

    def __call__(self, x, deterministic, training):
        return x[:, :3] * self.scale + 10.0 * deterministic + 100.0 * training


class Keeps(nnx.Module):
    def __init__(self, rngs):
        self.seen = nnx.Variable(jnp.zeros(()))

    def __call__(self, x):
        return x[:, :3]


class Wide(nnx.Module):
    def __init__(self, rngs):
        self.last = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x):
        return self.last(x)


class Fails(nnx.Module):
    def __init__(self, rngs):
        raise RuntimeError("no weather today")


class FailsLater(nnx.Module):
    def __init__(self, rngs):
        self.last = nnx.Linear(9, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(x)


class Labels(nnx.Module):
    def __init__(self, rngs):
        self.last = nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return jnp.round(self.last(x)).astype(int)


class NoModule:
    pass
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "own_networks.py").write_text(CODE)
    (folder / "broken_networks.py").write_text("import weather_of_tomorrow\n")
    (folder / "wrong_networks.py").write_text("class Net(\n")
    before = list(sys.path)
    yield folder
    sys.path[:] = before


def plan(target: str, **options: object) -> ModelPlan:
    target = target if ":" in target else f"own_networks:{target}"
    module = Module(target, tuple(options.items()))  # type: ignore[arg-type]
    return ModelPlan("net", (4,), Type("logits", (3,)), Layers(()), True, module=module)


def loaded(folder: Path, target: str, **options: object) -> ModelPlan:
    model = plan(target, **options)
    modules.load([model], ["own_networks"], [folder])
    return model


X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


def test_a_class_computes_what_it_computes_by_hand(folder: Path) -> None:
    model = loaded(folder, "Plain", width=7, deep=True)
    params = models.init(model, jax.random.key(5))
    own = sys.modules["own_networks"].Plain(7, deep=True, rngs=nnx.Rngs(params=jax.random.key(5)))
    np.testing.assert_allclose(models.apply(model, params, X), own(X), rtol=1e-6)
    assert set(params) == {"first", "rest", "last"}
    assert set(params["rest"]) == {"0", "1"}
    assert models.parameters(model) == 4 * 7 + 7 + 2 * (7 * 7 + 7) + 7 * 3 + 3


def test_its_gradient_is_that_of_the_class(folder: Path) -> None:
    model = loaded(folder, "Plain", width=7)
    params = models.init(model, jax.random.key(5))
    own = sys.modules["own_networks"].Plain(7, rngs=nnx.Rngs(params=jax.random.key(5)))
    grads = jax.grad(lambda params: jnp.sum(jnp.sin(models.apply(model, params, X))))(params)
    expected = nnx.grad(lambda own: jnp.sum(jnp.sin(own(X))))(own)
    for name in ("first", "last"):
        for part in ("kernel", "bias"):
            np.testing.assert_allclose(grads[name][part], expected[name][part][...], rtol=1e-5)


def test_running_statistics_move_in_training_and_rule_outside(folder: Path) -> None:
    model = loaded(folder, "Modes")
    params = models.init(model, jax.random.key(0))
    learned, still = models.parted(params)
    assert set(learned["norm"]) == {"scale", "bias"}
    assert set(still) == {"norm"}
    inside = X @ np.asarray(params["first"]["kernel"])
    _, moved = models.train(model, params, X)
    np.testing.assert_allclose(
        moved["norm"]["statistics"]["mean"], 0.1 * inside.mean(0), rtol=1e-4, atol=1e-6
    )
    behind = models.joined(learned, moved)
    assert not np.allclose(models.apply(model, params, X), models.apply(model, behind, X))


def test_dropout_needs_a_key_and_follows_it(folder: Path) -> None:
    model = loaded(folder, "Modes")
    params = models.init(model, jax.random.key(0))
    first, again = (models.apply(model, params, X) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    dropped = [
        models.apply(model, params, X, dropout_key=jax.random.key(seed)) for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(dropped[0], dropped[1])
    assert not np.allclose(dropped[0], dropped[2])
    assert not np.allclose(dropped[0], first)


def test_arguments_of_the_call_tell_the_mode(folder: Path) -> None:
    model = loaded(folder, "Told")
    params = models.init(model, jax.random.key(0))
    np.testing.assert_allclose(models.apply(model, params, X), X[:, :3] + 10)
    y, _ = models.train(model, params, X, dropout_key=jax.random.key(0))
    np.testing.assert_allclose(y, X[:, :3] + 100, rtol=1e-6)


def test_it_works_under_jit_and_vmap(folder: Path) -> None:
    model = loaded(folder, "Modes")
    keys = jax.random.split(jax.random.key(0), 2)
    stacked = jax.vmap(lambda key: models.init(model, key))(keys)
    outputs = jax.jit(jax.vmap(lambda params: models.apply(model, params, X)))(stacked)
    for place, key in enumerate(keys):
        alone = models.apply(model, models.init(model, key), X)
        np.testing.assert_allclose(outputs[place], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("batch", "is_told"), [("1", True), ("4 in 4 parts", True), ("2", False)])
@pytest.mark.parametrize("name", ["Modes", "Told"])
def test_statistics_of_one_example_are_told(
    name: str, batch: str, is_told: bool, folder: Path
) -> None:
    text = f"""\
ev3 1
data iris = sklearn.iris() {{ batch {batch}; normalize features }}
model net: features -> logits(label) from nnx("own_networks:{name}")
loss entropy = cross_entropy(net(features), label)
objective accuracy = maximize argmax(net(features)) == label
explore net {{ descend entropy with adam(1e-2) for 5 steps }}
assess net {{ rank by accuracy }}
adapt net {{ accept when accuracy improves; stop after 2 iterations }}
"""
    found = experiment(analyze(Source("spec.ev3", text))).plan
    modules.load(found.models, ["own_networks"], [folder])
    told = list(modules.warnings(found))
    assert len(told) == (is_told and name == "Modes")
    assert all(each.startswith("net keeps running statistics") for each in told)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("target", "said", "is_spec_fault"),
    [
        ("no_such_networks:Net", "there is no Python module no_such_networks", True),
        ("own_networks:Other", "has no class Other", True),
        ("own_networks:NoModule", "has, but as no flax.nnx.Module, NoModule", True),
        ("own_networks:Plain", "can't be built as Plain.*missing a required argument", True),
        ("own_networks:Keeps", "keeps a Variable in seen", True),
        ("own_networks:Wide", r"makes \[B, 5\] of \[B, 4\], and its signature says \[B, 3\]", True),
        ("own_networks:Labels", "gives int32, not real", True),
        ("own_networks:Fails", "building it, .* raised RuntimeError: no weather today", False),
        ("own_networks:FailsLater", "calling it, .* raised", False),
        ("broken_networks:Net", "importing it, .* raised ModuleNotFoundError", False),
        ("wrong_networks:Net", "importing it, .* raised SyntaxError", False),
    ],
)
def test_a_class_that_cannot_be_used(
    target: str, said: str, is_spec_fault: bool, folder: Path
) -> None:
    package = target.partition(":")[0]
    with pytest.raises(ModuleError, match=said) as caught:
        modules.load([plan(target)], [package], [folder])
    assert caught.value.is_spec_fault is is_spec_fault
    assert caught.value.help


def test_code_runs_only_where_its_package_is_allowed(folder: Path) -> None:
    with pytest.raises(ModuleError, match="code may not run") as caught:
        modules.load([plan("forbidden_networks:Net")], ["own"], [folder])
    assert "--allow-python forbidden_networks" in caught.value.help
    assert "forbidden_networks" not in sys.modules
