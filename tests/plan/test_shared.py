"""Equal expressions are one object, and their text is bounded."""

from __future__ import annotations

import subprocess
import sys

from ev3lang.catalog.signature import Type
from ev3lang.plan.plan import (
    Apply,
    Constant,
    Expr,
    Field,
    Forward,
    inner_first,
    rewritten,
    subexpressions,
)
from ev3lang.plan.shared import MOST_TEXT

REAL = Type("real")


def doubled(times: int) -> Expr:
    expr: Expr = Field("x", REAL)
    for _ in range(times):
        expr = Apply("+", (expr, expr), REAL, "example")
    return expr


def test_equal_expressions_are_one_object() -> None:
    assert doubled(60) is doubled(60)
    assert doubled(60) != doubled(61)
    assert hash(doubled(60)) == hash(doubled(60))


def test_numbers_that_are_equal_and_mean_different_things_stay_apart() -> None:
    numbers = [Constant(value, REAL) for value in (1, 1.0, True, 0.0, -0.0)]
    assert len(set(numbers)) == 5
    assert [repr(each.value) for each in numbers] == ["1", "1.0", "True", "0.0", "-0.0"]
    options = [Apply("f", (), REAL, "example", (("a", each),)) for each in (1, 1.0, (1,), (1.0,))]
    assert len(set(options)) == 4


def test_each_part_is_looked_at_once() -> None:
    expr = doubled(60)
    assert len(list(subexpressions(expr))) == len(list(inner_first(expr))) == 61
    assert next(subexpressions(expr)) is expr
    assert list(inner_first(expr))[-1] is expr


def test_rewriting_keeps_what_is_shared() -> None:
    def change(_: Expr, part: Expr) -> Expr:
        return Field("y", REAL) if isinstance(part, Field) else part

    expr = rewritten(doubled(60), change)
    assert len(list(subexpressions(expr))) == 61
    assert {each.name for each in subexpressions(expr) if isinstance(each, Field)} == {"y"}
    assert rewritten(expr, lambda old, new: new) is expr


def test_a_text_is_what_it_says_or_a_digest_of_it() -> None:
    small = Forward("net", (Field("x", REAL),), REAL)
    inside = "Field(name='x', type=Type(kind='real', dimensions=()), level='example')"
    assert repr(small) == (
        f"Forward(model='net', inputs=({inside},), type=Type(kind='real', dimensions=()), "
        "level='example')"
    )
    assert len(repr(doubled(1000))) <= 2 * MOST_TEXT
    assert repr(doubled(1000)) != repr(doubled(1001))


def test_the_digest_is_the_same_in_every_process() -> None:
    script = "from tests.plan.test_shared import doubled; print(repr(doubled(60)))"
    command = [sys.executable, "-c", script]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert other.strip() == repr(doubled(60))
