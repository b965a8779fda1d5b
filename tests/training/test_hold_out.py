"""The dev split: cut by reference, the same for the same seed."""

from dataclasses import replace

import pytest

from cir.data.dataset import Dataset
from cir.errors import DatasetError
from cir.training.hold_out import hold_out
from cir.training.train_data import dev_cut
from tests.support.worlds import random_embeddings


def test_hold_out_keeps_siblings_together(dataset: Dataset) -> None:
    queries = dataset.queries("train")
    train, dev = hold_out(queries, 0.25, seed=3)
    assert sorted(q.id for q in (*train, *dev)) == sorted(q.id for q in queries)
    ours, theirs = ({(q.category, q.reference_id) for q in part} for part in (train, dev))
    assert ours
    assert theirs
    assert not ours & theirs
    assert hold_out(queries, 0.25, seed=3) == (train, dev)
    assert hold_out(queries, 0.25, seed=4)[1] != dev


def test_a_reference_of_two_categories_is_held_out_in_both(dataset: Dataset) -> None:
    queries = dataset.queries("train")
    other = next(c for c in dataset.categories if c != queries[0].category)
    again = [replace(q, id=f"{q.id}-too", category=other) for q in queries if q.category != other]
    train, dev = hold_out([*queries, *again], 0.25, seed=3)
    assert len(train) + len(dev) == len(queries) + len(again)
    held = {q.reference_id for q in dev}
    assert not {q.reference_id for q in train} & held
    counted: set[str] = set()
    drawn = 0
    for category in sorted(dataset.categories):
        some = {q.reference_id for q in (*queries, *again) if q.category == category} - counted
        counted |= some
        drawn += round(0.25 * len(some))
    assert len(held) == drawn


def test_hold_out_refuses_an_empty_part(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="expected both above 0"):
        hold_out(dataset.queries("train")[:1], 0.1, seed=0)


def test_a_run_is_told_its_option(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="above 0; pass another `dev_fraction`"):
        dev_cut(dataset, random_embeddings(dataset), 0.001, seed=0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_a_fraction_is_a_share(dataset: Dataset, fraction: float) -> None:
    with pytest.raises(DatasetError, match="`fraction` is"):
        hold_out(dataset.queries("train"), fraction, seed=0)
