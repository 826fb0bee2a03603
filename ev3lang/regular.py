"""Regular files, the only ones that are opened: for reading whole, and for libraries that do.

A pipe without a writer blocks whoever opens it, and a device such as `/dev/zero` never ends.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of(path: Path) -> str:
    """`a file`, `a folder`, `a pipe`, `a socket` or `a device`, links followed.

    Raises OSError where there is nothing, or the system doesn't say.
    """
    return _KINDS.get(stat.S_IFMT(_stat(path).st_mode), "a file")


def size_bytes(path: Path) -> int:
    """The size of a regular file. Raises OSError for anything else, without opening it."""
    found = _stat(path)
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    is_folder = stat.S_ISDIR(found.st_mode)
    raise OSError(
        errno.EISDIR if is_folder else errno.EINVAL,
        f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'something else')}, not a file",
        str(path),
    )


def read_bytes(path: Path, most_bytes: int | None = None) -> bytes:
    """All of a regular file. Raises OSError for any other, or one of more than `most_bytes`."""
    size = size_bytes(path)
    with path.open("rb") as opened:
        return read_stream(opened, str(path), size if most_bytes is None else most_bytes)


def read_stream(opened: IO[bytes], name: str, most_bytes: int) -> bytes:
    """All that a stream of that name holds. Raises OSError for one of more than `most_bytes`."""
    data = opened.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(
            errno.EFBIG, f"it has more than {most_bytes:,} bytes, the most that is read", name
        )
    return data


def resolved(path: Path) -> Path:
    """The absolute path with its links followed; where they lead in a circle, as far as they go.

    `Path.resolve` raises RuntimeError for a circle before Python 3.13.
    """
    return Path(os.path.realpath(path))


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except ValueError as error:
        # a NUL character, which no system has in a name
        raise OSError(errno.EINVAL, "no file can have such a name", str(path)) from error
