"""Losses of each example of a batch; the caller takes the mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from ev3lang.backend.arithmetic import difference, mean, multiply
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
    return mean(jnp.square(difference(prediction, target)))


def absolute_error(prediction: ArrayLike, target: ArrayLike) -> Array:
    """Absolute difference, mean over an example's own dimensions.

    prediction, target   [B] or [B, ...] float32
    returns   [B] float32, at least 0; its gradient is 0 where both are equal
    """
    return mean(jnp.abs(difference(prediction, target)))


def huber_loss(prediction: ArrayLike, target: ArrayLike, *, delta: ArrayLike) -> Array:
    """Half the squared difference up to delta, linear beyond, mean over own dimensions.

    prediction, target   [B] or [B, ...] float32
    delta     above 0, in the unit of the target
    returns   [B] float32, at least 0
    Source: Huber (1964), Ann. Math. Stat. 35:73-101.
    """
    size = jnp.abs(difference(prediction, target))
    near = jnp.minimum(size, delta)
    return mean(multiply(near, size - 0.5 * near))


def weighted_cross_entropy(
    scores: Array, labels: Array, *, weights: tuple[float, ...], classes: int
) -> Array:
    """Cross entropy times what the label's class counts.

    scores    [B, C] float32, logits or log-probabilities in nats
    labels    [B] int32 in [0, C)
    weights   C numbers of at least 0
    returns   [B] float32, at least 0
    """
    assert len(weights) == classes, "the checker counts them"
    counted = jnp.asarray(weights, jnp.float32)[labels]
    return counted * cross_entropy(scores, labels, label_smoothing=0)


def decoupled_distillation(
    target: Array,
    prediction: Array,
    labels: Array,
    *,
    T: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
) -> Array:
    """alpha KL(label against the rest) + beta KL(among the rest), times T squared.

    target, prediction   [B, C] float32 logits, of the teacher and of the student
    labels    [B] int32 in [0, C)
    T         temperature, above 0
    returns   [B] float32, at least 0, nats
    Source: Zhao et al. (2022), arXiv:2203.08679, equation 7.
    """
    is_label = _is_label(target, labels)

    def parts(scores: Array) -> tuple[Array, Array]:
        log_probs = jax.nn.log_softmax(scores / T, axis=-1)
        others = jnp.where(is_label, _NOTHING, log_probs)
        rest = jax.scipy.special.logsumexp(others, axis=-1)
        binary = jnp.stack([at_label(log_probs, labels), rest], axis=-1)
        return binary, jnp.where(is_label, _NOTHING, log_probs - rest[:, None])

    (binary_target, rest_target), (binary, rest) = parts(target), parts(prediction)
    both = ("log_probs", "log_probs")
    of_label = kl_divergence(binary_target, binary, kinds=both)
    of_rest = kl_divergence(rest_target, rest, kinds=both)
    weighted = multiply(alpha, of_label) + multiply(beta, of_rest)
    return weighted * jnp.square(jnp.asarray(T))


def attention_matching(target: Array, prediction: Array) -> Array:
    """The squared distance of two maps of activity, each of length 1.

    target, prediction   [B, H, W, C] and [B, H, W, D] float32
    returns   [B] float32 in [0, 2]
    Source: Zagoruyko and Komodakis (2017), arXiv:1612.03928, equation 2 with p = 2.
    """

    def activity(x: Array) -> Array:
        strength = jnp.sum(jnp.square(x), axis=-1).reshape(x.shape[0], -1)
        return strength / jnp.maximum(_length(strength), _LEAST_LENGTH)

    return jnp.sum(jnp.square(activity(target) - activity(prediction)), axis=-1)


_LEAST_LENGTH = 1e-12


def _length(x: Array) -> Array:
    """The length of each vector, [B, 1]; its gradient is finite at 0."""
    squares = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return jnp.sqrt(jnp.maximum(squares, _LEAST_LENGTH**2))


def _direction(x: Array) -> Array:
    return x / jnp.maximum(_length(x), _LEAST_LENGTH)


def cosine_distance(prediction: Array, target: Array) -> Array:
    """1 - cos of the angle between two vectors; 1 where one of them is 0.

    prediction, target   [B, D] float32
    returns   [B] float32 in [0, 2]
    """
    return 1 - jnp.sum(_direction(prediction) * _direction(target), axis=-1)


def contrastive_loss(anchors: Array, positives: Array, *, temperature: ArrayLike) -> Array:
    """Cross entropy of finding each example's own partner in the batch by its cosine.

    anchors, positives   [B, D] float32; row b of one belongs to row b of the other
    returns   [B] float32, at least 0, nats
    Source: van den Oord, Li and Vinyals (2018), arXiv:1807.03748, equation 4.
    """
    cosines = _direction(anchors) @ _direction(positives).T
    return cross_entropy(cosines / temperature, jnp.arange(len(anchors)), label_smoothing=0)


def hinge_loss(scores: Array, labels: Array, *, margin: ArrayLike) -> Array:
    """max(0, margin - label's score + highest other score).

    scores    [B, C] float32
    labels    [B] int32 in [0, C)
    returns   [B] float32, at least 0
    Source: Crammer and Singer (2001), J. Mach. Learn. Res. 2:265-292.
    """
    others = jnp.where(_is_label(scores, labels), -jnp.inf, scores)
    return jax.nn.relu(margin - at_label(scores, labels) + jnp.max(others, axis=-1))


def quantile_loss(prediction: ArrayLike, target: ArrayLike, *, quantile: ArrayLike) -> Array:
    """q (target - prediction) above the prediction, (1 - q) (prediction - target) below it.

    prediction, target   [B] or [B, ...] float32
    quantile  in [0, 1]; 0.5 gives half the absolute error
    returns   [B] float32, at least 0
    Source: Koenker and Bassett (1978), Econometrica 46:33-50.
    """
    gap = difference(target, prediction)
    return mean(jnp.maximum(multiply(quantile, gap), multiply(jnp.asarray(quantile) - 1, gap)))


def log_cosh(prediction: ArrayLike, target: ArrayLike) -> Array:
    """log cosh of the difference: half its square near 0, its size less log 2 far away.

    prediction, target   [B] or [B, ...] float32
    returns   [B] float32, at least 0
    """
    gap = jnp.asarray(difference(prediction, target))
    size = jnp.abs(gap)
    # Near 0 what is far away cancels to three digits; far away what is near overflows.
    near = jnp.log1p(2 * jnp.square(jnp.sinh(jnp.clip(gap, -1, 1) / 2)))
    far = size + jnp.log1p(jnp.exp(-2 * size)) - jnp.log(2.0)
    return mean(jnp.where(size < 1, near, far))


def ctc_loss(scores: Array, target: Array) -> Array:
    """Negative log-likelihood of a sequence under all its alignments.

    scores    [B, T, C] float32 logits; class 0 is the blank
    target    [B, L] int32 in [1, C), -1 behind its end
    returns   [B] float32, at least 0, nats
    Source: Graves et al. (2006), ICML 23:369-376.
    """
    none = jnp.zeros(scores.shape[:2], scores.dtype)
    padding = (target < 0).astype(scores.dtype)
    return optax.losses.ctc_loss(scores, none, jnp.maximum(target, 0), padding)


def token_cross_entropy(
    scores: Array, target: Array, *, label_smoothing: ArrayLike, over: str
) -> Array:
    """Cross entropy of the places that have a target, their mean.

    scores    [B, T, C] float32 logits
    target    [B, T] int32 in [0, C), -1 where there is none
    over      what is averaged, as `over_targets` says
    returns   [B] float32, at least 0, nats
    """
    classes = scores.shape[-1]
    each = cross_entropy(
        scores.reshape(-1, classes),
        jnp.maximum(target, 0).reshape(-1),
        label_smoothing=label_smoothing,
    ).reshape(target.shape)
    return over_targets(each, target, over)


def over_targets(values: Array, target: Array, over: str) -> Array:
    """[B], of `[B, T]` the values of places that have a target, so that their mean is wanted.

    over      `tokens`: each sequence's sum over the mean number of places of a sequence, so that
              the mean over sequences is that over all places; `sequences`: each sequence's mean
    A sequence without any is 0: it has no part in a mean over tokens, and in data whose sequences
    are averaged there is none.
    """
    has_one = target >= 0
    sums = jnp.sum(jnp.where(has_one, values, 0), axis=-1)
    counts = jnp.sum(has_one, axis=-1, dtype=values.dtype)
    if over == "tokens":
        counts = jnp.mean(counts)
    return sums / jnp.where(counts > 0, counts, 1)


TABLE: Mapping[str, Callable[..., Array]] = {
    "weighted_cross_entropy": weighted_cross_entropy,
    "decoupled_distillation": decoupled_distillation,
    "attention_matching": attention_matching,
    "cosine_distance": cosine_distance,
    "contrastive_loss": contrastive_loss,
    "hinge_loss": hinge_loss,
    "quantile_loss": quantile_loss,
    "log_cosh": log_cosh,
    "ctc_loss": ctc_loss,
    "token_cross_entropy": token_cross_entropy,
    "cross_entropy": cross_entropy,
    "focal_loss": focal_loss,
    "sigmoid_binary_cross_entropy": sigmoid_binary_cross_entropy,
    "kl_divergence": kl_divergence,
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber_loss": huber_loss,
}
