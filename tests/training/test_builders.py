"""What a run is made of, by its settings."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from cir.artefacts.store import Embeddings
from cir.config import TINY, TrainConfig
from cir.encoding.encoder import Encoder
from cir.training.builders import (
    build_accelerator,
    build_learner,
    build_model,
    towers_to_tune,
)

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [(TINY, None, 3e-5), ("another", None, 2e-6), (TINY, 2e-5, 2e-5)],
)
def test_towers_learn_at_the_rate_that_suits_their_encoder(
    model: str,
    given: float | None,
    expected: float,
    encoder: Encoder,
    encoded: Embeddings,
    tmp_path: Path,
) -> None:
    config = TrainConfig(tune="text", clip_learning_rate=given, out=tmp_path)
    made = build_model(config, encoded, CPU)
    encoder.provenance = dataclasses.replace(encoder.provenance, model=model)
    learner = build_learner(config, made, build_accelerator(tmp_path, CPU, "fp32"))
    groups = learner.state()["optimiser"]["param_groups"]
    assert {group["peak"] for group in groups} == {config.combiner_rate, expected}


@pytest.mark.parametrize(
    ("model", "pretrained", "changes", "expected"),
    [
        (TINY, "bundled", {}, "text"),
        (TINY, "bundled", {"tune": "none"}, "none"),
        (TINY, "bundled-60", {}, "text"),
        (TINY, "mine.safetensors", {}, "none"),
        (TINY, "mine.safetensors", {"weights": Path("mine.safetensors")}, "text"),
        ("RN50x4", "openai", {}, "none"),
        ("RN50x4", "openai", {"tune": "both"}, "both"),
    ],
)
def test_the_bundled_encoder_has_its_text_tower_tuned_unless_told_otherwise(
    model: str, pretrained: str, changes: dict[str, Any], expected: str, encoded: Embeddings
) -> None:
    origin = dataclasses.replace(encoded.provenance, model=model, pretrained=pretrained)
    store = dataclasses.replace(encoded, provenance=origin)
    assert towers_to_tune(TrainConfig(**changes), store) == expected
