"""Layers of models, with the rules that give their output shapes."""

from __future__ import annotations

import math

from ev3lang.catalog.signature import Layer, Option, Shape, ShapeError, Value

ACTIVATIONS = (
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "tanh",
    "sigmoid",
)
"""What `activation:` of a network may name; each is a layer of its own too."""


def words(shape: Shape) -> str:
    """A shape as sentences name it: `8 x 8 x 1`, or `a single number`."""
    return " x ".join(str(size) for size in shape) or "a single number"


def _same(shape: Shape, options: dict[str, Value]) -> Shape:
    del options
    return shape


def _flatten(shape: Shape, options: dict[str, Value]) -> Shape:
    del options
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) < len(shape):
        unknown = next(size for size in shape if isinstance(size, str))
        raise ShapeError(f"{words(shape)} can't be flattened: the size of `{unknown}` is not fixed")
    return (math.prod(sizes),)


def _dense(shape: Shape, options: dict[str, Value]) -> Shape:
    if not shape:
        raise ShapeError("dense takes a vector, and this is a single number: flatten it first")
    _known_features("dense", shape)
    width = options["width"]
    assert isinstance(width, int), "the signature fills a missing width"
    return (*shape[:-1], width)


def _mlp(shape: Shape, options: dict[str, Value]) -> Shape:
    return _dense(_flatten(shape, {}), options)


def _layer_norm(shape: Shape, options: dict[str, Value]) -> Shape:
    del options
    if not shape:
        raise ShapeError("layer_norm takes a vector, and this is a single number")
    _known_features("layer_norm", shape)
    if shape[-1] == 1:
        raise ShapeError(f"layer_norm of one number {IS_BIAS}")
    return shape


IS_BIAS = "is its bias, whatever the number: less its own mean it is 0"


def _residual(shape: Shape, options: dict[str, Value]) -> Shape:
    inner = options["layers"]
    if inner != shape:
        assert isinstance(inner, tuple)
        raise ShapeError(
            f"residual adds what its layers give to what they take, so both need one shape: "
            f"they take {words(shape)} and give {_value_words(inner)}"
        )
    return shape


def _repeat(shape: Shape, options: dict[str, Value]) -> Shape:
    inner = options["layers"]
    if inner != shape:
        assert isinstance(inner, tuple)
        raise ShapeError(
            f"repeat feeds its layers with what they give, so both need one shape: "
            f"they take {words(shape)} and give {_value_words(inner)}"
        )
    return shape


def _known_features(layer: str, shape: Shape) -> None:
    if not isinstance(shape[-1], int):
        raise ShapeError(
            f"{layer} works along the last dimension, and the size of `{shape[-1]}` is not fixed"
        )


def _value_words(shape: tuple[Value, ...]) -> str:
    return words(tuple(size if isinstance(size, int) else str(size) for size in shape))


def _activation(name: str, summary: str, source: str, *options: Option) -> Layer:
    return Layer(name, summary, _same, options=options, source=source)


LAYERS = (
    Layer(
        name="mlp",
        summary="a network of dense layers with an activation after each hidden one; it flattens "
        "its input",
        shape=_mlp,
        options=(
            Option("hidden", "ints", is_required=True, low=1, summary="widths of hidden layers"),
            Option(
                "activation",
                "name",
                default="relu",
                choices=ACTIVATIONS,
                summary="what follows each hidden layer",
            ),
            Option(
                "width",
                "int",
                low=1,
                summary="numbers in the output; without it, what the model's signature says",
            ),
        ),
        width_option="width",
        source="Rumelhart, Hinton and Williams (1986), Nature 323:533-536",
    ),
    Layer(
        name="flatten",
        summary="all numbers of an example as one vector",
        shape=_flatten,
        source="jax.numpy.reshape",
    ),
    Layer(
        name="dense",
        summary="weights and bias along the last dimension: x W + b",
        shape=_dense,
        options=(
            Option(
                "width",
                "int",
                low=1,
                summary="numbers in the output; without it, what the model's signature says",
            ),
        ),
        width_option="width",
        source="Rosenblatt (1958), Psychol. Rev. 65:386-408",
    ),
    Layer(
        name="dropout",
        summary="while training, each number is 0 with this chance and scaled up otherwise",
        shape=_same,
        options=(
            Option("rate", "ratio", is_required=True, low=0.0, high=1.0, summary="chance of 0"),
        ),
        source="Srivastava et al. (2014), J. Mach. Learn. Res. 15:1929-1958",
    ),
    Layer(
        name="layer_norm",
        summary="mean 0 and variance 1 along the last dimension, then a learned scale and bias",
        shape=_layer_norm,
        options=(
            Option(
                "epsilon",
                "real",
                default=1e-6,
                low=0.0,
                is_low_open=True,
                summary="added to the variance before its root is taken",
            ),
        ),
        source="Ba, Kiros and Hinton (2016), arXiv:1607.06450",
    ),
    Layer(
        name="residual",
        summary="the input plus what the layers make of it",
        shape=_residual,
        options=(
            Option("layers", "layers", is_required=True, summary="a pipe that keeps the shape"),
        ),
        inner="layers",
        source="He et al. (2016), arXiv:1512.03385",
    ),
    Layer(
        name="repeat",
        summary="the layers n times one after the other, each time with weights of their own",
        shape=_repeat,
        options=(
            Option("n", "int", is_required=True, low=1, summary="how many times"),
            Option("layers", "layers", is_required=True, summary="a pipe that keeps the shape"),
        ),
        inner="layers",
        source="composition",
    ),
    _activation("relu", "max(x, 0)", "Nair and Hinton (2010), ICML 27:807-814"),
    _activation(
        "leaky_relu",
        "x where it is positive, else x times a small slope",
        "Maas, Hannun and Ng (2013), ICML 30",
        Option("negative_slope", "real", default=0.01, summary="slope where x is negative"),
    ),
    _activation(
        "elu",
        "x where it is positive, else alpha (e^x - 1)",
        "Clevert, Unterthiner and Hochreiter (2016), arXiv:1511.07289",
        Option("alpha", "real", default=1.0, summary="minus the limit for very negative x"),
    ),
    _activation(
        "selu",
        "elu scaled so that mean 0 and variance 1 stay from layer to layer",
        "Klambauer et al. (2017), arXiv:1706.02515",
    ),
    _activation(
        "gelu",
        "x times the chance that a standard normal draw is below x",
        "Hendrycks and Gimpel (2016), arXiv:1606.08415",
        Option(
            "approximate",
            "bool",
            default=True,
            summary="the tanh formula of the paper rather than the error function",
        ),
    ),
    _activation("silu", "x times sigmoid(x)", "Elfwing, Uchibe and Doya (2018), arXiv:1702.03118"),
    _activation("softplus", "log(1 + e^x)", "Dugas et al. (2001), NIPS 13:472-478"),
    _activation("tanh", "hyperbolic tangent", "LeCun et al. (1998), Efficient BackProp"),
    _activation("sigmoid", "1 / (1 + e^-x)", "Verhulst (1845), Nouv. Mém. Acad. R. 18:1-41"),
)
