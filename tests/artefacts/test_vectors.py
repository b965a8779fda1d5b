"""Tables of vectors and their normalisation."""

import numpy as np
import pytest

from cir.artefacts.vectors import VectorTable, normalised, require_directions
from cir.errors import StoreError, VectorError


def test_normalised_rows_have_length_one() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 7)).astype(np.float32) * 100
    unit = normalised(vectors, "images")
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.cross(unit[:, :3], vectors[:, :3]), 0, atol=1e-3)


@pytest.mark.parametrize("scale", [1e25, 1e20, 1e-14, 1e-18, 1e-22, 1e-24, 1e-38])
def test_a_direction_is_found_at_any_length(scale: float) -> None:
    wide = np.random.default_rng(0).standard_normal((1500, 40))
    vectors = wide.astype(np.float32)
    vectors[7] = (wide[7] * scale).astype(np.float32)
    exact = vectors[7].astype(np.float64)
    require_directions(vectors, "images")
    unit = normalised(vectors, "images")
    np.testing.assert_allclose(unit[7], exact / np.linalg.norm(exact), rtol=1e-6)
    others = np.delete(vectors, 7, axis=0)
    expected = others / np.linalg.norm(others, axis=1)[:, None]
    np.testing.assert_array_equal(np.delete(unit, 7, axis=0), expected)


@pytest.mark.parametrize(
    ("value", "fault"), [(0, "all zero"), (np.nan, "not finite"), (np.inf, "not")]
)
def test_a_row_without_direction_is_refused(value: float, fault: str) -> None:
    vectors = np.ones((4, 3), np.float32)
    vectors[2] = value
    with pytest.raises(VectorError, match=f"1 of 4 vectors of captions.*row 2 is {fault}"):
        normalised(vectors, "captions")
    with pytest.raises(VectorError, match=f"1 of 4 vectors of captions.*row 2 is {fault}"):
        require_directions(vectors, "captions")


def test_a_table_finds_rows_by_key() -> None:
    table = VectorTable(("a", "b", "c"), np.eye(3, dtype=np.float32))
    assert table.rows(["c", "a", "c"]).tolist() == [2, 0, 2]
    assert table.take(["b"]).tolist() == [[0, 1, 0]]
    with pytest.raises(StoreError, match="lacks 1 of 2 wanted rows, the first 'x'"):
        table.rows(["a", "x"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_chosen_rows_are_normalised_as_all_are(dtype: type) -> None:
    vectors = np.random.default_rng(0).standard_normal((600, 40)).astype(dtype)
    rows = np.random.default_rng(1).integers(0, 600, 700)
    whole = normalised(vectors, "images")
    assert whole.dtype == np.float32
    assert np.array_equal(normalised(vectors, "images", rows), whole[rows])
    table = VectorTable(tuple(map(str, range(600))), vectors)
    assert np.array_equal(table.unit([str(row) for row in rows], "images"), whole[rows])
    vectors[599] = 0
    with pytest.raises(VectorError, match="1 of 2 vectors of images have no direction: row 1"):
        normalised(vectors, "images", np.array([0, 599]))


def test_one_text_is_no_list_of_keys() -> None:
    table = VectorTable(("a", "b"), np.eye(2, dtype=np.float32))
    with pytest.raises(VectorError, match="`keys` is the text 'ab'"):
        table.rows("ab")


def test_a_table_has_a_vector_for_each_key() -> None:
    with pytest.raises(VectorError, match="expected a row for each of 3 keys"):
        VectorTable(("a", "b", "c"), np.eye(2, dtype=np.float32))
