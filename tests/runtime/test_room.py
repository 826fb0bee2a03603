"""A run that its device has no memory for is refused before anything is read or allocated."""

from __future__ import annotations

from pathlib import Path

import jax
import pytest

from ev3lang.analysis import analyze
from ev3lang.plan.lower import lower
from ev3lang.plan.plan import Plan
from ev3lang.runtime import memory, room
from ev3lang.runtime.faults import MemoryFault
from ev3lang.runtime.run import run
from ev3lang.source import Source
from tests.check.test_limits import DIGITS, PLACES


def planned(text: str) -> tuple[Plan, Source]:
    source = Source("large.ev3", text)
    analysis = analyze(source)
    assert analysis.program is not None, analysis.diagnostics
    return lower(analysis.program), source


LARGE = {
    "weights": PLACES["hidden widths"].replace("N", "300_000"),
    "batches": PLACES["steps"].replace("N", "2_000_000_000"),
    "populations": PLACES["population"].replace("N", "2_000_000"),
}


@pytest.mark.parametrize("part", LARGE)
def test_what_needs_a_terabyte_is_refused_before_a_folder_is_made(
    part: str, tmp_path: Path
) -> None:
    plan, source = planned(LARGE[part])
    out = tmp_path / "run"
    with pytest.raises(MemoryFault, match=f"at least .*{part} .*, and cpu has"):
        run(plan, source, on="cpu", out=out)
    assert not out.exists()


def test_a_small_run_has_room() -> None:
    room.require(planned(DIGITS)[0], jax.devices("cpu")[0])


def test_the_host_has_no_more_memory_than_the_machine() -> None:
    host = memory.host_memory_bytes()
    assert host is None or host > 0
