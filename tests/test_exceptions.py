"""Every exception of the library can be handed on by a pool of processes, and be copied."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ev3lang
from ev3lang.compile import SpecError
from ev3lang.diagnostics.diagnostic import Diagnostic
from ev3lang.source import Source, Span

PACKAGE = Path(ev3lang.__file__).parent
SPEC = Source("a.ev3", "ev3 1\ndata d = x()\n")
DIAGNOSTIC = Diagnostic("unknown-name", "no source x", Span(SPEC, 15, 16), help="look it up")
FACTS: dict[str, Any] = {
    "str": "what is wrong",
    "str | None": "image",
    "int": 7,
    "int | None": 7,
    "bool": True,
    "object": "7",
    "tuple[Diagnostic, ...]": (DIAGNOSTIC,),
}
"""A value of every type that an exception takes."""


def _kinds() -> Iterator[type[BaseException]]:
    """Every class of an exception that the package defines."""
    for path in sorted(PACKAGE.rglob("*.py")):
        classes = [
            node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)
        ]
        if classes:
            name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            module = importlib.import_module(name)
            kinds = (getattr(module, each) for each in classes)
            yield from (each for each in kinds if issubclass(each, BaseException))


KINDS = tuple(_kinds())


def _example(kind: type[BaseException]) -> BaseException:
    """One of a kind, with a fact for each parameter."""
    if not inspect.isfunction(kind.__init__):
        # Python's own, which takes anything
        return kind("what is wrong")
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    given = {each.name: FACTS[str(each.annotation)] for each in parameters}
    return kind(**given)


def _told(error: BaseException) -> tuple[Any, ...]:
    facts = {name: repr(value) for name, value in vars(error).items()}
    return type(error), str(error), repr(error.args), facts


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_exception_is_the_same_from_another_process_and_as_a_copy(
    kind: type[BaseException],
) -> None:
    error = _example(kind)
    error.add_note("in point 3")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert _told(pickle.loads(pickle.dumps(error, protocol))) == _told(error)
    assert _told(copy.copy(error)) == _told(copy.deepcopy(error)) == _told(error)


def test_all_are_found() -> None:
    assert {"DataError", "WeightsError", "SpecError", "ModuleError", "DeviceError"} <= {
        kind.__name__ for kind in KINDS
    }


def _refused(path: str) -> None:
    ev3lang.load(path)


def test_a_pool_raises_what_its_worker_raised(tmp_path: Path) -> None:
    (tmp_path / "a.ev3").write_text("ev3 1\nmodel net: x -> y = mlp(hidden: [4])\n")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        work = pool.apply_async(_refused, (str(tmp_path / "a.ev3"),))
        with pytest.raises(SpecError) as caught:
            work.get(timeout=60)
    assert caught.value.diagnostics[0].code in str(caught.value)
