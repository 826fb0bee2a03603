"""Headers that lie, by every number and text in them: refused before anything is allocated."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.readers.declared import columns, fault, says

NUMBERS = columns(x="f32", y="class[2]")
IMAGES = columns(image="u8[h, w]")


def npy(header: str, body: bytes = b"") -> bytes:
    data = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(data)) + data + body


def archive(folder: Path, **members: bytes) -> None:
    with zipfile.ZipFile(folder / "d.npz", "w") as made:
        for name, data in members.items():
            made.writestr(f"{name}.npy", data)


def plain(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


Y = plain(np.zeros(4, np.int64))


@pytest.mark.parametrize(
    "header",
    [
        "-" * 9000,
        "(" * 9000,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'descr': " + "-" * 5000 + "1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 0)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (1152921504606846976,)}",
        "",
    ],
    ids=["minus", "brackets", "twice", "rows", "nothing", "below", "void", "empty"],
)
def test_a_header_of_npy_that_lies(header: str, tmp_path: Path) -> None:
    archive(tmp_path, x=npy(header, bytes(16)), y=Y)
    says(fault("npz", tmp_path, NUMBERS, path="d.npz"), "d.npz: x ")


def test_texts_without_a_character_take_no_memory_for_their_number(tmp_path: Path) -> None:
    header = "{'descr': '<U0', 'fortran_order': False, 'shape': (1152921504606846976,)}"
    archive(tmp_path, x=npy(header), y=Y)
    tracemalloc.start()
    try:
        says(fault("npz", tmp_path, columns(x="id"), path="d.npz"), "x would unpack from")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800])
@pytest.mark.parametrize("order", "<>")
def test_numbers_that_are_no_characters(code: int, order: str, tmp_path: Path) -> None:
    words = np.array(["ab", "cd", "ef"]).astype(f"{order}U2")
    words.view(f"{order}u4")[3] = code
    archive(tmp_path, x=plain(words))
    says(
        fault("npz", tmp_path, columns(x="id"), path="d.npz"),
        "x holds characters in row 2 that Unicode doesn't have",
        field="x",
        row=2,
    )


def test_an_archive_of_a_later_version_or_that_is_encrypted(tmp_path: Path) -> None:
    archive(tmp_path, x=plain(np.zeros(4, np.float32)), y=Y)
    whole = (tmp_path / "d.npz").read_bytes()
    directory = whole.index(b"PK\x01\x02")
    for place, value in ((6, b"\xff"), (8, b"\x01"), (10, b"\x63")):
        at = directory + place
        (tmp_path / "d.npz").write_bytes(whole[:at] + value + whole[at + 1 :])
        says(fault("npz", tmp_path, NUMBERS, path="d.npz"), "d.npz", "numpy.savez")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_archive_that_is_packed_as_numpy_never_does(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w", method) as made:
        made.writestr("x.npy", plain(np.zeros(4, np.float32)))
        made.writestr("y.npy", Y)
    says(fault("npz", tmp_path, NUMBERS, path="d.npz"), "x is damaged: it is packed by another")


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize(
    ("sizes", "body"),
    [
        ([1] * 70, b"\1"),
        ([2**32 - 1, 2**32 - 1, 2**32 - 1], b"\1"),
        ([4, 2**32 - 1, 0], b""),
        ([0, 2**32 - 1, 2**32 - 1], b""),
        ([2**32 - 1], bytes(100)),
    ],
)
def test_sizes_of_idx_that_lie(
    sizes: list[int], body: bytes, is_packed: bool, tmp_path: Path
) -> None:
    data = struct.pack(f">HBB{len(sizes)}I", 0, 8, len(sizes), *sizes) + body
    (tmp_path / "images").write_bytes(gzip.compress(data) if is_packed else data)
    (tmp_path / "labels").write_bytes(struct.pack(">HBBI", 0, 8, 1, 4) + bytes(4))
    error = fault("idx", tmp_path, IMAGES, images="images", labels="labels")
    says(error, "images")


def test_a_tiff_whose_tags_have_odd_types(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for kind in range(20):
        for count in (0, 1, 2**31):
            tags = [(256, kind, count, 2), (257, 3, 1, 2), (258, kind, count, 8), (259, 3, 1, 1)]
            tags += [(262, 3, 1, 1), (273, kind, count, 8), (277, 3, 1, 1), (279, 4, 1, 4)]
            ifd = struct.pack("<H", len(tags))
            ifd += b"".join(struct.pack("<HHII", *each) for each in tags)
            data = struct.pack("<2sHI", b"II", 42, 12) + bytes(4) + ifd + bytes(4)
            (tmp_path / "a" / "x.tif").write_bytes(data)
            try:
                says(fault("image_folder", tmp_path, columns(image="u8[3, 3]"), path="."), "x.tif")
            except OverflowError as error:
                raise AssertionError(f"type {kind}, count {count}") from error


def test_a_message_is_one_line_whatever_the_file_says(tmp_path: Path) -> None:
    (tmp_path / "d").write_text('x,y\n"1\n\x1b[31m' + "2" * 500 + '",0\n')
    error = fault("csv", tmp_path, NUMBERS, path="d")
    assert "\n" not in str(error)
    assert "\x1b" not in str(error)
    assert len(str(error)) < 300
