"""Vectors encoded again, by one process or by several that share the work."""

from functools import partial

import numpy as np
import pytest

from cir.data.dataset import Dataset
from cir.encoding.refresh import with_captions, with_images
from tests.support.micro import micro_encoder
from tests.support.threads import in_shards
from tests.support.worlds import random_embeddings

SHARES = [0.3, 0.3, 0.8]
"""Where the parts of four processes end; one has none."""


def test_processes_encode_a_part_each_and_all_have_the_whole(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir.encoding.refresh._BATCH", 4)
    encoder = micro_encoder()
    store = random_embeddings(dataset, dim=encoder.dim)
    ids, texts = store.images.keys[:10], store.captions.keys[:10]
    images = partial(with_images, store, encoder, dataset, ids, workers=0)
    captions = partial(with_captions, store, encoder, texts)
    of_images, of_texts = images().images, captions().captions
    for found in in_shards(SHARES, lambda processes: images(processes=processes).images):
        assert found.keys == of_images.keys
        np.testing.assert_array_equal(found.vectors, of_images.vectors)
    for found in in_shards(SHARES, lambda processes: captions(processes=processes).captions):
        assert found.keys == of_texts.keys
        np.testing.assert_array_equal(found.vectors, of_texts.vectors)
