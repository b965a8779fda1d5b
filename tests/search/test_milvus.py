"""A store in Milvus Lite: searched as in memory, filled, gone on with, refused if not ours."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

import cir
from cir.addresses import MilvusAddress, milvus_address
from cir.artefacts.store import Embeddings, map_embeddings
from cir.artefacts.store_writing import write_embeddings
from cir.artefacts.vectors import VectorTable
from cir.errors import CirError, StoreError, UnreachableError, UsageError
from cir.search import recall
from cir.search.gallery import Gallery
from cir.search.index import SearchIndex
from cir.search.milvus import pushing
from cir.search.milvus.client import Collection
from cir.search.milvus.pushing import Pushed, push
from cir.search.milvus.searching import open_milvus
from cir.search.opening import Source, stored_gallery
from cir.search.proposing import Allowed
from cir.search.query import SearchQuery
from cir.search.rows import MappedRows
from cir.serving.app import create_app
from cir.serving.engine import Engine, Served
from pipeline.cli import app
from pipeline.command.faults import FAILED
from tests.support.galleries import (
    crowded,
    plain_sum,
    record,
    small_photos,
    stored,
    vectors,
)
from tests.support.micro import micro_encoder
from tests.support.milvus_server import milvus_server

COUNT, DIM = 300, 32
IDS = tuple(f"p{number:03d}" for number in range(COUNT))


def store_of(path: Path, ids: tuple[str, ...], rows: np.ndarray) -> Embeddings:
    write_embeddings(
        path,
        images=VectorTable(ids, rows),
        captions=VectorTable(("is red", "is blue"), vectors(2, DIM, seed=5)),
        image_sha256=[f"{number:064x}" for number in range(len(ids))],
        provenance=micro_encoder(DIM).provenance,
        skipped={},
        precision="fp32",
    )
    return map_embeddings(path)


def gallery_of(embeddings: Embeddings, *, mapped: bool) -> Gallery:
    """The photos of a store; even and odd ones are of a category each."""
    gallery = stored_gallery(Source(embeddings.path, None), embeddings, mapped=mapped)
    named = {image_id: record(int(image_id[1:])) for image_id in embeddings.images.keys}
    rows = MappedRows(embeddings.images.vectors, "drawn") if mapped else gallery.vectors
    digests = embeddings.image_sha256
    return Gallery(embeddings.images.keys, rows, sha256=digests, records=named)


def pushed(embeddings: Embeddings, address: MilvusAddress, **options) -> Pushed:
    return push(embeddings, gallery_of(embeddings, mapped=True), address, None, **options)


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    """Recall is measured on few queries."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recall, "_QUERIES", 8)
        yield


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    """Vectors that crowd as an encoder's do, of any length; some are copies of others."""
    rows = crowded(COUNT, DIM)
    rows[100:140] = rows[:40] + 0.01 * vectors(40, DIM, seed=2)
    lengths = np.random.default_rng(3).uniform(0.5, 20, (COUNT, 1)).astype(np.float32)
    return store_of(tmp_path_factory.mktemp("milvus") / "shop.h5", IDS, rows * lengths)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lite") / "milvus.db"


def at(file: Path, name: str) -> MilvusAddress:
    return milvus_address(f"milvus://{file}/{name}")


@pytest.fixture(scope="module")
def filled(drawn: Embeddings, file: Path) -> MilvusAddress:
    done = pushed(drawn, at(file, "photos"))
    assert (done.images, done.written, done.deleted, done.kind) == (COUNT, COUNT, 0, "flat")
    assert (done.recall.found, done.recall.top) == (1.0, 10)
    return at(file, "photos")


@pytest.mark.slow
def test_it_finds_what_comparing_every_vector_finds(
    drawn: Embeddings, filled: MilvusAddress
) -> None:
    plain, through = (gallery_of(drawn, mapped=mapped) for mapped in (False, True))
    through.searched_through(open_milvus(filled, through, drawn))
    changed = vectors(2, DIM, seed=7)
    for gallery in (plain, through):
        gallery.add("new", changed[0], record=record(0))
        gallery.remove("p004")
        gallery.add("p004", changed[1], record=record(1))
        gallery.remove("p009")
    indexes = [SearchIndex(plain_sum(micro_encoder(DIM)), each) for each in (plain, through)]
    queries = [
        SearchQuery(images=("p001",), text="is red", top=5),
        SearchQuery(text="is red", top=40),
        SearchQuery(images=("p003",), top=30, copies=True),
        SearchQuery(images=("p104",), top=10, category="even"),
        SearchQuery(images=("new", "p004"), text="is blue", category="odd", weight=0.3),
        SearchQuery(text="is blue", unlike=("p011",), without=frozenset(IDS[:250]), top=90),
        SearchQuery(images=("p002",), text="is red", top=1000, category="even"),
    ]
    expected, found = (index.search_all(queries) for index in indexes)
    for one, other in zip(expected, found, strict=True):
        assert [(r.rank, r.id, r.copies) for r in other] == [(r.rank, r.id, r.copies) for r in one]
        np.testing.assert_allclose([r.score for r in other], [r.score for r in one], atol=1e-6)
    asked = SearchQuery(images=("p001",), text="is red")
    ranks = [index.target_ranks(asked, ["p150", "new"]) for index in indexes]
    assert [rank.rank for rank in ranks[0]] == [rank.rank for rank in ranks[1]]


def test_it_proposes_enough_where_the_nearest_may_not_be_found(
    drawn: Embeddings, filled: MilvusAddress
) -> None:
    gallery = gallery_of(drawn, mapped=True)
    query = gallery.vector("p001")
    allowed = Allowed(gallery.in_category("even"), "even")
    nearest = gallery.similarities(query, np.arange(COUNT)).argsort()[::-1]
    allowed.rows[nearest[:60]] = False
    rows = open_milvus(filled, gallery, drawn).propose(query, 20, allowed)
    assert {int(row) % 2 for row in rows} == {0}
    assert np.count_nonzero(allowed.rows[rows]) == 20


@pytest.mark.slow
def test_a_push_that_was_stopped_goes_on_and_a_changed_store_writes_its_changes(
    drawn: Embeddings, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "_BYTES", 4 * DIM * 100)
    address, writes, upsert = at(file, "going"), [], Collection.upsert

    def until_the_second(self, ids, *rest) -> None:
        if writes:
            raise KeyboardInterrupt
        writes.append(len(ids))
        upsert(self, ids, *rest)

    monkeypatch.setattr(Collection, "upsert", until_the_second)
    with pytest.raises(KeyboardInterrupt):
        pushed(drawn, address)
    monkeypatch.setattr(Collection, "upsert", upsert)
    with pytest.raises(StoreError, match="not filled to its end: run cir index push `store="):
        open_milvus(address, gallery_of(drawn, mapped=True), drawn)
    assert pushed(drawn, address).written == COUNT - 100
    assert pushed(drawn, address).written == 0
    rows = np.array(drawn.images.vectors)[10:]
    rows[0] = -rows[0]
    later = store_of(tmp_path / "later.h5", IDS[10:], rows)
    with pytest.raises(StoreError, match=r"filled from another store than .*later.h5 \(SHA-256"):
        open_milvus(address, gallery_of(later, mapped=True), later)
    done = pushed(later, address)
    assert (done.images, done.written, done.deleted) == (COUNT - 10, 1, 10)
    other = Gallery(later.images.keys, MappedRows(later.images.vectors, "drawn"))
    with pytest.raises(StoreError, match="has other categories than the dataset"):
        open_milvus(address, other, later)
    assert open_milvus(address, gallery_of(later, mapped=True), later).recall.found == 1.0


@pytest.mark.slow
def test_what_cir_did_not_make_is_left_as_it_is(drawn: Embeddings, file: Path) -> None:
    theirs = Collection(at(file, "theirs"))
    theirs.write_text("theirs", "somebody's", "precious")
    theirs.write_text("beside_cir", "", "precious")
    for name in ("theirs", "beside"):
        with pytest.raises(UsageError, match="not made by cir, and is left as it is"):
            pushed(drawn, at(file, name), overwrite=True)
    with pytest.raises(UsageError, match="not made by cir"):
        open_milvus(at(file, "theirs"), gallery_of(drawn, mapped=True), drawn)
    assert [theirs.read_text(name) for name in ("theirs", "beside_cir")] == ["precious"] * 2


def test_another_encoder_kind_or_shop_is_refused(
    drawn: Embeddings, filled: MilvusAddress, tmp_path: Path
) -> None:
    made = replace(drawn.provenance, weights_sha256="f" * 64)
    other = replace(drawn, provenance=made)
    for refused in (pushed, lambda held, at: open_milvus(at, gallery_of(drawn, mapped=True), held)):
        with pytest.raises(StoreError, match=r"different encoders: weights_sha256.*there"):
            refused(other, filled)
    for kind, words in (
        ("ivf", "is searched as flat, and `kind` is ivf"),
        ("hnsw", "does not have"),
    ):
        with pytest.raises(UsageError, match=words):
            push(drawn, gallery_of(drawn, mapped=True), filled, kind)
    shop = store_of(tmp_path / "other.h5", ("p900", "p901"), vectors(2, DIM))
    with pytest.raises(UsageError, match="300 photos of another store, and none of"):
        pushed(shop, filled)
    assert Collection(filled).count() == COUNT


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("milvus://127.0.0.1:9/photos", UnreachableError, "cannot be opened: nobody answers"),
        ("milvus:///no/such/folder/m.db/photos", UsageError, "is no folder"),
    ],
)
def test_nobody_there_is_one_line_in_a_moment(
    drawn: Embeddings, address: str, error: type[CirError], words: str
) -> None:
    started = time.monotonic()
    with pytest.raises(error, match=words) as caught:
        pushed(drawn, milvus_address(address))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 15


def test_a_search_makes_no_file(drawn: Embeddings, tmp_path: Path) -> None:
    address = at(tmp_path / "none.db", "photos")
    with pytest.raises(StoreError, match=r"there is no collection .*: fill it with cir index push"):
        open_milvus(address, gallery_of(drawn, mapped=True), drawn)
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("pymilvus", r"needs pymilvus: pip install 'cir\[milvus\]'"),
        ("milvus_lite", r"pip install 'cir\[milvus\]' 'milvus-lite<3'"),
    ],
)
def test_what_is_not_installed_is_said(
    missing: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=words):
        Collection(at(tmp_path / "a.db", "photos"))


@pytest.mark.slow
def test_the_commands_the_library_and_the_server_search_at_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: micro_encoder())
    monkeypatch.setattr("cir.search.milvus.client._SECONDS", 1.0)
    dataset = small_photos(tmp_path / "shop")
    store, run = str(stored(dataset, micro_encoder(), tmp_path / "shop.h5")), CliRunner().invoke
    words = ["search", "--store", store, "--image", "s0", "--text", "is red", "--json"]
    with milvus_server(tmp_path / "server.db") as address:
        there = f"milvus://{address}/shop"
        done = run(app, ["index", "push", "--store", store, "--to", there])
        assert done.exit_code == 0, done.output
        assert "6 photos" in done.stdout
        assert "finds 100.0% of the 6 nearest" in done.stdout
        plain, through = (run(app, [*words, *more]) for more in ([], ["--index", there]))
        assert through.exit_code == 0, through.output
        for one, other in zip(json.loads(plain.stdout), json.loads(through.stdout), strict=True):
            assert other == one | {"score": pytest.approx(one["score"], abs=1e-6)}
        index = cir.index(store, device="cpu", index=there)
        served = Engine([Served("sum", "sum", False, index)], dataset)
    with TestClient(create_app(served, queue=8)) as client:
        told = client.get("/api/health").json()["index"]
        assert told == {"name": f"flat in {there}", "recall": 1.0, "measured_on": 6}
        asked = {"images": ["s0"], "text": "is red", "top": 3}
        answered = client.post("/api/search", json=asked)
    assert (answered.status_code, answered.headers["retry-after"]) == (503, "1")
    assert answered.json()["detail"].startswith(there)
    assert run(app, [*words, "--index", there]).exit_code == FAILED


@pytest.mark.parametrize("text", ["hnsw2", "milvus://db", "", "milvus"])
def test_an_index_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(
        UsageError,
        match=r"`index` is .*; expected auto, flat, ivf, hnsw, ivfpq, or milvus://HOST:PORT",
    ):
        cir.index("shop.h5", index=text)


def test_a_server_that_is_slow_to_start_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from milvus_lite.server import Server

    real = Server(str(tmp_path / "any.db")).milvus_bin
    slow = tmp_path / "slow"
    slow.write_text(f'#!/bin/sh\nsleep 3\nexec "{real}" "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setattr(Server, "milvus_bin", str(slow))
    collection = Collection(milvus_address(f"milvus://{tmp_path}/slow.db/photos"))
    assert collection.description("photos") is None
    collection.close()
