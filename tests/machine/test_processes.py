"""One process alone, and how several share a machine; several at once are in test_shards.py."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cir.errors import CirError, ManifestError, UsageError
from cir.machine.processes import ALONE, Processes, _backend, _own_gpu, together
from cir.machine.runtime import pick_device
from cir.machine.workers import pick_threads, pick_workers


@pytest.mark.parametrize("total", [0, 1, 5, 12])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_parts_follow_one_another_and_are_even(total: int, count: int) -> None:
    rows = [list(range(total))[Processes(rank, count).part(total)] for rank in range(count)]
    assert [row for part in rows for row in part] == list(range(total))
    assert {len(part) for part in rows} <= {total // count, -(-total // count)}


@pytest.mark.parametrize("world", [{}, {"WORLD_SIZE": "8"}, {"WORLD_SIZE": "1", "RANK": "0"}])
def test_without_a_launcher_a_process_is_alone(
    world: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in world.items():
        monkeypatch.setenv(name, value)
    with together() as processes:
        assert processes is ALONE
    assert not torch.distributed.is_initialized()


def test_one_process_has_what_it_gives() -> None:
    array = np.arange(6).reshape(2, 3)
    (found,) = ALONE.gathered(array)
    assert found is array
    np.testing.assert_array_equal(ALONE.summed(array), array)
    assert ALONE.all_gather_object("here") == ["here"]
    assert ALONE.broadcast_from_main(lambda: "made") == "made"
    assert ALONE.main


def test_the_failure_of_one_process_stays_what_it_is() -> None:
    fault = ManifestError("damaged")
    with pytest.raises(ManifestError) as raised, ALONE.fail_together():
        raise fault
    assert raised.value is fault


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("NCCL error\nLast error:\nError while creating shared memory segment", "--shm-size"),
        ("NCCL error\nLast error:\nCuda failure 2 'out of memory'\n", "Cuda failure 2 'out of"),
    ],
)
def test_what_nccl_says_is_told(said: str, advice: str) -> None:
    with pytest.raises(CirError) as raised, Processes(0, 2)._naming_lost_processes():
        raise torch.distributed.DistBackendError(said)
    assert advice in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("cores", "sharing", "workers"), [(4, "2", 2), (2, "8", 1), (64, "1", 8)])
def test_processes_of_a_machine_share_its_cores(
    cores: int, sharing: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", sharing)
    assert pick_workers(None) == workers
    assert pick_workers(50) == 50
    most = max(64, 16 * cores)
    assert pick_workers(most) == most
    with pytest.raises(UsageError, match=rf"`workers` is 1000000; expected at most {most} on"):
        pick_workers(1_000_000)
    fed = max(1, cores // int(sharing) - 1)  # the encoder on a GPU needs no core
    assert pick_workers(None, torch.device("cuda")) == fed
    assert pick_threads() == max(1, cores // int(sharing))  # arithmetic has no limit of 8
    assert pick_threads(5) == 5


@pytest.mark.parametrize(("rank", "number"), [("1", 1), ("2", 0)])
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_process_takes_a_gpu_of_its_own(
    name: str, rank: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert pick_device(name) == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", rank)
    assert pick_device(name) == torch.device("cuda", number)
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("gpus", "backend"),
    [
        (["GPU-1", "GPU-2"], "cpu:gloo,cuda:nccl"),
        (["GPU-1", "GPU-1"], "gloo"),  # NCCL refuses two processes on one
        (["GPU-1", ""], "gloo"),
    ],
)
def test_nccl_joins_processes_that_have_a_gpu_each(gpus: list[str], backend: str) -> None:
    assert _backend(gpus) == backend


def test_a_process_takes_the_only_gpu_that_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {0: SimpleNamespace(uuid="GPU-7")}
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: len(shown))
    monkeypatch.setattr("torch.cuda.get_device_properties", shown.__getitem__)
    monkeypatch.setenv("LOCAL_RANK", "5")
    assert _own_gpu() == "GPU-7"
