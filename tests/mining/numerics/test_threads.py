"""Scanning threads make one product each, and leave the process as it was."""

from typing import Final

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from cir.mining.numerics.threads import scanning_threads
from tests.support.forked import CODE, forked


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


def test_there_is_a_thread_for_each_usable_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also beyond the eight at which processes that decode images stop."""
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr("cir.machine.workers.usable_cores", lambda: 17)
    with scanning_threads() as pool:
        assert pool._max_workers == 17
    with scanning_threads(3) as pool:
        assert pool._max_workers == 3


SWITCHES: Final = (
    "torch.backends.fp32_precision = 'tf32'",
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "torch.backends.cuda.matmul.allow_tf32 = True",
    "torch.set_float32_matmul_precision('high')",
)
PROBE: Final = """
import torch
from cir.mining.numerics.threads import scanning_threads
{switch}
products = torch.backends.cuda.matmul
with scanning_threads():
    print(products.fp32_precision)
print(products.fp32_precision)
"""


@pytest.mark.slow
@pytest.mark.parametrize("switch", SWITCHES)
def test_sums_are_of_float32_whichever_switch_a_program_uses(switch: str) -> None:
    """In a process of its own, since torch remembers which of its switches were ever used."""
    code = PROBE.format(switch=switch)
    said, errors = forked(CODE, [code]).communicate(timeout=120)
    assert said.split() == ["ieee", "tf32"], errors
