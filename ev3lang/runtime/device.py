"""Where a run computes: a kind of device by name, and what is kept between runs."""

from __future__ import annotations

import os

import jax
import platformdirs

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
    if device.platform != "cpu" or not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def keep_programs() -> None:
    """Keeps every compiled program in the user's cache, so that a second run starts at once.

    A cache that the environment has set up already stays; where none can be written, none is.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        folder = platformdirs.user_cache_path("ev3lang", appauthor=False) / "programs"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(folder, os.W_OK):
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
