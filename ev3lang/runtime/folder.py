"""A run's folder: what was asked, what happened, what came of it, readable without ev3lang."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ev3lang import __version__, regular
from ev3lang.plan.plan import Plan
from ev3lang.runtime import events

RUNS = Path("runs")


def semantic_hash(*plans: Plan) -> str:
    """64 hexadecimal digits that change with what a spec means, never with its layout.

    plans   one, or all of a sweep
    """
    digest = hashlib.sha256()
    for plan in plans:
        digest.update(repr(plan).encode())
    return digest.hexdigest()


SPEC = "spec.ev3"
"""The spec as it ran: the first file of every run's folder."""


def create(out: Path | None, *plans: Plan) -> Path:
    """A new folder: `out`, or `runs/<name>-<hash>-<n>` with the first free number.

    plans   the run's one, or all of a sweep
    Of several runs that start at the same time, each has a folder to itself. It holds an empty
    `spec.ev3`, for the run to replace. Raises OSError where it can't be made, FileExistsError
    where `out` holds something already, or another run has taken it.
    """
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            out.mkdir()
        require_free(out)
        if not _is_taken(out):
            raise FileExistsError(errno.EEXIST, "another run has just taken the folder", str(out))
        return out
    RUNS.mkdir(exist_ok=True)
    stem = f"{plans[0].name}-{semantic_hash(*plans)[:8]}"
    number = 1
    while True:
        found = RUNS / f"{stem}-{number}"
        # another run may take the same number at the same time: only one of both makes it
        with contextlib.suppress(FileExistsError):
            found.mkdir()
            if _is_taken(found):
                return found
        number += 1


def _is_taken(found: Path) -> bool:
    """Takes an empty folder for this run; False where another run was faster.

    Seeing that a folder is empty is no claim to it. Making a file that was not there is: the
    system lets one of all that try do it.
    """
    try:
        with (found / SPEC).open("xb"):
            return True
    except FileExistsError:
        return False


def require_free(out: Path) -> None:
    """Raises FileExistsError unless `out` is an empty folder or nothing at all."""
    if out.is_dir():
        if any(out.iterdir()):
            raise FileExistsError(errno.EEXIST, "the folder is not empty", str(out))
    elif out.exists():
        kind = regular.kind_of(out)
        raise FileExistsError(errno.EEXIST, f"it is {kind}, not a folder", str(out))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Puts the value into the file at once: whoever looks finds all of it or nothing."""
    _write(path, _encoded(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"))


def _encoded(document: str) -> bytes:
    """JSON in UTF-8; a byte of a path that is no UTF-8 stands as a replacement character."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", document).encode()


_SURROGATES = re.compile(r"[\ud800-\udfff]")
"""How Python holds the bytes of a path that are no text; no reader of JSON takes them."""


def write_text(path: Path, text: str) -> None:
    """Puts the text into the file at once, in UTF-8."""
    _write(path, text.encode())


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


BEFORE = ".before"
"""What the name of a folder ends with for the moment in which another takes its place."""


def put(new: Path, final: Path) -> None:
    """Gives a whole folder its final name, in the place of one that is there.

    No file system swaps two folders everywhere, so that for a moment the old one has the name with
    BEFORE and none has the final one. Raises OSError, with the old one in its place again.
    """
    before = final.with_name(final.name + BEFORE)
    if not final.exists():
        new.replace(final)
    else:
        shutil.rmtree(before, ignore_errors=True)
        final.replace(before)
        try:
            new.replace(final)
        except OSError:
            before.replace(final)
            raise
    _sync(final.parent)
    shutil.rmtree(before, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Puts the names in a folder on the disk, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        # some network file systems know no such thing
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)


class EventLog:
    """Appends a line for each event to `events.jsonl`; a line that doesn't fit leaves no trace."""

    def __init__(self, folder: Path) -> None:
        # unbuffered: what is logged is in the file, whatever happens next
        self._file = (folder / "events.jsonl").open("ab", buffering=0)
        self._lines: list[bytes] = []

    def __call__(self, event: events.Event) -> None:
        value = events.line(event)
        if value is not None:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            self._lines.append(_encoded(text + "\n"))

    def flush(self) -> None:
        """Writes the lines so far. Raises OSError, with the file cut back to whole lines."""
        end = self._file.tell()
        left = memoryview(b"".join(self._lines))
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise
        self._lines.clear()

    def close(self) -> None:
        self._file.close()


def versions() -> dict[str, str]:
    """The versions of Python and of every library that numbers depend on."""
    libraries = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "scikit-learn")
    return {
        "ev3lang": __version__,
        "python": platform.python_version(),
        **{library: version(library) for library in libraries},
    }
