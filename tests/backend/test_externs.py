"""Functions of the user's own: found, tried on shapes, and called in a program or on the host."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ev3lang.backend import externs
from ev3lang.backend.expressions import Networks, evaluate
from ev3lang.backend.externs import Faults
from ev3lang.backend.modules import ModuleError
from ev3lang.catalog.signature import Type
from ev3lang.plan.fuse import fuse
from ev3lang.plan.plan import Apply, Constant, Extern, Field, ObjectivePlan, Plan
from tests.runtime.examples import ENTROPY, LABEL, LOGITS, PLAN

CODE = """\
import jax
import jax.numpy as jnp
import numpy as np


def entropy(logits, label):
    chosen = jnp.take_along_axis(logits, label[:, None], axis=-1)[:, 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def scaled(logits, scale):
    return logits * scale[:, None]


def right(logits, label):
    return jnp.argmax(logits, axis=-1) == label


def label_of(logits, label):
    return jnp.argmax(logits, axis=-1)


def same(logits, label):
    return logits


def as_list(logits, label):
    return [0.0]


def mean(logits, label):
    return jnp.mean(logits)


def on_numpy(logits, label):
    return np.asarray(logits).sum(-1)


def of_three(logits, label):
    return logits.reshape(3, -1).sum(-1)


def fails(logits, label):
    raise RuntimeError("no weather today")


def without_gradient(logits, label):
    def halved(carry):
        count, value = carry
        return count + 1, value / 2

    return jax.lax.while_loop(lambda carry: carry[0] < 3, halved, (0, logits))[1].sum(-1)


def one_input(logits):
    return logits.sum(-1)


NUMBER = 3
"""

HOST_CODE = """\
import numpy as np


def accuracy(logits, label):
    assert type(logits) is np.ndarray and logits.dtype == np.float32
    assert type(label) is np.ndarray and label.dtype == np.int32
    logits[:] = np.where(logits == logits.max(-1, keepdims=True), 1, 0)
    return (logits.argmax(-1) == label).mean()


def fails(logits, label):
    raise RuntimeError("no weather today\\nin two lines")


def leaves(logits, label):
    raise SystemExit(3)


def text(logits, label):
    return "0.5"


def nothing(logits, label):
    return None


def several(logits, label):
    return np.zeros(3)


def single(logits, label):
    return np.zeros(1)


def imaginary(logits, label):
    return np.complex64(1)


def infinite(logits, label):
    return 1e300


def undefined(logits, label):
    return np.nan


def whole(logits, label):
    return 2
"""


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "own_functions.py").write_text(CODE)
    (folder / "own_scores.py").write_text(HOST_CODE)
    (folder / "broken_functions.py").write_text("import weather_of_tomorrow\n")
    before = list(sys.path)
    yield folder
    sys.path[:] = before


REAL = Type("real")
N = ("n",)
DECLARED = (Type("logits", N), Type("class", N))


def extern(target: str, output: Type = REAL, *, is_host: bool = False) -> Extern:
    room = "own_scores" if is_host else "own_functions"
    target = target if ":" in target else f"{room}:{target}"
    return Extern("own", target, is_host, DECLARED, output, "spec.ev3:2")


def use(function: Extern, output: Type = REAL) -> Apply:
    level = "set" if function.is_host else "example"
    return Apply(function.function, (LOGITS, Field("label", LABEL)), output, level)  # type: ignore[arg-type]


def plan(function: Extern, output: Type = REAL) -> Plan:
    """A plan that descends and measures a function, or of a host's measures it."""
    value = use(function, output)
    descents = PLAN.descents
    if not function.is_host and output == REAL:
        descents = tuple(attrs.evolve(each, loss=value) for each in descents)
    measured = ObjectivePlan("own", value, "minimize", None, None)
    return attrs.evolve(
        PLAN, descents=descents, objectives=(*PLAN.objectives, measured), externs=(function,)
    )


def loaded(folder: Path, target: str, output: Type = REAL) -> Plan:
    found = plan(extern(target, output), output)
    externs.load(found, ["own_functions"], [folder])
    return found


X = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
Y = np.array([0, 1, 2, 0, 1, 2], np.int32)
LOGITS_FIELD = Field("scores", Type("logits", (3,)))
FIELDS = {"scores": jnp.asarray(X), "label": jnp.asarray(Y)}


def value(function: Extern, *inputs: object, output: Type = REAL) -> jax.Array:
    parts = inputs or (LOGITS_FIELD, Field("label", LABEL))
    level = "set" if function.is_host else "example"
    called = Apply(function.function, parts, output, level)  # type: ignore[arg-type]
    networks = Networks({}, {}, externs={function.function: function})
    return jnp.asarray(jax.jit(lambda fields: evaluate(called, fields, networks))(FIELDS))


# ---------------------------------------------------------------- in a program


def test_a_function_computes_what_it_computes_by_hand(folder: Path) -> None:
    function = loaded(folder, "entropy").externs[0]
    by_hand = np.log(np.exp(X).sum(-1)) - X[np.arange(6), Y]
    np.testing.assert_allclose(value(function), by_hand, rtol=1e-5)


def test_its_gradient_is_that_of_the_built_in(folder: Path) -> None:
    function = loaded(folder, "entropy").externs[0]
    networks = Networks({}, {}, externs={function.function: function})
    built_in = attrs.evolve(ENTROPY, inputs=(LOGITS_FIELD, ENTROPY.inputs[1]))
    called = attrs.evolve(use(function), inputs=built_in.inputs)

    def total(expr: Apply, scores: jax.Array) -> jax.Array:
        return jnp.sum(evaluate(expr, {**FIELDS, "scores": scores}, networks))

    own, theirs = (
        jax.grad(lambda scores, expr=expr: total(expr, scores))(FIELDS["scores"])
        for expr in (called, built_in)
    )
    np.testing.assert_allclose(own, theirs, atol=1e-6)


def test_a_constant_is_repeated_for_each_example(folder: Path) -> None:
    loaded(folder, "entropy")
    output = Type("logits", (3,))
    function = Extern("own", "own_functions:scaled", False, (output, REAL), output)
    two = Constant(2, Type("int"))
    np.testing.assert_array_equal(value(function, LOGITS_FIELD, two, output=output), 2 * X)


@pytest.mark.parametrize(
    ("target", "output", "dtype"),
    [
        ("right", Type("bool"), jnp.bool_),
        ("label_of", Type("class", N), jnp.int32),
        ("same", Type("logits", N), jnp.float32),
    ],
)
def test_outputs_of_other_kinds_than_real(
    folder: Path, target: str, output: Type, dtype: object
) -> None:
    solved = Type(output.kind, (3,)) if output.dimensions else output
    function = extern(target, output)
    externs.load(plan(function, solved), ["own_functions"], [folder])
    assert value(function, output=solved).dtype == dtype


def test_a_name_of_the_catalogue_can_be_hidden(folder: Path) -> None:
    loaded(folder, "entropy")
    function = attrs.evolve(extern("same"), name="softmax", output=Type("logits", N))
    inputs = (LOGITS_FIELD, Field("label", LABEL))
    np.testing.assert_array_equal(value(function, *inputs, output=Type("logits", (3,))), X)
    networks = Networks({}, {}, externs={function.function: function})
    built_in = Apply("softmax", (LOGITS_FIELD,), Type("probs", (3,)), "example")
    np.testing.assert_allclose(evaluate(built_in, FIELDS, networks).sum(-1), 1, rtol=1e-5)


def test_candidates_with_functions_are_never_stacked(folder: Path) -> None:
    found = loaded(folder, "entropy")
    assert {each.lowering for each in fuse(PLAN, "cpu").rollouts} == {"vmap"}
    assert {each.lowering for each in fuse(found, "cpu").rollouts} == {"one body"}


# ---------------------------------------------------------------- before a run


def test_a_package_must_be_allowed(folder: Path) -> None:
    with pytest.raises(ModuleError) as caught:
        externs.load(plan(extern("never.imported:f")), ["other"], [folder])
    assert str(caught.value) == (
        "extern own (spec.ev3:2) is a function of the package never, whose code may not run"
    )
    assert caught.value.help == (
        "if you trust it, run with --allow-python never; in Python, allow_python=['never']"
    )
    assert caught.value.is_spec_fault
    assert "never" not in sys.modules


def test_a_package_that_registers_a_function_need_not_be_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "registered_functions.py").write_text(CODE)
    described = tmp_path / "registered-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: registered\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(
        "[ev3lang.functions]\nentropy = registered_functions:entropy\n"
    )
    with pytest.raises(ModuleError, match="may not run"):
        externs.load(plan(extern("registered_functions:entropy")), ["own"], [tmp_path])
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleError, match="may not run"):
        # on the path, but beside the spec: nothing says that it was installed
        externs.load(plan(extern("registered_functions:entropy")), ["own"], [tmp_path])
    assert "registered_functions" not in sys.modules
    externs.load(plan(extern("registered_functions:entropy")), [], [])
    with pytest.raises(ModuleError, match="may not run"):
        externs.load(plan(extern("registered_functions:same")), [], [])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("missing", "the Python module own_functions has no missing"),
        ("NUMBER", "the Python module own_functions has, but not as a function, NUMBER"),
        ("nowhere:f", "there is no Python module nowhere"),
        ("broken_functions:f", "importing it, broken_functions:f raised ModuleNotFoundError: No "),
        ("fails", "calling it, own_functions:fails raised RuntimeError: no weather today"),
        ("on_numpy", "calling it, own_functions:on_numpy raised TracerArrayConversionError: The "),
        ("one_input", "own_functions:one_input can't be called with 2 arrays: too many "),
        (
            "same",
            "own_functions:same makes float32[B, 3] of float32[B, 3], int32[B], and its declared "
            "type real asks for real numbers [B]",
        ),
        ("label_of", "own_functions:label_of makes int32[B] of "),
        ("right", "own_functions:right makes bool[B] of "),
        ("mean", "own_functions:mean makes float32[] of "),
        ("as_list", "own_functions:as_list makes a list of "),
        ("without_gradient", "taking its gradient, own_functions:without_gradient raised "),
    ],
)
def test_what_cannot_be_used_is_said_in_words(folder: Path, target: str, message: str) -> None:
    with pytest.raises(ModuleError) as caught:
        externs.load(
            plan(extern(target)), ["own_functions", "nowhere", "broken_functions"], [folder]
        )
    assert str(caught.value).startswith(f"extern own (spec.ev3:2): {message}")
    assert "\n" not in str(caught.value)


def test_every_count_of_examples_is_tried(folder: Path) -> None:
    found = loaded(folder, "of_three")
    externs.try_uses(found, [3])
    with pytest.raises(ModuleError, match=r"of_three makes float32\[3\] of float32\[B, 3\]"):
        externs.try_uses(found, [3, 8])


def test_a_gradient_is_not_asked_for_where_none_flows(folder: Path) -> None:
    function = extern("without_gradient")
    stopped = Apply("stop_gradient", (use(function),), REAL, "example")
    found = plan(function)
    found = attrs.evolve(
        found, descents=tuple(attrs.evolve(each, loss=stopped) for each in found.descents)
    )
    externs.load(found, ["own_functions"], [folder])


def test_the_record_names_the_file_that_ran(folder: Path) -> None:
    import hashlib

    (record,) = externs.record(loaded(folder, "entropy"))
    assert record == {
        "name": "own",
        "target": "own_functions:entropy",
        "version": None,
        "sha256": hashlib.sha256(CODE.encode()).hexdigest(),
    }


# ---------------------------------------------------------------- on the host


def scored(folder: Path, target: str) -> tuple[float, Faults]:
    faults = Faults()
    found = plan(extern(target, is_host=True))
    externs.load(found, ["own_scores"], [folder])
    (function,) = externs.heard(found, faults).externs
    return float(value(function)), faults


def test_a_host_function_gets_arrays_of_its_own(folder: Path) -> None:
    before = X.copy()
    score, faults = scored(folder, "accuracy")
    assert score == pytest.approx((X.argmax(-1) == Y).mean())
    assert faults.summary() == ()
    np.testing.assert_array_equal(FIELDS["scores"], before)


def test_a_host_function_scores_stacked_sets_one_after_the_other(folder: Path) -> None:
    scored(folder, "accuracy")
    function = externs.heard(plan(extern("accuracy", is_host=True)), Faults()).externs[0]
    called = attrs.evolve(use(function), inputs=(LOGITS_FIELD, Field("label", LABEL)))
    networks = Networks({}, {}, externs={function.function: function})
    sets = np.random.default_rng(1).normal(size=(4, 6, 3)).astype(np.float32)
    found = jax.jit(
        jax.vmap(lambda scores: evaluate(called, {**FIELDS, "scores": scores}, networks))
    )(sets)
    np.testing.assert_allclose(found, (sets.argmax(-1) == Y).mean(-1), rtol=1e-6)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("fails", "raised RuntimeError: no weather today"),
        ("leaves", "raised SystemExit: 3"),
        ("text", "gave a str, not one number"),
        ("nothing", "gave a NoneType, not one number"),
        ("several", "gave a ndarray of shape (3,), not one number"),
        ("single", "gave a ndarray of shape (1,), not one number"),
        ("imaginary", "gave a complex64, not one number"),
        ("infinite", "gave inf"),
        ("undefined", "gave nan"),
    ],
)
def test_a_fault_on_the_host_is_no_number_and_is_noted(
    folder: Path, target: str, words: str
) -> None:
    score, faults = scored(folder, target)
    assert np.isnan(score)
    assert faults.news() == (f"extern own {words}",)
    assert faults.news() == ()
    assert faults.summary() == (
        f"extern own {words}; a model that it can't score is out of the iteration",
    )


def test_a_whole_number_is_a_score(folder: Path) -> None:
    assert scored(folder, "whole")[0] == 2


def test_only_the_first_fault_is_told_and_all_are_counted() -> None:
    faults = Faults()
    faults.note("a", "raised ValueError")
    faults.note("a", "gave nan")
    faults.note("b", "gave inf")
    assert faults.news() == ("extern a raised ValueError", "extern b gave inf")
    first, second = faults.summary()
    assert first.startswith("extern a raised ValueError, the first of 2 faults;")
    assert "first of" not in second


def test_what_happens_in_secret_is_told_only_at_the_end(folder: Path) -> None:
    _, faults = scored(folder, "fails")
    faults.clear()
    function = externs.heard(plan(extern("fails", is_host=True)), faults).externs[0]
    networks = Networks({}, {}, externs={function.function: function}).in_secret()
    called = attrs.evolve(use(function), inputs=(LOGITS_FIELD, Field("label", LABEL)))
    assert np.isnan(evaluate(called, FIELDS, networks))
    assert faults.news() == ()
    assert len(faults.summary()) == 1
    value(function)
    assert len(faults.news()) == 1
