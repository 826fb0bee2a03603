"""Settings of a spec from Python: numbers as they are, and what no spec has is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ev3lang

SPEC = """\
ev3 1
param width: int = 4
param rate: real = 0.1
param share: ratio = 10%
data iris = sklearn.iris() { batch 16 }
model net: features -> logits(label) = mlp(hidden: [width])
loss e = cross_entropy(net(features), label, label_smoothing: share)
objective accuracy = maximize argmax(net(features)) == label
explore net { descend e with sgd(rate) for 5 steps }
assess net { rank by accuracy }
adapt net { accept when accuracy improves; stop after 1 iteration }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a.ev3").write_text(SPEC)
    return tmp_path / "a.ev3"


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ({"width": 32}, {"width": "32"}),
        ({"width": np.int64(32)}, {"width": "32"}),
        ({"rate": 1e-05}, {"rate": "0.00001"}),
        ({"rate": 2}, {"rate": "2"}),
        ({"rate": np.float32(0.5)}, {"rate": "0.5"}),
        ({"share": 0.25}, {"share": "25%"}),
        ({"width": 7, "rate": 1e-20}, {"width": "7", "rate": "1e-20"}),
    ],
)
def test_a_number_is_as_if_it_were_written(
    path: Path, given: dict[str, Any], written: dict[str, str]
) -> None:
    assert ev3lang.load(path, given).plan == ev3lang.load(path, written).plan


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"width": None}, TypeError, "width is set to NoneType None"),
        ({"width": [4]}, TypeError, "width is set to list"),
        ({"width": 1j}, TypeError, "width is set to complex"),
        ({"rate": float("nan")}, ValueError, "rate is set to nan: give a finite number"),
        ({3: 4}, TypeError, "a param is set by its name, not by int 3"),
        ({"width": 1.5}, ev3lang.SpecError, "width"),
        ({"width": True}, ev3lang.SpecError, "width"),
        ({"wide": 4}, ev3lang.SpecError, "wide"),
    ],
)
def test_what_no_spec_has_is_refused(
    path: Path, given: dict[Any, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        ev3lang.load(path, given)
