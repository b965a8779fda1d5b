"""The record of what a run trained and chose on."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cir.artefacts.trained import count_others, read_trained, write_trained
from cir.data.dataset import Dataset
from cir.errors import CheckpointError
from cir.names import TRAINED_FILE
from tests.support.worlds import random_embeddings


@pytest.fixture
def file(dataset: Dataset, tmp_path: Path) -> Path:
    path = tmp_path / TRAINED_FILE
    train, val = dataset.queries("train"), dataset.queries("val")
    queries = {"train": train[1:], "dev": train[:1], "held-out": val}
    write_trained(path, queries, random_embeddings(dataset), {"dataset": str(dataset.root)})
    return path


def test_the_record_holds_the_photos_of_what_was_trained_and_chosen_on(
    dataset: Dataset, file: Path
) -> None:
    record = read_trained(file)
    assert record is not None
    train = dataset.queries("train")
    photos = {i for query in train for i in (query.reference_id, *query.target_ids)}
    assert record.image_ids == photos
    embeddings = random_embeddings(dataset)
    digests = dict(zip(embeddings.images.keys, embeddings.image_sha256, strict=True))
    assert record.image_sha256 == {digests[photo] for photo in photos}
    for query in dataset.queries("val"):
        assert record.held_out[query.reference_id] >= set(query.target_ids)


def test_the_record_tells_the_references_that_only_dev_has(dataset: Dataset, file: Path) -> None:
    record = read_trained(file)
    assert record is not None
    first, *others = dataset.queries("train")
    shared = first.reference_id in {query.reference_id for query in others}
    assert record.dev_references == (frozenset() if shared else {first.reference_id})


def test_other_queries_than_those_on_record_are_counted(dataset: Dataset, file: Path) -> None:
    dev, *train = dataset.queries("train")
    assert count_others(file, {"train": train, "dev": [dev]}) == 0
    assert count_others(file, {"train": train[1:], "dev": [dev]}) == 1
    assert count_others(file, {"train": train[1:], "dev": [dev, train[0]]}) == 2


def test_a_run_without_a_record_has_none(tmp_path: Path) -> None:
    assert read_trained(tmp_path / TRAINED_FILE) is None


def test_a_damaged_record_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"PAR1" + whole[4:100]):
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=rf"{TRAINED_FILE} is damaged .* train it again"):
            read_trained(file)


def test_a_file_of_other_columns_is_no_record(file: Path) -> None:
    pq.write_table(pa.table({"purpose": ["train"], "mine": [1]}), file)
    with pytest.raises(CheckpointError, match=r"it lacks category, query_id, reference_id, "):
        read_trained(file)


def test_nothing_trained_on_is_a_record_too(dataset: Dataset, tmp_path: Path) -> None:
    write_trained(tmp_path / TRAINED_FILE, {}, random_embeddings(dataset), {})
    record = read_trained(tmp_path / TRAINED_FILE)
    assert record is not None
    assert (record.image_ids, record.held_out) == (frozenset(), {})
