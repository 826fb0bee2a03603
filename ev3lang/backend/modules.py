"""Networks of the user's own: flax modules found by name, built, called and carried as ours are."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from ev3lang.backend import packages
from ev3lang.backend.norms import STATISTICS
from ev3lang.backend.passes import Pass
from ev3lang.outcome import Fault
from ev3lang.plan.plan import ModelPlan, Module, Plan, TrainedBy

Params: TypeAlias = dict[str, Any]


class ModuleError(Fault):
    """A network from a Python class that can't be used as the spec says.

    help            what to do
    is_spec_fault   whether the spec or the command is at fault, rather than the class's own code
    """

    def __init__(self, message: str, help: str, *, is_spec_fault: bool = True) -> None:
        super().__init__(message, help)
        self.is_spec_fault = is_spec_fault


# ---------------------------------------------------------------- before a run


def load(models: Iterable[ModelPlan], allowed: Iterable[str], folders: Iterable[Path]) -> None:
    """Imports the classes that models come from, and tries each without computing anything.

    allowed   packages whose code may run: a class of `a.b:Net` needs `a` or `a.b`
    folders   where they are looked for, after all that is installed
    Raises ModuleError for a class that may not be imported, isn't there, can't be built with its
    options, or gives another shape than the model's signature says.
    """
    own = [(model, model.module) for model in models if model.module is not None]
    names = tuple(allowed)
    for model, module in own:
        require_allowed(f"model {model.name}", "class", module.target, names)
    if own:
        packages.allow(names, folders)
    for model, module in own:
        found = imported(f"model {model.name}", module.target)
        package, _, name = module.target.partition(":")
        if not (isinstance(found, type) and issubclass(found, nnx.Module)):
            what = "has no class" if found is None else "has, but as no flax.nnx.Module,"
            raise ModuleError(
                f"model {model.name}: the Python module {package} {what} {name}",
                "name a class that inherits from flax.nnx.Module",
            )
        _try(model)


def require_allowed(what: str, kind: str, target: str, allowed: Iterable[str]) -> None:
    """Raises ModuleError unless an allowed package holds the target, `package.module:name`.

    what, kind   who asks for it and as what: `model net`, `class`
    """
    parts = target.partition(":")[0].split(".")
    if {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}.isdisjoint(allowed):
        raise ModuleError(
            f"{what} is a {kind} of the package {parts[0]}, whose code may not run",
            f"if you trust it, run with --allow-python {parts[0]}; "
            f"in Python, allow_python=[{parts[0]!r}]",
        )


def imported(what: str, target: str) -> Any:
    """What a target names, its module imported; None where the module has no such name.

    Raises ModuleError where there is no module, or where it can't be imported.
    """
    package, _, name = target.partition(":")
    try:
        found = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is not None and (package + ".").startswith(error.name + "."):
            raise ModuleError(
                f"{what}: there is no Python module {package}",
                "it is looked for among what is installed, beside the spec and in the folder "
                "of the command",
            ) from error
        raise broken(what, target, "importing it", error) from error
    except Exception as error:
        # the user's code may raise anything, and the fault is theirs to read
        raise broken(what, target, "importing it", error) from error
    return getattr(found, name, None)


def warnings(plan: Plan) -> Iterator[str]:
    """Of classes with running statistics, as batch norm has, that single examples train.

    The classes are loaded. Whether they have more than one value of a channel is theirs to know.
    """
    for model in plan.models:
        if model.module is None or 1 not in _batches(plan, model):
            continue
        _, template = _skeleton(model.module)
        kinds = [type(variable) for _, variable in nnx.to_flat_state(template)]
        if any(issubclass(kind, nnx.BatchStat) for kind in kinds):
            yield (
                f"{model.name} keeps running statistics, as batch norm does, and is trained by one "
                "example at a time: batch norm of dense features gives its bias then, whatever the "
                "example; take larger batches or fewer parts"
            )


def _batches(plan: Plan, model: ModelPlan) -> set[int]:
    """How many examples a model sees together in training."""
    if isinstance(model.start, TrainedBy):
        return {model.start.batch}
    if not model.is_explored:
        return set()
    descents = (*plan.descents, *plan.by_members)
    of_candidates = {each.batch // each.parts for each in descents}
    return of_candidates | {each.batch // each.parts for each in plan.baselines}


def _try(model: ModelPlan) -> None:
    """Builds and calls a class on shapes alone. Raises ModuleError where that fails."""
    assert model.module is not None
    what, target = f"model {model.name}", model.module.target
    given = ", ".join(f"{name}={value!r}" for name, value in model.module.options)
    cls = _class(model.module)
    try:
        inspect.signature(cls.__init__).bind(None, **dict(model.module.options), rngs=None)
    except TypeError as error:
        raise ModuleError(
            f"model {model.name}: {target} can't be built as "
            f"{cls.__name__}({given}{', ' if given else ''}rngs=…): {error}",
            "its __init__ takes the options of the spec by name, and rngs",
        ) from error
    try:
        _, template = _skeleton(model.module)
    except Exception as error:
        # as above: the class is the user's
        raise broken(what, target, "building it", error) from error
    for path, variable in nnx.to_flat_state(template):
        if not isinstance(variable, nnx.Param | nnx.BatchStat | nnx.RngState):
            raise ModuleError(
                f"model {model.name}: {model.module.target} keeps a {type(variable).__name__} in "
                f"{_words(path)}, and a run carries only Param and BatchStat",
                "keep what is learned in a Param, and running statistics in a BatchStat",
            )
    dtype = jnp.int32 if model.takes == "tokens" else jnp.float32
    batch = jax.ShapeDtypeStruct((_BATCH, *model.input), dtype)
    params = jax.eval_shape(functools.partial(init, model.module), jax.random.key(0))

    def call(params: Params, batch: Array) -> Any:
        assert model.module is not None
        return passed(model.module, params, batch, Pass())[0]

    try:
        output = jax.eval_shape(call, params, batch)
    except Exception as error:
        # as above: the class is the user's
        raise broken(what, target, "calling it", error) from error
    wanted = (_BATCH, *(model.output.dimensions or (1,)))
    shape = getattr(output, "shape", None)
    if shape != wanted and not (shape == (_BATCH,) and not model.output.dimensions):
        raise ModuleError(
            f"model {model.name}: {model.module.target} makes "
            f"{'a ' + type(output).__name__ if shape is None else _shape(shape)} of "
            f"{_shape(batch.shape)}, and its signature says {_shape(wanted)}",
            "mend the class, its options or the signature",
        )
    if not jnp.issubdtype(output.dtype, jnp.floating):
        raise ModuleError(
            f"model {model.name}: {model.module.target} gives {output.dtype}, not real numbers",
            "give scores or values, without argmax or rounding",
        )


_BATCH = 3
"""Examples of the trial: a size that no layer is likely to have by itself."""


def broken(what: str, target: str, doing: str, error: BaseException) -> ModuleError:
    """The user's code has raised, in words: `doing` is what was done with it."""
    said = str(error).strip().splitlines()
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and packages.is_hidden(missing):
        top = missing.partition(".")[0]
        return ModuleError(
            f"{what}: {doing}, {target} needs {top}, a module beside it whose code may not run",
            f"if you trust it, add --allow-python {top}; in Python, add {top!r} to allow_python",
        )
    return ModuleError(
        f"{what}: {doing}, {target} raised {type(error).__name__}"
        + (f": {said[0]}" if said else ""),
        "the fault is in the Python code; call it by hand to see where",
        is_spec_fault=False,
    )


def _shape(shape: tuple[Any, ...]) -> str:
    return f"[{', '.join(['B', *map(str, shape[1:])])}]" if shape else "one number"


def _words(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


# ---------------------------------------------------------------- in a program


def init(module: Module, key: Array) -> Params:
    """The class's own fresh parameters and statistics, as nested dicts under its own names.

    key   [] of `jax.random.key`, the stream `params` of the `rngs` that the class is built with
    What batch norm keeps in BatchStat stands under `statistics`, as in networks of ours.
    """
    return as_dict(_built(module, key))


def passed(module: Module, params: Params, x: Array, pass_: Pass) -> tuple[Array, Any]:
    """What the class makes of a batch, and the built class behind that: `as_dict` reads it.

    params   as `init` gives them
    x        [B, *input]
    Dropout and batch norm are told by their attributes `deterministic` and `use_running_average`,
    as `train()` and `eval()` of flax set them, and by arguments of `__call__` of these names, or
    `train`, `training` and `is_training`.
    """
    graph, template = _skeleton(module)
    key = jax.random.key(0) if pass_.dropout_key is None else pass_.dropout_key
    known = [
        (path, variable.replace(_value(path, variable, params, jax.random.fold_in(key, place))))
        for place, (path, variable) in enumerate(nnx.to_flat_state(template))
    ]
    network = nnx.merge(graph, nnx.from_flat_state(known))
    is_still = pass_.dropout_key is None
    modes = {"deterministic": is_still, "use_running_average": not pass_.is_training}
    network.set_attributes(raise_if_not_found=False, **modes)
    modes |= dict.fromkeys(("train", "training", "is_training"), pass_.is_training)
    taken = inspect.signature(_class(module).__call__).parameters
    return network(x, **{name: mode for name, mode in modes.items() if name in taken}), network


def _value(path: tuple[Any, ...], variable: Any, params: Params, key: Array) -> Any:
    """A variable's value in one pass: from the parameters, or a fresh stream of random keys."""
    if isinstance(variable, nnx.RngKey):
        return key
    if isinstance(variable, nnx.RngState):
        return jnp.zeros((), jnp.uint32)
    for name in _place(path, variable):
        params = params[name]
    return params


def _place(path: tuple[Any, ...], variable: Any) -> tuple[str, ...]:
    """Where a variable stands in the nested dicts of parameters."""
    names = tuple(map(str, path))
    return (*names[:-1], STATISTICS, names[-1]) if isinstance(variable, nnx.BatchStat) else names


def as_dict(network: Any) -> Params:
    """Parameters and statistics of a built class as nested dicts."""
    tree: Params = {}
    for path, variable in nnx.to_flat_state(nnx.state(network, (nnx.Param, nnx.BatchStat))):
        *outer, last = _place(path, variable)
        inside = tree
        for name in outer:
            inside = inside.setdefault(name, {})
        inside[last] = variable.get_value()
    return tree


def _class(module: Module) -> Any:
    package, _, name = module.target.partition(":")
    assert package in sys.modules, f"{package} is imported before its models are built"
    return getattr(sys.modules[package], name)


def _built(module: Module, key: Array) -> Any:
    rngs = nnx.Rngs(params=key, dropout=jax.random.fold_in(key, 1))
    return _class(module)(**dict(module.options), rngs=rngs)


@functools.cache
def _skeleton(module: Module) -> tuple[Any, Any]:
    """The class's structure, and the shapes of all its variables in the place of arrays."""
    built = nnx.eval_shape(functools.partial(_built, module), jax.random.key(0))
    graph, state = nnx.split(built)
    return graph, state
