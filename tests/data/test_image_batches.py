"""Photos read ahead by workers: in order, with their faults, and nobody left behind."""

import hashlib
import io
import multiprocessing
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cir.data.formats import FORMAT_NAMES
from cir.data.image_batches import ImageBatch, image_batches
from cir.errors import CirError

BROKEN = {1: b"", 4: b"not an image", 5: None}
"""Row to content of the files that cannot be read; None is no file."""


def mean_colour(image: Image.Image) -> Tensor:
    """A picture of one pixel."""
    return torch.tensor(np.asarray(image).mean((0, 1)), dtype=torch.float32)[:, None, None]


def die_of(fatal: signal.Signals, image: Image.Image) -> Tensor:
    os.kill(os.getpid(), fatal)
    return torch.zeros(3, 1, 1)


def bug(image: Image.Image) -> Tensor:
    raise RuntimeError("a bug")


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Seven files; those of BROKEN cannot be read."""
    files = [tmp_path / f"{row}.png" for row in range(7)]
    for row, file in enumerate(files):
        Image.new("RGB", (4, 4), (row, 2 * row, 3 * row)).save(file)
    for row, content in BROKEN.items():
        files[row].write_bytes(content) if content is not None else files[row].unlink()
    return files


def read(files: Sequence[Path], batches: Sequence[range], workers: int) -> list[ImageBatch]:
    return list(image_batches(files, batches, mean_colour, workers=workers, pinned=False))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_order_with_their_faults(photos: list[Path], workers: int) -> None:
    found = read(photos, [range(3), range(3, 6), range(6, 7)], workers)
    assert [batch.rows for batch in found] == [(0, 2), (3,), (6,)]
    assert [sorted(batch.faults) for batch in found] == [[1], [4, 5], []]
    for batch in found:
        assert batch.pixels.tolist() == [[[[r]], [[2 * r]], [[3 * r]]] for r in batch.rows]
        digests = [hashlib.sha256(photos[row].read_bytes()).hexdigest() for row in batch.rows]
        assert list(batch.sha256) == digests
    assert found[0].faults[1] == f"{photos[1]} is empty (0 bytes): fetch it again"
    assert found[1].faults[4] == f"{photos[4]} is no image: expected {FORMAT_NAMES}"
    assert found[1].faults[5] == f"{photos[5]} is missing"


def test_a_batch_without_a_readable_photo_is_empty(photos: list[Path]) -> None:
    (found,) = read(photos, [range(4, 6)], 0)
    assert found.rows == ()
    assert len(found.pixels) == 0


def test_a_decoded_image_that_turns_out_damaged_is_its_own_fault(photos: list[Path]) -> None:
    content = photos[0].read_bytes()
    cut = Image.open(io.BytesIO(content[:45]))  # its pixels are decoded when they are asked for
    whole = Image.open(io.BytesIO(content))
    found = list(image_batches([cut, whole], [range(2)], mean_colour, workers=0, pinned=False))
    assert found[0].rows == (1,)
    assert found[0].faults[0].startswith("photo 0 is damaged (")


def test_no_batches_start_no_workers(photos: list[Path]) -> None:
    assert read(photos, [], 2) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_the_global_generator_is_left_alone(photos: list[Path], workers: int) -> None:
    before = torch.get_rng_state()
    read(photos, [range(1)], workers)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_workers_end_with_a_caller_that_stops_early(photos: list[Path]) -> None:
    stream = image_batches(photos, [range(1)] * 20, mean_colour, workers=2, pinned=False)
    next(stream)
    assert len(multiprocessing.active_children()) == 2
    stream.close()
    assert multiprocessing.active_children() == []


def test_a_signal_to_the_whole_group_leaves_the_workers_alone(photos: list[Path]) -> None:
    reading = image_batches(photos, [range(1)] * 3, mean_colour, workers=1, pinned=False)
    next(reading)
    (worker,) = multiprocessing.active_children()
    assert os.getpgid(worker.pid) != os.getpgid(0)
    assert len(list(reading)) == 2


def no_memory(pixels: Tensor) -> None:
    raise RuntimeError("unable to allocate shared memory(shm): No space left on device (28)")


@pytest.mark.parametrize("lacking", ["nothing", "room", "room when it is taken"])
def test_batches_go_another_way_where_shared_memory_is_small(
    photos: list[Path], lacking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container has 64 MiB of it; a batch that found no room there never came."""
    space = SimpleNamespace(f_bavail=0 if lacking == "room" else 10**9, f_frsize=1)
    monkeypatch.setattr("cir.data.image_batches.os.statvfs", lambda path: space)
    if lacking == "room when it is taken":
        monkeypatch.setattr(Tensor, "share_memory_", no_memory)
    first, second = read(photos, [range(3), range(3, 6)], 1)
    assert first.pixels.is_shared() == (lacking == "nothing")
    assert first.pixels.tolist() == [[[[0]], [[0]], [[0]]], [[[2]], [[4]], [[6]]]]
    assert (first.rows, second.rows, sorted(second.faults)) == ((0, 2), (3,), [4, 5])


def test_a_worker_that_lacks_shared_memory_says_how_to_give_more(photos: list[Path]) -> None:
    dying = partial(die_of, signal.SIGBUS)
    with pytest.raises(CirError, match=r"bus error: /dev/shm is full.*--shm-size.*`workers=0`"):
        list(image_batches(photos, [range(1)], dying, workers=1, pinned=False))


@pytest.mark.parametrize("fatal", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_worker_is_one_line(
    photos: list[Path], fatal: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CirError, match=r"DataLoader worker .*`workers=0`") as caught:
        list(image_batches(photos, [range(1)], partial(die_of, fatal), workers=1, pinned=False))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bug_is_not_taken_for_a_killed_worker(photos: list[Path], workers: int) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        list(image_batches(photos, [range(1)], bug, workers=workers, pinned=False))
