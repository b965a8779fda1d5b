"""The API: what it answers and refuses, through the application in this process."""

import base64
import io
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from cir.data.dataset import Dataset
from cir.errors import DatasetError
from cir.search.index import SearchIndex
from cir.search.opening import Source, open_gallery
from cir.serving import limits
from cir.serving.app import create_app
from cir.serving.engine import Engine, Search, Searched, Served
from tests.support.galleries import plain_sum, small_photos, stored
from tests.support.micro import micro_encoder

SEARCH_PAGE = Path(__file__).parents[2] / "docs" / "search.md"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return small_photos(tmp_path_factory.mktemp("served") / "shop")


@pytest.fixture(scope="module")
def index(photos: Dataset) -> SearchIndex:
    encoder = micro_encoder()
    store = stored(photos, encoder, photos.root.with_name("shop.h5"))
    return SearchIndex(plain_sum(encoder), open_gallery(Source(store, photos)))


@pytest.fixture(scope="module")
def client(photos: Dataset, index: SearchIndex) -> Iterator[TestClient]:
    served = [Served("run", "after", True, index), Served("sum", "before", False, index)]
    app = create_app(Engine(served, photos), queue=8, hosts=("testserver",))
    with TestClient(app) as made:
        yield made


def encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def test_a_search_answers_as_the_library_does(client: TestClient, index: SearchIndex) -> None:
    asked = {"images": ["s0"], "text": "is blue", "top": 3, "retrievers": ["sum", "run"]}
    answered = client.post("/api/search", json=asked).json()
    expected = [(r.id, pytest.approx(r.score)) for r in index.search("s0", "is blue", top=3)]
    assert [answer["retriever"] for answer in answered["answers"]] == ["sum", "run"]
    for answer in answered["answers"]:
        assert [(r["image"]["id"], r["score"]) for r in answer["results"]] == expected
    assert answered["answers"][0]["results"][0]["image"]["title"].startswith("Shoe")
    assert all(spent >= 0 for spent in answered["milliseconds"].values())


def test_a_photo_of_ones_own_is_a_reference(
    client: TestClient, index: SearchIndex, photos: Dataset
) -> None:
    asked = {"photo": encoded(photos.image_path("s2")), "text": "is red", "top": 3}
    answered = client.post("/api/search", json=asked).json()["answers"][0]["results"]
    expected = index.search(photos.image_path("s2"), "is red", top=3)
    assert [r["image"]["id"] for r in answered] == [result.id for result in expected]


def large_photo(kind: str) -> bytes:
    """A photo of 1,024 x 768 pixels, many times what the encoder sees."""
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((1024, 768), Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_upload_waits_as_small_as_the_encoder_sees_it_with_the_vector_of_its_file(
    index: SearchIndex, photos: Dataset, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cir.data.rgb._MANY_PIXELS", 1 << 16)
    file = tmp_path / "own"
    file.write_bytes(large_photo(kind))
    upload = Engine([Served("sum", "plain sum", False, index)], photos).read_upload(
        file.read_bytes()
    )
    assert upload.size == (32, 32)
    encode = index.retriever.encode_images
    assert (encode([upload]) == encode([file])).all()


def test_a_picture_is_read_no_larger_than_it_is_drawn(
    index: SearchIndex, photos: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "large.jpg"
    file.write_bytes(large_photo("JPEG"))
    monkeypatch.setattr(index.gallery, "_file_of", lambda _: file)
    engine, sizes = Engine([Served("sum", "plain sum", False, index)], photos), []

    def drawn(photo: Image.Image, side: int) -> bytes:
        sizes.append((photo.size, side))
        return b"jpeg"

    monkeypatch.setattr("cir.serving.pictures._drawn", drawn)
    with TestClient(create_app(engine, queue=8)) as client:
        for side in (120, 240):
            client.get(f"/api/pictures/s1?side={side}")
    assert sizes == [((256, 192), 120), ((512, 384), 240)]


def test_neighbours_are_near_by_image_alone(client: TestClient, index: SearchIndex) -> None:
    answered = client.get("/api/neighbours/s2?top=3").json()
    assert answered["image"]["id"] == "s2"
    expected = [result.id for result in index.search("s2", top=3)]
    assert [r["image"]["id"] for r in answered["results"]] == expected


def test_the_gallery_is_listed_by_category_words_and_chance(client: TestClient) -> None:
    assert client.get("/api/images?category=shoes&count=2&offset=1").json()["total"] == 6
    titles = client.get("/api/images?text=shoe 3").json()["images"]
    assert [image["id"] for image in titles] == ["s3"]
    orders = [client.get(f"/api/images?seed={seed}").json()["images"] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert client.get("/api/words?count=1").json() == [
        {"name": "colour", "words": [{"word": "red", "images": 2}]}
    ]
    assert client.get("/api/categories").json() == [{"name": "shoes", "images": 6}]


def test_a_picture_is_a_small_jpeg(client: TestClient) -> None:
    path = client.get("/api/images/s1").json()["picture"]
    answered = client.get(f"{path}?side=120")
    with Image.open(io.BytesIO(answered.content)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (48, 64))
    assert answered.headers["cache-control"] == "private, no-cache"
    tag = {"If-None-Match": answered.headers["etag"]}
    assert client.get(f"{path}?side=120", headers=tag).status_code == 304


def test_a_query_of_the_dataset_comes_with_the_rank_of_its_target(
    client: TestClient, index: SearchIndex
) -> None:
    (listed,) = client.get("/api/queries?split=val").json()["queries"]
    judged = client.get(f"/api/queries/{listed['id']}").json()
    image, text = index.gallery.vector("s0"), index.retriever.encode_texts(["is blue"])
    scores = index.gallery.vectors @ index.retriever.compose(image[None], text)[0]
    rank = 1 + int((scores > scores[index.gallery.row("s1")]).sum())
    assert judged["ranked"] == 6
    for answer in judged["answers"]:
        assert [(t["image"]["id"], t["rank"]) for t in answer["targets"]] == [("s1", rank)]
        # The results are the ranked photos themselves, the reference among them.
        order = [index.gallery.ids[row] for row in (-scores).argsort()]
        assert [result["image"]["id"] for result in answer["results"]] == order


def test_what_the_server_holds_is_told(client: TestClient) -> None:
    told = client.get("/api/info").json()
    assert (told["images"], told["writable"]) == (6, False)
    assert [each["name"] for each in told["retrievers"]] == ["run", "sum"]
    assert told["queries"] == [{"split": "val", "queries": 1}]
    assert client.get("/api/health").json()["status"] == "ok"


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        ({}, 422, "nothing to search for: pass `image`, `text` or `like`"),
        ({"text": "x", "weight": 0.3}, 422, "`weight` weighs `text` against `image`"),
        ({"text": "   "}, 422, "nothing to search for"),
        ({"text": "x" * 1001}, 422, "at most 1000 characters"),
        ({"images": ["../../etc/passwd"]}, 404, "holds no photo"),
        ({"images": ["/etc/passwd"]}, 404, "holds no photo"),
        ({"text": "x", "without": ["nope"]}, 404, "holds no photo 'nope'"),
        ({"photo": "no base64!"}, 422, "no base64"),
        ({"photo": base64.b64encode(b"no image").decode()}, 422, "is no image"),
        ({"text": "x", "retrievers": ["other"]}, 404, "no retriever 'other'"),
        ({"text": "x", "category": "other"}, 404, "no category 'other'"),
        ({"text": "x", "top": 101}, 422, "less than or equal to 100"),
        ({"text": "x", "colour": "red"}, 422, "Extra inputs"),
        ({"text": "\x00"}, 422, "`text`: '\\x00' holds a NUL character"),
        ({"text": "is\x1b[31m red"}, 422, "`text`: 'is\\x1b[31m red' holds a control character"),
        ({"text": "x", "less": ["a", "\x7f"]}, 422, "`less.1`: '\\x7f' holds a control character"),
        ({"text": "x", "less": ["  "]}, 422, "`less.0`: String should have at least 1 character"),
    ],
)
def test_a_search_that_cannot_be_is_refused(
    client: TestClient, asked: dict, code: int, words: str
) -> None:
    answered = client.post("/api/search", json=asked)
    assert answered.status_code == code
    assert words in str(answered.json()["detail"])


@pytest.mark.parametrize("path", ["/api/images", "/api/queries"])
def test_a_listing_takes_no_text_with_a_control_character(client: TestClient, path: str) -> None:
    refused = client.get(path, params={"text": "\x00"})
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        "`text`: '\\x00' holds a NUL character",
    )


def test_a_text_may_have_tabs_and_several_lines(client: TestClient) -> None:
    asked = {"text": "is red\r\n\tand shorter", "top": 1}
    assert client.post("/api/search", json=asked).status_code == 200


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/api/images?limit=-1", "`limit`; expected category, text, seed, offset, count"),
        ("/api/images?count=1&Count=2&page=3", "`Count`, `page`; expected category"),
        ("/api/images/s1?side=120", "`side`; expected none"),
        ("/api/queries/0?limit=3", "`limit`; expected retrievers, top"),
        ("/api/health?verbose=", "`verbose`; expected none"),
    ],
)
def test_a_parameter_that_a_path_does_not_have_is_refused(
    client: TestClient, path: str, named: str
) -> None:
    answered = client.get(path)
    assert answered.status_code == 422
    assert named in answered.json()["detail"]


def test_the_documentation_names_every_path_with_its_parameters(client: TestClient) -> None:
    table = {}
    for line in SEARCH_PAGE.read_text("utf-8").splitlines():
        if found := re.match(r"\| `([A-Z]+ /api/[^`]+)` \|.*\| ([^|]*) \|$", line):
            table[found[1]] = re.findall("`([^`]+)`", found[2])
    described = {}
    for path, methods in client.get("/api/openapi.json").json()["paths"].items():
        for method, route in methods.items():
            name = f"{method.upper()} {re.sub('{[^}]+}', '{id}', path)}"
            parameters = route.get("parameters", [])
            described[name] = [each["name"] for each in parameters if each["in"] == "query"]
    assert table == described


@pytest.mark.parametrize(
    "path",
    [
        "/api/pictures/..%2F..%2Fshop.h5",
        "/api/pictures/%2Fetc%2Fpasswd",
        "/api/images/../../../etc/passwd",
        "/static/..%2Fapp.py",
        "/static/%2e%2e/app.py",
    ],
)
def test_no_path_leads_out_of_the_gallery(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_every_answer_carries_the_headers_and_the_policy(client: TestClient) -> None:
    for path in ("/", "/api/docs", "/api/health", "/api/nowhere", "/static/api.css"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_pages_hold_no_inline_script_or_style(client: TestClient) -> None:
    for path in ("/", "/api/docs"):
        page = client.get(path).text
        assert "<script>" not in page
        assert "<style" not in page
        assert "style=" not in page


def test_a_name_that_is_not_this_machines_is_refused(client: TestClient) -> None:
    assert client.get("/api/health", headers={"Host": "evil.example"}).status_code == 400


def test_a_body_that_is_too_long_is_refused(client: TestClient) -> None:
    claimed = {"Content-Length": str(2**40), "Content-Type": "application/json"}
    assert client.post("/api/search", content=b"{}", headers=claimed).status_code == 413
    endless = (b"x" * 2**20 for _ in range(limits.BODY_BYTES // 2**20 + 2))
    assert client.post("/api/search", content=endless).status_code == 413


def test_a_request_beyond_the_queue_is_told_when_to_come_again(
    photos: Dataset, index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine([Served("sum", "before", False, index)], photos)
    begun, go, search_all = threading.Event(), threading.Event(), engine.search_all

    def held(given: Sequence[Search]) -> Sequence[Searched]:
        begun.set()
        assert go.wait(10)
        return search_all(given)

    monkeypatch.setattr(engine, "search_all", held)
    app = create_app(engine, queue=2, hosts=("testserver",))
    with TestClient(app) as client, ThreadPoolExecutor(3) as pool:
        try:
            asked = [pool.submit(client.get, "/api/neighbours/s2")]
            assert begun.wait(10)
            asked += [pool.submit(client.get, "/api/neighbours/s2") for _ in range(2)]
            until = time.monotonic() + 10
            while client.get("/api/health").json()["waiting"] < 2 and time.monotonic() < until:
                time.sleep(0.01)
            refused = client.post("/api/search", json={"text": "is red"})
            monkeypatch.setattr("cir.serving.uploads.decode_image", None)
            own = client.post("/api/search", json={"photo": encoded(photos.image_path("s2"))})
            other = client.get("/api/images/s1")
        finally:
            go.set()
        assert [each.result().status_code for each in asked] == [200, 200, 200]
        assert client.post("/api/search", json={"text": "is red"}).status_code == 200
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert own.json() == refused.json()
    assert refused.json()["detail"] == "2 requests wait already: try again in a moment"
    assert other.status_code == 200


def test_few_uploads_are_decoded_at_once_and_those_that_wait_count(
    photos: Dataset, index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine([Served("sum", "before", False, index)], photos)
    go, under_way, most, read = threading.Event(), [], [], engine.read_upload

    def slow(given: bytes) -> Image.Image:
        under_way.append(given)
        most.append(len(under_way))
        assert go.wait(10)
        under_way.pop()
        return read(given)

    monkeypatch.setattr(engine, "read_upload", slow)
    own = {"photo": encoded(photos.image_path("s2"))}
    with TestClient(create_app(engine, queue=3)) as client, ThreadPoolExecutor(4) as pool:
        try:
            asked = [pool.submit(client.post, "/api/search", json=own) for _ in range(4)]
            done = next(as_completed(asked, timeout=10)).result()
        finally:
            go.set()
        codes = sorted(each.result().status_code for each in asked)
    assert (done.status_code, codes) == (503, [200, 200, 200, 503])
    assert max(most) == limits.DECODED


def test_a_malformed_query_is_told_before_anything_is_served(
    index: SearchIndex, tmp_path: Path
) -> None:
    dataset = small_photos(tmp_path / "shop")
    dataset.captions_file("shoes", "val").write_text('[{"candidate": "s0"}]', encoding="utf-8")
    with pytest.raises(DatasetError, match=r"cap\.shoes\.val\.json"):
        Engine([Served("sum", "plain sum", False, index)], dataset)


def test_every_fault_is_json_with_a_detail(client: TestClient) -> None:
    refused = client.get("/api/health", headers={"Host": "elsewhere.example"})
    assert (refused.status_code, refused.json()) == (
        400,
        {"detail": "the request names a host that this server does not answer to"},
    )
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    headers = {"Content-Type": "application/json"}
    malformed = client.post("/api/search", content="{", headers=headers)
    assert malformed.status_code == 422
    assert malformed.json()["detail"].startswith("the body is no JSON: ")


@pytest.mark.parametrize("path", ["/", "/static/page.css", "/api/health"])
def test_head_is_get_without_the_body(client: TestClient, path: str) -> None:
    head, whole = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]
