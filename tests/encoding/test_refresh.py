"""Vectors encoded again, by one process or by several that share the work."""

import numpy as np
import pytest

from cir.artefacts.vectors import VectorTable
from cir.data.dataset import Dataset
from cir.encoding.refresh import with_captions, with_images
from cir.machine.processes import ALONE, Processes
from tests.support.micro import micro_encoder
from tests.support.threads import in_shards
from tests.support.worlds import random_embeddings

SHARES = [0.3, 0.3, 0.8]
"""Where the parts of four processes end; one has none."""


@pytest.mark.slow
def test_processes_encode_a_part_each_and_all_have_the_whole(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir.encoding.refresh._BATCH", 4)
    encoders = [micro_encoder() for _ in (0.0, *SHARES)]
    store = random_embeddings(dataset, dim=encoders[0].dim)
    ids, texts = store.images.keys[:10], store.captions.keys[:10]

    def images(processes: Processes) -> VectorTable:
        encoder = encoders[processes.rank]
        return with_images(store, encoder, dataset, ids, workers=0, processes=processes).images

    def captions(processes: Processes) -> VectorTable:
        encoder = encoders[processes.rank]
        return with_captions(store, encoder, texts, processes=processes).captions

    for encode in (images, captions):
        alone = encode(ALONE)
        for found in in_shards(SHARES, encode):
            assert found.keys == alone.keys
            np.testing.assert_array_equal(found.vectors, alone.vectors)
