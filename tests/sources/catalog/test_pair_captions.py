"""Pairs worded from the attributes of their photos."""

from pathlib import Path

import pytest

from cir.data.dataset import Dataset
from cir.data.pairs import CATALOG_SOURCE, LeftOutPair, ProposedPair
from cir.errors import UsageError
from cir.sources.annotations import PhotoRecord, read_records
from cir.sources.catalog.pair_captions import caption_pairs
from cir.sources.synthetic.dataset import draw_dataset

RED = {"colour": "red", "pattern": "striped"}


def records_of(**attributes: dict[str, str]) -> dict[str, PhotoRecord]:
    return {photo: PhotoRecord("top", "train", "A top", own) for photo, own in attributes.items()}


RECORDS = records_of(
    red=RED,
    blue={"colour": "blue", "pattern": "striped"},
    blue_too={"colour": "blue", "pattern": "striped"},
    blue_checked={"colour": "blue", "pattern": "checked"},
    plain={"colour": "red"},
    other_plain={"colour": "green"},
    far={"colour": "blue", "pattern": "checked", "neck": "v"},
    **{f"many_{n}": RED | {"neck": "round"} for n in range(21)},
) | {"boot": PhotoRecord("shoes", "train", "A boot", {"colour": "blue", "pattern": "striped"})}


def worded(reference: str, target: str) -> ProposedPair:
    made = caption_pairs([ProposedPair(reference, target, query_id="q")], RECORDS, seed=0)
    assert not made.left_out
    return made.pairs[0]


@pytest.mark.parametrize(
    ("reference", "target", "words", "every"),
    [
        ("red", "blue_too", ("blue",), ("blue_too", "blue")),
        ("red", "blue_checked", ("blue", "check"), ("blue_checked",)),
        ("plain", "blue", ("blue", "strip"), ("blue", "blue_too")),
    ],
)
def test_the_captions_state_what_changes_and_every_photo_that_fits_is_a_target(
    reference: str, target: str, words: tuple[str, ...], every: tuple[str, ...]
) -> None:
    pair = worded(reference, target)
    assert all(word in " ".join(pair.captions) for word in words)
    assert len(set(pair.captions)) == 2
    assert pair.every_target_id == pair.target_ids == every
    assert (pair.category, pair.source, pair.query_id) == ("top", CATALOG_SOURCE, "q")


@pytest.mark.parametrize(
    ("reference", "target", "reason"),
    [
        ("red", "val_photo", "a photo that the training split has no record of"),
        ("red", "boot", "photos of two categories"),
        ("red", "plain", "an attribute that the target does not state"),
        ("red", "other_plain", "an attribute that the target does not state"),
        ("blue", "blue_too", "the same attributes"),
        ("red", "far", "more than 2 attributes differ"),
        ("red", "many_3", "more than 20 photos fit"),
    ],
)
def test_a_pair_that_cannot_be_worded_is_left_out_with_the_reason(
    reference: str, target: str, reason: str
) -> None:
    pair, good = ProposedPair(reference, target), ProposedPair("red", "blue")
    made = caption_pairs([pair, good], RECORDS, seed=0)
    assert made.left_out == (LeftOutPair(pair, reason),)
    assert [each.target_id for each in made.pairs] == ["blue"]


def of_other(own_category: str, colour: str, product: str = "") -> PhotoRecord:
    return PhotoRecord(
        "other", "train", "A thing", {"colour": colour}, own_category=own_category, product=product
    )


def test_small_categories_that_share_a_gallery_answer_for_themselves() -> None:
    records = {
        "red_belt": of_other("belts", "red"),
        "blue_belt": of_other("belts", "blue"),
        "red_bag": of_other("bags", "red"),
        "blue_bag": of_other("bags", "blue"),
    }
    pairs = [ProposedPair("red_belt", "blue_bag"), ProposedPair("red_belt", "blue_belt")]
    made = caption_pairs(pairs, records, seed=0)
    assert made.left_out == (LeftOutPair(pairs[0], "photos of two categories"),)
    assert [pair.every_target_id for pair in made.pairs] == [("blue_belt",)]
    assert made.pairs[0].category == "other"


def test_a_dataset_that_does_not_record_small_categories_words_none_of_them() -> None:
    records = {"red": of_other("", "red"), "blue": of_other("", "blue")}
    made = caption_pairs([ProposedPair("red", "blue")], records, seed=0)
    assert not made.pairs
    assert "make it again" in made.left_out[0].reason


def test_near_copies_of_the_reference_are_no_targets() -> None:
    """As where a photo and its near-copy are told to be of two colours."""
    records = {
        "red": of_other("belts", "red"),
        "copy": of_other("belts", "blue", product="red"),
        "blue": of_other("belts", "blue"),
        "blue_copy": of_other("belts", "blue", product="blue"),
    }
    pairs = [ProposedPair("red", "copy"), ProposedPair("red", "blue_copy")]
    made = caption_pairs(pairs, records, seed=0)
    assert made.left_out == (LeftOutPair(pairs[0], "two photos of one product"),)
    assert [pair.every_target_id for pair in made.pairs] == [("blue_copy", "blue")]


def test_of_pairs_that_make_one_query_the_first_is_worded() -> None:
    made = caption_pairs(
        [ProposedPair(*pair) for pair in (("red", "blue"), ("red", "blue_too"), ("plain", "blue"))],
        RECORDS,
        seed=0,
    )
    assert [(p.reference_id, p.target_id) for p in made.pairs] == [
        ("red", "blue"),
        ("plain", "blue"),
    ]
    ((left, reason),) = ((each.pair, each.reason) for each in made.left_out)
    assert (left.target_id, reason.partition(":")[0]) == (
        "blue_too",
        "the query of an earlier pair",
    )


def test_the_seed_decides_the_words() -> None:
    pairs = [ProposedPair("red", "blue"), ProposedPair("red", "blue_checked")]
    made = [caption_pairs(pairs, RECORDS, seed=seed) for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


def test_no_pairs_are_refused() -> None:
    with pytest.raises(UsageError, match="`pairs` is empty"):
        caption_pairs([], RECORDS, seed=0)


@pytest.mark.slow
def test_the_queries_of_a_drawn_dataset_get_the_targets_that_they_have(tmp_path: Path) -> None:
    draw_dataset(tmp_path / "drawn", {"dress": 60}, size=32)
    queries = Dataset(tmp_path / "drawn").queries("train")
    pairs = [ProposedPair(query.reference_id, query.target_id) for query in queries]
    made = caption_pairs(pairs, read_records(tmp_path / "drawn", ("train",)), seed=0)
    assert not made.left_out
    assert [set(pair.every_target_id) for pair in made.pairs] == [
        set(q.target_ids) for q in queries
    ]
