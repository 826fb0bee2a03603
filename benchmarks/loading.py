"""`python -m benchmarks.loading`: files read to memory beside a plain read by their library."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ev3lang.catalog.signature import parse_type
from ev3lang.runtime.readers import READERS
from ev3lang.runtime.readers.table import Column
from ev3lang.runtime.readers.wanted import Wanted

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"

IMAGES, PIXELS = 60_000, 3 * 32 * 32
ROWS, FEATURES = 1_600_000, 30
TARGETS = {"times faster than plain": 0.5, "memory in times the data": 1.3}


@attrs.frozen(eq=False)
class File:
    """A file that is read in two ways.

    write   writes it to a path
    plain   gives its arrays as its library does, with nothing checked
    """

    about: str
    source: str
    write: Callable[[Path], None]
    plain: Callable[[Path], list[np.ndarray]]
    columns: tuple[Column, ...]


def images() -> tuple[np.ndarray, np.ndarray]:
    """Pixels [IMAGES, 32, 32, 3] uint8 that pack as pictures do, and labels."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 64, (IMAGES, 32, 32, 3), np.uint8)
    return pixels, draw.integers(0, 10, IMAGES)


def write_npz(path: Path) -> None:
    pixels, labels = images()
    np.savez(path, image=pixels, label=labels)


def write_packed_npz(path: Path) -> None:
    pixels, labels = images()
    np.savez_compressed(path, image=pixels, label=labels)


def plain_npz(path: Path) -> list[np.ndarray]:
    with np.load(path) as opened:
        return [opened[name] for name in opened.files]


def write_image_parquet(path: Path) -> None:
    pixels, labels = images()
    lists = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), PIXELS)
    pq.write_table(pa.table({"image": lists, "label": labels}), path, row_group_size=10_000)


def plain_image_parquet(path: Path) -> list[np.ndarray]:
    table = pq.read_table(path)
    pixels = table["image"].combine_chunks().flatten().to_numpy()
    return [pixels.reshape(-1, 32, 32, 3), table["label"].to_numpy()]


def write_table_parquet(path: Path) -> None:
    draw = np.random.default_rng(0)
    names = [f"feature {number}" for number in range(FEATURES)]
    features = {name: draw.normal(size=ROWS).astype(np.float32) for name in names}
    table = pa.table({**features, "label": draw.integers(0, 10, ROWS)})
    pq.write_table(table, path, row_group_size=200_000)


def plain_table_parquet(path: Path) -> list[np.ndarray]:
    table = pq.read_table(path)
    return [table[name].to_numpy() for name in table.column_names]


PICTURES = (Column("image", parse_type("u8[32, 32, 3]")), Column("label", parse_type("class[10]")))
FILES = {
    "npz": File("60,000 images", "npz", write_npz, plain_npz, PICTURES),
    "npz, compressed": File("60,000 images", "npz", write_packed_npz, plain_npz, PICTURES),
    "parquet, lists": File(
        "60,000 images in lists of 3072",
        "parquet",
        write_image_parquet,
        plain_image_parquet,
        PICTURES,
    ),
    "parquet, columns": File(
        "1,600,000 rows of 30 columns, joined to one field",
        "parquet",
        write_table_parquet,
        plain_table_parquet,
        (
            Column("features", parse_type("f32[30]"), (1, FEATURES)),
            Column("label", parse_type("class[10]")),
        ),
    ),
}


def read(file: File, path: Path, way: str) -> dict[str, float]:
    """Reads once, in this process: seconds, bytes of the arrays, bytes that memory grew at most."""
    _load(file)
    before = _memory_bytes("VmRSS")
    begin = time.perf_counter()
    if way == "plain":
        arrays = file.plain(path)
    else:
        found = READERS[file.source]({"path": path.name}, file.columns, path.parent, Wanted())
        arrays = [values for fields in found.parts.values() for values in fields.values()]
    wall_s = time.perf_counter() - begin
    data_bytes = sum(values.nbytes for values in arrays)
    grown_bytes = _memory_bytes("VmHWM") - before
    return {"wall_s": wall_s, "data_bytes": data_bytes, "grown_bytes": grown_bytes}


def _load(file: File) -> None:
    """Reads one number in the format, so that its library's code is in memory before."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{file.source}"
        if file.source == "npz":
            np.savez(path, x=np.zeros(1))
        else:
            pq.write_table(pa.table({"x": [0.0]}), path)
        READERS[file.source](
            {"path": path.name}, (Column("x", parse_type("f32")),), path.parent, Wanted()
        )


def _memory_bytes(what: str) -> int:
    """What Linux says of this process: `VmRSS` now, `VmHWM` at most since it started."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def in_fresh_process(name: str, path: Path, way: str) -> dict[str, float]:
    """A read in a process of its own, whose peak of memory is that of the read."""
    command = (sys.executable, "-m", "benchmarks.loading", "--read", name, str(path), way)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, float] = json.loads(done.stdout)
    return result


def measure(name: str, folder: Path, rounds: int) -> dict[str, Any]:
    """A file read in both ways in turn, so that a busy machine is busy for both."""
    file = FILES[name]
    path = folder / f"x.{file.source}"
    file.write(path)
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    memory: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(rounds + 1):
        for way in times:
            result = in_fresh_process(name, path, way)
            if turn:  # the first turn fills the cache of files
                times[way].append(result["wall_s"])
                memory[way].append(result["grown_bytes"] / result["data_bytes"])
    size = path.stat().st_size
    path.unlink()
    median = {way: statistics.median(each) for way, each in times.items()}
    return {
        "about": file.about,
        "file_bytes": size,
        "data_bytes": result["data_bytes"],
        "median_ms": {way: each * 1e3 for way, each in median.items()},
        "times faster than plain": median["plain"] / median["ours"],
        "memory in times the data": max(memory["ours"]),
        "memory of plain": max(memory["plain"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each read (default 7)")
    parser.add_argument("--keep", action="store_true", help="write results/loading.json")
    parser.add_argument("--read", nargs=3, metavar=("FILE", "PATH", "WAY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        name, path, way = arguments.read
        print(json.dumps(read(FILES[name], Path(path), way)))
        return
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in FILES:
            results[name] = measure(name, Path(folder), arguments.rounds)
            show(name, results[name])
    if arguments.keep:
        keep(arguments.rounds, results)


def keep(rounds: int, results: dict[str, Any]) -> None:
    """Writes the results with what they were taken on and how to take them again."""
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "pyarrow": pa.__version__,
        "load": os.getloadavg(),
    }
    repeat = f"python -m benchmarks.loading --rounds {rounds} --keep"
    kept = {
        "repeat": repeat,
        "machine": machine,
        "rounds": rounds,
        "files": results,
        "targets": TARGETS,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "loading.json").write_text(json.dumps(kept, indent=2) + "\n", "utf-8")


def show(name: str, result: dict[str, Any]) -> None:
    median = result["median_ms"]
    print(
        f"{name:<17} {median['ours']:6.0f} ms, plain {median['plain']:6.0f} ms: "
        f"{result['times faster than plain']:.2f} times faster (to reach: 0.5); memory "
        f"{result['memory in times the data']:.2f} times the data (at most 1.3; plain: "
        f"{result['memory of plain']:.2f})"
    )


if __name__ == "__main__":
    main()
