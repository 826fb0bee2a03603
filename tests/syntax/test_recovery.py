"""One mistake is told once, at its place and in the language's words; and no text is too much."""

from __future__ import annotations

import random
import re
import time

import lark
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.source import Source
from ev3lang.syntax import tree
from ev3lang.syntax.build import DEEPEST
from ev3lang.syntax.grammar import build_parser
from ev3lang.syntax.parse import parse, parse_expression
from ev3lang.syntax.tables import grammar_text
from ev3lang.syntax.tree import walk
from tests.syntax.mutation import SPECS, mutant, mutants

LARK = build_parser(grammar_text())
SPEC = {path.stem: path.read_text(encoding="utf-8") for path in SPECS}


def wrong(text: str) -> tuple[Diagnostic, ...]:
    return parse(Source("a.ev3", text))[1]


def the_one(body: str) -> Diagnostic:
    diagnostics = wrong(f"ev3 1\n{body}\n")
    assert len(diagnostics) == 1, [d.message for d in diagnostics]
    return diagnostics[0]


def mended(text: str, diagnostic: Diagnostic) -> str:
    """The text with the diagnostic's first fix made."""
    for edit in sorted(diagnostic.fixes[0].edits, key=lambda edit: -edit.span.start):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text


def is_wrong(text: str) -> bool:
    """By Lark's own parser, which recovers from nothing."""
    try:
        LARK.parse(text, start="file")
    except lark.exceptions.LarkError:
        return True
    return False


# ---------------------------------------------------------------- one mistake, one error


def test_a_planted_mistake_is_told_once() -> None:
    faulty = [text for text in mutants(300, seed=3) if is_wrong(text)]
    counts = [len(wrong(text)) for text in faulty]
    assert len(faulty) > 200
    assert min(counts) >= 1
    assert counts.count(1) / len(counts) >= 0.98


def test_it_is_told_where_it_is() -> None:
    rng = random.Random(4)
    near = total = 0
    for _ in range(300):
        text = rng.choice(list(SPEC.values()))
        changed = mutant(text, rng)
        diagnostics = wrong(changed)
        if len(diagnostics) != 1 or diagnostics[0].span is None:
            continue
        pairs = zip(text.split("\n"), changed.split("\n"), strict=False)
        planted = next((n for n, (old, new) in enumerate(pairs, 1) if old != new), 1)
        spans = [diagnostics[0].span, *(label.span for label in diagnostics[0].labels)]
        total += 1
        near += any(abs(span.first.line - planted) <= 2 for span in spans)
    assert total > 200
    assert near / total >= 0.9


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("explore net { descend a with sgd(0.1) for }", "expected a number or a param, found `}`"),
        ("adapt net { evaluate }", "expected a number or a param, found `}`"),
        ("adapt net { stop after }", "expected a number or a param, found `}`"),
        (
            "adapt net { after without progress { restart from smallest } }",
            "expected a unit or `without`, found `progress`",
        ),
    ],
)
def test_an_amount_that_is_missing(body: str, message: str) -> None:
    assert the_one(body).message == message


def test_what_is_not_faulty_is_kept() -> None:
    text = SPEC["distill_and_grow"]
    whole, _ = parse(Source("a.ev3", text))
    kept, diagnostics = parse(Source("a.ev3", text.replace("loss hard =", "loss hard = =")))
    assert len(diagnostics) == 1
    assert len(kept.declarations) >= len(whole.declarations) - 1
    kept, diagnostics = parse(
        Source("a.ev3", text.replace("  perturb with", "  perturb perturb with"))
    )
    assert len(diagnostics) == 1
    assert len(kept.declarations) == len(whole.declarations)


def test_several_mistakes_are_each_told() -> None:
    text = SPEC["distill_and_grow"]
    for old, new in (
        ("let guess = student(image)", "let guess = student(image"),
        ("metric top3 = label", "metric top3 label"),
        ("descend hard, soft(T: 1)", "descend hard soft(T: 1)"),
        ("rank by accuracy then", "rank accuracy then"),
        ("stop after 60 iterations", "stop 60 iterations"),
    ):
        assert old in text
        text = text.replace(old, new)
    lines = [d.span.first.line for d in wrong(text) if d.span is not None]
    assert len(lines) == 5
    assert lines == sorted(set(lines))


def test_a_faulty_statement_leaves_no_half_node() -> None:
    rng = random.Random(5)
    for _ in range(200):
        changed = mutant(rng.choice(list(SPEC.values())), rng)
        parsed, _ = parse(Source("a.ev3", changed))
        for node in walk(parsed):
            if isinstance(node, tree.Name):
                assert node.text
                assert node.span.text == node.text
        starts = [declaration.span.start for declaration in parsed.declarations]
        assert starts == sorted(set(starts))


# ---------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("body", "code", "message", "at"),
    [
        (
            "explore n { descend for 1 steps }",
            "syntax-error",
            "expected a loss, found `for`",
            "for",
        ),
        (
            "explore n { descend a b for 1 steps }",
            "syntax-error",
            "expected `,` or `with`, found `b`",
            "b",
        ),
        (
            "explore n { descend a with for 1 steps }",
            "syntax-error",
            "expected an optimizer, found `for`",
            "for",
        ),
        ("let = 1", "syntax-error", "expected a name, found `=`", "="),
        (
            "let x = 1 2",
            "syntax-error",
            "expected an operator or the end of the line, found `2`",
            "2",
        ),
        ("let x = f(1, )", "syntax-error", "expected an argument, found `)`", ")"),
        (
            "accept when a improves",
            "syntax-error",
            "expected a declaration such as `data`, `model`, `loss` or `explore`, found `accept`",
            "accept",
        ),
        ("sweep { width [1] }", "syntax-error", "expected `in`, found `[`", "["),
        ("explore n { average last 5 }", "syntax-error", "expected `accepted`, found `}`", "}"),
        ("let x = f(1", "unclosed-bracket", "this `(` is never closed", "("),
        ("let x = [1, 2)", "unclosed-bracket", "this `[` is never closed", "["),
        (
            "explore n {\n batch 1\nassess n { rank by a }",
            "unclosed-bracket",
            "this `{` is never closed",
            "{",
        ),
        (
            "adapt n {\n after 1 x without progress {\n  limit a\n stop after 1 x\n}\nlet x = 1",
            "unclosed-bracket",
            "this `{` is never closed",
            "{",
        ),
        ("explore n {\n batch 1", "unclosed-bracket", "this `{` is never closed", "{"),
        ("let x = 1 }", "syntax-error", "this `}` closes nothing", "}"),
        ("adapt n {\n }\n stop after 1 x\n}", "syntax-error", "this `}` closes nothing", "}"),
        ('use "a.ev3', "unclosed-string", "this string is never closed", '"a.ev3'),
        ('allow "a because "b"', "unclosed-string", "this string is never closed", '"'),
        (
            "let x = a ~ b",
            "unexpected-character",
            "no word or mark of the language has `~` (tilde)",
            "~",
        ),
        (
            "objectiv a = maximize b",
            "syntax-error",
            "`objectiv` is not a word of the language here",
            "objectiv",
        ),
        (
            "data d = f() { nomalize image }",
            "syntax-error",
            "`nomalize` is not a word of the language here",
            "nomalize",
        ),
        (
            "explore n { descend a wiht b for 1 steps }",
            "syntax-error",
            "`wiht` is not a word of the language here",
            "wiht",
        ),
    ],
)
def test_message(body: str, code: str, message: str, at: str) -> None:
    diagnostic = the_one(body)
    assert diagnostic.span is not None
    assert (diagnostic.code, diagnostic.message, diagnostic.span.text) == (code, message, at)


def test_a_missing_opening_brace_is_told_where_it_belongs() -> None:
    text = SPEC["two_tasks"].replace("sklearn.digits() {", "sklearn.digits()")
    (diagnostic,) = wrong(text)
    assert diagnostic.message == "expected `{` before `derive`"
    assert wrong(mended(text, diagnostic)) == ()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("objectiv a = maximize b", "objective a = maximize b"),
        ("let x = a “b” ", None),
        ("metric m = a ≥ b", "metric m = a >= b"),
        ("let x = 1 }", "let x = 1 "),
        ("let x\u00a0= 1", "let x = 1"),
        ("explor n { descend a with b for 1 steps }", "explore n { descend a with b for 1 steps }"),
    ],
)
def test_a_fix_mends_the_mistake(typed: str, meant: str | None) -> None:
    text = f"ev3 1\n{typed}"
    first, *_ = wrong(text)
    fixed = mended(text, first)
    assert first.fixes[0].safety == "unsafe"
    if meant is not None:
        assert fixed == f"ev3 1\n{meant}"
        assert wrong(fixed) == ()


def test_no_message_speaks_of_tokens() -> None:
    for text in mutants(200, seed=6):
        for diagnostic in wrong(text):
            told = re.sub("`[^`]*`", "", f"{diagnostic.message} {diagnostic.help or ''}")
            assert not re.search("[A-Z]{2,}|__|None", told), told
            assert not diagnostic.message.endswith(".")


# ---------------------------------------------------------------- any text at all


WORDS = sorted({word for text in SPEC.values() for word in re.findall(r"\w+|\S|\n", text)})


def check_any(text: str) -> None:
    """Nothing raised, every place inside the text, in order, and the same again."""
    source = Source("a.ev3", text)
    parsed, diagnostics = parse(source)
    starts = [d.span.start for d in diagnostics if d.span is not None]
    assert len(starts) == len(diagnostics)
    assert starts == sorted(starts)
    assert all(
        d.span is not None and 0 <= d.span.start <= d.span.end <= len(text) for d in diagnostics
    )
    assert parse(source) == (parsed, diagnostics)
    expression, found = parse_expression(source)
    assert (expression is None) == bool(found)


@given(st.text(max_size=200))
def test_any_text_ends(text: str) -> None:
    check_any(text)


@given(
    st.lists(st.sampled_from([*WORDS, '"', "'", "é", "\t", "\r\n", "\\"]), max_size=60),
    st.sampled_from(["", " "]),
)
def test_any_words_end(words: list[str], gap: str) -> None:
    check_any(gap.join(words))


@given(
    st.sampled_from(sorted(SPEC)),
    st.lists(st.tuples(st.integers(0, 2500), st.sampled_from(["", *WORDS])), max_size=6),
)
def test_any_damage_to_a_spec_ends(name: str, damages: list[tuple[int, str]]) -> None:
    text = SPEC[name]
    for place, new in damages:
        text = text[:place] + new + text[place + 1 :]
    check_any(text)


@pytest.mark.parametrize(
    "body",
    [
        "let x = " + "(" * 10_000 + "1" + ")" * 10_000,
        "let x = " + "[" * 200 + "]" * 200,
        "let x = " + "f(" * 200 + ")" * 200,
        "let x = " + "-" * 5_000 + "1",
        "let x = " + "not " * 3_000 + "a",
        "let x = " + "2^" * 5_000 + "2",
        "let x = " + "1 + " * 300 + "1",
    ],
)
def test_deep_nesting_is_one_clear_mistake(body: str) -> None:
    parsed, diagnostics = parse(Source("a.ev3", f"ev3 1\n{body}\nlet y = 1\n"))
    assert [d.code for d in diagnostics] == ["nesting-too-deep"]
    assert [d.name.text for d in parsed.declarations if isinstance(d, tree.Let)] == ["y"]


def test_nesting_up_to_the_limit_is_read() -> None:
    inner = DEEPEST - 10
    parsed, diagnostics = parse(
        Source("a.ev3", f"ev3 1\nlet x = {'f(' * (inner // 2)}{')' * (inner // 2)}")
    )
    assert diagnostics == ()
    assert sum(isinstance(node, tree.Call) for node in walk(parsed)) == inner // 2


LONG = 1_000_000
GARBAGE = bytes(random.Random(7).randrange(256) for _ in range(LONG)).decode("latin-1")


@pytest.mark.parametrize(
    "text",
    [
        "ev3 1\nlet x = [" + "1, " * (LONG // 3) + "1]\n",
        "ev3 1\nlet x = " + "a" * LONG,
        "ev3 1\nuse " + '"' * LONG,
        "ev3 1\nuse " + '"' + "\\" * LONG,
        "ev3 1; " + "explore n { descend a with b for 1 steps }; " * (LONG // 44),
        "(" * LONG,
        "{" * LONG,
        "}" * LONG,
        "é " * (LONG // 2),
        "x\n" * (LONG // 2),
        "\n" * LONG,
        ";" * LONG,
        "#" * LONG,
        GARBAGE,
    ],
    ids=lambda text: ascii(text[6:26]),
)
def test_a_megabyte_of_anything_takes_a_moment(text: str) -> None:
    start = time.process_time()
    _, diagnostics = parse(Source("a.ev3", text))
    # Measured at 0.05 to 0.8 s, on a busy machine 2 s; quadratic time would be many minutes.
    assert time.process_time() - start < 30
    assert len(diagnostics) <= 60


def test_a_file_of_a_megabyte_is_refused_at_once() -> None:
    begin = time.process_time()
    text = "ev3 1\n" + "let x = 1\n" * 2_000_000
    parsed, diagnostics = parse(Source("table.ev3", text))
    assert [each.code for each in diagnostics] == ["file-too-long"]
    assert parsed.declarations == ()
    assert time.process_time() - begin < 1
