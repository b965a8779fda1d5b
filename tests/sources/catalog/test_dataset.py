"""A catalogue becomes a dataset."""

import csv
import json
import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cir.config import CatalogConfig
from cir.data.dataset import SPLITS, Dataset
from cir.data.pairs import ProposedPair
from cir.errors import CirError, DatasetError, UsageError
from cir.sources.annotations import read_records
from cir.sources.catalog.column_guess import AskedColumns
from cir.sources.catalog.dataset import CatalogSummary, make_catalog
from cir.sources.catalog.facets import facet_of, facet_value, read_facets
from cir.sources.catalog.pair_captions import caption_pairs
from cir.sources.catalog.photos import safe_name
from pipeline import catalog as catalog_stage
from tests.support.folders import contents

COLUMNS = AskedColumns("id", "kind", "name", ("gender", "baseColour"))
HEADER = ["id", "kind", "gender", "baseColour", "name"]
COLOURS = ("Red", "Blue", "Navy Blue", "Green")
WORDS = ("Striped", "Check", "")
COPIES = 3


def rows_of(kind: str, first: int) -> list[list[str]]:
    every = list(product(("Men", "Women"), COLOURS, WORDS, range(COPIES)))
    return [
        [str(first + number), kind, gender, colour, f"Acme {gender} {word} {colour} Shirt"]
        for number, (gender, colour, word, _) in enumerate(every)
    ]


ROWS = rows_of("Top Wear", 100) + rows_of("Shoes", 300)


def write_csv(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images/ and styles.csv; photo 101 shows the very shot of photo 170."""
    root = tmp_path_factory.mktemp("shop")
    (root / "images").mkdir()
    for row in ROWS:
        rng = np.random.default_rng(int(row[0]))
        noise = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        noise.resize((48, 48)).save(root / "images" / f"{row[0]}.jpg", quality=95)
    twin = (root / "images" / "170.jpg").read_bytes()
    (root / "images" / "101.jpg").write_bytes(twin)
    write_csv(root / "styles.csv", ROWS)
    return root


def make(shop: Path, out: Path, **changes: Any) -> CatalogSummary:
    options: dict[str, Any] = {
        "images": shop / "images",
        "attributes": shop / "styles.csv",
        "columns": COLUMNS,
        "min_category": 20,
    }
    return make_catalog(out, **(options | changes))


@pytest.fixture(scope="module")
def made(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "dataset"
    make(shop, out)
    return out


def records(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "catalog.json").read_text(encoding="utf-8"))
    return loaded


# --------------------------------------------------------------------------------- the dataset


@pytest.mark.slow
def test_the_stage_shows_what_it_made_and_replaces_only_when_told(
    shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {
        "images": shop / "images",
        "attributes": shop / "styles.csv",
        "out": tmp_path / "out",
        "category_column": "kind",
        "name_column": "name",
        "attribute_columns": ("gender", "baseColour"),
        "limit": 100,
        "workers": 1,
    }
    assert catalog_stage.run(CatalogConfig(**options)) == tmp_path / "out"
    shown = capsys.readouterr().out
    assert "--category-column kind" in shown
    assert "top-wear" in shown
    assert "44 beyond limit" in shown
    with pytest.raises(UsageError, match="exists"):
        catalog_stage.run(CatalogConfig(**options))
    catalog_stage.run(CatalogConfig(**options, overwrite=True))


def test_every_photo_is_in_one_split(made: Path) -> None:
    dataset = Dataset(made)
    assert dataset.categories == ("shoes", "top-wear")
    for category in dataset.categories:
        galleries = [dataset.gallery(split, category) for split in SPLITS]
        assert sum(map(len, galleries)) == len(set().union(*galleries)) == len(ROWS) // 2
    assert len(dataset.image_ids()) == len(ROWS)


def test_photos_of_one_shot_share_a_split(made: Path) -> None:
    photos = records(made)["photos"]
    assert photos["101"]["split"] == photos["170"]["split"]


def test_images_are_the_very_files(shop: Path, made: Path) -> None:
    for image_id, file in Dataset(made).image_files.items():
        assert file.samefile(shop / "images" / f"{image_id}.jpg")


@pytest.mark.slow
@pytest.mark.parametrize("link", ["symlink", "copy"])
def test_images_are_linked_or_copied_as_asked(shop: Path, tmp_path: Path, link: str) -> None:
    make(shop, tmp_path / "out", link=link)
    for image_id, file in Dataset(tmp_path / "out").image_files.items():
        assert file.is_symlink() == (link == "symlink")
        assert file.read_bytes() == (shop / "images" / f"{image_id}.jpg").read_bytes()


def test_a_hard_link_that_is_refused_becomes_a_copy(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, place: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    make(shop, tmp_path / "out")
    assert len(Dataset(tmp_path / "out").image_files) == len(ROWS)


def test_queries_differ_in_one_or_two_attributes_and_targets_are_all_that_fit(made: Path) -> None:
    photos, dataset = records(made)["photos"], Dataset(made)
    for split in SPLITS:
        queries = dataset.queries(split)
        assert queries
        for query in queries:
            old = photos[query.reference_id]["attributes"]
            new = photos[query.target_id]["attributes"]
            changed = [f for f in old.keys() | new.keys() if old.get(f) != new.get(f)]
            assert len(changed) in (1, 2)
            assert all(facet in new for facet in changed)
            gallery = dataset.gallery(split, query.category)
            fits = {i for i in gallery if photos[i]["attributes"] == new}
            twins = {"101", "170"} if query.reference_id in ("101", "170") else set()
            assert set(query.target_ids) == fits - twins
            assert len(query.captions) == 2


def test_a_photo_is_asked_from_at_most_so_often_and_never_twice_the_same(made: Path) -> None:
    photos, dataset = records(made)["photos"], Dataset(made)
    asked: dict[str, list[str]] = defaultdict(list)
    for query in dataset.queries("train"):
        asked[query.reference_id].append(str(photos[query.target_id]["attributes"]))
    assert all(len(kinds) <= 2 and len(set(kinds)) == len(kinds) for kinds in asked.values())


@pytest.mark.slow
def test_the_result_depends_on_the_seed_alone(shop: Path, made: Path, tmp_path: Path) -> None:
    shuffled = [ROWS[i] for i in np.random.default_rng(3).permutation(len(ROWS))]
    other_order = write_csv(tmp_path / "styles.csv", shuffled)
    make(shop, tmp_path / "again", attributes=other_order, workers=2)
    make(shop, tmp_path / "other", seed=1)
    assert contents(tmp_path / "again") == contents(made)
    assert contents(tmp_path / "other") != contents(made)


@pytest.mark.slow
def test_small_categories_share_a_gallery_but_not_queries(shop: Path, tmp_path: Path) -> None:
    summary = make(shop, tmp_path / "out", min_category=1000)
    dataset = Dataset(tmp_path / "out")
    assert dataset.categories == ("other",)
    assert summary.pooled == {"shoes": 72, "top-wear": 72}
    for query in dataset.queries("train"):
        shoes = [int(i) >= 300 for i in (query.reference_id, *query.target_ids)]
        assert len(set(shoes)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("min_category", [20, 1000])
def test_pairs_are_worded_by_the_protocol_of_its_own_queries(
    min_category: int, shop: Path, tmp_path: Path
) -> None:
    make(shop, tmp_path / "out", min_category=min_category)
    queries = Dataset(tmp_path / "out").queries("train")
    pairs = [ProposedPair(query.reference_id, query.target_id) for query in queries]
    made = caption_pairs(pairs, read_records(tmp_path / "out", ("train",)), seed=0)
    assert not made.left_out
    assert [(p.category, set(p.every_target_id)) for p in made.pairs] == [
        (query.category, set(query.target_ids)) for query in queries
    ]


def test_a_category_without_queries_is_a_gallery(shop: Path, tmp_path: Path) -> None:
    lonely = [["300", "Gift", "Men", "Red", "Box"], ["301", "Gift", "Men", "Red", "Box"]]
    table = write_csv(tmp_path / "styles.csv", ROWS[:72] + lonely)
    make(shop, tmp_path / "out", attributes=table, min_category=1)
    dataset = Dataset(tmp_path / "out")
    held = {photo for split in dataset.splits for photo in dataset.galleries(split).get("gift", ())}
    assert held == {"300", "301"}
    assert not list((tmp_path / "out" / "captions").glob("cap.gift.*"))


@pytest.mark.slow
def test_a_limit_takes_a_sample(shop: Path, tmp_path: Path) -> None:
    summary = make(shop, tmp_path / "out", limit=90)
    assert len(Dataset(tmp_path / "out").image_ids()) == 90
    assert summary.left_out.beyond_limit == len(ROWS) - 90


@pytest.mark.slow
def test_nothing_is_left_out_without_a_word(shop: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for file in (shop / "images").iterdir():
        (images / file.name).write_bytes(file.read_bytes())
    (images / "100.jpg").write_bytes((images / "100.jpg").read_bytes()[:400])
    (images / "102.jpg").write_bytes(b"")
    (images / "stray.png").write_bytes((images / "103.jpg").read_bytes())
    extra = [
        ["103", "Shoes", "Men", "Red", "Again"],
        ["9999", "Shoes", "Men", "Red", "No Photo"],
        ["104", "Shoes"],
    ]
    kept = [["105", "NA", *row[2:]] if row[0] == "105" else row for row in ROWS]
    table = write_csv(tmp_path / "styles.csv", kept + extra)
    left_out = make(shop, tmp_path / "out", images=images, attributes=table).left_out
    assert left_out.malformed_rows == (len(ROWS) + 4,)
    assert left_out.repeated_ids == ("103",)
    assert left_out.rows_without_photo == ("9999",)
    assert left_out.photos_without_row == ("stray.png",)
    assert left_out.photos_without_category == ("105",)
    assert [("100.jpg" in a, "102.jpg" in a) for a in left_out.unreadable_photos] == [
        (True, False),
        (False, True),
    ]
    assert records(tmp_path / "out")["left_out"]["rows_without_photo"] == ["9999"]


# ----------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("bad", ["kind", "name", "gender"])
def test_an_unknown_column_is_named_with_those_there_are(
    shop: Path, tmp_path: Path, bad: str
) -> None:
    columns = {
        "kind": replace(COLUMNS, category="shape"),
        "name": replace(COLUMNS, name="shape"),
        "gender": replace(COLUMNS, attributes=("gender", "shape")),
    }[bad]
    with pytest.raises(UsageError, match=r"no column shape; its columns are id, kind, gender"):
        make(shop, tmp_path / "out", columns=columns)
    assert not list(tmp_path.iterdir())


def test_missing_and_damaged_inputs_are_one_line(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "none").mkdir()
    for changes, words in [
        ({"attributes": tmp_path / "absent.csv"}, "is missing"),
        ({"attributes": tmp_path / "empty.csv"}, "is empty"),
        ({"images": tmp_path / "absent"}, "no folder of photos at"),
        ({"images": tmp_path / "none"}, "hold no photos: expected files that end in .jpg"),
    ]:
        with pytest.raises(CirError, match=words) as caught:
            make(shop, tmp_path / "out", **changes)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_photos_that_make_no_queries_are_a_gallery_that_says_what_is_missing(
    shop: Path, tmp_path: Path
) -> None:
    same = [[row[0], "Shoes", "Men", "Red", "Shoe"] for row in ROWS[:30]]
    table = write_csv(tmp_path / "styles.csv", same)
    summary = make(shop, tmp_path / "out", attributes=table)
    assert "differ in one or two attributes" in " ".join(summary.missing)
    dataset = Dataset(tmp_path / "out")
    assert len(dataset.image_ids()) == 30
    assert dataset.queries_or_none("train") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"link": "move"}, "`link` is 'move'"),
        ({"limit": 0}, "`limit` is 0"),
        ({"queries_per_photo": 0}, "`queries_per_photo` is 0"),
    ],
)
def test_arguments_out_of_range_are_one_line(
    shop: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        make(shop, tmp_path / "out", **changes)
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("name", "facets"),
    [
        ("Arrow Sport Men Stripes Red Polo Tshirts", {"pattern": "striped", "neck": "polo"}),
        ("U.S. Polo Assn. Men Check Brown Shirt", {"pattern": "checked"}),
        ("US Polo Men Full-Sleeve Shirt", {"sleeves": "long"}),
        ("Basics Men White Slim Fit Checked Shirt", {"pattern": "checked", "fit": "slim"}),
        ("Turtle Check Men Navy Blue Shirt", {"pattern": "checked"}),
        ("Black Turtle Neck Sweater", {"neck": "high"}),
        ("Nike V-Neck Half Sleeve Tee", {"sleeves": "short", "neck": "v"}),
        ("Puma Men Ess Hooded Black Sweatshirt", {"hood": "hooded"}),
        ("Enroute Men Leather Black Formal Shoes", {"material": "leather"}),
        ("Locomotive Men Washed Blue Jeans", {"finish": "washed"}),
        ("Allen Solly Blueprint Checkmate", {}),
        ("", {}),
    ],
)
def test_words_of_a_name_are_attributes(name: str, facets: dict[str, str]) -> None:
    assert read_facets(name) == facets


@pytest.mark.parametrize(
    ("column", "facet"),
    [("baseColour", "colour"), ("Color", "colour"), ("Farben", "colour"), ("№", "attribute"),
     ("articleType", "type"), ("gender", "gender"),
     ("fabricWeight", "fabric weight"), ("usage", "usage")],
)  # fmt: skip
def test_columns_state_facets(column: str, facet: str) -> None:
    assert facet_of(column) == facet


@pytest.mark.parametrize(
    ("facet", "text", "value"),
    [("colour", "White,Pine", "pine and white"), ("colour", "pine / white", "pine and white"),
     ("colour", "Red; blue|green", "blue, green and red"), ("colour", "a,b,c,d", "multi"),
     ("colour", "Navy  Blue", "navy blue"), ("material", "Oak & Steel", "oak and steel"),
     ("type", "Salt and Pepper", "salt and pepper"), ("hues", "warm, cold", "cold and warm"),
     ("hues", "a/b", "a/b")],
)  # fmt: skip
def test_lists_of_colours_are_one_value_in_any_order(facet: str, text: str, value: str) -> None:
    assert facet_value(facet, text) == value


def test_categories_make_file_names() -> None:
    assert safe_name("Flip Flops") == "flip-flops"
    assert safe_name("../Loungewear & Nightwear") == "loungewear-nightwear"


def test_categories_that_differ_keep_names_that_differ() -> None:
    coats = "Apparel & Accessories > Clothing > Outerwear > Coats & Jackets > "
    names = {safe_name(coats + kind) for kind in ("Parkas", "Trench Coats")}
    assert len(names) == 2
    assert all(name.startswith("apparel-accessories-") and len(name) <= 50 for name in names)
    assert safe_name("जूते") != safe_name("जूता")
    assert safe_name("Vêtements") == safe_name(unicodedata.normalize("NFD", "Vêtements"))


def test_rows_that_make_no_photo_are_told_with_the_reason(shop: Path, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "styles.csv", [[*row[:1], "", *row[2:]] for row in ROWS[:3]])
    with pytest.raises(
        DatasetError, match=r"makes a photo .*: 100 has no category: .* \(and 2 more so\)"
    ):
        make(shop, tmp_path / "out", attributes=table)
    assert not (tmp_path / "out").exists()
