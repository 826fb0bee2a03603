"""Every built-in by name, and the names of those that are still to come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol, TypeVar

from ev3lang.catalog import arithmetic, layers, losses, metrics, optimizers, scores, sources
from ev3lang.catalog.signature import DataSource, Function, Layer, Operator, Optimizer


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
LAYERS: Mapping[str, Layer] = _by_name(layers.LAYERS)
OPTIMIZERS: Mapping[str, Optimizer] = _by_name((*optimizers.OPTIMIZERS, *optimizers.SCHEDULES))
SOURCES: Mapping[str, DataSource] = _by_name(sources.SOURCES)

COMING: Mapping[str, str] = MappingProxyType(
    {
        # layers and networks
        "resnet": "a residual network of convolutions",
        "transformer": "a network of attention layers",
        "conv": "a convolution layer",
        "batch_norm": "a normalisation layer",
        "group_norm": "a normalisation layer",
        "max_pool": "a pooling layer",
        "avg_pool": "a pooling layer",
        "mean_pool": "a pooling layer",
        "embed": "a layer that gives each token a vector",
        "attention": "an attention layer",
        "nnx": "a network from a Python class",
        "checkpoint": "weights from a file",
        # data
        "npz": "a source of data in NumPy files",
        "csv": "a source of data in text tables",
        "parquet": "a source of data in Parquet tables",
        "idx": "a source of data in IDX files",
        "cifar": "a source of data in CIFAR's files",
        "image_folder": "a source of data in folders of images",
        "huggingface": "a source of data from the Hugging Face hub",
        "teacher_network": "a source of data labelled by a random network",
        "next_token": "the target of a language model",
        "shift": "an augmentation",
        "gaussian_noise": "an augmentation",
        "random_crop": "an augmentation",
        "flip_horizontal": "an augmentation",
        # optimizers and the search
        "params_ema": "a link of an optimizer that averages weights",
        "evolution_strategy": "a search without gradients",
        "gaussian": "a random perturbation of weights",
        "pareto": "a ranking by several objectives at once",
        # growth
        "widen": "a growth operator",
        "deepen": "a growth operator",
        "deepen_every_stage": "a growth operator",
        "fresh": "a growth operator that starts anew",
        # facts about models
        "flops": "a model's count of floating-point operations",
    }
)
"""Names that the language has and this version can't compute, each with what it is."""
