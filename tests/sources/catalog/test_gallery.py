"""A folder of photos without a CSV becomes an embedded gallery, and says what it lacks."""

from pathlib import Path

import pytest

from cir.artefacts.store import read_embeddings
from cir.config import CatalogConfig, FolderConfig
from cir.data.dataset import SPLITS, Dataset
from cir.encoding.job.dataset_embedding import embed_dataset
from cir.errors import DatasetError
from cir.sources.annotations import CategorySplitCount, read_records
from cir.sources.catalog.dataset import CatalogSummary
from cir.sources.catalog.photos import LeftOut
from pipeline import catalog, folder
from pipeline.screen import catalog_tables
from tests.support.micro import micro_encoder
from tests.support.photo_folders import write_photos
from tests.support.shards import pack

FORMATS = ("jpg", "JPEG", "png", "webp", "bmp", "tiff", "tif", "gif", "avif")
NAMES = [
    *(f"{kind}/{n}.png" for kind in ("bags", "hats") for n in range(12)),
    *(f"hats/of {ending}.{ending}" for ending in FORMATS),
    "loose.png",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), NAMES)


@pytest.fixture(scope="module")
def gallery(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("made") / "gallery"
    folder.run(FolderConfig(photos=photos, out=out, workers=1))
    return Dataset(out)


def test_sub_folders_are_categories(gallery: Dataset) -> None:
    assert gallery.categories == ("bags", "hats", "photos")
    ids = {i for split in gallery.splits for i in gallery.galleries(split).get("bags", ())}
    assert ids == {f"bags__{n}" for n in range(12)}
    records = read_records(gallery.root, gallery.splits)
    assert records["bags__3"].file == "bags/3.png"


def test_a_gallery_is_embedded_without_captions(gallery: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "gallery.h5"
    done = embed_dataset(gallery, micro_encoder(), out, batch_size=16, workers=0, on_error="fail")
    assert (done.images, done.captions) == (len(NAMES), 0)
    held = read_embeddings(out)
    assert held.images.keys == tuple(gallery.image_ids())
    assert held.captions.vectors.shape[0] == 0


def test_a_shard_that_is_a_link_becomes_a_gallery(photos: Path, tmp_path: Path) -> None:
    """What it leads to is no shard by its name, as in the caches of DVC and Hugging Face."""
    held = {name: (photos / name).read_bytes() for name in NAMES[:2]}
    pack(tmp_path / "packed.tar", held).rename(tmp_path / "5f3c0de")
    (tmp_path / "cached").mkdir()
    (tmp_path / "cached" / "a.tar").symlink_to(tmp_path / "5f3c0de")
    folder.run(FolderConfig(photos=tmp_path / "cached", out=tmp_path / "out", workers=1))
    assert len(Dataset(tmp_path / "out").image_files) == 2


def test_a_gallery_has_no_queries_and_says_what_it_is(gallery: Dataset) -> None:
    with pytest.raises(DatasetError, match=r"no queries of split 'train'.* gallery to search in"):
        gallery.queries("train")


def test_a_catalogue_of_ids_and_folders_is_a_gallery_and_says_what_queries_lack(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("\n".join(["file", *NAMES]))
    catalog.run(
        CatalogConfig(images=photos, attributes=tmp_path / "a.csv", out=tmp_path / "out", workers=1)
    )
    printed = " ".join(capsys.readouterr().out.split())
    assert "--attribute-columns names some" in printed
    assert "--name-column names one" in printed
    assert len(Dataset(tmp_path / "out").image_ids()) == len(NAMES)


def test_a_catalogue_without_a_header_loses_no_row(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("\n".join(f"{name};{n % 2}" for n, name in enumerate(NAMES)))
    out = tmp_path / "out"
    catalog.run(CatalogConfig(images=photos, attributes=tmp_path / "a.csv", out=out, workers=1))
    assert "has no header" in capsys.readouterr().out
    assert len(Dataset(out).image_ids()) == len(NAMES)


def test_a_catalogue_of_400_categories_is_said_on_a_screen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    counts = [
        CategorySplitCount(f"kind-{n}", split, images=n, queries=n, targets=1.5)
        for n in range(1, 401)
        for split in SPLITS
    ]
    catalog_tables.show(
        Path("out"),
        CatalogSummary(
            splits=tuple(counts),
            left_out=LeftOut(photos_without_row=tuple(map(str, range(400)))),
            lookalikes=3,
            torn=2,
            others={f".{n}": n for n in range(400)},
            taken_as_categories=("train",),
            pooled={f"kind-{n}": n for n in range(400)},
            min_category=20,
            missing=("no queries in val",),
        ),
    )
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) <= 24
    assert all(name in printed for name in ("kind-400", "kind-395", "394 more", "catalog.json"))
    assert "kind-394" not in printed
    assert f"{3 * sum(range(401)):,}" in printed
