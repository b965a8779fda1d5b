"""The queries of a run's dev split, whatever its dataset has grown by since."""

from pathlib import Path

import pytest

from cir.artefacts.store import Embeddings
from cir.artefacts.trained import write_trained
from cir.data.dataset import Dataset
from cir.errors import DatasetError
from cir.names import TRAINED_FILE
from cir.reporting.held_out import held_out
from cir.training.train_data import dev_cut
from tests.support.worlds import random_embeddings

CONFIG = {"dev_fraction": 0.25, "seed": 3}


@pytest.fixture(scope="module")
def store(dataset: Dataset) -> Embeddings:
    return random_embeddings(dataset)


def test_they_are_those_on_record_not_those_of_a_cut_of_today(
    tmp_path: Path, dataset: Dataset, store: Embeddings
) -> None:
    train, dev = dev_cut(dataset, store, 0.25, seed=4)
    write_trained(tmp_path / TRAINED_FILE, {"train": train, "dev": dev}, store, {})
    assert held_out(tmp_path, CONFIG, dataset, store) == dev
    assert dev != dev_cut(dataset, store, 0.25, seed=3)[1]


def test_of_a_run_without_a_record_they_are_cut(
    tmp_path: Path, dataset: Dataset, store: Embeddings
) -> None:
    assert held_out(tmp_path, CONFIG, dataset, store) == dev_cut(dataset, store, 0.25, seed=3)[1]


def test_a_dataset_that_holds_none_of_them_is_named(
    tmp_path: Path, dataset: Dataset, store: Embeddings
) -> None:
    write_trained(tmp_path / TRAINED_FILE, {"train": dataset.queries("train")}, store, {})
    with pytest.raises(DatasetError, match=r"holds none of the queries that .* held out"):
        held_out(tmp_path, CONFIG, dataset, store)
