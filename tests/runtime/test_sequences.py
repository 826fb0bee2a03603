"""A mean over tokens: each sequence counts by how many it has, and those without any not at all."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.special

from ev3lang.backend import models
from ev3lang.catalog.signature import Type
from ev3lang.compile import Experiment, load
from ev3lang.plan.plan import Apply, Constant, Expr, Field, ObjectivePlan
from ev3lang.runtime import sequences
from ev3lang.runtime.data import read
from ev3lang.runtime.faults import DataError
from ev3lang.runtime.intervals import student

WORDS, LENGTH = 5, 16
SPEC = """ev3 1
data d = npz("d.npz") {{ text: tokens[5, 16]; batch 32 }}
model net: text -> logits[16, 5] =
  embed(8) | transformer(layers: 1, heads: 2, width: 8, causal: true) | dense(5)
let following = next_token(text)
loss e = token_cross_entropy(net(text), following)
objective nll in 0 to 20 = minimize token_cross_entropy(net(text), following{over})
objective acc = maximize token_accuracy(net(text), following{over})
objective miss = minimize 1 - token_accuracy(net(text), following{over})
explore net {{ descend e with sgd(0.5) for 2 steps }}
assess net {{ rank by nll }}
adapt net {{ accept when nll improves; stop after 1 iterations }}
"""


def texts(lengths: np.ndarray) -> np.ndarray:
    """Sequences that count on from a drawn word, padded with -1: [N, LENGTH] int32."""
    starts = np.random.default_rng(1).integers(WORDS, size=(len(lengths), 1))
    places = np.arange(LENGTH)
    return np.where(places < lengths[:, None], (starts + places) % WORDS, -1).astype(np.int32)


LENGTHS = np.random.default_rng(0).choice([0, 1, 2, 3, 16], size=320)


def stored(folder: Path, lengths: np.ndarray = LENGTHS, over: str = "") -> Experiment:
    np.savez(folder / "d.npz", text=texts(lengths))
    (folder / "spec.ev3").write_text(SPEC.format(over=over), "utf-8")
    return load(folder / "spec.ev3")


def test_a_mean_over_tokens_is_the_sum_over_all_by_their_number(tmp_path: Path) -> None:
    experiment = stored(tmp_path)
    table = read(experiment.plan.data, tmp_path).tables["assess"]
    program = experiment.compile()
    params = program.init(jax.random.key(0)).accepted
    found = program.measure(params, table)
    (model,) = experiment.plan.models
    logits = np.asarray(models.apply(model, params["net"], table["text"]), np.float64)
    log_probs = scipy.special.log_softmax(logits, axis=-1)
    costs, hits = [], []
    for text, each in zip(table["text"], log_probs, strict=True):
        for place in range(LENGTH - 1):
            if text[place + 1] >= 0:
                costs.append(-each[place, text[place + 1]])
                hits.append(each[place].argmax() == text[place + 1])
    assert np.mean(found["nll"]) == pytest.approx(np.mean(costs), rel=1e-5)
    assert np.mean(found["acc"]) == pytest.approx(np.mean(hits), rel=1e-5)
    assert np.mean(found["miss"]) == pytest.approx(1 - np.mean(hits), rel=1e-5)


def test_values_of_examples_stay_in_the_range_that_tests_use(tmp_path: Path) -> None:
    experiment = stored(tmp_path)
    tables = read(experiment.plan.data, tmp_path).tables
    plan = sequences.with_reaches(experiment.plan, tables)
    counts = {use: (table["text"][:, 1:] >= 0).sum(1) for use, table in tables.items()}
    most = max(each.max() / each.mean() for each in counts.values())
    of = {measure.name: measure for measure in plan.objectives}
    assert of["acc"].reach == pytest.approx(most)
    assert of["acc"].example_range == pytest.approx((0, most))
    assert of["acc"].range == (0, 1)
    low, high = of["miss"].example_range or (0, 0)
    assert low <= 1 - most
    assert high >= 1
    # a stated range is that of what a test counts
    assert of["nll"].example_range == (0, 20)


def test_sequences_of_one_length_change_no_range(tmp_path: Path) -> None:
    experiment = stored(tmp_path, np.full(320, 16))
    tables = read(experiment.plan.data, tmp_path).tables
    assert sequences.with_reaches(experiment.plan, tables) == experiment.plan


def test_sequences_without_a_token_are_refused_where_sequences_are_averaged(tmp_path: Path) -> None:
    experiment = stored(tmp_path, over=", over: sequences")
    with pytest.raises(DataError, match=r"sequences of the explore split have no target") as caught:
        experiment.compile()
    assert caught.value.field == "text"
    assert "over: tokens" in str(caught.value.help)
    several = stored(tmp_path, np.maximum(LENGTHS, 2), over=", over: sequences")
    tables = read(several.plan.data, tmp_path).tables
    assert sequences.with_reaches(several.plan, tables) == several.plan


def test_a_split_without_any_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sequence of the explore split has a target"):
        stored(tmp_path, np.ones(320, np.int32)).compile()


def test_intervals_are_those_of_a_ratio() -> None:
    rng = np.random.default_rng(0)
    target = Field("text", Type("tokens", (WORDS, LENGTH)))
    value = Apply(
        "token_accuracy", (target, target), Type("real"), "example", (("over", "tokens"),)
    )
    means = []
    inside = 0
    for _ in range(200):
        lengths = rng.choice([1, 2, 16], size=200)
        hits = rng.binomial(lengths, 0.7)
        values = hits / lengths.mean()
        text = texts(lengths)
        deviations = sequences.over_tokens(value, values, {"text": text})
        found = student(deviations)
        assert found.value == pytest.approx(hits.sum() / lengths.sum())
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 0.7 <= found.high
        means.append(found.high - found.low)
    assert 183 <= inside <= 198  # 95% of 200, within 3.3 standard deviations
    # with every token right nothing varies, however long the sequences are
    lengths = rng.choice([1, 2, 16], size=50)
    right = (lengths / lengths.mean()).astype(np.float32)
    certain = sequences.over_tokens(value, right, {"text": texts(lengths)})
    assert np.ptp(certain) == 0
    assert certain[0] == pytest.approx(1)


def test_other_values_have_no_reach() -> None:
    alone = Field("x", Type("real"))
    scaled: Expr = Apply("*", (Constant(2, Type("int")), alone), Type("real"), "example")
    measure = ObjectivePlan("m", scaled, "maximize", None, (0.0, 1.0))
    assert measure.example_range == (0.0, 1.0)
    np.testing.assert_array_equal(
        sequences.over_tokens(scaled, np.array([0.5, 2.0]), {}), [0.5, 2.0]
    )
