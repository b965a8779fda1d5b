"""Texts and ids that no stage takes, refused in the same words wherever they are read."""

import json
from pathlib import Path
from typing import Any

import pytest

from cir.data.audit import audit
from cir.data.dataset import Dataset
from cir.errors import DatasetError
from tests.support.worlds import small_dataset

GOOD = {"candidate": "dtr000", "target": "dtr001", "captions": ["is red", "is longer"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Four photos a split; each test writes the rows of train anew."""
    folder = tmp_path_factory.mktemp("sound")
    return small_dataset(folder / "d", categories=("dress",), images=4, queries=1)


def write(dataset: Dataset, **changed: Any) -> Path:
    """A good row and one with some values changed."""
    file = dataset.captions_file("dress", "train")
    file.write_text(json.dumps([GOOD, GOOD | changed]))
    return file


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"captions": ["is red\0"]}, r"the caption 'is red\\x00' holds a NUL character"),
        ({"captions": ["\ud83d red"]}, "holds half of a surrogate pair"),
        ({"candidate": "a\0"}, r"the id 'a\\x00' holds a NUL character"),
        ({"target": "\udc80"}, "the id .* holds half of a surrogate pair"),
        ({"candidate": "x/dtr000"}, "the id 'x/dtr000' holds a slash: write 'dtr000'"),
        ({"target": ""}, "an id is empty"),
        ({"target": "dtr000"}, "the target is the reference, 'dtr000'"),
        ({"targets": ["dtr000"]}, "the target is the reference, 'dtr000'"),
        ({"targets": None}, "`targets` is null; expected a list of target ids"),
        ({"targets": "dtr002"}, "`targets` is 'dtr002'; expected a list of target ids"),
    ],
)
def test_a_faulty_row_is_named_by_check_and_by_stages_alike(
    world: Dataset, changed: dict[str, Any], said: str
) -> None:
    file = write(world, **changed)
    with pytest.raises(DatasetError, match=said) as by_stage:
        world.queries("train")
    assert str(by_stage.value).startswith(f"{file}, row 1: ")
    with pytest.raises(DatasetError) as by_check:
        audit(world, images=False)
    assert str(by_check.value) == str(by_stage.value)
    with pytest.raises(DatasetError) as beforehand:
        world.require_sound()
    assert str(beforehand.value) == str(by_stage.value)


def test_faults_beyond_the_first_are_counted(world: Dataset) -> None:
    write(world, candidate="x/1", captions=["\0", "\0"])
    with pytest.raises(DatasetError, match=r"holds a slash.*\(and 2 more such faults\)"):
        world.queries("train")


def test_a_target_outside_its_split_is_named_by_check_and_by_stages_alike(world: Dataset) -> None:
    file = write(world, target="elsewhere")
    with pytest.raises(DatasetError, match=r"names 1 ids that its image split lacks: elsewhere"):
        world.queries("train")
    assert audit(world, images=False).unknown == {str(file): ("elsewhere",)}


@pytest.mark.parametrize("image_id", ["a\0", "x/1", "\ud800", ""])
def test_a_split_names_only_ids(world: Dataset, image_id: str) -> None:
    file = world.split_file("dress", "test")
    before = file.read_text()
    file.write_text(json.dumps([image_id]))
    with pytest.raises(DatasetError, match=r"split\.dress\.test\.json: (the|an) id"):
        world.image_ids()
    file.write_text(before)


@pytest.mark.parametrize("text", ["[" * 100_000, "[" + "9" * 5_000 + "]", '["\x1b[31m', "\ufeff[]"])
def test_json_of_any_kind_is_one_line(world: Dataset, text: str) -> None:
    file = world.captions_file("dress", "train")
    file.write_text(text)
    with pytest.raises(DatasetError, match=r"cap\.dress\.train\.json is not readable JSON") as said:
        world.queries("train")
    assert "\n" not in str(said.value)
