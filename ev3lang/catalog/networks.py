"""Convolutions, pooling, attention and the networks made of them: shapes, known before they run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import attrs

from ev3lang.catalog.layers import IS_BIAS, words
from ev3lang.catalog.signature import Dimension, Layer, Option, Shape, ShapeError, Value


def _image(layer: str, shape: Shape) -> tuple[int, int, int]:
    """Height, width and channels of an image; raises ShapeError for anything else."""
    sizes = [size for size in shape if isinstance(size, int)]
    if len(shape) != 3 or len(sizes) != 3:
        raise ShapeError(
            f"{layer} takes an image of height x width x channels, and this is {words(shape)}"
        )
    return sizes[0], sizes[1], sizes[2]


def _sequence(layer: str, shape: Shape) -> tuple[Dimension, int]:
    """Length and width of a sequence of vectors; raises ShapeError for anything else."""
    if len(shape) != 2 or not isinstance(shape[1], int):
        raise ShapeError(
            f"{layer} takes a sequence of vectors, length x width, and this is {words(shape)}"
        )
    return shape[0], shape[1]


def _number(options: dict[str, Value], name: str) -> int:
    value = options[name]
    assert isinstance(value, int), f"{name} is checked to be whole"
    return value


def _conv(shape: Shape, options: dict[str, Value]) -> Shape:
    height, width, _ = _image("conv", shape)
    kernel, stride = _number(options, "kernel"), _number(options, "stride")
    if options["padding"] == "same":
        return (
            math.ceil(height / stride),
            math.ceil(width / stride),
            _number(options, "width"),
        )
    if kernel > min(height, width):
        raise ShapeError(f"a kernel of {kernel} doesn't fit into {words(shape)} without padding")
    return (
        (height - kernel) // stride + 1,
        (width - kernel) // stride + 1,
        _number(options, "width"),
    )


def _batch_norm(shape: Shape, options: dict[str, Value]) -> Shape:
    del options
    if not shape or not isinstance(shape[-1], int):
        raise ShapeError(f"batch_norm works along the last dimension, and this is {words(shape)}")
    return shape


def _group_norm(shape: Shape, options: dict[str, Value]) -> Shape:
    if not shape or not isinstance(shape[-1], int):
        raise ShapeError(f"group_norm works along the last dimension, and this is {words(shape)}")
    groups = _number(options, "groups")
    if shape[-1] % groups:
        raise ShapeError(f"group_norm: {shape[-1]} channels can't be cut into {groups} groups")
    if all(size == 1 for size in (*shape[:-1], shape[-1] // groups)):
        raise ShapeError(f"group_norm of groups of one number {IS_BIAS}")
    return shape


def _pool(layer: str) -> Callable[[Shape, dict[str, Value]], Shape]:
    def shape_of(shape: Shape, options: dict[str, Value]) -> Shape:
        height, width, channels = _image(layer, shape)
        size = _number(options, "size")
        stride = _number(options, "stride") if options.get("stride") is not None else size
        if size > min(height, width):
            raise ShapeError(f"{layer}: a window of {size} doesn't fit into {words(shape)}")
        return ((height - size) // stride + 1, (width - size) // stride + 1, channels)

    return shape_of


def _mean_pool(shape: Shape, options: dict[str, Value]) -> Shape:
    del options
    if len(shape) < 2 or not isinstance(shape[-1], int):
        raise ShapeError(
            f"mean_pool averages all dimensions but the last, and this is {words(shape)}"
        )
    return (shape[-1],)


def _embed(shape: Shape, options: dict[str, Value]) -> Shape:
    return (*shape, _number(options, "width"))


def _heads(layer: str, width: int, heads: int) -> None:
    if width % heads:
        raise ShapeError(f"{layer}: a width of {width} can't be cut into {heads} heads")


def _attention(shape: Shape, options: dict[str, Value]) -> Shape:
    length, width = _sequence("attention", shape)
    _heads("attention", width, _number(options, "heads"))
    return (length, width)


def _transformer(shape: Shape, options: dict[str, Value]) -> Shape:
    length, width = _sequence("transformer", shape)
    inside = _number(options, "width")
    _heads("transformer", inside, _number(options, "heads"))
    if inside == 1:
        raise ShapeError(f"transformer of width 1 normalises one number, which {IS_BIAS}")
    if options.get("positions") == "learned" and not isinstance(length, int):
        raise ShapeError(
            f"transformer learns a vector for each place, and the number of places, `{length}`, "
            "isn't known: take `positions: rotary`"
        )
    if width != inside:
        raise ShapeError(
            f"transformer of width {inside} takes vectors of {inside} numbers, and these have "
            f"{width}"
        )
    return (length, inside)


def _resnet(shape: Shape, options: dict[str, Value]) -> Shape:
    _image("resnet", shape)
    stages = options["stages"]
    widths = resnet_widths(options)
    assert isinstance(stages, tuple)
    if len(widths) != len(stages):
        raise ShapeError(
            f"resnet: {len(stages)} stages need as many widths, and these are {len(widths)}"
        )
    for width in (_number(options, "width"), *widths):
        if options["norm"] == "group" and width % _number(options, "groups"):
            raise ShapeError(
                f"resnet: {width} channels can't be cut into {options['groups']} groups"
            )
    if options.get("shortcut") == "identity":
        outside = [width * EXPANSION[str(options["block"])] for width in widths]
        if any(a > b for a, b in pairwise((_number(options, "width"), *outside))):
            raise ShapeError("resnet: `shortcut: identity` adds channels and can't take any away")
    if options["norm"] == "group" and any(
        each.places == 1 and each.after == _number(options, "groups")
        for each in resnet_convolutions(_image("resnet", shape), options)
    ):
        raise ShapeError(f"resnet: group norm of groups of one number {IS_BIAS}")
    return (_number(options, "outputs"),)


def resnet_widths(options: Mapping[str, Any]) -> tuple[int, ...]:
    """Channels inside the blocks of each stage of a resnet."""
    widths: tuple[int, ...] | None = options.get("widths")
    if widths is not None:
        return widths
    return tuple(options["width"] * 2**stage for stage in range(len(options["stages"])))


EXPANSION = {"basic": 1, "bottleneck": 4}
"""Channels that a block of a resnet gives for each channel inside it."""


@attrs.frozen
class Convolution:
    """One of a resnet: places of its output, pixels along its side, channels in and out."""

    places: int
    kernel: int
    before: int
    after: int


def resnet_convolutions(
    shape: tuple[int, ...], options: Mapping[str, Any]
) -> Iterator[Convolution]:
    """Every convolution of a resnet on images of a shape; a norm goes with each."""
    height, sideways, channels = shape
    width, block, is_large = options["width"], options["block"], options["stem"] == "imagenet"
    kernel, stride = (7, 2) if is_large else (3, 1)
    height, sideways = math.ceil(height / stride), math.ceil(sideways / stride)
    yield Convolution(height * sideways, kernel, channels, width)
    if is_large:
        height, sideways = math.ceil(height / 2), math.ceil(sideways / 2)
    channels = width
    for stage, (count, inside) in enumerate(
        zip(options["stages"], resnet_widths(options), strict=True)
    ):
        outside = inside * EXPANSION[block]
        for place in range(count):
            stride = 2 if stage and not place else 1
            before = height * sideways
            height, sideways = math.ceil(height / stride), math.ceil(sideways / stride)
            places = height * sideways
            if block == "bottleneck":
                yield Convolution(before, 1, channels, inside)
                yield Convolution(places, 3, inside, inside)
                yield Convolution(places, 1, inside, outside)
            else:
                yield Convolution(places, 3, channels, inside)
                yield Convolution(places, 3, inside, outside)
            changes = stride > 1 or channels != outside
            if changes and options["shortcut"] == "projection":
                yield Convolution(places, 1, channels, outside)
            channels = outside


def resnet_channels(options: Mapping[str, Any]) -> int:
    """Channels that come out of a resnet's last stage."""
    return resnet_widths(options)[-1] * EXPANSION[options["block"]]


_WIDTH = Option("width", "int", is_required=True, low=1, summary="channels in the output")
_SIZE = Option("size", "int", default=2, low=1, summary="pixels along each side of the window")
_STRIDE = Option(
    "stride", "int", low=1, summary="pixels from window to window; without it, the window's size"
)
_HEADS = Option("heads", "int", is_required=True, low=1, summary="parts that attend on their own")

NETWORKS = (
    Layer(
        name="conv",
        summary="a convolution over height and width",
        shape=_conv,
        options=(
            _WIDTH,
            Option("kernel", "int", default=3, low=1, summary="pixels along each of its sides"),
            Option("stride", "int", default=1, low=1, summary="pixels from place to place"),
            Option(
                "padding",
                "name",
                default="same",
                choices=("same", "valid"),
                summary="`same` keeps the size at stride 1, `valid` adds nothing around",
            ),
        ),
        source="LeCun et al. (1989), Neural Comput. 1:541-551",
    ),
    Layer(
        name="batch_norm",
        summary="mean 0 and variance 1 of each channel over the batch, then scale and bias",
        shape=_batch_norm,
        options=(
            Option(
                "momentum",
                "real",
                default=0.9,
                low=0.0,
                high=1.0,
                summary="share of the running statistics that is kept each step",
            ),
        ),
        source="Ioffe and Szegedy (2015), arXiv:1502.03167",
    ),
    Layer(
        name="group_norm",
        summary="mean 0 and variance 1 of each group of channels, then scale and bias",
        shape=_group_norm,
        options=(Option("groups", "int", default=8, low=1, summary="how many groups"),),
        source="Wu and He (2018), arXiv:1803.08494",
    ),
    Layer(
        name="max_pool",
        summary="the greatest value in each window",
        shape=_pool("max_pool"),
        options=(_SIZE, _STRIDE),
        source="Yamaguchi et al. (1990), ICSLP",
    ),
    Layer(
        name="avg_pool",
        summary="the mean of each window",
        shape=_pool("avg_pool"),
        options=(_SIZE, _STRIDE),
        source="LeCun et al. (1989), Neural Comput. 1:541-551",
    ),
    Layer(
        name="mean_pool",
        summary="the mean over all dimensions but the last, without what is padding",
        shape=_mean_pool,
        source="Lin, Chen and Yan (2014), arXiv:1312.4400",
    ),
    Layer(
        name="embed",
        summary="a learned vector for each token",
        shape=_embed,
        options=(Option("width", "int", is_required=True, low=1, summary="numbers in a vector"),),
        takes="tokens",
        source="Bengio et al. (2003), J. Mach. Learn. Res. 3:1137-1155",
    ),
    Layer(
        name="attention",
        summary="self-attention with several heads",
        shape=_attention,
        options=(
            _HEADS,
            Option("causal", "bool", default=False, summary="whether it looks back only"),
        ),
        source="Vaswani et al. (2017), arXiv:1706.03762",
    ),
    Layer(
        name="transformer",
        summary="blocks of attention and feed-forward layers, normalised before each",
        shape=_transformer,
        options=(
            Option("layers", "int", is_required=True, low=1, summary="how many blocks"),
            _HEADS,
            Option("width", "int", is_required=True, low=1, summary="numbers in a vector"),
            Option("feed_forward", "int", low=1, summary="width between; 4 x width without it"),
            Option("causal", "bool", default=False, summary="a decoder: it looks back only"),
            Option(
                "positions",
                "name",
                default="learned",
                choices=("learned", "rotary"),
                summary="how a place in the sequence is told",
            ),
            Option("dropout", "ratio", default=0.0, low=0.0, high=1.0, summary="inside each block"),
        ),
        source="Vaswani et al. (2017), arXiv:1706.03762; Xiong et al. (2020), arXiv:2002.04745",
    ),
    Layer(
        name="resnet",
        summary="a residual network of convolutions, pooled and ended with a dense layer",
        shape=_resnet,
        options=(
            Option("stages", "ints", is_required=True, low=1, summary="blocks in each stage"),
            Option("width", "int", default=16, low=1, summary="channels of the first stage"),
            Option(
                "widths",
                "ints",
                low=1,
                summary="channels of each stage; without them they double from stage to stage",
            ),
            Option(
                "block", "name", default="basic", choices=("basic", "bottleneck"), summary="block"
            ),
            Option(
                "stem",
                "name",
                default="cifar",
                choices=("cifar", "imagenet"),
                summary="3 x 3 at stride 1, or 7 x 7 at stride 2 and pooling",
            ),
            Option("norm", "name", default="batch", choices=("batch", "group"), summary="norm"),
            Option("groups", "int", default=8, low=1, summary="groups of `norm: group`"),
            Option(
                "shortcut",
                "name",
                default="projection",
                choices=("projection", "identity"),
                summary="what goes past a block that changes the shape: a 1 x 1 convolution, or "
                "fewer places and channels of zeros",
            ),
            Option(
                "outputs", "int", low=1, summary="numbers in the output; the signature says them"
            ),
        ),
        width_option="outputs",
        source="He et al. (2016), arXiv:1512.03385",
    ),
)
