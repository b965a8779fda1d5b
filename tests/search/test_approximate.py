"""Approximate indexes of a gallery: what they find is measured, and nothing else is found."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.store import Embeddings, read_embeddings
from cir.artefacts.store_writing import write_embeddings
from cir.artefacts.vectors import VectorTable, normalised
from cir.errors import UsageError
from cir.search import opening, recall
from cir.search.approximate import ENOUGH, ApproximateIndex, build_index
from cir.search.gallery import Gallery
from cir.search.index import SearchIndex
from cir.search.opening import Source, open_gallery
from cir.search.query import SearchQuery
from cir.search.retriever import Retriever
from tests.support.galleries import crowded, plain_sum, record, vectors
from tests.support.micro import micro_encoder

COUNT, DIM = 600, 32
IDS = tuple(f"p{number:04d}" for number in range(COUNT))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    path = tmp_path_factory.mktemp("approximate") / "shop.h5"
    write_embeddings(
        path,
        images=VectorTable(IDS, crowded(COUNT, DIM)),
        captions=VectorTable(("is red",), vectors(1, DIM, seed=5)),
        image_sha256=[f"{number:064x}" for number in range(COUNT)],
        provenance=micro_encoder(DIM).provenance,
        skipped={},
    )
    return read_embeddings(path)


def gallery_of(store: Embeddings) -> Gallery:
    records = {image_id: record(number) for number, image_id in enumerate(IDS)}
    return Gallery(IDS, normalised(store.images.vectors, "drawn"), records=records)


def searched(gallery: Gallery) -> SearchIndex:
    return SearchIndex(retriever(), gallery)


@cache
def retriever() -> Retriever:
    return plain_sum(micro_encoder(DIM))


@pytest.fixture(autouse=True, scope="module")
def few():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recall, "_QUERIES", 12)
        yield


@pytest.fixture(scope="module")
def built(store: Embeddings) -> dict[str, ApproximateIndex]:
    return {kind: build_index(kind, gallery_of(store), store) for kind in ("ivf", "hnsw")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_it_finds_as_much_as_it_says(
    store: Embeddings, built: dict[str, ApproximateIndex], kind: str
) -> None:
    plain, through, made = gallery_of(store), gallery_of(store), built[kind]
    through.searched_through(made)
    assert made.name.startswith(f"{kind} (")
    assert made.recall.found >= ENOUGH
    assert str(made.recall).endswith("of the 10 nearest, measured on 12 queries")
    queries = [SearchQuery(images=(image_id,), top=10, copies=True) for image_id in IDS[::50]]
    pairs = zip(*(searched(each).search_all(queries) for each in (plain, through)), strict=True)
    shared = [len({r.id for r in one} & {r.id for r in other}) for one, other in pairs]
    assert np.mean(shared) >= 9.5


def test_it_looks_farther_until_it_finds_enough(
    store: Embeddings, built: dict[str, ApproximateIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir.search.approximate.CandidateIndex", lambda *_: built["ivf"].index)
    monkeypatch.setattr("cir.search.approximate._LEAST_EFFORT", {"ivf": 1})
    found = {}
    for enough in (0.0, 1.0):
        monkeypatch.setattr("cir.search.approximate.ENOUGH", enough)
        made = build_index("ivf", gallery_of(store), store)
        found[enough] = (made.effort, made.recall.found)
    assert found[0.0][0] == 1
    assert found[0.0][1] < found[1.0][1]
    assert found[1.0][0] > 1


def test_what_may_not_be_found_is_not_and_what_was_added_is(
    store: Embeddings, built: dict[str, ApproximateIndex]
) -> None:
    plain, through = gallery_of(store), gallery_of(store)
    through.searched_through(built["ivf"])
    for gallery in (plain, through):
        gallery.add("new", vectors(1, DIM, seed=9)[0], record=record(0))
        gallery.remove("p0004")
    few = SearchQuery(images=("new",), without=frozenset(IDS[:585]), top=20, category="even")
    expected, found = (searched(each).search_all([few])[0] for each in (plain, through))
    assert [r.id for r in found] == [r.id for r in expected]
    assert len(found) == 7
    results = searched(through).search(text="is red", category="odd", without=["p0001"], top=50)
    assert {int(r.id[1:]) % 2 for r in results} == {1}
    assert "p0001" not in {r.id for r in results}


def test_auto_is_exact_until_there_are_many_photos(
    store: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source(Path(store.path), None)
    assert open_gallery(source, store, "auto").proposing is None
    monkeypatch.setattr(opening, "EXACT_PHOTOS", COUNT - 1)
    assert open_gallery(source, store, "flat").proposing is None
    assert open_gallery(source, store, "auto").proposing.name == "ivf (IVF15,Flat)"


def test_too_few_photos_for_an_index_are_told(store: Embeddings) -> None:
    with pytest.raises(UsageError, match=r"`index='ivfpq'` is trained on 9,984 vectors or more"):
        open_gallery(Source(store.path, None), store, "ivfpq")
