"""Made-up data: shapes, moments, noise, and a Bayes error known beforehand."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ev3lang.backend import sources
from ev3lang.catalog.index import SOURCES

KEY = jax.random.key(0)
MANY = 40_000
OPTIONS = {
    "two_moons": {"noise": 0.3},
    "gaussian_clusters": {"classes": 4, "distance": 3.0, "dimensions": 5},
    "teacher_network": {
        "classes": 3,
        "dimensions": 5,
        "hidden": 16,
        "temperature": 0.0,
        "seed": 0,
    },
}


def test_endless_sources_have_the_names_of_their_twins() -> None:
    endless = {name for name, source in SOURCES.items() if source.rows_option is not None}
    assert endless == sources.TABLE.keys()


@pytest.mark.parametrize("name", OPTIONS)
def test_fields_are_those_that_the_catalogue_declares(name: str) -> None:
    options = (*OPTIONS[name].items(), ("n", None))
    draw = functools.partial(sources.draw, name, count=7, options=options)
    found = jax.eval_shape(lambda key: draw(key=key), KEY)
    declared = dict(SOURCES[name].fields)
    assert found.keys() == declared.keys()
    for field, type_ in declared.items():
        sizes = tuple(OPTIONS[name].get(size, size) for size in type_.dimensions)
        is_label = type_.kind == "class"
        assert found[field].shape == ((7,) if is_label else (7, *sizes))
        assert found[field].dtype == (jnp.int32 if is_label else jnp.float32)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_key_decides_the_draw(name: str) -> None:
    draw = sources.TABLE[name]
    first, again, other = (draw(jax.random.key(seed), 50, **OPTIONS[name]) for seed in (0, 0, 1))
    for field in first:
        np.testing.assert_array_equal(first[field], again[field])
        assert not np.array_equal(first[field], other[field])


@pytest.mark.parametrize("name", sorted(set(OPTIONS) - {"teacher_network"}))
def test_classes_are_equally_likely(name: str) -> None:
    label = np.asarray(sources.TABLE[name](KEY, MANY, **OPTIONS[name])["label"])
    classes = OPTIONS[name].get("classes", 2)
    counts = np.bincount(label, minlength=classes)
    assert len(counts) == classes
    assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_moons_without_noise_are_half_circles() -> None:
    drawn = sources.two_moons(KEY, MANY, noise=0.0)
    point, label = np.asarray(drawn["point"], np.float64), np.asarray(drawn["label"])
    upper, lower = point[label == 0], point[label == 1]
    np.testing.assert_allclose(np.hypot(*upper.T), 1, atol=1e-6)
    assert upper[:, 1].min() >= -1e-6
    np.testing.assert_allclose(np.hypot(*(lower - [1.0, 0.5]).T), 1, atol=1e-6)
    assert lower[:, 1].max() <= 0.5 + 1e-6
    # Places are uniform along each half circle.
    angle = np.arctan2(upper[:, 1], upper[:, 0])
    assert scipy.stats.kstest(angle / math.pi, "uniform").pvalue > 1e-4


def test_noise_of_moons_is_normal_with_the_given_deviation() -> None:
    noisy = sources.two_moons(KEY, MANY, noise=0.3)
    clean = sources.two_moons(KEY, MANY, noise=0.0)
    np.testing.assert_array_equal(noisy["label"], clean["label"])
    noise = np.asarray(noisy["point"] - clean["point"], np.float64).ravel() / 0.3
    assert scipy.stats.kstest(noise, "norm").pvalue > 1e-4


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_neighbouring_centers_are_as_far_apart_as_asked(classes: int) -> None:
    centers = np.asarray(sources.cluster_centers(classes, 3.0, 4))
    assert centers.shape == (classes, 4)
    np.testing.assert_allclose(centers.mean(axis=0), 0, atol=1e-6)
    neighbours = np.linalg.norm(centers - np.roll(centers, 1, axis=0), axis=-1)
    np.testing.assert_allclose(neighbours, 3.0, rtol=1e-5)
    assert not centers[:, 2:].any()


def test_clusters_are_standard_normal_around_their_centers() -> None:
    drawn = sources.gaussian_clusters(KEY, MANY, **OPTIONS["gaussian_clusters"])
    centers = sources.cluster_centers(4, 3.0, 5)
    rest = np.asarray(drawn["point"] - centers[drawn["label"]], np.float64)
    np.testing.assert_allclose(np.cov(rest.T), np.eye(5), atol=0.04)
    assert scipy.stats.kstest(rest.ravel(), "norm").pvalue > 1e-4


@pytest.mark.parametrize("distance", [1.0, 2.0, 4.0])
def test_two_clusters_have_the_known_bayes_error(distance: float) -> None:
    drawn = sources.gaussian_clusters(KEY, MANY, classes=2, distance=distance, dimensions=3)
    centers = sources.cluster_centers(2, distance, 3)
    gaps = jnp.linalg.norm(drawn["point"][:, None] - centers, axis=-1)
    error = float(jnp.mean(jnp.argmin(gaps, axis=-1) != drawn["label"]))
    expected = scipy.stats.norm.cdf(-distance / 2)
    # Four standard errors of a proportion.
    assert error == pytest.approx(expected, abs=4 * math.sqrt(expected / MANY))


def test_a_teacher_network_labels_alike_whatever_the_draw() -> None:
    """Nearest neighbours in another draw mostly agree, and every class occurs."""
    options = OPTIONS["teacher_network"] | {"dimensions": 2}
    one, other = (sources.teacher_network(jax.random.key(k), 4000, **options) for k in (0, 1))
    apart = jnp.sum((one["point"][:200, None] - other["point"][None]) ** 2, -1)
    nearest = other["label"][jnp.argmin(apart, axis=1)]
    assert float(jnp.mean(nearest == one["label"][:200])) > 0.9
    assert set(np.unique(one["label"])) == {0, 1, 2}


def test_a_warm_teacher_network_errs_as_often_as_it_says() -> None:
    cold = OPTIONS["teacher_network"]
    sure = sources.teacher_network(KEY, MANY, **cold)["label"]
    shares = [
        float(
            np.mean(
                sources.teacher_network(KEY, MANY, **cold | {"temperature": t})["label"] == sure
            )
        )
        for t in (0.01, 0.3, 100.0)
    ]
    assert shares[0] > 0.97 > shares[1] > shares[2]
    assert shares[2] == pytest.approx(1 / 3, abs=0.02)
