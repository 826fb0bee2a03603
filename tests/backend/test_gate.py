"""The statistics of rule `gate` against SciPy in double precision, and the rule by simulation."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ev3lang.backend import gate

log_tail = jax.jit(jax.vmap(gate.log_tail))
upper_quantile = jax.jit(jax.vmap(gate.upper_quantile))


def exact_log_tail(wins: np.ndarray, losses: np.ndarray) -> np.ndarray:
    return scipy.stats.binom.logsf(wins - 1, wins + losses, 0.5)


def counts() -> tuple[np.ndarray, np.ndarray]:
    """Pairs from all scales up to 100,000: near balance, moderate, and one-sided."""
    rng = np.random.default_rng(0)
    total = np.concatenate(
        [np.arange(0, 40), (10 ** rng.uniform(1, 5, 2000)).astype(int), [100_000, 99_999]]
    )
    spread = rng.normal(size=total.size) * np.sqrt(total) * rng.choice([0.3, 1, 4, 10], total.size)
    wins = np.clip(np.round(total / 2 + spread), 0, total).astype(int)
    sided = np.arange(0, 2000, 37)
    wins = np.concatenate([wins, sided, sided, [0, 1, 0, 100_000, 99_999, 100_000]])
    losses = np.concatenate([total, 0 * sided, sided, [0, 0, 1, 0, 1, 99_000]])
    losses[: total.size] -= wins[: total.size]
    return wins, losses


def test_the_log_p_value_is_the_exact_binomial_tail_for_counts_up_to_100_000() -> None:
    wins, losses = counts()
    exact = exact_log_tail(wins, losses)
    ours = np.asarray(log_tail(wins, losses), np.float64)
    # SciPy's own tail underflows for the most one-sided pairs; there the closed form is known.
    exact = np.where(losses == 0, -wins * np.log(2), exact)
    known = np.isfinite(exact)
    assert known.mean() > 0.98
    assert np.all(np.isfinite(ours))
    np.testing.assert_allclose(ours[known], exact[known], rtol=1e-3, atol=1e-6)


def test_no_discordant_examples_give_a_p_value_of_one() -> None:
    assert float(gate.log_tail(jnp.int32(0), jnp.int32(0))) == 0.0
    assert not bool(gate.passes(jnp.int32(0), jnp.int32(0), jnp.float32(0.0)))


def test_the_margin_covers_the_error_where_levels_are_met() -> None:
    """At the scale of a decision (p between 1e-12 and 0.05) the error stays below the margin."""
    wins, losses = counts()
    exact = exact_log_tail(wins, losses)
    at_stake = (exact < np.log(0.05)) & (exact > np.log(1e-12))
    error = np.abs(np.asarray(log_tail(wins, losses), np.float64) - exact)[at_stake]
    assert at_stake.sum() > 200
    assert error.max() < gate.MARGIN


@pytest.mark.parametrize("level", [0.4, 0.05, 0.0025, 1e-6, 1e-12, 1e-30])
def test_the_quantile_is_the_normal_one(level: float) -> None:
    z = float(gate.upper_quantile(jnp.float32(np.log(level))))
    assert z == pytest.approx(scipy.stats.norm.isf(level), rel=1e-5, abs=1e-5)


def test_the_quantile_of_levels_beyond_every_float_is_met_by_its_own_tail() -> None:
    log_levels = -np.geomspace(80, 1e6, 40).astype(np.float32)
    z = np.asarray(upper_quantile(log_levels), np.float64)
    np.testing.assert_allclose(scipy.stats.norm.logsf(z), log_levels, rtol=2e-5)


def test_a_spent_budget_has_no_power() -> None:
    assert np.isposinf(float(gate.upper_quantile(jnp.float32(-jnp.inf))))
    assert float(gate.power(jnp.int32(90), jnp.int32(0), 1.0, jnp.float32(-jnp.inf))) == 0.0


def test_power_is_the_formula_of_the_design() -> None:
    for p, m, n_a, n, b in [(12, 3, 270, 270, 0.05), (40, 22, 270, 1000, 1e-5), (0, 0, 9, 90, 0.1)]:
        r = n / n_a
        shift = ((p - m) / np.sqrt(p + m + 1) - 0.5) * np.sqrt(r) - scipy.stats.norm.isf(b / 20)
        expected = scipy.stats.norm.cdf(shift / np.sqrt(1 + r))
        level = gate.level(jnp.float32(np.log(b)))
        assert float(gate.power(jnp.int32(p), jnp.int32(m), r, level)) == pytest.approx(
            expected, rel=1e-4, abs=1e-6
        )


def test_what_is_spent_and_what_is_left_add_up_to_the_budget() -> None:
    spent, accepted, rejected = np.exp(
        [gate.LOG_SPENT, gate.LOG_LEFT_ACCEPTED, gate.LOG_LEFT_REJECTED]
    )
    assert spent + accepted + rejected == pytest.approx(1.0)


def test_a_run_without_any_true_gain_accepts_at_most_as_often_as_promised() -> None:
    """Thousands of runs of 60 challengers that are no better, the best of four on assess each.

    A large share of discordant examples and few of them make the test as liberal as it gets;
    delta is large so that a broken ledger would show in few runs.
    """
    runs, iterations, delta, examples = 4000, 60, 0.2, 400

    def iteration(log_budget: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        assess_key, adapt_key = jax.random.split(key)
        differing = 80
        assess = jax.random.binomial(assess_key, differing, 0.5, (4,)).max().astype(jnp.int32)
        adapt = jax.random.binomial(adapt_key, differing, 0.5).astype(jnp.int32)
        level = gate.level(log_budget)
        predicted = gate.power(assess, differing - assess, 1.0, level)
        # Asked far more eagerly than the rule does: the promise may not rest on the power.
        is_asked = (assess > differing - assess) & (predicted >= 0.005)
        is_accepted = is_asked & gate.passes(adapt, differing - adapt, level)
        left = gate.budget_after(log_budget, is_accepted)
        return jnp.where(is_asked, left, log_budget), is_accepted

    @jax.jit
    @jax.vmap
    def run(key: jax.Array) -> jax.Array:
        loop_key, last_key = jax.random.split(key)
        start = jnp.log(jnp.float32(delta))
        log_budget, accepted = jax.lax.scan(
            iteration, start, jax.random.split(loop_key, iterations)
        )
        last = jax.random.binomial(last_key, examples, 0.5).astype(jnp.int32)
        return accepted.any() | gate.passes(last, examples - last, log_budget)

    share = float(run(jax.random.split(jax.random.key(0), runs)).mean())
    noise = 3 * np.sqrt(delta * (1 - delta) / runs)
    assert 0.0 < share <= delta + noise
