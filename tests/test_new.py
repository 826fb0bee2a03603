"""`new`: a spec for a data file or a bundled set, which checks and stays put under `fmt`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ev3lang.analysis import analyze
from ev3lang.catalog.index import SOURCES
from ev3lang.cli import commands
from ev3lang.new import NewSpecError, new_spec
from ev3lang.source import Source
from ev3lang.syntax.format import format_source

BUNDLED = [name for name, each in SOURCES.items() if not each.declares_fields]


def _faults(text: str) -> list[str]:
    """Codes of what is found, but for what can't be run yet."""
    assert format_source(Source("new.ev3", text)) == text
    found = analyze(Source("new.ev3", text)).diagnostics
    return [each.code for each in found if each.code != "not-built-yet"]


@pytest.mark.parametrize("name", BUNDLED)
def test_a_spec_for_a_bundled_set_has_no_fault(name: str) -> None:
    assert _faults(new_spec("mine", name)) == []


def test_a_class_of_a_bundled_set_can_be_run() -> None:
    assert analyze(Source("new.ev3", new_spec("mine", "sklearn.iris"))).program is not None


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    rows = [f"p{i},{20 + i},{i / 7:.3f},{i % 5},{'xyz'[i % 3]},{i % 3}" for i in range(1000)]
    path.write_text("\n".join(["patient,Age (years),income,batch,town,outcome", *rows]))
    return path


def test_the_schema_of_a_table_is_filled_in(table: Path) -> None:
    text = new_spec("mine", str(table))
    assert _faults(text) == []
    for part in (
        "patient: id",
        'age_years: f32 from "Age (years)"',
        'batch_value: f32 from "batch"',
        "town: text[categories]",
        "outcome: class[3]",
        "rows 1000",
        "stratified by outcome",
    ):
        assert part in text


def test_another_target_and_a_number_are_learned(table: Path) -> None:
    text = new_spec("mine", str(table), "income")
    assert _faults(text) == []
    assert "income: real" in text
    assert "squared_error" in text


def test_parquet_gives_the_same_schema(table: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import csv, parquet

    path = table.with_suffix(".parquet")
    parquet.write_table(csv.read_csv(table), path)
    del pyarrow
    expected = new_spec("mine", str(table)).replace("csv(", "parquet(")
    assert new_spec("mine", str(path)) == expected.replace("people.csv", "people.parquet")


def test_arrays_of_an_npz_are_fields(tmp_path: Path) -> None:
    path = tmp_path / "pictures.npz"
    images = np.zeros((500, 8, 8, 3), np.uint8)
    np.savez(path, image=images, label=np.arange(500) % 4)
    text = new_spec("mine", str(path))
    assert _faults(text) == []
    assert "image: u8[8, 8, 3]" in text
    assert "label: class[4]" in text


@pytest.mark.parametrize(
    ("content", "target", "words"),
    [
        ("a,b\n", None, "no rows"),
        ("a,b\n1,2\n3\n", None, "row 3"),
        ("a,b\n1,2\n", None, "too few"),
        ("a,a\n" + "1,2\n" * 50, None, "two columns"),
        ("a,b\n" + "\0,2\n" * 50, "a", "words|text table"),
        ("a,b\n" + "1,2\n" * 50, "c", "no field c"),
        ("a,b\n" + "1,x\n1,y\n" * 50, "b", "holds words"),
        ("a,b\n" + "x,1\ny,0\n" * 50, "b", "no numbers"),
    ],
)
def test_a_table_without_a_task_is_refused(
    content: str, target: str | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(NewSpecError, match=words):
        new_spec("mine", str(path), target)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x93NUMPY\x01\x00"])
def test_a_broken_file_is_refused(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(content)
    with pytest.raises(NewSpecError, match="broken"):
        new_spec("mine", str(path))


def test_cells_that_say_nothing_are_told(tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("a,label\n" + "1.5,0\nNaN,1\n,1\n" * 40)
    text = new_spec("mine", str(path))
    assert _faults(text) == []
    assert "a: f32  # cells that are empty, which a run refuses: 80" in text


def test_the_command_writes_a_new_file_only(tmp_path: Path) -> None:
    out = tmp_path / "a.ev3"
    arguments = ["new", "mine", "--data", "sklearn.iris", "--out", str(out)]
    run = CliRunner().invoke
    assert run(commands, arguments, standalone_mode=False).return_value == 0
    assert "experiment mine" in out.read_text("utf-8")
    assert isinstance(run(commands, arguments, standalone_mode=False).exception, FileExistsError)
