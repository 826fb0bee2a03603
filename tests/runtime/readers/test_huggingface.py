"""A data set that the datasets library saved is read without a network."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.readers.declared import columns, fault, read, says

REVIEWS = columns(text="tokens[9, 3]", label="class[2]")
IS_INSTALLED = importlib.util.find_spec("datasets") is not None


@pytest.mark.skipif(IS_INSTALLED, reason="the library is here")
def test_without_the_library_the_error_says_what_to_install(tmp_path: Path) -> None:
    error = fault("huggingface", tmp_path, REVIEWS, name="any")
    says(error, "need its library", "pip install 'ev3lang[huggingface]'")


def test_splits_are_parts(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    train = {"text": [[1, 2], [3], [4, 5, 6]], "label": [0, 1, 0], "other": ["a", "b", "c"]}
    test = {"text": [[7]], "label": [1], "other": ["d"]}
    datasets.DatasetDict(
        {"train": datasets.Dataset.from_dict(train), "test": datasets.Dataset.from_dict(test)}
    ).save_to_disk(tmp_path / "reviews")
    parts = read("huggingface", tmp_path, REVIEWS, name="reviews")
    assert list(parts) == ["train", "test"]
    assert parts["train"]["text"].tolist() == [[1, 2, -1], [3, -1, -1], [4, 5, 6]]
    assert parts["test"]["label"].tolist() == [1]
    error = fault("huggingface", tmp_path, columns(lable="class[2]"), name="reviews")
    says(error, "reviews, split train has no column `lable`", "`label`")


def test_a_shuffled_set_of_pictures_has_no_parts(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 3), np.uint8)
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    built = datasets.Dataset.from_dict(
        {"image": list(pixels), "label": [0, 1, 0, 1, 1]}, features=features
    ).select([3, 1, 0])
    built.save_to_disk(tmp_path / "pictures")
    declared = columns(image="u8[4, 4, 3]", label="class[2]")
    fields = read("huggingface", tmp_path, declared, name="pictures")[None]
    np.testing.assert_array_equal(fields["image"], pixels[[3, 1, 0]])
    assert fields["label"].tolist() == [1, 1, 0]
