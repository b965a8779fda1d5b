"""Candidates of a batch and of the bank, against the definitions one pair at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cir.mining.online import OnlineNegatives
from cir.ragged import Ragged
from cir.training.batches import Batch, TrainingRows, draw_batches
from cir.training.candidates import (
    Bank,
    Negatives,
    batch_candidates,
    online_negatives,
    reference_candidates,
)
from cir.training.features import StoredFeatures

CPU = torch.device("cpu")
IMAGES = 12


def rows_of(seed: int, queries: int = 9) -> TrainingRows:
    """Queries over few images, so that targets meet as references, answers and duplicates."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, IMAGES, queries)
    reference = rng.integers(0, IMAGES, queries)
    answers = [np.unique([own, *rng.integers(0, IMAGES, rng.integers(0, 3))]) for own in target]
    excluded = [
        np.unique([*known, own, *rng.integers(0, IMAGES, rng.integers(0, 3))])
        for own, known in zip(reference, answers, strict=True)
    ]
    return TrainingRows(
        query_ids=tuple(f"q{number}" for number in range(queries)),
        reference=reference,
        target=target,
        texts=np.zeros((queries, 1), dtype=np.int64),
        text_counts=np.ones(queries, dtype=np.int64),
        negatives=rng.integers(0, IMAGES, (queries, 3)),
        present=rng.random((queries, 3)) < 0.7,
        excluded=Ragged.of_lists(excluded),
        answers=Ragged.of_lists(answers),
    )


def images_of(lists: Ragged, query: int) -> set[int]:
    return set(lists.of(int(query)).tolist())


worlds = given(st.integers(0, 10_000), st.booleans())


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@worlds
def test_batch_candidates_are_the_definition(seed, positive):
    rows = rows_of(seed)
    whole = draw_batches(rows, batch_size=6, seed=seed, epoch=1)[0]
    first = len(whole) // 2
    own = whole.part(slice(first, len(whole)))
    vectors = torch.randn(len(whole), 4)
    found = batch_candidates(vectors, rows, own, whole, first, positive=positive)
    assert found.vectors is vectors
    for i, query in enumerate(own.queries):
        for j, image in enumerate(whole.target.tolist()):
            answer = image in images_of(rows.answers, query)
            pulls = j == first + i or (positive and answer)
            no_negative = image in images_of(rows.excluded, query)
            assert found.positive[i, j] == pulls
            assert found.excluded[i, j] == (no_negative and not pulls)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from(["none", "manifest", "online"]))
def test_bank_candidates_are_the_definition(seed, positive, source):
    rows = rows_of(seed)
    held = np.unique(rows.target)
    whole = draw_batches(rows, batch_size=4, seed=seed, epoch=1)[0]
    own = whole.part(slice(1, len(whole)))
    bank = Bank(np.random.default_rng(seed).standard_normal((len(held), 5)), held, CPU)
    vectors, present = torch.zeros(*own.negatives.shape, 5), torch.from_numpy(own.present)
    negatives = {
        "none": None,
        "manifest": Negatives(vectors, present, own.negatives),
        "online": Negatives(vectors, present, torch.from_numpy(own.negatives)),
    }[source]
    found = bank.candidates(rows, own, whole, negatives=negatives, positive=positive)
    assert (found.positive is not None) == positive
    for i, query in enumerate(own.queries):
        own_negatives = set(own.negatives[i][own.present[i]].tolist())
        for j, image in enumerate(held.tolist()):
            answer = positive and image in images_of(rows.answers, query)
            counted = image in whole.target or (source != "none" and image in own_negatives)
            no_negative = image in images_of(rows.excluded, query) and not answer
            assert found.excluded[i, j] == (counted or no_negative)
            if positive:
                assert found.positive[i, j] == (answer and not counted)


def test_the_bank_holds_unit_vectors():
    bank = Bank(np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([5, 9]), CPU)
    rows = rows_of(0)
    batch = draw_batches(rows, batch_size=4, seed=0, epoch=1)[0]
    found = bank.candidates(rows, batch, batch, negatives=None, positive=False)
    torch.testing.assert_close(found.vectors, torch.tensor([[0.6, 0.8], [0.0, 1.0]]))


def test_an_online_search_excludes_what_its_queries_exclude():
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((IMAGES, 6)).astype(np.float32)
    rows = rows_of(3)
    gallery = OnlineNegatives(vectors, np.arange(IMAGES), 2, CPU)
    chosen = np.array([4, 0, 8])
    none = np.zeros((3, 0), dtype=np.int64)
    batch = Batch(chosen, chosen, chosen, chosen, none, none.astype(bool))
    query = torch.nn.functional.normalize(torch.randn(3, 6), dim=-1)
    found = online_negatives(gallery, rows)(batch, StoredFeatures(query), query)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for i, row in enumerate(chosen):
        valid = [image for image in range(IMAGES) if image not in images_of(rows.excluded, row)]
        nearest = sorted(valid, key=lambda image: -float(units[image] @ query[i].numpy()))[:2]
        here = found.vectors[i][found.present[i]].numpy()
        np.testing.assert_allclose(here, units[nearest], rtol=1e-5)


@pytest.mark.slow
def test_some_of_the_negatives_are_drawn_anew_and_evenly():
    rows = rows_of(1)
    counts = np.zeros((len(rows), 3))
    for epoch in range(300):
        for batch in draw_batches(rows, batch_size=4, seed=0, epoch=epoch, row_negatives=1):
            assert batch.negatives.shape[1] == 1
            np.testing.assert_array_equal(batch.present[:, 0], rows.present[batch.queries].any(1))
            for query, image in zip(batch.queries, batch.negatives[:, 0], strict=True):
                counts[query] += (rows.negatives[query] == image) & rows.present[query]
    for query in range(len(rows)):
        here = rows.present[query]
        distinct = len(set(rows.negatives[query][here]))
        if distinct == here.sum() > 0:
            share = counts[query][here] / 300
            assert share == pytest.approx(np.full(here.sum(), 1 / here.sum()), abs=0.1)


def test_a_reference_that_shows_its_target_is_no_candidate():
    target = torch.eye(3)
    reference = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.0, 0.8]])
    found = reference_candidates(reference, target, 0.8)
    assert torch.equal(found.vectors[:, 0], reference)
    assert found.excluded[:, 0].tolist() == [False, True, True]
    assert found.positive is None
