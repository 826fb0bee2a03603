"""TypedProgram to Program, and the way in for Python: `ev3lang.load(path).compile()`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from ev3lang.analysis import Analysis, analyze
from ev3lang.diagnostics.diagnostic import Diagnostic, has_errors
from ev3lang.diagnostics.render import render
from ev3lang.plan.lower import lower
from ev3lang.plan.plan import Plan
from ev3lang.source import Source

if TYPE_CHECKING:
    from ev3lang.backend.emit import Program


class SpecError(ValueError):
    """A spec that can't be run; its words are the rendered diagnostics."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__("\n" + render(diagnostics, "text", color=False, width=100))
        self.diagnostics = diagnostics


@attrs.frozen
class Experiment:
    """A checked spec, ready to be compiled."""

    source: Source
    plan: Plan

    def compile(self, *, seed: int | None = None, allow_python: Collection[str] = ()) -> Program:
        """The spec as two pure, jitted functions, `init(key)` and `step(state)`.

        seed          instead of the spec's own
        allow_python  packages whose code may run: networks from Python classes need theirs
        Runs on JAX's default device; teachers are trained here, or read from the cache. Raises
        `DataError` where the data are not what the spec says, `WeightsError` where a checkpoint
        isn't, `ModuleError` for a class that can't be used.
        """
        # Imported here, so that checking a spec loads neither jax nor numpy.
        import jax

        from ev3lang.backend.emit import emit
        from ev3lang.backend.modules import load
        from ev3lang.plan.fuse import fuse
        from ev3lang.runtime.data import read
        from ev3lang.runtime.teachers import given_weights

        load(self.plan.models, allow_python, (self.source.folder, Path()))
        plan = self.plan if seed is None else attrs.evolve(self.plan, seed=seed)
        data = read(plan.data, self.source.folder)
        platform = jax.default_backend()
        given = given_weights(plan, data, self.source.folder, platform=platform)
        return emit(fuse(plan, platform), data.tables, data.statistics, given.weights)


def load(
    path: str | PathLike[str], overrides: Mapping[str, str] = MappingProxyType({})
) -> Experiment:
    """Read and check a spec.

    overrides  params set from outside, each value as text: `{"width": "32"}`
    Raises OSError where the file can't be read, UnicodeDecodeError where it is no UTF-8, and
    SpecError where the spec is at fault or has parts that can't be run yet.
    """
    source = Source(str(path), Path(path).read_text(encoding="utf-8"))
    return experiment(analyze(source, overrides))


def experiment(analysis: Analysis) -> Experiment:
    """The experiment of an analysed spec; raises SpecError where it can't be run."""
    if has_errors(analysis.refusals):
        raise SpecError(analysis.refusals)
    assert analysis.program is not None, "a spec without errors has a program"
    return Experiment(analysis.whole, lower(analysis.program))
