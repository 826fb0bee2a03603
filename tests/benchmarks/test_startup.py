"""The start-up benchmark times whole processes beside the imports they can't do without."""

from __future__ import annotations

from benchmarks.startup import IMPORTS, SPECS, commands, measure, warm


def test_a_command_is_compared_with_the_imports_run_by_run() -> None:
    result = measure({"imports": IMPORTS}, rounds=3)
    same = result["commands"]["imports"]
    assert 0.3 < same["times the imports (cpu)"] < 3
    assert same["wall_ms"] > 1


def test_every_spec_is_checked_cold_and_warm() -> None:
    assert {f"check {path.name}" for path in SPECS} <= set(commands())
    assert all(warm(path, rounds=1) > 0 for path in SPECS)
