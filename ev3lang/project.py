"""The files that a spec is made of: itself, and what it brings in by `use`."""

from __future__ import annotations

from collections.abc import Callable
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


def used_files(source: Source, syntax_tree: tree.SyntaxTree, read: Read) -> Files:
    """All that a spec uses, directly or through other files, each file once."""
    root = Path(source.name)
    if not any(isinstance(each, tree.Use) for each in syntax_tree.declarations):
        return Files((), (), ())
    folder = project_folder(root)
    declarations: list[tree.Declaration] = []
    sources: list[Source] = []
    found: list[Diagnostic] = []
    done: set[Path] = set()

    def follow(parsed: tree.SyntaxTree, shown: Path, chain: tuple[Path, ...]) -> None:
        path = chain[-1]
        for use in parsed.declarations:
            if not isinstance(use, tree.Use):
                continue
            target = regular.resolved(path.parent / use.path.value)
            if Path(use.path.value).is_absolute() or not target.is_relative_to(folder):
                found.append(errors.use_outside(use.path, str(folder.name)))
            elif target in chain:
                names = [each.name for each in (*chain[chain.index(target) :], target)]
                found.append(errors.use_circle(use.path, names))
            elif target not in done:
                done.add(target)
                bring_in(use, target, shown.parent / use.path.value, chain)

    def bring_in(use: tree.Use, target: Path, shown: Path, chain: tuple[Path, ...]) -> None:
        try:
            text = read(target)
        except OSError as error:
            found.append(errors.use_unreadable(use.path, error.strerror or "it can't be read"))
            return
        except UnicodeDecodeError:
            found.append(errors.use_unreadable(use.path, "it is no UTF-8 text"))
            return
        used = Source(str(shown), text)
        parsed, faults = parse(used)
        sources.append(used)
        found.extend(faults)
        follow(parsed, shown, (*chain, target))
        declarations.extend(parsed.declarations)

    follow(syntax_tree, root, (regular.resolved(root),))
    return Files(tuple(declarations), tuple(sources), tuple(found))
