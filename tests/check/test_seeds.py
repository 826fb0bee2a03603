"""What a seed is, from a spec, from the command line and from Python."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from click.testing import CliRunner

import ev3lang
from ev3lang.analysis import analyze
from ev3lang.catalog.signature import LARGEST_SEED
from ev3lang.check import seeds
from ev3lang.cli import commands
from ev3lang.source import Source

SPEC = """\
ev3 1
experiment moons {{ seed {seed} }}
data moons = two_moons(n: 400) {{
  split explore 60%, assess 15%, adapt 15%, report 10% seed {split}
}}
model net: point -> logits(label) = mlp(hidden: [4])
loss entropy = cross_entropy(net(point), label)
objective accuracy = maximize argmax(net(point)) == label
explore net {{ descend entropy with {optimizer} for 5 steps }}
assess net {{ rank by accuracy }}
adapt net {{ accept when accuracy improves; stop after 2 iterations }}
{sweep}
"""


def found(
    seed: str = "0", split: str = "0", optimizer: str = "adam(1e-2)", sweep: str = ""
) -> list[str]:
    text = SPEC.format(seed=seed, split=split, optimizer=optimizer, sweep=sweep)
    return [each.message for each in analyze(Source("moons.ev3", text)).refusals]


NONE = ("4294967296", "9223372036854775808", "1.5", '"x"', "50%", "-1")


@pytest.mark.parametrize("seed", NONE)
def test_what_is_no_seed_is_refused_wherever_one_stands(seed: str) -> None:
    bound = f"a seed has to be a whole number from 0 to {LARGEST_SEED}, and this is {seed}"
    assert found(seed) == [bound]
    assert found(sweep=f"sweep {{ seed in [0, {seed}] }}") == [bound]
    if seed not in ('"x"', "-1"):  # these are no number in the grammar
        assert found(split=seed) == [bound]
    assert found(split=seed)


def test_the_ends_of_what_a_seed_can_be_are_seeds() -> None:
    assert found("0", "4294967295") == found("4294967295", "0") == []
    assert found(sweep="sweep { seed in 4294967294 to 4294967295 }") == []
    assert found(sweep="sweep { seed in 4294967295 to 4294967296 }")


def test_a_key_of_noise_is_a_seed_too() -> None:
    noise = "add_noise(eta: 0.01, gamma: 0.55, key: {}) | sgd(0.1)"
    assert found(optimizer=noise.format(4294967295)) == []
    (message,) = found(optimizer=noise.format(4294967296))
    assert "4.29497e+09" in message or "4294967295" in message


def test_every_seed_is_a_key_of_its_own() -> None:
    """JAX takes the seed modulo 2^32, so that these are all that there are."""
    ends = [0, 1, 2**31 - 1, 2**31, LARGEST_SEED]
    keys = {tuple(np.asarray(jax.random.key_data(jax.random.key(seed)))) for seed in ends}
    assert len(keys) == len(ends)


@pytest.mark.parametrize("seed", [2**32, 2**63, -1])
def test_python_callers_get_a_value_error(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "moons.ev3"
    path.write_text(SPEC.format(seed=0, split=0, optimizer="adam(1e-2)", sweep=""))
    with pytest.raises(ValueError, match="a seed lies in 0 to 4294967295"):
        ev3lang.load(path, seed=seed)
    with pytest.raises(ValueError, match="a seed lies in"):
        ev3lang.load(path).compile(seed=seed)


@pytest.mark.parametrize("seed", [1.5, "3", True, None, b"3"])
def test_python_callers_get_a_type_error(seed: object) -> None:
    with pytest.raises(TypeError, match="a seed is a whole number"):
        seeds.valid(seed)  # type: ignore[arg-type]


def test_whole_numbers_of_numpy_are_seeds() -> None:
    assert seeds.valid(np.int64(7)) == 7
    assert seeds.valid(np.uint32(LARGEST_SEED)) == LARGEST_SEED


@pytest.mark.parametrize("seed", ["4294967296", "-1", "1.5", "x"])
def test_the_command_line_refuses_what_is_no_seed(tmp_path: Path, seed: str) -> None:
    path = tmp_path / "moons.ev3"
    path.write_text(SPEC.format(seed=0, split=0, optimizer="adam(1e-2)", sweep=""))
    result = CliRunner().invoke(commands, ["run", str(path), "--seed", seed])
    assert result.exit_code == 2
    assert "--seed" in result.output
