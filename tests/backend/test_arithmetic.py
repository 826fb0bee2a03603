"""Operators against NumPy, broadcasting along the batch, and bools that count."""

from __future__ import annotations

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ev3lang.backend.arithmetic import TABLE

RNG = np.random.default_rng(0)
X = RNG.normal(size=8).astype(np.float32)
Y = RNG.normal(size=8).astype(np.float32)
WIDE = RNG.normal(size=(8, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("sign", "law"),
    [
        ("+", operator.add),
        ("-", operator.sub),
        ("*", operator.mul),
        ("/", operator.truediv),
        ("mod", operator.mod),
        ("==", operator.eq),
        ("!=", operator.ne),
        ("<", operator.lt),
        ("<=", operator.le),
        (">", operator.gt),
        (">=", operator.ge),
        ("min", np.minimum),
        ("max", np.maximum),
    ],
)
def test_an_operator_is_that_of_numpy(sign: str, law) -> None:
    np.testing.assert_allclose(TABLE[sign](X, Y), law(X, Y), rtol=1e-6)
    # One number for each row goes along the row, on either side.
    np.testing.assert_allclose(TABLE[sign](X, WIDE), law(X[:, None], WIDE), rtol=1e-6)
    np.testing.assert_allclose(TABLE[sign](WIDE, X), law(WIDE, X[:, None]), rtol=1e-6)
    np.testing.assert_allclose(TABLE[sign](WIDE, 0.5), law(WIDE, np.float32(0.5)), rtol=1e-6)
    np.testing.assert_allclose(TABLE[sign](0.5, X), law(np.float32(0.5), X), rtol=1e-6)


def test_a_row_as_long_as_the_batch_is_still_aligned_on_the_batch() -> None:
    square = jnp.ones((3, 3))
    found = TABLE["*"](jnp.array([1.0, 2.0, 3.0]), square)
    np.testing.assert_array_equal(found, [[1] * 3, [2] * 3, [3] * 3])


def test_bools_count_as_zero_or_one() -> None:
    yes, no = jnp.array([True]), jnp.array([False])
    assert TABLE["+"](yes, yes)[0] == 2
    assert TABLE["-"](no, yes)[0] == -1
    assert TABLE["negate"](yes)[0] == -1
    assert TABLE["*"](2.5, yes)[0] == 2.5
    assert TABLE["/"](yes, 2)[0] == 0.5
    assert TABLE["mean"](yes).dtype == jnp.float32


def test_bytes_do_not_wrap_around() -> None:
    low, high = jnp.array([3], jnp.uint8), jnp.array([250], jnp.uint8)
    assert TABLE["-"](low, high)[0] == -247
    assert TABLE["+"](high, high)[0] == 500


def test_a_quotient_of_whole_numbers_is_a_real_one() -> None:
    assert TABLE["/"](jnp.array([1]), 2)[0] == 0.5


def test_the_remainder_has_the_sign_of_the_divisor() -> None:
    np.testing.assert_array_equal(TABLE["mod"](jnp.array([-3, 3, 4]), 2), [1, 1, 0])


@pytest.mark.parametrize("exponent", [2, 2.0, 3, -1, 0.5, 0])
def test_powers_are_those_of_numpy(exponent: float) -> None:
    base = np.abs(X) + 0.1
    np.testing.assert_allclose(TABLE["^"](base, exponent), base**exponent, rtol=1e-5)
    traced = TABLE["^"](base, jnp.float32(exponent))
    np.testing.assert_allclose(traced, base**exponent, rtol=1e-5)


def test_a_square_has_a_gradient_at_zero_and_below() -> None:
    def square(x: jax.Array) -> jax.Array:
        return TABLE["^"](x, 2.0)

    for at in (0.0, -3.0):
        value, slope = jax.value_and_grad(square)(at)
        assert (value, slope) == (at**2, 2 * at)


def test_a_power_of_whole_numbers_is_whole() -> None:
    found = TABLE["^"](jnp.array([-3, 2]), 2)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, [9, 4])
    assert TABLE["^"](jnp.array([2]), -1)[0] == 0.5


def test_a_label_is_in_a_set_of_classes() -> None:
    sets = jnp.array([[0, 3], [1, 2], [2, 0]])
    np.testing.assert_array_equal(TABLE["in"](jnp.array([3, 0, 2]), sets), [True, False, True])


def test_words_between_bools_are_those_of_logic() -> None:
    a = jnp.array([True, True, False, False])
    b = jnp.array([True, False, True, False])
    np.testing.assert_array_equal(TABLE["and"](a, b), a & b)
    np.testing.assert_array_equal(TABLE["or"](a, b), a | b)
    np.testing.assert_array_equal(TABLE["not"](a), ~a)
    assert TABLE["and"](a, b).dtype == bool


@pytest.mark.parametrize(
    ("name", "law"),
    [("abs", np.abs), ("exp", np.exp), ("round", np.round), ("negate", np.negative)],
)
def test_a_function_is_that_of_numpy(name: str, law) -> None:
    np.testing.assert_allclose(TABLE[name](WIDE), law(WIDE), rtol=1e-6)


@pytest.mark.parametrize(("name", "law"), [("log", np.log), ("sqrt", np.sqrt)])
def test_a_function_of_positive_numbers_is_that_of_numpy(name: str, law) -> None:
    at = np.abs(WIDE) + 0.1
    np.testing.assert_allclose(TABLE[name](at), law(at), rtol=1e-5, atol=1e-6)


def test_of_two_near_whole_numbers_the_even_one_is_the_nearest() -> None:
    np.testing.assert_array_equal(TABLE["round"](jnp.array([0.5, 1.5, 2.5])), [0, 2, 2])


def test_clipping_keeps_values_between_its_bounds() -> None:
    found = TABLE["clip"](jnp.array([-2.0, 0.5, 9.0]), low=0, high=5)
    np.testing.assert_array_equal(found, [0, 0.5, 5])


def test_mean_and_sum_leave_the_batch() -> None:
    deep = RNG.normal(size=(8, 3, 2)).astype(np.float32)
    np.testing.assert_allclose(TABLE["mean"](deep), deep.mean(axis=(1, 2)), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(TABLE["sum"](deep), deep.sum(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(TABLE["mean"](X), X)
