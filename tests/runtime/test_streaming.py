"""Streamed sets: what a run writes is the same, bit for bit, as with all on the device."""

from __future__ import annotations

from pathlib import Path

import attrs
import jax
import numpy as np
import pytest

from ev3lang.analysis import analyze
from ev3lang.backend import streams
from ev3lang.backend.emit import emit
from ev3lang.backend.feeding import HostStream
from ev3lang.compile import experiment
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Plan
from ev3lang.runtime import data, device, streaming
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.run import run
from ev3lang.source import Source

pytestmark = pytest.mark.exact

IMAGES = """\
ev3 1

data images = npz("images.npz") {
  image: u8[8, 8, 1]
  label: class[10]
  rows 1797
  split explore 60%, assess 15%, adapt 15%, report 10% stratified by label
  normalize image
  augment image with shift(1 px), mixup(0.2)
  batch 32
}
model net: image -> logits(label) = mlp(hidden: [8])
loss entropy = cross_entropy(net(image), label)
objective accuracy = maximize argmax(net(image)) == label

explore net { descend entropy with adamw(1e-2), sgd(0.1) for 7 steps }
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  stop after 20 iterations
}
"""

FEW_LABELS = """\
ev3 1

data digits = sklearn.digits() {
  derive shown = label
  shown known for 100 examples
  batch 48
}
model random: image -> logits(label) = mlp(hidden: [4])
model net: image -> logits(label) = mlp(hidden: [8])
loss few = cross_entropy(net(image), shown)
loss mixed = few + 0.5 * cross_entropy(net(image), label)
loss near = kl_divergence(softmax(random(image)), softmax(net(image)))
objective accuracy = maximize argmax(net(image)) == label

explore net {
  descend few, mixed, near with adamw(1e-2) for 9 steps
  batches fresh
}
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves
  stop after 12 iterations
}
"""

BASELINE = FEW_LABELS + "report { baseline plain = descend few with sgd(0.1) }\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.datasets import load_digits

    where = tmp_path_factory.mktemp("data")
    images, labels = load_digits(return_X_y=True)
    pixels = (images * 15).astype(np.uint8).reshape(-1, 8, 8, 1)
    np.savez(where / "images.npz", image=pixels, label=labels)
    return where


def source(text: str, folder: Path) -> Source:
    return Source(str(folder / "spec.ev3"), text)


def plan_of(text: str) -> Plan:
    return experiment(analyze(Source("spec.ev3", text))).plan


@pytest.mark.parametrize("text", [IMAGES, FEW_LABELS], ids=["augmented u8", "few labels"])
def test_a_streamed_run_writes_what_a_resident_one_does(
    text: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "BLOCK_BYTES", 500_000)  # a few iterations a block
    plan = plan_of(text)
    for name, limit in (("resident", None), ("streamed", 0)):
        run(plan, source(text, folder), out=tmp_path / name, stream_above_bytes=limit)
    for name in ("events.jsonl", "accepted/weights.npz"):
        both = [(tmp_path / way / name).read_bytes() for way in ("resident", "streamed")]
        assert both[0] == both[1], name


def test_every_iteration_ends_in_the_same_state(folder: Path) -> None:
    plan = plan_of(IMAGES)
    dataset = data.read(plan.data, folder)
    fused, feed = fuse(plan, "cpu"), streaming.Feed()
    resident = emit(fused, dataset.tables, dataset.statistics)
    streamed = emit(fused, dataset.tables, dataset.statistics, feeder=feed.begin)
    states = [each.init(jax.random.key(plan.seed)) for each in (resident, streamed)]
    for _ in range(3):
        states = [
            each.segment(state, 2, False)[0]
            for each, state in zip((resident, streamed), states, strict=True)
        ]
        states = [
            each.step(state)[0] for each, state in zip((resident, streamed), states, strict=True)
        ]
        same, other = (jax.tree.leaves(attrs.evolve(each, key=None)) for each in states)
        for one, another in zip(same, other, strict=True):
            np.testing.assert_array_equal(one, another)
    feed.close()
    assert streamed.traces.count("segment") == 1


def test_iterations_can_be_fed_in_any_order(folder: Path) -> None:
    plan = plan_of(FEW_LABELS)
    feed = streaming.Feed()
    taken: list[dict[str, HostStream]] = []

    def feeder(found: dict[str, HostStream]) -> streaming.Feed:
        taken.append(found)
        return feed.begin(found)

    emit(fuse(plan, "cpu"), data.read(plan.data, folder).tables, feeder=feeder)
    for iteration in (0, 1, 700, 2, 1000):
        block = feed(iteration)
        for name, stream in taken[0].items():
            found = block.at(np.int32(iteration), name)
            wanted = {field: each[0] for field, each in stream.batches(iteration, 1).items()}
            jax.tree.map(np.testing.assert_array_equal, found, wanted)
    feed.close()


@pytest.mark.parametrize(
    ("count", "batch", "steps"), [(12, 4, 3), (13, 4, 5), (5, 5, 2), (50, 8, 20), (7, 1, 1)]
)
def test_the_host_takes_the_rows_that_the_program_draws(count: int, batch: int, steps: int) -> None:
    key = jax.random.key(3)
    pool = np.random.default_rng(0).permutation(2 * count)[:count].astype(np.int32)
    values = np.arange(2 * count, dtype=np.float32) ** 2
    on_host = HostStream(
        {"value": values},
        pool,
        lambda epoch: np.asarray(streams.order(key, np.int32(epoch), count)),
        batch,
        steps,
    )
    stream = streams.start(key, count)
    for iteration in range(6):
        stream, rows = streams.draw(stream, key, batch=batch, steps=steps)
        found = on_host.rows(iteration, 1)
        np.testing.assert_array_equal(found[0], pool[rows])
        np.testing.assert_array_equal(on_host.batches(iteration, 1)["value"], values[found])
    np.testing.assert_array_equal(
        on_host.rows(1, 5), np.concatenate([on_host.rows(each, 1) for each in range(1, 6)])
    )
    assert on_host.iteration_bytes == on_host.batches(0, 1)["value"].nbytes


def test_a_memory_map_stays_one(folder: Path, tmp_path: Path) -> None:
    plan = plan_of(IMAGES)
    tables = data.read(plan.data, folder).tables
    np.save(tmp_path / "image.npy", tables["explore"]["image"])
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    taken: list[HostStream] = []

    def feeder(found: dict[str, HostStream]) -> streaming.Feed:
        taken.extend(found.values())
        return streaming.Feed()

    explore = {**tables["explore"], "image": mapped}
    emit(fuse(plan, "cpu"), {**tables, "explore": explore}, feeder=feeder)
    assert [np.shares_memory(each.fields["image"], mapped) for each in taken] == [True]


def test_what_needs_the_whole_set_is_told_before_anything_is_written(
    folder: Path, tmp_path: Path
) -> None:
    plan, out = plan_of(BASELINE), tmp_path / "out"
    with pytest.raises(DataError, match="baseline plain can't read streamed batches"):
        run(plan, source(BASELINE, folder), out=out, stream_above_bytes=0)
    assert not out.exists()


def test_a_set_is_streamed_only_above_its_limit(folder: Path) -> None:
    plan = plan_of(IMAGES)
    tables = data.read(plan.data, folder).tables
    cpu = jax.devices("cpu")[0]
    size_bytes = sum(tables["explore"][name].nbytes for name in ("image", "label"))
    assert not streaming.is_needed(plan, tables, cpu, size_bytes)
    assert streaming.is_needed(plan, tables, cpu, size_bytes - 1)
    assert not streaming.is_needed(plan, tables, cpu, None)
    assert not streaming.is_needed(plan, {}, cpu, 0)
    memory_bytes = device.memory_bytes(cpu)
    assert memory_bytes is None or memory_bytes > 2**28
