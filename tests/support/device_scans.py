"""Mining on the CPU by the scan that otherwise runs wholly on a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch

from cir.mining.device.stream import POOLS, stream
from cir.mining.scan.request import ScanRequest
from cir.mining.scan.result import ScanResult
from cir.progress import Progress


@contextmanager
def device_scans(tile_size: int | None = None, pool_bytes: int = POOLS) -> Iterator[None]:
    """Replaces the compiled scan."""

    def replaced(
        request: ScanRequest,
        dtype: torch.dtype,
        block_size: int,
        progress: Progress,
        label: str,
        **_: object,
    ) -> ScanResult:
        device = torch.device("cpu")
        sizes = {"tile_size": tile_size, "pool_bytes": pool_bytes}
        return stream(request, device, block_size, progress, label, **sizes)  # type: ignore[arg-type]

    with mock.patch("cir.mining.engine.stream", replaced):
        yield
