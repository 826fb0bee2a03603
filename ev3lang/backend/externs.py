"""Functions of the user's own: found by name, tried on shapes, and called where a spec says so."""

from __future__ import annotations

import hashlib
import inspect
import math
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import jax
import jax.numpy as jnp
import numpy as np

from ev3lang.backend import packages
from ev3lang.backend.modules import ModuleError, broken, imported, require_allowed
from ev3lang.catalog.index import FUNCTIONS
from ev3lang.catalog.signature import SCORES, Type
from ev3lang.plan.plan import (
    Apply,
    Expr,
    Extern,
    Forward,
    Plan,
    TrainedBy,
    Weights,
    holding,
    subexpressions,
)

Array: TypeAlias = jax.Array


# ---------------------------------------------------------------- before a run


def load(plan: Plan, allowed: Iterable[str], folders: Iterable[Path]) -> None:
    """Imports the functions that a plan calls, and tries each without computing anything.

    allowed   packages whose code may run, beside those that register the function themselves
    folders   where they are looked for, after all that is installed
    Raises ModuleError for a function that may not be imported, isn't there, can't be called with
    what the spec gives it, or gives something else than its declared type says.
    """
    names, places = tuple(allowed), tuple(folders)
    # Read before any package of the folders can be imported.
    registered = packages.registered(places) if plan.externs else frozenset()
    for extern in plan.externs:
        if extern.target not in registered:
            require_allowed(_words(extern), "function", extern.target, names)
    if plan.externs:
        packages.allow(names, places)
    for extern in plan.externs:
        found = imported(_words(extern), extern.target)
        package, _, name = extern.target.partition(":")
        if not callable(found):
            what = "has no" if found is None else "has, but not as a function,"
            raise ModuleError(
                f"{_words(extern)}: the Python module {package} {what} {name}",
                "name a function of that module",
            )
        _require_arguments(extern, found)
    try_uses(plan, (_BATCH,))


def try_uses(plan: Plan, counts: Iterable[int]) -> None:
    """Traces every call of a function that stands in the program, on batches of these sizes.

    Where a gradient has to flow through it, so too its gradient. Raises ModuleError.
    """
    called = {extern.function: extern for extern in plan.externs if not extern.is_host}
    begun = [model.start.loss for model in plan.models if isinstance(model.start, TrainedBy)]
    descended = set(_with_gradient(*plan.losses, *begun))
    uses = {
        part: called[part.function]
        for part in subexpressions(*plan.values)
        if isinstance(part, Apply) and part.function in called
    }
    for use, extern in uses.items():
        is_descended = use in descended and use.type.kind in _REAL
        for count in sorted(set(counts)):
            given = [_shape_struct(part, count) for part in use.inputs]
            jax.eval_shape(partial(_called, extern, use), given)
            if is_descended:
                _try_gradient(extern, use, given)


_BATCH = 3
"""Examples of the first trial: a size that no function is likely to have by itself."""


def _require_arguments(extern: Extern, function: Any) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:
        # of what is written in C, Python may not know any
        return
    try:
        signature.bind(*extern.inputs)
    except TypeError as error:
        raise ModuleError(
            f"{_words(extern)}: {extern.target} can't be called with {len(extern.inputs)} "
            f"{'array' if len(extern.inputs) == 1 else 'arrays'}: {error}",
            "its arguments are the declared inputs, by place",
        ) from error


def _called(extern: Extern, use: Apply, parts: Sequence[Any]) -> Array:
    return call(extern, use, parts)


def _try_gradient(extern: Extern, use: Apply, given: Sequence[jax.ShapeDtypeStruct]) -> None:
    reals = [place for place, each in enumerate(given) if jnp.issubdtype(each.dtype, jnp.floating)]

    def total(moving: list[Array], parts: list[Array]) -> Array:
        for place, part in zip(reals, moving, strict=True):
            parts = [*parts[:place], part, *parts[place + 1 :]]
        return jnp.sum(call(extern, use, parts))

    try:
        jax.eval_shape(jax.grad(total), [given[place] for place in reals], list(given))
    except Exception as error:
        # the function is the user's, and so is what it does to a gradient
        raise broken(_words(extern), extern.target, "taking its gradient", error) from error


def _with_gradient(*losses: Expr) -> Iterator[Expr]:
    """The parts of losses through which a gradient flows to a model."""
    moving = holding(*losses, wanted=lambda part: isinstance(part, (Forward, Weights)))

    def inside(expr: Expr) -> tuple[Expr, ...]:
        if expr not in moving or not isinstance(expr, (Forward, Apply)):
            return ()
        entry = FUNCTIONS.get(expr.function) if isinstance(expr, Apply) else None
        is_open = entry is None or entry.is_differentiable
        return expr.inputs if is_open and expr.type.kind != "bool" else ()

    return (part for part in subexpressions(*losses, inside=inside) if part in moving)


def record(plan: Plan) -> list[dict[str, str | None]]:
    """What ran under each name: its place, its package's version, its file's SHA-256."""
    return [
        {
            "name": extern.name,
            "target": extern.target,
            "version": _version(extern.target.partition(".")[0].partition(":")[0]),
            "sha256": _digest(extern.target.partition(":")[0]),
        }
        for extern in plan.externs
    ]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _digest(package: str) -> str | None:
    file = getattr(sys.modules[package], "__file__", None)
    try:
        return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        # gone since it was imported, or inside of an archive
        return None


# ---------------------------------------------------------------- in a program


def call(extern: Extern, use: Apply, parts: Sequence[Any]) -> Array:
    """What a function makes of a batch: `[B, *]` as its declared type says; of a host's `[]`.

    use     the call in the spec: types of the inputs and of the output, sizes known
    parts   the inputs' values, `[B, *]`; what is the same for all examples is `[]`
    Real numbers become float32, whole ones int32. A function that stands in the program is
    compared with its declared type wherever it is traced: raises ModuleError.
    """
    arrays = _arrays(use, parts)
    if extern.is_host:
        # One call for each model or resample: a scorer takes one set.
        score = partial(_score, extern)
        result = jax.ShapeDtypeStruct((), jnp.float32)
        scored: Array = jax.pure_callback(score, result, *arrays, vmap_method="sequential")
        return scored
    try:
        output = _function(extern)(*arrays)
    except Exception as error:
        # the user's code may raise anything
        raise broken(_words(extern), extern.target, "calling it", error) from error
    _require_type(extern, use, arrays, output)
    if use.type.kind in _WHOLE:
        return jnp.asarray(output, jnp.int32)
    if use.type.kind in _REAL:
        return jnp.asarray(output, jnp.promote_types(output.dtype, jnp.float32))
    return jnp.asarray(output)


_WHOLE = frozenset({"i32", "int", "class", "tokens", "text"})
_REAL = frozenset({"f32", "bf16", "u8", *SCORES, "real", "ratio", "pp"})


def _function(extern: Extern) -> Any:
    package, _, name = extern.target.partition(":")
    assert package in sys.modules, f"{package} is imported before its functions are called"
    return getattr(sys.modules[package], name)


def _arrays(use: Apply, parts: Sequence[Any]) -> list[Array]:
    """The inputs as arrays `[B, *]`; a constant is repeated for each example."""
    pairs = list(zip(parts, use.inputs, strict=True))
    count = next(len(part) for part, each in pairs if each.level == "example")
    return [
        jnp.full(count, part, _dtype(each.type))
        if each.level == "constant"
        else jnp.asarray(part, _dtype(each.type))
        for part, each in pairs
    ]


def _dtype(type_: Type) -> Any:
    if type_.kind in _WHOLE:
        return jnp.int32
    return jnp.float32 if type_.kind in _REAL else jnp.bool_


def _sizes(type_: Type) -> tuple[int | str, ...]:
    """The axes of one example's array."""
    match type_.kind:
        case "class" | "text":
            return ()
        case "tokens":
            return type_.dimensions[1:]
        case _:
            return type_.dimensions


def _shape_struct(part: Expr, count: int) -> jax.ShapeDtypeStruct:
    """An input for the trial; a size that only the data have is 5."""
    if part.level == "constant":
        return jax.ShapeDtypeStruct((), _dtype(part.type))
    sizes = [each if isinstance(each, int) else 5 for each in _sizes(part.type)]
    return jax.ShapeDtypeStruct((count, *sizes), _dtype(part.type))


def _require_type(extern: Extern, use: Apply, arrays: Sequence[Array], output: Any) -> None:
    wanted, count = _sizes(use.type), len(arrays[0])
    shape, dtype = getattr(output, "shape", None), getattr(output, "dtype", None)
    kind, words = jnp.bool_, "true or false"
    if use.type.kind in _REAL:
        kind, words = jnp.floating, "real numbers"
    elif use.type.kind in _WHOLE:
        kind, words = jnp.integer, "whole numbers"
    if (
        isinstance(shape, tuple)
        and dtype is not None
        and jnp.issubdtype(dtype, kind)
        and shape[:1] == (count,)
        and len(shape) == 1 + len(wanted)
        # a size that only the data have is any
        and all(
            isinstance(size, str) or size == each
            for size, each in zip(wanted, shape[1:], strict=True)
        )
    ):
        return
    got = f"a {type(output).__name__}" if dtype is None else f"{dtype}{_axes(shape, count)}"
    given = ", ".join(f"{each.dtype}{_axes(each.shape, count)}" for each in arrays)
    raise ModuleError(
        f"{_words(extern)}: {extern.target} makes {got} of {given}, and its declared type "
        f"{use.type} asks for {words} {_axes((count, *wanted), count)}",
        f"mend the function or the declared type; B is the number of examples, here {count}",
    )


def _axes(shape: Any, count: int) -> str:
    """`[B, 3]`: a first axis of the examples under its name."""
    if shape[:1] == (count,):
        return f"[{', '.join(['B', *map(str, shape[1:])])}]"
    return f"[{', '.join(map(str, shape))}]"


def _words(extern: Extern) -> str:
    return f"extern {extern.name}" + (f" ({extern.place})" if extern.place else "")


# ---------------------------------------------------------------- on the host


class Faults:
    """What went wrong in host functions: the first fault of each, and how many there were."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: dict[str, str] = {}
        self._count: dict[str, int] = {}
        self._news: dict[str, str] = {}

    def clear(self) -> None:
        """Forgets all faults: another run begins."""
        with self._lock:
            self._first.clear()
            self._count.clear()
            self._news.clear()

    def note(self, name: str, what: str, *, is_secret: bool = False) -> None:
        """A fault, as it comes; the program may call several functions at once.

        is_secret   whether it says something of adapt, and so is told only when all is over
        """
        with self._lock:
            self._first.setdefault(name, what)
            self._count[name] = self._count.get(name, 0) + 1
            if not is_secret:
                self._news.setdefault(name, what)

    def news(self) -> tuple[str, ...]:
        """The first fault of each function, those that were not told before."""
        with self._lock:
            fresh = {name: what for name, what in self._news.items() if what}
            # nothing to be told again
            self._news |= dict.fromkeys(fresh, "")
        return tuple(f"extern {name} {what}" for name, what in fresh.items())

    def summary(self) -> tuple[str, ...]:
        """Of each function its first fault, and how many there were."""
        with self._lock:
            return tuple(
                f"extern {name} {what}"
                + (f", the first of {self._count[name]} faults" if self._count[name] > 1 else "")
                + "; a model that it can't score is out of the iteration"
                for name, what in self._first.items()
            )


@attrs.frozen
class Heard(Extern):
    """A host function whose faults are noted."""

    faults: Faults = attrs.field(factory=Faults, eq=False, repr=False)
    is_secret: bool = False


def heard(plan: Plan, faults: Faults) -> Plan:
    """The plan with every host function noting its faults there."""
    names = attrs.fields_dict(Extern)

    def hearing(extern: Extern) -> Extern:
        return Heard(**{name: getattr(extern, name) for name in names}, faults=faults)

    return attrs.evolve(
        plan, externs=tuple(hearing(each) if each.is_host else each for each in plan.externs)
    )


def in_secret(extern: Extern) -> Extern:
    """The same function, whose faults are told only when the run is over."""
    return attrs.evolve(extern, is_secret=True) if isinstance(extern, Heard) else extern


def _score(extern: Extern, *arrays: Any) -> np.float32:
    """What a host function makes of a set, [] float32; NaN where it has a fault, which is noted.

    It gets arrays of its own, to change as it likes.
    """
    assert isinstance(extern, Heard), "a program hears of the faults of host functions"
    try:
        value = _function(extern)(*(np.array(each) for each in arrays))
    except (Exception, SystemExit) as error:
        # the user's code may raise anything, and a run must not end by it
        said = str(error).strip().splitlines()
        words = f"raised {type(error).__name__}" + (f": {said[0]}" if said else "")
    else:
        number = _number(value)
        if number is not None and np.isfinite(number):
            return number
        shape = getattr(value, "shape", ())
        of_shape = f" of shape {shape}" if shape else ""
        words = f"gave a {type(value).__name__}{of_shape}, not one number"
        if number is not None:
            words = f"gave {number}"
    extern.faults.note(extern.name, words, is_secret=extern.is_secret)
    return np.float32(math.nan)


def _number(value: Any) -> np.float32 | None:
    """A result as float32; None where it is not one real number, but an array of one, say."""
    if isinstance(value, str | bytes | complex | np.complexfloating):
        return None
    if getattr(value, "shape", ()) != () or not hasattr(value, "__float__"):
        return None
    try:
        with np.errstate(over="ignore"):
            return np.float32(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
