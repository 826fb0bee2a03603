"""What is used twice is written out once: doubling again and again costs no more than its text."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from ev3lang.analysis import analyze
from ev3lang.check.expand import Expansion, inner_first, walk
from ev3lang.explain.spec import explain_spec
from ev3lang.explicit import explicit_source
from ev3lang.plan.fuse import fuse
from ev3lang.plan.lower import lower
from ev3lang.plan.plan import Plan
from ev3lang.plan.plan import inner_first as parts_inside
from ev3lang.plan.show import preview
from ev3lang.runtime.folder import semantic_hash
from ev3lang.source import Source

TIMES = 45
"""Doublings: as a text, what is written out would be of 35 000 000 000 000 parts."""

MOST_S = 5.0

SPEC = """ev3 1

data digits = sklearn.digits() {{ normalize image{derived} }}
model net: image -> logits(label) = mlp(hidden: [8])
{values}
loss entropy = {loss}
objective accuracy{range} = {objective}
explore net {{ descend entropy with adamw(1e-3) for 10 steps }}
assess net {{ rank by accuracy{guard} }}
adapt net {{
  accept when accuracy improves
  {after}
  stop after 2 iterations
}}
{report}
"""

CROSS = "cross_entropy(net(image), label)"
RIGHT = "maximize argmax(net(image)) == label"


def spec(**parts: str) -> Source:
    plain = {"loss": CROSS, "objective": RIGHT} | dict.fromkeys(
        ("derived", "values", "range", "guard", "after", "report"), ""
    )
    return Source("doubled.ev3", SPEC.format(**{**plain, **parts}))


def lets(first: str, rule: str = "{0} + {0}") -> str:
    rows = [f"let x{i + 1} = {rule.format(f'x{i}')}" for i in range(TIMES)]
    return "\n".join([f"let x0 = {first}", *rows])


LAST = f"x{TIMES}"

DOUBLED = {
    "a loss": spec(values=lets(CROSS), loss=LAST),
    "an objective": spec(values=lets(CROSS), objective=f"minimize {LAST}", range=" in 0 to 1"),
    "a bounded objective": spec(
        values=lets(f"clip({CROSS}, 0, 5)", "({0} + {0}) * 0.5"), objective=f"minimize {LAST}"
    ),
    "a metric": spec(values=lets(CROSS), report=f"metric big = {LAST}\nreport {{ show big }}"),
    "what is shown": spec(values=lets(CROSS), report=f"report {{ show {LAST} }}"),
    "a guard": spec(values=lets(CROSS), guard=f"\n guard {LAST} <= 1e30\n"),
    "a number": spec(values=lets("1.0"), loss=f"{LAST} * {CROSS}"),
    "a param": spec(
        values="param p0: real = 1.0\n"
        + "\n".join(f"param p{i + 1}: real = p{i} + p{i}" for i in range(TIMES)),
        loss=f"p{TIMES} * {CROSS}",
    ),
    "the input of a model": spec(values=lets("image"), loss=f"cross_entropy(net({LAST}), label)"),
    "probabilities": spec(
        values=lets("softmax(net(image))", "0.5 * {0} + 0.5 * {0}"),
        loss=f"mean(log({LAST})) + {CROSS}",
    ),
    "a derived field": spec(
        derived="\nderive d0 = label + 1\n"
        + "\n".join(f"derive d{i + 1} = d{i} + d{i}" for i in range(TIMES)),
        report=f"metric big = mean(d{TIMES})\nreport {{ show big }}",
    ),
    "two derived fields crosswise": spec(
        derived="\nderive d0 = label + 1\nderive e0 = label + 2\n"
        + "\n".join(
            f"derive d{i + 1} = d{i} + e{i}\nderive e{i + 1} = d{i} - e{i}" for i in range(TIMES)
        ),
        objective=f"maximize (argmax(net(image)) == label) and d{TIMES} >= 0",
    ),
    "a loss with an argument": spec(
        values=f"loss l0(t: real = 1) = t * {CROSS}\n"
        + "\n".join(
            f"loss l{i + 1}(t: real = 1) = l{i}(t: t) + l{i}(t: t + 1)" for i in range(TIMES)
        ),
        loss=f"l{TIMES}(t: 1)",
    ),
    "an argument": spec(
        values=f"loss l0(t: real = 1) = t * {CROSS}\n"
        + "\n".join(f"loss l{i + 1}(t: real = 1) = l{i}(t: t + t)" for i in range(TIMES)),
        loss=f"l{TIMES}(t: 1)",
    ),
    "a limit": spec(
        values=lets("parameters(net)"),
        after=f"after 1 iterations without progress {{ grow by widen(2x)\n limit {LAST} <= 1e17 }}",
    ),
}

COMMANDS: dict[str, Callable[[Plan], object]] = {
    "preview": preview,
    "hash": semantic_hash,
    "text": repr,
    "fuse": lambda plan: fuse(plan, "cpu"),
}


@pytest.mark.parametrize("source", DOUBLED.values(), ids=DOUBLED)
def test_doubling_again_and_again_takes_no_time(source: Source) -> None:
    begin = time.process_time()
    analysis = analyze(source)
    assert analysis.program is not None, analysis.diagnostics
    plan = lower(analysis.program)
    for command in COMMANDS.values():
        command(plan)
    assert explain_spec(analysis)
    assert explicit_source(source)[0] is not None
    assert time.process_time() - begin < MOST_S


def test_what_is_written_out_has_the_value_of_its_text() -> None:
    program = analyze(DOUBLED["a loss with an argument"]).program
    assert program is not None
    (descent,) = lower(program).descents
    known: dict[object, float] = {}
    for part in parts_inside(descent.loss):
        match getattr(part, "function", None):
            case "+":
                known[part] = sum(known[each] for each in part.inputs)  # type: ignore[union-attr]
            case "*":
                known[part] = known[part.inputs[0]] * known[part.inputs[1]]  # type: ignore[union-attr]
            case "cross_entropy":
                known[part] = 1
            case _:
                known[part] = getattr(part, "value", 0)
    # l(n, t) = sum over k of (n choose k) (t + k) = 2 ^ n (t + n / 2)
    assert known[descent.loss] == 2**TIMES * (1 + TIMES / 2)


def test_walks_see_each_part_once() -> None:
    program = analyze(DOUBLED["a loss"]).program
    assert program is not None
    whole = Expansion(program.values).of(program.losses["entropy"].value)
    parts = list(walk(whole))
    assert len(parts) == len(set(parts)) == TIMES + 4
    assert set(inner_first(whole)) == set(parts)
    place = {part: number for number, part in enumerate(inner_first(whole))}
    assert all(
        place[part] > place[inside] for part in parts for inside in walk(part) if inside is not part
    )


def test_a_row_of_names_is_followed_to_a_limit_that_is_named() -> None:
    def row(length: int) -> set[str]:
        rows = "\n".join(f"let x{i + 1} = x{i} + 1" for i in range(length))
        source = spec(values=f"let x0 = {CROSS}\n{rows}", loss=f"x{length}")
        return {each.code for each in analyze(source).diagnostics}

    assert row(390) == set()
    assert row(5000) == {"expression-too-large"}


def test_different_arguments_again_and_again_are_one_clear_error() -> None:
    rows = "\n".join(
        f"loss l{i + 1}(t: real) = l{i}(t: 2 * t) + l{i}(t: 2 * t + 1)" for i in range(TIMES)
    )
    values = f"loss l0(t: real) = t * {CROSS}\n{rows}"
    begin = time.process_time()
    found = analyze(spec(values=values, loss=f"l{TIMES}(t: 1)")).diagnostics
    assert {each.code for each in found} == {"expression-too-large"}
    assert time.process_time() - begin < MOST_S
