"""Metrics made of sums keep their digits beside an offset, at any scale and over many examples."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from ev3lang.backend import assess, bootstrap, metrics, units

RNG = np.random.default_rng(0)

OFFSETS = [
    (0, 1),
    (1e6, 1),
    (1.7e9, 1e5),
    (-1e5, 10),
    (0, 1e-20),
    (0, 1e20),
    (1e30, 1e28),
    (5, 1e-3),
]


def columns(offset: float, scale: float, size: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and target, float32."""
    target = RNG.normal(size=size)
    prediction = target + 0.5 * RNG.normal(size=size)
    both = offset + scale * np.stack([prediction, target])
    found: tuple[np.ndarray, np.ndarray] = tuple(both.astype(np.float32))
    return found


@pytest.mark.parametrize(("offset", "scale"), OFFSETS)
def test_regression_metrics_are_right_at_any_offset_and_scale(offset: float, scale: float) -> None:
    prediction, target = columns(offset, scale)
    # the same float32 numbers, in units in which float64 squares stay finite
    wide = [each.astype(np.float64) / scale for each in (prediction, target)]
    expected = {
        "r2_score": sklearn.metrics.r2_score(wide[1], wide[0]),
        "pearson_correlation": scipy.stats.pearsonr(*wide).statistic,
        "spearman_correlation": scipy.stats.spearmanr(*wide).statistic,
        "root_mean_squared_error": scale
        * sklearn.metrics.root_mean_squared_error(wide[1], wide[0]),
    }
    for name, value in expected.items():
        found = float(jax.jit(metrics.TABLE[name])(prediction, target))
        assert found == pytest.approx(value, rel=2e-6), name


def test_dimensions_of_one_target_may_have_different_scales() -> None:
    pairs = [columns(1e6, 1), columns(0, 1e-20), columns(-3, 1e10)]
    prediction, target = (np.stack(each, axis=1) for each in zip(*pairs, strict=True))
    expected = np.mean(
        [
            sklearn.metrics.r2_score(*(each.astype(np.float64) * 1e5 for each in (t, p)))
            for p, t in pairs
        ]
    )
    assert float(metrics.r2_score(prediction, target)) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 3.25, 1000.1, -1e30])
@pytest.mark.parametrize("size", [2, 41, 60, 128])
def test_what_is_undefined_of_a_constant_is_the_same_for_every_size(
    constant: float, size: int
) -> None:
    same = np.full(size, constant, np.float32)
    varied = RNG.normal(size=size).astype(np.float32)
    for prediction in (varied, same, 2 * same):
        assert np.isnan(jax.jit(metrics.r2_score)(prediction, same))
    assert np.isnan(metrics.r2_score(np.stack([varied, varied], 1), np.stack([varied, same], 1)))
    for name in ("pearson_correlation", "spearman_correlation"):
        correlation = jax.jit(metrics.TABLE[name])
        assert correlation(varied, same) == correlation(same, varied) == 0
        assert correlation(2 * same, same) == 0


@pytest.mark.parametrize("name", ["r2_score", "pearson_correlation", "root_mean_squared_error"])
def test_a_number_that_is_none_makes_the_metric_none(name: str) -> None:
    prediction, target = columns(0, 1, 20)
    prediction[3] = np.nan
    assert np.isnan(metrics.TABLE[name](prediction, target))


def test_a_group_gap_is_right_beside_an_offset() -> None:
    values = (1e6 + RNG.normal(size=1000)).astype(np.float32)
    group = RNG.integers(3, size=1000).astype(np.int32)
    means = [values[group == g].mean(dtype=np.float64) for g in range(3)]
    found = float(metrics.group_gap(values, group, groups=3))
    assert found == pytest.approx(max(means) - min(means), rel=1e-4)


def test_gradients_do_not_see_the_units() -> None:
    prediction, target = columns(2, 3, 20)
    for name in ("r2_score", "pearson_correlation", "root_mean_squared_error"):
        function = metrics.TABLE[name]
        found = jax.grad(lambda x, function=function: function(x, target))(jnp.asarray(prediction))
        for row in (0, 7):
            step = np.zeros(20, np.float32)
            step[row] = 0.05
            slope = (
                function(prediction + step, target) - function(prediction - step, target)
            ) / 0.1
            assert float(found[row]) == pytest.approx(float(slope), rel=2e-2, abs=2e-4)


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_standard_errors_are_right_at_any_scale(scale: float) -> None:
    drawn = RNG.normal(size=40)
    values = (scale * drawn).astype(np.float32)
    exact = scale * drawn.std(ddof=1) / np.sqrt(40)
    found = jax.jit(lambda x: units.standard_error(None, x))(values)
    assert float(found) == pytest.approx(exact, rel=1e-5)
    of = np.arange(40) // 4
    groups = units.units(of)
    deviations = np.array([(drawn[of == g] - drawn.mean()).sum() for g in range(10)])
    expected = scale * np.sqrt(np.sum(deviations**2) * 10 / 9) / 40
    assert float(units.standard_error(groups, jnp.asarray(values))) == pytest.approx(
        expected, rel=1e-5
    )
    sample = units.Sample({"x": jnp.asarray(values)})
    resampled = bootstrap.standard_error(
        lambda rows: jnp.mean(sample.fields["x"][rows]), jax.random.key(0), sample
    )
    assert float(resampled) == pytest.approx(exact, rel=0.3)
    below = jnp.asarray(values - np.float32(scale), jnp.float32)
    assert not assess.is_within_one_error(below)
    assert assess.is_within_one_error(values - values.mean() - np.float32(scale / 20))


@pytest.mark.slow
def test_counts_are_exact_beyond_what_float32_counts() -> None:
    size = 2**24 + 1001
    labels = np.zeros(size, np.int32)
    labels[-500:] = 1
    matrix = jax.jit(lambda a, b: metrics.confusion_matrix(a, b, classes=2))(labels, labels)
    expected = np.array([[size - 500, 0], [0, 500]], np.float32)
    np.testing.assert_array_equal(matrix, expected)
