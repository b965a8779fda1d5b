"""A photo's split depends on its product and the seed, never on which other photos there are."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cir.artefacts.trained import read_trained, write_trained
from cir.data.dataset import Dataset
from cir.errors import DatasetError
from cir.evaluation.leaks import find_leaks
from cir.names import TRAINED_FILE
from cir.progress import SILENT
from cir.sources.catalog.column_guess import AskedColumns
from cir.sources.catalog.dataset import make_catalog, make_gallery
from cir.sources.catalog.photos import CatalogPhoto
from cir.sources.catalog.splits import (
    default_min_category,
    sample_photos,
    small_categories,
    split_of,
    with_products,
    with_splits,
)
from tests.support.photo_folders import photo, write_photos
from tests.support.worlds import random_embeddings

IDS = st.text(min_size=1, max_size=8)


def photos_of(*ids: str) -> list[CatalogPhoto]:
    return [CatalogPhoto(i, Path(f"{i}.jpg"), "shoes", product=i) for i in ids]


def splits_of(dataset: Path) -> dict[str, str]:
    opened = Dataset(dataset)
    return {
        photo_id: split
        for split in opened.splits
        for ids in opened.galleries(split).values()
        for photo_id in ids
    }


def test_ten_more_photos_move_none_of_three_thousand() -> None:
    before = with_splits(photos_of(*map(str, range(3000))), seed=0)
    after = with_splits(photos_of(*map(str, range(-10, 3000))), seed=0)
    assert [p.split for p in after[10:]] == [p.split for p in before]
    shares = Counter(p.split for p in before)
    expected = {"train": 2100, "val": 450, "test": 450}
    assert shares == pytest.approx(expected, abs=80)  # four standard deviations of the smaller


def test_the_splits_of_known_ids_stay_for_good() -> None:
    """What people built on: these may never change."""
    assert [split_of(str(n), 0) for n in range(8)] == KNOWN
    assert [split_of("10268", seed) for seed in range(4)] == ["train", "val", "train", "test"]


KNOWN = ["test", "test", "val", "train", "train", "test", "train", "test"]


@pytest.mark.slow
@given(st.lists(IDS, unique=True), st.lists(IDS, unique=True), st.integers(0, 2**63 - 1))
def test_a_split_is_the_same_whatever_else_is_there(
    some: list[str], others: list[str], seed: int
) -> None:
    alone = {p.id: p.split for p in with_splits(photos_of(*some), seed)}
    beside = {p.id: p.split for p in with_splits(photos_of(*{*some, *others}), seed)}
    assert alone.items() <= beside.items()


@pytest.mark.slow
@settings(max_examples=50)
@given(st.sets(IDS, min_size=1), st.sets(IDS), st.integers(1, 20))
def test_a_sample_changes_by_as_many_as_are_added(
    some: set[str], added: set[str], limit: int
) -> None:
    before = {p.id for p in sample_photos(photos_of(*sorted(some)), limit, seed=1)}
    after = {p.id for p in sample_photos(photos_of(*sorted(some | added)), limit, seed=1)}
    assert after & some <= before


def test_photos_added_to_a_folder_move_no_other(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "photos", [f"{n}.png" for n in range(40)])
    make_gallery(tmp_path / "before", photos=root)
    write_photos(root, [f"new/{n}.png" for n in range(10)])
    make_gallery(tmp_path / "after", photos=root)
    before, after = splits_of(tmp_path / "before"), splits_of(tmp_path / "after")
    assert len(after) == len(before) + 10
    assert before.items() <= after.items()
    assert len(set(before.values())) == 3


@pytest.mark.slow
def test_a_run_on_a_catalogue_is_judged_on_the_grown_one(tmp_path: Path) -> None:
    def made(count: int) -> Dataset:
        names = [f"{n}.png" for n in range(count)]
        root = write_photos(tmp_path / "photos", names, size=4)
        rows = [
            f"{n},{('red', 'blue', 'green')[n % 3]},{('old', 'new')[n % 2]}" for n in range(count)
        ]
        (tmp_path / "a.csv").write_text("\n".join(["id,colour,style", *rows]))
        out = tmp_path / f"of-{count}"
        make_catalog(out, images=root, attributes=tmp_path / "a.csv")
        return Dataset(out)

    before, after = made(100), made(110)
    path = tmp_path / TRAINED_FILE
    write_trained(path, {"train": before.queries("train")}, random_embeddings(before), {})
    record = read_trained(path)
    assert record is not None
    # Random vectors of the grown dataset: its digests count its own photos, so ids alone decide.
    record = replace(record, image_sha256=frozenset())
    assert find_leaks(after.queries("val"), record, random_embeddings(after)).leaked == ()
    assert find_leaks(after.queries("train"), record, random_embeddings(after)).leaked


def test_near_copies_are_one_product_that_bears_the_first_id(tmp_path: Path) -> None:
    names = ["10", "9", "b"]
    for name in names:
        photo("same").save(tmp_path / f"{name}.png")
    photo("other").save(tmp_path / "a.png")
    found = [CatalogPhoto(n, tmp_path / f"{n}.png", "shoes") for n in (*names, "a")]
    placed, _ = with_products(found, 1, SILENT)
    assert [p.product for p in placed] == ["9", "9", "9", "a"]


def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no photo")
    with pytest.raises(
        DatasetError, match=r"none of the 1 photos can be read, the first: .*a\.png"
    ):
        with_products([CatalogPhoto("a", tmp_path / "a.png", "shoes")], 1, SILENT)


@pytest.mark.parametrize("words", [("train", "validation", "test"), ("Training", "dev", "TEST")])
def test_folders_named_as_splits_are_taken_as_given(tmp_path: Path, words: tuple[str, ...]) -> None:
    names = [
        f"{word}/{kind}/{n}.png" for word in words for kind in ("hats", "bags") for n in (1, 2)
    ]
    photo("hats/1").save(write_photos(tmp_path / "photos", names) / words[0] / "hats/1.png")
    photo("hats/1").save(tmp_path / "photos" / words[1] / "hats/1.png")
    summary = make_gallery(tmp_path / "out", photos=tmp_path / "photos")
    dataset = Dataset(tmp_path / "out")
    assert dataset.categories == ("bags", "hats")
    for split, word in zip(("train", "val", "test"), words, strict=True):
        assert dataset.gallery(split, "hats") == [f"{word}__hats__1", f"{word}__hats__2"]
    assert summary.torn == 2


def test_folders_named_as_splits_beside_others_are_categories_and_said(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "photos", ["train/1.png", "test/2.png", "hats/3.png"])
    summary = make_gallery(tmp_path / "out", photos=root)
    assert summary.taken_as_categories == ("test", "train")
    assert Dataset(tmp_path / "out").categories == ("hats", "test", "train")


def test_a_column_of_splits_is_taken_as_given_and_a_hash_fills_gaps(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(30)]
    root = write_photos(tmp_path / "photos", names)
    given_splits = [("train", "validation", "test", "")[n % 4] for n in range(30)]
    rows = [f"{name},{split}" for name, split in zip(names, given_splits, strict=True)]
    (tmp_path / "a.csv").write_text("\n".join(["file,part", *rows]))
    make_catalog(tmp_path / "out", images=root, attributes=tmp_path / "a.csv")
    found = splits_of(tmp_path / "out")
    spelled = {"validation": "val"}
    for n, split in enumerate(given_splits):
        assert found[str(n)] == (spelled.get(split, split) or split_of(str(n), 0))


def test_a_near_copy_without_a_split_follows_the_one_that_has_it() -> None:
    photos = photos_of(*"abcdef")
    given_splits = {"a": "test", "c": "train", "d": "val"}
    products = {"b": "a", "d": "c", "e": "c"}
    placed = with_splits(
        [
            replace(p, given_split=given_splits.get(p.id), product=products.get(p.id, p.id))
            for p in photos
        ],
        seed=0,
    )
    assert [p.split for p in placed[:5]] == ["test", "test", "train", "val", "val"]
    assert placed[5].split == split_of("f", 0)


def test_a_split_that_is_none_is_refused_with_its_row(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "photos", ["1.png"])
    (tmp_path / "a.csv").write_text("file,part\n1,holdout\n")
    with pytest.raises(DatasetError, match=r"row of 1 has 'holdout' in column part; expected"):
        make_catalog(
            tmp_path / "out",
            images=root,
            attributes=tmp_path / "a.csv",
            columns=AskedColumns(split="part"),
        )


@pytest.mark.parametrize(
    ("photos", "least"), [(40, 10), (3781, 189), (9583, 479), (1_000_000, 1000)]
)
def test_the_least_category_follows_the_size_of_the_catalogue(photos: int, least: int) -> None:
    assert default_min_category(photos) == least


def test_one_small_category_keeps_its_gallery() -> None:
    many = [CatalogPhoto(str(n), Path(), "shoes" if n else "hats") for n in range(9)]
    assert small_categories(many, 5) == {}
    assert small_categories(many, 9) == {"shoes": 8, "hats": 1}
