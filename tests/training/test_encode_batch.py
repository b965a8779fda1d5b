"""How much a tuned tower encodes at once, where memory is short, and what is said where it ends."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from torch import nn

from cir.artefacts.checkpoint import read_checkpoint
from cir.config import TrainConfig
from cir.data.dataset import Dataset
from cir.errors import CirError
from cir.training.encode_batch import fitting_encode_batch, telling_what_needs_less
from cir.training.model import Model
from tests.support.micro import micro_encoder
from tests.support.pretend_memory import MIB, PretendMemory
from tests.support.runs import Killed, config_of, encoded_by, killed_after, run

COSTS: Mapping[str, int] = {"encode_images": 4 * MIB, "encode_texts": 1 * MIB}


def model() -> Model:
    return Model(nn.Identity(), micro_encoder(), tunes_image=True, tunes_text=True)


@pytest.mark.parametrize(("free", "chosen"), [(1120, None), (1000, 196), (100, 16), (40, 4)])
def test_as_many_are_encoded_as_fit(
    free: int, chosen: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All where 2 * 8 MiB, 4 of each image and 1 of each text are no more than 0.8 of what is free,
    less 5.5 MiB of the optimiser; else by the tower that takes more."""
    tuned = model()
    PretendMemory(free * MIB, COSTS, fixed=8 * MIB).put(monkeypatch)
    assert fitting_encode_batch(tuned, images=200, texts=64) == chosen
    assert tuned.encoder is not None
    assert all(p.grad is None for p in tuned.encoder.clip.parameters())


def test_on_a_cpu_a_step_is_encoded_at_once() -> None:
    assert fitting_encode_batch(model(), images=10**9, texts=10**9) is None


@pytest.mark.slow
def test_a_run_fits_its_memory_and_keeps_what_it_chose(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where more is free when it is resumed: its results depend on it in their last bits."""
    monkeypatch.setattr("cir.encoding.loading.load_encoder", lambda *_, **__: micro_encoder())
    encoded = encoded_by(micro_encoder(), dataset)
    changes = {"tune": "image", "epochs": 2, "batch_size": 64, "remine": False}
    PretendMemory(40 * MIB, COSTS).put(monkeypatch)
    with pytest.raises(CirError) as told:
        run(tmp_path / "told", dataset, encoded, encode_batch=12, **changes)
    assert str(told.value) == (
        "out of memory (CUDA out of memory. Tried to allocate 0.05 GiB.): pass a smaller "
        "`encode_batch` than 12 or `checkpoint_activations=True` or a smaller `batch_size` than "
        "64; the last checkpoint is untouched"
    )
    with pytest.raises(Killed):
        run(tmp_path / "run", dataset, encoded, killed_after(1), **changes)
    PretendMemory(10**12, COSTS).put(monkeypatch)
    out = run(tmp_path / "run", dataset, encoded, resume=True, **changes)
    assert read_checkpoint(out / "checkpoints/last").metadata.config["encode_batch"] == 7


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tune": "none"}, "pass a smaller `batch_size` than 8; the last"),
        ({"tune": "text"}, "pass a smaller `encode_batch` or `checkpoint_activations=True` or a s"),
        (
            {"tune": "text", "checkpoint_activations": True, "encode_batch": 3},
            "pass a smaller `encode_batch` than 3 or a smaller `batch_size` than 8; the",
        ),
    ],
)
def test_what_needs_less_is_named_as_it_applies(changes: dict[str, object], said: str) -> None:
    with (
        pytest.raises(CirError, match=r"^out of memory: ") as told,
        telling_what_needs_less(config_of(Path("unused"), **changes)),
    ):
        raise MemoryError
    assert said in str(told.value)
    with pytest.raises(ZeroDivisionError), telling_what_needs_less(TrainConfig()):
        raise ZeroDivisionError
