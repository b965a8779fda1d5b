"""Photos added and removed through the API: who may, what the next search sees, what stays."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from cir.artefacts.changes import Changes
from cir.data.soundness import id_fault
from cir.search.index import SearchIndex
from cir.search.living import LivingGallery
from cir.search.opening import Source, open_gallery
from cir.serving.app import create_app
from cir.serving.engine import Engine, Served
from tests.support.galleries import plain_sum, small_photos, stored
from tests.support.micro import micro_encoder

TOKEN = "a-token-of-the-tests"
HOLDER = {"Authorization": f"Bearer {TOKEN}"}


def made_in(folder: Path) -> Source:
    dataset = small_photos(folder / "shop")
    return Source(stored(dataset, micro_encoder(), folder / "shop.h5"), dataset)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return made_in(tmp_path)


def served(source: Source, token: str | None = TOKEN) -> TestClient:
    encoder, gallery = micro_encoder(), open_gallery(source)
    index = SearchIndex(plain_sum(encoder), gallery)
    living = LivingGallery(gallery, Changes(source.store), encoder)
    engine = Engine([Served("sum", "plain sum", False, index)], source.dataset, living)
    return TestClient(create_app(engine, queue=8, token=token))


@pytest.fixture
def client(source: Source) -> Iterator[TestClient]:
    with served(source) as made:
        yield made


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A writable server that no test changes."""
    with served(made_in(tmp_path_factory.mktemp("unchanged"))) as made:
        yield made


def photo(colour: str = "red", kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(buffer, kind, **options)
    return buffer.getvalue()


def found(client: TestClient) -> set[str]:
    asked = {"text": "is red", "top": 50, "copies": True}
    results = client.post("/api/search", json=asked).json()["answers"][0]["results"]
    return {result["image"]["id"] for result in results}


def test_the_next_search_finds_what_was_added(client: TestClient) -> None:
    query = {"id": "new 1", "title": "<script>alert(1)</script>", "category": "bags"}
    added = client.post("/api/images", params=query, content=photo(), headers=HOLDER)
    assert added.status_code == 201
    assert added.json()["title"] == query["title"]
    assert "new 1" in found(client)
    assert {"name": "bags", "images": 1} in client.get("/api/categories").json()
    picture = client.get(added.json()["picture"])
    with Image.open(io.BytesIO(picture.content)) as drawn:
        assert (drawn.format, drawn.size) == ("JPEG", (40, 30))


def test_the_next_search_misses_what_was_removed(client: TestClient) -> None:
    assert client.delete("/api/images/s1", headers=HOLDER).status_code == 204
    assert found(client) == {"s0", "s2", "s3", "s4", "s5"}
    assert client.delete("/api/images/s1", headers=HOLDER).status_code == 404
    assert client.get("/api/images/s1").status_code == 404


def test_a_picture_is_that_of_the_photo_which_has_the_id_now(client: TestClient) -> None:
    client.post("/api/images?id=new", content=photo("red"), headers=HOLDER)
    red = client.get("/api/pictures/new")
    client.delete("/api/images/new", headers=HOLDER)
    client.post("/api/images?id=new", content=photo("blue"), headers=HOLDER)
    tag = {"If-None-Match": red.headers["etag"]}
    blue = client.get("/api/pictures/new", headers=tag)
    assert (blue.status_code, blue.headers["cache-control"]) == (200, "private, no-cache")
    assert blue.content != red.content


@pytest.mark.slow
def test_changes_are_there_after_the_server_was_started_again(source: Source) -> None:
    with served(source) as client:
        client.post("/api/images?id=new", content=photo(), headers=HOLDER)
        client.delete("/api/images/s1", headers=HOLDER)
        client.delete("/api/images/s2", headers=HOLDER)
        client.post("/api/images?id=s2&title=Again", content=photo("blue"), headers=HOLDER)
        before = found(client)
    with served(source) as client:
        assert found(client) == before == {"s0", "s2", "s3", "s4", "s5", "new"}
        assert client.get("/api/images/s2").json()["title"] == "Again"


def test_a_photo_is_named_by_its_bytes_where_it_has_no_id(client: TestClient) -> None:
    first = client.post("/api/images", content=photo(), headers=HOLDER)
    assert len(first.json()["id"]) == 16
    assert client.post("/api/images", content=photo(), headers=HOLDER).status_code == 409


def test_a_photo_that_another_server_added_stays(source: Source) -> None:
    with served(source) as one, served(source) as other:
        one.post("/api/images?id=new", content=photo("red"), headers=HOLDER)
        refused = other.post("/api/images?id=new", content=photo("blue"), headers=HOLDER)
    assert refused.status_code == 409
    assert Changes(source.store).photo_bytes("new") == photo("red")


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}]
)
def test_only_who_holds_the_token_changes_anything(
    unchanged: TestClient, headers: dict[str, str]
) -> None:
    for answered in (
        unchanged.post("/api/images?id=new", content=photo(), headers=headers),
        unchanged.delete("/api/images/s1", headers=headers),
    ):
        assert answered.status_code == 401
        assert answered.headers["www-authenticate"] == "Bearer"
    assert found(unchanged) == {f"s{number}" for number in range(6)}


def test_a_server_that_is_not_writable_takes_no_change(source: Source) -> None:
    with served(source, token=None) as client:
        assert client.delete("/api/images/s1", headers=HOLDER).status_code == 403
        assert not client.get("/api/info").json()["writable"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "has 0 bytes"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is no image"),
        (photo()[:60], "damaged"),
        (photo(kind="EPS"), "is no image"),
    ],
)
def test_what_is_no_photo_is_not_added(unchanged: TestClient, body: bytes, words: str) -> None:
    answered = unchanged.post("/api/images?id=new", content=body, headers=HOLDER)
    assert answered.status_code == 422
    assert words in answered.json()["detail"]
    assert "new" not in found(unchanged)


def test_pixels_are_counted_before_any_is_decoded(
    unchanged: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir.serving.limits.UPLOAD_PIXELS", 40 * 30 - 1)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    answered = unchanged.post("/api/images?id=new", content=photo(), headers=HOLDER)
    assert answered.json()["detail"].startswith("the photo is 40 x 30 pixels; expected at most")


@pytest.mark.parametrize("image_id", ["a\nb", "\x00", "x" * 513, ".", " .. "])
def test_an_id_is_short_and_can_be_asked_for(unchanged: TestClient, image_id: str) -> None:
    answered = unchanged.post(
        "/api/images", params={"id": image_id}, content=photo(), headers=HOLDER
    )
    assert answered.status_code == 422


@pytest.mark.parametrize("image_id", ["a/b", "../../../outside.jpg", "a/"])
def test_an_id_holds_no_slash_as_in_a_dataset(unchanged: TestClient, image_id: str) -> None:
    query = {"id": image_id}
    answered = unchanged.post("/api/images", params=query, content=photo(), headers=HOLDER)
    assert (answered.status_code, answered.json()["detail"]) == (422, id_fault(image_id))


def test_an_id_is_never_a_path(client: TestClient, source: Source) -> None:
    before = sorted(source.store.parent.rglob("*"))
    query = {"id": "..\\..\\outside.jpg"}
    added = client.post("/api/images", params=query, content=photo(), headers=HOLDER)
    assert client.get(added.json()["picture"]).status_code == 200
    made = set(source.store.parent.rglob("*")) - set(before)
    assert {path.name.split(".sqlite3")[0] for path in made} <= {"shop.h5.changes"}
