"""How well photos are found by their titles."""

from pathlib import Path

import numpy as np
import pytest

from cir.data.dataset import Dataset
from cir.pretraining.title_recall import title_recall
from tests.support.micro import micro_encoder


def test_title_recall_counts_a_photo_s_own_title(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted vectors: three of four titles lie on their photo, the last on the first one."""
    files, titles = [Path(f"{n}.jpg") for n in range(60)], [f"t{n}" for n in range(60)]
    photos = np.eye(60, dtype=np.float32)
    texts = photos.copy()
    texts[59] = photos[0] + 0.5 * photos[59]
    monkeypatch.setattr("cir.pretraining.title_recall.image_vectors", lambda *_, **__: photos)
    monkeypatch.setattr("cir.pretraining.title_recall.caption_vectors", lambda *_, **__: texts)
    found = title_recall(micro_encoder(), files, titles, workers=0)
    assert found.gallery == 60
    assert found.recall[1] == pytest.approx(100 * 59 / 60)
    assert found.recall[5] == 100
    assert found.chance[10] == pytest.approx(100 * 10 / 60)
