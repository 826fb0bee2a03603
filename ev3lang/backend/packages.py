"""Python packages whose code a run may use: what was allowed by name, and what is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType

ENTRY_POINTS = "ev3lang.functions"
"""The group in which an installed package names functions that may run without permission."""


class AllowedPackages(MetaPathFinder):
    """Finds top-level packages that were allowed by name in the folders given, and no others.

    `sys.path` would do more than that: any library that tries to import an optional dependency
    would find a file of that name in a spec's folder and run it.
    """

    def __init__(self) -> None:
        self._folders: dict[str, tuple[str, ...]] = {}

    def allow(self, names: Iterable[str], folders: Iterable[Path]) -> None:
        """Lets these top-level packages be imported from these folders, until Python ends.

        A package may import more of itself whenever its code is called.
        """
        paths = tuple(str(folder.resolve()) for folder in folders)
        for name in names:
            self._folders[name] = tuple(dict.fromkeys((*self._folders.get(name, ()), *paths)))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a top-level package is; submodules are found by their package's own `__path__`."""
        if path is not None or fullname not in self._folders:
            return None
        return PathFinder.find_spec(fullname, self._folders[fullname])

    def hidden(self, name: str) -> bool:
        """Whether a module that may not be imported is in one of the folders."""
        top = name.partition(".")[0]
        paths = {path for paths in self._folders.values() for path in paths}
        return top not in self._folders and PathFinder.find_spec(top, sorted(paths)) is not None


_ALLOWED = AllowedPackages()


def allow(packages: Iterable[str], folders: Iterable[Path]) -> None:
    """Lets Python import these packages from these folders, after all that is installed.

    packages   names such as `a` or `a.b`: of both, Python has to import `a`
    """
    if _ALLOWED not in sys.meta_path:
        # last: what is installed comes first, and no library can be replaced
        sys.meta_path.append(_ALLOWED)
    _ALLOWED.allow((each.partition(".")[0] for each in packages), folders)
    importlib.invalidate_caches()


def is_hidden(name: str) -> bool:
    """Whether a module is beside an allowed package but may not be imported itself."""
    return _ALLOWED.hidden(name)


def registered(folders: Iterable[Path]) -> frozenset[str]:
    """The functions, `package.module:name`, that installed distributions register for specs.

    folders   of the spec and of the command: a distribution's description that lies there was
              not installed, anyone may have put it beside a spec
    """
    excluded = {folder.resolve() for folder in folders}
    installed = [path for path in sys.path if Path(path).resolve() not in excluded]
    return frozenset(
        point.value.replace(" ", "")
        for distribution in distributions(path=installed)
        for point in distribution.entry_points
        if point.group == ENTRY_POINTS
    )
