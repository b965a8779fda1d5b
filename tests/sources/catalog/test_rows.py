"""The CSV of a catalogue, in any encoding and with any delimiter."""

from itertools import product
from pathlib import Path

import pytest

from cir.errors import DatasetError, UsageError
from cir.sources.catalog.rows import CatalogTable, read_catalog_csv

WORDS = [["id", "name", "price"], ["1", "Café, blanc; crème", "3,50"], ["2", "Stuhl", "4"]]


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def quoted(rows: list[list[str]], delimiter: str) -> str:
    return "\r\n".join(delimiter.join(f'"{field}"' for field in row) for row in rows)


@pytest.mark.parametrize(
    ("delimiter", "encoding"),
    list(product(",;\t|", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])),
)
def test_delimiter_and_encoding_are_found(tmp_path: Path, delimiter: str, encoding: str) -> None:
    table = read_catalog_csv(written(tmp_path / "a.csv", quoted(WORDS, delimiter), encoding))
    assert [table.header, *(row.fields for row in table.rows)] == [tuple(row) for row in WORDS]
    assert (table.delimiter, table.malformed) == (delimiter, ())


def test_delimiter_and_encoding_are_taken_as_told(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", "id^name\n1^椅子\n", "shift_jis")
    table = read_catalog_csv(file, delimiter="^", encoding="shift_jis")
    assert table.values("name") == ["椅子"]
    with pytest.raises(UsageError, match="`encoding` is 'utf-9', which is no text encoding"):
        read_catalog_csv(file, encoding="utf-9")
    with pytest.raises(DatasetError, match=r"not in utf-8 at byte 10: .*`encoding`"):
        read_catalog_csv(file, encoding="utf-8")
    with pytest.raises(UsageError, match="`delimiter` is ';;'; expected one character"):
        read_catalog_csv(file, delimiter=";;")


def test_a_quote_that_is_never_closed_is_said_with_its_line(tmp_path: Path) -> None:
    rows = [f'{n},Shirt {n},"a, b"' for n in range(1, 300)]
    rows[199] = '200,"Shirt 200,a'
    file = written(tmp_path / "a.csv", "\n".join(["id,name,colours", *rows]))
    with pytest.raises(DatasetError, match=r"a\.csv, line 201: a quote is opened .* to line 202"):
        read_catalog_csv(file)


@pytest.mark.parametrize("last", ["", '\n9,x,y\n10,x,12"\n'])
def test_a_quote_that_swallows_rows_is_said_wherever_it_ends(tmp_path: Path, last: str) -> None:
    rows = [f"{n},Shirt,red" for n in range(3, 9)]
    file = written(tmp_path / "a.csv", "\n".join(["id,name,colour", '2,a,"b', *rows]) + last)
    with pytest.raises(DatasetError, match=r"line 2: a quote is opened"):
        read_catalog_csv(file)


def test_texts_over_several_lines_are_texts(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", 'id,text\n1,"long,\nlonger\nlongest"\n2,"a ""b"" c"\n')
    table = read_catalog_csv(file)
    assert table.values("text") == ["long,\nlonger\nlongest", 'a "b" c']
    assert [row.line for row in table.rows] == [2, 5]


def test_a_description_of_two_lines_is_a_text(tmp_path: Path) -> None:
    """Its second line has as many delimiters as a row has."""
    text = 'id,name,description,colour\n1,Shirt,"A nice shirt.\nSoft, light, washable.",red\n'
    table = read_catalog_csv(written(tmp_path / "a.csv", text))
    assert [row.fields[2] for row in table.rows] == ["A nice shirt.\nSoft, light, washable."]


def test_a_delimiter_may_end_every_row(tmp_path: Path) -> None:
    file = written(tmp_path / "a.csv", "id,name,colour\n1,Shirt,red,\n2,Belt,,\n")
    table = read_catalog_csv(file)
    assert [row.fields for row in table.rows] == [("1", "Shirt", "red"), ("2", "Belt", "")]
    assert table.values("colour") == ["red", ""]


def test_a_text_of_two_lines_may_stand_in_such_a_row(tmp_path: Path) -> None:
    text = 'sep=;\nid;name;colour\n1;"Shirt\nsoft; light";red;\n2;Belt;blue;\n'
    table = read_catalog_csv(written(tmp_path / "a.csv", text))
    assert [row.fields for row in table.rows] == [
        ("1", "Shirt\nsoft; light", "red"),
        ("2", "Belt", "blue"),
    ]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;"])
def test_the_line_by_which_excel_tells_the_delimiter_is_no_header(
    tmp_path: Path, line: str
) -> None:
    file = written(tmp_path / "a.csv", f"{line}\r\nid;name\r\n1;a,b,c\r\n", "utf-8-sig")
    table = read_catalog_csv(file)
    assert (table.delimiter, table.header) == (";", ("id", "name"))
    assert [(row.line, row.fields) for row in table.rows] == [(3, ("1", "a,b,c"))]


def test_rows_of_other_lengths_and_stray_quotes_are_named_by_line(tmp_path: Path) -> None:
    text = 'id,kind,name\n1,a,"24" screen"\n\n2,a\n3,a,b\n4,a,b,c\n,,\n5,a,12" pipe\n'
    table = read_catalog_csv(written(tmp_path / "a.csv", text))
    records, malformed = table.records(free_column=None)
    assert [record["id"] for record in records] == ["3", "5"]
    assert malformed == (2, 4, 6)
    joined, malformed = table.records(free_column="name")
    assert [record["name"] for record in joined] == ["b", "b, c", '12" pipe']
    assert malformed == (2, 4)


def test_rows_that_hold_what_no_text_may_are_named_by_line(tmp_path: Path) -> None:
    """Every later stage would refuse the dataset."""
    text = "id,name\n1,a\n2,b\0\n3,c\n\0,d\n"
    table = read_catalog_csv(written(tmp_path / "a.csv", text))
    assert [row.fields[0] for row in table.rows] == ["1", "3"]
    assert table.malformed == (3, 5)


def test_every_column_has_a_name_of_its_own(tmp_path: Path) -> None:
    table = read_catalog_csv(written(tmp_path / "a.csv", ",id,a,a,\n0,1,2,3,4\n"))
    assert table.header == ("column 1", "id", "a", "a (4)", "column 5")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("id,na\0me\n1,a\n", "line 1: the header has .* or holds a NUL"),
        ('"id" x,name\n1,a\n', "line 1: the header has a quote out of place"),
    ],
)
def test_a_file_without_a_header_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        read_catalog_csv(written(tmp_path / "a.csv", text))


def test_one_column_of_ids_is_a_catalogue(tmp_path: Path) -> None:
    table: CatalogTable = read_catalog_csv(written(tmp_path / "a.csv", "file\na.jpg\nb.jpg\n"))
    assert table.values("file") == ["a.jpg", "b.jpg"]


def test_a_first_line_that_is_a_row_is_read_as_it_is_written(tmp_path: Path) -> None:
    table = read_catalog_csv(written(tmp_path / "a.csv", "1.jpg,red,red\n2.jpg,red,blue\n"))
    assert table.headless().header == ("column 1", "column 2", "column 3")
    assert table.headless().values("column 3") == ["red", "blue"]
