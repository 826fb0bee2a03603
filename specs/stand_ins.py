"""Writes made-up files in the place of the data that some specs name: `python specs/stand_ins.py`.

They have the declared schema and row counts, and something to learn, so that a spec can be tried
before its real data are there. Nothing is downloaded; the same seed writes the same files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

IMAGE_ROWS = {"train": 50_000, "test": 10_000}
REVIEW_ROWS = 40_000


def images(path: Path, rows: dict[str, int] = IMAGE_ROWS, seed: int = 0) -> Path:
    """What images_from_file.ev3 reads: a coloured patch for each of 100 classes, blurred labels.

    Arrays `<split>/image` u8 [rows, 32, 32, 3], `<split>/label` i32 [rows] in [0, 100) and
    `<split>/teacher_logits` f32 [rows, 100] in an npz file.
    """
    generator = np.random.default_rng(seed)
    prototypes = generator.integers(0, 256, (100, 4, 4, 3), np.uint8)
    arrays: dict[str, np.ndarray] = {}
    for split, count in rows.items():
        label = generator.integers(0, 100, count, np.int32)
        noise = generator.integers(-24, 25, (count, 4, 4, 3), np.int16)
        small = np.clip(prototypes[label].astype(np.int16) + noise, 0, 255).astype(np.uint8)
        arrays[f"{split}/image"] = small.repeat(8, axis=1).repeat(8, axis=2)
        arrays[f"{split}/label"] = label
        logits = generator.normal(0, 1, (count, 100)).astype(np.float32)
        logits[np.arange(count), label] += 6
        arrays[f"{split}/teacher_logits"] = logits
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


def reviews(path: Path, rows: int = REVIEW_ROWS, seed: int = 0) -> Path:
    """What sentences.ev3 reads: token sequences whose words lean to their star rating.

    Columns `text` (lists of 5 to 128 tokens in [1, 8000)), `stars` in [0, 5) and `author`, a
    string, in a parquet file.
    """
    # Needed for this file alone, and heavy.
    import pyarrow as pa
    import pyarrow.parquet as pq

    generator = np.random.default_rng(seed)
    stars = generator.integers(0, 5, rows)
    lengths = generator.integers(5, 129, rows)
    tokens = generator.integers(1, 8000, int(lengths.sum()))
    # A fifth of the words is drawn from the 100 that belong to the rating.
    telling = generator.random(len(tokens)) < 0.2
    own = stars.repeat(lengths) * 100 + generator.integers(1, 101, len(tokens))
    tokens = np.where(telling, own, tokens).astype(np.int32)
    ends = np.concatenate([[0], lengths.cumsum()]).astype(np.int32)
    authors = [f"author {number}" for number in generator.integers(0, rows // 8 + 1, rows)]
    table = pa.table(
        {
            "text": pa.ListArray.from_arrays(pa.array(ends), pa.array(tokens)),
            "stars": pa.array(stars.astype(np.int32)),
            "author": pa.array(authors),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).resolve().parent / "data"
    parser.add_argument("--out", type=Path, default=default, help="folder (default: specs/data)")
    out = parser.parse_args().out
    for written in (images(out / "images.npz"), reviews(out / "reviews.parquet")):
        print(f"wrote {written}")


if __name__ == "__main__":
    main()
