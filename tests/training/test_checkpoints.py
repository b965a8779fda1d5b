"""Checkpoints of a run: what they are identified by, and a disk that is full."""

import resource
from functools import partial

import pytest

from cir.artefacts.manifest import read_manifest
from cir.artefacts.store import read_embeddings
from cir.disk.recognition import MARKER
from cir.training.train import train
from pipeline.command.faults import FAILED
from tests.support.forked import CIR, forked
from tests.support.runs import (
    assert_same,
    command_of,
    config_of,
    hidden,
    saved_at,
)


@pytest.mark.slow
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, dataset, files):
    """Files may not grow beyond what the weights take: the optimiser's state does not fit."""
    settings = {"hidden": 64, "tracker": ("none",), **files}
    read = dataset, read_embeddings(files["embeddings"]), read_manifest(files["manifest"])
    straight, out = train(config_of(tmp_path / "straight", **settings), *read), tmp_path / "run"
    last = straight / "checkpoints/last"
    room = 2 * (last / "combiner.safetensors").stat().st_size
    assert room < (last / "trainer.pt").stat().st_size
    process = forked(
        CIR,
        command_of(files, out, save_minutes=0, hidden=64, tracker="none"),
        prepare=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room)),
    )
    _, said = process.communicate(timeout=120)
    assert process.returncode == FAILED
    (told,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert told.startswith(f"error: cannot write {out}/checkpoints/last: File too large")
    assert told.endswith("what stood there before is untouched")
    assert saved_at(out) == (0, 0)
    assert hidden(out) == {MARKER}
    train(config_of(out, resume=True, **settings), *read)
    assert_same(straight, out)
