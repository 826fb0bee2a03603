"""Expressions as text: read back they mean the same, and the formatter would write them alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.source import Source, Span
from ev3lang.syntax import tree
from ev3lang.syntax.format import format_source
from ev3lang.syntax.parse import parse, parse_expression
from ev3lang.syntax.write import write_expression, write_type

SPAN = Span(Source("made", ""), 0, 0)

names = st.sampled_from(("a", "loss_2", "best")).map(lambda t: tree.Name(t, span=SPAN))
numbers = st.builds(
    tree.Number,
    st.integers(0, 10**6) | st.floats(0, 1e300, allow_nan=False),
    st.sampled_from((None, "%", "x", "pp", "steps")),
    span=st.just(SPAN),
)
members = st.builds(tree.Member, names, names, span=st.just(SPAN))
strings = st.text(st.characters(exclude_categories=("Cs",))).map(
    lambda text: tree.String(text, span=SPAN)
)
OPERATORS = ("or", "and", "==", "<=", ">", "in", "+", "-", "*", "/", "mod", "^")


def larger(inner: st.SearchStrategy[tree.Expression]) -> st.SearchStrategy[tree.Expression]:
    spans = st.just(SPAN)
    argument = st.builds(tree.Argument, st.none() | names, inner, span=spans)
    return st.one_of(
        st.builds(
            tree.Binary,
            st.sampled_from(OPERATORS),
            inner,
            inner,
            operator_span=spans,
            span=spans,
        ),
        st.builds(tree.Unary, st.sampled_from(("-", "not")), inner, span=spans),
        st.builds(tree.Range, inner, inner, span=spans),
        st.builds(tree.ListOf, st.lists(inner, max_size=3).map(tuple), span=spans),
        st.builds(tree.Call, names, st.lists(argument, max_size=3).map(tuple), span=spans),
        st.builds(tree.Pipe, st.lists(inner, min_size=2, max_size=3).map(tuple), span=spans),
    )


decays = st.builds(tree.DecayOnly, names, span=st.just(SPAN))
expressions = st.recursive(names | numbers | members | strings | decays, larger, max_leaves=12)


@given(expressions)
def test_what_is_written_is_read_as_the_same(expression: tree.Expression) -> None:
    assert parse_expression(Source("a", write_expression(expression))) == (expression, ())


@given(expressions)
def test_the_formatter_writes_expressions_alike(expression: tree.Expression) -> None:
    text = f"ev3 1\nlet x = {write_expression(expression)}\n"
    formatted = format_source(Source("a.ev3", text))
    assert formatted is not None
    if all(len(line) <= 120 for line in text.splitlines()):
        assert formatted == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("adamw( 1e-3 )", "adamw(0.001)"),
        ("200_000", "200000"),
        ("soft(T:4)", "soft(T: 4)"),
        ("((a)) * (b * c)", "a * (b * c)"),
        ("(a * b) * c - (d)", "a * b * c - d"),
        ("(a ^ b) ^ -(c)", "(a ^ b) ^ -c"),
        ("(a == b) == (c < d)", "(a == b) == (c < d)"),
        ("not (a and b) or (c in (0 to 1 + 2))", "not (a and b) or c in 0 to 1 + 2"),
        (
            "clip(1.0)|sgd(0.1,momentum:90%)|decay only  matrices",
            "clip(1.0) | sgd(0.1, momentum: 90%) | decay only matrices",
        ),
        ("warmup(1e-3,over:100 steps)", "warmup(0.001, over: 100 steps)"),
        ('nnx("a\\"b\\\\")', 'nnx("a\\"b\\\\")'),
    ],
)
def test_normal_form(text: str, written: str) -> None:
    expression, _ = parse_expression(Source("a", text))
    assert expression is not None
    assert write_expression(expression) == written


@pytest.mark.parametrize("type_", ["f32[28, time]", "logits(label)", "real", "tokens[8000, 128]"])
def test_types(type_: str) -> None:
    parsed, found = parse(Source("a", f"ev3 1; param p: {type_}"))
    assert found == ()
    declaration = parsed.declarations[0]
    assert isinstance(declaration, tree.Param)
    assert write_type(declaration.type) == type_
