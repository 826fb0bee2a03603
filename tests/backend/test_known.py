"""Fields that only some examples know: which ones, what is averaged over, and what is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ev3lang.analysis import analyze
from ev3lang.backend.descent import mean_loss
from ev3lang.backend.emit import Program, emit
from ev3lang.backend.expressions import Networks
from ev3lang.catalog.signature import Type
from ev3lang.compile import experiment
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import DataPlan, Derived, Field, Known, Plan, Split
from ev3lang.runtime import data
from ev3lang.runtime.faults import DataError
from ev3lang.source import Source

KEY = jax.random.key(4)
ROWS = 24

SPEC = """ev3 1
param share: real = 0.3
data shown = npz("shown.npz") {{
  x: f32[24]
  label: class[3]
  has_told: bool
  split explore 40%, assess 20%, adapt 20%, report 20%
  derive told = label
  derive also = label
  told known {told}
  also known for 12 examples
  batch 8
}}
model net: x -> logits(label) = dense
loss descended = {loss}
objective accuracy = maximize argmax(net(x)) == label
explore net {{ descend descended with sgd(0.5) for {steps} steps }}
assess net {{ rank by accuracy }}
adapt net {{ accept when accuracy improves; move always; stop after 40 iterations }}
"""

HARD = "cross_entropy(net(x), told)"
ALSO = "cross_entropy(net(x), also)"
SOFT = "brier(softmax(net(x)), label)"


def plan_of(loss: str, steps: int = 1, told: str = "for 12 examples") -> Plan:
    text = SPEC.format(loss=loss, steps=steps, told=told)
    return experiment(analyze(Source("spec.ev3", text))).plan


# ---------------------------------------------------------------- the mean over those that know


def batch() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    label = generator.integers(0, 3, 10).astype(np.int32)
    return {
        "x": generator.normal(size=(10, ROWS)).astype(np.float32),
        "label": label,
        "told": label,
        "also": ((label + 1) % 3).astype(np.int32),
        "told known": np.arange(10) < 4,
        "also known": np.arange(10) % 2 == 0,
    }


WEIGHTS = np.random.default_rng(1).normal(size=(ROWS, 3)).astype(np.float32)


def loss_of(plan: Plan, fields: dict[str, Any], kernel: Any = WEIGHTS) -> Any:
    (model,), (candidate,) = plan.models, plan.descents
    params = {"dense_0": {"linear": {"kernel": kernel, "bias": jnp.zeros(3)}}}
    return mean_loss(candidate.loss, fields, Networks({"net": model}, {"net": params}), {})


def by_example(fields: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cross entropies of told and also, and the Brier score, [10] each."""
    logits = fields["x"].astype(np.float64) @ WEIGHTS
    exp = np.exp(logits - logits.max(1, keepdims=True))
    probs = exp / exp.sum(1, keepdims=True)
    rows = np.arange(len(logits))
    told, also = (-np.log(probs[rows, fields[name]]) for name in ("told", "also"))
    return told, also, np.square(probs - np.eye(3)[fields["label"]]).sum(1)


def expected_losses() -> dict[str, float]:
    """Each loss by NumPy: terms apart, each over the examples that know it."""
    fields = batch()
    told, also, brier = by_example(fields)
    hard = told[fields["told known"]].mean()
    other = also[fields["also known"]].mean()
    product = (told * also)[fields["told known"] & fields["also known"]].mean()
    soft = brier.mean()
    return {
        HARD: hard,
        f"share * {HARD} + (1 - share) * {SOFT}": 0.3 * hard + 0.7 * soft,
        f"{SOFT} - {HARD} / 4": soft - hard / 4,
        f"-{HARD} * 2 + 3": 3 - 2 * hard,
        f"{HARD} + {ALSO}": hard + other,
        f"{HARD} * {ALSO}": product,
        f"2 * ({HARD} + share * ({SOFT} + {ALSO}))": 2 * (hard + 0.3 * (soft + other)),
        f"{HARD} + 0.1 * l2(net)": hard + 0.1 * float(np.square(WEIGHTS).sum()),
        SOFT: soft,
    }


@pytest.mark.parametrize(("loss", "expected"), expected_losses().items())
def test_each_term_is_the_mean_over_the_examples_that_know_it(loss: str, expected: float) -> None:
    np.testing.assert_allclose(loss_of(plan_of(loss), batch()), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", [HARD, f"share * {HARD} + (1 - share) * {SOFT}"])
def test_what_is_not_known_moves_no_weight(loss: str) -> None:
    plan, fields = plan_of(loss), batch()
    others = {**fields, "told": np.where(fields["told known"], fields["told"], 2 - fields["told"])}
    assert np.any(others["told"] != fields["told"])
    gradient = jax.grad(lambda kernel, fields: loss_of(plan, fields, kernel))
    np.testing.assert_array_equal(gradient(WEIGHTS, fields), gradient(WEIGHTS, others))


def test_a_term_that_no_example_knows_is_nothing() -> None:
    fields = {**batch(), "told known": np.zeros(10, bool)}
    value, gradient = jax.value_and_grad(lambda k: loss_of(plan_of(HARD), fields, k))(WEIGHTS)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(WEIGHTS))
    both = loss_of(plan_of(f"{HARD} + {SOFT}"), fields)
    np.testing.assert_allclose(both, by_example(fields)[2].mean(), rtol=1e-5)


# ---------------------------------------------------------------- what a batch is drawn from


def program_of(loss: str, told_known: Any, also_known: Any = (), steps: int = 1) -> Program:
    """Example i of explore is 1 at place i alone, so that only its own weights move."""
    tables: Any = {}
    for split in ("explore", "assess", "adapt", "report"):
        label = (np.arange(ROWS) % 3).astype(np.int32)
        x = np.eye(ROWS, dtype=np.float32)
        tables[split] = {"x": x, "label": label, "told": label, "also": label}
    for name, rows in {"told": told_known, "also": also_known}.items():
        tables["explore"][f"{name} known"] = np.isin(np.arange(ROWS), rows)
    return emit(fuse(plan_of(loss, steps), "cpu"), tables)


def rows_seen(program: Program, iterations: int = 1) -> list[set[int]]:
    """The examples whose weights moved in each iteration."""
    state = program.init(KEY)
    seen = []
    for _ in range(iterations):
        before = kernel(state)
        state, _ = program.step(state)
        seen.append(set(np.flatnonzero(np.any(kernel(state) != before, axis=1)).tolist()))
    return seen


def kernel(state: Any) -> np.ndarray:
    return np.asarray(state.current["net"]["dense_0"]["linear"]["kernel"])


TOLD = (1, 2, 3, 5, 7, 8, 11, 13, 14, 17, 19, 20, 21, 22, 23, 0)


def test_a_loss_of_known_terms_alone_draws_only_those() -> None:
    first, second, third = rows_seen(program_of(HARD, TOLD), 3)
    assert len(first) == len(second) == len(third) == 8
    # Two batches are an epoch of the sixteen.
    assert first | second == set(TOLD)
    assert third < set(TOLD)


def test_several_known_fields_are_drawn_from_together() -> None:
    (seen,) = rows_seen(program_of(f"{HARD} + 2 * {ALSO}", TOLD[:9], TOLD[5:16], steps=2))
    assert seen == set(TOLD)


def test_fewer_known_examples_than_a_batch_are_used_whole() -> None:
    few = (3, 9, 10, 18, 22)
    program = program_of(HARD, few, steps=1)
    assert rows_seen(program, 2) == [set(few), set(few)]
    state = program.init(KEY)
    before = kernel(state)
    after = kernel(program.step(state)[0])
    # The bias starts at zero; the gradient is a mean over the five.
    for row in few:
        exp = np.exp(before[row])
        gradient = exp / exp.sum() - np.eye(3)[row % 3]
        np.testing.assert_allclose(after[row], before[row] - 0.5 * gradient / 5, atol=1e-6)


def test_a_loss_with_a_term_for_all_draws_from_all() -> None:
    (seen,) = rows_seen(program_of(f"share * {HARD} + (1 - share) * {SOFT}", TOLD, steps=3))
    assert seen == set(range(ROWS))


# ---------------------------------------------------------------- which examples know a field

TEN = Type("class", (10,))
DIGITS = DataPlan(
    name="digits",
    source="sklearn.digits",
    options=(),
    fields=(("image", Type("f32", (8, 8, 1))), ("label", TEN)),
    derived=(Derived("shown", Field("label", TEN), TEN),),
    normalized=(),
    split=Split((0.6, 0.15, 0.15, 0.1), "label", 0),
    rows=1797,
    batch=64,
    known=(Known("shown", 100, None),),
)


def shown(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which examples of explore know their label, and all of their labels."""
    assert DIGITS.split is not None
    split = attrs.evolve(DIGITS.split, seed=seed)
    plan = attrs.evolve(DIGITS, known=(Known("shown", count, None),), split=split)
    explore = data.read(plan).tables["explore"]
    return explore["shown known"], explore["label"]


@settings(max_examples=30)
@given(st.integers(10, 1078))
def test_exactly_so_many_are_known_in_the_proportions_of_the_classes(count: int) -> None:
    knows, labels = shown(count)
    assert knows.sum() == count
    per_class = np.bincount(labels[knows], minlength=10)
    assert per_class.min() >= 1
    in_proportion = count * np.bincount(labels) / len(labels)
    # Whole examples, and at least one of each class.
    assert np.max(np.abs(per_class - in_proportion)) < 2


def test_which_are_known_is_the_splits_seed() -> None:
    np.testing.assert_array_equal(shown(100)[0], shown(100)[0])
    assert not np.array_equal(shown(100)[0], shown(100, seed=1)[0])


def test_no_other_split_says_what_is_known() -> None:
    tables = data.read(DIGITS).tables
    assert [use for use, table in tables.items() if "shown known" in table] == ["explore"]
    for table in tables.values():
        np.testing.assert_array_equal(table["shown"], table["label"])


def test_all_can_be_known_but_no_more() -> None:
    _, labels = shown(10)
    assert shown(len(labels))[0].all()
    with pytest.raises(DataError, match=f"explore has {len(labels)}"):
        shown(len(labels) + 1)


def test_a_mask_of_the_file_says_which_are_known(tmp_path: Path) -> None:
    generator = np.random.default_rng(6)
    has_told = generator.uniform(size=60) < 0.3
    label = generator.integers(0, 3, 60)
    x = np.zeros((60, ROWS), np.float32)
    x[:, 0] = np.arange(60)
    np.savez(tmp_path / "shown.npz", x=x, label=label, has_told=has_told)
    plan = plan_of(HARD, told="where has_told")
    also = next(each for each in plan.data.known if each.field == "also")
    (told,) = (each for each in plan.data.known if each.field == "told")
    assert (told.count, told.mask, also.count) == (None, "has_told", 12)
    explore = data.read(plan.data, tmp_path).tables["explore"]
    rows = explore["x"][:, 0].astype(int)
    np.testing.assert_array_equal(explore["told known"], has_told[rows])
    assert explore["also known"].sum() == 12
