"""What a run is made of, by its settings."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator, PartialState

from cir.artefacts.store import Embeddings
from cir.config import TINY, TrainConfig
from cir.encoding.encoder import Encoder
from cir.errors import UsageError
from cir.training.builders import (
    build_accelerator,
    build_learner,
    build_model,
    towers_to_tune,
)
from tests.support.accelerate_state import no_accelerate_state

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


@pytest.fixture
def no_state() -> Iterator[None]:
    with no_accelerate_state():
        yield


@pytest.mark.usefixtures("no_state")
def test_a_run_may_have_another_precision_than_the_one_before(tmp_path: Path) -> None:
    for precision, expected in (("fp32", "no"), ("bf16", "bf16"), ("bf16", "bf16"), ("fp32", "no")):
        made = build_accelerator(tmp_path, CPU, precision)
        assert (made.mixed_precision, made.device) == (expected, CPU)


@pytest.mark.usefixtures("no_state")
def test_a_run_shares_the_state_of_an_accelerator_that_is_alike(tmp_path: Path) -> None:
    theirs = Accelerator(cpu=True, mixed_precision="bf16")
    ours = build_accelerator(tmp_path, CPU, "bf16")
    assert ours.state.__dict__ is theirs.state.__dict__
    assert (theirs.mixed_precision, theirs.device) == ("bf16", CPU)
    with pytest.raises(UsageError, match="mixed_precision='bf16'"):
        build_accelerator(tmp_path, CPU, "fp32")
    assert theirs.mixed_precision == "bf16"


@pytest.mark.usefixtures("no_state")
@pytest.mark.parametrize("whole", [True, False], ids=["Accelerator", "PartialState"])
def test_an_accelerator_on_another_device_is_refused(whole: bool, tmp_path: Path) -> None:
    if whole:
        Accelerator(cpu=True)
    theirs = PartialState(cpu=True)
    theirs.device = torch.device("meta")
    for _ in range(2):
        with pytest.raises(UsageError, match=r"on meta with .* the run needs cpu with 'no'"):
            build_accelerator(tmp_path, CPU, "fp32")
        assert theirs.device == torch.device("meta")
