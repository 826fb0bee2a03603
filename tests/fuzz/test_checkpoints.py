"""A damaged checkpoint is refused in a sentence, whatever the damage and whoever wrote it."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.checkpoints import attempt, cases


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    found = [attempt(case.write(tmp_path)) for case in cases(seed=0, count=60)]
    refused = [text for text in found if text != "read"]
    # some damage is of what nobody reads
    assert len(refused) > 30
    assert all(str(tmp_path) in text for text in refused)
