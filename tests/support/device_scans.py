"""Mining on the CPU by the scan that otherwise runs wholly on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

from cir.mining.device.stream import POOLS, stream
from cir.mining.machine import Machine
from cir.mining.scan.request import ScanRequest
from cir.mining.scan.result import ScanResult


@contextmanager
def device_scans(tile_size: int | None = None, pool_bytes: int = POOLS) -> Iterator[None]:
    """Replaces the compiled scan."""

    def replaced(request: ScanRequest, machine: Machine, label: str) -> ScanResult:
        sized = replace(machine, tile_size=tile_size)
        return stream(request, sized, label, pool_bytes=pool_bytes)

    with mock.patch("cir.mining.engine.stream", replaced):
        yield
