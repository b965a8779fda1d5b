"""However blocks overlap, threads that they limit are set back when the last one ends."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import ThreadpoolController

from cir.machine.threads import one_blas_thread, one_thread, pool_of_single_threads

BEFORE = 3
Block = Callable[[], AbstractContextManager[Any]]


@pytest.fixture(autouse=True)
def _several_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(BEFORE)
    with ThreadpoolController().select(user_api="blas").limit(limits=2):
        yield
    torch.set_num_threads(before)


def blas_threads() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    found = ThreadpoolController().select(user_api="blas").info()
    return {library["num_threads"] for library in found}


def test_a_block_computes_in_one_thread() -> None:
    with one_thread():
        assert (torch.get_num_threads(), blas_threads()) == (1, {1})
    assert (torch.get_num_threads(), blas_threads()) == (BEFORE, {2})


def test_each_thread_of_a_pool_has_one_and_its_owner_all() -> None:
    with pool_of_single_threads(2) as pool:
        assert set(pool.map(lambda _: torch.get_num_threads(), range(8))) == {1}
        assert (torch.get_num_threads(), blas_threads()) == (BEFORE, {2})
    assert torch.get_num_threads() == BEFORE


@pytest.mark.parametrize("blocks", [(one_thread, one_thread), (one_thread, one_blas_thread)])
def test_the_block_that_began_first_may_end_first(blocks: tuple[Block, Block]) -> None:
    first, last = (block() for block in blocks)
    first.__enter__()
    last.__enter__()
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    last.__exit__(None, None, None)
    assert (torch.get_num_threads(), blas_threads()) == (BEFORE, {2})


def test_a_pool_that_began_within_a_block_leaves_the_threads_of_before() -> None:
    block, pool = one_thread(), pool_of_single_threads(1)
    block.__enter__()
    pool.__enter__()
    block.__exit__(None, None, None)
    pool.__exit__(None, None, None)
    assert torch.get_num_threads() == BEFORE


def test_a_fault_sets_the_threads_back() -> None:
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert (torch.get_num_threads(), blas_threads()) == (BEFORE, {2})


@pytest.mark.slow
def test_a_library_that_is_loaded_later_is_found() -> None:
    """SciPy brings one of its own."""
    script = (
        "import numpy; from cir.machine.threads import blas_libraries;"
        "before = blas_libraries().info();"
        "import scipy.linalg; print(len(blas_libraries().info()) - len(before))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    assert int(said) == 1
