"""Where the time of a run goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Stopwatch:
    """Seconds by what they were spent on."""

    def __init__(self, timings: Mapping[str, float]) -> None:
        self.timings = dict(timings)
        self._started_s = time.perf_counter() - sum(timings.values())

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.timings[name] = time.perf_counter() - began

    def add(self, name: str, wall_s: float) -> None:
        """Adds to what something has taken so far."""
        self.timings[name] = self.timings.get(name, 0.0) + wall_s

    def mark(self, name: str) -> None:
        """Notes what has passed since the start of all."""
        self.timings[name] = time.perf_counter() - self._started_s
