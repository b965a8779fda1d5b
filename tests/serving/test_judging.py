"""Queries of the dataset: judged as `cir evaluate` judges them, while photos come and go."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from cir.artefacts.changes import Changes
from cir.artefacts.store_writing import write_embeddings
from cir.artefacts.vectors import VectorTable
from cir.config import EvaluateConfig
from cir.data.captions import variants
from cir.data.dataset import Dataset
from cir.search.index import SearchIndex
from cir.search.living import LivingGallery
from cir.search.opening import Source, open_gallery
from cir.serving.app import create_app
from cir.serving.engine import Engine, Served
from pipeline.evaluate import run
from tests.support.cirr import cirr_dataset
from tests.support.galleries import plain_sum, small_photos, stored, vectors
from tests.support.micro import micro_encoder
from tests.support.worlds import small_dataset

TOKEN = "a-token-of-the-tests"
HOLDER = {"Authorization": f"Bearer {TOKEN}"}


def served(source: Source, *names: str) -> TestClient:
    encoder, gallery = micro_encoder(), open_gallery(source)
    index = SearchIndex(plain_sum(encoder), gallery)
    living = LivingGallery(gallery, Changes(source.store), encoder)
    engine = Engine([Served(name, name, False, index) for name in names], source.dataset, living)
    return TestClient(create_app(engine, queue=8, token=TOKEN))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[TestClient]:
    """A writable server with one query, whose reference is `s0` and whose target is `s1`."""
    dataset = small_photos(tmp_path / "shop")
    with served(
        Source(stored(dataset, micro_encoder(), tmp_path / "shop.h5"), dataset), "sum"
    ) as made:
        yield made


def with_captions(dataset: Dataset, store: Path) -> Source:
    """A store of drawn vectors for the photos, and of a micro encoder's for val's captions."""
    encoder, ids = micro_encoder(), tuple(dataset.image_ids())
    texts = sorted({text for q in dataset.queries("val") for text in variants(q.captions)})
    write_embeddings(
        store,
        images=VectorTable(ids, vectors(len(ids), encoder.dim)),
        captions=VectorTable(tuple(texts), plain_sum(encoder).encode_texts(texts)),
        image_sha256=[f"{number:064x}" for number in range(len(ids))],
        provenance=encoder.provenance,
        skipped={},
    )
    return Source(store, dataset)


def evaluated(source: Source, out: Path) -> dict[str, dict[str, Any]]:
    """What `cir evaluate --per-query` says of each query."""
    assert source.dataset is not None
    run(
        EvaluateConfig(
            dataset=source.dataset.root,
            embeddings=source.store,
            query="sum",
            per_query=out,
            device="cpu",
        )
    )
    return {row["query_id"]: row for row in pq.read_table(out).to_pylist()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "rule"),
    [(small_dataset, "kept"), (cirr_dataset, "removed")],
    ids=["FashionIQ", "CIRR"],
)
def test_ranks_are_those_of_evaluation(tmp_path: Path, make: Any, rule: str) -> None:
    source = with_captions(make(tmp_path / "shop"), tmp_path / "shop.h5")
    expected = evaluated(source, tmp_path / "ranks.parquet")
    with served(source, "sum") as client:
        listed = client.get("/api/queries", params={"split": "val", "count": 100}).json()["queries"]
        assert {query["id"] for query in listed} == set(expected)
        for query in listed:
            judged = client.get(f"/api/queries/{query['id']}", params={"top": 50}).json()
            row, (answer,) = expected[query["id"]], judged["answers"]
            assert (judged["ranked"], judged["reference_rule"]) == (row["gallery_size"], rule)
            assert answer["targets"][0]["rank"] == row["rank"]
            found = [result["image"]["id"] for result in answer["results"]]
            assert found == row["retrieved_ids"]
            assert (query["reference"]["id"] in found) <= (rule == "kept")


def test_a_photo_has_one_rank_as_a_target_and_as_a_result(shop: TestClient) -> None:
    (query,) = shop.get("/api/queries").json()["queries"]
    (answer,) = shop.get(f"/api/queries/{query['id']}").json()["answers"]
    ranks = {result["image"]["id"]: result["rank"] for result in answer["results"]}
    assert sorted(ranks.values()) == [1, 2, 3, 4, 5, 6]
    for target in answer["targets"]:
        assert ranks[target["image"]["id"]] == target["rank"]
        (score,) = (r["score"] for r in answer["results"] if r["image"] == target["image"])
        assert score == target["score"]


@pytest.mark.parametrize("photo", ["s0", "s1"], ids=["reference", "target"])
def test_a_query_goes_and_comes_with_its_photos(shop: TestClient, photo: str) -> None:
    (query,) = shop.get("/api/queries").json()["queries"]
    shop.delete(f"/api/images/{photo}", headers=HOLDER)
    assert shop.get("/api/queries").json() == {"total": 0, "queries": []}
    assert shop.get("/api/info").json()["queries"] == []
    gone = shop.get(f"/api/queries/{query['id']}")
    assert gone.status_code == 404
    assert "no query" in gone.json()["detail"]
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "PNG")
    added = f"/api/images?id={photo}"
    assert shop.post(added, content=buffer.getvalue(), headers=HOLDER).status_code == 201
    assert shop.get("/api/queries").json()["total"] == 1
    assert shop.get("/api/info").json()["queries"] == [{"split": "val", "queries": 1}]
    assert shop.get(f"/api/queries/{query['id']}").json()["ranked"] == 6
