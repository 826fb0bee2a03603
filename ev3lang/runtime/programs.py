"""Compiled programs, kept in the user's cache by JAX, and entries of it that can't be read."""

from __future__ import annotations

import glob
import importlib
import os
import re
import shutil
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import attrs
import jax
import platformdirs

_READING = re.compile(r"Error reading persistent compilation cache entry for '([^']*)'")
_WRITING = "Error writing persistent compilation cache entry"
"""What JAX warns of, each time: it never writes an entry anew that is there."""


@attrs.define
class Damaged:
    """How many entries of the cache could not be read, and were removed to be written anew."""

    count: int = 0
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def add(self, module: str) -> None:
        """Removes what the cache has of a module and can't read."""
        folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
        with self._lock:
            self.count += 1
            if folder is not None:
                _remove_damaged(Path(folder), module)


@contextmanager
def kept() -> Iterator[Damaged]:
    """Keeps every compiled program in the user's cache, so that a second run starts at once.

    A cache that the environment has set up already stays; where none can be written, none is.
    While this is entered JAX's warnings of the cache are not shown: an entry that can't be read,
    as a process leaves that is killed while it writes one, is removed, and JAX writes it again
    when it has compiled it.
    """
    _set_up()
    damaged = Damaged()

    with warnings.catch_warnings():
        show = warnings.showwarning

        def mend(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            reading = _READING.match(str(message))
            if reading is not None:
                damaged.add(reading[1])
            elif not str(message).startswith(_WRITING):
                show(message, category, filename, lineno, file, line)

        # each of them, though the words and the place are the same
        warnings.filterwarnings("always", message=_READING.pattern)
        warnings.filterwarnings("always", message=_WRITING)
        warnings.showwarning = mend
        yield damaged


def _set_up() -> None:
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


def _remove_damaged(folder: Path, module: str) -> None:
    """Removes the entries of a module that don't unpack; all of its, where each does.

    JAX names an entry `<module>-<digest>-cache`, and doesn't say which one it could not read.
    """
    entries = list(folder.glob(f"{glob.escape(module)}-*"))
    broken = [each for each in entries if not _unpacks(each)]
    for each in broken or entries:
        with suppress(OSError):
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink()


def _unpacks(path: Path) -> bool:
    try:
        data = path.read_bytes()
    except OSError:
        return False
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return _unpacks_zstd(data)
    try:
        zlib.decompress(data)
    except zlib.error:
        return False
    return True


def _unpacks_zstd(data: bytes) -> bool:
    """Whether zstd unpacks it; JAX writes that where a library for it is installed."""
    for name in ("compression.zstd", "zstandard"):
        with suppress(ImportError):
            library = importlib.import_module(name)
            failure = getattr(library, "ZstdError")  # noqa: B009 - one name in both libraries
            try:
                library.decompress(data)
            except failure:
                return False
            return True
    return True
