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
