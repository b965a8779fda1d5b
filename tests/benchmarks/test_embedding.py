"""The benchmark of `cir embed`: its contestants do the same work, and it reckons rightly."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cir.artefacts.store import read_images
from tests.benchmarks import embedders
from tests.benchmarks.embedders import CIR, CONTESTANTS, DECODER, ENCODER, LOADER, Job, Took
from tests.benchmarks.embedding import COSTS, SPEEDS, Line, mosaics
from tests.support.micro import micro_encoder
from tests.support.worlds import blot

pytestmark = pytest.mark.slow
PHOTOS = 5


@pytest.fixture
def job(tmp_path: Path) -> Job:
    drawn, encoder = tmp_path / "drawn", micro_encoder()
    drawn.mkdir()
    for number in range(PHOTOS):
        blot(np.random.default_rng(number), 40).save(drawn / f"{number}.png")
    root = embedders.gallery(tmp_path / "gallery", sorted(drawn.iterdir()))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Job(encoder, root, encoder.preprocess, scratch, workers=0)


def test_every_contestant_gives_the_vectors_of_the_same_photos(job: Job) -> None:
    work = CONTESTANTS[CIR](job)
    work()
    work()
    first, second = (read_images(file) for file in sorted(job.scratch.rglob("*.h5")))
    assert np.array_equal(first.images.vectors, second.images.vectors)
    assert CONTESTANTS[DECODER](job)() == PHOTOS
    for name in (ENCODER, LOADER):
        vectors = CONTESTANTS[name](job)()
        assert isinstance(vectors, Tensor)
        torch.testing.assert_close(vectors, torch.from_numpy(first.images.vectors))


def test_the_limit_is_the_time_of_both_halves() -> None:
    runs = {
        ENCODER: [Took(6.0, 8.0), Took(90.0, 80.0), Took(6.0, 8.0)],
        DECODER: [Took(2.0, 1.0)],
        CIR: [Took(10.0, 10.0)],
    }
    line = Line("cir-tiny", "products", 2, photos=100, runs=runs)
    assert line.speeds() == (
        "| cir-tiny | products | 2 | 16.7 | 50 | 12.5 | 10 | - | - | 60 % | 80 % |"
    )
    assert line.costs() == "| cir-tiny | products | 2 | 80 | 10 | 90 | 100 | - | - | 90 % |"
    assert line.speeds().count("|") == SPEEDS.splitlines()[1].count("|")
    assert line.costs().count("|") == COSTS.splitlines()[1].count("|")


def test_a_mosaic_has_five_to_nine_photos_along_an_edge(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    blot(np.random.default_rng(0), 24).save(photo)
    for file in mosaics(tmp_path, [photo], 1):
        with Image.open(file) as mosaic:
            assert all(5 * 224 <= edge <= 9 * 224 and edge % 224 == 0 for edge in mosaic.size)
