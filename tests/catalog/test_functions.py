"""What the catalogue says of functions holds for their twins in the backend.

Every function is called on random inputs of every combination of the types that it takes.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ev3lang.backend import arithmetic, losses, metrics, models, scores
from ev3lang.catalog.index import FUNCTIONS, OPERATORS
from ev3lang.catalog.signature import SAME, Function, Type

EXAMPLES, CLASSES, OWN = 24, 5, (3, 2)
TABLE = {**arithmetic.TABLE, **losses.TABLE, **metrics.TABLE, **scores.TABLE}
REQUIRED = {
    "gamma": 2.0,
    "beta": 2.0,
    "k": 3,
    "low": -0.5,
    "high": 0.5,
    "weights": (1.0, 0.5, 2.0, 0.0, 3.0),
}
INTEGERS = ("class", "multi", "tokens", "text")
SIZES = {"G": 4, "H": 3, "W": 2, "D": 6, "T": 7, "L": 3, "V": CLASSES}


@attrs.frozen
class Case:
    """A function with one choice of types for its inputs, their sizes filled in."""

    function: Function
    inputs: tuple[Type, ...]

    def __str__(self) -> str:
        return f"{self.function.name}({', '.join(map(str, self.inputs))})"

    @property
    def output(self) -> Type:
        if self.function.output == SAME:
            return max(self.inputs, key=lambda each: len(each.dimensions))
        sizes = {**SIZES, "C": self.classes, "...": OWN}
        return _filled(self.function.output, sizes)

    @property
    def classes(self) -> int:
        return 2 if self.function.name in ("roc_auc", "average_precision") else CLASSES

    def keywords(self) -> dict:
        found = {
            option.name: REQUIRED[option.name] if option.is_required else option.default
            for option in self.function.options
        }
        told = {
            "kinds": tuple(each.kind for each in self.inputs),
            "classes": self.classes,
            "groups": SIZES["G"],
        }
        return found | {name: told[name] for name in self.function.told}

    def values(self, seed: int = 0) -> list[jax.Array]:
        rng = np.random.default_rng(seed)
        return [_sample(type_, rng) for type_ in self.inputs]

    def __call__(self, *values: jax.Array) -> jax.Array:
        return TABLE[self.function.name](*values, **self.keywords())


def _filled(type_: Type, sizes: dict) -> Type:
    dimensions: list[int] = []
    for dimension in type_.dimensions:
        size = sizes.get(dimension, dimension)
        dimensions += size if isinstance(size, tuple) else (size,)
    return Type(type_.kind, tuple(dimensions))


def _sample(type_: Type, rng: np.random.Generator) -> jax.Array:
    shape = (EXAMPLES, *type_.dimensions)
    logits = jnp.asarray(2 * rng.normal(size=shape), jnp.float32)
    match type_.kind:
        case "probs":
            return jax.nn.softmax(logits)
        case "log_probs":
            return jax.nn.log_softmax(logits)
        case "class" | "text":
            return jnp.asarray(rng.integers(type_.dimensions[0], size=EXAMPLES), jnp.int32)
        case "tokens":
            # Token 0 stands for nothing in some functions.
            whole = rng.integers(1, type_.dimensions[0], (EXAMPLES, type_.dimensions[1]))
            return jnp.asarray(whole, jnp.int32)
        case "multi":
            return jnp.asarray(rng.integers(2, size=shape), jnp.int32)
        case _:
            return logits


def _cases() -> Iterator[Case]:
    for function in FUNCTIONS.values():
        if function.family == "model":
            continue
        classes = 2 if function.name in ("roc_auc", "average_precision") else CLASSES
        sizes = {**SIZES, "C": classes, "...": OWN}
        for chosen in itertools.product(*(each.types for each in function.inputs)):
            yield Case(function, tuple(_filled(type_, sizes) for type_ in chosen))


CASES = tuple(_cases())
every_case = pytest.mark.parametrize("case", CASES, ids=map(str, CASES))


def test_functions_and_operators_have_the_names_of_their_twins() -> None:
    facts = {name for name, function in FUNCTIONS.items() if function.family == "model"}
    assert (FUNCTIONS.keys() - facts) | OPERATORS.keys() == TABLE.keys()
    assert facts == models.TABLE.keys()
    parts = (arithmetic.TABLE, losses.TABLE, metrics.TABLE, scores.TABLE)
    assert len(TABLE) == sum(len(part) for part in parts)


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() & TABLE.keys()))
def test_a_twin_takes_the_inputs_and_requires_every_option_by_name(name: str) -> None:
    function = FUNCTIONS[name]
    places = inspect.signature(TABLE[name]).parameters.values()
    keywords = [each for each in places if each.kind is each.KEYWORD_ONLY]
    assert len(places) - len(keywords) == len(function.inputs)
    assert {each.name for each in keywords} == {
        *(option.name for option in function.options),
        *function.told,
    }
    assert all(each.default is each.empty for each in keywords)


@every_case
def test_the_declared_output_is_what_comes_out(case: Case) -> None:
    found = jax.eval_shape(case, *case.values())
    batch = () if case.function.level == "set" else (EXAMPLES,)
    if case.output.kind == "class":
        assert found.shape == batch
        assert found.dtype == jnp.int32
    elif case.output.kind == "classes":
        assert found.shape == (*batch, REQUIRED["k"])
        assert found.dtype == jnp.int32
    elif case.output.kind == "tokens":
        assert found.shape == batch + case.output.dimensions[1:]
        assert found.dtype == jnp.int32
    elif case.output.kind == "bool":
        assert found.shape == batch
        assert found.dtype == bool
    else:
        assert found.shape == batch + case.output.dimensions
        assert found.dtype == jnp.float32


@every_case
def test_values_stay_in_the_declared_range(case: Case) -> None:
    if case.function.range is None:
        return
    low, high = case.function.range
    for seed in range(20):
        found = np.asarray(jax.jit(case)(*case.values(seed)))
        assert np.all(found >= low - 1e-6)
        assert np.all(found <= high + 1e-6)


@every_case
def test_a_gradient_flows_where_the_entry_says_so(case: Case) -> None:
    values = case.values()
    if case.function.name in ("log", "sqrt"):
        values = [jnp.abs(value) + 0.1 for value in values]
    real = [place for place, type_ in enumerate(case.inputs) if type_.kind not in INTEGERS]
    if not real:
        assert not case.function.is_differentiable
        return
    rng = np.random.default_rng(1)
    shape = jax.eval_shape(case, *values).shape
    if case.output.kind == "bool":
        assert not case.function.is_differentiable
        return
    weights = jnp.asarray(rng.normal(size=shape), jnp.float32)

    def weighted(*moved: jax.Array) -> jax.Array:
        full = list(values)
        for place, value in zip(real, moved, strict=True):
            full[place] = value
        return jnp.sum(weights * case(*full))

    if case.function.gradient_to is not None:
        # Its value depends on no input that has its gradient: no difference quotient knows it.
        names = [case.function.inputs[place].name for place in real]
        grads = jax.grad(weighted, argnums=tuple(real))(*(values[place] for place in real))
        for name, grad in zip(names, grads, strict=True):
            assert bool(jnp.any(grad)) == (name == case.function.gradient_to)
        return
    at = [values[place] for place in real]
    grads = jax.grad(weighted, argnums=tuple(range(len(at))))(*at)
    assert all(bool(jnp.all(jnp.isfinite(grad))) for grad in grads)
    if not case.function.is_differentiable:
        assert all(not bool(jnp.any(grad)) for grad in grads)
        return
    assert any(bool(jnp.any(grad)) for grad in grads)
    # A step of 1e-3 keeps about three digits of a central difference of float32 values near 1;
    # probabilities are moved along the simplex's inside without leaving [0, 1].
    step = 1e-3
    directions = [value * jnp.asarray(rng.uniform(-1, 1, value.shape), jnp.float32) for value in at]
    ahead = weighted(*(v + step * d for v, d in zip(at, directions, strict=True)))
    behind = weighted(*(v - step * d for v, d in zip(at, directions, strict=True)))
    slope = sum(float(jnp.sum(g * d)) for g, d in zip(grads, directions, strict=True))
    assert float(ahead - behind) / (2 * step) == pytest.approx(slope, rel=2e-2, abs=2e-2)


@every_case
def test_a_function_can_be_mapped_and_compiled(case: Case) -> None:
    values = case.values()
    twice = [jnp.stack([value, value]) for value in values]
    mapped = jax.jit(jax.vmap(case))(*twice)
    np.testing.assert_allclose(mapped[1], case(*values), rtol=2e-5, atol=2e-6)
