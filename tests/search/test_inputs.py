"""What a retriever accepts, and the line that refuses anything else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cir.errors import ImageError, UsageError, VectorError
from cir.search.inputs import (
    LONGEST_TEXT,
    feature_rows,
    photo_list,
    require_count,
    require_path,
    require_photo,
    require_query_text,
    require_text,
    text_list,
)

ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    "photos", ["a.jpg", b"a", Path("a"), {"a": 1}, {"a"}, 3, None, np.array(3)]
)
def test_photos_are_a_list(photos: object) -> None:
    with pytest.raises(UsageError, match=r"`photos` is .*; expected a list"):
        photo_list(photos)


@pytest.mark.parametrize("photo", [3, None, b"a", np.zeros((2, 2, 3))])
def test_a_photo_is_a_file_or_an_image(photo: object) -> None:
    with pytest.raises(UsageError, match=r"`photos\[1\]` is .*; expected a file"):
        photo_list(["a.jpg", photo])
    with pytest.raises(UsageError, match=r"`photo` is .*; expected a file"):
        require_photo("photo", photo)


def test_photos_keep_their_order() -> None:
    image = Image.new("RGB", (2, 2))
    assert photo_list(iter(["b.jpg", image, Path("a.jpg")])) == [
        Path("b.jpg"),
        image,
        Path("a.jpg"),
    ]


def test_an_image_itself_is_no_list() -> None:
    with pytest.raises(UsageError, match=r"`photos` is .*; expected a list, for one as for many"):
        photo_list(Image.new("RGB", (2, 2)))


@pytest.mark.parametrize("text", [3, None, b"is red"])
def test_a_text_is_a_string(text: object) -> None:
    with pytest.raises(UsageError, match=r"`texts\[1\]` is .*; expected a string"):
        text_list(["is red", text])
    with pytest.raises(UsageError, match=r"`text` is .*; expected a string"):
        require_text("text", text)


@pytest.mark.parametrize("text", ["a\0b", "half \ud800"])
def test_a_text_holds_characters_alone(text: str) -> None:
    with pytest.raises(UsageError, match=r"`texts\[1\]`: .* holds"):
        text_list(["is red", text])


def test_a_text_that_is_searched_with_has_an_end() -> None:
    longest = "x" * LONGEST_TEXT
    assert require_query_text("text", longest) == longest
    with pytest.raises(UsageError, match="`text` has 1,001 characters; expected at most 1,000"):
        require_query_text("text", longest + "x")


@pytest.mark.parametrize(
    "vectors",
    [
        ROWS,
        tuple(map(tuple, ROWS)),
        np.array(ROWS),
        np.array(ROWS, dtype=np.float16),
        np.array(ROWS, dtype=np.int64),
        torch.tensor(ROWS, requires_grad=True),
        torch.tensor(ROWS, dtype=torch.bfloat16),
        [torch.tensor(row) for row in ROWS],
        [np.array(row) for row in ROWS],
        np.array(ROWS).T.copy().T,
    ],
    ids=lambda vectors: type(vectors).__name__,
)
def test_vectors_of_any_kind_become_rows(vectors: object) -> None:
    found = feature_rows("images", vectors, 3)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    assert found.tolist() == ROWS


@pytest.mark.parametrize(
    ("vectors", "told"),
    [
        (ROWS[0], r"has shape \(3,\); expected \(rows, 3\)"),
        ([row[:2] for row in ROWS], r"has shape \(2, 2\)"),
        ([ROWS[0], [1.0]], "rows of different lengths"),
        ([["a", "b", "c"]], "expected rows of numbers"),
        ([[True, False, True]], "expected rows of numbers"),
        (None, "expected rows of numbers"),
        (torch.empty(2, 3, device="meta"), "holds no values; expected rows of numbers"),
        ([ROWS[0], [1.0, np.nan, 2.0]], r"`images\[1\]` is not finite"),
        ([[np.inf, 1.0, 2.0]], r"`images\[0\]` is not finite"),
    ],
)
def test_what_are_no_vectors_is_refused(vectors: object, told: str) -> None:
    with pytest.raises(VectorError, match=told):
        feature_rows("images", vectors, 3)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", None])
def test_a_count_is_a_whole_number(value: object) -> None:
    with pytest.raises(
        UsageError, match=r"`batch_size` is .*; expected a whole number of at least"
    ):
        require_count("batch_size", value, 1)


def test_counts_and_paths_come_back() -> None:
    assert require_count("batch_size", np.int64(1), 1) == 1
    assert require_path("path", "a") == require_path("path", Path("a")) == Path("a")


@pytest.mark.parametrize("value", [3, None, b"a", "", "a\0b"])
def test_a_path_is_str_or_path(value: object) -> None:
    with pytest.raises(UsageError, match=r"`path` is .*; expected a path"):
        require_path("path", value)


@pytest.mark.parametrize(
    "vectors",
    [
        [torch.tensor(row, dtype=torch.bfloat16) for row in ROWS],
        [torch.tensor(row, requires_grad=True) for row in ROWS],
        torch.tensor(ROWS).to_sparse(),
        pd.DataFrame(ROWS),
        pd.Series(ROWS),
    ],
)
def test_vectors_may_be_tensors_and_columns(vectors: object) -> None:
    assert feature_rows("images", vectors, 3).tolist() == ROWS


def test_a_table_is_no_list_of_texts() -> None:
    with pytest.raises(UsageError, match="`texts` is a DataFrame; expected a list"):
        text_list(pd.DataFrame({"text": ["is red"]}))


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ImageError, match="`photo` is 0 x 0 pixels"):
        require_photo("photo", Image.new("RGB", (0, 0)))


def test_what_float32_cannot_hold_is_named_by_its_argument() -> None:
    with pytest.raises(VectorError, match=r"`images\[0\]` is not finite"):
        feature_rows("images", [[1e300, 0.0, 0.0]], 3)
