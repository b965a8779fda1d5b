"""How many processes a stage may start."""

import os

_MOST_WORKERS = 8


def pick_workers(workers: int | None) -> int:
    """The number of worker processes: as asked, or one a usable core, at most 8."""
    return min(len(os.sched_getaffinity(0)), _MOST_WORKERS) if workers is None else workers
