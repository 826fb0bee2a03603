"""Pictures in PNG, JPEG and like formats as arrays."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ev3lang.runtime.faults import DataError
from ev3lang.runtime.foreign import FOREIGN, cause
from ev3lang.runtime.readers.table import Column, Notes, shape_of

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for: its other formats include some that start programs."""

ENDINGS = frozenset(
    (
        *(".apng", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm"),
        *(".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    )
)
STARTS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
)
"""The first bytes of the formats that a file without a known ending is recognised by."""

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name for the pixels of so many channels."""

# More than 8 bits a channel: Pillow would cut them off without a word.
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")

# Neither grey, nor red, green and blue, with or without a palette or transparency.
_GREY = ("1", "L", "LA", "La")
_RGB = ("P", "PA", "RGB", "RGBA", "RGBa", "RGBX")

_BITS_PER_SAMPLE = 258
_ORIENTATION = 0x0112


def check_column(file: object, column: Column) -> None:
    """Raises DataError for a declaration that no picture fits."""
    shape = shape_of(column.type)
    if (
        not column.type.is_tensor
        or len(shape) not in (2, 3)
        or (len(shape) == 3 and shape[2] not in MODES)
    ):
        raise DataError(
            f"{file}: {column.name} is {column.type}, and pictures have height, width and 1, 3 or "
            "4 channels",
            f"declare it so: `{column.name}: u8[32, 32, 3]`",
            field=column.name,
        )


def is_picture(path: Path) -> bool:
    """Whether a regular file is one by its ending or, without a known one, by its first bytes.

    Raises OSError where it can't be read.
    """
    if path.suffix.lower() in ENDINGS:
        return True
    with path.open("rb") as opened:
        start = opened.read(12)
    is_webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    return is_webp or start.startswith(STARTS)


def decoded(file: object, column: Column, picture: Path | bytes, notes: Notes) -> np.ndarray:
    """The pixels of a picture, uint8 `[height, width, channels]` as the column declares them.

    Turned and mirrored as its EXIF data say. Grey and coloured pictures are turned into each
    other. `notes` counts pictures that lose something: colours, transparency, frames after the
    first.
    Raises DataError for what is no picture, is damaged, has another size, is deeper than 8 bits
    or unpacks to more pixels than Pillow deems safe (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    dimensions = shape_of(column.type)
    channels = int(dimensions[2]) if len(dimensions) == 3 else 1
    try:
        with warnings.catch_warnings():
            # What Pillow merely warns of, damaged EXIF data for one, doesn't concern the pixels.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(
                io.BytesIO(picture) if isinstance(picture, bytes) else picture, formats=FORMATS
            ) as opened:
                _check_depth(file, column, opened)
                if getattr(opened, "is_animated", False):
                    notes.add(
                        "pictures of more than one frame or page, of which the first is read", file
                    )
                image = _upright(opened)
                _check_size(file, column, image)
                pixels = _pixels(file, column, image, channels, notes)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(
            f"{file} unpacks to more pixels than are safe to decode: {error}",
            "leave it out, or store it smaller",
            field=column.name,
        ) from error
    except UnidentifiedImageError as error:
        raise DataError(
            f"{file} is no picture, or is damaged", "leave it out", field=column.name
        ) from error
    except FOREIGN as error:
        raise DataError(
            f"{file} is damaged: {cause(error)}",
            "leave it out, or write it again",
            field=column.name,
        ) from error
    return pixels if len(dimensions) == 2 else pixels.reshape(*pixels.shape[:2], channels)


def other_size(
    file: object, column: Column, found: tuple[int, ...], first: object, first_size: tuple[int, ...]
) -> DataError:
    """The error for a picture of another size than the first one of its field."""
    return DataError(
        f"{file} is {found[0]} x {found[1]} pixels, and {first} is "
        f"{first_size[0]} x {first_size[1]}",
        "bring all pictures to one size",
        field=column.name,
    )


def _check_depth(file: object, column: Column, image: ImageFile.ImageFile) -> None:
    """Raises DataError for more than 8 bits a channel, of which only the high ones would be left.

    Pillow tells so by the mode of grey pictures alone; coloured ones say it in their headers.
    """
    bits = 16 if image.mode in _DEEP else _bits(image)
    if bits > 8:
        raise DataError(
            f"{file} has more than 8 bits a channel ({image.mode}, {bits} bits)",
            "store it with 8 bits, or all of them as numbers in an npz file",
            field=column.name,
        )


def _bits(image: ImageFile.ImageFile) -> int:
    """How many bits a channel takes in the file; 8 where its format has no other."""
    if image.format == "PNG" and image.fp is not None:
        # The header is the first chunk: signature, length, name, width, height, depth.
        place = image.fp.tell()
        image.fp.seek(24)
        bits = image.fp.read(1)
        image.fp.seek(place)
        return bits[0] if bits else 8
    if image.format == "TIFF":
        found = image.tag_v2.get(_BITS_PER_SAMPLE, 8)  # type: ignore[attr-defined]
        return int(max(found)) if isinstance(found, tuple) else int(found)
    if image.format == "PPM" and image.tile:
        arguments = image.tile[0][3]
        values = arguments if isinstance(arguments, tuple) else (arguments,)
        return max(8, *(each.bit_length() for each in values if isinstance(each, int)), 0)
    return 8


def _upright(image: Image.Image) -> Image.Image:
    """The picture as its EXIF data say that it is to be looked at."""
    if image.getexif().get(_ORIENTATION, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _pixels(
    file: object, column: Column, image: Image.Image, channels: int, notes: Notes
) -> np.ndarray:
    """uint8 `[height, width]` or `[height, width, channels]`."""
    if image.mode not in (*_GREY, *_RGB):
        notes.add(f"pictures stored as {image.mode}, converted without a colour profile", file)
    if channels < 4 and image.has_transparency_data:
        low, _ = image.convert("RGBA").getchannel("A").getextrema()
        if low != 255:
            notes.add(
                f"pictures with transparent pixels, for which {column.name} has no channel", file
            )
    if channels == 1 and image.mode not in _GREY:
        colours = np.asarray(image.convert("RGB"))
        if (colours != colours[..., :1]).any():
            notes.add(f"pictures in colour, of which {column.name} keeps the brightness", file)
    return np.asarray(image.convert(MODES[channels]))


def _check_size(file: object, column: Column, image: Image.Image) -> None:
    shape = shape_of(column.type)
    found = (image.height, image.width)
    declared = shape[:2]
    if any(isinstance(a, int) and a != b for a, b in zip(declared, found, strict=True)):
        fitting = ", ".join(map(str, (*found, *shape[2:])))
        raise DataError(
            f"{file} is {found[0]} x {found[1]} pixels, and the spec declares {column.name}: "
            f"{column.type}",
            f"bring all pictures to one size; for this one, declare "
            f"`{column.name}: {column.type.kind}[{fitting}]`",
            field=column.name,
        )
