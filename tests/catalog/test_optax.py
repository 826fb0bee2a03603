"""The catalogue holds all of the installed optax, or says why not; each link is optax's own.

A newer optax may bring or take links: one test here names them, the others pass over them.
"""

from __future__ import annotations

import inspect

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from jax.flatten_util import ravel_pytree

from ev3lang.backend import layout, models, optimizers
from ev3lang.backend.emit import emit
from ev3lang.catalog.index import OPTIMIZERS
from ev3lang.catalog.optax_table import ENTRIES
from ev3lang.catalog.optimizers import BY_HAND, LEFT_OUT
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import OptimizerPlan
from tests.oracle import interpreter
from tests.plan import examples
from tools import optax_catalog
from tools.optax_catalog import KEY, NOT_OFFERED, SENSIBLE, SMALL, STRICTER

PUBLIC = optax_catalog.public()
INSTALLED = [entry for entry in ENTRIES if entry.name in PUBLIC]
LINKS = [entry for entry in INSTALLED if entry.role != "schedule"]
SCHEDULES = [entry for entry in INSTALLED if entry.role == "schedule"]


def by_name(entries: list) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("entry", entries, ids=[entry.name for entry in entries])


def test_all_of_optax_is_catalogued_or_left_out() -> None:
    """Told apart by name, so that a new release says what it has brought."""
    known = {name for name, entry in OPTIMIZERS.items() if entry.alias_of is None} | set(LEFT_OUT)
    known -= {optimizers.AVERAGE}  # ours alone
    told = [
        *(f"new: {name}" for name in sorted(PUBLIC.keys() - known)),
        *(f"gone: {name}" for name in sorted(known - PUBLIC.keys())),
    ]
    for entry in INSTALLED:
        theirs = inspect.signature(PUBLIC[entry.name]).parameters.keys() - NOT_OFFERED.keys()
        ours = {option.name for option in entry.options}
        told += [f"new: {entry.name}({name})" for name in sorted(theirs - ours)]
        told += [f"gone: {entry.name}({name})" for name in sorted(ours - theirs)]
        told += [
            f"changed: the default of {entry.name}({name})"
            for name in sorted(changed_defaults(entry))
        ]
    assert not told, (
        f"optax {optax.__version__} and the catalogue differ; `python -m tools.optax_catalog` "
        f"writes optax_table.py, LEFT_OUT in catalog/optimizers.py says what is left out and "
        f"why:\n" + "\n".join(told)
    )


def changed_defaults(entry) -> set[str]:
    """Options whose default isn't the installed optax's, but for those that are meant to differ."""
    places = inspect.signature(PUBLIC[entry.name]).parameters
    found = set()
    for option in entry.options:
        if option.name not in places or (entry.name, option.name) in STRICTER:
            continue
        expected = places[option.name].default
        ours = inspect.Parameter.empty if option.is_required else option.default
        if option.name == "key":
            expected = KEY
        if ours is not expected and ours != expected:
            found.add(option.name)
    return found


def test_an_option_of_optax_has_no_default_only_where_that_is_dangerous() -> None:
    for name, option_name in STRICTER:
        (option,) = (each for each in OPTIMIZERS[name].options if each.name == option_name)
        assert option.is_required
    # Without a learning rate these would climb: the update has the gradient's own sign.
    for name, option in STRICTER:
        chain = optimizers.twin(name)(**{option: None})
        params = jnp.ones(3)
        updates, _ = chain.update(jnp.ones(3), chain.init(params), params)
        assert bool(jnp.all(updates > 0))


def test_what_is_left_out_has_a_reason_and_no_entry() -> None:
    assert not LEFT_OUT.keys() & OPTIMIZERS.keys()
    for reason in (*LEFT_OUT.values(), *NOT_OFFERED.values(), *STRICTER.values()):
        assert reason
        assert not reason.endswith(".")


def test_words_by_hand_come_before_those_that_are_written() -> None:
    assert not BY_HAND & {entry.name for entry in ENTRIES}


def test_the_words_are_all_in_use() -> None:
    used = {option.name for entry in ENTRIES for option in entry.options}
    assert optax_catalog.WORDS.keys() <= used
    assert optax_catalog.SUMMARIES.keys() <= {entry.name for entry in ENTRIES}
    own = {(entry.name, option.name) for entry in ENTRIES for option in entry.options}
    assert optax_catalog.OWN_WORDS.keys() <= own


def chain(entry, **given) -> optax.GradientTransformation:
    return optimizers.build(OptimizerPlan(entry.name, (optax_catalog.link(entry, **given),)))


def direct(entry) -> optax.GradientTransformation:
    """The same with optax alone, all defaults left to it."""
    given = {each.name: SENSIBLE[each.name] for each in entry.options if each.is_required}
    if any(option.name == "key" for option in entry.options):
        given["key"] = KEY
    if entry.name == "scale_by_schedule":
        given["step_size_fn"] = optax.constant_schedule(given["step_size_fn"])
    return PUBLIC[entry.name](**given)


@by_name(LINKS)
def test_a_link_steps_as_optax_does_and_stays_finite(entry) -> None:
    params, grads = optax_catalog.trial()
    vector, restore = ravel_pytree(params)
    vectors = [ravel_pytree(grad)[0] for grad in grads]
    small = chain(entry, **SMALL)

    @jax.jit
    def run():
        return (
            optax_catalog.followed(chain(entry), params, grads),
            optax_catalog.followed(direct(entry), params, grads),
            optax_catalog.followed(small, params, grads)[0],
            jax.vmap(restore)(optax_catalog.followed(small, vector, vectors)[0]),
        )

    found, expected, apart, whole = (np.asarray(ravel_pytree(each)[0]) for each in run())
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    if any(option.name == "key" for option in entry.options):
        return  # noise on one vector has other draws, of one distribution
    differs = np.max(np.abs(apart - whole)) > 1e-3 * max(np.max(np.abs(whole)), 1e-30)
    assert differs == entry.per_array


@by_name([each for each in LINKS if any(option.kind == "schedule" for option in each.options)])
def test_where_an_entry_says_schedule_optax_takes_one(entry) -> None:
    falling = optax.linear_schedule(0.5, 0.1, 2)
    schedules = {each.name: falling for each in entry.options if each.kind == "schedule"}
    params, grads = optax_catalog.trial()
    updates, _ = jax.jit(lambda: optax_catalog.followed(chain(entry, **schedules), params, grads))()
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(updates))


@by_name(SCHEDULES)
def test_a_schedule_is_that_of_optax(entry) -> None:
    link = optax_catalog.link(entry)
    ours = optimizers.twin(entry.name)(**dict(link.options))
    given = {each.name: SENSIBLE[each.name] for each in entry.options if each.is_required}
    steps = jnp.arange(30)
    np.testing.assert_allclose(jax.vmap(ours)(steps), jax.vmap(PUBLIC[entry.name](**given))(steps))


def test_weights_stay_apart_where_one_optimizer_needs_it() -> None:
    params, _ = optax_catalog.trial()
    plain, lamb = (
        OptimizerPlan(name, (optax_catalog.link(OPTIMIZERS[name]),)) for name in ("adam", "lamb")
    )
    assert layout.held(params, [plain, plain])[0].learned.ndim == 1
    apart, restore = layout.held(params, [plain, lamb])
    assert jax.tree.structure(apart.learned) == jax.tree.structure(params)
    assert jax.tree.structure(restore(apart)) == jax.tree.structure(params)


def test_in_a_program_lamb_sees_each_array_by_itself() -> None:
    entropy = examples.cross_entropy(examples.logits)
    lamb = OptimizerPlan("lamb", (optax_catalog.link(OPTIMIZERS["lamb"]),))
    plan = attrs.evolve(
        examples.PLAN,
        descents=(examples.candidate(entropy, lamb),),
        baselines=(),
        move="always",
    )
    tables = examples.clouds()
    program = emit(fuse(plan, "cpu"), tables)
    state = program.init(jax.random.key(3))
    params = jax.device_get(state.current["net"])
    chain = optax.lamb(SENSIBLE["learning_rate"])
    opt_state = chain.init(params)

    @jax.jit
    def gradient(params, fields):
        def loss(params):
            logits = models.apply(examples.NET, params, fields["point"], dropout_key=None)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, fields["label"])
            return losses.mean()

        return jax.grad(loss)(params)

    for _ in range(2):
        for fields in interpreter._batches(plan, tables, state, plan.descents[0]):
            updates, opt_state = chain.update(gradient(params, fields), opt_state, params)
            params = optax.apply_updates(params, updates)
        state, _ = program.step(state)
        found = state.current["net"]
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, params
        )
