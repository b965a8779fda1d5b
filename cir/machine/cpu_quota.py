"""The processor time that a container gives this process, as Linux' control groups state it.

A container with two cores' worth of time on a machine of 64 shows all 64. Threads on each use up
the time at once, and then all of them stand still until the next period.

Version 2: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max);
version 1: https://docs.kernel.org/scheduler/sched-bwc.html (cpu.cfs_quota_us).
"""

from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

_MOUNTED: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
_HOLDERS: Final = ("", "cpu", "cpu,cpuacct", "cpuacct,cpu")
"""Folders below the mount where groups may lie: of version 2, and of the controller `cpu`."""


@cache
def cpu_quota(mounted: Path = _MOUNTED, own: Path = _OWN) -> float | None:
    """Cores' worth of time that this process gets, or None where nothing limits it.

    The system is asked once: every scan wants to know.

    Args:
        mounted: Where the system shows its control groups.
        own: The file that names those of this process.
    """
    limits = [limit for folder in _groups(mounted, own) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _groups(mounted: Path, own: Path) -> Iterator[Path]:
    """The groups that this process is in, and all that these lie in, which limit it as well.

    A container often shows its own group as the mount itself, under another name than outside.
    """
    paths = {"/"}
    with suppress(OSError):
        # Each line is `number:controllers:/path`; a path may hold colons.
        paths |= {line.split(":", 2)[2] for line in own.read_text("utf-8").splitlines()}
    for path in paths:
        inner = Path(path.lstrip("/"))
        for group in (inner, *inner.parents):
            yield from (mounted / holder / group for holder in _HOLDERS)


def _limit(group: Path) -> float | None:
    """Cores' worth of time that a group allows, or None."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with suppress(OSError, ValueError, ZeroDivisionError):
            texts = [(group / name).read_text("utf-8") for name in names]
            quota, period = map(float, " ".join(texts).split())
            if quota > 0:
                return quota / period
    return None
