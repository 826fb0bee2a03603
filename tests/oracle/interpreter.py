"""The slow interpreter of plans: one candidate, one step, one example's verdict at a time.

It shares with the compiled program what is tested elsewhere (models, sources, the names of keys)
and nothing of what is tested here: batches, roll-outs, scores, ranking, evidence, stops are plain
Python, NumPy and SciPy in double precision. It starts from any state of the program and foretells
the next iteration.
"""

from __future__ import annotations

import functools
import math
import operator
import statistics
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats

from ev3lang.backend import models, sources
from ev3lang.backend.layout import explored_chains, held
from ev3lang.backend.state import RunState
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import (
    Apply,
    Constant,
    Descent,
    Expr,
    Field,
    Forward,
    ObjectivePlan,
    Plan,
    Weights,
)

Fields = dict[str, Any]


@attrs.frozen(eq=False)
class Foretold:
    """What the next iteration must do; names as in the program's record and state."""

    scores: np.ndarray
    loss: np.ndarray
    is_finite: np.ndarray
    chosen: int
    moved: bool
    wins: int
    losses: int
    power: float
    log_level: float
    decision: int
    log_budget: float
    current: Any
    accepted: Any
    current_steps: int
    accepted_steps: int
    lost_in_a_row: int
    outcome: int


def iterate(plan: Plan, tables: dict[str, Fields], state: RunState) -> Foretold:
    """The next iteration from a state."""
    ended = [_roll_out(plan, tables, state, k) for k in range(len(plan.descents))]
    losses = np.array([loss for _, loss in ended])

    assess = _examples(plan, tables, state, "assess")
    values = [_values(plan, plan.objectives, assess, state, params) for params, _ in ended]
    scores = np.array([[each.mean() for each in row.values()] for row in values])
    is_finite = np.array(
        [
            math.isfinite(loss)
            and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
            and all(np.isfinite(each).all() for each in row.values())
            for (params, loss), row in zip(ended, values, strict=True)
        ]
    )
    before = _values(plan, plan.objectives, assess, state, state.current)
    chosen = _best(plan, scores, is_finite)
    moved = chosen >= 0 and _moves(plan, values[chosen], before)
    current = ended[chosen][0] if moved else state.current
    current_values = values[chosen] if moved else before
    current_steps = int(state.current_steps) + moved * plan.descents[chosen].steps

    objective = plan.rule.claims[0].measure
    accepted_values = _values(plan, plan.objectives, assess, state, state.accepted)
    wins, lost = _discordant(objective, current_values, accepted_values)
    count = len(next(iter(assess.values())))
    adapt = _examples(plan, tables, state, "adapt")
    ratio = len(next(iter(adapt.values()))) / count
    log_level = float(state.log_budget) - math.log(20)
    predicted = _power(wins, lost, ratio, log_level)
    decision, log_budget = 0, float(state.log_budget)
    if is_finite.any() and wins > lost and predicted >= 0.9:
        mine = _values(plan, [objective], adapt, state, current)
        theirs = _values(plan, [objective], adapt, state, state.accepted)
        decision = 2 if _passes(*_discordant(objective, mine, theirs), log_level) else 1
        log_budget += math.log(0.9 if decision == 2 else 0.05)
    is_accepted = decision == 2
    lost_in_a_row = 0 if is_finite.any() else int(state.lost_in_a_row) + 1
    final_values = current_values if is_accepted else accepted_values
    return Foretold(
        scores=scores,
        loss=losses,
        is_finite=is_finite,
        chosen=chosen,
        moved=bool(moved),
        wins=wins,
        losses=lost,
        power=predicted,
        log_level=log_level,
        decision=decision,
        log_budget=log_budget,
        current=current,
        accepted=current if is_accepted else state.accepted,
        current_steps=current_steps,
        accepted_steps=current_steps if is_accepted else int(state.accepted_steps),
        lost_in_a_row=lost_in_a_row,
        outcome=_outcome(plan, int(state.iteration) + 1, final_values, lost_in_a_row),
    )


def close(plan: Plan, tables: dict[str, Fields], state: RunState) -> tuple[int, int, int]:
    """The last query from a state at its run's own stop: wins and losses on assess, the decision.

    For a finite source alone.
    """
    objective = plan.rule.claims[0].measure

    def counts(split: str) -> tuple[int, int]:
        fields = tables[split]
        return _discordant(
            objective,
            _values(plan, [objective], fields, state, state.current),
            _values(plan, [objective], fields, state, state.accepted),
        )

    wins, losses = counts("assess")
    if wins <= losses or np.isneginf(state.log_budget):
        return wins, losses, 0
    return wins, losses, 2 if _passes(*counts("adapt"), float(state.log_budget)) else 1


# ---------------------------------------------------------------- explore


def _roll_out(plan: Plan, tables: dict[str, Fields], state: RunState, k: int) -> tuple[Any, float]:
    """A candidate's weights and mean loss after its steps, one after the other."""
    candidate = plan.descents[k]
    weights, restore = held(state.current, explored_chains(plan))
    (link,) = candidate.optimizer.links
    options: dict[str, Any] = dict(link.options)
    if candidate.optimizer.decays == "matrices":
        options["mask"] = lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)
    chain = getattr(optax, link.name)(**options)
    opt_state = state.opt_states[k] if candidate.keeps_state else chain.init(weights.learned)
    gradient = _gradient(plan, candidate)
    losses = []
    for fields in _batches(plan, tables, state, candidate):
        values, slopes = [], []
        for part in _parts(fields, candidate.parts):
            (value, moved), grads = gradient(restore(weights), state.frozen, part)
            values.append(float(value))
            slopes.append(held(grads, explored_chains(plan))[0].learned)
            weights = attrs.evolve(weights, statistics=moved)
        slope = jax.tree.map(lambda *each: sum(each) / len(each), *slopes)
        updates, opt_state = chain.update(slope, opt_state, weights.learned)
        learned = jax.tree.map(lambda w, u: w + u, weights.learned, updates)
        weights = attrs.evolve(weights, learned=learned)
        losses.append(float(np.mean(values)))
    return restore(weights), float(np.mean(losses))


@functools.cache
def _gradient(plan: Plan, candidate: Descent) -> Callable[..., Any]:
    """A candidate's loss over examples, the running statistics behind it, and its gradient.

    Compiled, or the tests take minutes.
    """

    def loss(params: Any, frozen: Any, fields: Fields) -> Any:
        moved = {name: models.parted(own)[1] for name, own in params.items()}
        values = _evaluate(candidate.loss, fields, plan, {**frozen, **params}, moved)
        return jnp.mean(values), moved

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def _parts(fields: Fields, parts: int) -> list[Fields]:
    """The examples of a batch in equal parts, in their order."""
    size = len(next(iter(fields.values()))) // parts
    return [
        {name: field[place * size : (place + 1) * size] for name, field in fields.items()}
        for place in range(parts)
    ]


def _key(key: Any, *consumer: Any) -> Any:
    for part in consumer:
        key = jax.random.fold_in(key, zlib.crc32(part.encode()) if isinstance(part, str) else part)
    return key


def _batches(
    plan: Plan, tables: dict[str, Fields], state: RunState, candidate: Descent
) -> Iterator[Fields]:
    """A candidate's batches in this iteration."""
    is_fresh = plan.batches == "fresh"
    name = candidate.name if is_fresh else f"batches of {candidate.batch}"
    key = _key(state.key, "batches", name)
    if plan.data.split is None:
        for step in range(candidate.steps):
            step_key = _key(key, int(state.iteration), step)
            yield _fresh(plan, step_key, candidate.batch)
        return
    fields = tables["explore"]
    count = len(next(iter(fields.values())))
    stream = state.streams[name]
    order, cursor, epoch = list(np.asarray(stream.permutation)), int(stream.cursor), stream.epoch
    for _ in range(candidate.steps):
        if len(order) - cursor < candidate.batch:
            cursor, epoch = 0, epoch + 1
            order = list(np.asarray(jax.random.permutation(_key(key, int(epoch)), count)))
        rows = order[cursor : cursor + candidate.batch]
        cursor += candidate.batch
        yield {name: field[np.array(rows)] for name, field in fields.items()}


def _fresh(plan: Plan, key: Any, count: int) -> Fields:
    options = {name: value for name, value in plan.data.options if name != "n"}
    return sources.TABLE[plan.data.source](key, count, **options)


def _examples(plan: Plan, tables: dict[str, Fields], state: RunState, split: str) -> Fields:
    if plan.data.split is not None:
        return tables[split]
    assert plan.data.evaluate is not None
    key = _key(state.key, split, int(state.iteration))
    return _fresh(plan, key, plan.data.evaluate * plan.data.batch)


# ---------------------------------------------------------------- assess


def _values(
    plan: Plan, objectives: Any, fields: Fields, state: RunState, params: Any
) -> dict[str, np.ndarray]:
    everything = {**state.frozen, **params}
    return {
        objective.name: np.asarray(_evaluate(objective.value, fields, plan, everything), np.float64)
        for objective in objectives
    }


def _sign(objective: ObjectivePlan) -> int:
    return 1 if objective.direction == "maximize" else -1


def _best(plan: Plan, scores: np.ndarray, is_finite: np.ndarray) -> int:
    """The best finite candidate, the first by name of equals; -1 if none is finite."""
    objective = plan.ranking.keys[0]
    place = [each.name for each in plan.objectives].index(objective.name)
    ranked = sorted(
        (k for k in range(len(scores)) if is_finite[k]),
        key=lambda k: (
            -_sign(objective) * np.float32(scores[k, place]),
            plan.descents[k].name,
        ),
    )
    return ranked[0] if ranked else -1


def _moves(plan: Plan, values: dict[str, np.ndarray], before: dict[str, np.ndarray]) -> bool:
    objective = plan.ranking.keys[0]
    gains = _sign(objective) * (values[objective.name] - before[objective.name])
    if plan.move == "always":
        return True
    if plan.move == "when better":
        return bool(gains.mean() > 0)
    # One example lost is a mean of exactly one standard error below 0: fractions tell the tie.
    mean = statistics.mean([Fraction(gain) for gain in gains])
    squared_error = statistics.variance([Fraction(gain) for gain in gains]) / len(gains)
    return bool(mean >= 0 or mean**2 <= squared_error)


# ---------------------------------------------------------------- adapt


def _discordant(objective: ObjectivePlan, values: Any, than: Any) -> tuple[int, int]:
    """Examples that the first alone, and that the second alone, gets right."""
    good = 1.0 if objective.direction == "maximize" else 0.0
    first, second = values[objective.name] == good, than[objective.name] == good
    return int(np.sum(first & ~second)), int(np.sum(~first & second))


def _power(wins: int, losses: int, ratio: float, log_level: float) -> float:
    if np.isneginf(log_level):
        return 0.0
    shift = ((wins - losses) / math.sqrt(wins + losses + 1) - 0.5) * math.sqrt(ratio)
    z = scipy.stats.norm.isf(math.exp(log_level))
    return float(scipy.stats.norm.cdf((shift - z) / math.sqrt(1 + ratio)))


def _passes(wins: int, losses: int, log_level: float) -> bool:
    log_p = scipy.stats.binom.logsf(wins - 1, wins + losses, 0.5)
    return bool(wins > losses and log_p <= log_level)


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def _outcome(
    plan: Plan, iterations: int, accepted: dict[str, np.ndarray], lost_in_a_row: int
) -> Outcome:
    means = {name: values.mean() for name, values in accepted.items()}
    if lost_in_a_row >= 50:
        return Outcome.ALL_LOST
    targets = [
        _sign(each) * means[each.name] >= _sign(each) * each.target
        for each in plan.objectives
        if each.target is not None
    ]
    if plan.stop.when_targets_met and all(targets):
        return Outcome.TARGETS
    for conditions in plan.stop.any_of:
        if all(_COMPARE[c.operator](means[c.objective], c.value) for c in conditions):
            return Outcome.CONDITION
    if plan.stop.iterations is not None and iterations >= plan.stop.iterations:
        return Outcome.ITERATIONS
    return Outcome.RUNNING


# ---------------------------------------------------------------- expressions


def _evaluate(expr: Expr, fields: Fields, plan: Plan, params: Any, moved: Any = None) -> Any:
    """An expression's value over a batch, from the definitions.

    moved   in training, each explored model's running statistics, which every use moves on; plans
            with any use a model once in a loss
    """
    match expr:
        case Constant(value=value):
            return value
        case Field(name=name):
            return jnp.asarray(fields[name])
        case Forward(model=name, inputs=(inner,)):
            (model,) = [each for each in plan.models if each.name == name]
            inputs = _evaluate(inner, fields, plan, params, moved)
            if moved is not None and name in moved:
                own = models.joined(models.parted(params[name])[0], moved[name])
                outputs, moved[name] = models.train(model, own, inputs, dropout_key=None)
                return outputs
            return models.apply(model, params[name], inputs, dropout_key=None)
        case Apply(function="l2", inputs=(Weights(model=name),)):
            learned, _ = models.parted(params[name])
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(learned))
        case Apply(function=function, inputs=inputs, options=options):
            parts = [_evaluate(each, fields, plan, params, moved) for each in inputs]
            return _DEFINITIONS[function](*parts, **dict(options))
        case _:
            raise TypeError(f"the interpreter does not know {expr}")


def _log_probs(logits: Any) -> Any:
    return logits - jax.scipy.special.logsumexp(logits, axis=1, keepdims=True)


def _cross_entropy(logits: Any, labels: Any, label_smoothing: float) -> Any:
    classes = logits.shape[1]
    target = (1 - label_smoothing) * jnp.eye(classes)[labels] + label_smoothing / classes
    return -jnp.sum(target * _log_probs(logits), axis=1)


def _focal(logits: Any, labels: Any, gamma: float) -> Any:
    log_p = jnp.sum(jnp.eye(logits.shape[1])[labels] * _log_probs(logits), axis=1)
    return -((1 - jnp.exp(log_p)) ** gamma) * log_p


_DEFINITIONS: dict[str, Callable[..., Any]] = {
    "cross_entropy": _cross_entropy,
    "focal_loss": _focal,
    "softmax": lambda logits: jnp.exp(_log_probs(logits)),
    "kl_divergence": lambda p, q: jnp.sum(p * (jnp.log(p) - jnp.log(q)), axis=1),
    "argmax": lambda logits: jnp.argmax(logits, axis=1),
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "+": lambda a, b: a + b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}
