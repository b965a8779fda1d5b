"""Checkpoints: weights bit for bit, replaced whole, and a bad folder ends in one line."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from cir.artefacts import checkpoint
from cir.artefacts.checkpoint import (
    CheckpointMetadata,
    read_checkpoint,
    read_trainer,
    save_checkpoint,
)
from cir.artefacts.provenance import Provenance
from cir.disk.hidden import retired_of
from cir.disk.recognition import MARKER
from cir.errors import CheckpointError, CirError

METADATA = CheckpointMetadata(
    schema_version=2,
    cir_version="0.1.0",
    combiner="attention-fusion",
    dim=8,
    hidden=4,
    tune="none",
    epoch=2,
    provenance=Provenance("RN50x4", "openai", "ab" * 32, "targetpad", 640),
    embeddings_sha256="e" * 64,
    dev={"R@10": 12.5, "headline": 20.25},
    config={"epochs": 3, "out": "runs/x", "weights": None},
)


def tensors(seed: int) -> dict[str, torch.Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 8, generator=drawn)
    return {
        "weight": weight,
        "transposed": weight.T,
        "half": weight.half(),
        "logit_scale": torch.tensor(4.6),
        "count": torch.tensor(7),
    }


def saved(folder: Path, seed: int = 0, **changed: Any) -> Path:
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    values: dict[str, Any] = {
        "combiner": tensors(seed),
        "clip": None,
        "trainer": {"optimiser": optimiser.state_dict(), "epoch": 2, "rng": torch.get_rng_state()},
        "metadata": METADATA,
    }
    save_checkpoint(folder, **values | changed)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "checkpoints" / "last")


def same(mine: dict[str, torch.Tensor], its: dict[str, torch.Tensor]) -> bool:
    return mine.keys() == its.keys() and all(
        mine[k].dtype == its[k].dtype and torch.equal(mine[k], its[k]) for k in mine
    )


def test_what_is_saved_is_read_back(folder: Path) -> None:
    found = read_checkpoint(folder)
    assert same(found.combiner, tensors(0))
    assert found.clip is None
    assert found.metadata == METADATA
    assert found.folder == folder


@pytest.mark.parametrize("clip", [None, tensors(1)], ids=["combiner", "with clip"])
def test_what_is_written_is_identified_as_what_is_read(tmp_path: Path, clip: Any) -> None:
    metadata = dataclasses.replace(METADATA, tune="none" if clip is None else "text")
    trainer: dict[str, Any] = {"epoch": 2}
    written = save_checkpoint(
        tmp_path / "last", combiner=tensors(0), clip=clip, trainer=trainer, metadata=metadata
    )
    assert written == read_checkpoint(tmp_path / "last").sha256


def test_the_folder_holds_these_files(folder: Path, tmp_path: Path) -> None:
    both = saved(
        tmp_path / "both", clip=tensors(1), metadata=dataclasses.replace(METADATA, tune="text")
    )
    plain = {MARKER, "combiner.safetensors", "trainer.pt", "metadata.json"}
    assert {file.name for file in folder.iterdir()} == plain
    assert {file.name for file in both.iterdir()} == plain | {"clip.safetensors"}
    clip = read_checkpoint(both).clip
    assert clip is not None
    assert same(clip, tensors(1))


def test_a_combiner_without_weights(tmp_path: Path) -> None:
    assert read_checkpoint(saved(tmp_path / "sum", combiner={})).combiner == {}


def test_the_trainer_state_is_read_without_code(folder: Path) -> None:
    found = read_trainer(folder)
    assert found["epoch"] == 2
    assert torch.equal(found["rng"], torch.get_rng_state())
    assert found["optimiser"]["param_groups"][0]["lr"] == 0.001
    assert found["optimiser"]["state"][0]["exp_avg"].shape == (2, 3)


def test_the_id_is_the_weights_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    first = read_checkpoint(folder).sha256
    later = dataclasses.replace(METADATA, epoch=3)
    again = read_checkpoint(saved(tmp_path / "again", metadata=later, trainer={}))
    other = read_checkpoint(saved(tmp_path / "other", seed=1))
    tuned = read_checkpoint(saved(tmp_path / "tuned", clip=tensors(0)))
    assert again.sha256 == first
    assert len({first, other.sha256, tuned.sha256}) == 3


def test_saving_again_replaces_all_of_it(folder: Path) -> None:
    saved(folder, clip=tensors(1))
    saved(folder, seed=2)
    assert not (folder / "clip.safetensors").exists()
    assert same(read_checkpoint(folder).combiner, tensors(2))
    assert [file.name for file in folder.parent.iterdir()] == ["last"]


@pytest.mark.slow
def test_a_kill_between_the_two_renames_loses_nothing(folder: Path) -> None:
    folder.rename(retired_of(folder))
    assert same(read_checkpoint(folder).combiner, tensors(0))
    folder.rename(retired_of(folder))
    assert read_trainer(folder)["epoch"] == 2


@pytest.mark.parametrize("failing", ["combiner.safetensors", "trainer.pt", "metadata.json"])
def test_a_full_disk_leaves_the_old_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    write_bytes, write_text = Path.write_bytes, Path.write_text

    def full(path: Path, content: Any, **kwargs: Any) -> int:
        if failing.split(".")[0] in path.name:
            raise OSError(28, "No space left on device")
        write = write_text if isinstance(content, str) else write_bytes
        return write(path, content, **kwargs)

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CirError, match=r"cannot write .*No space left") as caught:
        saved(folder, seed=1)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert same(read_checkpoint(folder).combiner, tensors(0))
    assert [file.name for file in folder.parent.iterdir()] == ["last"]


def as_older(folder: Path, **changed: Any) -> None:
    """Makes a checkpoint one of a cir without checksums, with metadata changed or, None, gone."""
    path = folder / "metadata.json"
    values = json.loads(path.read_text())
    values |= {"schema_version": 1, "files": None, "checksum": None, **changed}
    absent = [name for name in ("files", "checksum", *changed) if values[name] is None]
    path.write_text(json.dumps({k: v for k, v in values.items() if k not in absent}))


def test_a_checkpoint_of_a_cir_without_checksums_is_read(folder: Path) -> None:
    before = read_checkpoint(folder)
    as_older(folder)
    assert read_checkpoint(folder).sha256 == before.sha256
    assert read_trainer(folder)["epoch"] == 2


@pytest.mark.parametrize("name", ["combiner.safetensors", "trainer.pt", "metadata.json"])
def test_every_flipped_byte_is_refused(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    for at in range(0, len(whole), 1 + len(whole) // 60):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        (folder / name).write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            read_trainer(folder) if name == "trainer.pt" else read_checkpoint(folder)
        assert "\n" not in str(caught.value)


def test_a_checkpoint_that_is_replaced_meanwhile_is_read_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of another one stand there when those of the metadata are asked for."""
    genuine = checkpoint._read_file
    replaced = []

    def read(*asked: Any) -> bytes:
        if not replaced:
            replaced.append(saved(folder, seed=5))
        return genuine(*asked)

    monkeypatch.setattr(checkpoint, "_read_file", read)
    found = read_checkpoint(folder)
    assert same(found.combiner, tensors(5))
    assert found.sha256 == read_checkpoint(folder).sha256


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def garble(path: Path) -> None:
    path.write_bytes(b"\xff" * 300)


@pytest.mark.parametrize("name", ["combiner.safetensors", "clip.safetensors", "metadata.json"])
@pytest.mark.parametrize("harm", [truncate, garble, Path.unlink])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, name: str, harm: Any) -> None:
    tuned = dataclasses.replace(METADATA, tune="both")
    folder = saved(tmp_path / "best", clip=tensors(1), metadata=tuned)
    harm(folder / name)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(folder)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("harm", [truncate, garble, Path.unlink, lambda p: p.write_bytes(b"")])
def test_a_damaged_trainer_state_is_one_line(folder: Path, harm: Any) -> None:
    harm(folder / "trainer.pt")
    with pytest.raises(CheckpointError) as caught:
        read_trainer(folder)
    assert "trainer.pt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trainer_state_with_code_in_it_is_refused(folder: Path) -> None:
    as_older(folder)
    torch.save({"hook": Path}, folder / "trainer.pt")
    with pytest.raises(CheckpointError, match=r"trainer\.pt is damaged") as caught:
        read_trainer(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 9}, "schema version 9, expected 2"),
        ({"provenance": {"model": "x"}}, "lacks or misnames"),
        ({"provenance": None}, "lacks or misnames"),
    ],
)
def test_other_metadata_is_refused(folder: Path, change: dict[str, Any], words: str) -> None:
    as_older(folder, **change)
    with pytest.raises(CheckpointError, match=words):
        read_checkpoint(folder)


def test_metadata_without_a_field_names_it(folder: Path) -> None:
    as_older(folder, hidden=None)
    with pytest.raises(CheckpointError, match="hidden"):
        read_checkpoint(folder)


def test_a_missing_checkpoint_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*metadata\.json"):
        read_checkpoint(tmp_path / "best")


def test_other_tools_read_the_weights(folder: Path) -> None:
    assert same(safetensors.torch.load_file(folder / "combiner.safetensors"), tensors(0))
