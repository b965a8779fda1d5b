"""Many small pieces of work in a process that may crash or hang, each of which has one outcome."""

import faulthandler
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_PEAK: Final = "peak "
_LOOK: Final = 0.05
"""Seconds between two looks at the process."""


@dataclass
class Outcomes:
    """What came of each piece of work."""

    of: list[str] = field(default_factory=list)
    """By its number."""
    peak_mib: int = 0
    """The most resident memory of a process, over what it began with."""


def fenced(work: Callable[[int], str], count: int, *, patience: float) -> Outcomes:
    """`work` of every number below `count`, one after the other in a forked process.

    A piece that ends the process is "died"; one that takes longer than `patience` is "hung", and
    the process is killed. The pieces behind it are done by another process.
    """
    outcomes = Outcomes()
    while len(outcomes.of) < count:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            log.touch()
            ended = _watch(work, range(len(outcomes.of), count), log, patience)
            for line in log.read_text("utf-8").splitlines():
                if line.startswith(_PEAK):
                    outcomes.peak_mib = max(outcomes.peak_mib, int(line.removeprefix(_PEAK)))
                else:
                    outcomes.of.append(line)
        if ended and len(outcomes.of) < count:
            outcomes.of.append(ended)
    return outcomes


def _watch(work: Callable[[int], str], numbers: range, log: Path, patience: float) -> str:
    """Lets a process work; "died" or "hung" where it did not end by itself."""
    process = multiprocessing.get_context("fork").Process(target=_do, args=(work, numbers, log))
    process.start()
    written, since = 0, time.monotonic()
    while process.is_alive():
        process.join(_LOOK)
        if log.stat().st_size != written:
            written, since = log.stat().st_size, time.monotonic()
        elif time.monotonic() > since + patience:
            process.kill()
            process.join()
            return "hung"
    return f"died ({process.exitcode})" if process.exitcode else ""


def _do(work: Callable[[int], str], numbers: range, log: Path) -> None:
    faulthandler.disable()  # what dies is counted, and says nothing
    before = _peak()
    with log.open("a", buffering=1, encoding="utf-8") as said:
        for number in numbers:
            said.write(" ".join(work(number).split()) + "\n")
        said.write(f"{_PEAK}{_peak() - before}\n")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
