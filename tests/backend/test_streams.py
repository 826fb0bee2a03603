"""Batches: every epoch shows each example once, and every draw is named."""

from __future__ import annotations

import attrs
import jax
import numpy as np
import pytest

from ev3lang.backend import streams
from ev3lang.backend.keys import named
from ev3lang.plan.plan import Apply, Constant, Derived, Normalized
from tests.plan import examples

KEY = jax.random.key(0)


def draw(stream: streams.Stream, batch: int, steps: int) -> tuple[streams.Stream, np.ndarray]:
    stream, rows = jax.jit(lambda s: streams.draw(s, KEY, batch=batch, steps=steps))(stream)
    return stream, np.asarray(rows)


@pytest.mark.parametrize(("count", "batch"), [(12, 4), (13, 4), (5, 5), (7, 1)])
def test_an_epoch_shows_no_example_twice_and_drops_less_than_a_batch(
    count: int, batch: int
) -> None:
    epoch = count // batch
    _, rows = draw(streams.start(KEY, count), batch, 3 * epoch)
    for begin in range(0, len(rows), epoch):
        shown = rows[begin : begin + epoch].ravel()
        assert len(set(shown)) == len(shown) == epoch * batch
        assert set(shown) <= set(range(count))


def test_epochs_are_shuffled_anew() -> None:
    _, rows = draw(streams.start(KEY, 64), 64, 3)
    assert not np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[1], rows[2])


def test_a_dropped_example_is_not_the_same_in_every_epoch() -> None:
    _, rows = draw(streams.start(KEY, 5), 4, 40)
    left_out = {(set(range(5)) - set(row)).pop() for row in rows}
    assert left_out == set(range(5))


def test_drawing_in_two_parts_is_drawing_at_once() -> None:
    start = streams.start(KEY, 50)
    whole_end, whole = draw(start, 8, 20)
    middle, first = draw(start, 8, 7)
    parts_end, second = draw(middle, 8, 13)
    np.testing.assert_array_equal(whole, np.concatenate([first, second]))
    jax.tree.map(np.testing.assert_array_equal, whole_end, parts_end)


def test_more_examples_than_there_are_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError, match="passed the checks"):
        draw(streams.start(KEY, 3), 4, 1)


def test_gather_takes_whole_examples() -> None:
    fields = {"x": np.arange(12.0).reshape(4, 3), "y": np.arange(4)}
    rows = np.array([[2, 0], [3, 3]])
    taken = streams.gather(jax.tree.map(jax.numpy.asarray, fields), jax.numpy.asarray(rows))
    np.testing.assert_array_equal(taken["x"], fields["x"][rows])
    np.testing.assert_array_equal(taken["y"], rows)


def test_a_key_depends_on_names_and_counters_and_on_their_order() -> None:
    keys = [
        named(KEY, "dropout", "a", 1),
        named(KEY, "dropout", "b", 1),
        named(KEY, "dropout", "a", 2),
        named(KEY, "batches", "a", 1),
        named(KEY, "a", "dropout", 1),
        KEY,
    ]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == len(keys)
    assert named(KEY, "dropout", "a", 1) == keys[0]


def test_a_fresh_draw_is_derived_and_normalised() -> None:
    label = examples.moons_label
    one_more = Apply("+", (label, Constant(1, examples.REAL)), examples.REAL, "example")
    data = attrs.evolve(
        examples.MOONS.data,
        derived=(Derived("next", one_more, examples.REAL),),
        normalized=(Normalized("point", (0.5, 0.25), (2.0, 4.0)),),
    )
    plain = streams.fresh(examples.MOONS.data, KEY, 100)
    fields = streams.fresh(data, KEY, 100)
    np.testing.assert_array_equal(fields["next"], plain["label"] + 1)
    expected = (np.asarray(plain["point"]) - [0.5, 0.25]) / [2.0, 4.0]
    np.testing.assert_allclose(fields["point"], expected, rtol=1e-6)
