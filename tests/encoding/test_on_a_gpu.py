"""Embedding on a card: float32 is float32, and every precision is near the CPU's vectors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from cir.artefacts.store import read_embeddings
from cir.data.dataset import Dataset
from cir.encoding.embedding import image_vectors
from cir.encoding.encoder import Encoder
from cir.encoding.job.dataset_embedding import embed_dataset
from cir.machine.arithmetic import float32
from tests.support.micro import micro_encoder

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda", 0)
COSINE = {"fp32": 1 - 1e-5, "tf32": 1 - 1e-3, "bf16": 0.99, "fp16": 0.999}
"""The least to the CPU's vector."""


def on_card(precision: str) -> Encoder:
    encoder = micro_encoder(device=CUDA)
    encoder.precision = precision
    return encoder


@pytest.mark.parametrize("precision", COSINE)
def test_a_store_is_that_of_the_cpu_within_its_precision(
    tmp_path: Path, dataset: Dataset, precision: str
) -> None:
    out = tmp_path / "e.h5"
    embed_dataset(dataset, on_card(precision), out, batch_size=16, workers=2, on_error="fail")
    store = read_embeddings(out)
    assert store.precision == precision
    files = [dataset.image_path(image_id) for image_id in store.images.keys]
    expected = image_vectors(micro_encoder(), files, batch_size=16, workers=0)
    found = replace(store.images, vectors=store.images.vectors.astype(np.float32)).vectors
    cosines = functional.cosine_similarity(torch.from_numpy(found), torch.from_numpy(expected))
    assert float(cosines.min()) > COSINE[precision]


def test_pixels_are_those_of_the_cpu_bit_for_bit() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(12).reshape(1, 32, 32, 3)
    here, there = micro_encoder().normalise(pixels), on_card("fp32").normalise(pixels)
    assert torch.equal(there.cpu(), here)


def test_a_convolution_is_float32_unless_tf32_is_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(8, 64, 32, 32, generator=generator)
    weights = torch.randn(64, 64, 3, 3, generator=generator)
    exact = functional.conv2d(pixels.double(), weights.double())

    def error(precision: str) -> float:
        with float32(precision):
            found = functional.conv2d(pixels.to(CUDA), weights.to(CUDA))
        return float((found.cpu() - exact).norm() / exact.norm())

    # cuDNN may take Winograd's transform, which errs more than a direct sum and is float32 as well.
    assert error("fp32") < 1e-5
    assert error("tf32") > 5e-5
