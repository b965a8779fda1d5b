"""Searching: against a plain sort, and what is left out, folded and refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cir.errors import ImageError, UsageError, VectorError
from cir.search.copies import NEAR_COPY
from cir.search.gallery import Gallery
from cir.search.index import SearchIndex
from cir.search.query import SearchQuery
from tests.support.galleries import drawn_gallery, drawn_index, plain_sum, record, vectors
from tests.support.micro import micro_encoder


@pytest.fixture(scope="module")
def index() -> SearchIndex:
    return drawn_index()


def by_hand(index: SearchIndex, query: np.ndarray, left_out: set[str]) -> list[str]:
    """Every id, the nearest first."""
    scores = index.gallery.vectors @ (query / np.linalg.norm(query))
    ids = np.array(index.gallery.ids)[np.argsort(-scores, kind="stable")]
    return [image_id for image_id in ids.tolist() if image_id not in left_out]


def ids_of(results) -> list[str]:
    return [result.id for result in results]


def test_an_image_and_a_text_are_composed_as_the_retriever_does(index: SearchIndex) -> None:
    image, text = index.gallery.vector("p03"), index.retriever.encode_texts(["is red"])[0]
    query = index.retriever.compose(image[None], text[None])[0]
    found = index.search("p03", "is red", top=4)
    assert ids_of(found) == by_hand(index, query, {"p03"})[:4]
    assert [result.rank for result in found] == [1, 2, 3, 4]
    assert found[0].score == pytest.approx(float(index.gallery.vector(found[0].id) @ query))


def test_one_side_alone_is_that_side(index: SearchIndex) -> None:
    image, text = index.gallery.vector("p03"), index.retriever.encode_texts(["is red"])[0]
    assert ids_of(index.search("p03", top=20)) == by_hand(index, image, {"p03"})
    assert ids_of(index.search(text="is red", top=20)) == by_hand(index, text, set())
    assert ids_of(index.search("p03", "is red", weight=0, top=20)) == by_hand(index, image, {"p03"})
    assert ids_of(index.search("p03", "is red", weight=1, top=20)) == by_hand(index, text, {"p03"})


def test_a_blank_text_is_no_text(index: SearchIndex) -> None:
    assert index.search("p03", " \t\n") == index.search("p03")


def test_a_weight_of_a_half_is_the_retrievers_own(index: SearchIndex) -> None:
    assert index.search("p03", "is red", weight=0.5) == index.search("p03", "is red")


def test_several_references_are_their_mean(index: SearchIndex) -> None:
    mean = index.gallery.vector("p03") + index.gallery.vector("p04")
    assert ids_of(index.search(["p03", "p04"], top=20)) == by_hand(index, mean, {"p03", "p04"})


def test_examples_and_words_move_the_query_as_documented(index: SearchIndex) -> None:
    gallery, text = index.gallery, index.retriever.encode_texts(["stripes"])[0]
    moved = gallery.vector("p03") + 0.75 * gallery.vector("p05")
    moved = moved - 0.5 * gallery.vector("p06") - 0.5 * text
    found = index.search("p03", like="p05", unlike=["p06"], less="stripes", top=20)
    assert ids_of(found) == by_hand(index, moved, {"p03", "p05", "p06"})


def test_a_category_and_ids_bound_the_results(index: SearchIndex) -> None:
    found = ids_of(index.search("p03", category="even", without=["p00"], top=20))
    assert sorted(found) == ["p02", "p04", "p06", "p08", "p10"]


def copied() -> SearchIndex:
    """Photos 0 to 5, a near-copy of 1, and a file that is that of 0 under another name."""
    drawn = vectors(6)
    near = drawn[1] + 0.05 * drawn[2]
    rows = np.concatenate([drawn, (near / np.linalg.norm(near))[None], vectors(1, seed=9)])
    ids = [f"p{number}" for number in range(6)] + ["near-1", "same-0"]
    digests = [f"{number:064x}" for number in (*range(7), 0)]
    return SearchIndex(plain_sum(), Gallery(ids, rows, sha256=digests))


def test_the_reference_and_its_copies_are_no_results() -> None:
    index = copied()
    assert float(index.gallery.vector("p1") @ index.gallery.vector("near-1")) > NEAR_COPY
    assert sorted(ids_of(index.search("p1", top=20))) == ["p0", "p2", "p3", "p4", "p5", "same-0"]
    assert "same-0" not in ids_of(index.search("p0", top=20))


def test_near_copies_of_a_result_are_folded_into_the_better_one() -> None:
    index = copied()
    folded = {result.id: result.copies for result in index.search("p3", top=20)}
    assert sorted(len(copies) for copies in folded.values()) == [0, 0, 0, 0, 0, 1]
    assert {frozenset(copies) for copies in folded.values() if copies} <= {
        frozenset(["p1"]),
        frozenset(["near-1"]),
    }
    apart = index.search("p3", top=20, copies=True)
    assert len(apart) == 7
    assert {"p1", "near-1"} <= set(ids_of(apart))


def test_folding_looks_on_until_there_are_enough_results() -> None:
    first = vectors(1)
    rows = np.concatenate([np.repeat(first, 200, axis=0), vectors(3, seed=5)])
    index = SearchIndex(plain_sum(), Gallery([f"p{n:03d}" for n in range(203)], rows))
    assert len(index.search("p201", top=3)) == 3


def test_what_is_added_is_found_and_what_is_removed_is_not() -> None:
    index = SearchIndex(plain_sum(), drawn_gallery(3))
    for number in range(3, 40):
        index.gallery.add(f"p{number:02d}", vectors(40)[number], record=record(number))
    fresh = SearchIndex(plain_sum(), drawn_gallery(40))
    index.gallery.remove("p00")
    expected = [i for i in ids_of(fresh.search("p07", top=40)) if i != "p00"]
    assert ids_of(index.search("p07", top=40)) == expected
    assert index.gallery.categories == {"even": 19, "odd": 20}
    index.gallery.add("p00", vectors(40)[0], record=record(0))
    assert ids_of(index.search("p07", top=40)) == ids_of(fresh.search("p07", top=40))


def test_a_file_is_a_reference_as_its_photo_is(index: SearchIndex, tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 60), "navy")
    photo.save(tmp_path / "p.png")
    from_file = index.search(tmp_path / "p.png", "is red")
    assert from_file == index.search(str(tmp_path / "p.png"), "is red")
    assert from_file == index.search(photo, "is red")


def test_the_rank_of_a_target_is_its_place_among_all(index: SearchIndex) -> None:
    every = by_hand(index, index.gallery.vector("p03"), set())
    ranks = index.target_ranks(SearchQuery(images=("p03",)), ["p01", "p03"])
    assert [rank.rank for rank in ranks] == [every.index("p01") + 1, 1]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, UsageError, "nothing to search for: pass `image`, `text` or `like`, or several"),
        ({"text": "   "}, UsageError, "nothing to search for"),
        ({"image": "p99"}, UsageError, "`image` is 'p99'; expected an id of the gallery's 12"),
        ({"image": Path("none.jpg")}, ImageError, "none.jpg is missing"),
        ({"text": "x" * 1001}, UsageError, "`text` has 1,001 characters; expected at most 1,000"),
        ({"text": "a", "less": ["x" * 1001]}, UsageError, "`less` has 1,001 characters"),
        ({"text": "a\0b"}, UsageError, "`text`: 'a\\x00b' holds a NUL character"),
        ({"text": "a", "less": " "}, UsageError, "`less` is blank; expected a text that says"),
        (
            {"text": "a", "without": ["p00", "p99"]},
            UsageError,
            "`without` is 'p99'; expected an id of the gallery's 12 photos",
        ),
        ({"text": "a", "top": 0}, UsageError, "`top` is 0"),
        ({"text": "a", "top": 5000}, UsageError, "`top` is 5000"),
        ({"image": "p03", "text": "a", "weight": 2}, UsageError, "`weight` is 2"),
        ({"text": "a", "weight": 0.3}, UsageError, "`weight` weighs `text` against `image`"),
        ({"image": "p03", "text": " ", "weight": 1}, UsageError, "`weight` weighs `text` against"),
        (
            {"text": "a", "category": "x"},
            UsageError,
            "`category` is 'x'; expected one of even, odd",
        ),
    ],
)
def test_what_cannot_be_searched_for_is_said_in_one_line(
    index: SearchIndex, arguments: dict, error: type[Exception], words: str
) -> None:
    with pytest.raises(error) as caught:
        index.search(**arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gallery_of_another_width_is_refused() -> None:
    with pytest.raises(VectorError, match="16-d vectors; the retriever gives 32-d"):
        SearchIndex(plain_sum(micro_encoder(32)), drawn_gallery(4, dim=16))
