"""A short run of each part of the fuzz suite, the same every time; `make fuzz` runs thousands."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.minimize import minimized
from tests.fuzz.part import PARTS, Case
from tests.fuzz.pool import try_all

SHORT = {"specs": 150, "pairs": 50}

"""Cases of the parts that are cheap; the others have short runs of their own."""


@pytest.mark.parametrize("name", SHORT)
def test_a_short_run_finds_nothing(name: str) -> None:
    part = PARTS[name]
    counts: Counter[str] = Counter()
    for tried in try_all(part, range(100, 100 + SHORT[name]), 1):
        counts.update(tried.counts)
        assert tried.failure is None, (tried.seed, tried.case, tried.failure)
    assert part.review(counts) is None


def test_a_part_makes_the_same_case_of_a_seed_again() -> None:
    for name in SHORT:
        part = PARTS[name]
        assert part.case(5) == part.case(5)


def test_a_case_that_fails_becomes_as_small_as_it_can() -> None:
    case = Case({"spec.ev3": b"ev3 1\nlet a = 1 + bad(2)\n", "more.txt": b"x"}, "two files")
    small = minimized(case, lambda each: b"bad" in each.files.get("spec.ev3", b""))
    assert {name: data.strip() for name, data in small.files.items()} == {"spec.ev3": b"bad"}


def test_a_case_that_raises_or_hangs_is_a_failure() -> None:
    part = attrs.evolve(PARTS["specs"], module="tests.fuzz.faulty", limit_s=0.5)
    tried = sorted(try_all(part, range(3), 2), key=lambda each: each.seed or 0)
    assert tried[0].failure is None
    assert tried[0].counts == {"well": 1}
    assert tried[1].failure is not None
    assert "ZeroDivisionError" in tried[1].signature
    assert tried[2].is_hang


def test_what_fails_is_written_and_the_status_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = attrs.evolve(PARTS["specs"], module="tests.fuzz.faulty", limit_s=0.5)
    monkeypatch.setitem(PARTS, "specs", part)
    assert main(["--only", "specs", "--seed", "1", "--count", "1", "--workers", "1"]) == 1
    shown = capsys.readouterr().out
    assert "seed 1" in shown
    folder = Path(shown.rsplit(" in ", 1)[1].strip())
    (written,) = folder.iterdir()
    assert (written / "case.txt").read_bytes() == b"1"
    assert "ZeroDivisionError" in (written / "failure.txt").read_text()
    assert main(["--only", "specs", "--seed", "0", "--count", "1", "--workers", "1"]) == 0
