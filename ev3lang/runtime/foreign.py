"""What libraries raise for files that are not what they should be, as our own errors."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from ev3lang.runtime.faults import DataError

MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What is raised for JSON of another shape than it should have, and for text that is none."""

FOREIGN = (
    *MALFORMED,
    BufferError,
    EOFError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What libraries raise for a file that is not what its headers say, each of them somewhere.

RuntimeError is raised for an archive that is encrypted or of an unknown version; ValueError by
Arrow for most, and for text that is no UTF-8. Only calls of a library stand where these are
caught: among our own lines they would hide our mistakes.
"""


@contextmanager
def foreign(
    what: object, *errors: type[Exception], help: str = "write the file again"
) -> Iterator[None]:
    """Turns what a library raises for a file into a DataError that says why.

    what     the file, and what of it
    errors   those that the library raises; without any, all of `FOREIGN`
    """
    caught = errors or FOREIGN
    try:
        yield
    except DataError:
        raise
    except caught as error:
        raise DataError(f"{what} is damaged: {cause(error)}", help) from error


def cause(error: BaseException) -> str:
    """A library's error in one line: the first of its own, or its name where it says nothing."""
    if isinstance(error, RecursionError):
        return "it nests too deep"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    words = str(error).strip().partition("\n")[0][:200]
    if isinstance(error, LookupError) or not words:
        return f"{type(error).__name__} {words}".strip()
    return words
