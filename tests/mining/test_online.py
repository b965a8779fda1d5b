"""Online negatives against brute force."""

import numpy as np
import pytest
import torch

from cir.mining.online import OnlineNegatives
from cir.training.batches import Batch
from cir.training.negatives import online_negatives

CPU = torch.device("cpu")


def world(gallery: int = 40, queries: int = 9, dim: int = 6):
    """Vectors of any length, unit queries, image names that are no positions, exclusions."""
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((gallery, dim)).astype(np.float32) * 7
    query = torch.nn.functional.normalize(
        torch.from_numpy(rng.standard_normal((queries, dim)).astype(np.float32)), dim=-1
    )
    images = rng.permutation(1000)[:gallery]
    barred = [rng.choice(images, size, replace=False) for size in np.arange(queries) * 3]
    return vectors, query, images, barred


def brute_force(vectors, query, images, barred, top_k):
    """Each gallery vector's distance, sorted; the first of the top k that is not barred."""
    units = [vector / np.linalg.norm(vector) for vector in vectors]
    chosen = []
    for q, no in zip(query.numpy(), barred, strict=True):
        nearest = sorted(range(len(units)), key=lambda row: 1 - float(units[row] @ q))[:top_k]
        valid = [row for row in nearest if images[row] not in no]
        chosen.append(units[valid[0]] if valid else None)
    return chosen


@pytest.mark.parametrize("top_k", [1, 4, 15, 40, 500])
def test_the_hardest_valid_one_of_the_nearest(top_k):
    vectors, query, images, barred = world()
    found, present = OnlineNegatives(vectors, images, top_k, CPU).hardest(query, barred)
    expected = brute_force(vectors, query, images, barred, top_k)
    assert present.tolist() == [vector is not None for vector in expected]
    assert any(present)
    for row, vector in enumerate(expected):
        if vector is not None:
            np.testing.assert_allclose(found[row].numpy(), vector, rtol=1e-5)


def test_a_query_with_no_valid_one_near_has_none():
    vectors, query, images, _ = world()
    everything = [images] * len(query)
    found, present = OnlineNegatives(vectors, images, 8, CPU).hardest(query, everything)
    assert not present.any()
    assert found.isfinite().all()


def test_a_batch_asks_by_query_id():
    vectors, query, images, barred = world()
    ids = [f"q{number}" for number in range(len(query))]
    gallery = OnlineNegatives(vectors, images, 15, CPU)
    source = online_negatives(gallery, ids, dict(zip(ids, barred, strict=True)))
    rows = np.array([4, 0, 8], dtype=np.int64)
    none = np.zeros((3, 0), dtype=np.int64)
    batch = Batch(rows, rows, rows, rows, none, none.astype(bool))
    found = source(batch, lambda wanted: query[wanted], query[rows])
    expected, present = gallery.hardest(query[rows], [barred[row] for row in rows])
    assert torch.equal(found.vectors[:, 0], expected)
    assert torch.equal(found.present[:, 0], present)
