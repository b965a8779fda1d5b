"""What counts as a lack of memory, whoever says so."""

import pytest

from cir.machine.memory import is_lack_of_memory


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("any words"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError(
            "StandardGpuResources: alloc fail size 9 (cudaMalloc error out of memory [2])"
        ),
        RuntimeError("failed to cudaHostAlloc 268435456 bytes (error 2 out of memory)"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_a_lack_of_memory_is_known(error: Exception) -> None:
    assert is_lack_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2 cannot be multiplied"), OSError()])
def test_other_faults_are_none(error: Exception) -> None:
    assert not is_lack_of_memory(error)
