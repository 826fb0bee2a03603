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
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ev3lang.backend import models, sources
from ev3lang.backend.layout import explored_chains, held
from ev3lang.backend.state import RunState
from ev3lang.outcome import Outcome
from ev3lang.plan.plan import (
    Apply,
    Challenger,
    Constant,
    Descent,
    Expr,
    Field,
    Forward,
    Gate,
    Plan,
    Weights,
)
from tests.oracle import judge

Fields = dict[str, Any]


@attrs.frozen(eq=False)
class Foretold:
    """What the next iteration must do; names as in the program's record and state."""

    scores: np.ndarray
    loss: np.ndarray
    is_finite: np.ndarray
    chosen: int
    moved: bool
    leading: int
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

    def measured(params: Any) -> dict[str, np.ndarray]:
        return _values(plan, plan.measures, assess, state, params)

    values = [measured(params) for params, _ in ended]
    scores = np.array([[each.mean() for each in row.values()] for row in values])
    is_finite = np.array(
        [
            math.isfinite(loss)
            and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
            and all(np.isfinite(each).all() for each in row.values())
            for (params, loss), row in zip(ended, values, strict=True)
        ]
    )
    before, accepted, accepted_values = (
        measured(state.current),
        state.accepted,
        measured(state.accepted),
    )
    accepted_steps = int(state.accepted_steps)
    challenged = None
    if isinstance(plan.rule, Challenger):
        challenged = _challenge(plan, state, measured, accepted_values)
        if challenged.accepted is not None:
            s = challenged.accepted
            accepted = jax.tree.map(lambda leaf: leaf[s], state.challengers.params)
            accepted_values = measured(accepted)
            accepted_steps = int(state.challengers.steps[s])

    keeps = [all(judge.keeps(g, row, accepted_values) for g in plan.guards) for row in values]
    sound = is_finite & keeps
    leads = judge.leading(plan, before)
    groups = _groups(plan, tables, "assess")
    chosen = judge.best(plan, values, sound if sound.any() else is_finite, leads, groups)
    current_keeps = all(judge.keeps(g, before, accepted_values) for g in plan.guards)
    moved = (
        chosen >= 0
        and judge.moves(plan, values[chosen], before, leads, groups)
        and (keeps[chosen] or not current_keeps)
    )
    current = ended[chosen][0] if moved else state.current
    current_values = values[chosen] if moved else before
    current_steps = int(state.current_steps) + moved * _steps(plan.descents[chosen], state)
    lost_in_a_row = 0 if is_finite.any() else int(state.lost_in_a_row) + 1
    foretold = functools.partial(
        Foretold,
        scores=scores,
        loss=losses,
        is_finite=is_finite,
        chosen=chosen,
        moved=bool(moved),
        leading=leads,
        current=current,
        current_steps=current_steps,
        lost_in_a_row=lost_in_a_row,
    )
    if challenged is not None:
        enters = _enters(plan, moved, leads, current_values, accepted_values)
        return foretold(
            wins=0,
            losses=0,
            power=0.0,
            log_level=challenged.log_level,
            decision=challenged.decision,
            log_budget=challenged.left(plan, enters=enters),
            accepted=accepted,
            accepted_steps=accepted_steps,
            outcome=_outcome(plan, int(state.iteration) + 1, accepted_values, lost_in_a_row),
        )

    adapt = _examples(plan, tables, state, "adapt")
    on = _groups(plan, tables, "adapt"), groups
    count = len(next(iter(adapt.values()))) if on[0] is None else len(np.unique(on[0].of))
    assert isinstance(plan.rule, Gate)
    log_budget = float(state.log_budget)
    log_level = log_budget - (0 if plan.rule.is_each_time else math.log(20))
    proven = [guard.claim for guard in plan.guards if guard.is_proven]
    claims = [plan.rule.claims[leads if len(plan.rule.claims) > 1 else 0], *proven]
    seen = [
        judge.seen(claim, current_values, accepted_values, count, log_level, groups)
        for claim in claims
    ]
    power = min(each.power for each in seen)
    decision = 0
    if (
        is_finite.any()
        and all(each.favours for each in seen)
        and (plan.rule.is_each_time or power >= 0.9)
        and all(judge.keeps(g, current_values, accepted_values) for g in plan.guards)
    ):
        measures = [claim.measure for claim in claims]
        on_adapt = (
            _values(plan, measures, adapt, state, current),
            _values(plan, measures, adapt, state, state.accepted),
        )
        key = judge.key_of(state.key, "query", int(state.iteration) + 1)
        on_assess = current_values, accepted_values
        passed = all(judge.passes(c, on_adapt, on_assess, log_level, key, on) for c in claims)
        decision = 2 if passed else 1
        if not plan.rule.is_each_time:
            log_budget += math.log(0.9 if passed else 0.05)
    is_accepted = decision == 2
    final_values = current_values if is_accepted else accepted_values
    return foretold(
        wins=seen[0].wins,
        losses=seen[0].losses,
        power=power,
        log_level=log_level,
        decision=decision,
        log_budget=log_budget,
        accepted=current if is_accepted else accepted,
        accepted_steps=current_steps if is_accepted else accepted_steps,
        outcome=_outcome(plan, int(state.iteration) + 1, final_values, lost_in_a_row),
    )


def _groups(plan: Plan, tables: dict[str, Fields], use: str) -> judge.Groups | None:
    """The groups of a split, where the plan has any."""
    split = plan.data.split
    if split is None or split.method != "grouped":
        return None
    sizes = [
        np.unique(tables[each][split.by], return_counts=True)[1] for each in ("explore", "assess")
    ]
    return judge.Groups(tables[use][split.by], int(np.concatenate(sizes).max()))


@attrs.define
class _Challenged:
    """What became of the challengers: an accepted one's slot, and the ledger."""

    decision: int
    accepted: int | None
    log_level: float
    started: int
    at_stake: list[float]
    inherited: float

    def left(self, plan: Plan, *, enters: bool) -> float:
        """log of what of delta isn't lost, after a further challenger enters or none does."""
        rule = plan.rule
        assert isinstance(rule, Challenger)
        started, at_stake, inherited = self.started, sum(self.at_stake), self.inherited
        if enters and len(self.at_stake) < 2:
            started += 1
            at_stake += rule.delta / (started * (started + 1)) + inherited
            inherited = 0.0
        return math.log(rule.delta / (started + 1) + at_stake + inherited)


def _challenge(
    plan: Plan, state: RunState, measured: Callable[[Any], Any], accepted: Any
) -> _Challenged:
    """The challengers after this iteration's draw."""
    held = state.challengers
    assert held is not None
    slots = judge.slots(state)
    filled = {s: slot for s, slot in enumerate(slots) if slot is not None}
    broken = set()
    for s, slot in filled.items():
        values = measured(jax.tree.map(lambda leaf, s=s: leaf[s], held.params))
        judge.bet(plan, slot, values, accepted)
        if not all(judge.keeps(guard, values, accepted) for guard in plan.guards):
            broken.add(s)
    standing = {s: slot.evidence * slot.alpha for s, slot in filled.items()}
    proven = [s for s in filled if s not in broken and standing[s] >= 1]
    nearest = max(filled, key=lambda s: standing[s], default=None)
    inherited, started = float(held.inherited), int(held.started)
    if proven:
        accepted_slot = max(proven, key=lambda s: standing[s])
        inherited += sum(
            slot.alpha * (1 if s == accepted_slot else min(1, slot.evidence))
            for s, slot in filled.items()
        )
        level = math.log(filled[accepted_slot].alpha)
        return _Challenged(2, accepted_slot, level, started, [], inherited)
    dropped = {
        s for s, slot in filled.items() if slot.age >= 32 or (slot.age >= 2 and slot.excess < 0)
    }
    inherited += sum(filled[s].alpha * min(1, filled[s].evidence) for s in dropped)
    level = -math.inf if nearest is None else math.log(filled[nearest].alpha)
    at_stake = [slot.alpha for s, slot in filled.items() if s not in dropped]
    return _Challenged(1 if dropped else 0, None, level, started, at_stake, inherited)


def _enters(plan: Plan, moved: bool, leads: int, current: Any, accepted: Any) -> bool:
    claim = plan.rule.claims[leads]
    return (
        bool(moved)
        and judge.is_gain(claim, current, accepted)
        and all(judge.keeps(guard, current, accepted) for guard in plan.guards)
    )


def close(plan: Plan, tables: dict[str, Fields], state: RunState) -> tuple[int, int, int]:
    """The last query from a state at its run's own stop: wins and losses on assess, the decision.

    For a finite source alone, and a claim about right and wrong.
    """
    (claim,) = plan.rule.claims

    def both(split: str) -> tuple[Any, Any]:
        fields = tables[split]
        return (
            _values(plan, [claim.measure], fields, state, state.current),
            _values(plan, [claim.measure], fields, state, state.accepted),
        )

    budget = float(state.log_budget)
    seen = judge.seen(claim, *both("assess"), len(tables["adapt"]["label"]), budget)
    if not seen.favours or np.isneginf(budget):
        return seen.wins, seen.losses, 0
    is_passed = judge.passes(claim, both("adapt"), both("assess"), budget, state.key)
    return seen.wins, seen.losses, 2 if is_passed else 1


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


def _steps(candidate: Descent, state: RunState) -> int:
    """How long a candidate's roll-out is by now."""
    if state.progress is None:
        return candidate.steps
    stretched = round(candidate.steps * float(state.progress.stretch))
    return min(stretched, max(candidate.steps, candidate.most or 0))


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
    steps = _steps(candidate, state)
    is_fresh = plan.batches == "fresh"
    name = candidate.name if is_fresh else f"batches of {candidate.batch}"
    key = _key(state.key, "batches", name)
    if plan.data.split is None:
        for step in range(steps):
            step_key = _key(key, int(state.iteration), step)
            yield _fresh(plan, step_key, candidate.batch)
        return
    fields = tables["explore"]
    count = len(next(iter(fields.values())))
    stream = state.streams[name]
    order, cursor, epoch = list(np.asarray(stream.permutation)), int(stream.cursor), stream.epoch
    for _ in range(steps):
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
        judge.sign(each) * means[each.name] >= judge.sign(each) * each.target
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
    "clip": lambda x, low, high: jnp.clip(x, low, high),
    "argmax": lambda logits: jnp.argmax(logits, axis=1),
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "+": lambda a, b: a + b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}
