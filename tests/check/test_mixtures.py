"""Means of probabilities: what the checker calls probabilities has rows that sum to 1."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from ev3lang.analysis import analyze
from ev3lang.backend.explore import networks
from ev3lang.backend.expressions import evaluate
from ev3lang.compile import experiment
from ev3lang.plan.plan import Forward, subexpressions
from ev3lang.source import Source

SPEC = """\
ev3 1
data digits = sklearn.digits()
model net: image -> logits(label) = mlp(hidden: [8])
loss soft(a: ratio = 30%, b: ratio = 60%) = kl_divergence(MIXED, softmax(net(image)))
objective accuracy = maximize argmax(net(image)) == label
explore net { descend soft(a: A, b: B) with sgd(0.1) for 5 steps }
assess net { rank by accuracy }
adapt net { accept when accuracy improves; stop after 2 iterations }
"""

SHARES = st.floats(0, 1).map(lambda share: round(share, 3))


def spec(mixed: str, a: float = 0.3, b: float = 0.6) -> Source:
    text = SPEC.replace("MIXED", mixed).replace("a: A", f"a: {a:.3f}")
    return Source("mixed.ev3", text.replace("b: B", f"b: {b:.3f}"))


def errors(source: Source) -> list[str]:
    return [each.code for each in analyze(source).diagnostics if each.severity == "error"]


def temperatures(count: int) -> list[str]:
    return [f"softmax(net(image) / {at + 1})" for at in range(count)]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any))
def test_shares_of_a_whole_are_weights_of_a_mean(shares: list[int]) -> None:
    whole = sum(shares)
    parts = temperatures(len(shares))
    inside = " + ".join(
        f"{share / whole!r} * {part}" for share, part in zip(shares, parts, strict=True)
    )
    behind = " + ".join(f"{share} * {part}" for share, part in zip(shares, parts, strict=True))
    assert errors(spec(inside)) == []
    assert errors(spec(f"({behind}) / {whole}")) == []
    assert errors(spec(f"({behind}) / {whole + 1}")) == ["wrong-type"]


@given(SHARES, SHARES)
def test_a_mean_by_parameters_is_the_one_of_numpy_and_its_rows_sum_to_1(a: float, b: float) -> None:
    one, two, three = temperatures(3)
    mixed = f"a * (b * {one} + (1 - b) * {two}) + (1 - a) * {three}"
    analysis = analyze(spec(mixed, a, b))
    assert errors(spec(mixed, a, b)) == []
    plan = experiment(analysis).plan
    target = plan.descents[0].loss.inputs[0]  # type: ignore[union-attr]
    logits = np.random.default_rng(0).normal(size=(4, 10))
    (forward,) = {each for each in subexpressions(target) if isinstance(each, Forward)}
    found = evaluate(target, {}, networks(plan, {}), {forward: logits.astype(np.float32)})
    p, q, r = (softmax(logits / T, axis=-1) for T in (1, 2, 3))
    np.testing.assert_allclose(found, a * (b * p + (1 - b) * q) + (1 - a) * r, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(np.sum(found, axis=-1), 1, rtol=1e-5)


@given(SHARES.filter(bool))
def test_an_argument_beyond_the_whole_is_refused(excess: float) -> None:
    one, two = temperatures(2)
    assert errors(spec(f"a * {one} + (1 - a) * {two}", a=1 + excess)) == ["out-of-range"]
