"""How mining runs: where, in what pieces, and who takes part; what is mined is the same."""

from dataclasses import dataclass

import torch

from cir import arguments
from cir.config import MineConfig
from cir.machine.processes import ALONE, Processes
from cir.progress import SILENT, Progress


@dataclass(frozen=True)
class Machine:
    """How mining runs; the result is the same however it does.

    Raises:
        UsageError: a field is not what is said here.
    """

    device: torch.device = torch.device("cpu")
    """Where candidates are compared and chosen."""
    block_size: int = MineConfig.block_size
    """Queries compared with a tile of the gallery at once, by each thread."""
    tile_size: int | None = None
    """Gallery rows in a tile; None takes as many as suit the device."""
    threads: int | None = None
    """How many scan on the CPU; None is one a usable core."""
    arithmetic: torch.dtype | None = None
    """Number format of the sketch on the CPU; None is the fastest here."""
    progress: Progress = SILENT
    """Shows gallery images per second."""
    processes: Processes = ALONE
    """Those that mine together, each with a part of the gallery; all are given the same, and
    return the same."""

    def __post_init__(self) -> None:
        arguments.integer("block_size", self.block_size, 1)
        for name in ("tile_size", "threads"):
            given = getattr(self, name)
            if given is not None:
                arguments.integer(name, given, 1)
        known = self.arithmetic in (None, torch.int16, torch.bfloat16, torch.float32)
        formats = "torch.int16, torch.bfloat16 or torch.float32"
        arguments.require("arithmetic", self.arithmetic, formats, holds=known)
        arguments.instance("progress", self.progress, Progress)
        arguments.instance("processes", self.processes, Processes)
