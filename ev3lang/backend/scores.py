"""Scores of classes: probabilities, their logarithms, and the classes that lead."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array

from ev3lang.backend.arithmetic import align


def softmax(scores: Array) -> Array:
    """The probabilities that scores stand for.

    scores    [B, C] float32, logits or log-probabilities in nats
    returns   [B, C] float32 in [0, 1], each row of sum 1; what is below 1e-38 is 0
    """
    return jax.nn.softmax(scores, axis=-1)


def log_softmax(scores: Array) -> Array:
    """The log-probabilities that scores stand for, exact where probabilities round to 0.

    scores    [B, C] float32, logits or log-probabilities in nats
    returns   [B, C] float32, at most 0
    """
    return jax.nn.log_softmax(scores, axis=-1)


def argmax(scores: Array) -> Array:
    """The class with the highest score, the first of equals.

    scores    [B, C] float32
    returns   [B] int32 in [0, C)
    """
    return jnp.argmax(scores, axis=-1).astype(jnp.int32)


def top_k(scores: Array, *, k: int) -> Array:
    """The k classes with the highest scores, highest first, the first of equals.

    scores    [B, C] float32
    returns   [B, k] int32 in [0, C)
    """
    return jax.lax.top_k(scores, k)[1].astype(jnp.int32)


def stop_gradient(value: Array) -> Array:
    """The same value, a constant to every gradient."""
    return jax.lax.stop_gradient(value)


def straight_through(hard: Array, soft: Array) -> Array:
    """The value of one array with the gradient of another.

    hard      [B, ...] bool or numbers; nothing flows to it
    soft      [B, ...] float32, which takes all of the gradient
    returns   [B, ...] float32, equal to hard
    Source: Bengio, Leonard and Courville (2013), arXiv:1308.3432.
    """
    # soft less itself, rather than soft + (hard - soft), which rounds where soft is large
    hard, soft = align(jnp.asarray(hard, jnp.float32), soft)
    return jax.lax.stop_gradient(hard) + (soft - jax.lax.stop_gradient(soft))


def next_token(tokens: Array) -> Array:
    """At each place the token that follows, -1 where none does: [B, T] int32 of the same."""
    return jnp.concatenate([tokens[:, 1:], jnp.full_like(tokens[:, :1], -1)], axis=1)


_LEAST = 2.0**-126  # the least normal float32; what is below is flushed to 0 on many devices


def in_log_space(scores: Array, kind: str) -> Array:
    """Scores as log-probabilities.

    scores    [B, C] float32, probs or log_probs as `kind` says. A probability below the least
              normal float32 (1.2e-38) counts as that: its logarithm and gradient stay finite.
    returns   [B, C] float32, at most 0
    """
    if kind == "log_probs":
        return scores
    assert kind == "probs", f"{kind} have no log-probabilities without a softmax"
    return jnp.log(jnp.maximum(scores, _LEAST))


def ranks_of_classes(scores: Array, kind: str) -> Array:
    """Numbers that order examples, for each class, by how probable the class is.

    A softmax in float32 rounds confident probabilities to the same 1. So logits and
    log-probabilities give the log-odds of a class against all others, which don't round to a
    bound, and a stored probability of 1 gives the log-odds that the others leave it.

    scores    [B, C] float32, logits, log_probs (nats) or probs, as `kind` says; C at least 2
    returns   [B, C] float32; nats for logits and log_probs. Numbers of different kinds don't
              compare.
    """
    if scores.shape[-1] == 2 and kind != "probs":
        return scores - scores[:, ::-1]
    is_top = _is_top(scores)
    others = jnp.where(is_top, -jnp.inf, scores)
    if kind == "probs":
        rest = jnp.sum(jnp.maximum(others, 0), axis=-1, keepdims=True)
        return jnp.where(scores < 1, scores, jnp.maximum(-jnp.log(rest), 1))
    # All are relative to the highest score, and that to the second: the difference of two near
    # floats is exact, also beside a large offset.
    top = jnp.max(scores, axis=-1, keepdims=True)
    second = jnp.max(others, axis=-1, keepdims=True)
    second = jnp.where(jnp.isfinite(second), second, _LEAST_SCORE)
    lead = top - second - jnp.log(jnp.sum(jnp.exp(others - second), axis=-1, keepdims=True))
    shares = jnp.where(is_top, 0, jnp.exp(scores - top))
    rest = jnp.sum(shares, axis=-1, keepdims=True) - shares
    return jnp.where(is_top, lead, scores - top - jnp.log1p(jnp.maximum(rest, 0)))


_LEAST_SCORE = -3.0e38  # instead of -inf: -inf minus itself is NaN


def _is_top(scores: Array) -> Array:
    """[B, C] bool, the class with the highest score, the first of equals."""
    return jnp.arange(scores.shape[-1]) == jnp.argmax(scores, axis=-1)[:, None]


TABLE: Mapping[str, Callable[..., Array]] = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "argmax": argmax,
    "top_k": top_k,
    "stop_gradient": stop_gradient,
    "straight_through": straight_through,
    "next_token": next_token,
}
