"""How many processes a stage may start."""

import os

_MOST_WORKERS = 8


def pick_workers(workers: int | None) -> int:
    """The number of worker processes: as asked, or one a usable core, at most 8.

    Processes that a launcher started on one machine share its cores.
    """
    if workers is not None:
        return workers
    sharing = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(len(os.sched_getaffinity(0)) // sharing, _MOST_WORKERS))
