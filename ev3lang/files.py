"""Specs on disk: found in folders, read as text, and replaced at once."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO

import attrs

from ev3lang import regular
from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.project import MOST_BYTES, enclosing_project, one_line_break
from ev3lang.source import Source, Span

MARK = "\ufeff"
UNREADABLE = "unreadable-file"


# ---------------------------------------------------------------- finding


@attrs.frozen
class Found:
    """The specs of a folder, in order, and what is wrong with other entries.

    faults   a warning for each entry that has the name of a spec and is none, an error for each
             that can't be read
    """

    files: tuple[Path, ...]
    faults: tuple[Diagnostic, ...]


def find(top: Path) -> Found:
    """The specs in a folder and in the folders inside it.

    Entries that open with a dot are left out, with all that is in them. Folders are not entered
    through links, and a link to a file outside of the project is no spec of the folder.
    """
    project = enclosing_project(regular.resolved(top))
    files: list[Path] = []
    faults: list[Diagnostic] = []
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
        except OSError as error:
            faults.append(refused(folder, error))
            continue
        for entry in entries:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            if not entry.name.endswith(".ev3"):
                if entry.is_symlink() and (problem := _hides_specs(path, project)):
                    faults.append(_skipped(path, problem))
            elif problem := _is_no_spec(path, project):
                faults.append(_skipped(path, problem))
            else:
                files.append(path)
    return Found(tuple(sorted(files)), tuple(sorted(faults, key=lambda each: each.message)))


def _is_no_spec(path: Path, project: Path) -> str:
    """What an entry with the name of a spec is instead; empty for a spec."""
    is_link = path.is_symlink()
    try:
        mode = path.stat().st_mode
    except OSError as error:
        words = "in a circle" if error.errno == errno.ELOOP else "nowhere"
        return f"a link that leads {words}" if is_link else f"unreadable ({error.strerror})"
    if is_link and not regular.resolved(path).is_relative_to(project):
        return "a link that leads out of the project"
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISDIR(mode):
        return f"a {'link to a ' if is_link else ''}folder, not a spec"
    return "a pipe, a socket or a device, not a spec"


def _hides_specs(path: Path, project: Path) -> str:
    """What is said of a link that isn't entered, where it leaves the project and holds specs."""
    with suppress(OSError, RuntimeError):
        is_outside = not path.resolve(strict=True).is_relative_to(project)
        if is_outside and path.is_dir() and next(path.glob("*.ev3"), None) is not None:
            return "a link to a folder outside of the project"
    return ""


def _skipped(path: Path, what: str) -> Diagnostic:
    return Diagnostic("skipped-file", f"{path} is {what}", None, severity="warning")


def refused(path: Path, error: OSError) -> Diagnostic:
    """A file or folder that the system doesn't let us read or write."""
    return Diagnostic(UNREADABLE, f"{path}: {error.strerror or error}", None)


def are_refused(faults: Iterable[Diagnostic]) -> bool:
    """Whether a file could not be read or written at all, whatever it holds."""
    return any(each.code == UNREADABLE for each in faults)


# ---------------------------------------------------------------- reading


@attrs.frozen
class SpecText:
    """A spec's text, and how its file writes it.

    source        every line ends in a line feed
    mark          the byte order mark, if the file begins with one
    line_break    how most lines of the file end
    as_written    the text of the file as it is
    """

    source: Source
    mark: str
    line_break: str
    as_written: str

    def spelled(self, text: str) -> str:
        """Another text of this spec as its file would write it."""
        return self.mark + text.replace("\n", self.line_break)


def read(path: Path) -> tuple[SpecText | None, tuple[Diagnostic, ...]]:
    """A spec's text, or one diagnostic that says which byte is no UTF-8 text.

    Raises OSError where the file can't be read, is none but a pipe or a device, or is larger than
    any spec.
    """
    return decoded(str(path), regular.read_bytes(path, MOST_BYTES))


def read_filtered(opened: IO[bytes]) -> tuple[SpecText | None, tuple[Diagnostic, ...]]:
    """As `read`, of the spec on a stream, which is called `-`."""
    return decoded("-", regular.read_stream(opened, "-", MOST_BYTES))


def decoded(name: str, data: bytes) -> tuple[SpecText | None, tuple[Diagnostic, ...]]:
    """A spec's text from the bytes of its file, shown under a name."""
    try:
        written = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return None, (_unreadable_text(name, data, error.start),)
    if "\0" in written:
        return None, (_unreadable_text(name, data, data.index(b"\0")),)
    mark = MARK if written.startswith(MARK) else ""
    source = Source(name, one_line_break(written.removeprefix(MARK)))
    return SpecText(source, mark, _line_break(written), written), ()


def _line_break(text: str) -> str:
    both = text.count("\r\n")
    counts = {"\n": text.count("\n") - both, "\r\n": both, "\r": text.count("\r") - both}
    # of equals the first: a file without any is one of Unix
    return max(counts, key=lambda each: counts[each])


def _unreadable_text(name: str, data: bytes, position: int) -> Diagnostic:
    before = data[:position].decode("utf-8", errors="replace")
    shown = Source(name, before + "\N{REPLACEMENT CHARACTER}")
    is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return Diagnostic(
        code="unreadable-text",
        message=f"byte {position} (0x{data[position]:02x}) is not UTF-8 text",
        span=Span(shown, len(before), len(before) + 1),
        help="save it as UTF-8: it looks like UTF-16" if is_utf16 else "save it as UTF-8 text",
    )


# ---------------------------------------------------------------- writing


def replace(path: Path, text: str) -> None:
    """Writes the whole file or leaves the old one, or none, as it is.

    A link stays a link, and its target is written where that is in the link's own project. Raises
    OSError with the path as it was given, PermissionError for a link that leaves the project.
    """
    import shutil
    import tempfile

    data = text.encode("utf-8", "surrogateescape")
    if (path.exists() and not path.is_file()) or path.is_relative_to("/dev"):
        # a pipe or a device is written to, never replaced; a folder refuses
        _write_into(path, data)
        return
    target = _target(path)
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    partial = None
    try:
        # an unpredictable name, so that no link can be there already
        handle, name = tempfile.mkstemp(prefix=".ev3lang-", dir=target.parent)
        partial = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        if target.exists():
            shutil.copymode(target, partial)
        else:
            partial.chmod(0o666 & ~_umask())
        partial.replace(target)
    except OSError as error:
        if partial is not None:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_into(path: Path, data: bytes) -> None:
    """Writes to what is no regular file. Raises OSError for a pipe that nothing reads from."""
    # opened without waiting, since the other end may never come
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666)
    with os.fdopen(handle, "wb") as file:
        os.set_blocking(handle, True)
        file.write(data)


def _target(path: Path) -> Path:
    """The file that a path leads to."""
    if not path.is_symlink():
        return path
    target = regular.resolved(path)
    if not target.is_relative_to(enclosing_project(regular.resolved(path.parent))):
        words = f"it is a link out of its project, to {target}: name that file itself"
        raise PermissionError(errno.EPERM, words, str(path))
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
