"""Every built-in by name, and the names of those that are still to come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol, TypeVar

from ev3lang.catalog import (
    arithmetic,
    files,
    layers,
    losses,
    metrics,
    networks,
    optax_table,
    optimizers,
    scores,
    search,
    sources,
)
from ev3lang.catalog.signature import (
    DataSource,
    Function,
    Layer,
    Operation,
    Operator,
    Optimizer,
)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Entry = TypeVar("Entry", bound=_Named)


def _by_name(entries: Iterable[Entry]) -> Mapping[str, Entry]:
    table: dict[str, Entry] = {}
    for entry in entries:
        assert entry.name not in table, f"two entries are called {entry.name}"
        table[entry.name] = entry
    return MappingProxyType(table)


FUNCTIONS: Mapping[str, Function] = _by_name(
    (*losses.LOSSES, *metrics.METRICS, *scores.SCORES, *arithmetic.ARITHMETIC)
)
OPERATORS: Mapping[str, Operator] = _by_name(arithmetic.OPERATORS)
LAYERS: Mapping[str, Layer] = _by_name((*layers.LAYERS, *networks.NETWORKS))
OPTIMIZERS: Mapping[str, Optimizer] = _by_name(
    (*optimizers.OPTIMIZERS, *optimizers.SCHEDULES, *optax_table.ENTRIES)
)
SOURCES: Mapping[str, DataSource] = _by_name((*sources.SOURCES, *files.FILES))

STRATEGIES: Mapping[str, Operation] = _by_name(search.STRATEGIES)
PERTURBATIONS: Mapping[str, Operation] = _by_name(search.PERTURBATIONS)
GROWTH: Mapping[str, Operation] = _by_name(search.GROWTH)
AUGMENTATIONS: Mapping[str, Operation] = _by_name(search.AUGMENTATIONS)
RULES: Mapping[str, Operation] = _by_name(search.RULES)
