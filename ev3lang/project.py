"""The files that a spec is made of: itself, and what it brings in by `use`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from ev3lang import regular
from ev3lang.check import errors
from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.source import Source
from ev3lang.syntax import tree
from ev3lang.syntax.parse import parse

Read = Callable[[Path], str]
"""The text of a file; raises OSError or UnicodeDecodeError. An editor gives what is on screen."""


MOST_BYTES = 256 * 1024 * 1024
"""A spec that is larger is no spec, but a data file."""


def read_file(path: Path) -> str:
    """The text of a file on disk, without a byte order mark, every line ended by a line feed."""
    return one_line_break(regular.read_bytes(path, MOST_BYTES).decode("utf-8-sig"))


def one_line_break(text: str) -> str:
    """The text with a line feed in the place of each other line break."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


@attrs.frozen
class Files:
    """The used files' declarations, innermost first, and their sources."""

    declarations: tuple[tree.Declaration, ...]
    sources: tuple[Source, ...]
    diagnostics: tuple[Diagnostic, ...]


def project_folder(path: Path) -> Path:
    """The folder that `use` can't leave: the checkout or package a spec is in, else its own."""
    return enclosing_project(regular.resolved(path).parent)


def enclosing_project(folder: Path) -> Path:
    """The checkout or package that an absolute folder is in, else the folder itself."""
    for each in (folder, *folder.parents):
        if any((each / mark).exists() for mark in (".git", "pyproject.toml")):
            return each
    return folder


@attrs.define
class _Following:
    """A file whose `use` lines are being followed."""

    path: Path
    shown: Path
    uses: Iterator[tree.Use]
    declarations: tuple[tree.Declaration, ...] = ()


def used_files(source: Source, syntax_tree: tree.SyntaxTree, read: Read) -> Files:
    """All that a spec uses, directly or through other files, each file once."""
    root = Path(source.name)
    if not any(isinstance(each, tree.Use) for each in syntax_tree.declarations):
        return Files((), (), ())
    folder = project_folder(root)
    declarations: list[tree.Declaration] = []
    sources: list[Source] = []
    found: list[Diagnostic] = []
    # A stack and no recursion: a chain of files may be longer than Python's own stack.
    first = regular.resolved(root)
    chain = {first: _Following(first, root, _uses(syntax_tree))}
    done: set[Path] = set()
    while chain:
        current = next(reversed(chain.values()))
        use = next(current.uses, None)
        if use is None:
            declarations.extend(current.declarations)
            del chain[current.path]
            continue
        target = _target(use, current.path, found)
        if target is None:
            continue
        if Path(use.path.value).is_absolute() or not target.is_relative_to(folder):
            found.append(errors.use_outside(use.path, str(folder.name)))
        elif target in chain:
            paths = list(chain)
            circle = [*paths[paths.index(target) :], target]
            found.append(errors.use_circle(use.path, [each.name for each in circle]))
        elif target not in done:
            done.add(target)
            text = _text(use, target, read, found)
            if text is None:
                continue
            shown = current.shown.parent / use.path.value
            used = Source(str(shown), text)
            parsed, faults = parse(used)
            sources.append(used)
            found.extend(faults)
            chain[target] = _Following(target, shown, _uses(parsed), parsed.declarations)
    return Files(tuple(declarations), tuple(sources), tuple(found))


def _uses(parsed: tree.SyntaxTree) -> Iterator[tree.Use]:
    return (each for each in parsed.declarations if isinstance(each, tree.Use))


def _target(use: tree.Use, user: Path, found: list[Diagnostic]) -> Path | None:
    """The file that a `use` names; None, reported, where no file can have such a name."""
    try:
        return regular.resolved(user.parent / use.path.value)
    except ValueError:
        # a NUL character or half of a pair of surrogates
        found.append(errors.use_unreadable(use.path, "no file can have such a name"))
        return None


def _text(use: tree.Use, target: Path, read: Read, found: list[Diagnostic]) -> str | None:
    """The text of a used file; None, reported, where it can't be read."""
    try:
        return read(target)
    except OSError as error:
        why = error.strerror or "it can't be read"
    except UnicodeDecodeError:
        why = "it is no UTF-8 text"
    found.append(errors.use_unreadable(use.path, why))
    return None


def parts_of_others(sources: Mapping[Path, Source]) -> set[Path]:
    """Which of these specs another one of them uses that is itself no part of any.

    Each file is read once, however many use it.
    """
    given = {regular.resolved(path): source for path, source in sources.items()}
    uses: dict[Path, set[Path]] = {}
    waiting = list(given)
    while waiting:
        path = waiting.pop()
        if path not in uses:
            uses[path] = _named_by(path, given.get(path))
            waiting += uses[path]
    used = set[Path]().union(*uses.values())
    reached: set[Path] = set()
    waiting = [path for path in given if path not in used]
    while waiting:
        parts = uses[waiting.pop()] - reached
        reached |= parts
        waiting += parts
    return {path for path in sources if regular.resolved(path) in reached}


def _named_by(path: Path, source: Source | None) -> set[Path]:
    """The files that a file's own `use` lines name; none of one that can't be read."""
    if source is None:
        try:
            source = Source(str(path), read_file(path))
        except (OSError, UnicodeDecodeError):
            return set()
    if "use" not in source.text:
        # most specs, and they need no second reading
        return set()
    parsed, _ = parse(source)
    ignored: list[Diagnostic] = []
    targets = (_target(use, path, ignored) for use in _uses(parsed))
    folder = project_folder(path)
    return {each for each in targets if each is not None and each.is_relative_to(folder)}
