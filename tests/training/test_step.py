"""Two real processes against one: the same curve, the same end, one line of failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cir.artefacts.checkpoint import read_checkpoint
from cir.data.dataset import Dataset
from cir.errors import UsageError
from cir.processes import Processes
from pipeline.faults import FAILED
from tests.support.launched_training import ASKED, BROKEN, STOPPED, trained
from tests.support.runs import EPOCHS, ROOT, assert_same, command_of, metrics, run

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def launched(*words: object) -> subprocess.CompletedProcess[str]:
    """Two processes of a module, started by torchrun."""
    return subprocess.run(
        [*TORCHRUN, "-m", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> tuple[Path, str]:
    """What two processes have trained, and what they have said."""
    folder = tmp_path_factory.mktemp("two")
    done = launched("tests.support.launched_training", dataset.root, folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ASKED)
def test_two_processes_lose_what_one_does(two, tmp_path, dataset, name):
    shared, alone = two[0] / name, tmp_path / "alone"
    trained(dataset, alone, **ASKED[name])
    assert curve(shared) == pytest.approx(curve(alone), rel=1e-4)
    assert len({line["loss"] for line in metrics(shared)}) == EPOCHS + 1
    assert {file.name for file in shared.iterdir()} == {file.name for file in alone.iterdir()}


def curve(out: Path) -> list[float]:
    """The losses of every epoch, and what was learned beside the weights."""
    terms = ("loss", "triplet", "contrastive", "temperature")
    return [line[term] for line in metrics(out) for term in terms if line[term] is not None]


@pytest.mark.slow
def test_all_stop_at_the_same_step_and_go_on(two):
    folder, said = two
    line = (
        f"stopped by SIGTERM at epoch 2, step 2 of 3; saved in "
        f"{folder / STOPPED}/checkpoints/last: go on with `resume=True`"
    )
    assert {f"process {rank} {line}" for rank in (0, 1)} <= set(said.splitlines())
    assert_same(folder / "terms", folder / STOPPED)


@pytest.mark.slow
def test_a_fault_of_one_process_ends_both_with_its_line(two):
    folder, said = two
    line = "ended: process 1: a photo is broken"
    assert {f"process {rank} {line}" for rank in (0, 1)} <= set(said.splitlines())
    assert read_checkpoint(folder / BROKEN / "checkpoints/last").metadata.epoch == 0


@pytest.mark.slow
def test_the_command_says_in_one_line_what_ended_both(tmp_path, files):
    done = launched("pipeline.cli", *command_of(files, tmp_path / "run", learning_rate=1e30))
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(told) == 1
    assert told[0].startswith("error: the loss is nan at epoch 1, step 2: ")
    assert f"exitcode  : {FAILED} " in done.stderr
    assert done.stdout.count("epoch 0/") == 1


def test_a_batch_too_small_to_share_is_refused(tmp_path, dataset, embeddings):
    with pytest.raises(
        UsageError, match=r"`batch_size` is 2, which gives batches of 1 queries; .* at least 5"
    ):
        run(tmp_path / "run", dataset, embeddings, batch_size=2, processes=Lonely(0, 5))


class Lonely(Processes):
    """One of many, whom nobody answers."""

    def _meet(self, error, value=None):
        if error:
            raise error
        return [value]

    def broadcast_from_main(self, make):
        return make()
