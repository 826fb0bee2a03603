"""Teachers: trained before the run once, read from a file, frozen, and their outputs kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import jax
import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from ev3lang.analysis import analyze
from ev3lang.backend import cached, models
from ev3lang.backend.emit import emit
from ev3lang.backend.explore import networks
from ev3lang.backend.expressions import evaluate
from ev3lang.cli import main
from ev3lang.compile import experiment
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Field, Plan, models_of, subexpressions
from ev3lang.runtime import checkpoints, data, teachers
from ev3lang.runtime.events import Event, Measuring
from ev3lang.runtime.faults import WeightsError
from ev3lang.runtime.run import run
from ev3lang.source import Source

SPEC = """\
ev3 1

experiment taught { seed SEED }
data iris = sklearn.iris() { batch 16; normalize features }
model teacher: features -> logits(label) = mlp(hidden: [12]) { START }
model net: features -> logits(label) = mlp(hidden: [8])

loss hard = cross_entropy(teacher(features), label)
loss soft = kl_divergence(softmax(teacher(features) / 2), softmax(net(features) / 2))
objective accuracy = maximize argmax(net(features)) == label
metric taught = argmax(teacher(features)) == label

explore net { descend soft with adamw(1e-2), sgd(0.1) for 5 steps }
assess net { rank by accuracy }
adapt net { accept when accuracy improves; stop after 2 iterations }
report { show accuracy, taught; baseline plain = descend soft with sgd(0.1) }
"""
TRAINED = "trained by descend hard with adamw(1e-2) for 20 epochs"


def text_of(start: str = TRAINED, seed: int = 0) -> str:
    return SPEC.replace("START", start).replace("SEED", str(seed))


def plan_of(start: str = TRAINED, seed: int = 0) -> Plan:
    return experiment(analyze(Source("iris.ev3", text_of(start, seed)))).plan


def given(plan: Plan, where: Path = Path()) -> tuple[teachers.Given, list[str]]:
    events: list[Event] = []
    dataset = data.read(plan.data)
    found = teachers.given_weights(plan, dataset, where, platform="cpu", listen=events.append)
    return found, [event.what for event in events if isinstance(event, Measuring)]


def accuracy(plan: Plan, params: Any, split: str) -> float:
    table = data.read(plan.data).tables[split]
    model = next(each for each in plan.models if each.name == "teacher")
    guesses = np.argmax(models.apply(model, params, table["features"]), -1)
    return float(np.mean(guesses == table["label"]))


# ---------------------------------------------------------------- trained


def test_a_teacher_learns_and_an_equal_training_is_not_repeated() -> None:
    plan = plan_of(seed=1)
    first, said = given(plan)
    assert said == ["training teacher before the run, 100 steps"]
    assert accuracy(plan, first.weights["teacher"], "report") > 0.85
    second, said = given(plan)
    assert said == ["teacher read from cache"]
    jax.tree.map(np.testing.assert_array_equal, first.weights, second.weights)


@pytest.mark.parametrize(
    "start",
    [
        TRAINED.replace("20 epochs", "21 epochs"),
        TRAINED.replace("20 epochs", "100 steps"),
        TRAINED.replace("adamw(1e-2)", "adamw(2e-2)"),
    ],
)
def test_another_training_is_not_taken_from_the_cache(start: str) -> None:
    given(plan_of(seed=2))
    _, said = given(plan_of(start, seed=2))
    assert said[0].startswith("training teacher")


def test_other_data_are_not_taken_from_the_cache() -> None:
    plan = plan_of(seed=3)
    given(plan)
    assert plan.data.split is not None
    split = attrs.evolve(plan.data.split, seed=9)
    _, said = given(attrs.evolve(plan, data=attrs.evolve(plan.data, split=split)))
    assert said[0].startswith("training teacher")
    _, said = given(attrs.evolve(plan, seed=4))
    assert said[0].startswith("training teacher")


def test_what_the_teacher_does_not_depend_on_changes_nothing() -> None:
    plan = plan_of(seed=5)
    first, _ = given(plan)
    other, said = given(attrs.evolve(plan, descents=plan.descents[:1], baselines=()))
    assert said == ["teacher read from cache"]
    jax.tree.map(np.testing.assert_array_equal, first.weights, other.weights)


def test_a_broken_cache_is_trained_anew(own_cache: Path) -> None:
    plan = plan_of(seed=6)
    before = set((own_cache / "ev3lang" / "teachers").glob("*"))
    first, _ = given(plan)
    (kept,) = set((own_cache / "ev3lang" / "teachers").glob("*")) - before
    for name, content in (("weights.npz", b"half"), ("models.json", b"{}")):
        (kept / name).write_bytes(content)
        again, said = given(plan)
        assert said[0].startswith("training teacher")
        jax.tree.map(np.testing.assert_array_equal, first.weights, again.weights)
    _, said = given(plan)
    assert said == ["teacher read from cache"]


def test_training_that_ends_in_no_numbers_is_an_error() -> None:
    plan = plan_of("trained by descend hard with sgd(1e38) for 20 steps", seed=7)
    with pytest.raises(WeightsError, match="no finite numbers"):
        given(plan)


def test_a_chain_of_teachers_is_trained_in_its_order() -> None:
    text = text_of(seed=8).replace(
        "model net:",
        "model middle: features -> logits(label) = mlp(hidden: [6]) "
        "{ trained by descend passed_on with adamw(1e-2) for 100 steps }\nmodel net:",
    )
    text += (
        "loss passed_on = kl_divergence(softmax(teacher(features)), softmax(middle(features)))\n"
        "metric handed = argmax(middle(features)) == label\n"
    )
    text = text.replace("show accuracy, taught", "show accuracy, taught, handed")
    plan = experiment(analyze(Source("iris.ev3", text))).plan
    found, said = given(plan)
    assert [each.split()[1] for each in said] == ["teacher", "middle"]
    assert set(found.weights) == {"teacher", "middle"}


# ---------------------------------------------------------------- in a run


def test_a_run_trains_keeps_and_reports_its_teacher(tmp_path: Path) -> None:
    events: list[Event] = []
    source = Source("iris.ev3", text_of(seed=11))
    plan = experiment(analyze(source)).plan
    result = run(plan, source, out=tmp_path / "first", listen=events.append)
    said = [event.what for event in events if isinstance(event, Measuring)]
    assert said[0] == "training teacher before the run, 100 steps"
    report = json.loads((result.folder / "report.json").read_text())
    assert report["timings"]["teachers_s"] > 0
    assert report["metrics"]["report"]["plain"]["taught"]["value"] > 0.85
    events.clear()
    again = run(plan, source, out=tmp_path / "second", listen=events.append)
    assert Measuring("teacher read from cache") in events
    assert again.report.metrics == result.report.metrics


def test_the_teacher_of_an_earlier_run_is_taken_and_another_split_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "first.ev3").write_text(text_of())
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tmp_path / "first.ev3"), "--out", str(tmp_path / "run"), "--quiet"])
    assert ended.value.code == 0
    from_run = text_of('from checkpoint("run/accepted")').replace("loss hard", "metric hard")
    from_run = from_run.replace("show accuracy", "show hard, accuracy")
    (tmp_path / "second.ev3").write_text(from_run)
    arguments = ["run", str(tmp_path / "second.ev3"), "--quiet", "--out"]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, str(tmp_path / "again")])
    assert ended.value.code == 0
    kept = [np.load(tmp_path / each / "accepted" / "weights.npz") for each in ("run", "again")]
    name = "teacher/mlp_0/output/kernel"
    np.testing.assert_array_equal(kept[0][name], kept[1][name])
    other = from_run.replace(
        "batch 16;", "batch 16; split explore 50%, assess 20%, adapt 15%, report 15%;"
    )
    (tmp_path / "second.ev3").write_text(other)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*arguments, str(tmp_path / "third")])
    assert ended.value.code == 6
    assert "trained on another split" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


def test_a_checkpoint_that_tells_no_split_is_said_in_the_report(tmp_path: Path) -> None:
    import flax.serialization

    start = 'from checkpoint("t.ckpt")'
    text = text_of(start).replace("loss hard", "metric hard")
    text = text.replace("show accuracy", "show hard, accuracy")
    source = Source(str(tmp_path / "iris.ev3"), text)
    plan = experiment(analyze(source)).plan
    model = next(each for each in plan.models if each.name == "teacher")
    params = models.init(model, jax.random.key(0))
    (tmp_path / "t.ckpt").write_bytes(flax.serialization.to_bytes(params))
    result = run(plan, source, out=tmp_path / "out")
    assert any("teacher-split-unknown" in each for each in result.report.warnings)


def test_a_model_may_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    plan = plan_of(seed=12)
    dataset = data.read(plan.data)
    model = next(each for each in plan.models if each.name == "net")
    params = jax.device_get(models.init(model, jax.random.key(77)))
    start = {"net": params}
    program = emit(fuse(plan, "cpu"), dataset.tables, given=start)
    state = program.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.current), start)
    (baseline,) = plan.baselines
    still = program.train_baseline(jax.random.key(0), baseline, 0)
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(still), start)
    assert checkpoints.arrays_by_path(start)


def test_a_model_that_a_run_accepted_teaches_another_beside_one_trained_by_the_spec(
    tmp_path: Path,
) -> None:
    (tmp_path / "first.ev3").write_text(text_of())
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tmp_path / "first.ev3"), "--out", str(tmp_path / "run"), "--quiet"])
    assert ended.value.code == 0
    both = "50% * softmax(teacher(features)) + 50% * softmax(earlier(features))"
    text = text_of().replace("softmax(teacher(features) / 2)", both)
    text += (
        "model earlier: features -> logits(label) = mlp(hidden: [8]) "
        '{ from checkpoint("run/accepted") }\n'
    )
    (tmp_path / "second.ev3").write_text(text)
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tmp_path / "second.ev3"), "--out", str(out), "--quiet"])
    assert ended.value.code == 0
    kept = [np.load(tmp_path / each / "accepted" / "weights.npz") for each in ("run", "out")]
    path = "mlp_0/output/kernel"
    np.testing.assert_array_equal(kept[0][f"net/{path}"], kept[1][f"earlier/{path}"])
    warnings = json.loads((out / "report.json").read_text())["warnings"]
    assert not [each for each in warnings if "teacher-split-unknown" in each]


# ---------------------------------------------------------------- outputs computed once


def weights_after(plan: Plan, weights: dict[str, Any], iterations: int) -> Any:
    dataset = data.read(plan.data)
    program = emit(fuse(plan, "cpu"), dataset.tables, dataset.statistics, weights)
    state = program.init(jax.random.key(plan.seed))
    for _ in range(iterations):
        state, _ = program.step(state)
    (baseline,) = plan.baselines
    return jax.device_get((state.current, program.train_baseline(jax.random.key(0), baseline, 10)))


def test_outputs_kept_give_the_same_numbers_as_computed_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_of(seed=13)
    weights = given(plan)[0].weights
    kept = weights_after(plan, weights, 3)
    # No room: every output is computed for its batch.
    monkeypatch.setattr(cached, "MOST_BYTES", 0)
    computed = weights_after(plan, weights, 3)
    # Sums over batches of other sizes are added in another order.
    for one, other in zip(jax.tree.leaves(kept), jax.tree.leaves(computed), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_losses_read_columns_where_nothing_augments_the_input() -> None:
    plan = plan_of(seed=14)
    weights = given(plan)[0].weights
    dataset = data.read(plan.data)
    program = emit(fuse(plan, "cpu"), dataset.tables, dataset.statistics, weights)
    read = program.fused.plan.descents[0].loss
    assert "outputs of teacher 0" in repr(read)
    without = emit(fuse(plan, "cpu"), dataset.tables, dataset.statistics)
    assert "outputs of" not in repr(without.fused.plan.descents[0].loss)


ENSEMBLE = """\
ev3 1

data iris = sklearn.iris() { batch 16; normalize features }
model one: features -> logits(label) = mlp(hidden: [12]) { frozen }
model two: features -> logits(label) = mlp(hidden: [6, 6]) { frozen }
model trunk: features -> f32[5] = dense(5) | relu { frozen }
model head: f32[5] -> logits[3] = dense { frozen }
model net: features -> logits(label) = mlp(hidden: [8])

loss soft = kl_divergence(TAUGHT, softmax(net(features)))
objective accuracy = maximize argmax(net(features)) == label

explore net { descend soft with sgd(0.1) for 5 steps }
assess net { rank by accuracy }
adapt net { accept when accuracy improves; stop after 2 iterations }
"""


@pytest.mark.parametrize(
    ("taught", "kept"),
    [
        ("softmax((one(features) + two(features)) / 2)", ["one", "two"]),
        ("30% * softmax(one(features) / 2) + 70% * softmax(two(features))", ["one", "two"]),
        ("softmax((one(features) + head(trunk(features))) / 2)", ["head", "one"]),
    ],
)
def test_every_teacher_of_an_ensemble_is_one_column_and_the_mean_is_that_of_numpy(
    taught: str, kept: list[str]
) -> None:
    plan = experiment(analyze(Source("iris.ev3", ENSEMBLE.replace("TAUGHT", taught)))).plan
    dataset = data.read(plan.data)
    weights = teachers.frozen_weights(plan, {})
    program = emit(fuse(plan, "cpu"), dataset.tables, dataset.statistics, weights)
    (read,) = program.fused.plan.descents
    columns = [each for each in subexpressions(read.loss) if isinstance(each, Field)]
    columns = [each for each in columns if each.name.startswith("outputs of")]
    assert sorted(each.name.split()[2] for each in columns) == kept
    assert models_of(read.loss) == ("net",)

    # The loss of a batch is the divergence that NumPy finds from the teachers' own outputs.
    features = dataset.tables["explore"]["features"][:16]
    named = {model.name: model for model in plan.models}
    drawn = models.init(named["net"], jax.random.key(3))
    params = {**weights, "net": drawn}

    def says(name: str, inputs: Any) -> np.ndarray:
        return np.asarray(models.apply(named[name], params[name], inputs), np.float64)

    one, two = says("one", features), says("two", features)
    if "head" in taught:
        two = says("head", np.asarray(says("trunk", features), np.float32))
    if "30%" in taught:
        expected = 0.3 * softmax(one / 2, axis=-1) + 0.7 * softmax(two, axis=-1)
    else:
        expected = softmax((one + two) / 2, axis=-1)
    divergence = rel_entr(expected, softmax(says("net", features), axis=-1)).sum(axis=-1)
    (descent,) = plan.descents
    found = evaluate(descent.loss, {"features": features}, networks(plan, params))
    np.testing.assert_allclose(found, divergence, rtol=1e-4, atol=1e-6)
