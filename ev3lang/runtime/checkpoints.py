"""Weights on disk: a run's `accepted/`, and what orbax and flax have written, fitted to a model."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np

from ev3lang import regular
from ev3lang.backend import models
from ev3lang.backend.norms import STATISTICS
from ev3lang.plan.plan import (
    DataPlan,
    ModelPlan,
    Plan,
)
from ev3lang.runtime import description, folder
from ev3lang.runtime.data import Dataset
from ev3lang.runtime.description import AGAIN
from ev3lang.runtime.faults import DataError, WeightsError
from ev3lang.runtime.foreign import FOREIGN, cause
from ev3lang.runtime.readers import npz
from ev3lang.runtime.readers.opening import check_size


@attrs.frozen(eq=False)
class Restored:
    """A model's weights from a file.

    params           as `models.init` gives them
    says_its_split   whether the file tells which examples they were trained on
    """

    params: models.Params
    says_its_split: bool


# ---------------------------------------------------------------- writing


def save(
    final: Path,
    plan: Plan,
    dataset: Dataset,
    params: Mapping[str, models.Params],
    record: Mapping[str, Any] | None = None,
) -> None:
    """Writes a folder with `weights.npz`, an array for each path, and `models.json`.

    params   of every model of the plan, on the host
    record   what `data_record` says, where it is known already
    `models.json` holds the models' plans, what their inputs were normalised by, the data and the
    split that they were trained on, and the versions of all that numbers depend on. It takes the
    place of a folder that is there. Whoever looks finds all of the new or of the old one: for the
    moment between, the old one is called `<name>.before`, where `read` finds it. Raises OSError.
    """
    partial = final.with_name(final.name + ".partial")
    partial.mkdir()
    try:
        with (partial / "weights.npz").open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays_by_path(params))
            file.flush()
            os.fsync(file.fileno())
        data = data_record(plan.data, dataset) if record is None else record
        folder.write_json(partial / "models.json", description.describe(plan, dataset, data))
        folder.put(partial, final)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def arrays_by_path(params: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree of weights by their path, as in `net/mlp_0/output/kernel`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in leaves
    }


def data_record(plan: DataPlan, dataset: Dataset) -> dict[str, Any]:
    """Which examples each split holds: of what source, cut how, and what fields hold there.

    Fields that were normalised when they were read tell less than those that weren't: their
    numbers depend on more than the split.
    """
    changed = set(dataset.scales) - set(dataset.statistics)
    columns = [name for name, _ in plan.fields if name not in changed]
    split = plan.split
    return {
        "name": plan.name,
        "source": plan.source,
        "split": None
        if split is None
        else {
            name: description.plain(value)
            for name, value in attrs.asdict(split, recurse=False).items()
        },
        "rows": {use: len(next(iter(table.values()))) for use, table in dataset.tables.items()},
        "fields": {
            name: _digest(table[name] for table in dataset.tables.values()) for name in columns
        }
        if dataset.tables
        else {},
    }


def _digest(columns: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(f"{column.dtype.str} {column.shape}".encode())
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


# ---------------------------------------------------------------- reading


def read(path: Path, model: ModelPlan, data: dict[str, Any] | None) -> Restored:
    """A model's weights from a run's `accepted/`, an orbax checkpoint or a msgpack file of flax's.

    data   what `data_record` says of this run: a folder of ours that says otherwise is refused;
           None takes any
    Raises WeightsError where there is nothing to read, where it can't be read, and where it
    holds another model or was trained on another split.
    """
    try:
        regular.kind_of(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise WeightsError(
            f"there is no checkpoint {path}",
            "the path is relative to the folder of the spec; an absolute one stays as it is",
        ) from error
    except OSError as error:
        raise WeightsError(f"{path} can't be read: {cause(error)}", _READABLE) from error
    own = ours(path)
    if own is not None:
        return Restored(_read_ours(own, model, data), says_its_split=True)
    tree = _read_orbax(path) if path.is_dir() else _read_msgpack(path)
    wanted = _wanted(model)
    try:
        found = _renamed(tree, model.name, wanted)
    except RecursionError as error:
        raise WeightsError(f"{path} can't be read: it nests too deep", AGAIN) from error
    return Restored(_fitted(str(path), model, found, wanted), False)


def ours(path: Path) -> Path | None:
    """The folder with `models.json`: the path itself, or the `accepted/` of a run's folder.

    Of a run that was killed while it wrote one anew, the one before.
    """
    before = path.with_name(path.name + folder.BEFORE)
    for each in (path, path / "accepted", before, path / f"accepted{folder.BEFORE}"):
        if (each / "models.json").is_file():
            return each
    return None


def _read_ours(path: Path, model: ModelPlan, data: Mapping[str, Any] | None) -> models.Params:
    found = description.read(path)
    is_alone = len(found.explored) == 1
    name = model.name if model.name in found.models or not is_alone else found.explored[0]
    if name not in found.models:
        raise WeightsError(
            f"{path} holds {', '.join(sorted(found.models))}, none of which is {model.name}",
            "call the model by the name that it had",
        )
    _require_same_model(path, found.documents[name], model)
    if data is not None:
        _require_same_data(path, found.data, data, model.name)
    wanted = _wanted(model)
    arrays = _read_npz(path / "weights.npz", {f"{name}/{each}": wanted[each] for each in wanted})
    return _fitted(str(path), model, {each: arrays[f"{name}/{each}"] for each in wanted}, wanted)


def _require_same_model(path: Path, there: Mapping[str, Any], model: ModelPlan) -> None:
    here = description.model_json(model)
    for part in ("input", "output", "takes", "module", "layers"):
        if there[part] != here[part]:
            raise WeightsError(
                f"{path} holds another model than {model.name}: its {part} "
                f"{'are' if part == 'layers' else 'is'} {_brief(there[part])}, and "
                f"{model.name} has {_brief(here[part])}",
                "declare the model as it was trained",
            )


def _brief(value: Any) -> str:
    """A part of a model's plan in a line: layers by their names and options."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return " | ".join(
            f"{each['name']}({', '.join(f'{n}: {_brief(v)}' for n, v in each['options'].items())})"
            for each in value
        )
    return str(value)


def _require_same_data(
    path: Path, there: Mapping[str, Any], here: Mapping[str, Any], model: str
) -> None:
    """Raises WeightsError unless the splits hold the same examples as in training."""
    is_other = [part for part in ("source", "split", "rows") if there[part] != here[part]]
    shared = there["fields"].keys() & here["fields"].keys()
    is_other += [name for name in sorted(shared) if there["fields"][name] != here["fields"][name]]
    if not shared and there["name"] != here["name"]:
        # The draw goes by the name too, and no field shows that it came out the same.
        is_other.append("name")
    if is_other:
        part = is_other[0]
        what = (
            f"its {part} was {there[part]}, and here it is {here[part]}"
            if part not in shared
            else f"`{part}` has other values, or the same ones elsewhere"
        )
        raise WeightsError(
            f"{path} was trained on another split than this run's: {what}",
            f"it may have seen the examples that this run measures on; train {model} on this "
            "run's explore split, with `trained by`",
        )


def _read_npz(path: Path, wanted: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, np.ndarray]:
    """The wanted arrays of an npz file, none of them larger than it has to be."""
    try:
        regular.size_bytes(path)
        with zipfile.ZipFile(path) as archive:
            members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
            for name, shape in wanted.items():
                if name not in members:
                    raise WeightsError(f"{path} has no {name}", AGAIN)
                size = members[name].file_size
                if size > shape.size * 8 + _HEADER_BYTES:
                    raise WeightsError(
                        f"{name} in {path} unpacks to {size:,} bytes, and the model needs "
                        f"{shape.size * 4:,}",
                        AGAIN,
                    )
            return {name: npz.whole(archive, members[name]) for name in wanted}
    except FileNotFoundError as error:
        raise WeightsError(f"there is no {path} beside its models.json", AGAIN) from error
    except FOREIGN as error:
        raise WeightsError(f"{path} can't be read: {cause(error)}", AGAIN) from error


_HEADER_BYTES = 4096
"""More than the header of an array in an npz file takes."""

_READABLE = "name a regular file, or a folder, that you have the right to read"


# ---------------------------------------------------------------- orbax and flax


def _read_orbax(path: Path) -> Any:
    """The tree of a checkpoint of orbax's: as saved alone, or as step of a CheckpointManager."""
    import orbax.checkpoint

    where = path / "default" if (path / "default").is_dir() else path
    if not any((where / name).exists() for name in ("_METADATA", "manifest.ocdbt", "checkpoint")):
        raise WeightsError(
            f"{path} is a folder without weights: it has neither `models.json` nor what orbax "
            "writes",
            "name the folder `accepted` of a run, or a checkpoint's own folder",
        )
    try:
        stored_bytes = _stored_bytes(where)
        with (
            _without_late_reads(),
            contextlib.closing(orbax.checkpoint.PyTreeCheckpointer()) as checkpointer,
        ):
            return checkpointer.restore(
                where.resolve(), args=_as_numpy(orbax, where.resolve(), stored_bytes)
            )
    except FOREIGN as error:
        raise WeightsError(
            f"{path} can't be read as a checkpoint of orbax's: {cause(error)}",
            "save it again, with orbax.checkpoint.StandardCheckpointer",
        ) from error


@contextlib.contextmanager
def _without_late_reads() -> Iterator[None]:
    """Of several arrays orbax gives up at the first that fails.

    The other reads end a moment later and find its event loop closed, of which Python would print
    a traceback each.
    """
    report = sys.unraisablehook

    def quietly(dropped: sys.UnraisableHookArgs) -> None:
        if not isinstance(dropped.exc_value, RuntimeError):
            report(dropped)

    sys.unraisablehook = quietly
    try:
        yield
    except FOREIGN:
        time.sleep(LATE_S)
        raise
    finally:
        sys.unraisablehook = report


LATE_S = 0.3
"""How long reads of a local disk go on after the first has failed."""


def _stored_bytes(where: Path) -> int:
    """What a folder takes on disk. Raises OSError where it holds a pipe or a device."""
    return sum(regular.size_bytes(each) for each in where.rglob("*") if not each.is_dir())


def _as_numpy(orbax: Any, where: Path, stored_bytes: int) -> Any:
    """How orbax restores every array: to the host, wherever it was saved from.

    Raises ValueError for arrays that no honest checkpoint of that size unpacks to.
    """
    checkpointer = orbax.checkpoint.PyTreeCheckpointHandler()
    metadata = checkpointer.metadata(where).tree
    leaves = jax.tree.leaves(metadata, is_leaf=lambda each: hasattr(each, "shape"))
    unpacked = sum(4 * math.prod(getattr(each, "shape", None) or ()) for each in leaves)
    try:
        check_size(where, "the checkpoint", unpacked, stored_bytes)
    except DataError as error:
        raise ValueError(str(error)) from error
    return orbax.checkpoint.args.PyTreeRestore(
        restore_args=jax.tree.map(
            lambda _: orbax.checkpoint.RestoreArgs(restore_type=np.ndarray), metadata
        )
    )


def _read_msgpack(path: Path) -> Any:
    import flax.serialization
    import msgpack.exceptions

    try:
        data = regular.read_bytes(path)
    except OSError as error:
        raise WeightsError(f"{path} can't be read: {cause(error)}", _READABLE) from error
    try:
        return flax.serialization.msgpack_restore(data)
    except (*FOREIGN, msgpack.exceptions.UnpackException) as error:
        raise WeightsError(
            f"{path} is no msgpack file of flax's: {cause(error)}",
            "write it with flax.serialization.to_bytes, or name a folder",
        ) from error


def _renamed(
    tree: Any, model: str, wanted: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, np.ndarray]:
    """A foreign tree's arrays by our paths.

    What flax writes differs in three ways from what we call the same: linen has its parameters
    under `params` and its running statistics under `batch_stats`, and nnx may have every array
    under `value`. A tree of several models has each under its name.
    """
    found = _by_path(tree)
    outer = {path.partition("/")[0] for path in found}
    if outer <= {"params", "batch_stats"}:
        found = {
            _statistic(rest) if kind == "batch_stats" else rest: array
            for path, array in found.items()
            for kind, _, rest in [path.partition("/")]
        }
    if found and all(path.endswith("/value") for path in found):
        found = {path.removesuffix("/value"): array for path, array in found.items()}
    if model in outer and not any(path.startswith(f"{model}/") for path in wanted):
        found = {
            path.removeprefix(f"{model}/"): array
            for path, array in found.items()
            if path.startswith(f"{model}/")
        }
    # nnx keeps what batch norm has seen beside its weights
    inside = f"/{STATISTICS}/"
    statistics = {each.replace(inside, "/"): each for each in wanted if inside in each}
    return {statistics.get(path, path): array for path, array in found.items()}


def _statistic(path: str) -> str:
    layer, _, name = path.rpartition("/")
    return f"{layer}/{STATISTICS}/{name}"


def _by_path(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of nested dicts and lists by their path."""
    if isinstance(tree, Mapping):
        items: Iterable[tuple[Any, Any]] = tree.items()
    elif isinstance(tree, (list, tuple)):
        items = enumerate(tree)
    else:
        return {"": tree}
    found = {}
    for name, inside in items:
        for path, array in _by_path(inside).items():
            found[f"{name}/{path}" if path else str(name)] = array
    return found


# ---------------------------------------------------------------- fitting


def _wanted(model: ModelPlan) -> dict[str, jax.ShapeDtypeStruct]:
    """The shape of each array of a model's weights, by its path."""
    shapes = jax.eval_shape(lambda key: models.init(model, key), jax.random.key(0))
    leaves, _ = jax.tree_util.tree_flatten_with_path(shapes)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _fitted(
    where: str,
    model: ModelPlan,
    found: Mapping[str, Any],
    wanted: Mapping[str, jax.ShapeDtypeStruct],
) -> models.Params:
    """The arrays as the model's weights. Raises WeightsError for the first that doesn't fit."""
    params: models.Params = {}
    for path, shape in wanted.items():
        if path not in found:
            others = sorted(found.keys() - wanted.keys())
            has = f"it has {others[0]}" if others else "it has no other array"
            raise _misfit(where, model, f"{path} {_shape(shape.shape)} is missing; {has}")
        array = np.asarray(found[path])
        if array.shape != shape.shape:
            raise _misfit(
                where,
                model,
                f"{path} is {_shape(array.shape)} there, and the model needs {_shape(shape.shape)}",
            )
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise _misfit(where, model, f"{path} holds {array.dtype} and no real numbers")
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise _misfit(where, model, f"{path} holds a value that is not a finite number")
        *outer, last = path.split("/")
        inside = params
        for name in outer:
            inside = inside.setdefault(name, {})
        inside[last] = array
    extra = sorted(found.keys() - wanted.keys())
    if extra:
        raise _misfit(where, model, f"{extra[0]} is there, and the model has no such array")
    return params


def _misfit(where: str, model: ModelPlan, why: str) -> WeightsError:
    return WeightsError(
        f"the weights in {where} are not those of {model.name}: {why}",
        "declare the model as it was trained, or name another checkpoint",
    )


def _shape(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]" if shape else "one number"
