"""Tables on narrow screens: every figure stays whole, whatever has to stand below."""

import io

import pytest
from rich.console import Console

from pipeline.screen.tables import tables

RECALLS = ("category", "queries", "gallery", "R@1", "R@5", "R@10", "R@50", "Rs@1", "Rs@2", "Rs@3")
COLUMNS = (*RECALLS, "headline")
ROWS = [
    (
        "all",
        "4,181",
        "2,297",
        "33.59",
        "65.35",
        "77.35",
        "95.21",
        "62.39",
        "81.81",
        "92.02",
        "63.9",
    ),
    ("chance", "", "", "0.04", "0.22", "0.44", "2.18", "20.00", "40.00", "60.00", "10.11"),
]


def printed(columns: tuple[str, ...], rows: list[tuple[str, ...]], width: int) -> str:
    paper = Console(file=io.StringIO(), width=width)
    for drawn in tables("title [b]", columns, rows, width):
        paper.print(drawn)
    assert isinstance(paper.file, io.StringIO)
    return paper.file.getvalue()


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_every_cell_is_whole_and_beside_its_row(width: int) -> None:
    text = printed(COLUMNS, ROWS, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert text.startswith("title [b]")
    told = [[c.strip() for c in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    for row in ROWS:
        cells = [cell for line in told if line[0] == row[0] for cell in line[1:]]
        assert cells == list(row[1:])


def test_what_fits_stays_one_table() -> None:
    assert len(tables("t", COLUMNS, ROWS, 120)) == 1
    assert len(tables("t", COLUMNS, ROWS, 80)) == 2


def test_a_text_wider_than_the_screen_is_broken_not_cut() -> None:
    name = "x" * 90
    text = printed(("image", "times"), [(name, "12")], 60)
    assert text.count("x") == 90
    assert "12" in text
    assert max(map(len, text.splitlines())) <= 60


def test_hostile_cells_are_shown_as_text() -> None:
    assert "[red]a[/red]" in printed(("[b]h[/b]", "n"), [("[red]a[/red]", "1")], 60)
