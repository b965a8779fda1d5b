"""Odd folders, files and splits, generated: each photo and row is taken or named, none is lost."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cir.data.dataset import Dataset
from cir.errors import CirError, DatasetError, UsageError
from cir.sources.catalog.column_guess import AskedColumns, choose_columns
from cir.sources.catalog.dataset import make_catalog
from cir.sources.catalog.photos import catalog_photos, folder_photos
from cir.sources.catalog.rows import read_catalog_csv
from cir.sources.photo_folder import PhotoFolder, read_photo_folder
from cir.sources.photo_index import PhotoIndex
from cir.sources.split_names import SPLIT_WORDS, split_named
from tests.support.photo_folders import photo, write_photos

CASES = Path(os.environ.get("CIR_SHARED", Path(__file__).parents[4] / "shared")) / "cases"

odd = settings(max_examples=40)

NAMES = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))
ENDINGS = st.sampled_from([".jpg", ".JPG", ".png", ".jpeg", ".heic", ".txt", ""])
FILES = st.lists(
    st.tuples(st.lists(NAMES, max_size=2), NAMES, ENDINGS).map(
        lambda parts: "/".join([*parts[0], parts[1] + parts[2]])
    ),
    min_size=1,
    max_size=8,
)
FIELDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


def touched(root: Path, names: Sequence[str]) -> set[str]:
    """Makes the files that can be made; one may be in the way of another."""
    made = set()
    for name in names:
        try:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        except OSError:
            continue
        if (root / name).is_file():
            made.add(name)
    return made


def rows_of(fields: Sequence[Sequence[str]], delimiter: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(fields)
    return text.getvalue()


def assert_says(error: CirError, *parts: str) -> None:
    """The error is one line, with each of the parts."""
    assert "\n" not in str(error)
    assert all(part in str(error) for part in parts), error


# -------------------------------------------------------------------------------------- folders


@pytest.mark.slow
@odd
@given(FILES)
@example(["a.jpg", "a.png", "a/b.jpg", "a__b.jpg", ".c.jpg", "d.heic"])
def test_every_file_of_a_folder_is_a_photo_or_counted(names: list[str]) -> None:
    with TemporaryDirectory() as root:
        made = touched(Path(root), names)
        try:
            folder = read_photo_folder(Path(root))
        except DatasetError as error:
            assert_says(error, "hold no photos: expected files that end in")
            return
        photos, left_out = folder_photos(folder)
        hidden = sum(any(part.startswith(".") for part in Path(name).parts) for name in made)
        photos_hidden = len(left_out.hidden_photos)
        seen = len(photos) + len(left_out.photos_of_one_id) + sum(folder.others.values())
        assert seen + hidden == len(made)
        assert photos_hidden <= hidden
        assert len({p.id for p in photos}) == len(photos)
        assert all("/" not in p.id and len(p.id.encode()) <= 200 for p in photos)


@pytest.mark.slow
@odd
@given(added=FILES, names=FILES)
def test_files_that_are_added_change_no_id(names: list[str], added: list[str]) -> None:
    with TemporaryDirectory() as root:
        touched(Path(root), ["first.jpg", *names])
        before = {p.file: p.id for p in folder_photos(read_photo_folder(Path(root)))[0]}
        touched(Path(root), added)
        after = {p.file: p.id for p in folder_photos(read_photo_folder(Path(root)))[0]}
        taken = set(after.values())
        assert all(after.get(file, identity) == identity for file, identity in before.items())
        assert set(before.values()) <= taken


# ------------------------------------------------------------------------------------ CSV files


@odd
@given(st.binary(max_size=200))
@example(b"")
@example(b"\xff\xfe\x00")
@example(b"a,b\n\x00,\x00")
@example(b'id,name\n1,"a\n')
def test_any_bytes_are_a_table_or_one_line(content: bytes) -> None:
    with TemporaryDirectory() as root:
        path = Path(root) / "a.csv"
        path.write_bytes(content)
        try:
            table = read_catalog_csv(path)
        except CirError as error:
            assert_says(error, str(path))
            return
        assert len(set(table.header)) == len(table.header)
        records, _ = table.records(None)
        assert all(record.keys() == set(table.header) for record in records)


@pytest.mark.slow
@odd
@given(
    st.lists(st.lists(FIELDS, min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(",;\t|"),
)
def test_what_is_written_as_csv_is_read_as_it_was(rows: list[list[str]], delimiter: str) -> None:
    assume(all(any(field.strip() for field in row) for row in rows))
    sound = [row for row in rows if "\0" not in "".join(row)]
    with TemporaryDirectory() as root:
        path = Path(root) / "a.csv"
        text = rows_of([["id", "name", "kind"], *rows], delimiter)
        path.write_bytes(text.encode())
        try:
            table = read_catalog_csv(path, delimiter=delimiter, encoding="utf-8")
        except DatasetError as error:
            # A text over many lines that look like rows cannot be told from a quote left open.
            assert_says(error, "a quote is opened")
            return
        assert [list(row.fields) for row in table.rows] == [[f.strip() for f in r] for r in sound]
        assert len(table.malformed) == len(rows) - len(sound)


@odd
@given(st.integers(0, 19), st.integers(0, 2), st.sampled_from(",;\t|"))
def test_a_quote_left_open_is_said_with_its_line(row: int, column: int, delimiter: str) -> None:
    rows = [[str(n), f"shirt {n}", "red"] for n in range(20)]
    rows[row][column] = f'"{rows[row][column]}'
    text = "\n".join(delimiter.join(fields) for fields in [["id", "name", "colour"], *rows])
    with TemporaryDirectory() as root:
        path = Path(root) / "a.csv"
        path.write_text(text)
        if row == len(rows) - 1:
            assert read_catalog_csv(path, delimiter=delimiter).malformed == (row + 2,)
            return
        with pytest.raises(DatasetError, match=rf"a\.csv, line {row + 2}: a quote is opened"):
            read_catalog_csv(path, delimiter=delimiter)


# ------------------------------------------------------------------------------------ catalogues

PHOTOS = ("1.jpg", "02.png", "a b.jpg", "shoes/3.jpg", "bags/3.jpg", "bags/x.y.JPG", "é.jpg")
VALUES = st.one_of(
    st.sampled_from([*PHOTOS, "1", "2", "2.0", "3", "shoes/3", "x.y", "e\u0301", "", "nope"]),
    FIELDS,
)
WORDS = tuple(word for words in SPLIT_WORDS.values() for word in words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> PhotoFolder:
    root = tmp_path_factory.mktemp("photos")
    touched(root, PHOTOS)
    return read_photo_folder(root)


@odd
@given(values=st.lists(VALUES, min_size=1, max_size=12))
def test_every_row_and_photo_is_taken_or_named(values: list[str], folder: PhotoFolder) -> None:
    index = PhotoIndex(folder)
    with TemporaryDirectory() as root:
        path = Path(root) / "a.csv"
        path.write_text(rows_of([["file", "kind"], *([v, "shoe"] for v in values)], ","))
        try:
            table = read_catalog_csv(path, delimiter=",", encoding="utf-8")
            chosen = choose_columns(table, index, AskedColumns(id="file", category="kind"))
        except UsageError as error:
            assert_says(error, "names no photo in column file: photos are called")
            assert not any(index.find(value.strip()) for value in values)
            return
        except DatasetError as error:
            assert_says(error, "a quote is opened")
            return
        photos, left = catalog_photos(table, folder, chosen.columns, index)
        named = (left.repeated_ids, left.rows_without_photo, left.rows_of_several_photos)
        rows = len(photos) + sum(map(len, named)) + len(left.malformed_rows)
        assert rows == len(values)
        assert len(photos) + len(left.photos_without_row) == len(folder.photos)
        assert len({photo.id for photo in photos}) == len(photos)


@odd
@given(word=st.one_of(st.sampled_from([*WORDS, *map(str.upper, WORDS), "", "NA"]), FIELDS))
def test_a_split_is_taken_left_to_the_hash_or_refused_with_its_row(
    word: str, folder: PhotoFolder
) -> None:
    # A row with NUL is left out, whatever its split.
    assume(not set(word) & set('"\r\n\0') and word == word.strip())
    index = PhotoIndex(folder)
    with TemporaryDirectory() as root:
        path = Path(root) / "a.csv"
        path.write_text(rows_of([["file", "part"], ["1", word]], ","))
        table = read_catalog_csv(path, delimiter=",", encoding="utf-8")
        columns = choose_columns(table, index, AskedColumns(id="file", split="part")).columns
        try:
            photos, _ = catalog_photos(table, folder, columns, index)
        except DatasetError as error:
            assert split_named(word) is None
            assert_says(error, "the row of 1 has", "expected a split (train,", "`split_column`")
            return
        assert [photo.given_split for photo in photos] == [split_named(word)]


@pytest.mark.slow
@settings(max_examples=6)
@given(
    rows=st.lists(st.tuples(st.sampled_from(range(12)), *[FIELDS] * 4), min_size=1, max_size=20),
    delimiter=st.sampled_from(",;"),
)
def test_any_catalogue_is_a_dataset_or_one_line_and_nothing_half_made(
    rows: list[tuple[int, str, str, str, str]], delimiter: str
) -> None:
    with TemporaryDirectory() as root:
        photos = write_photos(Path(root) / "photos", [f"{n}.png" for n in range(12)])
        path = Path(root) / "a.csv"
        header = ["file", "category", "name", "colour", "style"]
        path.write_text(rows_of([header, *([str(r[0]), *r[1:]] for r in rows)], delimiter))
        out = Path(root) / "out"
        try:
            make_catalog(out, images=photos, attributes=path, columns=AskedColumns(id="file"))
        except CirError as error:
            assert_says(error)
            assert not out.exists()
            return
        dataset = Dataset(out)
        assert set(dataset.image_files) == set(dataset.image_ids())


# ---------------------------------------------------------------------------- cases of the field


def case(name: str) -> Path:
    if not (CASES / name).is_file():
        pytest.skip(f"{CASES / name} is not there: set CIR_SHARED to the folder that holds cases/")
    return CASES / name


def test_a_quote_left_open_in_a_catalogue_of_the_field_is_said_with_its_line() -> None:
    path = case("csv_openquote200.csv")
    with pytest.raises(DatasetError, match=r"line 20[01]: a quote is opened"):
        read_catalog_csv(path)


def test_ids_that_are_file_names_are_taken(tmp_path: Path) -> None:
    path = case("csv_filename.csv")
    table = read_catalog_csv(path)
    for name in table.values("id")[:20]:
        photo(name).save(tmp_path / name)
    folder = read_photo_folder(tmp_path)
    index = PhotoIndex(folder)
    columns = choose_columns(table, index, AskedColumns()).columns
    photos, left_out = catalog_photos(table, folder, columns, index)
    assert (columns.id, columns.category) == ("id", "subCategory")
    assert len(photos) == len(folder.photos)
    assert left_out.photos_without_row == ()
