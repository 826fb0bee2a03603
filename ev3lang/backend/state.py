"""What a run carries from one iteration to the next, and what each iteration tells the host."""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

import attrs
import jax
import jax.numpy as jnp

from ev3lang.backend.elders import OneOf
from ev3lang.backend.pytree import pytree
from ev3lang.backend.streams import Stream

Array: TypeAlias = jax.Array
PyTree: TypeAlias = Any
Params: TypeAlias = dict[str, PyTree]
"""Each model's weights under its name."""
Values: TypeAlias = dict[str, Array]
"""Each objective's values: `[B]` float32 where it has one for each example, else `[]`."""


class Decision(enum.IntEnum):
    """What became of the question whether current is better than accepted."""

    NOT_ASKED = 0
    REJECTED = 1
    ACCEPTED = 2


PROOFS = 64
"""Acceptances whose evidence is kept for the report; of more, the last."""


@pytree
@attrs.frozen(eq=False)
class Proofs:
    """What adapt said at each acceptance: read once the run's own stop has closed the evidence."""

    count: Array  # [] int32, acceptances so far; number i stands in row i mod PROOFS
    iteration: Array  # [PROOFS] int32
    claim: Array  # [PROOFS] int32, the place of what improved among the rule's claims
    wins: Array  # [PROOFS] int32, adapt examples that the new model alone got right
    losses: Array  # [PROOFS] int32, those that the old one alone did
    log_p: Array  # [PROOFS] float32 in nats, log of the p-value or of a bound on it
    log_level: Array  # [PROOFS] float32 in nats, what the test was allowed
    unsound: Array  # [] int32, queries rejected for a value that is not finite or out of range


@pytree
@attrs.frozen(eq=False)
class Challengers:
    """Frozen candidates that gather evidence against accepted, a slot each: S slots.

    T tests each: of the claim, then of each guard that must be proven.
    """

    params: Params | OneOf  # [S, ...]
    steps: Array  # [S] int32, gradient steps that led to them
    is_filled: Array  # [S] bool
    claim: Array  # [S] int32, which of the rule's claims they are to show
    age: Array  # [S] int32, iterations that they have gathered evidence
    alpha: Array  # [S] float32, the chance to be wrong that each may spend
    excess: Array  # [S] float32, the sum over iterations of the mean gain beyond the margin
    log_wealths: Array  # [S, T, 8] float32 in nats, of each stake
    started: Array  # [] int32, challengers so far
    inherited: Array  # [] float32, what earlier ones left for the next


@pytree
@attrs.frozen(eq=False)
class Front:
    """Models that none found so far is better than in every key of the ranking: F places."""

    params: Params  # [F, ...]
    scores: Array  # [F, P] float32, of each key, as assess measured them when they were found
    iteration: Array  # [F] int32, when they were found
    is_filled: Array  # [F] bool
    is_here: Array  # [F] bool, False for those found before a growth: the host keeps their weights


@pytree
@attrs.frozen(eq=False)
class Archived:
    """The best accepted models of current's architecture so far, for each of A archives."""

    params: Params  # [A, ...]
    scores: Array  # [A] float32, on assess when they were accepted, so that more is better
    is_filled: Array  # [A] bool


@pytree
@attrs.frozen(eq=False)
class Recent:
    """The last N accepted models, for what averages them."""

    params: Params  # [N, ...], acceptance number i at place i mod N, from 0
    count: Array  # [] int32, acceptances so far


@pytree
@attrs.frozen(eq=False)
class Progress:
    """How long a run has had no progress, and how far its roll-outs were stretched."""

    stalled: Array  # [] int32, iterations since the last progress or the last change for want of it
    best: Array  # [P] float32, the best of current on assess by each key, so that more is better
    stretch: Array  # [] float32, what roll-outs are longer by than the spec begins with
    may_grow: (
        Array  # [] bool, whether the host has a larger architecture, or another start, to go on
    )
    is_due: Array  # [] bool, whether patience has ended, so that the host is to go on with it
    is_trial: Array  # [] bool, whether several growths are tried side by side: adapt isn't asked


@pytree
@attrs.frozen(eq=False)
class RunState:
    """All a step reads and writes; all a checkpoint holds.

    But for `proofs`, nothing here was computed from the adapt split except the bits that accepted
    and log_budget show, and nothing reads `proofs` while the run goes on.
    """

    iteration: Array  # [] int32, iterations done
    current: Params  # the explored models' weights, from which exploring goes on
    accepted: Params | OneOf  # theirs as the run delivers them
    frozen: Params  # the other models' weights, as they started
    opt_states: tuple[PyTree, ...]  # one a descent, in the order of the plan
    streams: dict[str, Stream]  # where each stream of batches stands; none for endless data
    key: Array  # the run's own; folded with each consumer's name, never used bare
    log_budget: Array  # [] float32, log b of rule gate; -inf once the evidence is closed
    current_values: Values  # on assess, so that no forward pass is repeated
    accepted_values: Values
    current_steps: Array  # [] int32, gradient steps that led to current
    accepted_steps: Array  # [] int32, gradient steps that led to accepted
    lost_in_a_row: Array  # [] int32, iterations since a candidate was last finite
    outcome: Array  # [] int32, an Outcome; the first that isn't RUNNING is kept
    leading: Array  # [] int32, the ranking's key that leads this iteration
    proofs: Proofs
    challengers: Challengers | None  # of rule challenger alone
    front: Front | None  # of a ranking by pareto alone
    descended: Array  # [] int32, gradient steps of all candidates so far
    progress: Progress | None  # of a spec that does something for want of it
    factors: Array  # [D, M] float32, what each descent's M mutated options are multiplied by
    recent: Recent | None  # where a candidate averages accepted models
    archived: Archived | None  # of a spec with archives


@pytree
@attrs.frozen(eq=False)
class Record:
    """All that the host hears of one iteration: K candidates, M objectives in the plan's order.

    The last query at the run's own stop has a record too, with K = 0.
    """

    iteration: Array  # [] int32, from 1
    scores: Array  # [K, M] float32, each measure on assess
    errors: Array  # [K, M] float32, their standard errors, 0 where examples have no part in one
    is_sound: Array  # [K, M] bool, whether all values are finite, and a set's in its range
    beyond: Array  # [K, M] int32, assess examples whose value lies beyond the measure's range
    extents: Array  # [K, M, 2] float32, the least and the greatest value on assess
    loss: Array  # [K] float32, mean training loss of the roll-out; NaN where it has none
    is_present: Array  # [K] bool, False where there was no such candidate yet
    is_finite: Array  # [K] bool, False where quarantined or absent
    keeps: Array  # [K, G] bool, which guards each candidate keeps
    leading: Array  # [] int32, the ranking's key that led
    steps: Array  # [D] int32, gradient steps that each descent took
    chosen: Array  # [] int32, the best candidate, -1 where all are lost
    moved: Array  # [] bool, whether it became current
    decision: Array  # [] int32, a Decision
    current: Array  # [M] float32, on assess, after the iteration
    accepted: Array  # [M] float32, on assess, after the iteration
    current_errors: Array  # [M] float32, standard errors of the same
    accepted_errors: Array  # [M] float32
    wins: Array  # [] int32, assess examples that current alone gets right, when deciding
    losses: Array  # [] int32, those that accepted alone gets right
    gain: Array  # [] float32, current's gain over accepted on assess
    error: Array  # [] float32, its standard error
    power: Array  # [] float32 in [0, 1], predicted from them
    log_level: Array  # [] float32, of the query that was or would have been asked
    log_evidence: Array  # [] float32, log wealth of the challenger that is nearest to acceptance
    age: Array  # [] int32, iterations that it has gathered evidence
    log_budget: Array  # [] float32, log b after the iteration
    outcome: Array  # [] int32, an Outcome


def blank_record(candidates: int, objectives: int, guards: int = 0, descents: int = 0) -> Record:
    """A record of zeros: the shapes and dtypes of every record of the plan."""
    whole, real = jnp.int32(0), jnp.float32(0)
    return Record(
        iteration=whole,
        scores=jnp.zeros((candidates, objectives), jnp.float32),
        errors=jnp.zeros((candidates, objectives), jnp.float32),
        is_sound=jnp.zeros((candidates, objectives), bool),
        beyond=jnp.zeros((candidates, objectives), jnp.int32),
        extents=jnp.zeros((candidates, objectives, 2), jnp.float32),
        loss=jnp.zeros(candidates, jnp.float32),
        is_present=jnp.zeros(candidates, bool),
        is_finite=jnp.zeros(candidates, bool),
        keeps=jnp.zeros((candidates, guards), bool),
        leading=whole,
        steps=jnp.zeros(descents, jnp.int32),
        chosen=whole,
        moved=jnp.bool_(False),
        decision=whole,
        current=jnp.zeros(objectives, jnp.float32),
        accepted=jnp.zeros(objectives, jnp.float32),
        current_errors=jnp.zeros(objectives, jnp.float32),
        accepted_errors=jnp.zeros(objectives, jnp.float32),
        wins=whole,
        losses=whole,
        gain=real,
        error=real,
        power=real,
        log_level=real,
        log_evidence=real,
        age=whole,
        log_budget=real,
        outcome=whole,
    )


def no_proofs() -> Proofs:
    """Nothing accepted so far."""
    whole, real = jnp.zeros(PROOFS, jnp.int32), jnp.zeros(PROOFS, jnp.float32)
    return Proofs(jnp.int32(0), whole, whole, whole, whole, real, real, jnp.int32(0))


def pick(is_first: Array, first: PyTree, second: PyTree) -> PyTree:
    """The first tree where `is_first`, a bool scalar, else the second; leaf by leaf."""
    return jax.tree.map(lambda a, b: jnp.where(is_first, a, b), first, second)


def is_finite(tree: PyTree) -> Array:
    """Whether every number of a tree is finite."""
    checks = [
        jnp.all(jnp.isfinite(leaf))
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    ]
    return jnp.all(jnp.asarray(checks)) if checks else jnp.bool_(True)
