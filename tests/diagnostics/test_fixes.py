from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ev3lang.diagnostics.diagnostic import Diagnostic, Edit, Fix, Safety
from ev3lang.diagnostics.fixes import apply_safe
from ev3lang.source import Source, Span


def fault(source: Source, *edits: tuple[int, int, str], safety: Safety = "safe") -> Diagnostic:
    written = tuple(Edit(Span(source, start, end), text) for start, end, text in edits)
    return Diagnostic("some-fault", "wrong", None, fixes=(Fix("mend it", written, safety),))


def test_safe_fixes_are_applied_together() -> None:
    source = Source("a.ev3", "one two three")
    found = [fault(source, (8, 13, "3")), fault(source, (0, 3, "1"), (4, 7, "2"))]
    assert apply_safe(source, found) == ("1 2 3", 2)


def test_an_unsafe_fix_is_left_to_a_person() -> None:
    source = Source("a.ev3", "one two")
    assert apply_safe(source, [fault(source, (0, 3, "1"), safety="unsafe")]) == ("one two", 0)


def test_of_fixes_that_overlap_the_first_is_applied_whole() -> None:
    source = Source("a.ev3", "one two")
    found = [fault(source, (0, 5, "1")), fault(source, (4, 7, "2"), (0, 0, "> "))]
    assert apply_safe(source, found) == ("1wo", 1)


def test_two_insertions_at_one_place_are_not_both_made() -> None:
    source = Source("a.ev3", "one")
    found = [fault(source, (0, 0, "ev3 1\n")), fault(source, (0, 0, "ev3 1\n"))]
    assert apply_safe(source, found) == ("ev3 1\none", 1)


def test_a_fix_that_edits_another_file_too_is_left_out_whole() -> None:
    source, other = Source("a.ev3", "one"), Source("b.ev3", "two")
    edits = (Edit(Span(source, 0, 3), "1"), Edit(Span(other, 0, 3), "2"))
    found = Diagnostic("some-fault", "wrong", None, fixes=(Fix("mend both", edits, "safe"),))
    assert apply_safe(source, [found]) == ("one", 0)


def test_one_of_several_ways_to_mend_a_fault_is_taken() -> None:
    source = Source("a.ev3", "one two")
    ways = fault(source, (0, 3, "1")).fixes + fault(source, (4, 7, "2")).fixes
    assert apply_safe(source, [Diagnostic("x", "wrong", None, fixes=ways)]) == ("1 two", 1)


def test_new_lines_end_as_the_others_of_the_file() -> None:
    source = Source("a.ev3", "one\r\ntwo\r\n")
    assert apply_safe(source, [fault(source, (0, 0, "zero\n"))])[0] == "zero\r\none\r\ntwo\r\n"


@given(st.text(max_size=20), st.data())
def test_what_no_edit_touches_stays(text: str, data: st.DataObject) -> None:
    source = Source("a.ev3", text)
    ends = st.integers(0, len(text))
    spans = data.draw(st.lists(st.tuples(ends, ends).map(sorted), max_size=6))
    new, applied = apply_safe(source, [fault(source, (a, b, "")) for a, b in spans])
    removed = {index for a, b in spans for index in range(a, b)}
    assert applied <= len(spans)
    assert len(new) >= len(text) - len(removed)
    assert all(char in text for char in new)
