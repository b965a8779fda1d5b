"""Training examples against the rows one writes down by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from cir.config import ExportFormat
from cir.errors import UsageError
from cir.mining import NO_ROW, Mined, as_columns
from cir.mining.export import TrainingExample, columns_of

EXAMPLES = [
    TrainingExample("q", ["a"], ["x", "y", "z"]),
    TrainingExample("r", ["b", "c"], ["x"]),
    TrainingExample("s", ["d"], []),
]


@pytest.mark.parametrize(
    ("form", "most", "names", "rows"),
    [
        (
            "triplet",
            2,
            ["anchor", "positive", "negative"],
            [("q", "a", "x"), ("q", "a", "y"), ("r", "b", "x"), ("r", "c", "x")],
        ),
        (
            "n-tuple",
            2,
            ["anchor", "positive", "negative_1", "negative_2"],
            [("q", "a", "x", "y")],
        ),
        (
            "n-tuple",
            1,
            ["anchor", "positive", "negative_1"],
            [("q", "a", "x"), ("r", "b", "x"), ("r", "c", "x")],
        ),
        (
            "labeled-pair",
            2,
            ["anchor", "positive", "label"],
            [
                ("q", "a", 1),
                ("q", "x", 0),
                ("q", "y", 0),
                ("r", "b", 1),
                ("r", "c", 1),
                ("r", "x", 0),
                ("s", "d", 1),
            ],
        ),
    ],
)
def test_each_form_is_its_rows(
    form: ExportFormat, most: int, names: list[str], rows: list[tuple[Any, ...]]
) -> None:
    columns = columns_of(EXAMPLES, form, most)
    assert list(columns) == names
    assert list(zip(*columns.values(), strict=True)) == rows


@pytest.mark.parametrize("form", ["triplet", "n-tuple", "labeled-pair"])
def test_no_examples_are_columns_without_rows(form: ExportFormat) -> None:
    columns = columns_of([], form, 2)
    assert len(columns) == (4 if form == "n-tuple" else 3)
    assert not any(columns.values())


def mined(rows: list[list[int]]) -> Mined:
    """A result of which nothing but the rows is looked at."""
    found = object.__new__(Mined)
    object.__setattr__(found, "rows", np.array(rows, dtype=np.int64))
    return found


def test_rows_of_the_corpus_become_its_items() -> None:
    texts = ["zero", "one", "two", "three"]
    columns = as_columns(mined([[3, 1], [0, NO_ROW]]), ["q", "r"], [2, 1], texts)
    assert columns == {
        "anchor": ["q", "q", "r"],
        "positive": ["two", "two", "one"],
        "negative": ["three", "one", "zero"],
    }


@pytest.mark.parametrize(
    ("anchors", "corpus", "words"),
    [
        (
            ["q"],
            ["zero"] * 4,
            "`anchors` has 1 rows and `corpus` 4; .* 2 queries, .* row 3",
        ),
        (["q", "r"], ["zero"] * 3, "`anchors` has 2 rows and `corpus` 3; "),
    ],
)
def test_what_was_not_mined_is_refused(anchors: list[str], corpus: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        as_columns(mined([[3, 1], [0, NO_ROW]]), anchors, [2, 1], corpus)


def test_columns_of_a_frame_are_read_by_place() -> None:
    texts = pd.Series(["zero", "one", "two", "three"], index=[3, 2, 1, 0])
    columns = as_columns(mined([[3, 1], [0, NO_ROW]]), pd.Series(["q", "r"]), [2, 1], texts)
    assert columns["negative"] == ["three", "one", "zero"]
