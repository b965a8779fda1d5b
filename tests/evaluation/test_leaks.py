"""A judged query leaks where a run trained on its reference or on a target of it."""

import dataclasses
import os
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cir.artefacts.provenance import Provenance
from cir.artefacts.store import Embeddings
from cir.artefacts.trained import TrainedRecord
from cir.artefacts.vectors import VectorTable
from cir.data.dataset import Dataset
from cir.data.queries import Query
from cir.evaluation.leaks import find_leaks

PHOTOS = "abcdefgh"
TRAINED = TrainedRecord(
    dev_references=frozenset(),
    image_ids=frozenset("abc"),
    image_sha256=frozenset(f"sha of {photo}" for photo in "abc"),
    held_out={"d": frozenset("ae"), "e": frozenset("f")},
)


def store(**bytes_of: str) -> Embeddings:
    """A store of all photos, of which some have the bytes of others."""
    vectors = np.ones((len(PHOTOS), 2), np.float32)
    return Embeddings(
        images=VectorTable(tuple(PHOTOS), vectors),
        captions=VectorTable((), vectors[:0]),
        image_sha256=tuple(f"sha of {bytes_of.get(photo, photo)}" for photo in PHOTOS),
        provenance=Provenance("micro", "random", "0" * 64, "targetpad", 2),
        skipped={},
        path=Path("e.h5"),
        sha256="",
    )


def query(reference: str, *targets: str) -> Query:
    return Query(f"{reference}-{targets}", "dress", reference, ("is red",), targets)


@pytest.mark.parametrize(
    ("judged", "leaked", "own"),
    [
        (query("e", "f"), 0, 0),
        (query("g", "h"), 0, 0),
        (query("a", "h"), 1, 0),
        (query("h", "g", "a"), 1, 0),
        (query("a"), 1, 0),
        (query("d", "a"), 0, 1),
        (query("d", "a", "e"), 0, 1),
        (query("d", "b"), 1, 0),
        (query("d", "a", "h"), 1, 0),
    ],
    ids=lambda value: value.id if isinstance(value, Query) else str(value),
)
def test_what_the_runs_own_dataset_held_out_is_no_leak(
    judged: Query, leaked: int, own: int
) -> None:
    leaks = find_leaks([judged, query("g", "h")], TRAINED, store())
    assert (len(leaks.leaked), leaks.own, leaks.queries) == (leaked, own, 2)


def test_a_photo_is_found_under_another_id_and_told_from_one_of_the_same_id() -> None:
    renamed = find_leaks([query("g", "h")], TRAINED, store(h="a"))
    assert (len(renamed.leaked), renamed.by_id_alone) == (1, 0)
    coinciding = find_leaks([query("g", "a")], TRAINED, store(a="x"))
    assert (len(coinciding.leaked), coinciding.by_id_alone) == (1, 1)


def test_images_without_a_digest_are_compared_by_id() -> None:
    record = dataclasses.replace(TRAINED, image_sha256=frozenset())
    assert len(find_leaks([query("a", "h")], record, store()).leaked) == 1


@pytest.mark.slow
@given(st.permutations(PHOTOS), st.sets(st.sampled_from(PHOTOS)))
def test_no_order_and_no_other_query_changes_what_leaks(
    order: list[str], trained: set[str]
) -> None:
    queries = [query(a, b) for a, b in pairwise(order)]
    record = TrainedRecord(frozenset(trained), frozenset(), frozenset(), {})
    leaked = {q.id for q in find_leaks(queries, record, store()).leaked}
    assert leaked == {q.id for q in queries if trained & {q.reference_id, *q.target_ids}}


@pytest.mark.slow
def test_fashioniqs_own_splits_share_as_many_photos_as_the_docs_say() -> None:
    root = Path(os.environ.get("CIR_SHARED", Path(__file__).parents[3] / "shared")) / "fashioniq"
    if not root.is_dir():
        pytest.skip(f"{root} is not there: set CIR_SHARED to the folder that holds fashioniq/")
    dataset = Dataset(root)
    judged = {split: dataset.queries(split) for split in ("val", "test")}
    held_out: dict[str, frozenset[str]] = {}
    for query in chain(*judged.values()):
        known = held_out.get(query.reference_id, frozenset())
        held_out[query.reference_id] = known | set(query.target_ids)
    photos = (i for q in dataset.queries("train") for i in (q.reference_id, *q.target_ids))
    record = TrainedRecord(frozenset(photos), frozenset(), frozenset(), held_out)
    for split, own in (("val", 248), ("test", 128)):
        leaks = find_leaks(judged[split], record, store())
        assert (leaks.own, leaks.leaked) == (own, ())
