"""The stand-ins have the schema that their specs declare."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow.parquet as pq
import pytest

from ev3lang.source import Source
from ev3lang.syntax import tree
from ev3lang.syntax.parse import parse


@pytest.fixture(scope="module")
def stand_ins(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("stand_ins", repository / "specs/stand_ins.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declared(path: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Fields and their types as written, and the row counts by split (`""` for the whole)."""
    parsed, _ = parse(Source(path.name, path.read_text(encoding="utf-8")))
    (data,) = [each for each in parsed.declarations if isinstance(each, tree.Data)]
    fields = {e.name.text: e.type.span.text for e in data.items if isinstance(e, tree.FieldItem)}
    (rows,) = [each for each in data.items if isinstance(each, tree.RowsItem)]
    counts = {e.part.text if e.part else "": int(e.count.value) for e in rows.counts}
    return fields, counts


def sizes(type_: str) -> tuple[int, ...]:
    return tuple(int(size) for size in re.findall(r"\b\d+\b", type_))


def test_images_are_what_their_spec_declares(
    stand_ins: ModuleType, repository: Path, tmp_path: Path
) -> None:
    fields, rows = declared(repository / "specs/images_from_file.ev3")
    assert rows == stand_ins.IMAGE_ROWS
    few = {"train": 30, "test": 12}
    arrays = np.load(stand_ins.images(tmp_path / "images.npz", few))
    assert set(arrays) == {f"{split}/{field}" for split in few for field in fields}
    for split, count in few.items():
        image, label = arrays[f"{split}/image"], arrays[f"{split}/label"]
        assert (image.dtype, image.shape) == (np.uint8, (count, *sizes(fields["image"])[-3:]))
        assert label.min() >= 0
        assert label.max() < sizes(fields["label"])[0]
        logits = arrays[f"{split}/teacher_logits"]
        assert logits.shape == (count, *sizes(fields["teacher_logits"]))
        assert (logits.argmax(axis=1) == label).mean() > 0.9


def test_reviews_are_what_their_spec_declares(
    stand_ins: ModuleType, repository: Path, tmp_path: Path
) -> None:
    fields, rows = declared(repository / "specs/sentences.ev3")
    assert rows == {"": stand_ins.REVIEW_ROWS}
    table = pq.read_table(stand_ins.reviews(tmp_path / "reviews.parquet", 200))
    assert set(table.column_names) == set(fields)
    vocabulary, length = sizes(fields["text"])
    texts = table["text"].to_pylist()
    assert len(texts) == 200
    assert all(0 < len(text) <= length for text in texts)
    assert all(0 <= token < vocabulary for text in texts for token in text)
    assert set(table["stars"].to_pylist()) <= set(range(sizes(fields["stars"])[0]))


def test_the_same_seed_writes_the_same_file(stand_ins: ModuleType, tmp_path: Path) -> None:
    rows = {"train": 5, "test": 5}
    first = np.load(stand_ins.images(tmp_path / "a.npz", rows))
    again = np.load(stand_ins.images(tmp_path / "b.npz", rows))
    assert all(np.array_equal(first[name], again[name]) for name in first)
