"""Damaged checkpoints of every kind that a model's weights can come from, and reading them."""

from __future__ import annotations

import functools
import io
import json
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import flax.serialization
import jax
import msgpack
import numpy as np
import orbax.checkpoint

import ev3lang
from ev3lang.analysis import analyze
from ev3lang.backend import models
from ev3lang.compile import experiment
from ev3lang.plan.plan import Plan
from ev3lang.runtime import checkpoints, data
from ev3lang.runtime.checkpoints import WeightsError
from ev3lang.source import Source
from tests.fuzz.documents import damaged

SPEC = """\
ev3 1

data iris = sklearn.iris() { batch 16; normalize features }
model net: features -> logits(label) =
  dense(6) | batch_norm | relu | repeat(2, residual(dense(6))) | dense
loss entropy = cross_entropy(net(features), label)
objective accuracy = maximize argmax(net(features)) == label
explore net { descend entropy with adamw(1e-2) for 5 steps }
assess net { rank by accuracy }
adapt net { accept when accuracy improves; stop after 1 iteration }
"""

KINDS = ("ours", "orbax", "flax")

ARRAYS: tuple[Any, ...] = (
    np.zeros(0, np.float32),
    np.zeros((4, 7), np.float32),
    np.zeros((6, 6), np.int32),
    np.full((6, 6), np.nan, np.float32),
    np.zeros((6, 6), np.complex64),
    np.array(["a"]),
    np.array([None], object),
    np.float64(1e300),
    np.zeros((6, 6), "M8[s]"),
    np.zeros(6, [("a", "f4")]),
)
"""What takes the place of an array."""

OTHERS: tuple[Any, ...] = (None, "x", 1, 1.5, True, [], {}, {"": 1}, [[1]], b"x", {"0": {}})
"""What takes the place of an array where a file holds more than arrays."""


@attrs.frozen
class Case:
    """The files of a checkpoint by their path; a single file without a name is the checkpoint."""

    kind: str
    files: Mapping[str, bytes]

    def write(self, folder: Path) -> Path:
        """The checkpoint in a folder, where nothing is left of one before."""
        path = folder / "checkpoint"
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True)
        for name, content in self.files.items():
            file = path / name if name else path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return path


def cases(seed: int, count: int) -> Iterator[Case]:
    """So many damaged checkpoints, the same for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        kind = draw.choice(KINDS)
        yield Case(kind, _damaged(kind, dict(_whole()[kind]), draw))


def attempt(path: Path) -> str:
    """Reads a checkpoint as a run does, and one of ours as Python does: `read`, or the fault.

    Whatever else is raised is a fault of ours.
    """
    (model,) = _plan().models
    said = []
    try:
        checkpoints.read(path, model, None)
    except WeightsError as fault:
        said.append(f"{fault}; {fault.help}")
    if (path / "models.json").exists():
        try:
            ev3lang.load_model(path)(np.zeros((2, 4), np.float32))
        except WeightsError as fault:
            said.append(f"{fault}; {fault.help}")
    return "; ".join(said) or "read"


@functools.cache
def _plan() -> Plan:
    return experiment(analyze(Source("iris.ev3", SPEC))).plan


@functools.cache
def _params() -> Any:
    return jax.device_get(models.init(_plan().models[0], jax.random.key(1)))


@functools.cache
def _whole() -> dict[str, dict[str, bytes]]:
    """A checkpoint of each kind, as its files."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        checkpoints.save(folder / "ours", _plan(), data.read(_plan().data), {"net": _params()})
        with orbax.checkpoint.StandardCheckpointer() as checkpointer:
            checkpointer.save((folder / "orbax").resolve(), _params())
        (folder / "flax").write_bytes(flax.serialization.to_bytes(_params()))
        return {kind: dict(_files(folder / kind)) for kind in KINDS}


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_file():
        yield "", path.read_bytes()
        return
    for each in sorted(path.rglob("*")):
        if each.is_file():
            yield str(each.relative_to(path)), each.read_bytes()


def _damaged(kind: str, files: dict[str, bytes], draw: random.Random) -> dict[str, bytes]:
    name = draw.choice(sorted(files))
    content = files[name]
    way = draw.randrange(6)
    if way == 0 and name:
        del files[name]
    elif way <= 2 and name.endswith("npz"):
        files[name] = _other_arrays(content, draw)
    elif way <= 2 and kind == "flax":
        files[name] = _other_tree(content, draw)
    elif way <= 4 and content.startswith(b"{"):
        files[name] = damaged(json.loads(content), draw)
    else:
        files[name] = _broken(content, draw)
    return files


def _other_arrays(content: bytes, draw: random.Random) -> bytes:
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    name = draw.choice(sorted(arrays))
    way = draw.randrange(3)
    if way == 0:
        del arrays[name]
    elif way == 1:
        arrays[name] = draw.choice(ARRAYS)
    else:
        arrays[draw.choice(("", "x", "net/x", "../x"))] = arrays.pop(name)
    into = io.BytesIO()
    np.savez(into, **arrays)
    return into.getvalue()


def _other_tree(content: bytes, draw: random.Random) -> bytes:
    tree = flax.serialization.msgpack_restore(content)
    inside = tree
    while True:
        name = draw.choice(sorted(inside))
        if not isinstance(inside[name], dict) or draw.random() < 0.3:
            break
        inside = inside[name]
    way = draw.randrange(4)
    if way == 0:
        del inside[name]
    elif way == 1:
        inside[name] = draw.choice(OTHERS)
    elif way == 2:
        inside[name] = draw.choice([each for each in ARRAYS if each.dtype.kind not in "OMV"])
    else:
        code = draw.choice((1, 2, 3, 4, 99))
        inside[name] = msgpack.ExtType(code, msgpack.packb([[2, 2], "float32", b"abc"]))
        return bytes(msgpack.packb(_plain(tree)))
    return flax.serialization.msgpack_serialize(tree)


def _plain(tree: Any) -> Any:
    return {
        name: _plain(each)
        if isinstance(each, dict)
        else each
        if isinstance(each, msgpack.ExtType)
        else None
        for name, each in tree.items()
    }


def _broken(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) + 1)
    way = draw.randrange(6)
    if way == 0:
        return content[:at]
    if way == 1:
        return content[:at] + draw.randbytes(4) + content[at + 4 :]
    if way == 2:
        return content[:at] + draw.randbytes(draw.randrange(1, 40)) + content[at:]
    if way == 3:
        return draw.randbytes(draw.randrange(200))
    if way == 4:
        return b""
    return content[:at] + bytes(16) + content[at + 16 :]
