"""How cir-tiny is trained: its texts, its losses, its images, and the command from end to end."""

import json
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cir.config import PretrainConfig
from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.encoding import encoder as encoder_module
from cir.encoding.preprocess import build_preprocess, normalise
from cir.encoding.published import OPENAI_COLOURS
from cir.encoding.weights import read_weights
from cir.errors import CirError, DatasetError, ImageError, UsageError
from cir.pretraining.contrast import (
    FacetClassifier,
    Schedule,
    augmented,
    contrastive_loss,
    pretrain,
    read_squares,
    save_half,
)
from cir.pretraining.corpus import UNSTATED, Corpus, read_records
from cir.pretraining.title_recall import title_recall
from cir.sources.annotations import PhotoRecord
from pipeline.pretrain import run
from tests.support.micro import micro_encoder
from tests.support.worlds import small_dataset

COLOURS = ("red", "navy blue", "green")
SHORT = Schedule(epochs=2, batch_size=8, learning_rate=1e-3, weight_decay=0.1, seed=0)


def _records(count: int, seed: int = 0) -> list[PhotoRecord]:
    rng = np.random.default_rng(seed)
    records = []
    for number in range(count):
        attributes = {
            "colour": str(rng.choice(COLOURS)),
            "gender": str(rng.choice(["men", "women"])),
        }
        if rng.random() < 0.5:
            attributes["pattern"] = str(rng.choice(["striped", "checked"]))
        records.append(PhotoRecord("topwear", "train", f"Brand Shirt {number}", attributes))
    return records


def _images(count: int, size: int = 32) -> Tensor:
    return torch.randint(
        0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator()
    )


# ------------------------------------------------------------------------------------- texts


def test_codes_number_the_values_of_each_facet() -> None:
    corpus = Corpus(
        [
            PhotoRecord("a", "train", "t", {"colour": "red"}),
            PhotoRecord("a", "train", "t", {"colour": "blue", "gender": "men"}),
        ]
    )
    assert corpus.facets == ("colour", "gender")
    assert corpus.values == (("blue", "red"), ("men",))
    assert corpus.codes.tolist() == [[1, UNSTATED], [0, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_a_text_fits_the_photos_that_share_what_it_states(seed: int) -> None:
    """Positives against sets of photos that agree with the text's own in some of its facets."""
    records = _records(40, seed)
    pairs = Corpus(records).draw(np.arange(40), np.random.default_rng(seed))
    for own, text, fits in zip(records, pairs.texts, pairs.positives.tolist(), strict=True):
        facets = [] if text == own.title else list(own.attributes)
        some = chain.from_iterable(combinations(facets, n) for n in range(1, len(facets) + 1))
        allowed = [
            [all(other.attributes.get(f) == own.attributes[f] for f in chosen) for other in records]
            for chosen in some
        ]
        assert fits in (allowed or [[other is own for other in records]])


@pytest.mark.parametrize("seed", range(5))
def test_a_text_that_names_the_gender_alone_fits_that_gender(seed: int) -> None:
    records = [PhotoRecord("a", "train", str(n), {"gender": g}) for n, g in enumerate("mwmwm" * 4)]
    pairs = Corpus(records).draw(np.arange(20), np.random.default_rng(seed))
    for own, text, fits in zip(records, pairs.texts, pairs.positives.tolist(), strict=True):
        same = [other.attributes == own.attributes for other in records]
        assert fits == ([other is own for other in records] if text == own.title else same)


def test_texts_are_titles_and_sentences_of_attributes() -> None:
    corpus = Corpus(_records(200))
    texts = corpus.draw(np.arange(200), np.random.default_rng(0)).texts
    titles = sum(text.startswith("Brand") for text in texts)
    assert 40 < titles < 100
    assert any("navy blue instead of" in text or "not navy blue" in text for text in texts)


def test_the_same_generator_draws_the_same_texts() -> None:
    corpus, rows = Corpus(_records(30)), np.arange(30)
    one, other = (corpus.draw(rows, np.random.default_rng(4)) for _ in range(2))
    assert one.texts == other.texts
    assert torch.equal(one.positives, other.positives)
    assert one.texts != corpus.draw(rows, np.random.default_rng(5)).texts


def test_a_photo_without_attributes_is_named_by_its_title() -> None:
    corpus = Corpus([PhotoRecord("a", "train", "a title", {}), *_records(3)])
    assert corpus.draw(np.array([0]), np.random.default_rng(0)).texts == ("a title",)


# ------------------------------------------------------------------------------------ losses


def test_the_contrastive_loss_agrees_with_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(5, 7, generator=rng) for _ in range(2))
    positives = torch.eye(5, dtype=torch.bool)
    positives[0, 3] = positives[2, 4] = True
    total = 0.0
    cosines = torch.nn.functional.cosine_similarity(texts[:, None], images[None], dim=-1) * 9.0
    for table, fits in ((cosines, positives), (cosines.T, positives.T)):
        for row, of_row in zip(table, fits, strict=True):
            chances = row.exp() / row.exp().sum()
            total += float(-chances[of_row].log().mean()) / 5
    found = contrastive_loss(images, texts, positives, torch.tensor(9.0))
    assert float(found) == pytest.approx(total / 2, rel=1e-5)


def test_a_positive_beside_the_diagonal_is_not_pushed_away() -> None:
    same = torch.nn.functional.one_hot(torch.tensor([0, 0, 1]), 4).float()
    alone, together = torch.eye(3, dtype=torch.bool), torch.eye(3, dtype=torch.bool)
    together[0, 1] = together[1, 0] = True
    scale = torch.tensor(50.0)
    assert (
        contrastive_loss(same, same, together, scale)
        < contrastive_loss(same, same, alone, scale) + 1e-3
    )
    images = same.clone().requires_grad_()
    contrastive_loss(images, same, together, scale).backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    assert images.grad.abs().max() < 1e-3


def test_unstated_facets_teach_nothing() -> None:
    torch.manual_seed(0)
    classifier, images = FacetClassifier(6, [3, 2]), torch.randn(4, 6)
    codes = torch.full((4, 2), UNSTATED)
    assert classifier(images, codes).item() == 0
    codes[1, 0] = 2
    assert classifier(images, codes).item() > 0


# ------------------------------------------------------------------------------------ images


def test_augmentation_keeps_shape_range_and_hue() -> None:
    red = torch.zeros(6, 3, 16, 16, dtype=torch.uint8)
    red[:, 0] = 200
    found = augmented(red, torch.Generator().manual_seed(0))
    assert found.shape == red.shape
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert not found[:, 1:].any()


def test_augmentation_repeats_by_its_generator() -> None:
    images = _images(4, 16)
    one, other = (augmented(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, augmented(images, torch.Generator().manual_seed(4)))


def test_squares_are_what_the_encoder_will_see(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path / "d", images=2, queries=1, size=40)
    files = sorted(dataset.image_files.values())[:3]
    squares = read_squares(files, 32, workers=1)
    assert squares.dtype == torch.uint8
    transform = build_preprocess("targetpad", 32, OPENAI_COLOURS.mean, OPENAI_COLOURS.std)
    for file, square in zip(files, squares, strict=True):
        seen = normalise(square.float() / 255, OPENAI_COLOURS.mean, OPENAI_COLOURS.std)
        torch.testing.assert_close(seen, transform(read_image(file)))


def test_a_broken_photo_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no photo")
    with pytest.raises(ImageError, match=r"x\.jpg"):
        read_squares([tmp_path / "x.jpg"], 16, workers=1)


# ---------------------------------------------------------------------------------- training


def test_training_lowers_the_loss_and_repeats_by_its_seed() -> None:
    corpus, images = Corpus(_records(24)), _images(24)
    losses = []
    for _ in range(2):
        encoder = micro_encoder()
        torch.manual_seed(0)
        schedule = Schedule(epochs=6, batch_size=8, learning_rate=5e-3, weight_decay=0.1, seed=0)
        losses.append([e.loss for e in pretrain(encoder, corpus, images, schedule, OPENAI_COLOURS)])
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


def test_the_encoder_is_ready_to_use_after_every_epoch() -> None:
    encoder = micro_encoder()
    seen = [
        (epoch.number, encoder.clip.training)
        for epoch in pretrain(encoder, Corpus(_records(9)), _images(9), SHORT, OPENAI_COLOURS)
    ]
    assert seen == [(1, False), (2, False)]


def test_fewer_images_than_a_batch_are_refused() -> None:
    with pytest.raises(CirError, match="expected --batch-size up to 3, found 8"):
        next(pretrain(micro_encoder(), Corpus(_records(3)), _images(3), SHORT, OPENAI_COLOURS))


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    encoder = micro_encoder()
    with torch.no_grad():
        encoder.clip.logit_scale.fill_(float("nan"))  # type: ignore[operator]
    with pytest.raises(CirError, match="the loss of epoch 1 is nan: lower --learning-rate"):
        next(pretrain(encoder, Corpus(_records(9)), _images(9), SHORT, OPENAI_COLOURS))


def test_saved_weights_are_the_encoder_s_in_16_bits(tmp_path: Path) -> None:
    encoder = micro_encoder(seed=5)
    save_half(encoder, tmp_path / "w.safetensors")
    read = read_weights(tmp_path / "w.safetensors").state
    for name, value in encoder.clip.state_dict().items():
        torch.testing.assert_close(read[name], value, rtol=1e-3, atol=1e-6)
    largest = 2.2 * sum(v.numel() for v in read.values())
    assert (tmp_path / "w.safetensors").stat().st_size < largest + 20_000


# ----------------------------------------------------------------------------------- measure


def test_title_recall_counts_a_photo_s_own_title(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted vectors: three of four titles lie on their photo, the last on the first one."""
    files, titles = [Path(f"{n}.jpg") for n in range(60)], [f"t{n}" for n in range(60)]
    photos = np.eye(60, dtype=np.float32)
    texts = photos.copy()
    texts[59] = photos[0] + 0.5 * photos[59]
    monkeypatch.setattr("cir.pretraining.title_recall.image_vectors", lambda *_, **__: photos)
    monkeypatch.setattr("cir.pretraining.title_recall.caption_vectors", lambda *_, **__: texts)
    found = title_recall(micro_encoder(), files, titles, workers=0)
    assert found.gallery == 60
    assert found.recall[1] == pytest.approx(100 * 59 / 60)
    assert found.recall[5] == 100
    assert found.chance[10] == pytest.approx(100 * 10 / 60)


# ----------------------------------------------------------------------------------- command


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset with records, and a cir-tiny that trains in milliseconds."""
    dataset = small_dataset(tmp_path / "catalog", images=8, queries=1)
    rows = {}
    for split in dataset.splits:
        for category, ids in dataset.galleries(split).items():
            for row, record in zip(ids, _records(len(ids)), strict=True):
                rows[row] = vars(record) | {"split": split, "category": category}
    (tmp_path / "catalog" / "catalog.json").write_text(json.dumps({"photos": rows}))
    assets = tmp_path / "assets"
    assets.mkdir()
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 4},
        "text_cfg": {"context_length": 16, "width": 8, "heads": 2, "layers": 1},
    }
    (assets / "cir-tiny.json").write_text(json.dumps(config))
    monkeypatch.setattr(encoder_module, "ASSETS", assets)
    return tmp_path


def test_the_command_writes_one_file_and_says_its_recall(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = world / "made" / "tiny.safetensors"
    config = PretrainConfig(
        catalog=world / "catalog", out=out, epochs=2, batch_size=8, device="cpu", workers=1
    )
    assert run(config) == out
    assert [file.name for file in out.parent.iterdir()] == ["tiny.safetensors"]
    told = capsys.readouterr().out
    assert "16 training photos" in told
    assert "epoch 2: loss" in told
    assert "gallery 32" in told
    assert "R@10" in told
    with pytest.raises(UsageError, match="exists: pass `overwrite=True`"):
        run(config)


def test_only_training_photos_are_seen(world: Path) -> None:
    records = read_records(world / "catalog", ("train",))
    assert len(records) == 16
    assert {record.split for record in records.values()} == {"train"}


def test_a_dataset_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"neither catalog\.json nor synthetic\.json"):
        read_records(tmp_path, ("train",))


@pytest.mark.parametrize("held", [{}, {"photos": []}, {"photos": {"a": {"title": "x"}}}])
def test_damaged_records_are_refused(tmp_path: Path, held: object) -> None:
    (tmp_path / "catalog.json").write_text(json.dumps(held))
    with pytest.raises(DatasetError, match=r"catalog\.json is damaged"):
        read_records(tmp_path, ("train",))
