"""What of the machine's memory this process may take."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


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
