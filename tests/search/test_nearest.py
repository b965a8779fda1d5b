"""The nearest rows through principal coordinates are those of a plain sort."""

import numpy as np
import pytest

from cir.search import gallery as galleries
from cir.search.gallery import Gallery
from cir.search.index import SearchIndex
from cir.search.nearest import FirstRows, PrincipalCoordinates, nearest_rows
from cir.search.proposing import Allowed
from cir.search.scan import scans_of
from tests.support.galleries import crowded, plain_sum, record, vectors


def test_ties_fall_by_row_and_what_is_not_allowed_is_not_found() -> None:
    scores = np.array([0.5, 0.9, 0.9, 0.1, 0.9], np.float32)
    allowed = np.array([True, True, True, True, False])
    assert nearest_rows(scores, 2, allowed).tolist() == [1, 2]
    assert nearest_rows(scores, 9, allowed).tolist() == [1, 2, 0, 3]
    assert nearest_rows(scores, 2, ~allowed | ~allowed[::-1]).tolist() == [4, 0]
    assert nearest_rows(scores, 2, np.zeros(5, np.bool_)).tolist() == []


@pytest.mark.parametrize("width", [1, 8, 64])
def test_no_similarity_is_above_its_bound(width: int) -> None:
    rows, queries = crowded(3000), crowded(20, seed=1)
    coordinates = PrincipalCoordinates(rows, width)
    assert len(coordinates) == 3000
    above = coordinates.bounds(queries) - queries @ rows.T
    assert above.min() >= 0
    assert width < 64 or above.max() < 1e-2


class Compared:
    """Similarities of drawn rows with a query, some of which are copies; told how often."""

    def __init__(self) -> None:
        self.rows, self.query = np.resize(crowded(900), (2000, 64)), crowded(1, seed=1)[0]
        self.times = np.zeros(2000, np.int64)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        np.add.at(self.times, rows, 1)
        return np.vecdot(self.rows[rows], self.query)

    def first(self, width: int, allowed: np.ndarray, turned: int = 2000) -> FirstRows:
        """Those of a scan; rows from `turned` on have no bound."""
        coordinates = PrincipalCoordinates(self.rows[:turned], width)
        return FirstRows(coordinates.bounds(self.query[None])[0], allowed, self)


@pytest.mark.parametrize("width", [2, 16])
@pytest.mark.parametrize("turned", [2000, 1900])
@pytest.mark.parametrize("every", [1, 3])
def test_ever_more_of_the_nearest_are_those_of_a_plain_sort(
    width: int, turned: int, every: int
) -> None:
    compared, allowed = Compared(), np.arange(2000) % every == 0
    nearest = compared.first(width, allowed, turned)
    similarities = np.vecdot(compared.rows, compared.query)
    for k in (1, 7, 8, 40, 5000):
        found, expected = nearest.first(k), nearest_rows(similarities, k, allowed)
        np.testing.assert_array_equal(found.rows, expected)
        np.testing.assert_array_equal(found.similarities, similarities[expected])
        assert k != 40 or width < 16 or compared.times.sum() < 600
    assert compared.times.max() == 1
    assert (compared.times[~allowed] == 0).all()


def test_where_nothing_is_allowed_nothing_is_found() -> None:
    compared = Compared()
    assert compared.first(2, np.zeros(2000, np.bool_)).first(3).rows.tolist() == []


@pytest.mark.slow
@pytest.mark.parametrize("category", [None, "even"])
def test_a_turned_gallery_is_searched_alike(
    monkeypatch: pytest.MonkeyPatch, category: str | None
) -> None:
    monkeypatch.setattr(galleries, "_LARGE", 100)
    monkeypatch.setattr(galleries, "_LONG", 16)
    ids = [f"p{number:04d}" for number in range(500)]
    records = {image_id: record(number) for number, image_id in enumerate(ids)}
    drawn = np.concatenate([crowded(400, dim=32), crowded(100, dim=32)])  # the last are copies
    plain, turned = (
        SearchIndex(plain_sum(), Gallery(ids, drawn, records=records)) for _ in range(2)
    )
    turned.gallery.turn()
    assert turned.gallery.coordinates is not None
    for index in (plain, turned):
        index.gallery.add("new", vectors(1, seed=3)[0], record=record(0))
        index.gallery.remove("p0008")
    for text, image, top in (("is red", "p0003", 30), ("", "new", 999), ("is blue", "p0100", 1)):
        expected = plain.search(image, text, top=top, category=category)
        found = turned.search(image, text, top=top, category=category)
        assert [(r.id, r.copies) for r in found] == [(r.id, r.copies) for r in expected]
        np.testing.assert_allclose(
            [result.score for result in found], [result.score for result in expected], atol=1e-6
        )


def test_a_small_gallery_is_left_as_it_is() -> None:
    gallery = Gallery(["a", "b"], vectors(2))
    gallery.turn()
    assert gallery.coordinates is None
    allowed = [Allowed(gallery.searchable)] * 3
    found = [scan.nearest(9).rows for scan in scans_of(gallery, vectors(3, seed=1), allowed)]
    assert [sorted(rows.tolist()) for rows in found] == [[0, 1]] * 3
