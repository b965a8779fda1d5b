"""The page of a manifest: every photo once, nothing fetched, and what users wrote escaped."""

import dataclasses
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cir.artefacts.manifest import Manifest
from cir.artefacts.manifest_comparison import compare_manifests
from cir.artefacts.manifest_statistics import hubness
from cir.data.dataset import Dataset
from cir.reporting.manifest_page import Shown, write_comparison_page, write_manifest_page
from cir.reporting.pictures import data_uri
from tests.support.mined import random_manifest
from tests.support.worlds import random_embeddings, small_dataset

pytestmark = pytest.mark.slow

NASTY = '</style><script>alert("x")</script>'
ROWS = 12


@pytest.fixture(scope="module")
def manifests(dataset: Dataset) -> tuple[Manifest, Manifest]:
    """Two manifests of the same queries, whose captions try to break out of the page."""
    made = [random_manifest(dataset, random_embeddings(dataset), seed=seed) for seed in (0, 1)]
    first, second = (
        dataclasses.replace(m, captions=((NASTY, "is & was"), *m.captions[1:])) for m in made
    )
    return first, second


class Page(HTMLParser):
    """The elements and the texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def photos(self) -> list[str]:
        """Every data URI, as often as it stands in the page."""
        return re.findall(r"data:image/webp;base64,[A-Za-z0-9+/=]+", self.text)

    @property
    def shown(self) -> list[str]:
        """The id of every photo that is shown, as often as it is."""
        frames = [a for a in self.all("button") if a.get("class") == "frame"]
        return [str(attributes["data-id"]) for attributes in frames]


def one(path: Path, manifest: Manifest, dataset: Dataset | None, rows: int = ROWS) -> Shown:
    return write_manifest_page(
        path, manifest, hubness(manifest), dataset, name="m.parquet", rows=rows
    )


def two(
    path: Path, manifests: tuple[Manifest, Manifest], dataset: Dataset | None, rows: int = ROWS
) -> Shown:
    joined = compare_manifests(*manifests)
    names = ("a.parquet", "b.parquet")
    return write_comparison_page(path, *manifests, joined, dataset, names=names, rows=rows)


@pytest.fixture(scope="module")
def pages(
    manifests: tuple[Manifest, Manifest],
    dataset: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Page, Page]:
    """The page of one manifest, and that of two."""
    folder = tmp_path_factory.mktemp("pages")
    one(folder / "one.html", manifests[0], dataset, 2000)
    two(folder / "two.html", manifests, dataset, 2000)
    first, second = (Page((folder / name).read_text()) for name in ("one.html", "two.html"))
    return first, second


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.usefixtures("undrawn")
def test_each_photo_is_embedded_exactly_once(
    pages: tuple[Page, Page], which: int, dataset: Dataset
) -> None:
    page = pages[which]
    ids = set(page.shown)
    assert len(page.shown) > len(ids) > 20
    assert sorted(page.photos) == sorted({data_uri(dataset.image_path(i)) for i in ids})


@pytest.mark.usefixtures("undrawn")
def test_equal_photos_share_one_picture(tmp_path: Path) -> None:
    world = small_dataset(tmp_path / "dataset", images=6, queries=6)
    for image_id in world.image_ids():
        world.image_path(image_id).write_bytes(world.image_path(world.image_ids()[0]).read_bytes())
    shown = one(tmp_path / "page.html", random_manifest(world, random_embeddings(world)), world)
    assert shown.photos == 1
    assert len(Page((tmp_path / "page.html").read_text()).photos) == 1


def test_every_image_of_a_shown_row_is_shown(
    pages: tuple[Page, Page], manifests: tuple[Manifest, Manifest]
) -> None:
    manifest = manifests[0]
    everything = {*manifest.reference_ids, *manifest.target_ids, *manifest.negative_ids}
    assert set(pages[0].shown) == everything
    assert set(pages[1].shown) == everything | set(manifests[1].negative_ids)


@pytest.mark.parametrize("which", [0, 1])
def test_nothing_is_fetched(pages: tuple[Page, Page], which: int) -> None:
    text = re.sub(r'src="data:[A-Za-z0-9+/=;,]+"', "", pages[which].text)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)|<link|<iframe|src=|import\(", text)
    assert [a for a in pages[which].all("script") if a] == []


@pytest.mark.parametrize("which", [0, 1])
def test_what_users_wrote_is_escaped(pages: tuple[Page, Page], which: int) -> None:
    assert len(pages[which].all("script")) == len(pages[which].all("style")) == 1
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in pages[which].text
    assert "is &amp; was" in pages[which].text


@pytest.mark.parametrize("which", [0, 1])
def test_charts_photos_and_filters_have_names(pages: tuple[Page, Page], which: int) -> None:
    page = pages[which]
    charts = page.all("svg")
    assert len(charts) == (14, 12)[which]  # each for wide pages and for phones
    assert all(a["role"] == "img" and a["aria-label"] for a in charts)
    names = [attributes["name"] for tag in ("select", "input") for attributes in page.all(tag)]
    assert names == ["category", "kind", "tag", "text"]
    # Each control stands inside its label, and each card is named by its heading.
    assert len(page.all("label")) == len(names)
    headings = {attributes.get("id") for attributes in page.all("h3")}
    assert all(attributes["aria-labelledby"] in headings for attributes in page.all("article"))


def test_the_filters_find_every_row(
    pages: tuple[Page, Page], manifests: tuple[Manifest, Manifest]
) -> None:
    page, manifest = pages[0], manifests[0]
    cards = page.all("article")
    assert len(cards) == len(manifest)
    assert {a["data-category"] for a in cards} == set(manifest.categories)
    offered = dict(re.findall(r'<option value="([^"]+)">.* \((\d+)\)</option>', page.text))
    counted = Counter(
        value
        for attributes in cards
        for name in ("category", "kind", "tag")
        for value in str(attributes[f"data-{name}"]).split("|")
        if value
    )
    assert offered == {value: str(count) for value, count in counted.items()}


@pytest.mark.usefixtures("undrawn")
def test_a_sample_is_told_as_such(
    manifests: tuple[Manifest, Manifest], dataset: Dataset, tmp_path: Path
) -> None:
    shown = one(tmp_path / "page.html", manifests[0], dataset)
    text = (tmp_path / "page.html").read_text()
    assert shown.rows == ROWS == len(Page(text).all("article"))
    assert f"{ROWS} of {len(manifests[0])} queries are in this page" in text
    assert f"in the {ROWS} queries of this page" in text
    assert shown.note is None


def test_equal_manifests_give_equal_pages(
    pages: tuple[Page, Page],
    manifests: tuple[Manifest, Manifest],
    dataset: Dataset,
    tmp_path: Path,
) -> None:
    one(tmp_path / "one.html", manifests[0], dataset, 2000)
    two(tmp_path / "two.html", manifests, dataset, 2000)
    for before, name in zip(pages, ("one.html", "two.html"), strict=True):
        assert before.text == (tmp_path / name).read_text()


@pytest.mark.usefixtures("undrawn")
def test_without_a_dataset_ids_stand_for_photos(
    manifests: tuple[Manifest, Manifest], tmp_path: Path
) -> None:
    shown = one(tmp_path / "page.html", manifests[0], None)
    text = (tmp_path / "page.html").read_text()
    assert shown.photos == 0
    assert shown.note == (
        "Photos are left out, ids stand for them: showing them takes the dataset."
    )
    assert shown.note in text
    assert "data:image" not in text
    assert manifests[0].negative_ids[0] in text


@pytest.mark.usefixtures("undrawn")
def test_a_photo_that_is_gone_is_counted(tmp_path: Path) -> None:
    world = small_dataset(tmp_path / "dataset", images=6, queries=6)
    made = random_manifest(world, random_embeddings(world))
    gone = made.target_ids[0]
    world.image_path(gone).unlink()
    shown = one(tmp_path / "page.html", made, Dataset(world.root), 2000)
    assert shown.note is not None
    assert re.match(rf"1 of \d+ photos are missing or broken, .* the first is {gone}\.", shown.note)
    page = Page((tmp_path / "page.html").read_text())
    assert gone not in page.shown
    assert 'class="frame gone"' in page.text


@pytest.mark.usefixtures("undrawn")
def test_the_starved_are_drawn_where_there_are_some(
    manifests: tuple[Manifest, Manifest], tmp_path: Path
) -> None:
    fed, page = np.full(len(manifests[0]), 9, dtype=np.int32), tmp_path / "page.html"
    for held, drawn in ((fed, False), (manifests[0].candidates_in_band, True), (0 * fed, True)):
        one(page, dataclasses.replace(manifests[0], candidates_in_band=held), None)
        labels = [str(attributes["aria-label"]) for attributes in Page(page.read_text()).all("svg")]
        assert any(label.startswith("starved queries") for label in labels) == drawn
