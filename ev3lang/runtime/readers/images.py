"""Pictures in PNG, JPEG and like formats as arrays."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ev3lang.runtime.faults import DataError
from ev3lang.runtime.readers.table import Column, shape_of

ENDINGS = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name for the pixels of so many channels."""

# More than 8 bits a channel: Pillow would cut them off without a word.
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


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


def decoded(file: object, column: Column, picture: Path | bytes) -> np.ndarray:
    """The pixels of a picture, uint8 `[height, width, channels]` as the column declares them.

    Grey and coloured pictures are turned into each other, and what is transparent loses that.
    Raises DataError for what is no picture, is damaged, has another size, is deeper than 8 bits
    or unpacks to more pixels than Pillow deems safe (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    dimensions = shape_of(column.type)
    channels = int(dimensions[2]) if len(dimensions) == 3 else 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(
                io.BytesIO(picture) if isinstance(picture, bytes) else picture
            ) as image:
                _check(file, column, image)
                pixels = np.asarray(image.convert(MODES[channels]))
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
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        # A damaged PNG is a SyntaxError to Pillow.
        raise DataError(
            f"{file} is damaged: {error}", "leave it out, or write it again", field=column.name
        ) from error
    return pixels if len(dimensions) == 2 else pixels.reshape(*pixels.shape[:2], channels)


def _check(file: object, column: Column, image: Image.Image) -> None:
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
    if image.mode in _DEEP:
        raise DataError(
            f"{file} has more than 8 bits a channel ({image.mode})",
            "store it with 8 bits, or all of them as numbers in an npz file",
            field=column.name,
        )
