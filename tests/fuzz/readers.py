"""Damaged files of data: each is read as declared, or refused with one message of our own.

`cases(format, seed, count)` makes small valid files and damages them: in their bytes, and below
check sums and packing, where only a reader's own care is left. `attempt(path)` reads one as a run
would. A file whose name has no known ending is of no format.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import struct
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers import READERS
from ev3lang.runtime.readers.table import Column
from ev3lang.runtime.readers.wanted import Wanted
from tests.runtime.readers.declared import columns

ROWS = 12
LONGEST_S = 20.0
MOST_BYTES = 2**30
"""An attempt that takes longer, or by which memory grows more, is a fault: the files are small."""

Damage: TypeAlias = "Callable[[bytes, random.Random], bytes]"


def attempt(path: Path) -> str | None:
    """None where a file is read or refused as it should be, else what is wrong, in words.

    Wrong is every exception but DataError, a message of several lines or without help, and a read
    that takes long. The file may be changed by nobody meanwhile.
    """
    format = next((each for each in FORMATS.values() if path.name.endswith(each.ending)), None)
    assert format is not None, f"{path.name} has the ending of no format"
    with tempfile.TemporaryDirectory() as folder:
        options = format.lay_out(path, Path(folder))
        for fields in format.declared:
            for wanted in (Wanted(is_pooled=True), Wanted(("train",)), Wanted(rows={None: ROWS})):
                fault = _attempt(format.source, options, fields, Path(folder), wanted)
                if fault is not None:
                    return f"{fault}\n({format.source} read as {_said(fields)}, {wanted})"
    return None


def cases(format: str, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Names and contents of so many damaged files of a format, the first as it was before."""
    made = FORMATS[format]
    for number in range(count):
        draw = random.Random(f"{format} {seed} {number}")
        data, ending = made.make(draw) if number else made.make(random.Random(seed))
        if number:
            inner = made.inner if made.inner is not None and draw.random() < 0.6 else damaged
            data = inner(data, draw)
        yield f"{format}-{seed}-{number}{ending}", data


def _attempt(
    source: str,
    options: Mapping[str, str],
    fields: tuple[Column, ...],
    folder: Path,
    wanted: Wanted,
) -> str | None:
    begin, before = time.perf_counter(), _most_bytes()
    try:
        READERS[source](options, fields, folder, wanted)
    except DataError as error:
        if "\n" in str(error) or not str(error) or not error.help or "\n" in error.help:
            return f"no message of one line and help of one line: {error!s}\n{error.help}"
    except BaseException:
        return traceback.format_exc()
    wall_s = time.perf_counter() - begin
    if wall_s > LONGEST_S:
        return f"it took {wall_s:.0f} s"
    grown_bytes = _most_bytes() - before
    return f"memory grew by {grown_bytes:,} bytes" if grown_bytes > MOST_BYTES else None


def _most_bytes() -> int:
    """The most memory that this process had so far; 0 where the system doesn't say."""
    if sys.platform == "win32":
        return 0
    import resource

    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else 1024 * found


def _said(fields: tuple[Column, ...]) -> str:
    return ", ".join(f"{each.name}: {each.type}" for each in fields)


# ---------------------------------------------------------------- damage

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)
NUMBERS = (0, 1, -1, 2**7, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1)


def damaged(data: bytes, draw: random.Random) -> bytes:
    """The bytes with one to four faults: flipped, overwritten, cut out, doubled, cut off."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        data = draw.choice(_DAMAGES)(data, draw)
    return data


def _flip(data: bytes, draw: random.Random) -> bytes:
    if not data:
        return data
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :]


def _overwrite(data: bytes, draw: random.Random) -> bytes:
    place, count = draw.randrange(len(data) + 1), draw.choice((1, 2, 4, 8, 64))
    value = bytes(draw.choice(EXTREMES) for _ in range(count))
    return data[:place] + value + data[place + count :]


def _number(data: bytes, draw: random.Random) -> bytes:
    size = draw.choice((2, 4, 8))
    place = draw.randrange(len(data) + 1)
    number = draw.choice(NUMBERS) % 256**size
    value = number.to_bytes(size, draw.choice(("big", "little")))
    return data[:place] + value + data[place + size :]


def _cut_out(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    return data[:place] + data[place + draw.choice((1, 2, 3, 16, 200)) :]


def _double(data: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(data) + 1)
    end = place + draw.choice((1, 4, 16, 200))
    return data[:end] + data[place:end] * draw.choice((1, 2, 20)) + data[end:]


def _cut_off(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


_DAMAGES: tuple[Damage, ...] = (
    *(_flip, _flip, _overwrite, _number, _number),
    *(_cut_out, _double, _cut_off),
)


def in_members(data: bytes, draw: random.Random) -> bytes:
    """A zip archive with damage inside of a member, and check sums that fit it."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(made, "w") as after:
        names = before.namelist()
        chosen = draw.choice(names)
        for name in names:
            inside = before.read(name)
            if name == chosen:
                inside = draw.choice((damaged, _in_header, _in_header))(inside, draw)
            kind = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            after.writestr(name, inside, kind)
    return made.getvalue()


SHAPES = (
    *("()", "(0,)", "(-1,)", "(12,)", "(12, 3)", "(3, 12)", "(12, 0)", "(2**70,)", "12", "[12]"),
    *("(4294967296, 4294967296)", "(1152921504606846976,)", "(12, 3, 1)", "(True, 3)", "(1.5,)"),
    *("(" + "1, " * 70 + ")", "(0, 4294967296)", "(12, 'a')", "None", "(12,) * 9", "{}", "(" * 50),
)
TYPES = (
    *("'<f4'", "'>f8'", "'<i8'", "'|u1'", "'|b1'", "'|O'", "'<U0'", "'|S0'", "'|V0'", "'<U3'"),
    *("'<M8[s]'", "'<m8'", "'<c16'", "'<f2'", "'<f16'", "''", "None", "[('a', '<f4')]", "'x' * 9"),
    *("('<f4', (2, 2))", "'<V4294967296'", "b'<f4'", "'<U1073741823'", "[('a', '<f4', (9999,))]"),
)
HEADERS = ("-" * 9000, "[" * 9000, "(" * 190, "{" * 90, "", "\0", "lambda: 0", "{'descr': 1}", "1L")


def _in_header(data: bytes, draw: random.Random) -> bytes:
    """An npy file whose header says something odd, of a length that fits."""
    if draw.random() < 0.25:
        header = draw.choice(HEADERS)
    else:
        order = draw.choice(("True", "False", "False", "1"))
        header = (
            f"{{'descr': {draw.choice(TYPES)}, 'fortran_order': {order}, "
            f"'shape': {draw.choice(SHAPES)}, }}"
        )
    version = draw.choice((1, 1, 1, 2, 3, 9))
    length = struct.pack("<H" if version == 1 else "<I", len(header) + 1)
    body = data[struct.unpack("<H", data[8:10])[0] + 10 :]
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + b"\n" + body


def in_packed(data: bytes, draw: random.Random) -> bytes:
    """A file of gzip's with damage inside, and a check sum that fits it."""
    if not data.startswith(b"\x1f\x8b"):
        return _in_sizes(data, draw)
    return gzip.compress(_in_sizes(gzip.decompress(data), draw), 1)


def _in_sizes(data: bytes, draw: random.Random) -> bytes:
    """An idx file with another type, number of dimensions or sizes."""
    sizes = [draw.choice((0, 1, 2, ROWS, 2**31, 2**32 - 1)) for _ in range(draw.choice((1, 3, 70)))]
    kind = draw.choice((8, 9, 11, 12, 13, 14, 0, 255))
    header = struct.pack(f">HBB{len(sizes)}I", 0, kind, len(sizes) % 256, *sizes)
    return header + data[draw.choice((0, 4, 16)) :]


def in_chunks(data: bytes, draw: random.Random) -> bytes:
    """A picture with damage; of a PNG inside of a chunk, with a check sum that fits it."""
    if not data.startswith(b"\x89PNG"):
        return damaged(data, draw)
    parts, place = [data[:8]], 8
    chunks = []
    while place + 8 <= len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    chosen = draw.randrange(len(chunks))
    for k, (name, inside) in enumerate(chunks):
        if k == chosen:
            inside = damaged(inside, draw)
        crc = struct.pack(">I", zlib.crc32(name + inside))
        parts.append(struct.pack(">I", len(inside)) + name + inside + crc)
    return b"".join(parts)


CELLS = (
    *("", "NA", "nan", "inf", "-inf", "1e999", "x", '"', "'", "\0", "007", "é", "=1+1"),
    *("9" * 400, "true", "1_000", "0x10", " 1 ", "\u2028", "\x1b[31m"),
)


def in_cells(data: bytes, draw: random.Random) -> bytes:
    """A csv file with other cells, rows of other lengths, other separators and ends of lines."""
    lines = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(draw.choice((1, 2, 5))):
        line = draw.choice(lines)
        what = draw.randrange(6)
        if what < 3 and line:
            line[draw.randrange(len(line))] = draw.choice(CELLS)
        elif what == 3:
            line.append(draw.choice(CELLS))
        elif what == 4 and line:
            line.pop()
        else:
            lines.insert(draw.randrange(len(lines) + 1), list(draw.choice(lines)))
    separator = draw.choice((",", ",", ",", ";", "\t", "|"))
    text = draw.choice(("\n", "\n", "\r\n", "\r")).join(separator.join(line) for line in lines)
    return text.encode(draw.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")), "replace")


# ---------------------------------------------------------------- valid files


def _numbers(draw: random.Random) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(draw.randrange(2**31))
    return {
        "x": generator.normal(size=(ROWS, 3)).astype(draw.choice(("f4", "f8", "f2", ">f4"))),
        "y": np.arange(ROWS).astype(draw.choice(("i8", "u1", "i4", ">i2"))) % 2,
        "word": np.array([f"w{k % 4}" for k in range(ROWS)]),
        "image": generator.integers(0, 256, (ROWS, 2, 2), np.uint8),
    }


def _npz(draw: random.Random) -> tuple[bytes, str]:
    file = io.BytesIO()
    arrays = _numbers(draw)
    if draw.random() < 0.3:
        parts = {"train": slice(0, 8), "test": slice(8, ROWS)}
        arrays = {f"{part}/{k}": v[rows] for part, rows in parts.items() for k, v in arrays.items()}
    (np.savez if draw.random() < 0.5 else np.savez_compressed)(file, **arrays)
    return file.getvalue(), ".npz"


def _csv(draw: random.Random) -> tuple[bytes, str]:
    arrays = _numbers(draw)
    lines = ["a,b,c,y,word,split"] + [
        f"{a},{b},{c},{y},{word},{'train' if k < 8 else 'test'}"
        for k, ((a, b, c), y, word) in enumerate(
            zip(arrays["x"].tolist(), arrays["y"], arrays["word"], strict=True)
        )
    ]
    if draw.random() < 0.5:
        lines = [line.rpartition(",")[0] for line in lines]
    return "\n".join(lines).encode() + b"\n", ".csv"


def _parquet(draw: random.Random) -> tuple[bytes, str]:
    arrays = _numbers(draw)
    table: dict[str, object] = {
        "x": list(arrays["x"].astype("f4")),
        "y": arrays["y"].astype("i8"),
        "word": arrays["word"].tolist(),
        "tokens": [list(range(k % 4)) for k in range(ROWS)],
        "image": [_png(draw)[0]] * ROWS,
    }
    if draw.random() < 0.5:
        table["split"] = ["train"] * 8 + ["test"] * (ROWS - 8)
    file = io.BytesIO()
    pq.write_table(
        pa.table(table),
        file,
        compression=draw.choice(("none", "snappy", "zstd", "gzip")),
        use_dictionary=draw.random() < 0.5,
        data_page_version=draw.choice(("1.0", "2.0")),
        row_group_size=draw.choice((5, 100)),
    )
    return file.getvalue(), ".parquet"


def _idx(draw: random.Random) -> tuple[bytes, str]:
    data = struct.pack(">HBBIII", 0, 8, 3, ROWS, 2, 2) + _numbers(draw)["image"].tobytes()
    return gzip.compress(data) if draw.random() < 0.5 else data, ".idx"


def _cifar(draw: random.Random) -> tuple[bytes, str]:
    generator = np.random.default_rng(draw.randrange(2**31))
    return generator.integers(0, 10, 3073 * 2, np.uint8).tobytes(), ".bin"


def _png(draw: random.Random) -> tuple[bytes, str]:
    return _picture(draw, "PNG")


def _picture(draw: random.Random, format: str) -> tuple[bytes, str]:
    pixels = np.random.default_rng(draw.randrange(2**31)).integers(0, 256, (2, 2, 3), np.uint8)
    image = Image.fromarray(pixels)
    options: dict[str, object] = {}
    if format in ("PNG", "TIFF", "JPEG", "WEBP") and draw.random() < 0.5:
        exif = Image.Exif()
        exif[0x0112] = draw.randrange(1, 9)
        options["exif"] = exif
    if format in ("GIF", "PNG", "WEBP", "TIFF") and draw.random() < 0.5:
        options |= {"save_all": True, "append_images": [image.copy()]}
    if format == "TIFF":
        options["compression"] = draw.choice((None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg"))
    if format in ("PNG", "GIF") and draw.random() < 0.3:
        image = image.convert("P")
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue(), f".{format.lower()}"


def _any_picture(draw: random.Random) -> tuple[bytes, str]:
    formats = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM")
    data, _ = _picture(draw, draw.choice(formats))
    return data, ".image"


def _arrow(draw: random.Random) -> tuple[bytes, str]:
    """The file that the datasets library maps into memory: a stream of record batches."""
    arrays = _numbers(draw)
    table = pa.table(
        {
            "x": list(arrays["x"].astype("f4")),
            "y": arrays["y"].astype("i8"),
            "word": arrays["word"].tolist(),
        }
    )
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue(), ".arrow"


# ---------------------------------------------------------------- where they lie


def _alone(path: Path, folder: Path) -> dict[str, str]:
    shutil.copy(path, folder / "d")
    return {"path": "d"}


def _both_of_idx(path: Path, folder: Path) -> dict[str, str]:
    shutil.copy(path, folder / "images")
    (folder / "labels").write_bytes(struct.pack(">HBBI", 0, 8, 1, ROWS) + bytes(ROWS))
    return {"images": "images", "labels": "labels"}


def _all_of_cifar(path: Path, folder: Path) -> dict[str, str]:
    for name in (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"):
        (folder / f"{name}.bin").write_bytes(bytes(3073))
    shutil.copy(path, folder / "data_batch_3.bin")
    return {"path": "."}


def _one_of_a_class(path: Path, folder: Path) -> dict[str, str]:
    for name in ("a", "b"):
        (folder / name).mkdir()
        Image.new("RGB", (2, 2)).save(folder / name / "x.png")
    shutil.copy(path, folder / "a" / "y.png")
    return {"path": "."}


def _saved(path: Path, folder: Path) -> dict[str, str]:
    state = {"_data_files": [{"filename": "d.arrow"}], "_fingerprint": "0", "_split": None}
    keys = ("_format_columns", "_format_kwargs", "_format_type", "_output_all_columns")
    (folder / "state.json").write_text(json.dumps(state | dict.fromkeys(keys) | {keys[1]: {}}))
    (folder / "dataset_info.json").write_text("{}")
    shutil.copy(path, folder / "d.arrow")
    return {"name": "."}


@attrs.frozen
class Format:
    """A format of data, the specs that declare it, and how its files are made and damaged.

    ending    of the files' names
    make      a small valid file and its ending
    inner     damage that check sums and packing don't show
    lay_out   puts the file where a spec's folder has it, and gives the source's options
    """

    source: str
    ending: str
    make: Callable[[random.Random], tuple[bytes, str]]
    declared: tuple[tuple[Column, ...], ...]
    lay_out: Callable[[Path, Path], dict[str, str]] = _alone
    inner: Damage | None = None


_TABLE = (
    columns(x="f32[3]", y="class[2]"),
    columns(y="bool", word="text[4]"),
    columns(word="id", x="f32[wide]"),
)
_PICTURES = (
    columns(image="u8[2, 2, 3]", label="class[2]"),
    columns(image="u8[h, w]"),
    columns(image="u8[h, w, 4]"),
)
FORMATS: Mapping[str, Format] = {
    "npz": Format(
        "npz",
        ".npz",
        _npz,
        (*_TABLE, columns(image="u8[2, 2]", y="i32")),
        _alone,
        in_members,
    ),
    "csv": Format(
        "csv",
        ".csv",
        _csv,
        (columns(a="f32", y="class[2]"), columns(x=("f32[3]", (1, 3)), y="u8", word="id")),
        _alone,
        in_cells,
    ),
    "parquet": Format(
        "parquet",
        ".parquet",
        _parquet,
        (*_TABLE, columns(tokens="tokens[9, 3]"), columns(image="u8[2, 2, 3]")),
    ),
    "idx": Format(
        "idx",
        ".idx",
        _idx,
        (columns(image="u8[2, 2]", label="class[2]"), columns(image="f32[h, w, 1]")),
        _both_of_idx,
        in_packed,
    ),
    "cifar": Format(
        "cifar",
        ".bin",
        _cifar,
        (columns(image="u8[32, 32, 3]", label="class[10]"),),
        _all_of_cifar,
    ),
    "image_folder": Format(
        "image_folder", ".image", _any_picture, _PICTURES, _one_of_a_class, in_chunks
    ),
    "huggingface": Format("huggingface", ".arrow", _arrow, _TABLE, _saved),
}


def main(arguments: list[str]) -> int:
    """Attempts `COUNT` cases of each format from a seed on, prints the faults, and counts them."""
    count, seed, *formats = arguments or ["1000", "0"]
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        for format in formats or FORMATS:
            for name, data in cases(format, int(seed), int(count)):
                path = Path(folder) / name
                path.write_bytes(data)
                # written first: a reader that takes the process down leaves the file
                fault = attempt(path)
                if fault is not None:
                    faults += 1
                    print(f"{name}: {fault}")
                path.unlink()
    print(f"{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
