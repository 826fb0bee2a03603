"""TypedProgram to Program, and the way in for Python: `ev3lang.load(path).compile()`."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from ev3lang.analysis import Analysis, analyze
from ev3lang.check import seeds, sweeps
from ev3lang.check.typed import TypedProgram
from ev3lang.diagnostics.diagnostic import Diagnostic, has_errors
from ev3lang.diagnostics.render import render
from ev3lang.plan.lower import lower
from ev3lang.plan.plan import Plan
from ev3lang.plan.sweep import Point
from ev3lang.project import read_file
from ev3lang.source import Source

if TYPE_CHECKING:
    from ev3lang.backend.emit import Program


class SpecError(ValueError):
    """A spec that can't be run; its words are the rendered diagnostics."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__("\n" + render(diagnostics, "text", color=False, width=100))
        self.diagnostics = diagnostics

    def __reduce__(self) -> tuple[Any, ...]:
        # `ValueError` would call the class with its message
        return type(self), (self.diagnostics,), self.__dict__


@attrs.frozen(eq=False)
class Experiment:
    """A checked spec, ready to be compiled.

    points   every run that it asks for: the one without settings, or all of its sweep, each with
             its part of the confidence
    """

    source: Source
    points: tuple[Point, ...]

    @property
    def is_sweep(self) -> bool:
        return bool(self.points[0].settings)

    @property
    def plan(self) -> Plan:
        """The plan of the one run; raises ValueError for a sweep of several."""
        if len(self.points) > 1:
            axes = ", ".join(self.points[0].settings)
            raise ValueError(
                f"{self.source.name} is a sweep of {len(self.points)} runs over {axes}: take one "
                "of `points`, or set its axes by overrides and seed"
            )
        return self.points[0].plan

    def compile(
        self,
        *,
        point: Point | None = None,
        seed: int | None = None,
        allow_python: Collection[str] = (),
    ) -> Program:
        """The spec as two pure, jitted functions, `init(key)` and `step(state)`.

        point         which of a sweep's
        seed          instead of the spec's own
        allow_python  packages whose code may run: networks and functions from Python need theirs
        The program has the sizes that the spec starts with, and no candidate by members of
        archives: growth, archives and passes lead from one program to the next, and are a run's.
        `state.progress.is_due` says when a run would take such a step; `step` goes on as it was.
        Runs on JAX's default device; teachers are trained here, or read from the cache. Raises
        TypeError or ValueError for a seed that is none, ValueError for a sweep without a point,
        `DataError` where the data are not what the spec says, `WeightsError` where a checkpoint
        isn't, `ModuleError` for Python that can't be used.
        """
        # Imported here, so that checking a spec loads neither jax nor numpy.
        import jax

        from ev3lang.backend import externs, modules
        from ev3lang.backend.emit import emit
        from ev3lang.plan.fuse import fuse
        from ev3lang.runtime import sequences, whole
        from ev3lang.runtime.data import read
        from ev3lang.runtime.teachers import given_weights

        plan = self.plan if point is None else point.plan
        plan = plan if seed is None else attrs.evolve(plan, seed=seeds.valid(seed))
        folders = self.source.folder, Path()
        modules.load(plan.models, allow_python, folders)
        externs.load(plan, allow_python, folders)
        data = read(plan.data, self.source.folder)
        whole.check(plan, data.tables)
        plan = sequences.with_reaches(plan, data.tables)
        platform = jax.default_backend()
        given = given_weights(plan, data, self.source.folder, platform=platform)
        return emit(fuse(plan, platform), data.tables, data.statistics, given.weights)


Setting: TypeAlias = str | int | float | bool


def load(
    path: str | PathLike[str],
    overrides: Mapping[str, Setting] = MappingProxyType({}),
    seed: int | None = None,
) -> Experiment:
    """Read and check a spec.

    overrides  params set from outside: `{"width": 32, "rate": 1e-3}`, or each value as a spec
               writes it: `{"share": "10%"}`
    seed       instead of the spec's own
    What is set is no axis of a sweep any more. Raises OSError where the file can't be read,
    UnicodeDecodeError where it is no UTF-8, TypeError or ValueError for a seed that is none and a
    setting that no spec could have, and SpecError where the spec is at fault or has parts that
    can't be run yet.
    """
    source = Source(str(path), read_file(Path(path)))
    settings = {_name(name): _written(name, value) for name, value in overrides.items()}
    return experiment(analyze(source, settings, seed=seed))


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a param is set by its name, not by {type(name).__name__} {name!r}")
    return name


def _written(name: str, value: Any) -> str:
    """A setting as a spec writes it. Raises TypeError and ValueError for what no spec has."""
    if isinstance(value, str):
        return value
    if getattr(value, "ndim", None) == 0:
        # a scalar of NumPy's or JAX's
        value = value.item()
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, (int, float)):
        raise TypeError(
            f"{name} is set to {type(value).__name__} {value!r}: give a number, true or false, or "
            "a text as a spec writes it"
        )
    if not math.isfinite(value):
        raise ValueError(f"{name} is set to {value}: give a finite number")
    return repr(value)


def experiment(analysis: Analysis) -> Experiment:
    """The experiment of an analysed spec; raises SpecError where it can't be run."""
    if has_errors(analysis.refusals):
        raise SpecError(analysis.refusals)
    assert analysis.points, "a spec without errors has a run"
    return Experiment(analysis.whole, tuple(_lowered(analysis.points)))


def _lowered(points: Iterable[sweeps.Point]) -> Iterator[Point]:
    """The points of a sweep with their plans; those that differ in the seed alone share one."""
    before: tuple[TypedProgram, Plan] | None = None
    for each in points:
        if before is None or not _is_same_but_for_seed(before[0], each.program):
            before = each.program, lower(each.program)
        plan = attrs.evolve(before[1], seed=each.program.seed)
        yield Point(each.settings, plan)


def _is_same_but_for_seed(program: TypedProgram, other: TypedProgram) -> bool:
    """Whether both have the very same parts."""
    parts = (each.name for each in attrs.fields(TypedProgram) if each.name != "seed")
    return all(getattr(program, name) is getattr(other, name) for name in parts)
