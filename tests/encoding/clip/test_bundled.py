"""The bundled encoder's own model: open_clip's, bit for bit, without loading open_clip."""

from contextlib import nullcontext
from typing import Any

import open_clip
import pytest
import torch
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import nn

from cir.config import TINY
from cir.encoding.clip.activation_memory import checkpoint_activations
from cir.encoding.clip.bundled import TinyArchitecture
from cir.encoding.clip.context import encode_beginnings
from cir.encoding.clip.image_tower import ModifiedResNet
from cir.encoding.clip.model import Clip
from cir.encoding.clip.tokens import BytePairTokenizer, _vocabulary
from cir.encoding.loading import load_encoder
from cir.encoding.weights.colours import OPENAI_COLOURS

VISION: dict[str, Any] = {"image_size": 64, "layers": [2, 1, 1, 1], "width": 8, "head_width": 64}
TEXT: dict[str, Any] = {"width": 16, "heads": 4, "layers": 2}
TOKENS = torch.tensor([[90, 5, 7, 91, 0, 0], [90, 91, 0, 0, 0, 0], [90, 3, 4, 5, 6, 91]])


def _ours(*, quick_gelu: bool = False) -> Clip:
    torch.manual_seed(3)
    visual = ModifiedResNet(dim=12, **VISION)
    words = {"context": 6, "vocabulary": 92, "quick_gelu": quick_gelu}
    return Clip(visual, dim=12, **words, **TEXT).eval()


def _theirs(*, quick_gelu: bool = False) -> nn.Module:
    torch.manual_seed(3)
    words = {"context_length": 6, "vocab_size": 92, **TEXT}
    return open_clip.CLIP(12, VISION, words, quick_gelu=quick_gelu).eval()


def _photos() -> torch.Tensor:
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_names_and_drawn_weights_are_those_of_open_clip() -> None:
    ours, theirs = _ours(), _theirs()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    parameters = zip(ours.named_parameters(), theirs.named_parameters(), strict=True)
    assert all(
        name == named and torch.equal(one, other) for (name, one), (named, other) in parameters
    )


@pytest.mark.parametrize("half", [False, True])
def test_vectors_are_those_of_open_clip(half: bool) -> None:
    ours, theirs = _ours(), _theirs()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
        assert torch.equal(ours.encode_image(_photos()), theirs.encode_image(_photos()))
        assert torch.equal(ours.encode_text(TOKENS), theirs.encode_text(TOKENS))
        # Texts that are cut behind their ends, which open_clip's model has no way of its own for.
        short = TOKENS[:2, :4]
        assert torch.equal(encode_beginnings(ours, short), encode_beginnings(theirs, short))


@pytest.mark.parametrize("checkpointed", [False, True])
def test_gradients_are_those_of_open_clip(checkpointed: bool) -> None:
    models = [_ours(quick_gelu=True), _theirs(quick_gelu=True)]
    for model in models:
        if checkpointed:
            checkpoint_activations(model)
        similarities = model.encode_image(_photos(), True) @ model.encode_text(TOKENS, True).T
        (similarities * model.logit_scale.exp()).square().sum().backward()
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one.grad, other.grad)


@pytest.mark.slow
def test_the_bundled_weights_give_the_vectors_that_open_clip_gives() -> None:
    cpu = torch.device("cpu")
    encoder = load_encoder(TINY, pretrained=None, weights=None, preprocess="targetpad", device=cpu)
    config = {**TinyArchitecture().config}
    clip = open_clip.CLIP(config.pop("embed_dim"), **config).eval()
    clip.load_state_dict(encoder.clip.state_dict())
    photos, tokens = torch.rand(2, 3, 112, 112), encoder.tokenize(["is red", "x " * 60])
    photos = photos.contiguous(memory_format=torch.channels_last)  # as the encoder takes them
    with torch.inference_mode():
        assert torch.equal(encoder.encode_images(photos), clip.encode_image(photos))
        assert torch.equal(encoder.encode_texts(tokens), clip.encode_text(tokens))


def test_colours_are_those_of_open_clip() -> None:
    assert (OPENAI_COLOURS.mean, OPENAI_COLOURS.std) == (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)


def test_the_vocabulary_is_that_of_open_clip() -> None:
    theirs: Any = open_clip.SimpleTokenizer()
    ranks, numbers = _vocabulary()
    assert numbers == theirs.encoder
    assert {tuple(merge.split(" ")): rank for merge, rank in ranks.items()} == theirs.bpe_ranks


@pytest.mark.parametrize("context", [8, 77])
def test_tokens_are_those_of_open_clip(context: int) -> None:
    texts = [
        *("", " ", "is red", "Is RED,\tand\nhas (2) stripes!!", "don't; it's they're I'm we'll"),
        *(
            "caf\u00e9 cre\u0300me",
            "\u6f22\u5b57 \u0441\u0438\u043d\u0438\u0439",
            "\U0001f457 x\u00b2",
        ),
        *(
            "&amp;lt; a&nbsp;b &copy",
            "schÃ¶n â€œquotedâ€\x9d",
            "a\x1b[31mred\x07",
            "\ufb01ne \u017fhirt",
        ),
        *("<start_of_text> a <END_OF_TEXT>", "aaaaaaaaab", "x" * 300, "word " * 90, "\x85a\u2028b"),
    ]
    theirs = open_clip.SimpleTokenizer(context_length=context)(texts)
    assert torch.equal(BytePairTokenizer(context)(texts), theirs)
