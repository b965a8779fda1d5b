"""Several datasets as one: all photos, queries and splits, under ids that tell them apart."""

import json
from pathlib import Path

import pytest

from cir.config import MergeConfig
from cir.data.audit import audit
from cir.data.dataset import Dataset
from cir.errors import ConfigError, UsageError
from cir.names import MERGED_FILE
from cir.sources.annotations import read_records
from cir.sources.merged import merge_datasets
from pipeline.merge import run
from tests.support.cirr import cirr_dataset
from tests.support.folders import contents
from tests.support.shards import pack
from tests.support.worlds import small_dataset


@pytest.fixture
def two(tmp_path: Path) -> list[Dataset]:
    """Dresses, and dresses and shirts; their ids are the same."""
    one = small_dataset(tmp_path / "one", categories=("dress",), images=4, queries=3, size=8)
    other = small_dataset(tmp_path / "other", images=4, queries=2, size=8)
    file = other.captions_file("dress", "train")
    rows = json.loads(file.read_text())
    also = [row | {"targets": [row["target"]], "source": "Ada"} for row in rows]
    file.write_text(json.dumps(also))
    photo, copied = other.image_ids()[:2]
    record = {"category": "dress", "split": "train", "title": "Red", "attributes": {}}
    held = {"photos": {photo: record | {"product": copied}}}
    (other.root / "catalog.json").write_text(json.dumps(held))
    return [one, other]


def test_photos_queries_and_splits_of_all_are_kept(two: list[Dataset], tmp_path: Path) -> None:
    before = [contents(each.root) for each in two]
    made = merge_datasets(two, tmp_path / "all", prefixes=("a-", ""))
    merged = Dataset(tmp_path / "all")
    assert [contents(each.root) for each in two] == before
    assert not audit(merged).missing
    for dataset, prefix in zip(two, ("a-", ""), strict=True):
        for split in dataset.splits:
            for category, ids in dataset.galleries(split).items():
                assert {prefix + i for i in ids} <= set(merged.gallery(split, category))
        for photo in dataset.image_ids():
            own, copy = dataset.image_path(photo), merged.image_path(prefix + photo)
            assert own.read_bytes() == copy.read_bytes()
        asked = {
            (prefix + q.reference_id, tuple(prefix + i for i in q.target_ids), q.captions, split)
            for split in dataset.splits
            for q in dataset.queries(split)
        }
        assert asked <= {
            (q.reference_id, q.target_ids, q.captions, split)
            for split in merged.splits
            for q in merged.queries(split)
        }
    assert len(merged.image_ids()) == sum(part.photos for part in made)
    assert json.loads((merged.root / MERGED_FILE).read_text())[0]["prefix"] == "a-"
    last = json.loads(merged.captions_file("dress", "train").read_text())[-1]
    assert last["source"] == "Ada"
    assert [record.title for record in read_records(merged.root, ("train",)).values()] == ["Red"]


def test_photos_in_a_shard_that_is_a_link_are_merged(two: list[Dataset], tmp_path: Path) -> None:
    root = two[0].root
    held = {file.name: file.read_bytes() for file in (root / "images").iterdir()}
    for name in held:
        (root / "images" / name).unlink()
    pack(tmp_path / "packed.tar", held).rename(tmp_path / "5f3c0de")
    (root / "images" / "a.tar").symlink_to(tmp_path / "5f3c0de")
    merge_datasets([Dataset(root), two[1]], tmp_path / "all", prefixes=("a-", ""))
    assert not audit(Dataset(tmp_path / "all")).missing


def test_a_product_is_named_as_its_photos_are(two: list[Dataset], tmp_path: Path) -> None:
    merge_datasets(two, tmp_path / "all", prefixes=("", "b-"))
    photo, copied = two[1].image_ids()[:2]
    ((known, record),) = read_records(tmp_path / "all", ("train",)).items()
    assert (known, record.product) == (f"b-{photo}", f"b-{copied}")


def test_ids_that_two_datasets_share_are_refused(two: list[Dataset], tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"12 ids are photos of .*one and of .*other: .*`prefixes`"
    ):
        merge_datasets(two, tmp_path / "all")
    with pytest.raises(UsageError, match=r"`prefixes` are 1; expected 2"):
        merge_datasets(two, tmp_path / "all", prefixes=("a",))
    with pytest.raises(UsageError, match=r"`prefixes` hold 'a/', which makes no ids"):
        merge_datasets(two, tmp_path / "all", prefixes=("a/", ""))
    with pytest.raises(UsageError, match="in CIRR's form; expected FashionIQ's"):
        merge_datasets([two[0], cirr_dataset(tmp_path / "cirr")], tmp_path / "all")
    with pytest.raises(ConfigError, match="`datasets` are 1; expected two or more"):
        MergeConfig(datasets=("one",), out=tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_the_stage_says_what_each_dataset_gave(
    two: list[Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = two[0].image_path(two[0].image_ids()[0])
    lost.unlink()
    out = tmp_path / "all"
    folders = tuple(str(each.root) for each in two)
    assert run(MergeConfig(datasets=folders, prefixes=("a-", "b-"), out=out)) == out
    said = " ".join(capsys.readouterr().out.split())
    assert "12 photos, 1 of them without a file, 9 queries, ids beginning with 'a-'" in said
    assert f"{out}: {len(Dataset(out).image_ids())} photos, 21 queries" in said
