"""A combiner saved and loaded back."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

from cir.artefacts.checkpoint import SCHEMA_VERSION, CheckpointMetadata, save_checkpoint
from cir.artefacts.provenance import Provenance
from cir.errors import CheckpointError, UsageError
from cir.models.combiner import build_combiner
from cir.models.composer import find_checkpoint, load_composer, untrained_composer
from tests.support.galleries import small_photos, stored
from tests.support.micro import micro_encoder
from tests.support.photo_folders import write_photos

METADATA = CheckpointMetadata(
    schema_version=SCHEMA_VERSION,
    cir_version="0.1.0",
    combiner="attention-fusion",
    dim=8,
    hidden=5,
    tune="none",
    epoch=3,
    provenance=Provenance("micro", "random", "0" * 64, "targetpad", 8),
    embeddings_sha256="e" * 64,
    dev={"headline": 12.5},
    config={},
)


def save(folder: Path, module: torch.nn.Module | None = None, **changes: object) -> torch.nn.Module:
    torch.manual_seed(1)
    module = module or build_combiner("attention-fusion", dim=8, hidden=5)
    save_checkpoint(
        folder,
        combiner=module.state_dict(),
        clip=None,
        trainer={},
        metadata=dataclasses.replace(METADATA, **changes),
    )
    return module


@pytest.mark.parametrize("asked", ["run/checkpoints/best", "run"])
def test_a_checkpoint_or_the_best_of_a_run_composes_as_before(tmp_path, asked):
    saved = save(tmp_path / "run/checkpoints/best")
    save(tmp_path / "run/checkpoints/last", epoch=4)
    found = load_composer(tmp_path / asked)
    image, text = torch.randn(2, 4, 8).unbind()
    assert torch.equal(found.combiner(image, text), saved(image, text))
    assert not found.combiner.training
    assert found.checkpoint.metadata.epoch == 3


def test_clip4cir_is_opened_at_the_widths_that_were_recorded(tmp_path):
    saved = build_combiner("clip4cir", dim=8, hidden=6, projection=3).eval()
    save(tmp_path, saved, combiner="clip4cir", hidden=6, projection=3)
    image, text = torch.randn(2, 4, 8).unbind()
    found = load_composer(tmp_path).combiner
    assert torch.equal(found(image, text), saved(image, text))
    assert (found.hidden, found.projection) == (6, 3)


@pytest.mark.parametrize("name", ["clip4cir", "sum"])
def test_a_checkpoint_of_before_projection_was_recorded_opens(tmp_path, name):
    """It named a hidden width of 512, which neither of these combiners had."""
    saved = build_combiner(name, dim=8).eval()
    save(tmp_path, saved, combiner=name, hidden=512)
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    for name in ("projection", "files", "checksum"):
        del metadata[name]
    metadata["schema_version"] = 1
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    image, text = torch.randn(2, 4, 8).unbind()
    assert torch.equal(load_composer(tmp_path).combiner(image, text), saved(image, text))


@pytest.mark.parametrize("changes", [{"dim": 9}, {"hidden": 6}, {"combiner": "clip4cir"}])
def test_weights_of_another_combiner_are_one_line(tmp_path, changes):
    save(tmp_path / "best", **changes)
    with pytest.raises(CheckpointError, match="weights that do not fit its") as refused:
        load_composer(tmp_path / "best")
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=f"no checkpoint at {tmp_path}"):
        load_composer(tmp_path)


@pytest.mark.parametrize("name", ["reference", "text", "sum", "weighted-sum"])
def test_an_untrained_composer_is_called_by_its_name(name):
    composer = untrained_composer(name)
    assert composer.checkpoint is None
    assert str(composer) == name
    assert not composer.combiner.training


def test_an_untrained_composer_needs_a_known_name():
    with pytest.raises(UsageError, match="expected one of reference, text, sum"):
        untrained_composer("combiner")


def test_a_trained_composer_says_where_it_comes_from(tmp_path):
    save(tmp_path / "best")
    assert str(load_composer(tmp_path / "best")) == f"{tmp_path / 'best'} (epoch 3)"


def test_what_is_searched_is_no_run(tmp_path: Path) -> None:
    dataset = small_photos(tmp_path / "shop")
    store = stored(dataset, micro_encoder(), tmp_path / "shop.h5")
    photos = write_photos(tmp_path / "photos", ["shoes/1.png"])
    for path, what in (
        (store, "an embedding store"),
        (dataset.root, "a dataset folder"),
        (photos, "a folder of photos"),
    ):
        said = f"{path} is {what}, not a run: cir.index searches it"
        with pytest.raises(CheckpointError, match=re.escape(said)):
            find_checkpoint(path)
