"""Photos of a page: each picture once, long ids without their middle, titles where known."""

import json
from pathlib import Path

import pytest

from cir.data.dataset import Dataset
from cir.reporting.album import Album, shortened
from tests.support.worlds import small_dataset


def test_a_picture_is_given_once() -> None:
    album = Album(None)
    assert album.photo("a").key is None
    assert "the dataset" in str(album.note)


def test_titles_come_from_the_catalog(tmp_path: Path) -> None:
    world = small_dataset(tmp_path / "dataset", images=4, queries=4)
    named, other = world.image_ids()[:2]
    record = {"category": "dress", "split": "train", "title": "A <red> dress", "attributes": {}}
    (world.root / "catalog.json").write_text(json.dumps({"photos": {named: record}}))
    album = Album(Dataset(world.root))
    first, again = album.photo(named), album.photo(named, note="2", hit=True)
    bare = album.photo(other)
    assert (first.title, first.said) == ("A <red> dress", "A <red> dress")
    assert (bare.title, bare.said) == ("", other)
    assert first.uri is not None
    assert (again.uri, again.key) == (None, first.key)
    assert len(album) == 2


@pytest.mark.parametrize(
    ("text", "short"),
    [("12345", "12345"), ("B0012345678", "B0012345678"), ("0123456789abcdef0", "0123456…9abcdef0")],
)
def test_a_long_id_loses_its_middle(text: str, short: str) -> None:
    assert shortened(text) == short
