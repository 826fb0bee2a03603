"""Pictures come as they were drawn, or it is said what of them was not read or is lost."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.runtime.readers.declared import columns, fault, found, read, says

COLOUR = columns(image="u8[4, 6, 3]")
GREY = columns(image="u8[4, 6]")
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)


def png(values: np.ndarray) -> bytes:
    """A PNG file of `[height, width, channels]`, uint8 or uint16, written by its definition."""
    height, width, channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    depth = 8 * values.dtype.itemsize

    def chunk(name: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + crc

    rows = b"".join(b"\0" + row.astype(values.dtype.newbyteorder(">")).tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff16(values: np.ndarray) -> bytes:
    """An uncompressed TIFF file of 16 bits a channel, little end first."""
    height, width, channels = values.shape
    data = values.astype("<u2").tobytes()
    bits_at = 8
    data_at = bits_at + 2 * channels
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, channels, bits_at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, data_at),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
    ]
    ifd = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *each) for each in tags)
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    start = struct.pack("<2sHI", b"II", 42, data_at + len(data))
    return start + bits + data + ifd + struct.pack("<I", 0)


def encoded(pixels: np.ndarray = PIXELS, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def folder_of(tmp_path: Path, **files: bytes) -> None:
    """A folder with one class and these files in it."""
    (tmp_path / "a").mkdir(exist_ok=True)
    for name, data in files.items():
        (tmp_path / "a" / name.replace("_", ".")).write_bytes(data)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_no_png_loses_the_low_byte_of_its_channels(channels: int, tmp_path: Path) -> None:
    deep = (100 * 256 + np.arange(4 * 6 * channels)).reshape(4, 6, channels).astype(np.uint16)
    folder_of(tmp_path, x_png=png(deep))
    for declared in (COLOUR, GREY, columns(image="u8[4, 6, 4]")):
        says(
            fault("image_folder", tmp_path, declared, path="."),
            "x.png has more than 8 bits a channel (",
            "16 bits",
            field="image",
        )
    shallow = deep.astype(np.uint8)
    folder_of(tmp_path, x_png=png(shallow))
    image = read("image_folder", tmp_path, columns(image="u8[4, 6, 4]"), path=".")[None]["image"]
    np.testing.assert_array_equal(image[0, ..., 0], shallow[..., 0])


def test_neither_do_other_formats_and_pictures_in_a_table(tmp_path: Path) -> None:
    deep = np.full((4, 6, 3), 25_700, np.uint16)
    files = {
        "x_tiff": tiff16(deep),
        "x_ppm": b"P6 6 4 65535\n" + deep.astype(">u2").tobytes(),
        "y_ppm": b"P6 6 4 300\n" + (deep // 100).astype(">u2").tobytes(),
    }
    for name, data in files.items():
        folder = tmp_path / name
        folder.mkdir()
        folder_of(folder, **{name: data})
        says(fault("image_folder", folder, COLOUR, path="."), "more than 8 bits a channel")
        pq.write_table(pa.table({"image": [encoded(), data]}), folder / "d")
        says(fault("parquet", folder, COLOUR, path="d"), "row 2 has more than 8 bits a channel")
    (tmp_path / "shallow").mkdir()
    folder_of(tmp_path / "shallow", x_ppm=b"P6 6 4 255\n" + PIXELS.tobytes())
    image = read("image_folder", tmp_path, COLOUR, path="shallow")
    np.testing.assert_array_equal(image[None]["image"][0], PIXELS)


# What a viewer does to the stored pixels for each value of the tag (Exif 2.3, table 6).
UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF"])
def test_a_picture_is_turned_as_its_exif_data_say(
    orientation: int, format: str, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    data = encoded(PIXELS, format, exif=exif, **options)
    expected = UPRIGHT[orientation](PIXELS)
    folder_of(tmp_path, **{f"x_{format.lower()}": data})
    declared = columns(image="u8[h, w, 3]")
    image = read("image_folder", tmp_path, declared, path=".")[None]["image"]
    np.testing.assert_array_equal(image[0], expected)
    pq.write_table(pa.table({"image": [data]}), tmp_path / "d")
    image = read("parquet", tmp_path, declared, path="d")[None]["image"]
    np.testing.assert_array_equal(image[0], expected)


def test_a_jpeg_is_turned_as_its_exif_data_say(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    smooth = np.linspace(0, 250, 72).reshape(4, 6, 3).astype(np.uint8)
    folder_of(tmp_path, x_jpg=encoded(smooth, "JPEG", quality=100, subsampling=0, exif=exif))
    image = read("image_folder", tmp_path, COLOUR, path=".")[None]["image"][0]
    # JPEG loses a little, and turning moves the darkest corner to the opposite one
    assert np.abs(image.astype(int) - smooth[::-1, ::-1]).mean() < 8


def test_every_ending_and_none_is_read_and_what_is_not_is_counted(tmp_path: Path) -> None:
    files = {
        "a_jfif": encoded(format="JPEG"),
        "b_jpe": encoded(format="JPEG"),
        "c_PNG": encoded(),
        "d_apng": encoded(),
        "e": encoded(),
        "f_dat": encoded(format="WEBP", lossless=True),
        "g_txt": b"no picture",
        "README": b"no picture",
        "_hidden_png": encoded(),
        "_DS_Store": b"",
    }
    folder_of(tmp_path, **files)
    (tmp_path / "a" / "more" / "deep").mkdir(parents=True)
    for k in range(3):
        (tmp_path / "a" / "more" / "deep" / f"{k}.png").write_bytes(encoded())
    (tmp_path / "outside.png").write_bytes(encoded())
    got = found("image_folder", tmp_path, COLOUR, path=".")
    assert got.parts[None]["image"].shape == (6, 4, 6, 3)
    a = tmp_path / "a"
    assert list(got.warnings) == [
        f"pictures outside of a class's folder, not read: 1, {tmp_path}/outside.png",
        f"pictures whose names start with a dot, not read: 1, {a}/.hidden.png",
        f"files of no format that is read as a picture, not read: 2, the first one {a}/README",
        f"pictures deeper than a class's folder, not read: 3, the first one {a}/more/deep/0.png",
    ]


def test_frames_and_pages_after_the_first_are_counted(tmp_path: Path) -> None:
    other = Image.fromarray(255 - PIXELS)
    animated = {"save_all": True, "append_images": [other]}
    folder_of(
        tmp_path,
        x_png=encoded(**animated),
        x_gif=encoded(format="GIF", **animated),
        x_webp=encoded(format="WEBP", lossless=True, **animated),
        x_tiff=encoded(format="TIFF", **animated),
        y_png=encoded(),
        y_gif=encoded(format="GIF"),
    )
    got = found("image_folder", tmp_path, COLOUR, path=".")
    (warning,) = got.warnings
    of_frames = "pictures of more than one frame or page, of which the first is read"
    assert warning == f"{of_frames}: 4, the first one {tmp_path}/a/x.gif"
    np.testing.assert_array_equal(got.parts[None]["image"][2], PIXELS)
    pq.write_table(pa.table({"image": [encoded(), encoded(**animated)]}), tmp_path / "d")
    (warning,) = found("parquet", tmp_path, COLOUR, path="d").warnings
    assert warning == f"{of_frames}: 1, {tmp_path}/d, row 2"


def test_transparency_and_colours_that_no_channel_holds_are_counted(tmp_path: Path) -> None:
    alpha = np.full((4, 6, 1), 255, np.uint8)
    opaque = encoded(np.concatenate([PIXELS, alpha], -1))
    alpha[0, 0] = 7
    clear = encoded(np.concatenate([PIXELS, alpha], -1))
    palette = io.BytesIO()
    Image.fromarray(PIXELS).quantize(8).save(palette, "PNG", transparency=0)
    folder_of(tmp_path, a_png=opaque, b_png=clear, c_png=palette.getvalue())
    got = found("image_folder", tmp_path, COLOUR, path=".")
    (warning,) = got.warnings
    assert warning.startswith("pictures with transparent pixels, for which image has no channel: 2")
    np.testing.assert_array_equal(got.parts[None]["image"][0], PIXELS)
    got = found("image_folder", tmp_path, columns(image="u8[4, 6, 4]"), path=".")
    assert got.warnings == ()
    assert got.parts[None]["image"][1, 0, 0, 3] == 7
    assert len(found("image_folder", tmp_path, GREY, path=".").warnings) == 2

    grey = np.repeat(PIXELS[..., :1], 3, -1)
    cmyk = io.BytesIO()
    Image.fromarray(PIXELS).convert("CMYK").save(cmyk, "TIFF")
    for each in (tmp_path / "a").iterdir():
        each.unlink()
    folder_of(tmp_path, a_png=encoded(grey), b_png=encoded(), c_tiff=cmyk.getvalue())
    one, two = found("image_folder", tmp_path, GREY, path=".").warnings
    assert one.startswith("pictures in colour, of which image keeps the brightness: 2")
    assert two.startswith("pictures stored as CMYK, converted without a colour profile: 1")


def test_a_format_that_could_start_a_program_is_no_picture(tmp_path: Path) -> None:
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\nshowpage\n"
    folder_of(tmp_path, x_png=script)
    says(fault("image_folder", tmp_path, COLOUR, path="."), "x.png is no picture")
