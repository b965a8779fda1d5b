"""How many processes and threads a stage may start: the cores that it may use decide."""

import os
from typing import TYPE_CHECKING, Final

from cir.errors import UsageError
from cir.machine.cpu_quota import cpu_quota

if TYPE_CHECKING:
    import torch

_MAX_DECODERS: Final = 8
"""More processes that decode images were not measured faster beside an encoder on the CPU."""
_MOST_PER_CORE: Final = 16
_LEAST_BOUND: Final = 64
"""Workers that may be asked for on any machine."""


def usable_cores() -> int:
    """Cores that this process may keep busy: those that it may run on, within a container's quota.

    Of a quota of two cores and a half, two: a third thread would make the others wait.
    """
    quota = cpu_quota()
    allowed = _allowed_cores()
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def _allowed_cores() -> int:
    """Those of the affinity mask, where the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    counted: int | None = getattr(os, "process_cpu_count", os.cpu_count)()
    return counted or 1


def calm_threads() -> None:
    """Tells the libraries to compute in as many threads as there are cores, which wait asleep.

    OpenMP's threads wait for each other by spinning. Where another program has a core, the one
    that is late spins against it, and a photo takes ten times as long. Libraries read this when
    they are loaded, so a program calls it first; what its user has set stays.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(pick_threads()))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pick_threads(threads: int | None = None) -> int:
    """The number of threads that compute: as asked, or one a usable core.

    Processes that a launcher started on one machine share its cores.
    """
    if threads is not None:
        return threads
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, usable_cores() // sharing)


def pick_workers(workers: int | None, device: "torch.device | None" = None) -> int:
    """The number of processes that decode images: as asked, or as many as suit the machine.

    Beside an encoder on the CPU that is one a usable core, at most 8. One on a GPU leaves the cores
    idle and waits for photos: there it is one a core but for that of the process which feeds it.

    Args:
        workers: As many as were asked for.
        device: Where an encoder takes what they decode; None where none does.

    Raises:
        UsageError: more are asked for than this machine could start.
    """
    if workers is None:
        threads = pick_threads()
        feed_gpu = device is not None and device.type == "cuda"
        return max(1, threads - 1) if feed_gpu else min(threads, _MAX_DECODERS)
    cores = usable_cores()
    most = max(_LEAST_BOUND, _MOST_PER_CORE * cores)
    if workers > most:
        raise UsageError(
            f"`workers` is {workers}; expected at most {most} on this machine, where {cores} cores "
            f"can be used"
        )
    return workers
