"""Which images can be no negative of a query."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import Table, normalised
from cir.data.dataset import Query
from cir.errors import StoreError
from cir.mining.validity import Exclusions, barred_images, exclusions_of, find_exclusions

IDS = tuple("abcdefgh")
UNLIKE = 1.01


def store(digests: Sequence[str] = IDS, vectors: np.ndarray | None = None) -> Embeddings:
    rows = np.eye(8, dtype=np.float32) if vectors is None else vectors.astype(np.float32)
    return Embeddings(
        images=Table(IDS, rows),
        captions=Table((), np.zeros((0, 8), np.float32)),
        image_sha256=tuple(digests),
        provenance=Provenance("micro", "random", "0" * 64, "targetpad", 8),
        skipped={},
        path=Path("embeddings.h5"),
        sha256="e" * 64,
    )


def query(name: str, reference: str, targets: str, *captions: str) -> Query:
    return Query(name, "dress", reference, captions, tuple(targets))


def excluded(
    queries: Sequence[Query], embeddings: Embeddings, threshold: float, gallery: str = "abcdefgh"
) -> tuple[list[str], Exclusions]:
    """The excluded ids of each query as one word."""
    unit = normalised(embeddings.images.take(tuple(gallery)), "gallery")
    found = find_exclusions(queries, tuple(gallery), unit, embeddings, threshold)
    words = ["".join(gallery[row] for row in found.of(n)) for n in range(len(queries))]
    return words, found


def test_reference_target_and_known_targets_are_excluded() -> None:
    queries = [
        query("1", "a", "b", "is red"),
        query("2", "a", "c", "is red"),
        query("3", "a", "d", "is blue"),
        query("4", "e", "f", "is red"),
        query("5", "e", "gh", "is long"),
    ]
    words, found = excluded(queries, store(), UNLIKE)
    assert words == ["abc", "abc", "ad", "ef", "egh"]
    assert found.duplicates == 0


def test_copies_of_the_target_are_excluded_and_counted() -> None:
    digests = ["a", "b", "b", "d", "e", "f", "b", "h"]
    queries = [query("1", "a", "b", "is red"), query("2", "c", "b", "is red")]
    words, found = excluded(queries, store(digests), UNLIKE)
    assert words == ["abcg", "bcg"]
    assert found.duplicates == 3


@pytest.mark.parametrize(
    ("threshold", "word"), [(0.5, "abcd"), (0.75, "abc"), (0.9, "ab"), (UNLIKE, "ab")]
)
def test_near_copies_of_the_target_are_excluded(threshold: float, word: str) -> None:
    vectors = np.eye(8)
    for row, cosine in ((2, 0.8), (3, 0.6)):
        vectors[row] = 0
        vectors[row, [1, row]] = cosine, np.sqrt(1 - cosine**2)
    words, found = excluded([query("1", "a", "b", "is red")], store(vectors=vectors), threshold)
    assert words == [word]
    assert found.duplicates == len(word) - 2


def test_images_beyond_the_gallery_are_no_matter() -> None:
    words, _ = excluded([query("1", "a", "bh", "is red")], store(), UNLIKE, gallery="bcd")
    assert words == ["b"]


def test_a_target_that_the_store_lacks_is_named() -> None:
    with pytest.raises(StoreError, match="lacks 1 of 1 wanted rows, the first 'z'"):
        excluded([query("1", "a", "z", "is red")], store(), UNLIKE)


def test_barred_images_are_rows_of_the_store() -> None:
    found = barred_images([query("1", "c", "e", "is red")], store(), 0.99)
    assert {name: rows.tolist() for name, rows in found.items()} == {"1": [2, 4]}


def test_ragged_rows_are_cut_by_query() -> None:
    made = exclusions_of([[3, 1, 3], [], [0, 2]])
    assert [made.of(n).tolist() for n in range(len(made))] == [[1, 3], [], [0, 2]]
    queries, rows = made.pairs(slice(1, 3))
    assert (queries.tolist(), rows.tolist()) == ([1, 1], [0, 2])
