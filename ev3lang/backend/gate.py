"""Rule `gate`: when to ask the adapt split, at which level, and what its one bit is.

The ledger is one number, log b: what is left of delta. Every query spends a twentieth of it;
what is left after an acceptance and after a rejection (0.9 b and 0.05 b) adds up with the spent
part to b, so all the queries that any history of answers can lead to stay below delta together.
All levels are kept as logarithms: after thirty rejections b is below float32's smallest number.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from ev3lang.check.bounds import FIRST_QUERY

Array = jax.Array

LEAST_POWER = 0.9
LOG_SPENT = -math.log(FIRST_QUERY)
LOG_LEFT_ACCEPTED = math.log(0.9)
LOG_LEFT_REJECTED = math.log(0.05)

# The float32 error of `log_tail` must never accept what the exact p-value would not.
MARGIN = 1e-4

_FRACTION_STEPS = 256
_QUANTILE_STEPS = 6
_LOG_2 = math.log(2)
_HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)


def level(log_budget: Array) -> Array:
    """The log level of the next query while the run goes on: that of a twentieth of b."""
    return log_budget + LOG_SPENT


def budget_after(log_budget: Array, is_accepted: Array) -> Array:
    """The log of what is left of b after a query was answered."""
    return log_budget + jnp.where(is_accepted, LOG_LEFT_ACCEPTED, LOG_LEFT_REJECTED)


def power(wins: Array, losses: Array, ratio: float, log_level: Array) -> Array:
    """The predicted chance that a query passes, given what assess shows.

    wins, losses  [] int32, assess examples that only current, only accepted gets right
    ratio         examples in adapt over examples in assess, > 0
    log_level     [] float32 in nats, of the query
    returns       [] float32 in [0, 1]
    Source: DESIGN.md, 3; the normal predictive distribution of the adapt split's z-score given
    assess's, shrunk by a half against the choice of the best candidate.
    """
    return predicted((wins - losses) / jnp.sqrt(wins + losses + 1.0), ratio, log_level)


def predicted(standing: Array, ratio: float, log_level: Array) -> Array:
    """The predicted chance that a test by a z-score passes, [] float32 in [0, 1].

    standing  [] float32, the gain on assess over its standard error
    """
    shift = (standing - 0.5) * math.sqrt(ratio) - upper_quantile(log_level)
    return jax.scipy.stats.norm.cdf(shift / math.sqrt(1 + ratio))


def discordant(gains: Array) -> tuple[Array, Array]:
    """How many examples the first model alone, and the second alone, gets right: [] int32 each.

    gains   [B] float32, 1 where the first alone is right, -1 where the second is, else 0
    """
    return jnp.sum(gains > 0, dtype=jnp.int32), jnp.sum(gains < 0, dtype=jnp.int32)


def passes(wins: Array, losses: Array, log_level: Array) -> Array:
    """Whether the exact one-sided McNemar test rejects "current is no better than accepted".

    wins, losses  [] int32, adapt examples that only current, only accepted gets right
    log_level     [] float32 in nats
    returns       [] bool, the one bit
    """
    return (wins > losses) & (log_tail(wins, losses) <= log_level - MARGIN)


def log_tail(wins: Array, losses: Array) -> Array:
    """log P(X >= wins) for X ~ Binomial(wins + losses, 1/2): McNemar's exact log p-value.

    wins, losses  [] int32 in [0, 2**24)
    returns       [] float32 in nats, <= 0; relative error below 1e-4 for counts up to 1e5
    Source: the incomplete beta function's continued fraction (Abramowitz and Stegun, 1964,
    26.5.8) times the point probability by Loader (2000), "Fast and accurate computation of
    binomial probabilities". float32's `betainc` is off by 0.1 at such counts.
    """
    # The fraction converges above the middle; below it the complement is above.
    is_above = wins > losses
    more = jnp.where(is_above, wins, losses + 1).astype(jnp.float32)
    fewer = jnp.where(is_above, losses, jnp.maximum(wins, 1) - 1).astype(jnp.float32)
    tail = _log_point(more, fewer) - _LOG_2 + jnp.log(_fraction(more, fewer + 1))
    below = jnp.where(wins > 0, jnp.log1p(-jnp.exp(jnp.minimum(tail, -1e-7))), 0.0)
    return jnp.where(is_above, tail, below)


def _log_point(more: Array, fewer: Array) -> Array:
    """log P(X = more) for X ~ Binomial(more + fewer, 1/2), more > fewer >= 0."""
    count = more + fewer
    some = jnp.maximum(fewer, 1)
    skew = (more - some) / (more + some)
    # n/2 ((1 + d) log(1 + d) + (1 - d) log(1 - d)): near d = 0 the linear terms cancel, near
    # d = 1 the logarithm of 1 - d has lost its digits.
    near = 0.5 * count * (2 * skew * jnp.arctanh(skew) + jnp.log1p(-jnp.square(skew)))
    far = more * jnp.log(2 * more / count) + some * jnp.log(2 * some / count)
    deviance = jnp.where(skew < 0.5, near, far)
    correction = _stirling_error(count) - _stirling_error(more) - _stirling_error(some)
    spread = 0.5 * jnp.log(count / (more * some)) - _HALF_LOG_2_PI
    return jnp.where(fewer > 0, correction - deviance + spread, -count * _LOG_2)


_STIRLING_ERRORS = tuple(
    math.lgamma(k + 1) - (k + 0.5) * math.log(k) + k - _HALF_LOG_2_PI for k in range(1, 9)
)


def _stirling_error(count: Array) -> Array:
    """log n! less Stirling's formula, n >= 1; exact up to 8, its series above."""
    square = jnp.square(count)
    series = (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / count
    exact = jnp.asarray(_STIRLING_ERRORS, jnp.float32)
    place = jnp.clip(count, 1, len(_STIRLING_ERRORS)).astype(jnp.int32) - 1
    return jnp.where(count <= len(_STIRLING_ERRORS), exact[place], series)


def _fraction(a: Array, b: Array) -> Array:
    """The continued fraction of the incomplete beta function I(1/2; a, b), by Lentz's method.

    For a >= b every partial denominator stays positive, so none is guarded against zero.
    """
    half = 0.5

    def two_terms(i: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        c, d, value = carry
        m = i.astype(jnp.float32)
        even = m * (b - m) * half / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + even * d)
        c = 1 + even / c
        value = value * c * d
        odd = -(a + m) * (a + b + m) * half / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / (1 + odd * d)
        c = 1 + odd / c
        return c, d, value * c * d

    d = 1 / (1 - (a + b) * half / (a + 1))
    _, _, value = jax.lax.fori_loop(1, _FRACTION_STEPS + 1, two_terms, (jnp.ones_like(d), d, d))
    return value


def upper_quantile(log_level: Array) -> Array:
    """The z with P(Z > z) = exp(log_level), for levels that float32 can't hold.

    log_level  [] float32 in nats, at most log(1/2); -inf gives inf
    returns    [] float32 >= 0
    Source: Newton's method on the log survival function, from the tail's leading terms.
    """
    finite = jnp.maximum(log_level, -1e30)
    square = jnp.maximum(-2 * finite, 2 * _LOG_2)
    start = jnp.sqrt(jnp.maximum(square - jnp.log(square) - 2 * _HALF_LOG_2_PI, 0.0))

    def newton(_: int, z: Array) -> Array:
        log_survival = jax.scipy.stats.norm.logsf(z)
        hazard = jnp.exp(jax.scipy.stats.norm.logpdf(z) - log_survival)
        # Far out the difference of two huge logarithms has no digits left; the hazard is z.
        step = (log_survival - finite) / jnp.where(z > 1e2, z, hazard)
        return jnp.maximum(z + step, 0.0)

    z = jax.lax.fori_loop(0, _QUANTILE_STEPS, newton, start)
    return jnp.where(jnp.isneginf(log_level), jnp.inf, z)
