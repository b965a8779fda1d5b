"""Training on a card: every precision, resumed; what a step waits for, and what memory it takes."""

import math
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch

from cir.artefacts.checkpoint import read_checkpoint
from cir.data.dataset import Dataset
from cir.encoding.loading import untrained_encoder
from cir.machine import memory
from cir.training.encode_batch import fitting_encode_batch
from cir.training.model import Model
from cir.training.step import Learner
from tests.support.micro import micro_encoder
from tests.support.pretend_memory import MIB
from tests.support.pretend_training import ASKED
from tests.support.runs import Killed, encoded_by, killed_after, metrics, run, tower_rate

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _encoders_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: object, device: torch.device, precision: str = "fp32", **__: object) -> object:
        made = micro_encoder(device=device)
        made.precision = precision
        return made

    monkeypatch.setattr("cir.encoding.loading.load_encoder", loaded)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("tune", ["none", "both"])
def test_a_run_trains_and_goes_on(
    tmp_path: Path, dataset: Dataset, precision: str, tune: str
) -> None:
    """The first epoch's loss is the CPU's within the precision's error."""
    embeddings = encoded_by(micro_encoder(), dataset)
    changes = {"tune": tune, "epochs": 2, "dropout": 0.0}
    on_card = changes | {"device": "cuda", "precision": precision}
    with pytest.raises(Killed):
        run(tmp_path / "card", dataset, embeddings, killed_after(1), **on_card)
    run(tmp_path / "card", dataset, embeddings, resume=True, **on_card)
    lines = metrics(tmp_path / "card")
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert all(math.isfinite(line["loss"]) for line in lines[1:])
    if tune == "none":
        here = metrics(run(tmp_path / "here", dataset, embeddings, **changes))
        within = {"fp32": 1e-3, "tf32": 1e-2}.get(precision, 3e-2)
        assert lines[1]["loss"] == pytest.approx(here[1]["loss"], rel=within)


@pytest.mark.parametrize("name", ASKED)
def test_every_way_to_train_is_the_cpus(tmp_path: Path, dataset: Dataset, name: str) -> None:
    """Each loss, source of negatives and tower, over an epoch of two steps."""
    settings = {"combiner": "gated-sum"} | ASKED[name]
    if settings["combiner"] == "gated-sum":
        settings["dropout"] = 0.0
    settings |= {"epochs": 1, "batch_size": 24} | tower_rate(1e-3, **settings)
    embeddings = encoded_by(micro_encoder(), dataset)
    there, here = (
        metrics(run(tmp_path / device, dataset, embeddings, **settings | {"device": device}))
        for device in ("cuda", "cpu")
    )
    assert there[1]["loss"] == pytest.approx(here[1]["loss"], rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 1),
        ({"tune": "text"}, 1),
        ({"tune": "image"}, 1),
        ({"tune": "both"}, 1),
        ({"tune": "both", "encode_batch": 5}, 3),
    ],
)
def test_a_step_waits_as_on_the_pretend_device(
    tmp_path: Path,
    dataset: Dataset,
    changes: dict[str, object],
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CUDA itself tells what waits for it, after the first step, which loads its libraries."""
    waits: Counter[int] = Counter()
    steps, losses, update = [0], Learner.losses, Learner.update

    def begun(*given: object) -> object:
        steps[0] += 1
        torch.cuda.set_sync_debug_mode("warn")
        return losses(*given)

    def ended(*given: object) -> object:
        rate = update(*given)
        torch.cuda.set_sync_debug_mode("default")
        return rate

    def counted(message: object, *_: object, **__: object) -> None:
        waits[steps[0]] += "synchroniz" in str(message)

    monkeypatch.setattr(Learner, "losses", begun)
    monkeypatch.setattr(Learner, "update", ended)
    embeddings = encoded_by(micro_encoder(), dataset)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", counted)
        run(tmp_path / "run", dataset, embeddings, device="cuda", epochs=1, **changes)
    assert {waits[step] for step in range(2, steps[0] + 1)} == {expected}


def test_what_is_chosen_fits_into_what_was_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ResNet-50, of which less memory is said to be free than a batch needs."""
    encoder = untrained_encoder("RN50", preprocess="targetpad", device=CUDA)
    tuned = Model(torch.nn.Identity(), encoder, tunes_image=True, tunes_text=False)
    tuned.clip_groups(1e-6, 1.0)
    free = 4096 * MIB
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    chosen = fitting_encode_batch(tuned, images=4096, texts=0)
    assert chosen is not None
    assert chosen > 1
    size = encoder.image_size
    pixels = torch.zeros(chosen, 3, size, size, device=CUDA)
    taken = memory.peak_bytes(CUDA, lambda: encoder.encode_images(pixels).sum().backward())
    assert 0.4 * free < taken < free


def test_a_run_that_was_not_told_records_what_it_chose(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2 * MIB)
    embeddings = encoded_by(micro_encoder(), dataset)
    out = run(tmp_path / "run", dataset, embeddings, device="cuda", tune="image", epochs=1)
    chosen = read_checkpoint(out / "checkpoints/last").metadata.config["encode_batch"]
    assert 1 <= chosen < len(dataset.image_ids())
