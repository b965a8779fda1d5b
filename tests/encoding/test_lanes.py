"""Batches side by side: the same vectors in the same order, however many lanes there are."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cir.encoding.embedding import caption_vectors, image_vectors
from cir.encoding.encoder import Encoder
from cir.encoding.lanes import in_lanes
from cir.encoding.loading import load_encoder
from tests.support.micro import micro_encoder
from tests.support.photo_folders import write_photos

LANES = 3


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(LANES)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def encoder() -> Encoder:
    return micro_encoder()


def test_batches_of_a_light_encoder_meet_each_in_one_thread(encoder: Encoder) -> None:
    together = threading.Barrier(LANES)

    def encode(batch: int) -> tuple[int, int]:
        together.wait(10)
        return batch, torch.get_num_threads()

    assert list(in_lanes(encoder, encode, range(2 * LANES), 2 * LANES)) == [
        (batch, 1) for batch in range(2 * LANES)
    ]
    assert torch.get_num_threads() == LANES


@pytest.mark.parametrize("why", ["heavy", "training", "a single batch", "another device"])
def test_others_are_encoded_one_after_the_other(
    why: str, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = 1 if why == "a single batch" else 4
    if why == "heavy":
        monkeypatch.setattr(encoder, "image_weights", 87_000_000)
        monkeypatch.setattr(encoder, "image_size", 288)
    elif why == "training":
        encoder.clip.train()
    elif why == "another device":
        monkeypatch.setattr(encoder, "device", torch.device("meta"))
    threads = list(
        in_lanes(
            encoder,
            lambda _: (threading.get_ident(), torch.get_num_threads()),
            range(batches),
            batches,
        )
    )
    assert threads == [(threading.get_ident(), LANES)] * batches


def test_no_more_is_read_than_the_lanes_need(encoder: Encoder) -> None:
    read: list[int] = []

    def batches() -> Iterator[int]:
        for batch in range(50):
            read.append(batch)
            yield batch

    found = in_lanes(encoder, lambda batch: batch, batches(), 50)
    assert next(found) == 0
    assert len(read) <= LANES + 2


def test_a_fault_reaches_the_caller_in_its_turn_and_threads_are_set_back(encoder: Encoder) -> None:
    def encode(batch: int) -> int:
        if batch == 2:
            raise ValueError("the third")
        return batch

    found = in_lanes(encoder, encode, range(9), 9)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(found)
    assert torch.get_num_threads() == LANES


def test_vectors_are_those_of_one_thread(tmp_path: Path) -> None:
    how = {"preprocess": "targetpad", "device": torch.device("cpu")}
    encoder = load_encoder("cir-tiny", pretrained=None, weights=None, **how)
    files = sorted(write_photos(tmp_path, [f"{row}.png" for row in range(70)]).iterdir())
    texts = [f"is {'very ' * (row % 7)}red, size {row}" for row in range(100)]

    def encoded(threads: int) -> tuple[np.ndarray, np.ndarray]:
        torch.set_num_threads(threads)
        return (
            image_vectors(encoder, files, batch_size=256, workers=0),
            caption_vectors(encoder, texts, batch_size=256),
        )

    for one, several in zip(encoded(1), encoded(LANES), strict=True):
        np.testing.assert_array_equal(one, several)
