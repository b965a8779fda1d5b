"""The columns of a catalogue are guessed by what they hold, unless they are told."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from cir.errors import UsageError
from cir.sources.catalog.column_guess import AskedColumns, CatalogColumns, choose_columns
from cir.sources.catalog.rows import CatalogRow, CatalogTable
from cir.sources.photo_folder import PhotoFolder
from cir.sources.photo_index import PhotoIndex

ROWS = 120
COLOURS = ("white", "pine", "black", "white,pine")
FURNITURE = {
    "Artikel": [f"{n:05d}.jpg" for n in range(ROWS)],
    "Preis": [f"{n % 7},99" for n in range(ROWS)],
    "Kategorie": [("Stuhl", "Tisch", "Regal")[n % 3] for n in range(ROWS)],
    "Titel": [f"Modell {n} mit Kissen" for n in range(ROWS)],
    "Farben": [COLOURS[n % 4] for n in range(ROWS)],
    "Stil": [("modern", "alt")[n % 2] for n in range(ROWS)],
    "Abteilung": [("Sitzen", "Essen", "Lager")[n % 3] for n in range(ROWS)],
    "Bild": [f"https://shop.example/{n}.png" for n in range(ROWS)],
    "Lieferland": ["DE"] * ROWS,
}


GUESS = AskedColumns()


def chosen(columns: Mapping[str, list[str]], asked: AskedColumns = GUESS) -> CatalogColumns:
    return choose_columns(table_of(columns), INDEX, asked).columns


def table_of(columns: Mapping[str, list[str]]) -> CatalogTable:
    rows = tuple(
        CatalogRow(n + 2, fields) for n, fields in enumerate(zip(*columns.values(), strict=True))
    )
    return CatalogTable(Path("a.csv"), "utf-8", "", ",", tuple(columns), rows, ())


PHOTOS = tuple(PurePosixPath(f"{n:05d}.jpg") for n in range(ROWS))
INDEX = PhotoIndex(PhotoFolder(Path("photos"), PHOTOS, (), (), Counter()))


def test_columns_are_found_whatever_they_are_called() -> None:
    assert chosen(FURNITURE) == CatalogColumns(
        "Artikel", "Kategorie", "Titel", ("Farben", "Stil"), None
    )
    renamed = {f"c{n}": values for n, values in enumerate(FURNITURE.values())}
    found = chosen(renamed)
    assert (found.id, found.name) == ("c0", "c3")
    assert found.category in ("c2", "c6")


def test_what_is_told_is_taken_and_an_empty_name_is_none() -> None:
    asked = AskedColumns(category="Stil", name="", attributes=("Farben",), split="")
    assert chosen(FURNITURE, asked) == CatalogColumns("Artikel", "Stil", None, ("Farben",), None)
    assert chosen(FURNITURE, AskedColumns(attributes=("",))).attributes == ()


def test_a_column_of_splits_is_taken_only_where_it_holds_nothing_else() -> None:
    splits = [("train", "Validation", "TEST")[n % 3] for n in range(ROWS)]
    assert chosen(FURNITURE | {"set": splits}).split == "set"
    assert chosen(FURNITURE | {"set": [*splits[1:], "sale"]}).split is None


def test_a_column_that_names_one_split_is_not_taken_and_is_named() -> None:
    found = choose_columns(table_of(FURNITURE | {"set": ["train"] * ROWS}), INDEX, GUESS)
    (choice,) = [choice for choice in found.choices if choice.field == "split_column"]
    assert (found.columns.split, choice.columns) == (None, ())
    assert choice.why == "column 'set' names 'train' alone, so a photo's hash decides"


def test_ids_alone_are_enough() -> None:
    assert chosen({"file": FURNITURE["Artikel"]}) == CatalogColumns("file", None, None, ())


def test_the_choice_names_what_changes_it_and_why() -> None:
    choices = choose_columns(table_of(FURNITURE), INDEX, AskedColumns(name="")).choices
    by_field = {choice.field: choice for choice in choices}
    assert by_field["id_column"].why == "120 of 120 values name a photo"
    assert by_field["category_column"].guessed
    assert not by_field["name_column"].guessed


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (AskedColumns(id="Preis"), r"no photo in column Preis: photos are called 00000\.jpg"),
        (AskedColumns(category="shape"), "no column shape; its columns are Artikel, Preis"),
    ],
)  # fmt: skip
def test_a_column_that_cannot_be_is_refused(asked: AskedColumns, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        chosen(FURNITURE, asked)


def test_a_catalogue_of_other_photos_says_what_both_sides_are_called() -> None:
    others = FURNITURE | {"Artikel": [f"sofa-{n}" for n in range(ROWS)]}
    with pytest.raises(
        UsageError, match=r"called 00000\.jpg.*columns hold Artikel sofa-0.*`images`"
    ):
        chosen(others | {"Bild": ["x"] * ROWS, "Preis": ["?"] * ROWS})
