"""Batches against the definitions, one row at a time."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cir.data.captions import variants
from cir.ragged import Ragged
from cir.training.batches import TrainingRows, contains, draw_batches, training_rows
from tests.support.mined import random_manifest
from tests.support.worlds import random_embeddings


def rows_of(queries: int) -> TrainingRows:
    """Queries whose fields say which query they belong to."""
    number = np.arange(queries)
    counts = number % 4 + 1
    return TrainingRows(
        query_ids=tuple(f"q{n}" for n in number),
        reference=number + 1000,
        target=number + 2000,
        texts=number[:, None] * 10 + np.arange(4),
        text_counts=counts,
        negatives=number[:, None] * 100 + np.arange(3),
        present=np.arange(3) < (number % 4)[:, None],
        excluded=Ragged.of_lists([[n + 1000, n + 2000] for n in range(queries)]),
        answers=Ragged.of_lists([[n + 2000] for n in range(queries)]),
    )


def test_a_manifest_becomes_rows_of_the_store(dataset):
    embeddings = random_embeddings(dataset)
    manifest = random_manifest(dataset, embeddings)
    queries = [
        dataclasses.replace(query, target_ids=(*query.target_ids, "elsewhere"))
        for query in reversed(dataset.queries("train"))
    ]
    excluded = [embeddings.images.rows([query.reference_id]) for query in queries]
    rows = training_rows(manifest, embeddings, queries, Ragged.of_lists(excluded))
    by_id = {query.id: index for index, query in enumerate(queries)}
    images, texts = embeddings.images.keys, embeddings.captions.keys
    start = 0
    for row, query_id in enumerate(rows.query_ids):
        assert query_id == manifest.query_ids[row]
        assert images[rows.reference[row]] == manifest.reference_ids[row]
        assert images[rows.target[row]] == manifest.target_ids[row]
        drawn_from = rows.texts[row, : rows.text_counts[row]]
        assert [texts[t] for t in drawn_from] == list(variants(manifest.captions[row]))
        stop = start + manifest.negative_counts[row]
        kept = rows.negatives[row][rows.present[row]]
        assert [images[i] for i in kept] == list(manifest.negative_ids[start:stop])
        start = stop
        index = by_id[query_id]
        assert rows.excluded.of(row).tolist() == excluded[index].tolist()
        known = [images[image] for image in rows.answers.of(row)]
        assert known == list(queries[index].target_ids[:-1])


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.integers(2, 20), st.integers(0, 5), st.integers(1, 5))
def test_an_epoch_is_every_query_once_with_its_own_fields(queries, batch_size, seed, epoch):
    rows = rows_of(queries)
    batches = draw_batches(rows, batch_size=batch_size, seed=seed, epoch=epoch)
    seen = np.concatenate([batch.queries for batch in batches])
    assert sorted(seen) == list(range(queries))
    sizes = {len(batch) for batch in batches}
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    for batch in batches:
        np.testing.assert_array_equal(batch.reference, batch.queries + 1000)
        np.testing.assert_array_equal(batch.target, batch.queries + 2000)
        np.testing.assert_array_equal(batch.text // 10, batch.queries)
        assert (batch.text % 10 < rows.text_counts[batch.queries]).all()
        np.testing.assert_array_equal(batch.negatives, rows.negatives[batch.queries])
        named = [*batch.reference, *batch.target, *batch.negatives[batch.present]]
        assert sorted(batch.images) == sorted(named)


@pytest.mark.slow
def test_each_text_is_drawn_equally_often_over_epochs():
    rows = rows_of(40)
    drawn = Counter(
        int(text) % 10
        for epoch in range(200)
        for batch in draw_batches(rows, batch_size=8, seed=0, epoch=epoch)
        for text in batch.text[rows.text_counts[batch.queries] == 4]
    )
    assert sorted(drawn) == [0, 1, 2, 3]
    assert all(count == pytest.approx(500, abs=75) for count in drawn.values())


def test_an_epoch_is_a_function_of_seed_and_epoch():
    rows = rows_of(30)

    def draw(seed: int, epoch: int) -> list[int]:
        batches = draw_batches(rows, batch_size=7, seed=seed, epoch=epoch)
        return [int(text) for batch in batches for text in batch.text]

    assert draw(3, 1) == draw(3, 1)
    assert draw(3, 1) != draw(3, 2)
    assert draw(3, 1) != draw(4, 1)


def test_batches_without_negatives_name_none():
    batch, *_ = draw_batches(rows_of(9), batch_size=4, seed=0, epoch=1, negatives=False)
    assert batch.negatives.shape == (3, 0)
    assert len(batch.images) == 6


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 8), st.sets(st.integers(0, 8))), min_size=1, max_size=12))
def test_contains_is_the_plain_loop(batch):
    images = np.array([own for own, _ in batch], dtype=np.int64)
    found = contains(Ragged.of_lists([sorted(named) for _, named in batch]), images)
    for i, (_, named) in enumerate(batch):
        for j, image in enumerate(images):
            assert found[i, j] == (image in named)


def test_a_part_of_a_batch_is_its_rows():
    whole = draw_batches(rows_of(9), batch_size=9, seed=0, epoch=1)[0]
    parts = [whole.part(slice(0, 4)), whole.part(slice(4, 9))]
    assert [len(part) for part in parts] == [4, 5]
    for name, values in vars(whole).items():
        np.testing.assert_array_equal(
            np.concatenate([getattr(part, name) for part in parts]), values
        )
