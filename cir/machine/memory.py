"""Memory of a device: how much is free, what work takes of it, and faults that lack it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

_LACKING: Final = (
    *("can't allocate memory", "CUDA error: out of memory", "CUDA out of memory"),
    *("ALLOC_FAILED", "bad_alloc", "can't start new thread", "Unable to allocate"),
    *("cudaMalloc error out of memory", "failed to cudaHostAlloc"),
)
"""What errors say that are of no class of their own; the last two are FAISS's."""
_DETAIL: Final = 200
"""Characters of a fault's own words that are passed on."""


def free_bytes(device: "torch.device") -> int | None:
    """Bytes that can still be allocated; None where that is not measured, as on a CPU.

    Those that torch keeps for later allocations are free too.
    """
    if device.type != "cuda":
        return None
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(free + kept)


def peak_bytes(device: "torch.device", work: Callable[[], object]) -> int:
    """The most bytes that `work` holds at one time on a GPU, beside those that were held before."""
    import torch

    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device) - before)


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether it is what NumPy, torch, FAISS or the system raise; some tell by the text alone."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _LACKING)


def out_of_memory(error: BaseException, advice: str) -> str:
    """One line of a fault that `is_lack_of_memory`, with what helps."""
    detail = " ".join(str(error).split())
    return f"out of memory{f' ({detail[:_DETAIL]})' if detail else ''}: {advice}"
