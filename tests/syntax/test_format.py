"""The one layout: what it keeps of a text, what it changes, and that it changes nothing twice."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ev3lang.source import Source
from ev3lang.syntax import wrap
from ev3lang.syntax.comments import find_comments
from ev3lang.syntax.format import format_source
from ev3lang.syntax.parse import parse, parse_tree
from ev3lang.syntax.words import Token
from tests.syntax.mutation import mutants

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs").glob("*.ev3"))
PROSE = [
    *sorted((ROOT / "tests" / "check").glob("*.md")),
    *sorted((ROOT / "ev3lang" / "diagnostics" / "pages").glob("*.md")),
]
BLOCK = re.compile(r"^```ev3\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def formatted(text: str) -> str:
    result = format_source(Source("a.ev3", text))
    assert result is not None, parse(Source("a.ev3", text))[1]
    return result


def assert_laws(text: str) -> str:
    """Formats it: the tree and all comments are kept, and a second time changes nothing."""
    result = formatted(text)
    before, after = Source("a.ev3", text), Source("a.ev3", result)
    assert parse(after) == (parse(before)[0], ())
    assert [c.text.rstrip() for c in find_comments(before)] == [
        c.text for c in find_comments(after)
    ]
    assert formatted(result) == result
    assert "\t" not in re.sub(r'"[^"\n]*"|#.*', "", result)
    assert "\r" not in result
    assert not re.search(r" $|\n\n\n|\{\n\n|\n\n *\}|\A\n|\n\n\Z", result, re.MULTILINE)
    assert result == "" or result.endswith("\n")
    return result


def corpus() -> list[str]:
    """Every spec and every example in prose that parses."""
    blocks = [block[1] for path in PROSE for block in BLOCK.finditer(path.read_text("utf-8"))]
    texts = [block if block.startswith("ev3 ") else f"ev3 1\n{block}" for block in blocks]
    whole = [text for text in texts if not parse(Source("a.ev3", text))[1]]
    return [path.read_text("utf-8") for path in SPECS] + whole


CORPUS = corpus()


def tokens_of(text: str) -> list[Token]:
    parsed = parse_tree(Source("a.ev3", text))
    assert parsed is not None
    return [token for token, _ in parsed.tokens()]


# ---------------------------------------------------------------- whole files


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_specs_stay_as_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert formatted(text) == text


def test_the_laws_hold_for_every_example_in_prose() -> None:
    assert len(CORPUS) > 100
    for text in CORPUS:
        assert_laws(text)


def test_what_does_not_parse_is_left_alone() -> None:
    assert format_source(Source("a.ev3", "ev3 1\nlet x = = 3\n")) is None
    assert format_source(Source("a.ev3", "")) is None  # it has no edition


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    format_source(Source("a.ev3", text))


def test_mutants_that_still_parse_keep_the_laws() -> None:
    for text in mutants(400, seed=5):
        if not parse(Source("a.ev3", text))[1]:
            assert_laws(text)


# ---------------------------------------------------------------- any legal layout

GOES_ON = {"COMMA", "VBAR", "EQUAL", "WITH", "PLUS", "MINUS", "STAR", "SLASH", "CIRCUMFLEX"}
GOES_ON |= {"MOD", "COMPARISON", "IN", "AND", "OR", "NOT"}
JOINS = {"VBAR", "OR", "THEN", "WITH"}
MARKS = {"LPAR", "RPAR", "LSQB", "RSQB", "LBRACE", "RBRACE", "COMMA", "COLON"}

ENDS = ("\n", "\n\n", "\n \n\n\t", "; ", " ;;\n", "  # c\n", "\n# c\n\n  # d\n", ";# c\n", "\r\n")
BREAKS = ("\n", "\n\n   ", "# c\n", " # c \n  # d\n\n", "\n  # c\n", "\r\n\t")
SPACES = (" ", "   ", "\t", " \r", " # c\r")


def relayout(text: str, rng: random.Random) -> str:
    """The same words with other gaps, and further comments, wherever the language allows it."""
    tokens = tokens_of(text)
    parts = [rng.choice(("", "\n\n", "# c\n", "  # c\r"))]
    depth = 0
    for index, token in enumerate(tokens):
        previous = tokens[index - 1].type if index else None
        following = tokens[index + 1].type if index + 1 < len(tokens) else None
        if token.type == "END":
            closes = following in ("RBRACE", None)
            parts.append(rng.choice((*ENDS, "") if closes else ENDS))
            continue
        if previous not in (None, "END"):
            tight = ("",) if MARKS & {previous, token.type} else ()
            legal = (
                depth > 0
                or previous in GOES_ON
                or token.type in JOINS
                or previous == "LBRACE"
                or token.type == "RBRACE"
            )
            choices = (*SPACES, *tight, *(BREAKS if legal and rng.random() < 0.3 else ()))
            parts.append(rng.choice(choices))
        depth += (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB"))
        parts.append(str(token))
    parts.append(rng.choice(("", "\n", "\n\n\n", " # c", "\n  # c\n\n", ";")))
    return "".join(parts)


@given(st.sampled_from(CORPUS), st.integers(0, 10**9))
@settings(max_examples=200)
def test_the_laws_hold_however_a_spec_is_laid_out(text: str, seed: int) -> None:
    assert_laws(relayout(text, random.Random(seed)))


@given(st.sampled_from(CORPUS), st.integers(0, 10**9), st.integers(10, 60))
def test_the_laws_hold_where_every_line_is_too_wide(text: str, seed: int, width: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wrap, "WIDTH", width)
        patch.setattr(wrap, "WIDEST", width + 5)
        assert_laws(text)
        assert_laws(relayout(text, random.Random(seed)))


# ---------------------------------------------------------------- noise that has no say


def noisy(text: str, rng: random.Random) -> str:
    """The text, in its layout, spoilt by what no author means by it."""
    tokens = tokens_of(text)
    end = tokens[0].start
    parts = ["\n \n" * rng.randrange(2), text[:end]]
    depth, is_flat = 0, False
    for token, previous in zip(tokens, [None, *tokens], strict=False):
        gap = text[end : token.start]
        kinds = {token.type, previous.type if previous else None}
        if token.type == "END":
            parts.append(noisy_end(gap + str(token), rng))
        else:
            if "\n" in gap:
                gap = noisy_lines(gap, rng)
            elif "#" not in gap and kinds & {"COLON"} and depth > 0 and not is_flat:
                gap = rng.choice(("", " ", "\n", " \n  "))
            elif kinds & MARKS and not kinds & {"LBRACE", "RBRACE"}:
                gap = rng.choice(("", " ", "\t "))
            elif gap:
                gap = rng.choice((" ", "   ", "\t"))
            parts += [gap, str(token)]
        depth += (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB"))
        end = token.end
        if token.type in ("LBRACE", "RBRACE"):
            is_flat = token.type == "LBRACE" and not text[end:].startswith(("\n", "  #"))
    return "".join(parts) + text[end:] + rng.choice(("", "\n", "\n \n"))


def noisy_end(gap: str, rng: random.Random) -> str:
    if "#" in gap or "\n\n" in gap:
        return noisy_lines(gap, rng)
    if ";" in gap:  # of a block on one line
        return rng.choice((gap, ";", " ;\t", " ; ; "))
    return rng.choice((gap, "; ", ";\n", " ; ;\n\t"))


def noisy_lines(gap: str, rng: random.Random) -> str:
    """Other indents, blanks at line ends, and more blank lines where there is one."""
    lines = [line.strip(" ") for line in gap.split("\n")]
    gap = f"{' ' * rng.randrange(3)}\n".join([lines[0] and f"  {lines[0]}", *lines[1:]])
    gap = gap + " " * rng.randrange(9)
    return re.sub(r"\n( *)\n", r"\n\1\n\n \n", gap) if rng.random() < 0.5 else gap


@given(st.sampled_from(CORPUS), st.integers(0, 10**9), st.booleans())
@settings(max_examples=200)
def test_noise_leaves_the_layout_as_it_is(text: str, seed: int, is_dos: bool) -> None:
    tidy = formatted(text)
    spoilt = noisy(tidy, random.Random(seed))
    assert formatted(spoilt.replace("\n", "\r\n") if is_dos else spoilt) == tidy


# ---------------------------------------------------------------- the rules, one by one


def body(text: str) -> str:
    """Formats what stands under the line of the edition."""
    return assert_laws(f"ev3 1\n{text}").removeprefix("ev3 1\n")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("let x=a+b*-c ^2", "let x = a + b * -c ^ 2"),
        ("let x = - ( a )-  - b", "let x = -(a) - -b"),
        ("let x = not( a==b )and c mod 2>=1", "let x = not (a == b) and c mod 2 >= 1"),
        ("let x = f ( a ,[ 1,2 ] , key :decay (1) )", "let x = f(a, [1, 2], key: decay(1))"),
        ("let x = f(not : 3, decay:1)", "let x = f(not: 3, decay: 1)"),
        ("let x = a|decay   only  matrices", "let x = a | decay only matrices"),
        ("let x = 1e-3+200_000 + 0.10+2.50e+05", "let x = 1e-3 + 200_000 + 0.10 + 2.50e+05"),
        ("let x = 95%*2 x+100steps", "let x = 95% * 2x + 100 steps"),
        ('let x = "a  b\\n#"', 'let x = "a  b\\n#"'),
        ("model m:[ a,b ]->logits (c)=dense", "model m: [a, b] -> logits(c) = dense"),
        ("model m : f32 [time,64]->f32=dense", "model m: f32[time, 64] -> f32 = dense"),
        (
            'extern host fn f(logits [n],class[n])->real from "a:b"',
            'extern host fn f(logits[n], class[n]) -> real from "a:b"',
        ),
        ("loss l( T:real=1 , s:ratio )=T", "loss l(T: real = 1, s: ratio) = T"),
        (
            "objective o target  - 2% in - 1 to 3=maximize( a )",
            "objective o target -2% in -1 to 3 = maximize (a)",
        ),
        (
            'model m: x -> f32 = dense { from checkpoint ( "a" ) }',
            'model m: x -> f32 = dense { from checkpoint("a") }',
        ),
        (
            "data d = f() { normalize x mean[0.5] std[ 0.2 ] }",
            "data d = f() { normalize x mean [0.5] std [0.2] }",
        ),
    ],
)
def test_spaces(written: str, expected: str) -> None:
    assert body(written) == f"{expected}\n"


def test_a_block_on_one_line_stays_on_it() -> None:
    assert body("assess net{rank by accuracy;guard size<=3 ;}") == (
        "assess net { rank by accuracy; guard size <= 3 }\n"
    )
    assert body("report {  }") == "report {}\n"
    assert body("report {\n\n}") == "report {}\n"


def test_a_block_that_is_broken_anywhere_has_a_line_for_each_statement() -> None:
    expected = "assess net {\n  rank by accuracy\n  guard size <= 3\n}\n"
    assert body("assess net {\nrank by accuracy; guard size <= 3 }") == expected
    assert body("assess net { rank by accuracy\n guard size <= 3 }") == expected
    assert body("assess net { rank by accuracy; guard size <= 3\n}") == expected


def test_a_block_too_wide_for_its_line_is_opened() -> None:
    block = f"{{ rank by {'a' * 63}; guard a <= b }}"
    assert len(f"assess net {block}") == 100
    assert body(f"assess net {block}") == f"assess net {block}\n"
    assert body(f"assess nets {block}") == (
        f"assess nets {{\n  rank by {'a' * 63}\n  guard a <= b\n}}\n"
    )


def test_a_block_inside_is_opened_only_where_it_must_be() -> None:
    inner = "after 5 iterations without progress { grow by widen(2x) }"
    assert body(f"adapt net {{ {inner}; stop after 3 iterations }}").count("\n") == 1
    assert body(f"adapt net {{ {inner}\n stop after 3 iterations }}") == (
        f"adapt net {{\n  {inner}\n  stop after 3 iterations\n}}\n"
    )


def test_blank_lines_stay_one_at_a_time() -> None:
    assert formatted("\n\nev3 1\n\n\n\nlet a = 1\nlet b = 2\n \nlet c = 3\n\n\n") == (
        "ev3 1\n\nlet a = 1\nlet b = 2\n\nlet c = 3\n"
    )
    assert body("data d = f() {\n\n\nbatch 2\n\n\nrows 3\n\n}") == (
        "data d = f() {\n  batch 2\n\n  rows 3\n}\n"
    )


def test_comments_stay_where_they_are() -> None:
    text = """\
# above
let a = 1  # behind

# alone

# above a block
data d = f() {  # behind its brace
  # first
  batch 2  # behind
  # between

  rows 3
  # last
}  # behind it
report {
  # nothing to show
}
# the end
"""
    assert body(text) == text
    assert body(re.sub(r"^ +|(?<= ) (?=#)", "", text, flags=re.MULTILINE)) == text


def test_no_blank_line_stands_above_the_first_comment() -> None:
    assert formatted("\n\n# a\n\n# b\nev3 1") == "# a\n\n# b\nev3 1\n"
    assert body("data d = f() {\n\n# a\nbatch 2 }") == "data d = f() {\n  # a\n  batch 2\n}\n"


def test_comments_inside_a_statement_keep_its_lines_apart() -> None:
    text = """\
explore net {
  descend hard,  # the labels
    # and the teacher
    soft(
      T: 4  # as in the paper
      # or more
    )
    with calm for 100 steps
}
"""
    assert body(text) == text


def test_a_comment_that_ends_without_its_line_moves_to_the_end_of_the_line() -> None:
    assert body("explore # why\r net { batch 2 }") == "explore net { batch 2 }  # why\n"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("let x =\n      a + b", "let x =\n  a + b"),
        ("let x = a |\nb\n| c", "let x = a\n  | b\n  | c"),
        ("let x = a and\nb or\nc", "let x = a and\n  b\n  or c"),
        ("let x = (a\n+ b)", "let x = (a +\n  b)"),
        ("let x = f(a\n, b)", "let x = f(a,\n  b)"),
        ("let x = f(a,\n\n b\n)", "let x = f(a,\n  b)"),
        ("let x = f(\na, b)", "let x = f(\n  a, b\n)"),
        ("let x = f(\n)", "let x = f()"),
        ("let x = f(key\n:\n3)", "let x = f(key: 3)"),
        ("let x = f(g(\na\n), [\n1,\n2\n])", "let x = f(g(\n  a\n), [\n  1,\n  2\n])"),
        ("loss l(T: real =\n1) = T", "loss l(T: real = 1) = T"),
        (
            "explore n { descend a, b with\nc for 2 steps }",
            "explore n {\n  descend a, b\n    with c for 2 steps\n}",
        ),
        (
            "assess n { rank by a\nthen b }",
            "assess n {\n  rank by a\n    then b\n}",
        ),
    ],
)
def test_breaks_inside_a_statement(written: str, expected: str) -> None:
    assert body(written) == f"{expected}\n"


def test_a_statement_whose_first_word_would_join_it_to_the_line_above_is_kept_apart() -> None:
    assert body("sweep { width in [1]; then in [2]  # c\n }") == (
        "sweep {\n  width in [1];\n  then in [2]  # c\n}\n"
    )


def test_a_line_up_to_the_widest_stays() -> None:
    long = f"let x = {'a' * 50} + {'b' * 59}"
    assert len(long) == 120
    assert body(long) == f"{long}\n"
    assert body(f"{long}b") == f"let x =\n  {'a' * 50} + {'b' * 60}\n"
    assert body(f"{long}bbbbbbb") == f"let x =\n  {'a' * 50} +\n  {'b' * 66}\n"


def names(letter: str, count: int) -> list[str]:
    return [f"{letter * 11}{index:02}" for index in range(count)]


def test_the_loosest_place_is_broken_first() -> None:
    losses, optimizers = names("l", 5), names("o", 3)
    assert body(
        f"explore n {{ descend {', '.join(losses)} with {', '.join(optimizers)} for 9 steps }}"
    ) == (
        f"explore n {{\n  descend {', '.join(losses)}\n"
        f"    with {', '.join(optimizers)} for 9 steps\n}}\n"
    )


def test_what_is_far_too_wide_is_filled_line_by_line() -> None:
    links = names("a", 20)
    lines = body(f"optimizer x = {' | '.join(links)}").splitlines()
    assert lines[0] == "optimizer x ="
    assert all(len(line) <= 100 for line in lines)
    assert [line[:4] for line in lines[2:]] == ["  | "] * 3
    assert re.findall(r"a+\d+", "\n".join(lines)) == links


def test_brackets_are_opened_last() -> None:
    arguments = [f"{name}: 1" for name in names("a", 8)]
    assert body(f"let x = f({', '.join(arguments)}) ^ 2") == (
        f"let x =\n  f(\n    {', '.join(arguments[:5])},\n    {', '.join(arguments[5:])}\n  ) ^ 2\n"
    )


def test_what_has_no_place_stays_too_wide() -> None:
    text = f'use "{"a" * 200}"\n'
    assert body(text) == text
    assert body(f"let x = 1  # {'a' * 200}\n") == f"let x = 1  # {'a' * 200}\n"


# ---------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    "text",
    [
        "ev3 1\n" + "let x = f(" * 10_000,
        "ev3 1\nlet x = [" + "1, " * 6_000 + "1]\n",
        "ev3 1\n" + "#" * 1_000_000 + "\n",
        "ev3 1\nlet x = [" + ("1, " * 30 + "\n") * 200 + "1]\n",
        "ev3 1\nlet x = " + "-" * 90 + "1\n",
        "ev3 1\n" + ";" * 50_000,
        "ev3 1\n" + "\n# c" * 20_000,
    ],
    ids=["nested", "one-line", "comment", "many-lines", "signs", "semicolons", "comments"],
)
def test_the_formatter_is_quick_whatever_the_text(text: str) -> None:
    format_source(Source("a.ev3", "ev3 1\n"))
    start = time.perf_counter()
    format_source(Source("a.ev3", text))
    assert time.perf_counter() - start < 3  # a second, on a machine that does other things too
