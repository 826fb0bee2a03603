"""Metrics of a batch or a whole set: of each example where that is meaningful, else one value.

Axes: N examples of a set, C classes. A set is evaluated whole: no padding, no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ev3lang.backend.arithmetic import difference, in_own_unit, power_of_two
from ev3lang.backend.losses import absolute_error, at_label, over_targets, squared_error
from ev3lang.backend.scores import in_log_space, ranks_of_classes


def confusion_matrix(predictions: Array, labels: Array, *, classes: int) -> Array:
    """How many examples of each true class are predicted as each class.

    predictions, labels   [N] int32 in [0, C)
    returns   [C, C] float32: row true class, column predicted class; rounded once where a count
              is above 2^24
    """
    true, predicted = jax.nn.one_hot(labels, classes), jax.nn.one_hot(predictions, classes)
    if len(labels) <= _EXACT:
        return true.T @ predicted
    counts = [
        (true[begin : begin + _EXACT].T @ predicted[begin : begin + _EXACT]).astype(jnp.int32)
        for begin in range(0, len(labels), _EXACT)
    ]
    return jnp.sum(jnp.stack(counts), axis=0).astype(jnp.float32)


_EXACT = 2**24
"""Up to which all whole numbers are float32."""


def _defined_ratio(part: Array, whole: Array) -> Array:
    """part / whole, and NaN where there is nothing to share."""
    return jnp.where(whole > 0, _ratio(part, whole), jnp.nan)


def _ratio(part: Array, whole: Array) -> Array:
    """part / whole, and 0 where there is nothing to share."""
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 0)


def _share_by_class(
    predictions: Array,
    labels: Array,
    classes: int,
    positive: int | None,
    share: Callable[[Array, Array, Array], Array],
) -> Array:
    """`share(hits, missed, false alarms)` of the positive class, or its mean over classes.

    NaN of a positive class that neither labels nor predictions have: nothing is right or wrong.

    Classes that neither labels nor predictions have are left out of the mean, as scikit-learn
    does: a small split that happens to lack one is not worse for it.
    """
    matrix = confusion_matrix(predictions, labels, classes=classes)
    hits = jnp.diagonal(matrix)
    missed = jnp.sum(matrix, axis=1) - hits
    false_alarms = jnp.sum(matrix, axis=0) - hits
    shares = share(hits, missed, false_alarms)
    occurs = hits + missed + false_alarms > 0
    if positive is not None:
        assert positive < classes, f"class {positive} of {classes}: the checker lets none through"
        return jnp.where(occurs[positive], shares[positive], jnp.nan)
    return jnp.sum(jnp.where(occurs, shares, 0)) / jnp.sum(occurs)


def precision(predictions: Array, labels: Array, *, positive: int | None, classes: int) -> Array:
    """The share of true ones among the examples predicted positive.

    predictions, labels   [N] int32 in [0, C)
    positive  the class to find, None for the unweighted mean over the classes that occur
    returns   [] float32 in [0, 1]; 0 for a class that has examples and is never predicted, NaN for
              a positive one without either
    Source: van Rijsbergen (1979), Information Retrieval, chapter 7.
    """
    return _share_by_class(
        predictions,
        labels,
        classes,
        positive,
        lambda hits, missed, false: _ratio(hits, hits + false),
    )


def recall(predictions: Array, labels: Array, *, positive: int | None, classes: int) -> Array:
    """The share of the positive examples that are predicted positive.

    predictions, labels   [N] int32 in [0, C)
    positive  the class to find, None for the unweighted mean over the classes that occur
    returns   [] float32 in [0, 1]; NaN for a positive class that has no examples, which is 0 in
              the mean where it is predicted
    Source: van Rijsbergen (1979), Information Retrieval, chapter 7.
    """
    share = _ratio if positive is None else _defined_ratio
    return _share_by_class(
        predictions,
        labels,
        classes,
        positive,
        lambda hits, missed, false: share(hits, hits + missed),
    )


def f1(predictions: Array, labels: Array, *, positive: int | None, classes: int) -> Array:
    """The harmonic mean of precision and recall: `fbeta` with beta 1."""
    return fbeta(predictions, labels, beta=1, positive=positive, classes=classes)


def fbeta(
    predictions: Array, labels: Array, *, beta: ArrayLike, positive: int | None, classes: int
) -> Array:
    """The harmonic mean of precision and recall, recall weighted beta times as much.

    predictions, labels   [N] int32 in [0, C)
    positive  the class to find, None for the unweighted mean over the classes that occur
    returns   [] float32 in [0, 1]; NaN for a positive class that is neither there nor predicted
    Source: van Rijsbergen (1979), Information Retrieval, chapter 7.
    """
    weight = jnp.square(jnp.asarray(beta, jnp.float32))

    def share(hits: Array, missed: Array, false: Array) -> Array:
        both = (1 + weight) * hits
        return _ratio(both, both + weight * missed + false)

    return _share_by_class(predictions, labels, classes, positive, share)


def balanced_accuracy(predictions: Array, labels: Array, *, classes: int) -> Array:
    """Recall, mean over the classes that have examples.

    predictions, labels   [N] int32 in [0, C)
    returns   [] float32 in [0, 1]
    Source: Brodersen et al. (2010), ICPR 20:3121-3124.
    """
    matrix = confusion_matrix(predictions, labels, classes=classes)
    examples = jnp.sum(matrix, axis=1)
    return jnp.sum(_ratio(jnp.diagonal(matrix), examples)) / jnp.sum(examples > 0)


def matthews_correlation(predictions: Array, labels: Array, *, classes: int) -> Array:
    """The correlation between predicted and true classes.

    Summed over classes as hits * rejections - false alarms * misses, which keeps its digits where
    one class is rare.

    predictions, labels   [N] int32 in [0, C)
    returns   [] float32 in [-1, 1]; 0 where one of both is constant
    Source: Gorodkin (2004), Comput. Biol. Chem. 28:367-374.
    """
    examples = predictions.shape[0]
    matrix = confusion_matrix(predictions, labels, classes=classes)
    true, predicted = jnp.sum(matrix, axis=1), jnp.sum(matrix, axis=0)
    hits = jnp.diagonal(matrix)
    missed, false_alarms = true - hits, predicted - hits
    rejected = examples - hits - missed - false_alarms
    covariance = hits / examples * (rejected / examples)
    covariance -= missed / examples * (false_alarms / examples)

    def variance(counts: Array) -> Array:
        return jnp.sum(counts / examples * ((examples - counts) / examples))

    spread = jnp.sqrt(variance(true)) * jnp.sqrt(variance(predicted))
    return _ratio(jnp.sum(covariance), spread)


def cohen_kappa(predictions: Array, labels: Array, *, classes: int) -> Array:
    """Agreement between predicted and true classes beyond that of chance.

    predictions, labels   [N] int32 in [0, C)
    returns   [] float32 in [-1, 1]; 0 where both are one and the same constant
    Source: Cohen (1960), Educ. Psychol. Meas. 20:37-46.
    """
    return _kappa(predictions, labels, 1 - jnp.eye(classes))


def quadratic_weighted_kappa(predictions: Array, labels: Array, *, classes: int) -> Array:
    """Agreement on an ordered scale beyond that of chance, a distance of d weighing d squared.

    predictions, labels   [N] int32 in [0, C)
    returns   [] float32 in [-1, 1]; 0 where both are one and the same constant
    Source: Cohen (1968), Psychol. Bull. 70:213-220.
    """
    scale = jnp.arange(classes, dtype=jnp.float32)
    return _kappa(predictions, labels, jnp.square(scale[:, None] - scale))


def _kappa(predictions: Array, labels: Array, weights: Array) -> Array:
    """1 - observed disagreement / disagreement by chance; `weights` [C, C] says what disagrees."""
    matrix = confusion_matrix(predictions, labels, classes=weights.shape[0])
    shares = matrix / predictions.shape[0]
    chance = jnp.sum(shares, axis=1)[:, None] * jnp.sum(shares, axis=0)
    observed, expected = jnp.sum(weights * shares), jnp.sum(weights * chance)
    return jnp.where(expected > 0, 1 - _ratio(observed, expected), 0)


def log_loss(probs: Array, labels: Array, *, kinds: tuple[str, ...]) -> Array:
    """The negative log-probability of the label.

    probs     [B, C] float32, probs or log_probs as the first of `kinds` says
    labels    [B] int32 in [0, C)
    returns   [B] float32, at least 0, nats; at most 87.4 for probs (see `in_log_space`)
    Source: Good (1952), J. R. Stat. Soc. B 14:107-114.
    """
    return -at_label(in_log_space(probs, kinds[0]), labels)


def brier(probs: Array, labels: Array) -> Array:
    """Squared distance between predicted and true class probabilities.

    probs     [B, C] float32 in [0, 1], each row of sum 1
    labels    [B] int32 in [0, C)
    returns   [B] float32 in [0, 2]
    Source: Brier (1950), Mon. Weather Rev. 78:1-3.
    """
    target = jax.nn.one_hot(labels, probs.shape[-1])
    return jnp.sum(jnp.square(probs - target), axis=-1)


def expected_calibration_error(probs: Array, labels: Array, *, bins: int) -> Array:
    """The distance between confidence and accuracy, averaged over bins of confidence.

    probs     [N, C] float32 in [0, 1], each row of sum 1; the highest one is the confidence
    labels    [N] int32 in [0, C)
    bins      intervals (m / bins, (m + 1) / bins] of confidence
    returns   [] float32 in [0, 1]
    Source: Guo et al. (2017), arXiv:1706.04599, equation 3.
    """
    confidence = jnp.max(probs, axis=-1)
    correct = jnp.argmax(probs, axis=-1) == labels
    bin_of = jnp.clip(jnp.ceil(confidence * bins) - 1, 0, bins - 1)
    is_inside = bin_of[:, None] == jnp.arange(bins)
    gaps = jnp.sum(jnp.where(is_inside, (correct - confidence)[:, None], 0), axis=0)
    return jnp.sum(jnp.abs(gaps)) / labels.shape[0]


def _positive_scores(scores: Array, kind: str, positive: int) -> Array:
    """What orders examples by how much speaks for the positive one of two classes: [N]."""
    return scores if scores.ndim == 1 else ranks_of_classes(scores, kind)[:, positive]


def _counts_from(scores: Array, is_counted: Array) -> tuple[Array, Array]:
    """For each example, how many counted ones have at least its score, and how many more.

    scores        [N] float32
    is_counted    [N] bool
    returns       two [N] int32
    """
    order = jnp.argsort(scores)
    ascending = scores[order]
    none = jnp.zeros(1, jnp.int32)
    below = jnp.concatenate([none, jnp.cumsum(is_counted[order].astype(jnp.int32))])
    at_least = below[-1] - below[jnp.searchsorted(ascending, scores, side="left")]
    more = below[-1] - below[jnp.searchsorted(ascending, scores, side="right")]
    return at_least, more


def _if_ordered(value: Array, scores: Array) -> Array:
    """The value, and NaN where a score is NaN: sorting would take it for the highest."""
    return jnp.where(jnp.any(jnp.isnan(scores)), jnp.nan, value)


def roc_auc(scores: Array, labels: Array, *, positive: int, kinds: tuple[str, ...]) -> Array:
    """The chance that a positive example has a higher score than a negative one; ties count half.

    scores    [N] float32, high for the positive class, or [N, 2], of the kind first in `kinds`
    labels    [N] int32 in [0, 2)
    returns   [] float32 in [0, 1]; NaN where a class is absent
    Source: Hanley and McNeil (1982), Radiology 143:29-36.
    """
    scores = _positive_scores(scores, kinds[0], positive)
    is_positive = labels == positive
    at_least, more = _counts_from(scores, is_positive)
    positives, negatives = jnp.sum(is_positive), jnp.sum(~is_positive)
    won = (at_least.astype(jnp.float32) + more) / 2 / positives
    found = jnp.sum(jnp.where(is_positive, 0, won)) / negatives
    return _if_ordered(found, scores)


def average_precision(
    scores: Array, labels: Array, *, positive: int, kinds: tuple[str, ...]
) -> Array:
    """The precision at each positive example's score, mean over the positive ones.

    scores    [N] float32, high for the positive class, or [N, 2], of the kind first in `kinds`
    labels    [N] int32 in [0, 2)
    returns   [] float32 in [0, 1]; NaN where no example is positive
    Source: Zhu (2004), Recall, Precision and Average Precision, University of Waterloo.
    """
    scores = _positive_scores(scores, kinds[0], positive)
    is_positive = labels == positive
    found, _ = _counts_from(scores, is_positive)
    taken, _ = _counts_from(scores, jnp.ones_like(is_positive))
    total = jnp.sum(jnp.where(is_positive, found / taken, 0))
    return _if_ordered(_defined_ratio(total, jnp.sum(is_positive)), scores)


def root_mean_squared_error(prediction: ArrayLike, target: ArrayLike) -> Array:
    """The root of the squared difference's mean over dimensions and examples.

    prediction, target   [N] or [N, ...] float32
    returns   [] float32, at least 0, in the unit of the target
    """
    # In units of the largest one, whose square neither overflows nor rounds to 0.
    gap = difference(prediction, target)
    unit = power_of_two(jnp.max(jnp.abs(gap)))
    return unit * jnp.sqrt(jnp.mean(jnp.square(gap / unit)))


def r2_score(prediction: ArrayLike, target: ArrayLike) -> Array:
    """The share of the target's variance that is explained, mean over dimensions.

    prediction, target   [N] or [N, ...] float32
    returns   [] float32, at most 1; NaN where the target, or a dimension of it, is constant
    Source: Wright (1921), J. Agric. Res. 20:557-585.
    """
    prediction, target = jnp.asarray(prediction), jnp.asarray(target)
    gap, gap_unit = in_own_unit(difference(target, prediction), 0)
    apart, unit = _centred(target)
    spread = jnp.sum(jnp.square(apart), axis=0)
    unexplained = jnp.sum(jnp.square(gap), axis=0) / jnp.where(spread == 0, jnp.nan, spread)
    return jnp.mean(1 - unexplained * jnp.square(gap_unit[0] / unit[0]))


def _centred(columns: Array) -> tuple[Array, Array]:
    """Columns less their means, in units in which the largest number is in [1, 2).

    columns   [N, ...] float32
    returns   [N, ...] float32, all 0 of a column that is constant; [1, ...] float32, the units

    A float32 mean beside a large offset is off by more than the columns vary. Numbers near it
    lose nothing when it is taken off, so the mean of what is left corrects it.
    """
    columns = jnp.asarray(columns, jnp.float32)
    scaled, first_unit = in_own_unit(columns, 0)
    near = scaled - jnp.mean(scaled, axis=0)
    near, second_unit = in_own_unit(near, 0)
    apart, third_unit = in_own_unit(near - jnp.mean(near, axis=0), 0)
    is_constant = jnp.max(columns, axis=0) == jnp.min(columns, axis=0)
    return jnp.where(is_constant, 0, apart), first_unit * (second_unit * third_unit)


def subset_match(scores: Array, labels: Array) -> Array:
    """Whether exactly the labels with a logit above 0 are present.

    scores    [B, C] float32, logit of each label's presence
    labels    [B, C], 1 where the label is present, else 0
    returns   [B] bool
    """
    return jnp.all((scores > 0) == (labels > 0), axis=-1)


def hamming_loss(scores: Array, labels: Array) -> Array:
    """The share of labels that a logit above 0 gets wrong: [B] float32 in [0, 1]; as above."""
    return jnp.mean(((scores > 0) != (labels > 0)).astype(jnp.float32), axis=-1)


def label_f1(scores: Array, labels: Array, *, average: str) -> Array:
    """F1 of the labels with a logit above 0, mean over labels or of all of them together.

    scores    [N, C] float32, logit of each label's presence
    labels    [N, C], 1 where the label is present, else 0
    returns   [] float32 in [0, 1]
    """
    found, there = scores > 0, labels > 0
    hits, wrong = jnp.sum(found & there, axis=0), jnp.sum(found != there, axis=0)
    if average == "micro":
        hits, wrong = jnp.sum(hits), jnp.sum(wrong)
    return jnp.mean(_ratio(2.0 * hits, 2.0 * hits + wrong))


def macro_roc_auc(scores: Array, labels: Array, *, kinds: tuple[str, ...]) -> Array:
    """One class against the rest, mean over the classes that some and not all examples have.

    scores    [N, C] float32, of the kind first in `kinds`
    labels    [N] int32 in [0, C)
    returns   [] float32 in [0, 1]; NaN where all examples are of one class
    Source: Provost and Domingos (2003), Mach. Learn. 52:199-215.
    """
    ranks = ranks_of_classes(scores, kinds[0])

    def of_class(column: Array, label: Array) -> Array:
        return roc_auc(column, (labels == label).astype(jnp.int32), positive=1, kinds=("real",))

    each = jax.vmap(of_class, (1, 0))(ranks, jnp.arange(ranks.shape[-1]))
    counts = jnp.sum(labels[:, None] == jnp.arange(ranks.shape[-1]), axis=0)
    occurs = (counts > 0) & (counts < len(labels))
    return jnp.sum(jnp.where(occurs, each, 0)) / jnp.sum(occurs)


def group_gap(values: Array, group: Array, *, groups: int) -> Array:
    """The largest difference between two groups' means, of those that have examples.

    values    [N], a bool counts as 0 or 1
    group     [N] int32 in [0, groups)
    returns   [] float32, at least 0; NaN where all examples are of one group
    Source: Dwork et al. (2012), arXiv:1104.3913, the difference of two groups' outcomes.
    """
    values = jnp.asarray(values, jnp.float32)
    # The gap is the same of numbers without their offset, whose sums round less.
    apart = values - jnp.mean(values)
    is_inside = group[:, None] == jnp.arange(groups)
    counts = jnp.sum(is_inside, axis=0)
    means = _ratio(jnp.sum(jnp.where(is_inside, apart[:, None], 0), axis=0), counts)
    occurs = counts > 0
    highest = jnp.max(jnp.where(occurs, means, -jnp.inf))
    gap = highest - jnp.min(jnp.where(occurs, means, jnp.inf))
    return jnp.where(jnp.sum(occurs) > 1, gap, jnp.nan)


def pearson_correlation(prediction: Array, target: Array) -> Array:
    """The linear correlation of two columns: [N] float32 each to [] float32 in [-1, 1].

    0 where one of them is constant. Source: Pearson (1895), Proc. R. Soc. Lond. 58:240-242.
    """
    (first, _), (second, _) = _centred(prediction), _centred(target)
    squares = jnp.sum(jnp.square(first)), jnp.sum(jnp.square(second))
    is_constant = (squares[0] == 0) | (squares[1] == 0)
    spread = jnp.sqrt(jnp.where(is_constant, 1, squares[0] * squares[1]))
    found = jnp.clip(jnp.sum(first * second) / spread, -1, 1)
    return jnp.where(is_constant, 0, found)


def spearman_correlation(prediction: Array, target: Array) -> Array:
    """The correlation of the ranks of two columns: [N] float32 each to [] float32 in [-1, 1].

    Equal numbers share their mean rank. Source: Spearman (1904), Am. J. Psychol. 15:72-101.
    """

    def ranks(x: Array) -> Array:
        at_least, more = _counts_from(x, jnp.ones(len(x), bool))
        return _if_ordered(-(at_least.astype(jnp.float32) + more) / 2, x)

    first, second = (ranks(jnp.asarray(x, jnp.float32)) for x in (prediction, target))
    return pearson_correlation(first, second)


def token_accuracy(scores: Array, target: Array, *, over: str) -> Array:
    """The share of places with a target whose highest score is the target's.

    scores    [B, T, C] float32
    target    [B, T] int32 in [0, C), -1 where there is none
    over      what is averaged, as `over_targets` says
    returns   [B] float32 of mean in [0, 1]
    """
    is_right = (jnp.argmax(scores, axis=-1) == target).astype(jnp.float32)
    return over_targets(is_right, target, over)


TABLE: Mapping[str, Callable[..., Array]] = {
    "subset_match": subset_match,
    "hamming_loss": hamming_loss,
    "label_f1": label_f1,
    "macro_roc_auc": macro_roc_auc,
    "group_gap": group_gap,
    "pearson_correlation": pearson_correlation,
    "spearman_correlation": spearman_correlation,
    "token_accuracy": token_accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "fbeta": fbeta,
    "balanced_accuracy": balanced_accuracy,
    "matthews_correlation": matthews_correlation,
    "cohen_kappa": cohen_kappa,
    "quadratic_weighted_kappa": quadratic_weighted_kappa,
    "confusion_matrix": confusion_matrix,
    "log_loss": log_loss,
    "brier": brier,
    "expected_calibration_error": expected_calibration_error,
    "roc_auc": roc_auc,
    "average_precision": average_precision,
    "mean_squared_error": squared_error,
    "mean_absolute_error": absolute_error,
    "root_mean_squared_error": root_mean_squared_error,
    "r2_score": r2_score,
}
