from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from ev3lang.diagnostics.diagnostic import FORMATS, Diagnostic, Edit, Fix, Label, summary
from ev3lang.diagnostics.render import render
from ev3lang.source import Source, Span

SPEC = """\
ev3 1

data digits = sklearn.digits()

model net: image -> logits(label) = mlp(hidden: [64, 64])
loss entropy = cross_entropy(net(image), label)

explore net {
  descend entropy with adamw(1e-3) for 100 steps
}

assess net { rank by acuracy then net }
"""


def place(source: Source, text: str, nth: int = 0) -> Span:
    """Where the nth occurrence of a text is."""
    start = -1
    for _ in range(nth + 1):
        start = source.text.index(text, start + 1)
    return Span(source, start, start + len(text))


def text(*diagnostics: Diagnostic, width: int = 80) -> str:
    return render(diagnostics, "text", color=False, width=width)


def fault(span: Span | None, **more: object) -> Diagnostic:
    return Diagnostic("some-fault", "something is wrong", span, **more)  # type: ignore[arg-type]


# ---------------------------------------------------------------- text


def test_an_unknown_name_with_help_and_fix() -> None:
    source = Source("specs/a.ev3", SPEC)
    span = place(source, "acuracy")
    diagnostic = Diagnostic(
        "unknown-name",
        "no name `acuracy`",
        span,
        help="declare it, or write a name that is declared",
        fixes=(Fix("write `accuracy`", (Edit(span, "accuracy"),), "safe"),),
    )
    shown = text(diagnostic)
    expected = """\
error[unknown-name]: no name `acuracy`
  --> specs/a.ev3:12:22
   |
12 | assess net { rank by acuracy then net }
   |                      ^^^^^^^
   = help: declare it, or write a name that is declared
   = fix: write `accuracy`
12 - assess net { rank by acuracy then net }
12 + assess net { rank by accuracy then net }
"""
    assert shown == expected


def test_labels_show_the_other_places_and_leave_out_what_lies_between() -> None:
    source = Source("a.ev3", SPEC)
    diagnostic = Diagnostic(
        "some-fault",
        "`net` is not a number",
        place(source, "net", 4),
        severity="warning",
        labels=(
            Label(place(source, "net"), "declared here"),
            Label(place(source, "image"), "and its input"),
            Label(place(source, "mlp(hidden: [64, 64])"), "so it is a network"),
        ),
    )
    shown = text(diagnostic)
    expected = """\
warning[some-fault]: `net` is not a number
  --> a.ev3:12:35
   |
 5 | model net: image -> logits(label) = mlp(hidden: [64, 64])
   |       --- declared here
   |            ----- and its input
   |                                     ---------------------
   |                                     so it is a network
 ...
12 | assess net { rank by acuracy then net }
   |                                   ^^^
"""
    assert shown == expected


def test_a_label_on_the_primary_place_is_its_words() -> None:
    source = Source("a.ev3", SPEC)
    span = place(source, "label)", 1)
    shown = text(fault(span, labels=(Label(span, "class[10]"),)))
    expected = """\
error[some-fault]: something is wrong
 --> a.ev3:6:42
  |
6 | loss entropy = cross_entropy(net(image), label)
  |                                          ^^^^^^ class[10]
"""
    assert shown == expected


def test_marks_that_say_nothing_share_a_row_and_one_skipped_line_is_shown() -> None:
    source = Source("a.ev3", SPEC)
    diagnostic = fault(
        place(source, "entropy"),
        labels=(Label(place(source, "net(image)"), ""), Label(place(source, "explore"), "here")),
    )
    shown = text(diagnostic)
    expected = """\
error[some-fault]: something is wrong
 --> a.ev3:6:6
  |
6 | loss entropy = cross_entropy(net(image), label)
  |      ^^^^^^^                 ----------
7 |
8 | explore net {
  | ------- here
"""
    assert shown == expected


def test_a_short_span_is_marked_on_every_line() -> None:
    source = Source("a.ev3", SPEC)
    start = place(source, "explore net").start
    end = place(source, "}\n").end
    shown = text(fault(Span(source, start, end)))
    expected = """\
error[some-fault]: something is wrong
  --> a.ev3:8:1
   |
 8 | explore net {
   | ^^^^^^^^^^^^^
 9 |   descend entropy with adamw(1e-3) for 100 steps
   |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
10 | }
   | ^
"""
    assert shown == expected


def test_a_long_span_is_marked_where_it_starts_and_ends() -> None:
    source = Source("a.ev3", SPEC)
    span = place(source, "data").to(place(source, "100 steps"))
    label = Label(span, "all of this")
    shown = text(fault(span, labels=(label,)))
    expected = """\
error[some-fault]: something is wrong
 --> a.ev3:3:1
  |
3 | data digits = sklearn.digits()
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
...
9 |   descend entropy with adamw(1e-3) for 100 steps
  |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ all of this
"""
    assert shown == expected


def test_tabs_wide_letters_and_combining_marks_keep_the_mark_below_its_text() -> None:
    source = Source("a.ev3", "\tloss 漢字 = cafe\u0301(x)\tbad # e\u0301\n")
    shown = text(fault(place(source, "bad")))
    expected = """\
error[some-fault]: something is wrong
 --> a.ev3:1:21
  |
1 |     loss 漢字 = café(x) bad # é
  |                         ^^^
""".replace("é", "e\u0301")
    assert shown == expected
    wide = text(fault(place(source, "字"))).splitlines()[-1]
    assert wide == "  |            ^^"
    combining = text(fault(place(source, "\u0301"))).splitlines()[-1]
    assert combining == "  |                    ^"


def test_joined_emoji_are_one_sign() -> None:
    family = "👨\u200d👩\u200d👧"
    source = Source("a.ev3", f"# {family} bad")
    assert text(fault(place(source, "bad"))).splitlines()[-1] == "  |      ^^^"
    assert text(fault(place(source, "👧"))).splitlines()[-1] == "  |   ^^"


def test_a_long_line_is_cut_around_the_span() -> None:
    source = Source("a.ev3", "a" * 3000 + " bad " + "b" * 5000)
    shown = text(fault(place(source, "bad")), width=40)
    expected = """\
error[some-fault]: something is wrong
 --> a.ev3:1:3002
  |
1 | …aaaaaaaaaaaaaa bad bbbbbbbbbbbbbbb…
  |                 ^^^
"""
    assert shown == expected


def test_a_long_line_is_shown_once_for_each_place_that_is_far_away() -> None:
    source = Source("a.ev3", "first " + "漢" * 3000 + " last")
    label = Label(place(source, "first"), "this")
    shown = text(fault(place(source, "last"), labels=(label,)), width=30)
    expected = """\
error[some-fault]: something is wrong
 --> a.ev3:1:3008
  |
1 | first 漢漢漢漢漢漢漢漢漢…
  | ----- this
1 | …漢漢漢漢漢漢漢漢漢 last
  |                     ^^^^
"""
    assert shown == expected


def test_words_without_room_behind_their_mark_stand_below_it() -> None:
    source = Source("a.ev3", "x" * 30 + " bad")
    span = place(source, "bad")
    label = Label(span, "a word that is not known here")
    shown = text(fault(span, labels=(label,)), width=40)
    expected = """\
error[some-fault]: something is wrong
 --> a.ev3:1:32
  |
1 | xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx bad
  |                                ^^^
  |        a word that is not known here
"""
    assert shown == expected


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_end_of_the_file_can_be_pointed_at(ending: str) -> None:
    source = Source("a.ev3", "ev3 1\nexplore net {" + ending)
    shown = text(fault(Span(source, len(source.text), len(source.text))))
    line, mark = shown.splitlines()[-2:]
    if ending:
        assert (line, mark) == ("3 |", "  | ^")
    else:
        assert (line, mark) == ("2 | explore net {", "  |              ^")


def test_a_span_that_ends_with_its_line_break_marks_one_line() -> None:
    source = Source("a.ev3", SPEC)
    lines = text(fault(place(source, "image), label)\n"))).splitlines()
    assert lines[-1] == "  |                                  ^^^^^^^^^^^^^^"
    assert len(lines) == 5


def test_an_empty_file_and_no_place_at_all() -> None:
    empty = Source("a.ev3", "")
    shown = text(fault(Span(empty, 0, 0)), fault(None, help="look again"))
    expected = """\
error[some-fault]: something is wrong
  = help: look again

error[some-fault]: something is wrong
 --> a.ev3:1:1
  |
1 |
  | ^
"""
    assert shown == expected


def test_a_second_file_has_its_own_excerpt() -> None:
    here, there = Source("a.ev3", "use it"), Source("b.ev3", "\nlet it = 1")
    diagnostic = fault(place(here, "it"), labels=(Label(place(there, "it"), "declared here"),))
    shown = text(diagnostic)
    expected = """\
error[some-fault]: something is wrong
 --> a.ev3:1:5
  |
1 | use it
  |     ^^
 ::: b.ev3:2:5
  |
2 | let it = 1
  |     -- declared here
"""
    assert shown == expected


def test_a_fix_that_adds_a_line_shows_that_line() -> None:
    source = Source("a.ev3", "# about\ndata d = x()\n")
    fix = Fix("say the edition", (Edit(Span(source, 0, 0), "ev3 1\n\n"),))
    assert text(fault(Span(source, 0, 0), fixes=(fix,))).splitlines()[-3:] == [
        "  = possible fix: say the edition",
        "1 + ev3 1",
        "2 +",
    ]


def test_a_fix_in_several_places_shows_each_with_its_new_line_number() -> None:
    source = Source("a.ev3", "one\ntwo\nthree\nfour\nfive\n")
    edits = (
        Edit(place(source, "four"), "4"),
        Edit(place(source, "one"), "1\n1"),
        Edit(place(source, "two\n"), ""),
    )
    shown = text(fault(place(source, "one"), fixes=(Fix("count", edits, "safe"),)))
    assert shown.splitlines()[-6:] == [
        "1 - one",
        "1 + 1",
        "2 + 1",
        "2 - two",
        "4 - four",
        "4 + 4",
    ]


def test_help_is_wrapped_under_its_first_word() -> None:
    shown = text(fault(None, help="one two three four five six"), width=30)
    expected = """\
error[some-fault]: something is wrong
  = help: one two three four five
          six
"""
    assert shown == expected


def test_control_characters_are_never_passed_on() -> None:
    source = Source("a\x1b.ev3", "x \x1b[31m \u202e bad \x00 \ud800")
    shown = text(Diagnostic("some-fault", "wrong \x07", place(source, "bad")))
    assert not {c for c in shown if unicodedata.category(c) in ("Cc", "Cs")} - {"\n"}
    assert "\u202e" not in shown
    shown.encode("utf-8")
    assert shown.splitlines()[-2:] == [
        "1 | x \ufffd[31m \ufffd bad \ufffd \ufffd",
        "  |           ^^^",
    ]


def test_colours_change_no_letter() -> None:
    source = Source("a.ev3", SPEC)
    span = place(source, "acuracy")
    fix = Fix("write `accuracy`", (Edit(span, "accuracy"),))
    diagnostics = (
        fault(span, fixes=(fix,), help="look again"),
        fault(place(source, "net"), severity="warning", labels=(Label(span, "here"),)),
    )
    for output_format in ("text", "concise"):
        plain = render(diagnostics, output_format, color=False, width=80)
        colored = render(diagnostics, output_format, color=True, width=80)
        assert "\x1b[1;31merror[some-fault]\x1b[0m" in colored
        stripped = re.sub(r"\x1b\[[0-9;]*m", "", colored)
        assert [line.rstrip() for line in stripped.split("\n")] == plain.split("\n")


# Without joiners: a terminal's idea of their width is not a sum.
lines = st.text(alphabet="ab {}\t漢é\u0301\x1b…", max_size=60)


@given(st.lists(lines, min_size=1, max_size=4), st.data(), st.integers(30, 60))
def test_every_mark_lies_below_its_text(rows: list[str], data: st.DataObject, width: int) -> None:
    source = Source("a.ev3", "\n".join(rows))
    start = data.draw(st.integers(0, len(source.text)))
    line_end = source.text.find("\n", start)
    last = len(source.text) if line_end < 0 else line_end
    end = data.draw(st.integers(start, last))
    shown = text(fault(Span(source, start, end)), width=width).splitlines()
    code, marks = shown[-2][4:], shown[-1][4:]
    assert cell_len(code) <= max(width - 4, 24)
    low, high = len(marks) - len(marks.lstrip()), len(marks)

    # What stands above the mark is what the span holds, as far as it is shown.
    column, above = 0, ""
    for char in code:
        if low <= column < high and cell_len(char):
            above += char
        column += cell_len(char)
    wanted = re.sub("\x1b", "\ufffd", Span(source, start, end).text)
    visible = [char for char in wanted if char not in "\t\u0301"]
    if visible and "…" not in code:
        assert [char for char in above if char != " "] == [c for c in visible if c != " "]


@given(st.permutations(range(6)))
def test_the_order_is_by_file_and_position_whatever_came_first(order: list[int]) -> None:
    a, b = Source("a.ev3", SPEC), Source("b.ev3", SPEC)
    spans = [
        None,
        *(Span(a, at, at + 1) for at in (3, 40)),
        *(Span(b, at, at + 2) for at in (1, 2, 9)),
    ]
    diagnostics = tuple(fault(span) for span in spans)
    shuffled = tuple(diagnostics[index] for index in order)
    for output_format in FORMATS:
        assert render(shuffled, output_format, color=False, width=80) == render(
            diagnostics, output_format, color=False, width=80
        )


# ---------------------------------------------------------------- concise, summary


def test_concise_is_a_line_each() -> None:
    source = Source("specs/a.ev3", SPEC)
    diagnostics = (
        fault(place(source, "acuracy")),
        fault(place(source, "net"), severity="warning"),
        fault(None),
    )
    shown = render(diagnostics, "concise", color=False, width=10)
    expected = """\
error[some-fault] something is wrong
specs/a.ev3:5:7: warning[some-fault] something is wrong
specs/a.ev3:12:22: error[some-fault] something is wrong
"""
    assert shown == expected


def test_nothing_wrong_is_nothing_written() -> None:
    assert render((), "text", color=True, width=80) == ""
    assert render((), "concise", color=True, width=80) == ""
    assert summary(()) == "no errors"


def test_the_summary_counts_in_words() -> None:
    error, warning = fault(None), fault(None, severity="warning")
    assert summary((error,)) == "1 error"
    assert summary((warning, error, error)) == "2 errors, 1 warning"
    assert summary((warning, warning)) == "2 warnings"


def test_an_unknown_format_is_the_callers_fault() -> None:
    with pytest.raises(
        ValueError, match="output format 'xml', expected one of text, concise, json"
    ):
        render((), "xml", color=False, width=80)
