"""Parts become a store, one at a time in memory."""

import weakref
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from cir.artefacts import merged_parts
from cir.artefacts.merged_parts import MergedParts, merge_parts
from cir.artefacts.store import read_embeddings
from cir.artefacts.vector_parts import VectorPart, read_part, write_part
from cir.errors import StoreError
from tests.support.micro import micro_encoder

DIM = 8
MADE = asdict(micro_encoder(DIM).provenance) | {"precision": "fp32", "libraries": {"torch": "1"}}


def vectors(seed: int, rows: int, dim: int = DIM) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def photos(path: Path, ids: str, seed: int, dim: int = DIM, **made: str) -> np.ndarray:
    """Writes a part of photos, each letter an id; their vectors."""
    rows = len(ids)
    columns = {
        "id": list(ids),
        "size": list(range(rows)),
        "mtime_ns": [seed] * rows,
        "sha256": [f"{ord(letter):064x}" for letter in ids],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_part(path, VectorPart(columns, vectors(seed, rows, dim), MADE | made))
    return vectors(seed, rows, dim)


def texts(path: Path, words: list[str], seed: int) -> np.ndarray:
    write_part(path, VectorPart({"text": words}, vectors(seed, len(words)), MADE))
    return vectors(seed, len(words))


def test_rows_stand_in_the_order_of_ids_and_the_later_part_counts(tmp_path: Path) -> None:
    first = photos(tmp_path / "one" / "0.parquet", "db", 0)
    later = photos(tmp_path / "one" / "1.parquet", "ba", 1)
    other = photos(tmp_path / "two" / "0.parquet", "c", 2)
    words = texts(tmp_path / "two" / "1.parquet", ["is red", "is blue"], 3)
    out = tmp_path / "shop.h5"
    found = merge_parts([tmp_path / "one", tmp_path / "two"], out)
    assert found == MergedParts(parts=4, images=4, captions=2)
    store = read_embeddings(out)
    assert store.images.keys == ("a", "b", "c", "d")
    expected = np.stack([later[1], later[0], other[0], first[0]])
    np.testing.assert_array_equal(store.images.vectors, expected)
    assert store.image_states.tolist() == [[1, 1], [0, 1], [0, 2], [0, 0]]
    assert store.image_sha256 == tuple(f"{ord(letter):064x}" for letter in "abcd")
    assert store.captions.keys == ("is blue", "is red")
    np.testing.assert_array_equal(store.captions.vectors, words[::-1])
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["shop.h5"]


def test_memory_holds_one_part_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[VectorPart] = weakref.WeakSet()

    def read(path: Path) -> VectorPart:
        assert len(alive) <= 1
        part = read_part(path)
        alive.add(part)
        return part

    for number, letter in enumerate("abcdefgh"):
        photos(tmp_path / "parts" / f"{number}.parquet", letter, number)
    monkeypatch.setattr(merged_parts, "read_part", read)
    assert merge_parts([tmp_path / "parts"], tmp_path / "shop.h5").images == 8


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"precision": "bf16"}, "1.parquet is of precision bf16, and .*0.parquet of fp32"),
        ({"dim": 4}, "1.parquet holds vectors of 4 components; expected 8"),
    ],
)
def test_parts_of_another_encoder_are_refused(how, message: str, tmp_path: Path) -> None:
    photos(tmp_path / "parts" / "0.parquet", "a", 0)
    photos(tmp_path / "parts" / "1.parquet", "b", 1, **how)
    with pytest.raises(StoreError, match=message):
        merge_parts([tmp_path / "parts"], tmp_path / "shop.h5")
    assert not (tmp_path / "shop.h5").exists()
