"""An amount by a param means what the number in its place means, wherever one may stand."""

from __future__ import annotations

import pytest

from ev3lang.analysis import Analysis, analyze
from ev3lang.plan.lower import lower
from ev3lang.plan.plan import Plan
from ev3lang.source import Source
from ev3lang.syntax.format import format_source

SPEC = """\
ev3 1

param n: int = 1
param share: ratio = 10%
experiment amounts { seed 1 }

data digits = sklearn.digits() {
  derive shown = label
  shown known for 200 examples
  batch 64 in 4 parts
}

model teacher: image -> logits(label) = mlp(hidden: [16]) {
  trained by descend supervised with sgd(0.1) for 30 epochs
}
model net: image -> logits(label) = mlp(hidden: [16])

loss supervised = cross_entropy(teacher(image), label)
loss entropy = cross_entropy(net(image), shown)
loss taught = kl_divergence(softmax(teacher(image)), softmax(net(image)))

objective accuracy = maximize argmax(net(image)) == label

explore net {
  descend entropy, taught with sgd(0.1) for 7 steps
  evolve accuracy with evolution_strategy(population: 4) for 3 generations
  perturb with gaussian(0.01) for 2 draws
  average last 5 accepted
}
assess net { rank by accuracy }
adapt net {
  accept when accuracy improves with confidence 90%
  after 6 iterations without progress {
    grow by widen(2x)
    limit parameters(net) <= 9000
    lengthen exploration 2x up to 28 steps
  }
  repeat 4 passes from smallest
  stop after 40 iterations
}
"""

AMOUNTS = {
    "shown known for 200 examples": 200,
    "batch 64 in": 64,
    "in 4 parts": 4,
    "for 30 epochs": 30,
    "for 7 steps": 7,
    "for 3 generations": 3,
    "for 2 draws": 2,
    "last 5 accepted": 5,
    "after 6 iterations": 6,
    "up to 28 steps": 28,
    "repeat 4 passes": 4,
    "stop after 40 iterations": 40,
}


def checked(text: str, **params: str) -> Analysis:
    found = analyze(Source("amounts.ev3", text), params)
    assert found.program is not None, found.diagnostics
    return found


def planned(text: str, **params: str) -> Plan:
    program = checked(text, **params).program
    assert program is not None
    return lower(program)


@pytest.mark.parametrize("place", AMOUNTS)
def test_a_param_stands_for_its_number(place: str) -> None:
    number = AMOUNTS[place]
    assert SPEC.count(place) == 1
    written = place.replace(str(number), "n")
    by_param = SPEC.replace(place, written)
    assert planned(by_param, n=str(number)) == planned(SPEC)
    assert format_source(Source("amounts.ev3", by_param)) == by_param
    found = checked(by_param, n=str(number))
    declared = found.definition_at(by_param.index(written) + place.index(str(number)))
    assert declared is not None
    assert declared.start == SPEC.index("n: int")
    assert not [each for each in found.diagnostics if "`n`" in each.message]


def test_a_param_is_a_confidence() -> None:
    by_param = SPEC.replace("confidence 90%", "confidence share")
    assert planned(by_param, share="90%") == planned(SPEC)
    assert planned(by_param) != planned(SPEC)


def test_batches_to_evaluate() -> None:
    def reference(batches: str) -> str:
        rule = f"rule reference(assess: 0, decide: 1.96)\n  evaluate {batches} batches"
        return SPEC.replace(" with confidence 90%", f"\n  {rule}")

    assert planned(reference("n"), n="2") == planned(reference("2"))


def test_a_time_in_whole_minutes() -> None:
    assert planned(SPEC.replace("40 iterations", "n min"), n="90") == planned(
        SPEC.replace("40 iterations", "90 min")
    )


def test_a_sweep_runs_over_amounts() -> None:
    swept = SPEC.replace("for 7 steps", "for n steps") + "sweep { n in [7, 14] }\n"
    found = analyze(Source("amounts.ev3", swept))
    assert not [each for each in found.diagnostics if each.severity == "error"]
    steps = [lower(each.program).descents[0].steps for each in found.points]
    assert steps == [7, 14]
