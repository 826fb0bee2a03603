"""Writes made-up files in the place of the data that some specs name: `python specs/stand_ins.py`.

They have the declared schema and row counts, and something to learn, so that a spec can be tried
before its real data are there. Nothing is downloaded; the same seed writes the same files.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

IMAGE_ROWS = {"train": 50_000, "test": 10_000}
REVIEW_ROWS = 40_000


def images(
    path: Path, rows: dict[str, int] = IMAGE_ROWS, seed: int = 0, classes: int = 100
) -> Path:
    """What images_from_file.ev3 reads: a coloured patch for each of the classes, blurred labels.

    Arrays `<split>/image` u8 [rows, 32, 32, 3], `<split>/label` i32 [rows] in [0, classes) and
    `<split>/teacher_logits` f32 [rows, classes] in an npz file.
    """
    generator = np.random.default_rng(seed)
    prototypes = generator.integers(0, 256, (classes, 4, 4, 3), np.uint8)
    arrays: dict[str, np.ndarray] = {}
    for split, count in rows.items():
        label = generator.integers(0, classes, count, np.int32)
        noise = generator.integers(-24, 25, (count, 4, 4, 3), np.int16)
        small = np.clip(prototypes[label].astype(np.int16) + noise, 0, 255).astype(np.uint8)
        arrays[f"{split}/image"] = small.repeat(8, axis=1).repeat(8, axis=2)
        arrays[f"{split}/label"] = label
        logits = generator.normal(0, 1, (count, classes)).astype(np.float32)
        logits[np.arange(count), label] += 6
        arrays[f"{split}/teacher_logits"] = logits
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path


def reviews(path: Path, rows: int = REVIEW_ROWS, seed: int = 0, longest: int = 128) -> Path:
    """What sentences.ev3 reads: token sequences whose words lean to their star rating.

    Columns `text` (lists of 5 to `longest` tokens in [1, 8000)), `stars` in [0, 5) and `author`,
    a string, in a parquet file.
    """
    # Needed for this file alone, and heavy.
    import pyarrow as pa
    import pyarrow.parquet as pq

    generator = np.random.default_rng(seed)
    stars = generator.integers(0, 5, rows)
    lengths = generator.integers(5, longest + 1, rows)
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


def visits(path: Path, rows: int = 4_000, seed: int = 0) -> Path:
    """What table.ev3 reads: who comes back to a hospital, by age, pulse, ward and urgency.

    A csv with the columns of the spec. What tells a return apart changes a little over the days.
    """
    generator = np.random.default_rng(seed)
    names = np.array(["children", "heart", "lungs", "other", "surgery"])
    ward = generator.integers(0, len(names), rows)
    age = np.where(ward == 0, generator.uniform(0, 15, rows), generator.uniform(18, 95, rows))
    pulse = generator.normal(75, 12, rows)
    urgent = generator.random(rows) < 0.3
    day = np.sort(generator.integers(0, 730, rows))
    risk = (age - 50) / 12 + np.abs(pulse - 75) / 9 + 2 * urgent + (ward == 1) - 3 - day / 700
    returned = risk + generator.logistic(0, 0.3, rows) > 0
    weight = np.where(returned, 1.5, 1.0)
    order = generator.permutation(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["age,pulse,ward,urgent,weight,day,returned"]
    for row in order:
        lines.append(
            f"{age[row]:.1f},{pulse[row]:.0f},{names[ward[row]]},"
            f"{str(bool(urgent[row])).lower()},{weight[row]},{day[row]},{int(returned[row])}"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def recordings(path: Path, rows: int = 3_000, seed: int = 0) -> Path:
    """What patients.ev3 reads: waves of three kinds, each patient with a pitch of its own.

    Arrays `signal` f32 [rows, 64], `state` i32 [rows] in [0, 3) and `patient`, names.
    """
    generator = np.random.default_rng(seed)
    people = rows // 15
    patient = generator.integers(0, people, rows)
    state = generator.integers(0, 3, rows).astype(np.int32)
    pitch = generator.uniform(0.8, 1.2, people)[patient] * np.array([2.0, 3.0, 4.5])[state]
    time = np.linspace(0, 1, 64)
    phase = generator.uniform(0, 2 * np.pi, rows)
    wave = np.sin(2 * np.pi * pitch[:, None] * time + phase[:, None])
    signal = (wave + generator.normal(0, 0.5, wave.shape)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, signal=signal, state=state, patient=np.char.add("p", patient.astype(str)))
    return path


def sequences(path: Path, rows: int = 2_400, seed: int = 0) -> Path:
    """What sequences.ev3 reads: 6 to 24 random tokens, among them two that tell the kind.

    Columns `text`, lists of tokens in [0, 50), and `kind` in [0, 4), in a parquet file: the kind
    says which of two tokens come first and second.
    """
    # Needed for this file alone, and heavy.
    import pyarrow as pa
    import pyarrow.parquet as pq

    generator = np.random.default_rng(seed)
    kind = generator.integers(0, 4, rows).astype(np.int32)
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    texts = []
    for each in kind:
        text = generator.integers(2, 50, generator.integers(6, 25))
        places = np.sort(generator.choice(len(text), 2, replace=False))
        text[places] = pairs[each]
        texts.append(text.tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": pa.array(texts, pa.list_(pa.int32())), "kind": kind}), path)
    return path


def texts(path: Path, rows: int = 2_000, seed: int = 0) -> Path:
    """What language_model.ev3 reads: walks over 40 tokens that mostly count on by one or by three.

    An array `text` i32 [rows, 32] in [0, 40), -1 behind a text's end.
    """
    generator = np.random.default_rng(seed)
    stride = generator.choice([1, 3], rows)
    begin = generator.integers(0, 40, rows)
    steps = np.where(generator.random((rows, 32)) < 0.9, stride[:, None], 7).cumsum(1)
    text = ((begin[:, None] + steps) % 40).astype(np.int32)
    length = generator.integers(16, 33, rows)
    text[np.arange(32) >= length[:, None]] = -1
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, text=text)
    return path


def scenes(path: Path, rows: int = 3_000, seed: int = 0) -> Path:
    """What labels.ev3 reads: 20 numbers, and which of eight half spaces they lie in.

    Arrays `features` f32 [rows, 20] and `labels` u8 [rows, 8], 0 or 1.
    """
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(rows, 20)).astype(np.float32)
    directions = generator.normal(size=(20, 8)) / np.sqrt(20)
    labels = (features @ directions > 0.3).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, features=features, labels=labels)
    return path


WRITERS: Mapping[str, Callable[[Path], Path]] = {
    "images.npz": images,
    "reviews.parquet": reviews,
    "visits.csv": visits,
    "recordings.npz": recordings,
    "sequences.parquet": sequences,
    "texts.npz": texts,
    "scenes.npz": scenes,
}
"""What writes each file that a spec names."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).resolve().parent / "data"
    parser.add_argument("--out", type=Path, default=default, help="folder (default: specs/data)")
    out = parser.parse_args().out
    for name, write in WRITERS.items():
        print(f"wrote {write(out / name)}")


if __name__ == "__main__":
    main()
