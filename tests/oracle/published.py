"""The published rule in NumPy and double precision, one iteration at a time.

Written from the description of google-research/ev3 (`optimize` and `decide` of its model history),
not from ours: models are keys, their metric's values for each example are columns, bounds are
those of the columns' means, and the key with the highest lower bound is the update.

Sums are exact (`math.fsum`), so that two columns with the same values in another order have the
same bounds. Columns are those of a metric to be maximised: where less is better, their negatives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import numpy as np

PARAMS, STABLE_PARAMS = KEPT = "params", "stable_params"


@attrs.frozen(eq=False)
class Bounds:
    """Confidence bounds of every key."""

    lower: Mapping[str, float]
    upper: Mapping[str, float]


@attrs.frozen
class Update:
    """What `decide` makes of an iteration: keys that say whose weights come next.

    params                which model exploring goes on from
    stable_params         the best-performing model so far
    significantly_better  whether the latter is new
    """

    params: str
    stable_params: str
    significantly_better: bool


def bounds(columns: Mapping[str, np.ndarray], alpha: float) -> Bounds:
    """Mean less and plus alpha standard errors; a sample's, with n - 1 in the denominator."""
    lower, upper = {}, {}
    for key, column in columns.items():
        values = np.asarray(column, np.float64)
        count = len(values)
        mean = math.fsum(values) / count
        variance = math.fsum((values - mean) ** 2) / (count - 1)
        error = math.sqrt(variance) / math.sqrt(count)
        lower[key], upper[key] = mean - alpha * error, mean + alpha * error
    return Bounds(lower, upper)


def safest(lower: Mapping[str, float]) -> str:
    """The key with the highest lower bound, the first of equals."""
    found = None
    for key, bound in lower.items():
        if found is None or bound > lower[found]:
            found = key
    assert found is not None, "there is something to choose from"
    return found


def optimize(proposed: Mapping[str, np.ndarray], alpha: float) -> str:
    """The proposed update that goes on to `decide`, by the values on one draw of data."""
    return safest(bounds(proposed, alpha).lower)


def decide(
    best: tuple[str, np.ndarray], params: np.ndarray, stable_params: np.ndarray, alpha: float
) -> Update:
    """Best update, params and stable params on another draw: which come next."""
    key, values = best
    found = bounds({key: values, PARAMS: params, STABLE_PARAMS: stable_params}, alpha)
    winner = safest(found.lower)
    is_better = found.lower[winner] > found.upper[STABLE_PARAMS]
    return Update(winner, winner if is_better else STABLE_PARAMS, is_better)
