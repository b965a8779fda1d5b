"""Encoders that are not open_clip's: what gives vectors by two methods is embedded like any."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import Tensor, nn

from cir.artefacts.store import read_embeddings
from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.encoding.encoder import Encoder
from cir.encoding.foreign import adopted
from cir.encoding.job.dataset_embedding import caption_texts, embed_dataset
from cir.errors import StoreError, UsageError, VectorError
from tests.support.worlds import small_dataset

HOW: dict[str, Any] = {"batch_size": 8, "workers": 0, "on_error": "fail"}
SIZE = 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("foreign") / "dataset"
    return small_dataset(root, categories=("dress",), images=4, queries=3)


class Backbone(nn.Module):
    """A network of timm without its classifier, and a text tower that counts letters."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.trunk = timm.create_model("test_resnet", pretrained=False, num_classes=0).eval()

    @torch.inference_mode()
    def encode_images(self, photos: list[Image.Image]) -> Tensor:
        pixels = torch.stack([torch.from_numpy(np.array(photo)) for photo in photos])
        return self.trunk(pixels.permute(0, 3, 1, 2).float() / 255)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        rows = np.ones((len(texts), self.trunk.num_features))
        rows[:, 0] = [len(text) for text in texts]
        rows[:, 1] = [text.count("é") for text in texts]
        return rows


def test_a_backbone_of_timm_is_embedded_and_added_to(world: Dataset, tmp_path: Path) -> None:
    own = Backbone()
    encoder = adopted(own, name="test_resnet", image_size=SIZE)
    assert isinstance(encoder, Encoder)
    embed_dataset(world, encoder, tmp_path / "e.h5", **HOW)
    found = read_embeddings(tmp_path / "e.h5")
    files = [world.image_path(i) for i in found.images.keys]
    expected = own.encode_images([read_image(file) for file in files]).numpy()
    np.testing.assert_allclose(found.images.vectors, expected, atol=1e-5)
    assert found.captions.keys == tuple(caption_texts(world))
    np.testing.assert_array_equal(found.captions.vectors[:, 0], [*map(len, found.captions.keys)])
    assert (found.provenance.model, found.provenance.pretrained) == ("test_resnet", "custom")
    assert not embed_dataset(world, encoder, tmp_path / "e.h5", **HOW).written
    other = adopted(Backbone(seed=1), name="test_resnet", image_size=SIZE)
    with pytest.raises(StoreError, match="different encoders: weights_sha256"):
        embed_dataset(world, other, tmp_path / "e.h5", **HOW)


def test_texts_reach_the_encoder_as_they_are(world: Dataset) -> None:
    encoder = adopted(Backbone(), name="mine", image_size=SIZE)
    texts = ["", "é", "is größer 🙂", "x" * 300]
    vectors = encoder.encode_texts(encoder.tokenize(texts))
    assert vectors[:, 0].tolist() == [0, 1, 11, 300]
    assert vectors[1, 1] == 1


class PhotosAlone:
    def encode_images(self, photos: list[Image.Image]) -> list[list[float]]:
        return [[1.0, float(np.asarray(photo).mean())] for photo in photos]


def test_an_encoder_without_texts_makes_a_gallery_alone(world: Dataset, tmp_path: Path) -> None:
    encoder = adopted(PhotosAlone(), name="mean", image_size=SIZE, version="1")
    with pytest.raises(UsageError, match="no `encode_texts`, and the dataset has captions"):
        embed_dataset(world, encoder, tmp_path / "e.h5", **HOW)


@pytest.mark.parametrize(
    "other",
    [
        {"image_size": 2 * SIZE},
        {"version": "2"},
        {"version": None},
        {"encoder": Backbone(seed=1)},
        {"encoder": PhotosAlone()},
    ],
)
def test_an_encoder_is_told_by_image_size_version_and_weights(other: dict[str, Any]) -> None:
    plain = {"encoder": Backbone(), "name": "mine", "image_size": SIZE, "version": "1"}
    digests = {
        adopted(**how).provenance.weights_sha256 for how in (plain, dict(plain), plain | other)
    }
    assert len(digests) == 2
    assert {len(digest) for digest in digests} == {64}


@pytest.mark.parametrize(
    ("own", "error", "words"),
    [
        (object(), UsageError, "expected a method `encode_images"),
        (PhotosAlone(), UsageError, "`version` is missing"),
    ],
)
def test_what_cannot_be_adopted_is_one_line(own: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        adopted(own, name="mine", image_size=SIZE)


def test_vectors_of_another_shape_are_refused() -> None:
    class Flat(PhotosAlone):
        def encode_images(self, photos: list[Image.Image]) -> Any:
            return [1.0, 2.0]

    with pytest.raises(VectorError, match=r"gives shape \(2,\); expected \(1, dim\)"):
        adopted(Flat(), name="mine", image_size=SIZE, version="1")


@pytest.mark.slow
def test_clip_in_sentence_transformers_is_embedded(world: Dataset, tmp_path: Path) -> None:
    own = Wrapped(sentence_transformer(tmp_path / "clip"))
    encoder = adopted(own, name="st-clip", image_size=SIZE)
    embed_dataset(world, encoder, tmp_path / "e.h5", **HOW)
    found = read_embeddings(tmp_path / "e.h5")
    photos = [read_image(world.image_path(i)) for i in found.images.keys]
    np.testing.assert_allclose(found.images.vectors, own.encode_images(photos), atol=1e-4)
    texts = own.encode_texts(list(found.captions.keys))
    np.testing.assert_allclose(found.captions.vectors, texts, atol=1e-4)


class Wrapped:
    """The two methods over a SentenceTransformer of CLIP."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def state_dict(self) -> Any:
        return self._model.state_dict()

    def encode_images(self, photos: list[Image.Image]) -> np.ndarray:
        return self._model.encode(photos, show_progress_bar=False)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return self._model.encode(texts, show_progress_bar=False)


def sentence_transformer(folder: Path) -> Any:
    """CLIP of Hugging Face with random weights and letters as tokens, in sentence-transformers."""
    import transformers
    from sentence_transformers import SentenceTransformer

    folder.mkdir()
    letters = [*map(chr, range(33, 127))]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({w: n for n, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=40
    )
    tower = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    end = {"eos_token_id": len(words) - 1, "bos_token_id": len(words) - 2}
    config = transformers.CLIPConfig(
        text_config={**tower, **end, "vocab_size": len(words), "max_position_embeddings": 40},
        vision_config={**tower, "image_size": SIZE, "patch_size": 16},
        projection_dim=12,
    )
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    size = {"height": SIZE, "width": SIZE}
    images = transformers.CLIPImageProcessor(size=size, crop_size=size)
    transformers.CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return SentenceTransformer(str(folder), device="cpu")
