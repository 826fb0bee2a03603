"""Files and folders of data found, and refused before anything is allocated for them."""

from __future__ import annotations

import errno
from pathlib import Path

from ev3lang import regular
from ev3lang.diagnostics.suggest import nearest
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.memory import host_memory_bytes

LARGE_BYTES = 100 * 2**20
MOST_UNPACKED = 1000
"""Data of `LARGE_BYTES` that unpack to more than this many times their size are a bomb."""


def file_at(folder: Path, written: str) -> Path:
    """The file that a spec in `folder` names; raises DataError where it can't be read."""
    path = _found(folder, written)
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder, not a file", "name a file in it")
        size = regular.size_bytes(path)
        if size:
            with path.open("rb") as opened:
                opened.read(1)
    except OSError as error:
        raise unreadable(path, error) from error
    if not size:
        raise DataError(f"{path} is empty", "write the data into it, or name another file")
    return path


def folder_at(folder: Path, written: str) -> Path:
    """The folder that a spec in `folder` names; raises DataError where it can't be read."""
    path = _found(folder, written)
    if not path.is_dir():
        raise DataError(
            f"{path} is {regular.kind_of(path)}, not a folder",
            "name the folder that the data lie in",
        )
    try:
        is_empty = not any(path.iterdir())
    except OSError as error:
        raise unreadable(path, error) from error
    if is_empty:
        raise DataError(f"{path} is empty", "put the data into it, or name another folder")
    return path


_HELP = {
    errno.EACCES: "give yourself the right to read it",
    errno.EPERM: "give yourself the right to read it",
    errno.EINVAL: "write the data into a regular file, and name that",
    errno.ELOOP: "a link leads back to itself: name the file that it should lead to",
    errno.ENAMETOOLONG: "name the file by a shorter path",
}


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for what the system doesn't let us read."""
    help = _HELP.get(error.errno or 0, "see whether the disk is well")
    return DataError(f"{path} can't be read: {error.strerror or error}", help)


def check_size(file: object, what: str, size_bytes: int, stored_bytes: int | None = None) -> None:
    """Raises DataError for data that the machine can't hold or that no honest file unpacks to.

    stored_bytes   what they take up in the file, None where they are stored as they are
    """
    if stored_bytes is not None:
        check_unpacked(file, what, size_bytes, stored_bytes)
    memory = host_memory_bytes()
    if memory is not None and size_bytes > memory:
        raise DataError(
            f"{file}: {what} needs {size_bytes:,} bytes, and the machine has {memory:,} in all",
            "if the file is to be trusted, store fewer or smaller examples",
        )


def check_unpacked(file: object, what: str, size_bytes: int, stored_bytes: int) -> None:
    """Raises DataError for data that no honest file unpacks to from what it stores."""
    if size_bytes > LARGE_BYTES and size_bytes > MOST_UNPACKED * stored_bytes:
        raise DataError(
            f"{file}: {what} would unpack from {stored_bytes:,} to {size_bytes:,} bytes, more than "
            f"{MOST_UNPACKED} times as much",
            "if the file is to be trusted, store it uncompressed",
        )


def _found(folder: Path, written: str) -> Path:
    path = folder / written
    try:
        regular.kind_of(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise unreadable(path, error) from error
    else:
        return path
    # The first part of the path that is not there is the one to mend.
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    try:
        near = nearest(missing.name, [each.name for each in missing.parent.iterdir()])
    except OSError:
        near = None
    help = "a path is relative to the spec's folder"
    if near is not None:
        help = f"did you mean `{missing.parent / near}`?"
    raise DataError(f"{path} does not exist", help)
