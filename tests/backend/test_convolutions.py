"""Convolutions and both their gradients against those of XLA and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import Array, lax

from ev3lang.backend.convolutions import convolution


def by_xla(x: Array, kernel: Array, stride: int, padding: str) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding.upper(),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def drawn(image: tuple[int, ...], kernel: tuple[int, ...], seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return (
        jnp.asarray(rng.normal(size=image), jnp.float32),
        jnp.asarray(rng.normal(size=kernel), jnp.float32),
    )


def assert_same(x: Array, kernel: Array, stride: int, padding: str) -> None:
    """Value and both gradients, to float32's rounding of sums of some hundred terms."""
    expected, pull_expected = jax.vjp(lambda *both: by_xla(*both, stride, padding), x, kernel)
    found, pull = jax.vjp(lambda *both: convolution(*both, stride, padding), x, kernel)
    np.testing.assert_array_equal(found, expected)
    slope = jnp.asarray(np.random.default_rng(1).normal(size=expected.shape), jnp.float32)
    for one, other in zip(pull(slope), pull_expected(slope), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_values_and_gradients_are_those_of_xla(size: int, stride: int, padding: str) -> None:
    assert_same(*drawn((4, 9, 8, 3), (size, size, 3, 5)), stride, padding)


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    size=st.integers(1, 7),
    stride=st.integers(1, 5),
    padding=st.sampled_from(["same", "valid"]),
)
def test_no_size_is_special(height: int, width: int, size: int, stride: int, padding: str) -> None:
    if padding == "valid":
        size = min(size, height, width)
    assert_same(*drawn((2, height, width, 2), (size, size, 2, 3)), stride, padding)


@pytest.mark.parametrize(("stride", "padding"), [(1, "same"), (2, "same"), (2, "valid")])
def test_gradients_are_finite_differences(stride: int, padding: str) -> None:
    def loss(x: Array, kernel: Array) -> Array:
        return jnp.mean(jnp.square(convolution(x, kernel, stride, padding)))

    both = drawn((2, 6, 5, 2), (3, 3, 2, 3))
    jax.test_util.check_grads(loss, both, 2, modes=["rev"], eps=1e-2, rtol=2e-2, atol=2e-2)


def test_a_descent_inside_a_scan_is_the_one_by_xla() -> None:
    x, start = drawn((8, 6, 6, 3), (3, 3, 3, 4))

    def descended(convolve) -> Array:
        def step(kernel: Array, _: None) -> tuple[Array, None]:
            gradient = jax.grad(lambda k: jnp.mean(jnp.tanh(convolve(x, k, 2, "same"))))(kernel)
            return kernel - 0.1 * gradient, None

        return jax.jit(lambda: lax.scan(step, start, None, length=10)[0])()

    np.testing.assert_allclose(descended(convolution), descended(by_xla), rtol=1e-5, atol=1e-6)


def test_candidates_can_be_stacked() -> None:
    x, _ = drawn((2, 5, 5, 2), (3, 3, 2, 3))
    kernels = jnp.stack([drawn((1,), (3, 3, 2, 3), seed)[1] for seed in (3, 4)])

    def slope(kernel: Array) -> Array:
        return jax.grad(lambda k: jnp.sum(jnp.square(convolution(x, k, 1, "same"))))(kernel)

    apart = jnp.stack([slope(kernel) for kernel in kernels])
    np.testing.assert_allclose(jax.vmap(slope)(kernels), apart, rtol=1e-4, atol=1e-4)
