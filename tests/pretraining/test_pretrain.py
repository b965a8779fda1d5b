"""How cir-tiny is trained, and the command from end to end."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cir.config import PretrainConfig
from cir.encoding.clip import bundled
from cir.encoding.weights.colours import OPENAI_COLOURS
from cir.encoding.weights.files import read_weights
from cir.errors import CirError, DatasetError, UsageError
from cir.pretraining.corpus import Corpus
from cir.pretraining.pretrain import PretrainingSchedule, pretrain, save_half
from cir.sources.annotations import read_records
from pipeline.pretrain import run
from tests.support.micro import micro_encoder
from tests.support.pretraining import random_photos, random_records
from tests.support.worlds import small_dataset

SHORT = PretrainingSchedule(epochs=2, batch_size=8, learning_rate=1e-3, weight_decay=0.1, seed=0)


@pytest.mark.slow
def test_training_lowers_the_loss_and_repeats_by_its_seed() -> None:
    corpus, images = Corpus(random_records(24)), random_photos(24)
    losses = []
    for _ in range(2):
        encoder = micro_encoder()
        torch.manual_seed(0)
        schedule = PretrainingSchedule(
            epochs=6, batch_size=8, learning_rate=5e-3, weight_decay=0.1, seed=0
        )
        losses.append([e.loss for e in pretrain(encoder, corpus, images, schedule, OPENAI_COLOURS)])
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


def test_the_encoder_is_ready_to_use_after_every_epoch() -> None:
    encoder = micro_encoder()
    seen = [
        (epoch.number, encoder.clip.training)
        for epoch in pretrain(
            encoder, Corpus(random_records(9)), random_photos(9), SHORT, OPENAI_COLOURS
        )
    ]
    assert seen == [(1, False), (2, False)]


def test_titles_alone_are_trained_on() -> None:
    records = [replace(record, attributes={}) for record in random_records(9)]
    epochs = pretrain(micro_encoder(), Corpus(records), random_photos(9), SHORT, OPENAI_COLOURS)
    assert [epoch.number for epoch in epochs] == [1, 2]


def test_fewer_images_than_a_batch_are_refused() -> None:
    with pytest.raises(CirError, match="expected `batch_size` up to 3, found 8"):
        next(
            pretrain(
                micro_encoder(), Corpus(random_records(3)), random_photos(3), SHORT, OPENAI_COLOURS
            )
        )


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    encoder = micro_encoder()
    with torch.no_grad():
        encoder.clip.logit_scale.fill_(float("nan"))  # type: ignore[operator]
    with pytest.raises(CirError, match="the loss of epoch 1 is nan: lower `learning_rate`"):
        next(pretrain(encoder, Corpus(random_records(9)), random_photos(9), SHORT, OPENAI_COLOURS))


def test_saved_weights_are_the_encoder_s_in_16_bits(tmp_path: Path) -> None:
    encoder = micro_encoder(seed=5)
    save_half(encoder, tmp_path / "w.safetensors")
    read = read_weights(tmp_path / "w.safetensors").state
    for name, value in encoder.clip.state_dict().items():
        torch.testing.assert_close(read[name], value, rtol=1e-3, atol=1e-6)
    largest = 2.2 * sum(v.numel() for v in read.values())
    assert (tmp_path / "w.safetensors").stat().st_size < largest + 20_000


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset with records, and a cir-tiny that trains in milliseconds."""
    dataset = small_dataset(tmp_path / "catalog", images=8, queries=1)
    rows = {}
    for split in dataset.splits:
        for category, ids in dataset.galleries(split).items():
            for row, record in zip(ids, random_records(len(ids)), strict=True):
                rows[row] = vars(record) | {"split": split, "category": category}
    (tmp_path / "catalog" / "catalog.json").write_text(json.dumps({"photos": rows}))
    assets = tmp_path / "assets"
    assets.mkdir()
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 4, "head_width": 16},
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 8,
            "heads": 2,
            "layers": 1,
        },
    }
    (assets / "cir-tiny.json").write_text(json.dumps(config))
    monkeypatch.setattr(bundled, "ASSETS", assets)
    return tmp_path


@pytest.mark.slow
def test_the_command_writes_one_file_and_says_its_recall(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = world / "made" / "tiny.pt"
    config = PretrainConfig(
        catalog=world / "catalog", out=out, epochs=2, batch_size=8, device="cpu", workers=1
    )
    assert run(config) == out
    assert [file.name for file in out.parent.iterdir()] == ["tiny.pt"]
    told = capsys.readouterr().out
    assert "16 training photos" in told
    assert "epoch 2: loss" in told
    assert "gallery 32" in told
    assert "R@10" in told
    with pytest.raises(UsageError, match="exists: pass `overwrite=True`"):
        run(config)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"split": "train"}, {"title": ""}])
def test_without_held_out_titles_the_weights_are_written_and_not_measured(
    world: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str]
) -> None:
    file, out = world / "catalog" / "catalog.json", world / "tiny.pt"
    rows = json.loads(file.read_text())["photos"]
    held_out = {photo: row | change for photo, row in rows.items() if row["split"] != "train"}
    file.write_text(json.dumps({"photos": rows | held_out}))
    how: dict[str, Any] = {"epochs": 1, "batch_size": 8, "device": "cpu", "workers": 1}
    assert run(PretrainConfig(catalog=world / "catalog", out=out, **how)) == out
    told = " ".join(capsys.readouterr().out.split())
    assert "holds out no photo with a title (val or test)" in told
    assert "R@10" not in told
    assert read_weights(out).state


def test_epochs_are_by_default_those_of_the_default_weights() -> None:
    assert f"bundled-{PretrainConfig.epochs}" == bundled.BUNDLED


def test_a_held_out_photo_that_is_missing_is_told_before_training(world: Path) -> None:
    file = world / "catalog" / "catalog.json"
    rows = json.loads(file.read_text())["photos"]
    rows["gone"] = next(row for row in rows.values() if row["split"] == "val")
    file.write_text(json.dumps({"photos": rows}))
    out = world / "tiny.safetensors"
    with pytest.raises(CirError, match="gone"):
        run(PretrainConfig(catalog=world / "catalog", out=out, device="cpu", workers=1))
    assert not out.exists()


def test_only_training_photos_are_seen(world: Path) -> None:
    records = read_records(world / "catalog", ("train",))
    assert len(records) == 16
    assert {record.split for record in records.values()} == {"train"}


def test_a_dataset_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"neither catalog\.json nor synthetic\.json"):
        read_records(tmp_path, ("train",))


def test_a_gallery_of_photos_that_nothing_is_known_of_is_refused(world: Path) -> None:
    file = world / "catalog" / "catalog.json"
    rows = json.loads(file.read_text())["photos"]
    bare = {photo: row | {"title": "", "attributes": {}} for photo, row in rows.items()}
    file.write_text(json.dumps({"photos": bare}))
    out = world / "tiny.safetensors"
    with pytest.raises(DatasetError, match="knows neither titles nor attributes of its photos"):
        run(PretrainConfig(catalog=world / "catalog", out=out, device="cpu", workers=1))
    assert not out.exists()


@pytest.mark.parametrize("held", [{}, {"photos": []}, {"photos": {"a": {"title": "x"}}}])
def test_damaged_records_are_refused(tmp_path: Path, held: object) -> None:
    (tmp_path / "catalog.json").write_text(json.dumps(held))
    with pytest.raises(DatasetError, match=r"catalog\.json is damaged"):
        read_records(tmp_path, ("train",))
