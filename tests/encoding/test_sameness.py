"""Encoders that are the same under another file name, and those that are not."""

from dataclasses import replace

import pytest

from cir.artefacts.provenance import Provenance
from cir.config import TINY
from cir.encoding.sameness import encoder_named_as, family_of, named_as
from tests.support.micro import micro_encoder

FOUND = Provenance("RN50x4", "openai:RN50x4.pt", "a" * 64, "targetpad", 640)


@pytest.mark.parametrize(
    ("model", "pretrained", "family"),
    [
        ("RN50x4", "openai", "openai"),
        ("RN50x4", "openai:RN50x4.pt", "openai"),
        ("RN50x4", "RN50x4.pt", ""),
        (TINY, "bundled", "bundled"),
        (TINY, "clip.safetensors", ""),
        ("mine", "custom", "custom"),
        (TINY, "untrained", "untrained"),
        ("of nobody", "w.pt", ""),
    ],
)
def test_the_family_is_the_tag_and_no_files_name(model: str, pretrained: str, family: str) -> None:
    assert family_of(replace(FOUND, model=model, pretrained=pretrained)) == family


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [
        ("openai:RN50x4.pt", "openai:moved.pt", True),
        ("openai:RN50x4.pt", "openai", True),
        ("one.pt", "other.pt", True),
        ("openai:RN50x4.pt", "RN50x4.pt", False),
        ("openai", "openai.pt", False),
    ],
)
def test_the_same_weights_are_the_same_under_another_name_of_their_tag(
    ours: str, theirs: str, same: bool
) -> None:
    found, other = replace(FOUND, pretrained=ours), replace(FOUND, pretrained=theirs)
    assert named_as(found, other) == (other if same else found)


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "b" * 64},
        {"model": "RN50"},
    ],
)
def test_other_weights_keep_their_name(change: dict[str, str]) -> None:
    other = replace(FOUND, pretrained="openai:moved.pt", **change)
    assert named_as(FOUND, other) == FOUND


def test_an_encoder_keeps_its_own_name_beside_the_copy_that_takes_anothers() -> None:
    encoder = micro_encoder()
    other = replace(encoder.provenance, pretrained="moved.pt")
    named = encoder_named_as(encoder, other)
    assert named.provenance == other
    assert encoder.provenance != other
    assert named.clip is encoder.clip
    assert encoder_named_as(encoder, encoder.provenance) is encoder
