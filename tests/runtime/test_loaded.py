"""A run's model from Python: raw words and numbers in, predictions in the target's unit out."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import jax.numpy as jnp
import numpy as np
import pytest

import ev3lang
from ev3lang.backend import models
from ev3lang.runtime import data, description
from ev3lang.runtime.faults import InputError, WeightsError
from ev3lang.runtime.loaded import LoadedModel
from tests.runtime.ran import Ran, plan_of, ran
from tests.runtime.test_checkpoints import MLP, PIPE, SPEC, saved
from tests.runtime.test_checkpoints import plan_of as iris_plan

HOUSES = """\
ev3 1

data houses = csv("houses.csv") {
  area: f32
  width: f32
  depth: f32 from "plot depth"
  city: text[3]
  price: real
  rows 400
  derive plot = width * depth as real
  normalize area, plot, price
  split explore 60%, assess 15%, adapt 15%, report 10%
  batch 32
}
model net: [area, plot, city] -> real = mlp(hidden: [32])
loss error = squared_error(net(area, plot, city), price)
objective fit = maximize r2_score(net(area, plot, city), price)
explore net { descend error with adamw(1e-2) for 200 steps }
assess net { rank by fit }
adapt net { accept when fit improves; stop after 3 iterations }
report { show fit }
"""
CITIES = ("Bern", "Genf", "Zürich")


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    where = tmp_path_factory.mktemp("houses")
    draw = np.random.default_rng(0)
    with (where / "houses.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("area", "width", "plot depth", "city", "price"))
        for _ in range(400):
            area, width, depth = draw.uniform(30, 200), draw.uniform(5, 20), draw.uniform(5, 20)
            city = int(draw.integers(3))
            price = 3000 * area + 200 * width * depth + 30_000 * city + draw.normal(0, 5000)
            writer.writerow((area, width, depth, CITIES[city], round(price)))
    return ran(HOUSES, where / "out")


@pytest.fixture(scope="module")
def table(houses: Ran) -> dict[str, Any]:
    """The file as its columns, words and all."""
    path = houses.result.folder.parent / "houses.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        name: [row[name] if name == "city" else float(row[name]) for row in rows]
        for name in rows[0]
    }


@pytest.fixture(scope="module")
def net(houses: Ran) -> LoadedModel:
    return ev3lang.load_model(houses.result.folder)


def test_predictions_have_the_unit_of_the_file(net: LoadedModel, table: dict[str, Any]) -> None:
    guesses = net(table)
    truth = np.array(table["price"])
    assert guesses.shape == (400,) or guesses.shape == (400, 1)
    error = truth - guesses.reshape(-1)
    assert 1 - (error**2).mean() / truth.var() > 0.9
    assert net.target is not None
    assert net.target.field == "price"
    # explore's statistics, of the file's own numbers
    assert net.target.mean == pytest.approx(truth.mean(), rel=0.1)
    assert net.target.std == pytest.approx(truth.std(), rel=0.1)


def test_values_by_name_words_and_numbers_and_positions_are_the_same(
    net: LoadedModel, table: dict[str, Any]
) -> None:
    guesses = net(table)
    area, city = np.array(table["area"]), np.array(table["city"])
    width, depth = np.array(table["width"]), np.array(table["plot depth"])
    number = np.array([CITIES.index(each) for each in city])
    for other in (
        net(area=area, width=width, depth=depth, city=city.astype(object)),
        net(area, city=city, width=width, depth=depth),
        net(area, width.astype(np.float32) * depth.astype(np.float32), number),
    ):
        np.testing.assert_allclose(other, guesses, rtol=1e-5)


def test_inputs_are_encoded_as_in_training(
    houses: Ran, net: LoadedModel, table: dict[str, Any]
) -> None:
    where = houses.result.folder.parent
    plan = plan_of(HOUSES)
    dataset = data.read(plan.data, where)
    columns = [
        np.concatenate([dataset.tables[use][name] for use in dataset.tables])
        for name in ("area", "plot", "city", "price")
    ]
    # a word is one of three numbers, 1 for the one it is
    area, plot, city = columns[:3]
    x = np.concatenate([area[:, None], plot[:, None], np.eye(3)[city]], -1).astype(np.float32)
    outputs = models.apply(net.plan, net.params, jnp.asarray(x))
    mean, std = (float(each) for each in dataset.scales["price"])
    wanted = np.asarray(outputs, np.float64).reshape(-1) * std + mean
    # the same examples in another order
    np.testing.assert_allclose(np.sort(net(table).reshape(-1)), np.sort(wanted), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {**t, "city": ["Basel"] * 400}, "city is 'Basel' in row 1, a word that"),
        (lambda t: {**t, "city": [None] * 400}, "city is None in row 1"),
        (lambda t: {**t, "area": ["x"] * 400}, "area holds <U1, and takes real numbers"),
        (lambda t: {**t, "area": np.array(t["area"], complex)}, "area holds complex128"),
        (lambda t: {**t, "area": np.array(t["area"], object)}, "area holds object"),
        (lambda t: {**t, "area": [*t["area"][:-1], np.nan]}, "area holds nan in row 400"),
        (lambda t: {**t, "area": [1e300] * 400}, r"area holds 1e\+300 in row 1"),
        (lambda t: {**t, "area": t["area"][:-1]}, "different numbers of examples: area 399"),
        (lambda t: {**t, "width": t["width"][:-1]}, "plot is computed from different numbers"),
        (lambda t: {**t, "area": 3.0}, "area is one value"),
        (lambda t: {name: [] for name in t}, "area has no examples"),
        (lambda t: {**t, "area": [[1.0, 2.0]] * 400}, r"area has shape \[400, 2\]"),
        (lambda t: {**t, "area": np.ma.masked_less(t["area"], 100)}, "some of it is masked"),
        (lambda t: {**t, "city": [3] * 400}, "city is out of range in row 1"),
        (lambda t: {**t, "area": [[1], [1, 2]]}, "area is no array"),
        (lambda t: {n: x for n, x in t.items() if n != "area"}, "area is missing: net takes"),
        (lambda t: {n: x for n, x in t.items() if n != "width"}, "width is missing"),
    ],
)
def test_values_that_the_model_cannot_take(
    net: LoadedModel,
    table: dict[str, Any],
    change: Callable[[dict[str, Any]], dict[str, Any]],
    said: str,
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        net(change(table))
    assert isinstance(caught.value, ValueError)
    assert caught.value.help


def test_names_and_numbers_of_inputs(net: LoadedModel, table: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="takes no town"):
        net(table, town=["Bern"])
    with pytest.raises(InputError, match="area is given twice"):
        net(table["area"], area=table["area"])
    with pytest.raises(InputError, match="3 inputs, not 4"):
        net(*[table["area"]] * 4)


def test_the_folder_of_a_first_format_still_loads(
    houses: Ran, table: dict[str, Any], tmp_path: Path
) -> None:
    for each in (houses.result.folder / "accepted").iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    file = tmp_path / "models.json"
    value = {**json.loads(file.read_text()), "format_version": 1}
    del value["sha256"]
    for model in value["models"]:
        for name in ("sources", "derived", "target", "classes"):
            del model[name]
        for field in model["inputs"]:
            del field["words"], field["origin"]
    file.write_text(json.dumps(value))
    net = ev3lang.load_model(tmp_path)
    plot = np.multiply(table["width"], table["plot depth"])
    with pytest.raises(InputError, match="doesn't say how they are numbered"):
        net(table["area"], plot, table["city"])
    z_scores = net(table["area"], plot, [CITIES.index(each) for each in table["city"]])
    assert abs(float(np.mean(z_scores))) < 0.5
    del value["models"][0]["layers"][0]["name"]
    file.write_text(json.dumps(value))
    with pytest.raises(WeightsError, match=r"models\[0\].layers\[0\] has no name"):
        ev3lang.load_model(tmp_path)


def test_a_description_that_was_changed_is_refused(houses: Ran, tmp_path: Path) -> None:
    for each in (houses.result.folder / "accepted").iterdir():
        (tmp_path / each.name).write_bytes(each.read_bytes())
    file = tmp_path / "models.json"
    file.write_text(file.read_text().replace('"Genf"', '"Basel"'))
    with pytest.raises(WeightsError, match="its sha256 is another"):
        description.read(tmp_path)


# ---------------------------------------------------------------- classes


def test_a_run_loads_as_a_function_of_raw_inputs(tmp_path: Path) -> None:
    done = ran(SPEC.replace("LAYERS", MLP), tmp_path / "out")
    plan = iris_plan()
    loaded = ev3lang.load_model(done.result.folder)
    raw = attrs.evolve(plan.data, normalized=())
    report, normalized = (data.read(each).tables["report"] for each in (raw, plan.data))
    outputs = loaded(report["features"])
    expected = models.apply(plan.models[0], loaded.params, jnp.asarray(normalized["features"]))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    right = np.mean(np.argmax(outputs, -1) == report["label"])
    (values,) = (
        each for name, each in done.result.report.metrics.items() if name in ("accepted", "start")
    )
    assert right == pytest.approx(values["accuracy"].value)
    assert loaded.classes == ("setosa", "versicolor", "virginica")
    assert loaded.target is None
    with pytest.raises(ValueError, match="shape"):
        loaded(report["features"][:, :2])
    with pytest.raises(ValueError, match="1 inputs, not 2"):
        loaded(report["features"], report["features"])
    with pytest.raises(ValueError, match="no examples"):
        loaded(report["features"][:0])
    with pytest.raises(WeightsError, match="no other"):
        ev3lang.load_model(done.result.folder, "other")
    with pytest.raises(WeightsError, match="holds no weights"):
        ev3lang.load_model(tmp_path)


def test_classes_of_a_column_of_words_and_of_numbers(tmp_path: Path) -> None:
    rows = [f"{place % 7},{('no', 'yes', 'may be')[place % 3]},{place % 2}" for place in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["x,answer,even", *rows]) + "\n")
    text = """\
ev3 1
data t = csv("t.csv") {
  x: f32
  answer: text[3]
  even: class[2]
  rows 60
  derive label = answer as class[3]
  batch 8
}
model net: x -> logits(LABEL) = mlp(hidden: [2])
loss entropy = cross_entropy(net(x), LABEL)
objective accuracy = maximize argmax(net(x)) == LABEL
explore net { descend entropy with sgd(0.1) for 1 steps }
assess net { rank by accuracy }
adapt net { accept when accuracy improves; stop after 1 iterations }
"""
    for label, classes in (("label", ["may be", "no", "yes"]), ("even", [0, 1])):
        plan = plan_of(text.replace("LABEL", label))
        dataset = data.read(plan.data, tmp_path)
        value = description.describe(plan, dataset, {})
        assert value["models"][0]["classes"] == classes


def test_a_nested_pipe_loads_with_the_plan_it_was_saved_with(tmp_path: Path) -> None:
    plan = iris_plan(PIPE)
    path, _, _ = saved(tmp_path, plan)
    assert ev3lang.load_model(path).plan.layers == plan.models[0].layers
