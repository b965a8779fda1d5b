"""A dataset with more queries: what is added, what is left out, and what stays."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cir.data.audit import audit
from cir.data.dataset import Dataset
from cir.data.pairs import ProposedPair
from cir.errors import DatasetError, UsageError
from cir.names import ADDED_FILE
from cir.sources.added_queries import AddedQueries, PairsOrigin, add_queries
from tests.support.cirr import cirr_dataset
from tests.support.folders import contents
from tests.support.worlds import small_dataset

ORIGIN = PairsOrigin(Path("pairs.parquet"), "f" * 64, {"seed": 5})


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    made = small_dataset(tmp_path / "small", images=6, queries=3, size=8)
    (made.root / "catalog.json").write_text("{}")
    return made


def fresh(dataset: Dataset, category: str = "dress") -> list[ProposedPair]:
    """Pairs of the category's training photos that no query has."""
    ids = dataset.gallery("train", category)
    known = {(q.reference_id, t) for q in dataset.queries("train") for t in q.target_ids}
    return [
        ProposedPair(reference, target, captions=("is red", "is long"))
        for reference in ids
        for target in ids
        if reference != target and (reference, target) not in known
    ]


def added(dataset: Dataset, pairs: list[ProposedPair], out: Path, **options: str) -> AddedQueries:
    return add_queries(dataset, pairs, out, origin=ORIGIN, **options)


def test_new_queries_stand_behind_the_others_and_nothing_else_changes(
    small: Dataset, tmp_path: Path
) -> None:
    first, second, third = fresh(small)[:3]
    shirt = replace(fresh(small, "shirt")[0], category="shirt", source="Ada")
    several = replace(second, target_ids=(third.target_id,))
    before = contents(small.root)
    made = added(small, [first, shirt, several], tmp_path / "more")
    more = Dataset(tmp_path / "more")
    assert (dict(made.by_category), made.left_out) == ({"dress": 2, "shirt": 1}, ())
    old = small.queries("train")
    new = [query for query in more.queries("train") if query not in old]
    assert len(more.queries("train")) == len(old) + 3
    assert [(q.id, q.reference_id, q.target_ids, q.captions) for q in new] == [
        ("dress-train-00003", first.reference_id, (first.target_id,), first.captions),
        ("dress-train-00004", second.reference_id, several.every_target_id, second.captions),
        ("shirt-train-00003", shirt.reference_id, (shirt.target_id,), shirt.captions),
    ]
    assert contents(small.root) == before
    after = contents(tmp_path / "more")
    assert after.keys() == before.keys() | {ADDED_FILE}
    changed = {f"captions/cap.{category}.train.json" for category in ("dress", "shirt")}
    assert {name for name in before if after[name] != before[name]} == changed
    assert audit(more).complete


def test_rows_and_added_json_say_where_queries_came_from(small: Dataset, tmp_path: Path) -> None:
    first, second = fresh(small)[:2]
    silent = replace(second, captions=(" ", "."))
    added(small, [replace(first, source="Ada"), silent], tmp_path / "more")
    rows = json.loads((tmp_path / "more/captions/cap.dress.train.json").read_text())
    assert [row.get("source") for row in rows] == [None] * 3 + ["Ada"]
    record = {
        "pairs": "pairs.parquet",
        "pairs_sha256": "f" * 64,
        "pairs_metadata": {"seed": 5},
        "query_ids": ["dress-train-00003"],
        "left_out": {"no caption": [f"{second.reference_id} to {second.target_id}"]},
    }
    assert json.loads((tmp_path / "more" / ADDED_FILE).read_text()) == [record]
    added(Dataset(tmp_path / "more"), [second], tmp_path / "again")
    again = json.loads((tmp_path / "again" / ADDED_FILE).read_text())
    assert again[0] == record
    assert again[1]["query_ids"] == ["dress-train-00004"]
    rows = json.loads((tmp_path / "again/captions/cap.dress.train.json").read_text())
    assert rows[-1]["source"] == "pairs.parquet"


def test_pairs_that_cannot_be_used_are_left_out_with_the_reason(
    small: Dataset, tmp_path: Path
) -> None:
    good = fresh(small)[0]
    query = small.queries("train")[0]
    val, shirt = small.gallery("val", "dress")[0], small.gallery("train", "shirt")[0]
    cases = {
        "no caption": replace(good, captions=()),
        "a photo that the dataset does not name": replace(good, target_id="nobody"),
        "a photo of another split than train": replace(good, target_ids=(val,)),
        "photos that are not of one category": replace(good, target_id=shirt),
        "the reference is a target": replace(good, target_ids=(good.reference_id,)),
        "already a query": replace(
            good, reference_id=query.reference_id, target_id=query.target_id
        ),
    }
    elsewhere, twice = replace(good, category="shirt"), replace(good, captions=("is blue",))
    made = added(small, [*cases.values(), good, elsewhere, twice], tmp_path / "more")
    assert [(each.pair, each.reason) for each in made.left_out] == [
        *((pair, reason) for reason, pair in cases.items()),
        (elsewhere, "photos that are not of one category"),
        (twice, "already a query"),
    ]
    assert dict(made.by_category) == {"dress": 1}


def test_a_photo_that_val_has_too_never_enters(small: Dataset, tmp_path: Path) -> None:
    pair = fresh(small)[0]
    file = small.split_file("dress", "val")
    file.write_text(json.dumps([*small.gallery("val", "dress"), pair.target_id]))
    with pytest.raises(DatasetError, match=r"none of 1 pairs .* another split than train \(1\)"):
        added(small, [pair], tmp_path / "more")


def test_nothing_usable_is_an_error_and_leaves_nothing(small: Dataset, tmp_path: Path) -> None:
    silent = [replace(pair, captions=()) for pair in fresh(small)[:2]]
    with pytest.raises(DatasetError, match=r"none of 2 pairs can be used: no caption \(2\)"):
        added(small, silent, tmp_path / "more")
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize("link", ["hardlink", "symlink", "copy"])
def test_photos_enter_as_asked(link: str, small: Dataset, tmp_path: Path) -> None:
    added(small, fresh(small)[:1], tmp_path / "more", link=link)
    for photo, file in Dataset(tmp_path / "more").image_files.items():
        original = small.image_files[photo]
        assert file.is_symlink() == (link == "symlink")
        assert file.samefile(original) == (link != "copy")


def test_an_unknown_link_is_refused(small: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`link` is 'move'; expected hardlink, symlink, copy"):
        added(small, fresh(small)[:1], tmp_path / "more", link="move")


def test_an_output_that_holds_an_input_is_refused(small: Dataset, tmp_path: Path) -> None:
    pairs = fresh(small)[:1]
    for out in (small.root, small.root / "more", tmp_path):
        with pytest.raises(UsageError, match=r"`out` is .* the input `dataset` .*: choose another"):
            added(small, pairs, out)
    origin = replace(ORIGIN, file=tmp_path / "more/pairs.jsonl")
    with pytest.raises(UsageError, match="the input `pairs`"):
        add_queries(small, pairs, tmp_path / "more", origin=origin)


def test_cirrs_form_is_refused(tmp_path: Path) -> None:
    dataset = cirr_dataset(tmp_path / "cirr")
    with pytest.raises(UsageError, match="in CIRR's form; expected FashionIQ's"):
        added(dataset, [ProposedPair("a", "b", captions=("is red",))], tmp_path / "more")
