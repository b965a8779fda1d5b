"""CIRR's form: the same queries, galleries and images as any dataset's."""

import json
from pathlib import Path

import pytest

from cir.data.audit import audit
from cir.data.dataset import Dataset
from cir.errors import DatasetError
from cir.mining.exclusions.rules import ExclusionRules, find_exclusions
from tests.support.cirr import MEMBERS, cirr_dataset
from tests.support.worlds import random_embeddings


@pytest.fixture(scope="module")
def cirr(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return cirr_dataset(tmp_path_factory.mktemp("cirr") / "data")


def test_each_form_is_told_by_its_files(dataset: Dataset, cirr: Dataset) -> None:
    assert (dataset.form, cirr.form) == ("FashionIQ", "CIRR")
    assert (cirr.categories, cirr.splits) == (("rc2",), ("train", "val", "test"))


def test_rows_become_queries(cirr: Dataset) -> None:
    rows = json.loads(cirr.captions_file("rc2", "val").read_text())
    query = cirr.queries("val")[3]
    assert query.id == "rc2-val-00021"
    assert query.reference_id == rows[3]["reference"]
    assert query.captions == (rows[3]["caption"],)
    assert query.target_ids == (rows[3]["target_hard"],)
    assert len(query.alike_ids) == 1, "without the reference and the target"
    assert len(query.subset_ids) == MEMBERS - 1
    assert query.reference_id not in query.subset_ids
    assert cirr.queries("test")[0].target_ids == ()


def test_images_are_found_in_the_folders_of_nlvr2(cirr: Dataset) -> None:
    assert cirr.image_ids() == sorted(cirr.image_files)
    assert cirr.image_path("train-3-0-img0").parent.name == "7"
    with pytest.raises(DatasetError, match=r"no image file for x: expected .*x\.jpg"):
        cirr.image_path("x")


def test_annotations_may_lie_beside_the_images(tmp_path: Path, cirr: Dataset) -> None:
    beside = cirr_dataset(tmp_path / "data", inner="cirr")
    assert beside.form == "CIRR"
    assert beside.queries("val") == cirr.queries("val")
    assert len(beside.image_files) == len(cirr.image_files)


def test_what_is_graded_as_good_is_no_negative(cirr: Dataset) -> None:
    queries, embeddings = cirr.queries("train"), random_embeddings(cirr)
    ids = cirr.gallery("train", "rc2")
    vectors, rules = embeddings.images.take(ids), ExclusionRules(2.0)
    found = find_exclusions(queries, ids, vectors, embeddings, rules)
    for number, query in enumerate(queries):
        named = {query.reference_id, *query.target_ids, *query.alike_ids}
        assert {ids[row] for row in found.of(number)} == named


def test_a_sound_folder_is_complete(cirr: Dataset) -> None:
    found = audit(cirr)
    assert found.complete
    assert (found.form, found.images) == ("CIRR", 180)
    assert [count.outside_subset for count in found.splits] == [0, 0, 0]


def test_audit_names_what_subsets_name_in_vain(tmp_path: Path) -> None:
    made = cirr_dataset(tmp_path / "data", queries=2)
    file = made.captions_file("rc2", "val")
    rows = json.loads(file.read_text())
    rows[0]["img_set"]["members"].append("stranger")
    rows[1]["img_set"]["members"].remove(rows[1]["target_hard"])
    file.write_text(json.dumps(rows))
    found = audit(made, images=False)
    assert found.unknown == {str(file): ("stranger",)}
    assert sum(count.outside_subset for count in found.splits) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"pairid": None}, "row 0: expected an object with a pairid"),
        ({"caption": 3}, "row 0: expected reference and caption as texts"),
        ({"target_hard": 3}, "row 0: expected target_hard as an image id"),
        ({"target_soft": []}, "row 0: expected target_soft as an object"),
        ({"img_set": {}}, "row 0: expected img_set with members"),
        ({"pairid": 7}, "several rows have one pairid"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    made = cirr_dataset(tmp_path / "data", images=8, queries=2)
    file = made.captions_file("rc2", "val")
    rows = json.loads(file.read_text())
    file.write_text(json.dumps([rows[0] | change, rows[1]]))
    with pytest.raises(DatasetError, match=expected):
        made.queries("val")


def test_a_malformed_split_is_named(tmp_path: Path) -> None:
    made = cirr_dataset(tmp_path / "data", images=8, queries=2)
    made.split_file("rc2", "val").write_text("[]")
    with pytest.raises(DatasetError, match="expected an object from image id to path"):
        made.galleries("val")
    made.captions_file("rc2", "test").unlink()
    with pytest.raises(DatasetError, match=r"no split 'test': no captions/cap\.\*\.test1\.json"):
        Dataset(made.root).queries("test")
