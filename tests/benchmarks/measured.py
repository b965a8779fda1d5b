"""Time and memory of one piece of work, in a process of its own.

A fresh process has no memory that an earlier contestant left behind, and starts the threads that
its own libraries start.
"""

import ctypes
import gc
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KIB_IN_MIB = 1024
_RESET_PEAK = "5"
"""What /proc/self/clear_refs takes to set VmHWM back to VmRSS (proc_pid_clear_refs(5))."""


@dataclass(frozen=True)
class Figures:
    """What one run took."""

    wall: float
    """Seconds."""
    cpu: float
    """Processor seconds of all threads."""
    first_call: float
    """Seconds of a tiny problem before it: compiling, starting threads, loading libraries."""
    peak_mib: float | None
    """The most resident memory above what was there before; None where the system tells none."""


def measured(work: Callable[[], Any], tiny: Callable[[], object]) -> tuple[Any, Figures]:
    """Runs `tiny`, then `work`; what `work` gives, and what it took."""
    started = time.perf_counter()
    tiny()
    first_call = time.perf_counter() - started
    before = _resident_after_reset()
    wall, cpu = time.perf_counter(), time.process_time()
    output = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = None if before is None else (_status("VmHWM") - before) / _KIB_IN_MIB
    return output, Figures(wall, cpu, first_call, peak)


def in_fresh_process(function: Callable[..., Any], *args: Any) -> Any:
    """What `function(*args)` gives in a new process; raises what it raised.

    Raises:
        BrokenProcessPool: the process was killed, as for want of memory.
    """
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned) as pool:
        return pool.submit(function, *args).result()


def _resident_after_reset() -> int | None:
    """Resident KiB, with the mark of the highest put back to it; None where that cannot be done.

    Freed memory is given back first: what work takes from it would not be seen.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text(_RESET_PEAK, encoding="ascii")
    except (AttributeError, OSError):
        return None
    return _status("VmRSS")


def _status(field: str) -> int:
    """A figure of /proc/self/status, in KiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}")
