from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from ev3lang.diagnostics.suggest import edit_distance, nearest

# Few letters, so that words share some.
words = st.text(alphabet="abcd_", max_size=7)
NO_LIMIT = 99


def levenshtein(a: str, b: str) -> int:
    """Insertions, deletions and replacements alone, by the definition."""
    if not a or not b:
        return len(a) + len(b)
    rest = levenshtein(a[1:], b[1:]) + (a[0] != b[0])
    if a[0] == b[0]:
        return rest
    return min(rest, levenshtein(a[1:], b) + 1, levenshtein(a, b[1:]) + 1)


def one_slip(word: str) -> set[str]:
    """All that one typing error makes of a word."""
    splits = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    letters = "abcd_"
    return {
        *(a + b[1:] for a, b in splits if b),
        *(a + letter + b for a, b in splits for letter in letters),
        *(a + letter + b[1:] for a, b in splits if b for letter in letters),
        *(a + b[1] + b[0] + b[2:] for a, b in splits if len(b) > 1),
    }


@given(words, words)
def test_distance_is_the_same_both_ways(a: str, b: str) -> None:
    assert edit_distance(a, b, NO_LIMIT) == edit_distance(b, a, NO_LIMIT)


@given(words, words)
def test_distance_is_zero_for_equal_words_alone(a: str, b: str) -> None:
    assert (edit_distance(a, b, NO_LIMIT) == 0) == (a == b)


@given(words, words)
def test_distance_lies_between_the_difference_of_lengths_and_the_longer_length(
    a: str, b: str
) -> None:
    distance = edit_distance(a, b, NO_LIMIT)
    assert abs(len(a) - len(b)) <= distance <= max(len(a), len(b))


@given(words, words)
def test_a_swap_saves_at_most_one_of_two_edits(a: str, b: str) -> None:
    distance = edit_distance(a, b, NO_LIMIT)
    assert distance <= levenshtein(a, b) <= 2 * distance


@given(words, words, words)
def test_a_detour_is_never_shorter_than_half_the_way(a: str, b: str, c: str) -> None:
    # The restricted form breaks the triangle inequality itself: ca, ac, abc.
    detour = edit_distance(a, b, NO_LIMIT) + edit_distance(b, c, NO_LIMIT)
    assert edit_distance(a, c, NO_LIMIT) <= 2 * detour


@given(words)
def test_one_slip_is_distance_one(word: str) -> None:
    assert {edit_distance(word, other, NO_LIMIT) for other in one_slip(word) - {word}} == {1}


@given(words, words, st.integers(0, 4))
def test_a_limit_only_cuts_off(a: str, b: str, limit: int) -> None:
    assert edit_distance(a, b, limit) == min(edit_distance(a, b, NO_LIMIT), limit + 1)


@given(words, st.lists(words, max_size=6, unique=True), st.randoms())
def test_the_nearest_name_does_not_depend_on_their_order(name, known, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = random.sample(known, len(known))
    assert nearest(name, known) == nearest(name, shuffled) == nearest(name, known + known)


@given(words, st.lists(words, max_size=6, unique=True))
def test_no_known_name_is_nearer_than_the_nearest(name: str, known: list[str]) -> None:
    distances = {other: edit_distance(name, other, NO_LIMIT) for other in known if other != name}
    limit = max(1, len(name) // 3)
    found = nearest(name, known)
    if found is None:
        assert all(distance > limit for distance in distances.values())
    else:
        assert distances[found] == min(distances.values()) <= limit


def test_familiar_slips_find_their_name() -> None:
    known = ["accuracy", "adam", "adamw", "cross_entropy", "net"]
    slips = {"acuracy": "accuracy", "adma": "adam", "crossentropy": "cross_entropy", "nte": "net"}
    assert {slip: nearest(slip, known) for slip in slips} == slips
    assert nearest("momentum", known) is None


def test_a_slip_is_found_among_thousands_of_names_in_no_time() -> None:
    known = [f"metric_number_{i}" for i in range(3000)]
    begin = time.process_time()
    assert nearest("metric_nubmer_2718", known) == "metric_number_2718"
    for i in range(300):
        assert nearest(f"metric_numbr_{i}", known) == f"metric_number_{i}"
    assert time.process_time() - begin < 10
