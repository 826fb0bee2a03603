"""Betting tests: exact evidence about the mean of values in a known range.

Who doubts a claim sells bets on it at fair odds. If the claim is false, nobody gets rich by
betting on it, whatever the values' distribution and however the bets are placed: the chance that
a wealth of 1 ever reaches 1/alpha is at most alpha. Source: Waudby-Smith and Ramdas (2024),
"Estimating means of bounded random variables by betting", J. R. Stat. Soc. B 86:1-27.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from ev3lang.check.bounds import LARGEST_BET

Array = jax.Array

# The float32 error of a sum of logarithms must never accept what the exact sum would not.
MARGIN = 1e-3

STAKES = np.geomspace(0.02, 0.5, 8, dtype=np.float32)
"""The bets of a mixture, for gains whose size nobody knows beforehand."""


def bet(excess: Array, examples: int, log_level: Array) -> Array:
    """The share of the wealth to stake on each example, as assess suggests: [] in (0, 0.95].

    excess     [B] float32 in [-1, 1] on assess: gains beyond the margin, over the most they can be
    examples   of the adapt split
    log_level  [] float32 in nats, of the test
    It grows the wealth fastest where the test is just won: half of it is lost to the spread.
    """
    spread = jnp.maximum(jnp.mean(jnp.square(excess)), 4 / excess.shape[0])
    return jnp.minimum(LARGEST_BET, jnp.sqrt(-2 * log_level / (examples * spread)))


def log_wealth(excess: Array, stake: Array) -> Array:
    """The log of the greatest wealth on the way through the examples: [] float32 in nats, >= 0.

    excess   [B] float32 in [-1, 1] on adapt, in an order that knows nothing of them
    """
    return jnp.maximum(jnp.max(jnp.cumsum(jnp.log1p(stake * excess))), 0.0)


def power(excess: Array, stake: Array, examples: int, log_level: Array) -> Array:
    """The predicted chance that the test is won, given what assess shows: [] float32 in [0, 1].

    The normal predictive distribution of the wealth's logarithm at the last of adapt's examples,
    shrunk by half a standard error against the choice of the best candidate.
    """
    growth, count = jnp.log1p(stake * excess), excess.shape[0]
    spread = jnp.sqrt(jnp.mean(jnp.square(growth - jnp.mean(growth))) * count / max(count - 1, 1))
    expected = examples * (jnp.mean(growth) - 0.5 * spread / math.sqrt(count))
    deviation = spread * math.sqrt(examples * (1 + examples / count))
    # without any spread the forecast is certain
    distance = (expected + log_level) / jnp.maximum(deviation, 1e-12)
    return jax.scipy.stats.norm.cdf(distance)


def grown(log_wealths: Array, excess: Array) -> Array:
    """The log wealths of a mixture after more examples: `[..., len(STAKES)]` float32 in nats.

    excess   [..., B] float32 in [-1, 1]
    """
    growth = jnp.log1p(STAKES[:, None] * excess[..., None, :])
    return log_wealths + jnp.sum(growth, axis=-1)


def log_mixture(log_wealths: Array) -> Array:
    """The log of the mean wealth over the stakes: `[...]` float32 in nats."""
    total = jax.scipy.special.logsumexp(log_wealths, axis=-1)
    return total - math.log(log_wealths.shape[-1])
