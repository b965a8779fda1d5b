"""GradCache against the direct gradient, and what it keeps in memory."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from cir.data import image_batches
from cir.data.dataset import Dataset
from cir.data.images import read_image
from cir.encoding.encoder import Encoder
from cir.errors import ImageError
from cir.training.features import Features, FrozenTower, ImageTower, TextTower, Tower
from tests.support.activations import Activations
from tests.support.micro import micro_encoder

IMAGES = 37
ROWS = np.arange(60) * 7 % IMAGES
"""Every image, some twice, in no order."""
TEXTS = [f"is {number} shades darker" for number in range(IMAGES)]


@pytest.fixture(params=["resnet", "vit"])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    """Moved from where a fresh encoder is: there a ResNet's blocks add nothing."""
    made = micro_encoder(tower=request.param)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.clip.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


def tower_of(kind: str, encoder: Encoder, dataset: Dataset, encode_batch: int | None) -> Tower:
    if kind == "text":
        return TextTower(encoder, TEXTS, encode_batch)
    files = [dataset.image_path(image_id) for image_id in dataset.image_ids()[:IMAGES]]
    return ImageTower(encoder, files, 0, encode_batch)


def test_what_workers_send_gives_the_bits_of_normalised_photos(dataset: Dataset) -> None:
    encoder = micro_encoder()
    files = [dataset.image_path(image_id) for image_id in dataset.image_ids()[:IMAGES]]
    least = 2 * encoder.image_size
    photos = [encoder.preprocess(read_image(file, least=least)) for file in files]
    expected = encoder.encode_images(torch.stack(photos))
    found = only_step(tower_of("image", encoder, dataset, None), np.arange(IMAGES))
    assert torch.equal(found(np.arange(IMAGES)), expected)


def only_step(tower: Tower, rows: np.ndarray = ROWS) -> Features:
    (features,) = tower.steps([rows])
    return features


def contrast(vectors: Float[Tensor, "rows dim"]) -> Float[Tensor, ""]:
    """A loss in which every row's gradient depends on all of them."""
    unit = functional.normalize(vectors, dim=-1)
    half = len(unit) // 2
    logits = unit[:half] @ unit[half:].T / 0.05
    return functional.cross_entropy(logits, torch.arange(half))


def gradients(encoder: Encoder, features: Features, scale: float = 1.0) -> dict[str, Tensor]:
    """Of every parameter that has one, after both ways back."""
    encoder.clip.zero_grad()
    (scale * contrast(features(ROWS))).backward()
    features.backward()
    named = encoder.clip.named_parameters()
    return {name: p.grad / scale for name, p in named if p.grad is not None}


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor], bound: float) -> None:
    """No gradient differs by more than `bound` of the longest of them, and none is missing."""
    assert found.keys() == expected.keys()
    longest = max(gradient.norm() for gradient in expected.values())
    assert longest > 1e-3
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= bound * longest, name


@pytest.mark.slow
@pytest.mark.parametrize("encode_batch", [1, 8, 36])
@pytest.mark.parametrize("kind", ["image", "text"])
def test_the_cached_gradient_is_the_direct_one(
    dataset: Dataset, encoder: Encoder, kind: str, encode_batch: int
) -> None:
    direct = gradients(encoder, only_step(tower_of(kind, encoder, dataset, None)))
    features = only_step(tower_of(kind, encoder, dataset, encode_batch))
    assert_alike(gradients(encoder, features), direct, 1e-4)
    scaled = only_step(tower_of(kind, encoder, dataset, encode_batch))
    assert_alike(gradients(encoder, scaled, scale=1024.0), direct, 1e-4)


@pytest.mark.parametrize("kind", ["image", "text"])
def test_the_features_are_those_of_the_whole_batch(
    dataset: Dataset, encoder: Encoder, kind: str
) -> None:
    direct = only_step(tower_of(kind, encoder, dataset, None))
    cached = only_step(tower_of(kind, encoder, dataset, 8))
    assert cached(ROWS).requires_grad
    torch.testing.assert_close(cached(ROWS), direct(ROWS), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_under_autocast_the_cached_gradient_is_the_direct_one_to_bfloat16(
    dataset: Dataset, encoder: Encoder
) -> None:
    encoder.precision = "bf16"
    for kind in ("image", "text"):
        direct = gradients(encoder, only_step(tower_of(kind, encoder, dataset, None)))
        cached = gradients(encoder, only_step(tower_of(kind, encoder, dataset, 8)))
        assert_alike(cached, direct, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image", "text"])
def test_what_is_kept_does_not_grow_with_the_batch(
    dataset: Dataset, encoder: Encoder, kind: str
) -> None:
    def peak(encode_batch: int | None, images: int) -> int:
        features = tower_of(kind, encoder, dataset, encode_batch).steps([np.arange(images)])
        with Activations() as kept:
            for found in features:
                contrast(found(np.arange(images))).backward()
                found.backward()
        assert kept.now < 0.2 * kept.peak
        return kept.peak

    assert peak(None, 32) > 3 * peak(None, 8)
    assert peak(4, 32) < 1.2 * peak(4, 8)
    assert peak(4, 32) < 0.2 * peak(None, 32)


def test_a_row_without_a_gradient_is_not_encoded_again(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, sizes = micro_encoder(), []
    genuine = encoder.encode_texts
    monkeypatch.setattr(encoder, "encode_texts", lambda t: sizes.append(len(t)) or genuine(t))
    features = only_step(TextTower(encoder, TEXTS, 8), np.arange(32))
    assert sizes == [8, 8, 8, 8]
    features(np.array([1, 9, 10])).square().sum().backward()
    features.backward()
    assert sizes[4:] == [2, 2]
    assert encoder.clip.text_projection.grad.abs().sum() > 0


def test_features_that_no_loss_used_have_no_way_back() -> None:
    encoder = micro_encoder()
    only_step(TextTower(encoder, TEXTS, 8)).backward()
    assert all(parameter.grad is None for parameter in encoder.clip.parameters())


def test_a_gradient_of_zero_reaches_every_parameter() -> None:
    """As it does in one piece; of several processes, all then have the same gradients."""
    encoder = micro_encoder()
    features = only_step(TextTower(encoder, TEXTS, 8))
    (0.0 * features(ROWS)).sum().backward()
    features.backward()
    assert all(p.grad is not None and not p.grad.any() for p in encoder.text_parameters().values())


def test_stored_vectors_have_no_way_back() -> None:
    features = only_step(FrozenTower(np.ones((IMAGES, 3), np.float32), torch.device("cpu")))
    features.backward()
    assert isinstance(features, Features)


def test_a_way_back_frees_the_inputs(dataset: Dataset) -> None:
    encoder = micro_encoder()
    features = only_step(tower_of("image", encoder, dataset, 8))
    contrast(features(ROWS)).backward()
    features.backward()
    once = {name: p.grad.clone() for name, p in encoder.image_parameters().items()}
    features.backward()
    assert all(torch.equal(p.grad, once[name]) for name, p in encoder.image_parameters().items())


@pytest.mark.slow
def test_each_distinct_image_is_decoded_once_a_step(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    genuine = image_batches.image_bytes
    monkeypatch.setattr(
        image_batches, "image_bytes", lambda path: read.append(path) or genuine(path)
    )
    steps: Iterator[Features] = tower_of("image", micro_encoder(), dataset, 8).steps([ROWS, ROWS])
    for features in steps:
        contrast(features(ROWS)).backward()
        features.backward()
    assert len(read) == 2 * IMAGES
    assert len(set(read)) == IMAGES


# ------------------------------------------------------------------------------- towers

STEPS = [np.array([5, 1, 5, 2]), np.array([0]), np.arange(40) % 37]
"""Rows of three steps, some repeated; the last are more than a worker decodes at once."""


@pytest.fixture(scope="module")
def still_encoder() -> Encoder:
    return micro_encoder(tower="resnet")


def files_of(dataset):
    return [dataset.image_path(image_id) for image_id in dataset.image_ids()[:37]]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_tuned_images_are_what_the_encoder_gives(dataset, still_encoder, workers):
    files = files_of(dataset)
    steps = ImageTower(still_encoder, files, workers).steps(STEPS)
    for rows, features in zip(STEPS, steps, strict=True):
        pixels = torch.stack([still_encoder.preprocess(read_image(files[row])) for row in rows])
        expected = still_encoder.encode_images(pixels)
        torch.testing.assert_close(features(rows), expected, rtol=1e-4, atol=1e-5)
        again = features(rows[:, None])
        assert again.shape == (len(rows), 1, still_encoder.dim)
        assert torch.equal(again[:, 0], features(rows))
        assert features(rows).requires_grad


def test_tuned_texts_are_what_the_encoder_gives(still_encoder):
    texts = [f"is {number} shades darker" for number in range(40)]
    for rows, features in zip(STEPS, TextTower(still_encoder, texts).steps(STEPS), strict=True):
        expected = still_encoder.encode_texts(still_encoder.tokenize([texts[row] for row in rows]))
        torch.testing.assert_close(features(rows), expected, rtol=1e-4, atol=1e-5)
        assert features(rows).requires_grad


def test_texts_of_like_length_go_together_and_no_further_than_the_longest(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors and gradients are those of the whole context."""
    texts = [" ".join(["red"] * (1 + 5 * number % 13)) for number in range(IMAGES)]
    rows = np.arange(IMAGES)
    encoder.clip.zero_grad()
    expected = encoder.encode_texts(encoder.tokenize(texts))
    contrast(expected).backward()
    direct = {n: p.grad.clone() for n, p in encoder.text_parameters().items()}
    shapes: list[tuple[int, ...]] = []
    genuine = encoder.encode_texts
    monkeypatch.setattr(encoder, "encode_texts", lambda t: shapes.append(t.shape) or genuine(t))
    monkeypatch.setattr("cir.training.features.texts_at_once", lambda *_: 8)
    found = only_step(TextTower(encoder, texts), rows)
    torch.testing.assert_close(found(rows), expected, rtol=1e-4, atol=1e-5)
    encoder.clip.zero_grad()
    contrast(found(rows)).backward()
    assert_alike({n: p.grad for n, p in encoder.text_parameters().items()}, direct, 1e-4)
    assert [count for count, _ in shapes] == [8, 8, 8, 8, 5]
    contexts = [context for _, context in shapes]
    assert contexts == sorted(contexts)
    assert contexts[0] < contexts[-1] < encoder.tokenize(["red"]).shape[1]


def test_texts_are_encoded_with_the_weights_of_their_step():
    encoder = micro_encoder(tower="vit")
    steps = TextTower(encoder, ["a", "b"]).steps([np.array([0]), np.array([0])])
    before = next(steps)(np.array([0]))
    with torch.no_grad():
        encoder.clip.text_projection.mul_(-1)
    torch.testing.assert_close(next(steps)(np.array([0])), -before)


def test_frozen_vectors_are_gathered_as_they_are():
    vectors = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    tower = FrozenTower(vectors, torch.device("cpu"))
    for rows, features in zip(STEPS, tower.steps(STEPS), strict=True):
        assert np.array_equal(features(rows).numpy(), vectors[rows])
        assert not features(rows).requires_grad


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_one_line(dataset, still_encoder, tmp_path, workers):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    steps = ImageTower(still_encoder, [*files_of(dataset)[:2], broken], workers).steps(
        [np.arange(3)]
    )
    with pytest.raises(ImageError, match=f"{broken} is no image") as refused:
        next(steps)
    assert "\n" not in str(refused.value)
