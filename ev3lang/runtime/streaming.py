"""An explore split that stays on the host: its batches are brought while the device computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import jax
import numpy as np

from ev3lang.backend import progress
from ev3lang.backend.emit import SEGMENT, fields_read
from ev3lang.backend.feeding import HostFields, HostStream
from ev3lang.backend.streams import Block
from ev3lang.plan.plan import Plan, TrainedBy
from ev3lang.runtime import device
from ev3lang.runtime.data import Tables
from ev3lang.runtime.faults import DataError

MOST_OF_MEMORY = 0.5
"""The share of a device's memory that the explore split may take; the rest is left to the run."""

BLOCK_BYTES = 2**25
"""What the batches of a block take at most; up to three blocks are on the device at a time."""

BLOCKS = 2**31 - 1
"""More than a run reads."""


def is_needed(plan: Plan, tables: Tables, chosen: jax.Device, above_bytes: int | None) -> bool:
    """Whether the explore split is too large for the device, so that it has to be streamed.

    above_bytes   what it may take; None for MOST_OF_MEMORY of the device's
    Raises DataError where the plan trains what needs the whole split on the device.
    """
    if not tables:
        return False
    limit_bytes = above_bytes
    if limit_bytes is None:
        memory_bytes = device.memory_bytes(chosen)
        if memory_bytes is None:
            return False
        limit_bytes = int(MOST_OF_MEMORY * memory_bytes)
    explore = tables["explore"]
    size_bytes = sum(explore[name].nbytes for name in fields_read(plan))
    if size_bytes <= limit_bytes:
        return False
    trained = [model.name for model in plan.models if isinstance(model.start, TrainedBy)]
    wanting = [
        *(["`lengthen`"] if progress.lengthens(plan) else []),
        *(["an archive"] if plan.by_members else []),
        *(f"baseline {baseline.name}" for baseline in plan.baselines),
        *(f"the training of {name} before the run" for name in trained),
    ]
    if wanting:
        raise DataError(
            f"{plan.data.name} has {size_bytes:,} bytes to explore, more than the "
            f"{limit_bytes:,} that may stay on {device.describe(chosen)}, so its batches are "
            f"streamed; {' and '.join(wanting)} can't read streamed batches",
            "leave baselines out and read weights from a checkpoint, draw fewer examples, "
            "or use a device with more memory",
        )
    return True


@attrs.define(eq=False)
class Feed:
    """Brings a program's batches in blocks of equal size, one ahead in a thread of its own.

    block_bytes   what the batches of a block take at most; it holds one iteration at least
    length        iterations of a block
    The thread ends when the feed is closed.
    """

    block_bytes: int = attrs.Factory(lambda: BLOCK_BYTES)
    length: int = 1
    _iterator: Any = None
    _block: Block | None = None
    _index: int = -1

    def begin(self, streams: Mapping[str, HostStream]) -> Feed:
        """The feed of these streams; a `Feeder`."""
        # loaded only where a set is streamed: it takes as long as a small run
        import grain

        iteration_bytes = sum(stream.iteration_bytes for stream in streams.values())
        self.length = max(1, min(SEGMENT, self.block_bytes // iteration_bytes))
        blocks = grain.MapDataset.source(_Blocks(streams, self.length)).map(_on_device)
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
        self._iterator = iter(blocks.to_iter_dataset(options))
        return self

    def __call__(self, iteration: int) -> Block:
        """The block with an iteration's batches, on the device."""
        index = iteration // self.length
        if index != self._index or self._block is None:
            if index != self._index + 1:
                self._iterator.set_state({"next_index": index})
            self._index, self._block = index, next(self._iterator)
        return self._block

    def close(self) -> None:
        if self._iterator is not None:
            self._iterator.close()


@attrs.frozen(eq=False)
class _Blocks:
    """Every block by its index, on the host: a source of grain's."""

    streams: Mapping[str, HostStream]
    length: int

    def __len__(self) -> int:
        return BLOCKS // self.length

    def __getitem__(self, index: int) -> tuple[np.int32, dict[str, HostFields]]:
        first = int(index) * self.length
        found = {name: each.batches(first, self.length) for name, each in self.streams.items()}
        return np.int32(first), found


def _on_device(block: tuple[np.int32, dict[str, HostFields]]) -> Block:
    return Block(*jax.device_put(block))
