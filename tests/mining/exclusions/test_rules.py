"""Which images can be no negative of a query."""

from collections.abc import Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings
from cir.artefacts.vectors import VectorTable, normalised
from cir.data.queries import Query
from cir.errors import StoreError, UsageError
from cir.mining.exclusions.excluded import ExclusionCounts, Exclusions
from cir.mining.exclusions.rules import ExclusionRules, excluded_images, find_exclusions
from cir.types import NO_ROW
from tests.support.threads import in_shards

IDS = tuple("abcdefgh")
UNLIKE = 1.01


def store(digests: Sequence[str] = IDS, vectors: np.ndarray | None = None) -> Embeddings:
    rows = np.eye(8, dtype=np.float32) if vectors is None else vectors.astype(np.float32)
    return Embeddings(
        images=VectorTable(IDS, rows),
        captions=VectorTable((), np.zeros((0, 8), np.float32)),
        image_sha256=tuple(digests),
        provenance=Provenance("micro", "random", "0" * 64, "targetpad", 8),
        skipped={},
        path=Path("embeddings.h5"),
        sha256="e" * 64,
    )


def query(name: str, reference: str, targets: str, *captions: str) -> Query:
    return Query(name, "dress", reference, captions, tuple(targets))


def excluded(
    queries: Sequence[Query],
    embeddings: Embeddings,
    threshold: float,
    gallery: str = "abcdefgh",
    **filters: Any,
) -> tuple[list[str], Exclusions]:
    """The excluded ids of each query as one word."""
    unit = normalised(embeddings.images.take(tuple(gallery)), "gallery")
    rules = ExclusionRules(threshold, **filters)
    found = find_exclusions(queries, tuple(gallery), unit, embeddings, rules)
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
    assert found.counts.duplicates == 0


def test_copies_of_the_target_are_excluded_and_counted() -> None:
    digests = ["a", "b", "b", "d", "e", "f", "b", "h"]
    queries = [query("1", "a", "b", "is red"), query("2", "c", "b", "is red")]
    words, found = excluded(queries, store(digests), UNLIKE)
    assert words == ["abcg", "bcg"]
    assert found.counts == ExclusionCounts(duplicate_bytes=3)


def around_b(**cosines: float) -> np.ndarray:
    """Orthogonal vectors, but for the images that have a cosine to b."""
    vectors = np.eye(8)
    for name, cosine in cosines.items():
        row = IDS.index(name)
        vectors[row] = 0
        vectors[row, [1, row]] = cosine, np.sqrt(1 - cosine**2)
    return vectors


@pytest.mark.parametrize(
    ("threshold", "word"), [(0.5, "abcd"), (0.75, "abc"), (0.9, "ab"), (UNLIKE, "ab")]
)
def test_near_copies_of_the_target_are_excluded(threshold: float, word: str) -> None:
    vectors = around_b(c=0.8, d=0.6)
    words, found = excluded([query("1", "a", "b", "is red")], store(vectors=vectors), threshold)
    assert words == [word]
    assert found.counts == ExclusionCounts(duplicate_vectors=len(word) - 2)


@pytest.mark.parametrize(
    ("limit", "word"), [(-0.1, "abcdefgh"), (0.0, "abcd"), (0.5, "abcd"), (0.7, "abc"), (0.9, "ab")]
)
@pytest.mark.parametrize("threshold", [0.99, UNLIKE])
def test_images_too_similar_to_the_target_are_excluded(
    limit: float, word: str, threshold: float
) -> None:
    """A cosine of exactly the limit, as 0, is not above it."""
    words, found = excluded(
        [query("1", "a", "b", "is red")],
        store(vectors=around_b(c=0.8, d=0.6)),
        threshold,
        max_target_similarity=limit,
    )
    assert words == [word]
    assert found.counts == ExclusionCounts(target_similarity=len(word) - 2)


def test_siblings_are_excluded_where_asked_for() -> None:
    queries = [
        query("1", "a", "b", "is red"),
        query("2", "a", "c", "is red"),
        query("3", "a", "de", "is blue"),
        query("4", "f", "g", "is blue"),
    ]
    words, found = excluded(queries, store(), UNLIKE, exclude_siblings=True)
    assert words == ["abcde", "abcde", "abcde", "fg"]
    assert found.counts == ExclusionCounts(siblings=6)
    words, found = excluded(queries, store(), UNLIKE)
    assert words == ["abc", "abc", "ade", "fg"]
    assert found.counts == ExclusionCounts()


def test_a_candidate_counts_under_its_first_reason() -> None:
    """First query: c is all of it, d no copy by bytes, e a sibling and similar, f only similar.

    Second query, of the target c: b has its bytes, g is near to it, f is similar.
    """
    vectors = around_b(c=1.0, d=0.95, e=0.8, f=0.8, g=0.95)
    queries = [query("1", "a", "bg", "is red"), query("2", "a", "cde", "is blue")]
    words, found = excluded(
        queries,
        store("abbdefgh", vectors),
        0.9,
        max_target_similarity=0.7,
        exclude_siblings=True,
    )
    assert words == ["abcdefg", "abcdefg"]
    first, second = ExclusionCounts(1, 1, 1, 1), ExclusionCounts(1, 1, 0, 1)
    assert astuple(found.counts) == tuple(np.add(astuple(first), astuple(second)))
    assert found.counts.duplicates == 4


def test_far_too_many_similar_images_are_named() -> None:
    vectors = around_b(c=0.8, d=0.6)
    with pytest.raises(UsageError, match=r"0.5 excludes 38% of the gallery .* at most 25.0%: pass"):
        excluded(
            [query("1", "a", "b", "is red")],
            store(vectors=vectors),
            0.99,
            max_target_similarity=0.5,
            max_similar_pairs=2,
        )


@pytest.mark.parametrize("seed", range(20))
def test_random_worlds_agree_with_sets(seed: int) -> None:
    """Many queries share references, captions, targets and bytes."""
    rng = np.random.default_rng(seed)
    digests = [str(n) for n in rng.integers(0, 5, 8)]
    queries = [
        Query(
            str(n),
            "dress",
            str(rng.choice(list("abc"))),
            (str(rng.choice(["is red", "is blue"])),),
            tuple(rng.choice(list(IDS), rng.integers(1, 4), replace=False).tolist()),
        )
        for n in range(6)
    ]
    gallery = "acdegh"
    words, found = excluded(
        queries, store(digests), UNLIKE, gallery, exclude_siblings=bool(seed % 2)
    )
    for word, asked in zip(words, queries, strict=True):
        same = [q for q in queries if q.reference_id == asked.reference_id]
        if not seed % 2:
            same = [q for q in same if q.captions == asked.captions]
        named = {asked.reference_id, *(i for q in same for i in q.target_ids)}
        digest = digests[IDS.index(asked.target_id)]
        copies = {i for i, d in zip(IDS, digests, strict=True) if d == digest}
        assert word == "".join(i for i in gallery if i in named | copies)
    queries_of, rows = found.pairs()
    assert [gallery[r] for r in rows] == list("".join(words))
    assert queries_of.tolist() == sorted(queries_of.tolist())


def test_images_beyond_the_gallery_are_no_matter() -> None:
    words, _ = excluded([query("1", "a", "bh", "is red")], store(), UNLIKE, gallery="bcd")
    assert words == ["b"]


def test_a_target_that_the_store_lacks_is_named() -> None:
    with pytest.raises(StoreError, match="lacks 1 of 1 wanted rows, the first 'z'"):
        excluded([query("1", "a", "z", "is red")], store(), UNLIKE)


def test_excluded_images_are_rows_of_the_store() -> None:
    found = excluded_images([query("1", "c", "e", "is red")], store(), ExclusionRules(0.99))
    assert found.of(0).tolist() == [2, 4]


def test_excluded_images_obey_the_options() -> None:
    queries = [query("1", "c", "b", "is red"), query("2", "c", "e", "is blue")]
    found = excluded_images(
        queries,
        store(vectors=around_b(d=0.8)),
        ExclusionRules(0.99, max_target_similarity=0.7, exclude_siblings=True),
    )
    assert [found.of(n).tolist() for n in range(2)] == [[1, 2, 3, 4], [1, 2, 4]]


@pytest.mark.parametrize("seed", range(10))
def test_exclusions_of_the_store_give_those_of_any_gallery(seed: int) -> None:
    """What is found once a run, over all images, is what each gallery would give by itself."""
    rng = np.random.default_rng(seed)
    world = store([str(n) for n in rng.integers(0, 5, 8)], around_b(c=0.8, d=0.6, g=0.99))
    queries = [
        query(str(n), *rng.choice(list(IDS), 2).tolist(), str(rng.choice(["is red", "is blue"])))
        for n in range(6)
    ]
    options = {"max_target_similarity": 0.7, "exclude_siblings": True}
    gallery = rng.permutation(list(IDS))[:5].tolist()
    _, expected = excluded(queries, world, 0.9, "".join(gallery), **options)
    row_of = np.array([gallery.index(i) if i in gallery else NO_ROW for i in IDS])
    found = excluded_images(queries, world, ExclusionRules(0.9, **options)).in_gallery(row_of)
    for name in ("starts", "rows", "reasons"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.counts == expected.counts


def test_processes_that_compare_a_part_of_the_targets_each_find_the_same() -> None:
    targets = "bcdeb"
    queries = [query(str(n), "a", target, f"is {n}") for n, target in enumerate(targets)]
    images = store(vectors=around_b(c=0.8, d=0.6))
    asked = partial(excluded_images, queries, images, ExclusionRules(0.7))
    alone = asked()
    for found in in_shards([0.1, 0.6], lambda processes: asked(processes=processes)):
        np.testing.assert_array_equal(found.rows, alone.rows)
        assert found.counts == alone.counts
    assert alone.counts.duplicate_vectors == 3  # b, which comes twice, and c
