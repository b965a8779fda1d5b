"""What reads an artefact takes its path as a text as well, as people type it in a notebook."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cir.artefacts.checkpoint import read_checkpoint
from cir.artefacts.manifest import read_manifest
from cir.artefacts.pairs import read_pairs
from cir.artefacts.store import map_embeddings, read_embeddings
from cir.data.dataset import Dataset
from cir.errors import CirError
from cir.models.composer import load_composer
from tests.support.worlds import random_embeddings, write_store

READERS = (
    Dataset,
    load_composer,
    map_embeddings,
    read_checkpoint,
    read_embeddings,
    read_manifest,
    read_pairs,
)


@pytest.mark.parametrize("read", READERS)
def test_a_text_that_leads_nowhere_is_told_in_one_line(
    read: Callable[[str], object], tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing.parquet")
    with pytest.raises(CirError, match="missing") as told:
        read(missing)
    assert "\n" not in str(told.value)


def test_a_text_that_leads_somewhere_is_read(dataset: Dataset, tmp_path: Path) -> None:
    assert Dataset(str(dataset.root)).image_ids() == dataset.image_ids()
    store = random_embeddings(dataset, path=tmp_path / "embeddings.h5")
    assert read_embeddings(str(write_store(store))).path == store.path
