"""Two real processes against one: the same curve, the same end, one line of failure."""

from pathlib import Path

import pytest
import torch

from cir.artefacts.checkpoint import read_checkpoint
from cir.data.dataset import Dataset
from cir.errors import UsageError
from cir.machine.processes import Processes
from pipeline.command.faults import FAILED
from tests.support.forked import CIR, launched
from tests.support.launched_training import ASKED, BROKEN, STOPPED, trained
from tests.support.runs import EPOCHS, assert_same, command_of, metrics, run


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> tuple[Path, str]:
    """What two processes have trained, and what they have said."""
    folder = tmp_path_factory.mktemp("two")
    words = [str(dataset.root), str(folder)]
    ended = launched("tests.support.launched_training", [words, words])
    assert [code for code, *_ in ended] == [0, 0], ended
    return folder, "".join(output for _, output, _ in ended)


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
    words = command_of(files, tmp_path / "run", learning_rate=1e30)
    (first, output, errors), (second, *quiet) = launched(CIR, [words, words])
    assert (first, second) == (FAILED, FAILED)
    (told,) = [line for line in errors.splitlines() if line.startswith("error:")]
    assert told.startswith("error: the loss is nan at epoch 1, step 2: ")
    assert output.count("epoch 0/") == 1
    assert quiet == ["", ""]


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


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="this machine has not two GPUs")
def test_two_gpus_lose_what_one_does(tmp_path, files):
    """Joined by NCCL, since each process has a GPU of its own."""
    settings = {"device": "cuda", "combiner": "gated-sum", "loss": "triplet+contrastive"}
    for name, count in (("alone", 1), ("two", 2)):
        words = command_of(files, tmp_path / name, **settings)
        ended = launched(CIR, [words] * count)
        assert [code for code, *_ in ended] == [0] * count, ended
    assert curve(tmp_path / "two") == pytest.approx(curve(tmp_path / "alone"), rel=1e-3)
