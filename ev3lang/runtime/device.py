"""Where a run computes: a kind of device by name."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import jax

from ev3lang.outcome import Fault


class DeviceError(Fault):
    """A device that isn't there."""


def pick(kind: str) -> jax.Device:
    """The first device of a kind: `auto` (the fastest that is there), `cpu`, `gpu` or `tpu`.

    Raises DeviceError where there is none.
    """
    try:
        return jax.devices(None if kind == "auto" else kind)[0]
    except RuntimeError as error:
        # a backend that is installed and fails to start raises the same, with its reason
        there = ", ".join(sorted({device.platform for device in jax.devices()}))
        reason = "" if "Unknown backend" in str(error) else f" ({str(error).splitlines()[0]})"
        raise DeviceError(
            f"there is no {kind} here: jax sees {there}{reason}", _HELP.get(kind, "--device=auto")
        ) from error


_HELP = {
    "gpu": "use --device=cpu, or install jax for the GPU: pip install 'ev3lang[cuda]'",
    "tpu": "use --device=cpu, or install jax for the TPU: pip install 'ev3lang[tpu]'",
}


def describe(device: jax.Device) -> str:
    """What people call it: `cpu`, `NVIDIA H100 80GB HBM3`."""
    return device.platform if device.platform == "cpu" else device.device_kind


def memory_bytes(device: jax.Device) -> int | None:
    """How much memory a device has for arrays; the machine's own for a CPU, None if unknown."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    return host_memory_bytes() if device.platform == "cpu" else None


def host_memory_bytes() -> int | None:
    """What this process may take of the machine's memory; None where the system doesn't say.

    A container's limit and the process's own count: beyond either the process is ended at once.
    """
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError):
        written = _CONTAINER.read_text("ascii").strip()
        limits += [int(written)] if written.isdigit() else []
    with contextlib.suppress(ImportError):
        # not there on Windows
        import resource

        own, _ = resource.getrlimit(resource.RLIMIT_AS)
        limits += [own] if own != resource.RLIM_INFINITY else []
    return min(limits)


_CONTAINER = Path("/sys/fs/cgroup/memory.max")
"""Where Linux says what a container may take: bytes, or `max`."""
