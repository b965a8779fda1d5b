"""Processes that a launcher started together, and what they tell each other.

torchrun and accelerate launch run one program several times, on one machine or many. What a
process learns of the others it learns by collectives, in which all take part in the same order.
Each begins by asking whether any has failed, so that a failure anywhere ends all of them.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from jaxtyping import Shaped

from cir.errors import CirError, StoppedError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

Made = TypeVar("Made")

_LAUNCHED: Final = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher says in the environment."""
_PATIENCE: Final = timedelta(days=1)
"""How long a process waits for one that is busy; of one that is gone it hears at once."""
_GPU_OF: Final = "cir/gpu"
"""Where processes tell each other which GPU they take, before they join."""


class Processes:
    """This process among those that work together: alone, unless `together` says otherwise."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count
        self._failed = False

    @property
    def main(self) -> bool:
        """Whether this is the one that writes, prints and shows progress."""
        return self.rank == 0

    def part(self, total: int) -> slice:
        """The rows of this process, of `total` that all share evenly in the order of ranks."""
        return slice(total * self.rank // self.count, total * (self.rank + 1) // self.count)

    def all_gather_object(self, value: Any) -> list[Any]:
        """The values of all processes, by rank; they are small.

        Raises:
            CirError: a process failed, or was lost.
        """
        return self._meet(None, value)

    def gathered(self, array: Shaped[np.ndarray, "*shape"]) -> list[Shaped[np.ndarray, "*shape"]]:
        """The arrays of all processes, by rank; they are of one shape and type.

        Raises:
            CirError: a process failed, or was lost.
        """
        self._meet(None)
        if self.count == 1:
            return [array]
        import torch
        import torch.distributed as dist

        tensor = torch.from_numpy(np.ascontiguousarray(array))
        parts = [torch.empty_like(tensor) for _ in range(self.count)]
        with self._naming_lost_processes():
            dist.all_gather(parts, tensor)
        return [part.numpy() for part in parts]

    def all_rows(self, part: Shaped[np.ndarray, "_ ..."]) -> Shaped[np.ndarray, "_ ..."]:
        """The rows of all processes, those of a lower rank first; each may have another number.

        Raises:
            CirError: a process failed, or was lost.
        """
        counts = self.all_gather_object(len(part))
        filled = np.zeros((max(counts), *part.shape[1:]), part.dtype)
        filled[: len(part)] = part
        parts = zip(self.gathered(filled), counts, strict=True)
        return np.concatenate([rows[:count] for rows, count in parts])

    def all_in_main(self, value: Made) -> list[Made]:
        """The values of all processes, by rank, in the main one; none in the others.

        Raises:
            CirError: a process failed, or was lost.
        """
        self._meet(None)
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] | None = [None] * self.count if self.main else None
        with self._naming_lost_processes():
            dist.gather_object(value, values)
        return values or []

    def begin_sum(self, tensor: "Tensor") -> Callable[[], None]:
        """Begins to make a tensor its sum over all processes, in place.

        Returns:
            What waits for the sum, and raises CirError where a process was lost.
        """
        if self.count == 1:
            return _nothing
        import torch.distributed as dist

        with self._naming_lost_processes():
            work = dist.all_reduce(tensor, async_op=True)

        def wait() -> None:
            with self._naming_lost_processes():
                work.wait()

        return wait

    def summed(self, array: Shaped[np.ndarray, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
        """The sum of the arrays of all processes."""
        total: Shaped[np.ndarray, "*shape"] = np.asarray(np.sum(self.gathered(array), axis=0))
        return total

    def broadcast_from_main(self, make: Callable[[], Made]) -> Made:
        """What `make` gives in the main process, which alone calls it."""
        made: list[Any] = [make() if self.main else None]
        self._meet(None)
        if self.count > 1:
            import torch.distributed as dist

            with self._naming_lost_processes():
                dist.broadcast_object_list(made)
        whole: Made = made[0]
        return whole

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """Runs a block in each process; what fails in one of them fails in all.

        Raises:
            CirError: that of the first process that failed.
        """
        try:
            yield
        except StoppedError:
            raise  # to stop is agreed upon beforehand
        except CirError as error:
            if not self._failed:
                self._meet(error)
            raise
        self._meet(None)

    def leave(self) -> None:
        """Waits until all processes are here."""
        if self.count > 1:
            import torch.distributed as dist

            with suppress(CirError):
                self._meet(None)
            dist.destroy_process_group()

    def _meet(self, error: CirError | None, value: Any = None) -> list[Any]:
        """The values of all processes; raises the first failure of any."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        line = None if error is None else (isinstance(error, UsageError), str(error))
        said: list[Any] = [None] * self.count
        with self._naming_lost_processes():
            dist.all_gather_object(said, (line, value))
        for rank, (failure, _) in enumerate(said):
            if failure is not None:
                self._failed = True
                raise _error(rank, *failure)
        return [each for _, each in said]

    @contextmanager
    def _naming_lost_processes(self) -> Iterator[None]:
        """Says that another process is gone where torch says that a connection is."""
        try:
            yield
        except RuntimeError as fault:
            import torch.distributed as dist

            self._failed = True
            if isinstance(fault, dist.DistBackendError):
                raise CirError(_of_nccl(str(fault), self.count)) from fault
            raise CirError(
                f"one of {self.count} processes ended before the others: see what it said, or "
                f"whether it was killed for lack of memory"
            ) from fault


def _of_nccl(said: str, count: int) -> str:
    """One line of what NCCL says, which may be more than that a process is gone."""
    words = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), said)
    advice = (
        "give the container more shared memory (docker run --shm-size=8g)"
        if "shared memory" in said
        else "see what the other processes said, or whether one was killed for lack of memory"
    )
    return f"{count} processes cannot exchange vectors on their GPUs ({words[:300]}): {advice}"


ALONE: Final = Processes()
"""One process that nobody started others beside."""


def launched() -> Processes:
    """This process as a launcher numbered it, which has met no other; `ALONE` without a launcher.

    `together` lets the processes meet.
    """
    if not all(os.environ.get(name) for name in _LAUNCHED) or os.environ["WORLD_SIZE"] == "1":
        return ALONE
    return Processes(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


@contextmanager
def together() -> Iterator[Processes]:
    """Joins the processes that a launcher started, or this one alone; they part as one.

    Where the block raises, nobody is waited for: `fail_together` tells what raises in all of them.
    """
    processes = launched()
    if processes.count == 1:
        yield processes
        return
    import torch.distributed as dist
    from torch.distributed.rendezvous import rendezvous

    store, rank, count = next(rendezvous("env://", timeout=_PATIENCE))
    backend = _backend(_gpus_of_all(store, rank, count))
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=_PATIENCE)
    yield processes
    processes.leave()


def _gpus_of_all(store: Any, rank: int, count: int) -> list[str]:
    """What tells the GPU of each process from all others; an empty text of one that has none."""
    store.set(f"{_GPU_OF}/{rank}", _own_gpu())
    return [store.get(f"{_GPU_OF}/{each}").decode() for each in range(count)]


def _own_gpu() -> str:
    """The UUID of the GPU that this process takes (`cir.machine.runtime.pick_device`)."""
    import torch

    if not torch.cuda.is_available():
        return ""
    number = int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count()
    return str(torch.cuda.get_device_properties(number).uuid)


def _backend(gpus: Sequence[str]) -> str:
    """gloo, and NCCL for tensors on GPUs where every process has one of its own.

    However many a process sees: a launcher may show each its own alone.
    """
    one_each = all(gpus) and len(set(gpus)) == len(gpus)
    return "cpu:gloo,cuda:nccl" if one_each else "gloo"


def _nothing() -> None:
    """There is nothing to wait for."""


def _error(rank: int, misused: bool, line: str) -> CirError:
    message = f"process {rank}: {line}" if rank else line
    return UsageError(message) if misused else CirError(message)
