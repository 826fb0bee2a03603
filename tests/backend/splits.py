"""Small splits of three classes, each moved along an axis of its own."""

from __future__ import annotations

from typing import Any

import numpy as np


def tables(distance: float) -> Any:
    """Fields `point` [B, 6] and `label` of four splits, classes `distance` from the middle."""
    generator = np.random.default_rng(0)
    counts = {"explore": 96, "assess": 48, "adapt": 48, "report": 48}
    made: Any = {}
    for split, count in counts.items():
        label = generator.integers(0, 3, count).astype(np.int32)
        point = generator.normal(size=(count, 6)).astype(np.float32)
        point[np.arange(count), label] += distance
        made[split] = {"point": point, "label": label}
    return made
