"""Only regular files are opened: no pipe blocks a command, and no device fills the memory."""

from __future__ import annotations

import io
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

import ev3lang
from ev3lang import cli, regular
from ev3lang.backend import models
from ev3lang.catalog.signature import Type
from ev3lang.plan.plan import Layers, ModelPlan
from ev3lang.runtime import checkpoints, data
from ev3lang.runtime.checkpoints import WeightsError
from tests.runtime.readers.declared import columns, fault, says

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")

SPEC = """\
ev3 1

data digits = sklearn.digits()
model net: image -> logits(label) = mlp(hidden: [4])
loss entropy = cross_entropy(net(image), label)
objective accuracy = maximize argmax(net(image)) == label
explore net { descend entropy with adamw(1e-3) for 10 steps }
assess net { rank by accuracy }
adapt net { accept when accuracy improves; stop after 2 iterations }
"""

MODEL = ModelPlan("net", (2,), Type("logits", (2,)), Layers(()), is_explored=True)


@pytest.fixture(autouse=True)
def _no_test_waits() -> Iterator[None]:
    """A command that blocks on a pipe fails its test instead of all of them."""

    def fail(*_: object) -> None:
        raise TimeoutError("it blocks")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> str:
    os.mkfifo(path)
    return "a pipe"


def endless(path: Path) -> str:
    path.symlink_to("/dev/zero")
    return "a device"


def ear(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path may be 108 characters long
        made.bind(path.name)
        os.chdir(here)
    return "a socket"


ODD = pytest.mark.parametrize("make", [pipe, endless, ear])


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        cli.main([str(each) for each in arguments])
    return int(str(left.value.code)), "".join(capsys.readouterr())


@ODD
@pytest.mark.parametrize("command", ["check", "plan", "explain", "run", "fmt"])
def test_a_spec_that_is_no_file(
    make: Callable[[Path], str],
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kind = make(tmp_path / "x.ev3")
    status, text = run(capsys, command, tmp_path / "x.ev3")
    assert status == cli.FAILURE
    assert kind in text
    assert "x.ev3" in text


@ODD
def test_a_used_file_that_is_none(
    make: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = make(tmp_path / "used.ev3")
    (tmp_path / "x.ev3").write_text(SPEC.replace("ev3 1", 'ev3 1\nuse "used.ev3"'))
    status, text = run(capsys, "check", tmp_path / "x.ev3")
    assert status == cli.FINDINGS
    if make is not endless:
        assert f"it is {kind}, not a file" in text


@ODD
@pytest.mark.parametrize("source", ["npz", "csv", "parquet"])
def test_data_that_are_no_file(make: Callable[[Path], str], source: str, tmp_path: Path) -> None:
    kind = make(tmp_path / "d")
    error = fault(source, tmp_path, columns(x="f32"), path="d")
    says(error, f"d can't be read: it is {kind}, not a file", "regular file")


@ODD
def test_a_file_of_idx_or_cifar_or_a_picture_that_is_none(
    make: Callable[[Path], str], tmp_path: Path
) -> None:
    kind = make(tmp_path / "labels")
    (tmp_path / "images").write_bytes(b"x")
    declared = columns(label="class[2]")
    says(fault("idx", tmp_path, declared, images="images", labels="labels"), f"it is {kind}")
    (tmp_path / "cifar").mkdir()
    make(tmp_path / "cifar" / "test_batch.bin")
    for k in range(5):
        (tmp_path / "cifar" / f"data_batch_{k + 1}.bin").write_bytes(bytes(3073))
    says(fault("cifar", tmp_path, declared, path="cifar"), f"it is {kind}")
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    make(tmp_path / "pictures" / "a" / "x.png")
    says(fault("image_folder", tmp_path, columns(image="u8[2, 2]"), path="pictures"), kind)


@ODD
@pytest.mark.parametrize("source", ["image_folder", "cifar"])
def test_a_folder_of_data_that_is_none(
    make: Callable[[Path], str], source: str, tmp_path: Path
) -> None:
    kind = make(tmp_path / "d")
    says(fault(source, tmp_path, columns(image="u8[2, 2]"), path="d"), f"d is {kind}, not a folder")


def test_a_file_of_the_system_that_says_it_is_empty(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    (tmp_path / "d").symlink_to("/proc/self/status")
    says(fault("csv", tmp_path, columns(x="f32"), path="d"), "d is empty")
    (tmp_path / "train.bin").symlink_to("/proc/self/status")
    (tmp_path / "test.bin").symlink_to("/proc/self/status")
    says(fault("cifar", tmp_path, columns(label="class[100]"), path="."), "train.bin is empty")


@pytest.mark.parametrize("command", ["check", "plan", "run", "fmt", "explain"])
def test_a_link_that_leads_back_to_itself(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "loop.ev3").symlink_to("loop.ev3")
    status, text = run(capsys, command, tmp_path / "loop.ev3")
    assert status in (cli.USAGE, cli.FAILURE), text
    assert "loop.ev3" in text
    (tmp_path / "x.ev3").write_text(SPEC.replace("ev3 1", 'ev3 1\nuse "loop.ev3"'))
    if command != "fmt":
        status, text = run(capsys, command, tmp_path / "x.ev3")
        assert status == cli.FINDINGS, text
        assert "loop.ev3" in text
    error = fault("npz", tmp_path, columns(x="f32"), path="loop.ev3")
    says(error, "loop.ev3 can't be read", "a link leads back to itself")


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    says(fault("csv", tmp_path, columns(x="f32"), path="a\0b"), "no file can have such a name")


@ODD
def test_weights_that_are_no_file(make: Callable[[Path], str], tmp_path: Path) -> None:
    kind = make(tmp_path / "weights")
    with pytest.raises(WeightsError, match=f"weights can't be read: it is {kind}, not a file"):
        checkpoints.read(tmp_path / "weights", MODEL, None)
    folder = tmp_path / "orbax"
    folder.mkdir()
    (folder / "_METADATA").write_text("{}")
    make(folder / "array")
    with pytest.raises(WeightsError, match=f"orbax's: it is {kind}, not a file"):
        checkpoints.read(folder, MODEL, None)
    folder = tmp_path / "accepted"
    folder.mkdir()
    make(folder / "models.json")
    with pytest.raises(WeightsError, match="accepted is a folder without weights"):
        checkpoints.read(folder, MODEL, None)


@ODD
def test_the_arrays_of_a_run_that_are_no_file(make: Callable[[Path], str], tmp_path: Path) -> None:
    (tmp_path / "x.ev3").write_text(SPEC)
    plan = ev3lang.load(tmp_path / "x.ev3").plan
    params = {each.name: models.init(each, jax.random.key(0)) for each in plan.models}
    folder = tmp_path / "accepted"
    checkpoints.save(folder, plan, data.read(plan.data, tmp_path), params)
    checkpoints.read(folder, plan.models[0], None)
    (folder / "weights.npz").unlink()
    kind = make(folder / "weights.npz")
    with pytest.raises(WeightsError, match=f"weights.npz can't be read: it is {kind}"):
        checkpoints.read(folder, plan.models[0], None)
    with pytest.raises(WeightsError, match=f"weights.npz can't be read: it is {kind}"):
        ev3lang.load_model(folder)


@pytest.mark.parametrize("ending", ["csv", "npz", "parquet"])
def test_data_of_a_first_spec_that_are_no_file(
    ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / f"d.{ending}")
    status, text = run(capsys, "new", "--data", tmp_path / f"d.{ending}")
    assert status == cli.FAILURE
    assert "it is a pipe, not a file" in text


def test_a_filter_reads_no_more_than_a_spec_may_have() -> None:
    with pytest.raises(OSError, match="more than 10 bytes"):
        regular.read_stream(io.BytesIO(bytes(11)), "-", 10)
    assert regular.read_stream(io.BytesIO(bytes(10)), "-", 10) == bytes(10)


@ODD
def test_a_report_that_is_no_file(
    make: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "report.json")
    status, text = run(capsys, "report", tmp_path)
    assert status == cli.USAGE
    assert "no report.json" in text


@ODD
def test_an_output_that_is_no_folder(
    make: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.ev3").write_text(SPEC)
    kind = make(tmp_path / "out")
    status, text = run(capsys, "run", tmp_path / "x.ev3", "--out", tmp_path / "out")
    assert status == cli.USAGE
    assert f"out is {kind}, not a folder" in text


def test_a_pipe_that_nothing_reads_is_not_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.ev3").write_text(SPEC)
    os.mkfifo(tmp_path / "out")
    status, text = run(capsys, "check", tmp_path / "x.ev3", "--output-file", tmp_path / "out")
    assert status == cli.FAILURE
    assert "out: " in text


def test_a_pipe_that_is_read_gets_all_of_a_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.ev3").write_text(SPEC)
    os.mkfifo(tmp_path / "out")
    end = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    arguments = ("--output-format", "json", "--output-file", tmp_path / "out")
    status, _ = run(capsys, "check", tmp_path / "x.ev3", *arguments)
    assert status == cli.DONE
    assert os.read(end, 10_000).startswith(b"{")
    os.close(end)


def test_a_regular_file_is_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert regular.read_bytes(tmp_path / "x") == regular.read_bytes(tmp_path / "x", 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        regular.read_bytes(tmp_path / "x", 4)
    assert regular.size_bytes(tmp_path / "x") == 5
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        regular.size_bytes(tmp_path)


@pytest.mark.parametrize("depth", [100, 100_000])
def test_json_that_nests_too_deep(
    depth: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text("[" * depth)
    status, text = run(capsys, "report", tmp_path)
    assert status == cli.FAILURE
    assert "report.json" in text
    (tmp_path / "models.json").write_text("[" * depth)
    with pytest.raises(WeightsError, match="models.json "):
        checkpoints.read(tmp_path, MODEL, None)


def test_what_is_in_the_way_of_reading_is_never_put_on_the_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    block = 'data d = npz("d.npz") { image: f32[64]; label: class[2] }'
    (tmp_path / "x.ev3").write_text(SPEC.replace("data digits = sklearn.digits()", block))
    np.savez(tmp_path / "d", image=np.zeros((40, 64)), label=np.arange(40) % 2)
    whole = (tmp_path / "d.npz").read_bytes()
    for place in (len(whole) - 6, len(whole) - 10, 400):
        damaged = bytearray(whole)
        damaged[place : place + 4] = b"\xff\xff\xff\xff"
        (tmp_path / "d.npz").write_bytes(damaged)
        status, text = run(capsys, "run", tmp_path / "x.ev3", "--out", tmp_path / "out")
        assert status == cli.FAILURE, text
        assert "d.npz" in text
        assert "written" not in text
        assert "--out" not in text
