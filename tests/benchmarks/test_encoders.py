"""The encoders that are compared differ in what their rows say."""

from pathlib import Path

import pytest
import torch

from cir.config import TINY
from cir.encoding.loading import untrained_encoder
from tests.benchmarks.encoders import CANDIDATES, CPU, PREPROCESS, Candidate, describe

CHANGED = {candidate.name: candidate for candidate in CANDIDATES if candidate.vision}


def parameters(model: str) -> int:
    encoder = untrained_encoder(model, preprocess=PREPROCESS, device=CPU)
    return sum(parameter.numel() for parameter in encoder.clip.parameters())


def test_every_encoder_has_a_folder_of_its_own() -> None:
    assert len({candidate.folder for candidate in CANDIDATES}) == len(CANDIDATES)
    given = [candidate.name for candidate in CANDIDATES if candidate.epochs is None]
    assert given == ["bundled-60", "bundled"]


@pytest.mark.parametrize("candidate", [CHANGED["wider 15 epochs"], CHANGED["finer 15 epochs"]])
def test_a_changed_architecture_is_built_by_its_name(tmp_path: Path, candidate: Candidate) -> None:
    describe(candidate, tmp_path)
    encoder = untrained_encoder(candidate.model, preprocess=PREPROCESS, device=CPU)
    size = encoder.image_size
    assert size == candidate.vision.get("image_size", 112)
    assert parameters(candidate.model) > parameters(TINY)
    assert encoder.encode_images(torch.zeros(1, 3, size, size)).shape == (1, 640)
