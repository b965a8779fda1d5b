"""The nearest rows through principal coordinates are those of a plain sort."""

import numpy as np
import pytest

from cir.search import gallery as galleries
from cir.search.gallery import Gallery
from cir.search.index import SearchIndex
from cir.search.nearest import PrincipalCoordinates, nearest_rows
from cir.search.scan import scans_of
from tests.support.galleries import crowded, plain_sum, vectors


def test_ties_fall_by_row_and_what_is_not_allowed_is_not_found() -> None:
    scores = np.array([0.5, 0.9, 0.9, 0.1, 0.9], np.float32)
    allowed = np.array([True, True, True, True, False])
    assert nearest_rows(scores, 2, allowed).tolist() == [1, 2]
    assert nearest_rows(scores, 9, allowed).tolist() == [1, 2, 0, 3]
    assert nearest_rows(scores, 2, ~allowed | ~allowed[::-1]).tolist() == [4, 0]
    assert nearest_rows(scores, 2, np.zeros(5, np.bool_)).tolist() == []


@pytest.mark.parametrize("width", [1, 8, 64])
def test_coordinates_leave_every_row_that_may_be_among_the_nearest(width: int) -> None:
    rows, queries = crowded(3000), crowded(20, seed=1)
    coordinates = PrincipalCoordinates(rows, width)
    products, left_out = coordinates.products(queries)
    allowed = np.arange(3000) % 3 > 0
    for query, row, rest in zip(queries, products, left_out, strict=True):
        possible = coordinates.possible(row, rest, 10, allowed)
        expected = nearest_rows(rows @ query, 10, allowed)
        assert set(expected.tolist()) <= set(possible.tolist())
        assert allowed[possible].all()
    assert width < 8 or len(possible) < 1000


@pytest.mark.slow
def test_a_turned_gallery_is_searched_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(galleries, "_LARGE", 100)
    monkeypatch.setattr(galleries, "_LONG", 16)
    ids = [f"p{number:04d}" for number in range(500)]
    plain, turned = (SearchIndex(plain_sum(), Gallery(ids, crowded(500, dim=32))) for _ in range(2))
    turned.gallery.turn()
    assert turned.gallery.coordinates is not None
    for index in (plain, turned):
        index.gallery.add("new", vectors(1, seed=3)[0])
        index.gallery.remove("p0007")
    for text, image in (("is red", "p0003"), ("", "new"), ("is blue", "p0100")):
        expected = plain.search(image, text, top=30)
        found = turned.search(image, text, top=30)
        assert [result.id for result in found] == [result.id for result in expected]
        np.testing.assert_allclose(
            [result.score for result in found], [result.score for result in expected], atol=1e-6
        )


def test_a_small_gallery_is_left_as_it_is() -> None:
    gallery = Gallery(["a", "b"], vectors(2))
    gallery.turn()
    assert gallery.coordinates is None
    assert len(scans_of(gallery, vectors(3, seed=1))) == 3
