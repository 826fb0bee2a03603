"""Runs with functions of the user's: what they change, what their faults do, what is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ev3lang.analysis import analyze
from ev3lang.backend.modules import ModuleError
from ev3lang.compile import experiment
from ev3lang.runtime.events import Event, IterationDone, Warned
from ev3lang.runtime.run import Result, run
from ev3lang.source import Source

CODE = """\
import jax
import jax.numpy as jnp
import numpy as np

calls = []


def entropy(logits, label):
    chosen = jnp.take_along_axis(logits, label[:, None], axis=-1)[:, 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def right(logits, label):
    return jnp.argmax(logits, axis=-1) == label


def of_seven(logits, label):
    return entropy(logits, label) + (logits.reshape(-1, 7, 2).sum() if len(logits) > 3 else 0)


def accuracy(logits, label):
    return (logits.argmax(-1) == label).mean()


def fails_at_first(logits, label):
    calls.append(len(label))
    if len(calls) <= 2:
        raise ValueError("no weather today\\nin two lines")
    return accuracy(logits, label)


def fails(logits, label):
    raise ValueError("no weather today")


def tall(logits, label):
    return 7.25
"""

SPEC = """\
ev3 1
extern fn own_entropy(logits[n], class[n]) -> real from "run_functions:entropy"
extern fn own_right(logits[n], class[n]) -> bool from "run_functions:right"
extern host fn own_score(logits[n], class[n]) -> real from "run_functions:accuracy"
data moons = two_moons(n: 400)
model net: point -> logits(label) = mlp(hidden: [8])
loss built_in = cross_entropy(net(point), label)
loss own = own_entropy(net(point), label)
objective accuracy = maximize argmax(net(point)) == label
objective right = maximize own_right(net(point), label)
objective scored in 0 to 1 = maximize own_score(net(point), label)
explore net { descend LOSS with sgd(0.3), sgd(0.03) for 10 steps }
assess net { rank by RANK }
adapt net {
  accept when accuracy improves
  stop after 4 iterations
}
report { show SHOWN }
"""


@pytest.fixture(scope="module", autouse=True)
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("project")
    (folder / "run_functions.py").write_text(CODE)
    before = list(sys.path)
    sys.path.append(str(folder))
    yield folder
    sys.path[:] = before


def spec(loss: str = "built_in", rank: str = "accuracy", **changes: str) -> str:
    """The spec with only what it uses, and `changes` of one word for another."""
    text = SPEC.replace("LOSS", loss).replace("RANK", rank)
    text = text.replace("SHOWN", ", ".join(dict.fromkeys(["accuracy", rank])))
    unused = {"own" if loss == "built_in" else "built_in", "scored", "right"} - {rank}
    lines = [
        line
        for line in text.splitlines()
        if line.split("=")[0].split(" in ")[0].split()[-1:] not in [[name] for name in unused]
    ]
    text = "\n".join(lines) + "\n"
    for name, other in changes.items():
        text = text.replace(f"run_functions:{name}", f"run_functions:{other}")
    called = {
        name: text.count(f"{name}(") > 1 for name in ("own_entropy", "own_right", "own_score")
    }
    dropped = [f"fn {name}(" for name, is_called in called.items() if not is_called]
    return "".join(
        line for line in text.splitlines(True) if not any(each in line for each in dropped)
    )


def ran(
    tmp_path: Path, text: str, name: str = "run", allowed: tuple[str, ...] = ("run_functions",)
) -> tuple[Result, list[Event]]:
    source = Source(str(tmp_path / "spec.ev3"), text)
    analysis = analyze(source)
    assert not [each for each in analysis.diagnostics if each.severity == "error"]
    events: list[Event] = []
    result = run(
        experiment(analysis).plan,
        source,
        on="cpu",
        out=tmp_path / name,
        listen=events.append,
        allow_python=allowed,
    )
    return result, events


def scores(events: list[Event], name: str) -> np.ndarray:
    """[iterations, candidates], an objective's values on assess."""
    done = [event for event in events if isinstance(event, IterationDone)]
    return np.array([[each.scores[name].value for each in event.candidates] for event in done])


def warnings(events: list[Event]) -> list[str]:
    return [event.what for event in events if isinstance(event, Warned)]


def accepted(result: Result) -> float:
    return result.report.metrics[result.report.delivered]["accuracy"].value


# ---------------------------------------------------------------- functions of the program


def test_functions_of_the_users_train_and_rank_as_the_built_in_ones(tmp_path: Path) -> None:
    result, own = ran(tmp_path, spec("own", rank="right"), "own")
    other, built_in = ran(tmp_path, spec("built_in"), "built_in")
    np.testing.assert_array_equal(scores(own, "right"), scores(own, "accuracy"))
    # a logit that rounding moves across a tie may change one example of the 60
    found = scores(own, "accuracy"), scores(built_in, "accuracy")
    np.testing.assert_allclose(*found, atol=1.5 / 60)
    assert accepted(result) == pytest.approx(accepted(other), abs=1.5 / 40)
    assert result.report.warnings == ()
    first, second = json.loads((result.folder / "run.json").read_text())["externs"]
    assert (first["name"], first["target"]) == ("own_entropy", "run_functions:entropy")
    assert (second["name"], second["target"]) == ("own_right", "run_functions:right")
    assert len(first["sha256"]) == 64


def test_nothing_is_written_by_a_run_that_is_refused(tmp_path: Path) -> None:
    for text, allowed, message in (
        (spec("own"), (), "whose code may not run"),
        (spec("own", entropy="missing"), ("run_functions",), "has no missing"),
        (spec("own", entropy="of_seven"), ("run_functions",), "raised TypeError"),
    ):
        with pytest.raises(ModuleError, match=message):
            ran(tmp_path, text, "refused", allowed)
        assert not (tmp_path / "refused").exists()


# ---------------------------------------------------------------- functions on the host


def test_a_score_of_the_host_ranks_as_the_built_in(tmp_path: Path) -> None:
    result, events = ran(tmp_path, spec(rank="scored"), "first")
    done = [event for event in events if isinstance(event, IterationDone)]
    np.testing.assert_allclose(scores(events, "scored"), scores(events, "accuracy"), atol=1e-6)
    for event, highest in zip(done, scores(events, "scored").max(axis=1), strict=True):
        chosen = next(each for each in event.candidates if each.name == event.chosen)
        assert chosen.scores["scored"].value == highest
    assert result.report.warnings == ()
    again, _ = ran(tmp_path, spec(rank="scored"), "second")
    logs = [(each.folder / "events.jsonl").read_text() for each in (result, again)]
    assert logs[0] == logs[1]


def test_what_no_host_can_score_is_out_and_accepted_stays(tmp_path: Path) -> None:
    result, events = ran(tmp_path, spec(rank="scored", accuracy="fails"))
    words = "extern own_score raised ValueError: no weather today"
    done = [event for event in events if isinstance(event, IterationDone)]
    assert len(done) == 4
    assert all(each.is_quarantined for event in done for each in event.candidates)
    assert all(event.chosen is None for event in done)
    assert warnings(events) == [words]
    (told,) = result.report.warnings
    assert told.startswith(f"{words}, the first of ")
    assert result.report.acceptances == ()
    assert result.report.steps[result.report.delivered] == 0
    lines = list(map(json.loads, (result.folder / "events.jsonl").read_text().splitlines()))
    assert {"event": "warning", "what": words} in lines


def test_a_host_that_recovers_ranks_again(tmp_path: Path) -> None:
    # loaded by whichever test came first, if one did
    if "run_functions" in sys.modules:
        sys.modules["run_functions"].calls.clear()
    result, events = ran(tmp_path, spec(rank="scored", accuracy="fails_at_first"))
    assert warnings(events) == ["extern own_score raised ValueError: no weather today"]
    done = [event for event in events if isinstance(event, IterationDone)]
    assert not any(each.is_quarantined for each in done[-1].candidates)
    assert any(event.has_moved for event in done)
    assert np.isfinite(done[-1].accepted["scored"].value)
    assert result.report.warnings[0].count("the first of 2 faults") == 1


def test_a_score_outside_of_its_range_is_out(tmp_path: Path) -> None:
    result, events = ran(tmp_path, spec(rank="scored", accuracy="tall"))
    done = [event for event in events if isinstance(event, IterationDone)]
    assert all(event.chosen is None for event in done)
    (told,) = warnings(events)
    assert told.startswith("scored was 7.25 for built_in with ")
    assert "in iteration 1, outside of its range 0 to 1; " in told
    (summed,) = result.report.warnings
    out = "such a candidate is out of the iteration"
    assert told.endswith(out)
    assert summed == f"{told.removesuffix(f'; {out}')}, the first of 8 candidates; {out}"


def test_a_host_score_is_accepted_by_what_it_shows(tmp_path: Path) -> None:
    text = spec(rank="scored").replace("accept when accuracy", "accept when scored")
    text = text.replace("for 10 steps", "for 60 steps")
    result, _ = ran(tmp_path, text)
    assert len(result.report.acceptances) >= 1
    assert accepted(result) > 0.75


LARGE = """\
import sys
from pathlib import Path
from ev3lang.analysis import analyze
from ev3lang.compile import experiment
from ev3lang.runtime.run import run
from ev3lang.source import Source

source = Source("spec.ev3", Path("spec.ev3").read_text())
run(experiment(analyze(source)).plan, source, on="cpu", out=Path(sys.argv[1]),
    allow_python=["large_functions"])
"""

LARGE_CODE = """\
def score(logits, label):
    assert logits.shape in ((20_000, 10), (2_000, 10)), logits.shape
    return (logits.argmax(-1) == label).mean()
"""


def test_large_sets_reach_the_host(tmp_path: Path) -> None:
    """Callbacks of a program on a CPU must not wait for the thread that waits for them."""
    rows, wide = 20_000, 10
    random = np.random.default_rng(0)
    label = random.integers(0, wide, 2 * rows + 4_000).astype(np.int32)
    point = (np.eye(wide, 4)[label] + random.normal(size=(len(label), 4))).astype(np.float32)
    arrays: dict[str, Any] = {}
    begin = 0
    for part, size in (("train", 2_000), ("assess", rows), ("adapt", rows), ("report", 2_000)):
        here = slice(begin, begin := begin + size)
        arrays[f"{part}/point"], arrays[f"{part}/label"] = point[here], label[here]
    np.savez(tmp_path / "clouds.npz", **arrays)
    (tmp_path / "large_functions.py").write_text(LARGE_CODE)
    (tmp_path / "run.py").write_text(LARGE)
    (tmp_path / "spec.ev3").write_text(
        """\
ev3 1
extern host fn score(logits[n], class[n]) -> real from "large_functions:score"
data clouds = npz("clouds.npz") {
  point: f32[4]
  label: class[10]
  split explore from train, assess from assess, adapt from adapt, report from report
}
model net: point -> logits(label) = mlp(hidden: [8])
loss entropy = cross_entropy(net(point), label)
objective accuracy = maximize argmax(net(point)) == label
objective scored = maximize score(net(point), label)
explore net { descend entropy with sgd(0.1), adam(1e-3), adam(1e-2) for 5 steps }
assess net { rank by scored }
adapt net {
  accept when accuracy improves
  move always
  stop after 5 iterations
}
report { show accuracy }
"""
    )
    for out in ("first", "second"):
        # the second one reads from jax's cache what the first has left there
        subprocess.run(
            [sys.executable, "run.py", out],
            cwd=tmp_path,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            timeout=170,
            check=True,
        )
        report = json.loads((tmp_path / out / "report.json").read_text())
        assert report["iterations"] == 5
        assert report["warnings"] == []
