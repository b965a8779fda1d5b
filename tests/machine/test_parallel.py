"""Work in worker processes, and in this one."""

import os

import pytest

from cir.machine.parallel import in_order


@pytest.mark.parametrize("workers", [0, 1])
def test_without_workers_this_process_computes(workers: int) -> None:
    """Of more items than a worker is handed at once."""
    computed_in = in_order(lambda number: (number, os.getpid()), range(200), workers)
    assert list(computed_in) == [(number, os.getpid()) for number in range(200)]
