"""Shape rules of layers: what comes out, and one plain sentence where nothing can."""

from __future__ import annotations

import pytest

from ev3lang.backend import models
from ev3lang.catalog.index import LAYERS
from ev3lang.catalog.layers import ACTIVATIONS
from ev3lang.catalog.signature import ShapeError


@pytest.mark.parametrize(
    ("layer", "options", "taken", "given"),
    [
        ("mlp", {"hidden": (8,), "activation": "relu", "width": 10}, (8, 8, 1), (10,)),
        ("mlp", {"hidden": (), "activation": "relu", "width": 1}, (), (1,)),
        ("flatten", {}, (8, 8, 1), (64,)),
        ("flatten", {}, (), (1,)),
        ("dense", {"width": 5}, (3,), (5,)),
        ("dense", {"width": 5}, ("time", 3), ("time", 5)),
        ("relu", {}, ("time", 3), ("time", 3)),
        ("dropout", {"rate": 0.1}, (4, 4), (4, 4)),
        ("layer_norm", {"epsilon": 1e-6}, (4, 4), (4, 4)),
        ("residual", {"layers": (7,)}, (7,), (7,)),
        ("repeat", {"n": 3, "layers": (7,)}, (7,), (7,)),
        ("conv", {"width": 5, "kernel": 3, "stride": 2, "padding": "same"}, (9, 8, 3), (5, 4, 5)),
        ("conv", {"width": 5, "kernel": 3, "stride": 2, "padding": "valid"}, (9, 8, 3), (4, 3, 5)),
        ("batch_norm", {"momentum": 0.9}, (8, 8, 3), (8, 8, 3)),
        ("group_norm", {"groups": 4}, (8, 8, 12), (8, 8, 12)),
        ("max_pool", {"size": 2, "stride": None}, (9, 8, 3), (4, 4, 3)),
        ("avg_pool", {"size": 3, "stride": 1}, (9, 8, 3), (7, 6, 3)),
        ("mean_pool", {}, ("time", 16), (16,)),
        ("embed", {"width": 16}, ("time",), ("time", 16)),
        ("attention", {"heads": 4, "causal": False}, ("time", 16), ("time", 16)),
        ("transformer", {"heads": 4, "width": 16, "layers": 2}, (12, 16), (12, 16)),
        (
            "resnet",
            {
                "stages": (1, 1),
                "width": 16,
                "block": "basic",
                "stem": "cifar",
                "shortcut": "projection",
                "norm": "group",
                "groups": 8,
                "outputs": 10,
            },
            (32, 32, 3),
            (10,),
        ),
    ],
)
def test_a_layer_gives_its_shape(layer: str, options: dict, taken: tuple, given: tuple) -> None:
    assert LAYERS[layer].shape(taken, options) == given


@pytest.mark.parametrize(
    ("layer", "options", "taken", "sentence"),
    [
        ("dense", {"width": 5}, (), "this is a single number: flatten it first"),
        ("dense", {"width": 5}, (3, "time"), "the size of `time` is not fixed"),
        ("flatten", {}, ("time", 64), "time x 64 can't be flattened: the size of `time`"),
        ("mlp", {"hidden": (8,), "width": 2}, ("time", 64), "the size of `time` is not fixed"),
        ("layer_norm", {"epsilon": 1e-6}, (), "this is a single number"),
        ("residual", {"layers": (5,)}, (7,), "they take 7 and give 5"),
        ("repeat", {"n": 2, "layers": (8, 2)}, (8, 1), "they take 8 x 1 and give 8 x 2"),
        ("conv", {"width": 5, "kernel": 3, "stride": 1}, (64,), "takes an image of height x"),
        (
            "conv",
            {"width": 5, "kernel": 9, "stride": 1, "padding": "valid"},
            (8, 8, 1),
            "a kernel of 9 doesn't fit into 8 x 8 x 1",
        ),
        ("group_norm", {"groups": 8}, (8, 8, 12), "12 channels can't be cut into 8 groups"),
        ("max_pool", {"size": 9, "stride": None}, (8, 8, 1), "a window of 9 doesn't fit"),
        ("mean_pool", {}, (8,), "averages all dimensions but the last"),
        ("attention", {"heads": 3}, (12, 16), "a width of 16 can't be cut into 3 heads"),
        ("transformer", {"heads": 4, "width": 32}, (12, 16), "takes vectors of 32 numbers"),
        ("resnet", {"norm": "batch"}, (64,), "takes an image"),
    ],
)
def test_a_layer_says_why_it_cannot_take_a_shape(
    layer: str, options: dict, taken: tuple, sentence: str
) -> None:
    with pytest.raises(ShapeError, match=sentence):
        LAYERS[layer].shape(taken, options)


def test_every_layer_and_activation_has_its_twin() -> None:
    assert LAYERS.keys() == models.LAYERS.keys()
    assert set(ACTIVATIONS) == models.ACTIVATIONS.keys()
