"""Where a run computes: a kind of device by name."""

from __future__ import annotations

import jax

from ev3lang.outcome import Fault
from ev3lang.runtime.memory import host_memory_bytes


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
