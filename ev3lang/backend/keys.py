"""Random keys by name, so that no draw depends on the order of a file."""

from __future__ import annotations

import zlib

import jax

Array = jax.Array


def named(key: Array, *consumer: str | int | Array) -> Array:
    """The key of a consumer: its names and counters folded into `key`, one after the other.

    key       [] PRNG key, the run's own
    consumer  names (`"weights", "net"`) and counters (an iteration, a step), outermost first
    returns   [] PRNG key; equal names give equal keys, whatever else draws
    """
    for part in consumer:
        key = jax.random.fold_in(key, zlib.crc32(part.encode()) if isinstance(part, str) else part)
    return key
