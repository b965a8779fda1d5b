"""A manifest's training examples against its rows."""

import numpy as np
import pandas as pd

from cir.data.captions import joined
from cir.data.dataset import Dataset
from cir.mining.manifest_export import manifest_columns
from tests.support.mined import random_manifest
from tests.support.worlds import random_embeddings


def test_a_composed_query_is_an_image_and_a_text(dataset: Dataset) -> None:
    manifest = random_manifest(dataset, random_embeddings(dataset))
    frame = pd.DataFrame(manifest_columns(manifest, "triplet", 3, lambda name: f"{name}.jpg"))
    starts = np.append(manifest.negative_starts, len(manifest.negative_ids))
    expected = [
        (
            {"image": f"{query.reference_id}.jpg", "text": joined(query.captions)},
            {"image": f"{query.target_id}.jpg"},
            {"image": f"{negative}.jpg"},
        )
        for row, query in enumerate(dataset.queries("train"))
        for negative in manifest.negative_ids[starts[row] : starts[row + 1]]
    ]
    assert list(frame.itertuples(index=False, name=None)) == expected
