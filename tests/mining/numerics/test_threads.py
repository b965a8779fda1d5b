"""Scanning threads make one product each, and leave the process as it was."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from cir.mining.numerics.threads import scanning_threads


def blas_threads() -> list[int]:
    """Of NumPy's own BLAS: other libraries bring more, some with numbers for each thread."""
    np.ones((2, 2)) @ np.ones((2, 2))
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return [pool["num_threads"] for pool in pools if "numpy" in pool["filepath"]]


@pytest.mark.parametrize("error", [None, ZeroDivisionError])
def test_numbers_of_threads_are_restored(error: type[Exception] | None) -> None:
    usual = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with threadpool_limits(2, user_api="blas"):
            before = blas_threads()
            assert before
            try:
                with scanning_threads() as pool:
                    assert pool.submit(torch.get_num_threads).result() == 1
                    assert pool.submit(blas_threads).result() == [1] * len(before)
                    if error:
                        raise error
            except ZeroDivisionError:
                assert error
            assert torch.get_num_threads() == 3
            assert blas_threads() == before == [2] * len(before)
    finally:
        torch.set_num_threads(usual)
