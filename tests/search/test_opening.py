"""Where a gallery is found: a store, a dataset folder, a run, a folder of photos."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cir
from cir.artefacts.changes import Changes
from cir.artefacts.store import read_embeddings
from cir.data.dataset import Dataset
from cir.encoding.encoder import Encoder
from cir.errors import StoreError, UsageError
from cir.models.combiner import build_combiner
from cir.models.composer import untrained_composer
from cir.search.open_index import Opened, open_indexes
from cir.search.opening import Source, find_source, open_gallery, records_of, source_of
from cir.search.photo_folder import FolderChanges, folder_changes, kept_folder
from tests.support.checkpoints import HIDDEN, saved
from tests.support.galleries import small_photos, stored
from tests.support.micro import micro_encoder
from tests.support.photo_folders import photo, write_photos


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    """Found whatever published encoder is asked for."""
    made = micro_encoder()
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: made)
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: made)
    return made


@pytest.fixture
def shop(tmp_path: Path, encoder: Encoder) -> Dataset:
    dataset = small_photos(tmp_path / "shop")
    stored(dataset, encoder, tmp_path / "shop.h5")
    return dataset


@pytest.fixture
def run(tmp_path: Path, shop: Dataset, encoder: Encoder) -> Path:
    folder = tmp_path / "run"
    combiner = build_combiner("attention-fusion", dim=encoder.dim, hidden=HIDDEN)
    saved(folder / "checkpoints/best", combiner, encoder.provenance)
    trained_on = {"dataset": str(shop.root), "embeddings": str(shop.root.with_suffix(".h5"))}
    (folder / "config.json").write_text(json.dumps(trained_on), encoding="utf-8")
    return folder


def test_a_folder_of_photos_beside_a_store_is_not_taken_for_its_dataset(shop: Dataset) -> None:
    store = shop.root.with_name("odd.h5")
    shop.root.with_suffix(".h5").rename(store)
    write_photos(store.with_suffix(""), ["1.jpg"])
    source = find_source(store)
    assert isinstance(source, Source)
    assert (source.store, source.dataset) == (store, None)


def test_a_store_and_its_dataset_folder_find_each_other(shop: Dataset) -> None:
    store = shop.root.with_suffix(".h5")
    for path in (store, shop.root):
        source = find_source(path)
        assert isinstance(source, Source)
        assert (source.store, source.dataset.root) == (store, shop.root)


@pytest.mark.parametrize("path", [".", "..", "../shop"])
def test_a_folder_is_known_by_whatever_path_leads_to_it(
    shop: Dataset, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.root / "images" if path == ".." else shop.root)
    source = find_source(Path(path))
    assert isinstance(source, Source)
    assert source.store.samefile(shop.root.with_suffix(".h5"))


@pytest.mark.parametrize("beside", ["link.h5", "shop.h5"])
def test_the_store_of_a_linked_folder_lies_beside_the_link_or_the_folder(
    tmp_path: Path, shop: Dataset, beside: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere/link"
    link.symlink_to(shop.root)
    store = tmp_path / beside if beside == "shop.h5" else link.with_name(beside)
    shop.root.with_suffix(".h5").rename(store)
    source = find_source(link)
    assert isinstance(source, Source)
    assert source.store.samefile(store)


@pytest.mark.parametrize("is_dataset", [True, False])
def test_the_folder_above_all_has_no_store_beside_it(
    is_dataset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir.search.opening.is_photo_folder", lambda _: not is_dataset)
    with pytest.raises(UsageError, match=r"^/ has no name .* pass a folder in it, or a store"):
        find_source(Path("/"))


def test_a_run_names_what_it_was_trained_over(shop: Dataset, run: Path) -> None:
    for path in (run, run / "checkpoints/best"):
        source = source_of(path, None, None)
        assert (source.store, source.dataset.root) == (shop.root.with_suffix(".h5"), shop.root)


def test_a_gallery_is_to_be_named() -> None:
    with pytest.raises(StoreError, match=r"^no gallery is named: pass `store`$"):
        source_of(None, None, None)


def test_what_is_known_of_photos_comes_with_them(shop: Dataset) -> None:
    record = records_of(shop)["s1"]
    assert (record.title, record.categories) == ("Shoe 1 <b>", ("shoes",))
    assert record.attributes == {"colour": "blue"}
    gallery = open_gallery(find_source(shop.root))
    assert gallery.image("s1").file == shop.image_path("s1")


def test_three_lines_search_by_a_run(shop: Dataset, run: Path) -> None:
    index = cir.load(run, device="cpu").index(shop.root)
    results = index.search("s1", "is red", top=3)
    assert [result.rank for result in results] == [1, 2, 3]
    assert results[0].file == shop.image_path(results[0].id)


def test_the_plain_sum_searches_where_there_is_no_run(shop: Dataset) -> None:
    index = cir.index(shop.root.with_suffix(".h5"), device="cpu")
    assert len(index.search(text="is red", top=3)) == 3


def test_a_folder_without_a_store_is_told_how_to_get_one(shop: Dataset) -> None:
    store = shop.root.with_suffix(".h5")
    store.unlink()
    with pytest.raises(StoreError, match=r"no embedding store of .* make it with cir embed"):
        find_source(shop.root)


def test_a_store_of_another_encoder_is_refused(shop: Dataset, run: Path) -> None:
    other = stored(shop, micro_encoder(seed=1), shop.root.with_name("other.h5"))
    with pytest.raises(StoreError, match="come from different encoders: weights_sha256"):
        cir.load(run, device="cpu").index(other)


def test_a_folder_of_photos_is_embedded_once_and_kept(
    tmp_path: Path, shop: Dataset, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cir.search.photo_folder.pick_workers", lambda *_: 0)
    before = sorted(path.name for path in (shop.root / "images").iterdir())
    index = cir.index(shop.root / "images", device="cpu")
    kept = kept_folder(shop.root / "images")
    assert (len(index), kept.store.name) == (6, "images-cir.h5")
    assert sorted(path.name for path in (shop.root / "images").iterdir()) == before
    written = kept.store.stat().st_mtime_ns
    assert len(cir.index(shop.root / "images", device="cpu")) == 6
    assert kept.store.stat().st_mtime_ns == written


@pytest.fixture
def photos(tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of photos and a broken one, which was searched before."""
    monkeypatch.setattr("cir.search.photo_folder.pick_workers", lambda *_: 0)
    folder = write_photos(tmp_path / "photos", ["a.png", "b.png", "shoes/c.png"])
    (folder / "broken.png").write_bytes(b"no photo")
    with pytest.warns(UserWarning, match=r"Left out: 1 unreadable photos \(.*broken\.png"):
        assert cir.index(folder, device="cpu").gallery.image_ids == ["a", "b", "shoes__c"]
    return folder


def opened_again(photos: Path) -> Opened:
    return open_indexes([], photos, dataset=None, weights=None, device=torch.device("cpu"))


def test_what_a_folder_of_photos_is_without_is_told_when_it_is_embedded(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (opened_again(photos).embedded, opened_again(photos).left_out) == (None, [])
    (photos / "empty.png").touch()
    photo("a").save(photos / "a.webp")
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    changes = folder_changes(photos, read_embeddings(kept_folder(photos).store))
    assert (changes.new, len(changes.left_out)) == ((), 3)
    opened = opened_again(photos)
    assert str(opened.folder_changes) == "0 new, 0 changed, 0 gone, 3 left out"
    one_id, unreadable = opened.left_out
    assert one_id == "Left out: 1 photos of one id (a.webp)"
    assert unreadable.startswith("Left out: 3 unreadable photos (")
    assert opened.embedded is not None
    assert opened.embedded.made.left_out.photos_of_one_id == ("a.webp",)
    assert opened.embedded.embedded.images == 3
    monkeypatch.chdir(photos)
    assert not opened_again(Path()).left_out  # by another name, the same


def test_a_retriever_warns_of_photos_that_it_leaves_out(photos: Path, encoder: Encoder) -> None:
    kept_folder(photos).store.unlink()
    retriever = cir.Retriever(untrained_composer("sum"), encoder)
    with pytest.warns(UserWarning, match=r"Left out: 1 unreadable photos"):
        retriever.index(photos)


BY_A_RETRIEVER = """\
import torch
from cir.encoding.loading import load_encoder
from cir.models.composer import untrained_composer
cpu = torch.device("cpu")
tiny = load_encoder("cir-tiny", pretrained=None, weights=None, preprocess="targetpad", device=cpu)
retriever = cir.Retriever(untrained_composer("sum"), tiny)
retriever.index(PHOTOS)
"""


@pytest.mark.slow
@pytest.mark.parametrize("opening", ["cir.index(PHOTOS, device='cpu')\n", BY_A_RETRIEVER])
def test_a_warning_names_the_line_that_opened_the_folder(
    opening: str, photos: Path, tmp_path: Path
) -> None:
    """In a process of its own: checks of shapes stand between the library's frames here."""
    kept_folder(photos).store.unlink()
    lines = f"import cir\nPHOTOS = {str(photos)!r}\n{opening}"
    script = tmp_path / "script.py"
    script.write_text(lines)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True, timeout=120
    )
    last = lines.count("\n")
    assert f"{script}:{last}: UserWarning: {photos}: Left out: 1 unreadable photos" in done.stderr


@pytest.mark.slow
def test_a_folder_that_has_changed_is_brought_up_to_date(photos: Path) -> None:
    write_photos(photos, ["d.png"])
    photo("another").save(photos / "a.png")
    (photos / "b.png").unlink()
    before = read_embeddings(kept_folder(photos).store)
    opened = opened_again(photos)
    assert opened.folder_changes == FolderChanges(new=("d",), changed=("a",), gone=("b",))
    assert opened.plain.gallery.image_ids == ["a", "d", "shoes__c"]
    after = read_embeddings(kept_folder(photos).store)
    assert (after.images.take(["shoes__c"]) == before.images.take(["shoes__c"])).all()
    assert after.image_sha256[0] != before.image_sha256[0]
    assert opened_again(photos).folder_changes is None


def test_a_folder_is_as_it_was_where_only_the_server_changed_its_store(photos: Path) -> None:
    store = read_embeddings(kept_folder(photos).store)
    assert not folder_changes(photos, store)
    Changes(store.path).remove("a")
    assert not folder_changes(photos, store)
    photo("mended").save(photos / "broken.png")
    assert folder_changes(photos, store) == FolderChanges(new=("broken",), changed=(), gone=())


def test_photos_that_changed_before_a_folder_was_embedded_are_looked_at_again(
    photos: Path,
) -> None:
    kept_folder(photos).store.unlink()  # as where the first search was killed
    write_photos(photos, ["d.png"])
    (photos / "b.png").unlink()
    with pytest.warns(UserWarning, match="Left out: 1 unreadable photos"):
        found = cir.index(photos, device="cpu")
    assert found.gallery.image_ids == ["a", "d", "shoes__c"]


def test_the_folder_of_links_is_made_again_where_it_is_gone(photos: Path) -> None:
    shutil.rmtree(kept_folder(photos).dataset)
    index = cir.index(photos, device="cpu")
    assert index.gallery.image_ids == ["a", "b", "shoes__c"]
    file = index.gallery.image("a").file
    assert file is not None
    assert file.samefile(photos / "a.png")


def test_a_dataset_is_no_option_of_a_folder_of_photos(photos: Path, shop: Dataset) -> None:
    with pytest.raises(UsageError, match=r"`dataset` is .*shop, and .*photos is a folder of photo"):
        cir.index(photos, dataset=shop.root, device="cpu")


def test_copies_of_photos_tell_of_changes_as_links_do(
    tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("cir.sources.links.os.link", refused)
    monkeypatch.setattr("cir.search.photo_folder.pick_workers", lambda *_: 0)
    folder = write_photos(tmp_path / "photos", ["a.png", "b.png"])
    cir.index(folder, device="cpu")
    store = read_embeddings(kept_folder(folder).store)
    assert not folder_changes(folder, store)
    os.utime(folder / "b.png", ns=(1, 1))
    assert folder_changes(folder, store).changed == ("b",)
