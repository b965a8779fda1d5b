"""Encoders: their vectors, their towers, and where their weights come from."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from cir.config import TINY
from cir.encoding import loading as module
from cir.encoding.clip.bundled import BUNDLED_FILES
from cir.encoding.clip.open_clip_models import build_clip
from cir.encoding.encoder import Encoder
from cir.encoding.loading import load_encoder, require_used
from cir.encoding.weights import published
from cir.errors import UsageError, WeightsError
from tests.support.micro import micro_clip, micro_encoder

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 4},
    "text_cfg": {"context_length": 77, "width": 8, "heads": 2, "layers": 1, "vocab_size": 49408},
}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Makes RN50x4 a model that is built in milliseconds; returns one with random weights."""
    monkeypatch.setattr(open_clip, "get_model_config", lambda model: json.loads(json.dumps(SMALL)))
    torch.manual_seed(0)
    return build_clip(SMALL).eval()


def _load(weights: Path | None = None, model: str = "RN50x4", **options: Any) -> Encoder:
    chosen: dict[str, Any] = {"pretrained": None, "preprocess": "targetpad", "device": CPU}
    return load_encoder(model, weights=weights, **(chosen | options))


def _saved(clip: nn.Module, file: Path) -> Path:
    save_file({name: value.contiguous() for name, value in clip.state_dict().items()}, file)
    return file


def _identical(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def _photo() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.mark.slow
def test_rn50x4_gives_640_components_of_288_pixel_photos(tmp_path: Path) -> None:
    """The default model through the real path: open_clip builds it, a local file holds it."""
    torch.manual_seed(0)
    made = open_clip.create_model("RN50x4", load_weights=False)
    file = _saved(made, tmp_path / "rn50x4.safetensors")
    encoder = _load(file)
    assert _identical(encoder.clip, made)
    assert (encoder.dim, encoder.image_size) == (640, 288)
    pixels = torch.stack([encoder.preprocess(_photo()), encoder.preprocess(_photo().rotate(90))])
    assert pixels.shape == (2, 3, 288, 288)
    with torch.inference_mode():
        vectors = encoder.encode_images(pixels)
        texts = encoder.encode_texts(encoder.tokenize(["is red and is blue"]))
    assert vectors.shape == (2, 640)
    assert vectors.isfinite().all()
    assert texts.shape == (1, 640)
    file.unlink()


@pytest.mark.parametrize("tower", ["resnet", "vit"])
def test_vectors_are_float32_and_not_normalised(tower: Any) -> None:
    encoder = micro_encoder(dim=20, tower=tower)
    vectors = encoder.encode_images(torch.rand(3, 3, 32, 32))
    assert vectors.shape == (3, 20)
    assert vectors.dtype == torch.float32
    assert not torch.allclose(vectors.norm(dim=1), torch.ones(3))
    assert encoder.encode_texts(encoder.tokenize(["a", "b c"])).shape == (2, 20)


def test_bf16_changes_little_and_gives_float32() -> None:
    exact, rounded = micro_encoder(), micro_encoder()
    rounded.precision = "bf16"
    pixels = torch.rand(4, 3, 32, 32)
    found, expected = rounded.encode_images(pixels), exact.encode_images(pixels)
    assert found.dtype == torch.float32
    assert not torch.equal(found, expected)
    assert torch.cosine_similarity(found, expected).min() > 0.99


def test_fp32_is_not_tf32_in_either_tower() -> None:
    encoder, conv = micro_encoder(), torch.backends.cudnn.conv
    seen: list[str] = []
    note = lambda *_: seen.append(conv.fp32_precision)  # noqa: E731
    encoder.clip.visual.register_forward_pre_hook(note)
    encoder.clip.ln_final.register_forward_pre_hook(note)
    pixels, tokens = torch.rand(2, 3, 32, 32), encoder.tokenize(["a"])
    for encoder.precision in ("fp32", "tf32"):
        encoder.encode_images(pixels)
        encoder.encode_texts(tokens)
    assert seen == ["ieee", "ieee", "tf32", "tf32"]
    assert conv.fp32_precision == "tf32"


@pytest.mark.parametrize("photos", [1, 2])
def test_weights_lie_as_convolutions_read_them(photos: int) -> None:
    encoder, pixels = micro_encoder(), torch.rand(photos, 3, 32, 32)
    weight, found = encoder.clip.visual.layer1[0].conv2.weight, encoder.encode_images(pixels)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    laid_out = encoder.clip.state_dict()
    encoder.clip = copy.deepcopy(encoder.clip).to(memory_format=torch.contiguous_format)
    assert torch.equal(encoder.encode_images(pixels), found)
    assert module.weights_sha256(laid_out) == module.weights_sha256(encoder.clip.state_dict())


def test_a_vector_does_not_depend_on_its_batch() -> None:
    """BatchNorm uses its own statistics in eval mode."""
    encoder = micro_encoder()
    pixels = torch.rand(4, 3, 32, 32)
    alone = torch.cat([encoder.encode_images(row[None]) for row in pixels])
    torch.testing.assert_close(encoder.encode_images(pixels), alone)


def test_gradients_flow_where_the_caller_lets_them() -> None:
    encoder = micro_encoder()
    encoder.encode_images(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in encoder.image_parameters().values())
    assert all(p.grad is None for p in encoder.text_parameters().values())
    encoder.encode_texts(encoder.tokenize(["is red"])).sum().backward()
    assert all(p.grad is not None for p in encoder.text_parameters().values())


@pytest.mark.parametrize("custom_text", [False, True])
def test_the_towers_share_out_every_parameter_but_the_scale(custom_text: bool) -> None:
    encoder = micro_encoder()
    encoder.clip = build_clip(SMALL | {"custom_text": custom_text})
    image, text = (
        {id(p) for p in tower.values()}
        for tower in (encoder.image_parameters(), encoder.text_parameters())
    )
    parts = [*image, *text]
    assert len(set(parts)) == len(parts)
    rest = [n for n, p in encoder.clip.named_parameters() if id(p) not in set(parts)]
    assert rest == ["logit_scale"]
    assert {id(p) for p in encoder.clip.visual.parameters()} == image


def test_long_texts_are_cut_at_the_context() -> None:
    tokens = micro_encoder().tokenize(["is red " * 60, "is red"])
    assert tokens.shape == (2, 16)


def test_weights_from_a_file_come_back_bit_for_bit(small: nn.Module, tmp_path: Path) -> None:
    encoder = _load(_saved(small, tmp_path / "mine.safetensors"))
    assert _identical(encoder.clip, small)
    assert not encoder.clip.training
    assert encoder.provenance.pretrained == "mine.safetensors"
    assert encoder.provenance.embed_dim == encoder.dim == 24
    assert encoder.provenance.weights_sha256 == module.weights_sha256(small.state_dict())


@pytest.mark.slow
def test_the_hash_does_not_depend_on_the_kind_of_file(small: nn.Module, tmp_path: Path) -> None:
    torch.save(small.state_dict(), tmp_path / "same.pt")
    one = _load(_saved(small, tmp_path / "same.safetensors"))
    assert _load(tmp_path / "same.pt").provenance.weights_sha256 == one.provenance.weights_sha256


@pytest.mark.parametrize(
    ("key", "model", "pretrained", "expected"),
    [
        ("CLIP", "ViT-B-32", None, True),
        ("state_dict", "RN50x4", None, True),
        ("state_dict", "ViT-B-32", None, False),
        ("state_dict", "ViT-B-32", "openai", True),
        ("state_dict", "ViT-B-32", "laion2b_s34b_b79k", False),
    ],
)
def test_quick_gelu_follows_the_file_then_the_tag_then_the_model(
    small: nn.Module,
    tmp_path: Path,
    key: str,
    model: str,
    pretrained: str | None,
    expected: bool,
) -> None:
    torch.save({key: small.state_dict()}, tmp_path / "w.pt")
    encoder = _load(tmp_path / "w.pt", model, pretrained=pretrained)
    kinds = {type(m).__name__ for m in encoder.clip.modules()}
    assert ("QuickGELU" in kinds) is expected


@pytest.mark.slow
@pytest.mark.parametrize("key", ["CLIP", "state_dict"])
@pytest.mark.parametrize("pretrained", [None, "openai", "laion2b_s34b_b79k"])
def test_a_tower_tuned_from_a_file_is_loaded_as_the_file_was(
    small: nn.Module, tmp_path: Path, key: str, pretrained: str | None
) -> None:
    """A run's checkpoint holds tensors alone: the provenance carries QuickGELU over."""
    torch.save({key: small.state_dict()}, tmp_path / "w.pt")
    first = _load(tmp_path / "w.pt", "ViT-B-32", pretrained=pretrained)
    _saved(first.clip, tmp_path / "clip.safetensors")
    again = _load(tmp_path, "ViT-B-32", pretrained=first.provenance.pretrained)
    tokens = first.tokenize(["is red", "has stripes"])
    assert torch.equal(again.encode_texts(tokens), first.encode_texts(tokens))
    same = _load(tmp_path / "w.pt", "ViT-B-32", pretrained=first.provenance.pretrained)
    assert same.provenance == first.provenance


def test_another_width_is_named(small: nn.Module, tmp_path: Path) -> None:
    file = _saved(micro_clip(16, 32, "resnet", 0), tmp_path / "x.safetensors")
    with pytest.raises(WeightsError) as raised:
        _load(file)
    assert str(raised.value) == (
        f"{file} holds 16-d weights of another architecture; `model='RN50x4'` expects 24-d"
    )


@pytest.mark.parametrize("fault", ["lacks", "unknown", "shape"])
def test_another_architecture_of_the_same_width_is_refused(
    small: nn.Module, tmp_path: Path, fault: str
) -> None:
    state: dict[str, Tensor] = dict(small.state_dict())
    if fault == "lacks":
        del state["ln_final.weight"]
    elif fault == "unknown":
        state["visual.extra"] = torch.zeros(2)
    else:
        state["ln_final.weight"] = torch.zeros(3)
    save_file(state, tmp_path / "x.safetensors")
    told = {
        "lacks": "it lacks ln_final.weight",
        "unknown": "visual.extra is unknown",
        "shape": r"ln_final.weight is \(3,\), expected \(8,\)",
    }
    with pytest.raises(WeightsError, match=f"x.safetensors holds .*RN50x4.*{told[fault]}"):
        _load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("model", ["rn50x4", "RN50X4", "RN50x5", "ViT-B32"])
def test_an_unknown_model_names_close_ones(model: str) -> None:
    with pytest.raises(UsageError, match=f"{model}.*expected .*(RN50x4|ViT-B-32)"):
        _load(model=model)


def test_an_unknown_tag_names_close_ones() -> None:
    with pytest.raises(UsageError, match=r"no weights called .openia.; expected .*openai"):
        _load(pretrained="openia")


def test_weights_out_of_reach_say_which_file_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "within_reach", lambda address: False)
    monkeypatch.setattr(published.huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(WeightsError) as raised:
        _load()
    told = str(raised.value)
    assert "\n" not in told
    assert "resnet50x4_clip.openai/resolve/main/open_clip_model.safetensors" in told
    assert "`model='RN50x4'` `pretrained='openai'` `weights=FILE`" in told


def test_a_failed_download_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(entry: dict[str, Any]) -> str:
        raise FileNotFoundError("connection lost")

    monkeypatch.setattr(published, "within_reach", lambda address: True)
    monkeypatch.setattr(published.huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(published, "download_pretrained", broken)
    with pytest.raises(WeightsError, match="`weights=FILE`"):
        _load()


def test_a_cached_download_needs_no_network(
    small: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _saved(small, tmp_path / "open_clip_model.safetensors")
    monkeypatch.setattr(published, "within_reach", lambda address: pytest.fail("asked the network"))
    monkeypatch.setattr(published.huggingface_hub, "try_to_load_from_cache", lambda *_: str(file))
    encoder = _load()
    assert encoder.provenance.pretrained == "openai"
    assert _identical(encoder.clip, small)


def test_offline_mode_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "is_offline_mode", lambda: True)
    monkeypatch.setattr(published.urllib.request, "urlopen", lambda *_, **__: pytest.fail("asked"))
    assert not published.within_reach("https://huggingface.co")


@pytest.mark.parametrize(("asked", "tag"), [(None, "bundled-60"), *((t, t) for t in BUNDLED_FILES)])
def test_cir_tiny_comes_with_the_package(asked: str | None, tag: str) -> None:
    encoder = load_encoder(TINY, pretrained=asked, weights=None, preprocess="targetpad", device=CPU)
    assert encoder.dim == 640
    assert encoder.provenance.pretrained == tag
    assert encoder.provenance.weights_sha256 == module.weights_sha256(encoder.clip.state_dict())
    assert BUNDLED_FILES[tag].stat().st_size <= 20_000_000
    pixels = encoder.preprocess(_photo())[None].expand(2, -1, -1, -1)
    with torch.inference_mode():
        assert encoder.encode_images(pixels).isfinite().all()
        assert encoder.encode_texts(encoder.tokenize(["is navy blue"])).isfinite().all()


def test_texts_beyond_the_context_are_told_from_those_that_fill_it() -> None:
    encoder = micro_encoder(dim=16)
    context = encoder.tokenize([""]).shape[1]
    fills = " ".join(["red"] * (context - 2))
    assert int(encoder.tokenize([fills])[0, -1]) != 0
    assert encoder.cut_texts([fills, f"{fills} dress", "is red", "x" * 500]) == [
        f"{fills} dress",
        "x" * 500,
    ]
    assert encoder.cut_texts(["is red"]) == []


@pytest.mark.parametrize(
    ("model", "pretrained", "weights"),
    [
        ("RN50x4", None, None),
        ("RN50x4", "openai", None),
        ("RN50x4", "openai:RN50x4.pt", Path("RN50x4.pt")),
        ("RN50x4", "mine.pt", Path("some/mine.pt")),
        (TINY, "bundled", None),
        (TINY, "bundled-60", None),
        (TINY, "mine.pt", Path("some/mine.pt")),
    ],
)
def test_a_tag_that_means_something_is_taken(
    model: str, pretrained: str | None, weights: Path | None
) -> None:
    require_used(model, pretrained, weights)


@pytest.mark.parametrize(
    ("model", "pretrained", "weights", "words"),
    [
        (TINY, "openai", None, "no tag of cir-tiny's weights; expected bundled"),
        ("RN50x4", "openia", Path("mine.pt"), "no tag of RN50x4's weights; expected openai"),
        (TINY, "bundled", Path("mine.pt"), r"is given, mine\.pt: leave one of them out"),
        ("RN50x4", "mine.pt", Path("other.pt"), "no tag of RN50x4's weights"),
    ],
)
def test_a_tag_that_would_be_passed_over_is_refused(
    model: str, pretrained: str, weights: Path | None, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        require_used(model, pretrained, weights)
