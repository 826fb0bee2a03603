"""Rule `reference` decides what the published rule decides, iteration for iteration.

The program runs; beside it the published rule, in NumPy, is fed with what each model makes of each
example, computed outside the program from the weights that it explored. It keeps its own current
and accepted weights, and its own count of which examples are drawn.
"""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ev3lang.backend.emit import iterate, start
from ev3lang.backend.explore import explore
from ev3lang.backend.layout import explored_chains, held
from ev3lang.backend.rollout import part
from ev3lang.backend.state import Decision, RunState
from ev3lang.backend.streams import Data
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Claim, ObjectivePlan, Plan, Reference
from tests.oracle import interpreter, published
from tests.plan import examples

Fields = dict[str, Any]
Choice = tuple[str, bool]
"""Who wins, and whether it is accepted."""

ITERATIONS = 110


def ruled(
    plan: Plan,
    objective: ObjectivePlan,
    *,
    ranked_by: ObjectivePlan | None = None,
    assess: float = 0.5,
    decide: float = 1.96,
    evaluate: int | None,
) -> Plan:
    """The plan with rule `reference`."""
    claim = Claim(objective, 1.0, 0.0, "mcnemar" if objective.is_binary else "betting")
    return attrs.evolve(
        plan,
        ranking=examples.by(ranked_by or objective),
        rule=Reference((claim,), assess, decide, evaluate),
    )


MINIMIZED = attrs.evolve(
    examples.FOUR,
    objectives=(examples.ERROR, examples.LOG_LOSS),
    descents=examples.FOUR.descents[:3],
    shown=(),
)

PLANS = {
    "draws from a split": ruled(examples.FOUR, examples.ACCURACY, evaluate=4),
    "a split whole": ruled(examples.FOUR, examples.ACCURACY, assess=1.0, decide=0.5, evaluate=None),
    "endless": ruled(examples.MOONS, examples.MOONS_ACCURACY, decide=1.0, evaluate=8),
    "a share to minimize, ranked by the mean": ruled(
        MINIMIZED, examples.ERROR, assess=0.0, decide=0.7, evaluate=6
    ),
    "a real to minimize, ranked by a share": ruled(
        MINIMIZED, examples.LOG_LOSS, ranked_by=examples.ERROR, assess=2.0, evaluate=5
    ),
}
SEEDS = (0, 1)


def epochs(key: Any, use: str, count: int, size: int) -> Iterator[np.ndarray]:
    """The rows of one draw after the other, in shuffled epochs."""
    epoch = 0
    while True:
        place = zlib.crc32(f"evaluate {use}".encode())
        shuffled = jax.random.fold_in(jax.random.fold_in(key, place), epoch)
        order = np.asarray(jax.random.permutation(shuffled, count))
        for begin in range(0, count - size + 1, size):
            yield order[begin : begin + size]
        epoch += 1


def draws(plan: Plan, tables: dict[str, Fields], key: Any, use: str) -> Iterator[Fields]:
    """What a use is measured on, iteration after iteration."""
    assert isinstance(plan.rule, Reference)
    evaluate, batch = plan.rule.evaluate, plan.data.batch
    if plan.data.is_endless:
        assert evaluate is not None
        named = jax.random.fold_in(key, zlib.crc32(use.encode()))
        fresh = jax.jit(
            lambda iteration: interpreter._fresh(
                plan, jax.random.fold_in(named, iteration), evaluate * batch
            )
        )
        for iteration in itertools.count():
            yield fresh(iteration)
    if evaluate is None:
        while True:
            yield tables[use]
    for rows in epochs(key, use, len(tables[use]["label"]), evaluate * batch):
        yield {name: field[rows] for name, field in tables[use].items()}


@attrs.frozen(eq=False)
class Programs:
    """A plan's program, with what it explores in sight, and the metrics outside of it.

    start    (key) -> the first state
    step     (state) -> the state and record of an iteration, and each candidate's weights
    ranked, decided   (weights, fields) -> a metric to be maximised, of each example
    """

    start: Callable[[Any], RunState]
    step: Callable[[RunState], Any]
    ranked: Callable[[Any, Fields], np.ndarray]
    decided: Callable[[Any, Fields], np.ndarray]


def programs(plan: Plan, tables: dict[str, Fields]) -> Programs:
    assert isinstance(plan.rule, Reference)
    splits = {
        use: {name: jnp.asarray(field) for name, field in tables.get(use, {}).items()}
        for use in ("explore", "assess", "adapt")
    }
    data, fused = Data(splits, {}, {}), fuse(plan, "cpu")

    def step(state: RunState) -> Any:
        _, restore = held(state.current, explored_chains(plan))
        weights = explore(fused, state, data)[1].weights
        names = [each.name for each in plan.candidates]
        proposed = {name: restore(part(weights, k)) for k, name in enumerate(names)}
        return iterate(fused, data, state), proposed

    def column(objective: ObjectivePlan) -> Callable[[Any, Fields], np.ndarray]:
        value = jax.jit(
            lambda params, fields: interpreter._evaluate(objective.value, fields, plan, params)
        )
        return lambda params, fields: objective.sign * np.asarray(value(params, fields), float)

    (key,) = plan.ranking.keys
    return Programs(
        start=jax.jit(lambda key: start(plan, data, {}, key)),
        step=jax.jit(step),
        ranked=column(key),
        decided=column(plan.rule.objective),
    )


def decisions(plan: Plan, seed: int, ours: Programs, tables: dict[str, Fields]) -> Iterator[Choice]:
    """Runs program and published rule side by side; gives what the latter decides.

    Asserts in each iteration that chosen, current and accepted are the same.
    """
    rule = plan.rule
    assert isinstance(rule, Reference)
    key = jax.random.key(seed)
    names = [each.name for each in plan.candidates]
    state = ours.start(key)
    current = stable = state.current
    on_assess, on_adapt = (draws(plan, tables, key, use) for use in ("assess", "adapt"))
    for _ in range(ITERATIONS):
        (state, record), proposed = ours.step(state)
        fields = next(on_assess)
        # Proposals come in the order of their names: of equal ones the first counts.
        best = published.optimize(
            {name: ours.ranked(proposed[name], fields) for name in sorted(names)}, rule.assess
        )
        fields = next(on_adapt)
        update = published.decide(
            (best, ours.decided(proposed[best], fields)),
            ours.decided(current, fields),
            ours.decided(stable, fields),
            rule.decide,
        )
        models = {
            best: proposed[best],
            published.PARAMS: current,
            published.STABLE_PARAMS: stable,
        }
        current, stable = models[update.params], models[update.stable_params]
        assert names[int(record.chosen)] == best
        assert bool(record.moved) == (update.params == best)
        assert (int(record.decision) == Decision.ACCEPTED) == update.significantly_better
        assert_equal(state.current, current)
        assert_equal(state.accepted, stable)
        winner = update.params if update.params in published.KEPT else "best"
        yield winner, update.significantly_better


def assert_equal(ours: Any, theirs: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize("name", PLANS)
def test_every_decision_is_the_published_rules(name: str) -> None:
    plan = PLANS[name]
    tables = {} if plan.data.is_endless else examples.clouds()
    ours = programs(plan, tables)
    found = Counter(decision for seed in SEEDS for decision in decisions(plan, seed, ours, tables))
    assert found.total() == len(SEEDS) * ITERATIONS
    assert any(is_accepted for _, is_accepted in found), "a run that never accepts shows little"
    assert len({winner for winner, _ in found}) > 1, "one that always moves shows little too"


def test_a_thousand_iterations_are_compared() -> None:
    assert len(PLANS) * len(SEEDS) * ITERATIONS >= 1000
