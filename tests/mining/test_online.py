"""Online negatives against brute force."""

import numpy as np
import pytest
import torch

from cir.mining.online import OnlineNegatives

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


def pairs(barred):
    """(query, image) of every exclusion."""
    lengths = [len(own) for own in barred]
    return np.repeat(np.arange(len(barred)), lengths), np.concatenate(barred)


def brute_force(vectors, query, images, barred, top_k):
    """Each valid gallery vector by its distance: the first `top_k`."""
    units = [vector / np.linalg.norm(vector) for vector in vectors]
    for q, no in zip(query.numpy(), barred, strict=True):
        valid = [row for row in range(len(units)) if images[row] not in no]
        yield [units[row] for row in sorted(valid, key=lambda row: 1 - float(units[row] @ q))][
            :top_k
        ]


@pytest.mark.parametrize("top_k", [1, 4, 15, 40, 500])
def test_the_nearest_valid_images(top_k):
    vectors, query, images, barred = world()
    gallery = OnlineNegatives(vectors, images, top_k, CPU)
    found, present, numbers = gallery.nearest(query, pairs(barred))
    assert found.shape[1] == min(top_k, len(images))
    expected = list(brute_force(vectors, query, images, barred, top_k))
    assert present.sum(dim=1).tolist() == [len(own) for own in expected]
    for row, own in enumerate(expected):
        np.testing.assert_allclose(found[row, : len(own)].numpy(), np.array(own), rtol=1e-5)
        assert present[row, : len(own)].all()
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        at = [int(np.flatnonzero(images == number)[0]) for number in numbers[row, : len(own)]]
        np.testing.assert_allclose(units[at], np.array(own), rtol=1e-5)


def test_a_query_without_a_valid_image_has_none():
    vectors, query, images, _ = world()
    everything = [images] * len(query)
    found, present, _ = OnlineNegatives(vectors, images, 8, CPU).nearest(query, pairs(everything))
    assert not present.any()
    assert found.isfinite().all()
