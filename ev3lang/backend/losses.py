"""Losses of each example of a batch; the caller takes the mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ev3lang.backend.arithmetic import mean, multiply, subtract
from ev3lang.backend.scores import in_log_space


def at_label(values: Array, labels: Array) -> Array:
    """Each example's value at its label.

    values    [B, C] float32
    labels    [B] int32 in [0, C)
    returns   [B] float32
    """
    if values.shape[-1] > _FEW_CLASSES:
        return jnp.take_along_axis(values, labels[:, None], axis=-1)[:, 0]
    return jnp.sum(jnp.where(_is_label(values, labels), values, 0), axis=-1)


# A gather's gradient is a scatter. Inside a scan on a CPU selecting took 0.8 of its time for 10
# classes, as much for 100, and 1.5 times as much for 1000.
_FEW_CLASSES = 128


def _is_label(values: Array, labels: Array) -> Array:
    return labels[:, None] == jnp.arange(values.shape[-1])


def cross_entropy(scores: Array, labels: Array, *, label_smoothing: ArrayLike) -> Array:
    """Negative log-likelihood of the labels.

    scores    [B, C] float32, logits or log-probabilities in nats (log_softmax keeps the latter)
    labels    [B] int32 in [0, C)
    label_smoothing   share of the target in [0, 1] spread evenly over all classes
    returns   [B] float32, at least 0, nats
    Source: Szegedy et al. (2016), arXiv:1512.00567, section 7.
    """
    log_probs = jax.nn.log_softmax(scores, axis=-1)
    loss = -at_label(log_probs, labels)
    if isinstance(label_smoothing, (int, float)) and label_smoothing == 0:
        return loss
    share = jnp.asarray(label_smoothing)
    return (1 - share) * loss - share * jnp.mean(log_probs, axis=-1)


_NOTHING = -(2.0**100)


def focal_loss(scores: Array, labels: Array, *, gamma: ArrayLike) -> Array:
    """Cross entropy times (1 - p) ^ gamma, where p is the label's probability.

    1 - p is summed from the other classes in log space, so that it is right where p rounds to 1.

    scores    [B, C] float32, logits or log-probabilities in nats
    labels    [B] int32 in [0, C)
    gamma     at least 0; 0 gives cross entropy
    returns   [B] float32, at least 0
    Source: Lin et al. (2017), arXiv:1708.02002, equation 4.
    """
    log_probs = jax.nn.log_softmax(scores, axis=-1)
    # Far below any logarithm, yet finite: with -inf, 0 * gamma would be NaN where nothing is left.
    others = jnp.where(_is_label(scores, labels), _NOTHING, jnp.maximum(log_probs, _NOTHING))
    log_rest = jax.scipy.special.logsumexp(others, axis=-1)
    return -at_label(log_probs, labels) * jnp.exp(gamma * log_rest)


def sigmoid_binary_cross_entropy(scores: Array, labels: Array) -> Array:
    """Negative log-likelihood of which labels are present, mean over the labels.

    scores    [B, C] float32, logit of each label's presence
    labels    [B, C], 1 where the label is present, else 0
    returns   [B] float32, at least 0, nats
    Source: Bishop (2006), Pattern Recognition and Machine Learning, equation 4.90.
    """
    return jnp.mean(jax.nn.softplus(scores) - scores * labels, axis=-1)


def kl_divergence(target: Array, prediction: Array, *, kinds: tuple[str, str]) -> Array:
    """KL(target || prediction): sum over classes of p (log p - log q), where p = 0 adds nothing.

    target, prediction   [B, C] float32, probs or log_probs, as `kinds` says of each
    returns   [B] float32, nats; infinite where log q is -inf and p is not 0
    Source: Kullback and Leibler (1951), Ann. Math. Stat. 22:79-86.
    """
    log_target = in_log_space(target, kinds[0])
    log_prediction = in_log_space(prediction, kinds[1])
    probs = target if kinds[0] == "probs" else jnp.exp(target)
    gap = jnp.where(probs > 0, log_target - log_prediction, 0)
    return jnp.sum(probs * gap, axis=-1)


def squared_error(prediction: ArrayLike, target: ArrayLike) -> Array:
    """Squared difference, mean over an example's own dimensions.

    prediction, target   [B] or [B, ...] float32
    returns   [B] float32, at least 0
    """
    return mean(jnp.square(subtract(prediction, target)))


def absolute_error(prediction: ArrayLike, target: ArrayLike) -> Array:
    """Absolute difference, mean over an example's own dimensions.

    prediction, target   [B] or [B, ...] float32
    returns   [B] float32, at least 0; its gradient is 0 where both are equal
    """
    return mean(jnp.abs(subtract(prediction, target)))


def huber_loss(prediction: ArrayLike, target: ArrayLike, *, delta: ArrayLike) -> Array:
    """Half the squared difference up to delta, linear beyond, mean over own dimensions.

    prediction, target   [B] or [B, ...] float32
    delta     above 0, in the unit of the target
    returns   [B] float32, at least 0
    Source: Huber (1964), Ann. Math. Stat. 35:73-101.
    """
    size = jnp.abs(subtract(prediction, target))
    near = jnp.minimum(size, delta)
    return mean(multiply(near, size - 0.5 * near))


TABLE: Mapping[str, Callable[..., Array]] = {
    "cross_entropy": cross_entropy,
    "focal_loss": focal_loss,
    "sigmoid_binary_cross_entropy": sigmoid_binary_cross_entropy,
    "kl_divergence": kl_divergence,
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber_loss": huber_loss,
}
