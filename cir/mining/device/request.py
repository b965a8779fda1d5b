"""What a scan is asked, and a tile of the gallery, as tensors on a device."""

from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32, Int64, Shaped
from torch import Tensor

from cir.machine.runtime import sent
from cir.mining.scan.request import PoolRequest, ScanRequest

_FARTHER: Final = 4.0
"""No two unit vectors are so far apart."""
_NONE: Final = np.float32(np.inf)


def uploaded(values: Shaped[np.ndarray, "..."], device: torch.device) -> Tensor:
    """An array on a device, on its way there while the host goes on."""
    return sent(_writable(values), device)


class Thresholds(NamedTuple):
    """The thresholds of some queries, and what products say about them."""

    distances: Float32[Tensor, "queries thresholds"]
    rows: Int64[Tensor, "queries thresholds"]
    least: Float32[Tensor, "queries thresholds"]
    """A candidate nearer than this, by its product, is surely below the threshold."""
    most: Float32[Tensor, "queries thresholds"]
    """One farther than this is surely not."""


class Intervals(NamedTuple):
    """Where the candidates of each pool lie, exactly and by their products."""

    low_distances: Float32[Tensor, "queries pools intervals"]
    low_rows: Int64[Tensor, "queries pools intervals"]
    high_distances: Float32[Tensor, "queries pools intervals"]
    high_rows: Int64[Tensor, "queries pools intervals"]
    least: Float32[Tensor, "queries pools intervals"]
    most: Float32[Tensor, "queries pools intervals"]
    """A candidate whose product is outside of these is surely outside of the interval."""
    surely_least: Float32[Tensor, "queries pools intervals"]
    surely_most: Float32[Tensor, "queries pools intervals"]
    """One whose product is between these is surely inside."""


class DeviceRequest(NamedTuple):
    """A `ScanRequest` for some of the queries; every field but the last has a row for each."""

    vectors: Float32[Tensor, "queries dim"]
    categories: Int64[Tensor, " queries"]
    thresholds: Thresholds
    intervals: Intervals
    first_hash_keys: Int32[Tensor, "queries pools"]
    second_hash_keys: Int32[Tensor, "queries pools"]
    needed: Bool[Tensor, "queries pools"]
    settings: "ScanSettings"

    def block(self, queries: slice) -> "DeviceRequest":
        """That of some of the queries."""
        return self._replace(
            vectors=self.vectors[queries],
            categories=self.categories[queries],
            thresholds=Thresholds(*(column[queries] for column in self.thresholds)),
            intervals=Intervals(*(column[queries] for column in self.intervals)),
            first_hash_keys=self.first_hash_keys[queries],
            second_hash_keys=self.second_hash_keys[queries],
            needed=self.needed[queries],
        )


@dataclass(frozen=True, eq=False)
class ScanSettings:
    """What is the same for every query: the pools, and how their candidates are ordered."""

    scopes: tuple[int, ...]
    priorities: tuple[int, ...]
    priorities_on_device: Int64[Tensor, " pools"]
    """The priorities again, on the device."""
    first_fill: int
    temperature: float
    temperature_on_device: Tensor
    """The temperature again. torch divides by a number of the host as a product with its
    reciprocal on a GPU, which rounds otherwise."""
    tied: tuple[bool, ...]
    """For each threshold, whether all queries have the one before at the same distance."""
    doubled: tuple[bool, ...]
    """For each pool, whether its second interval holds anything."""
    error: float
    """How far a product may be from the exact distance."""


class Tile(NamedTuple):
    """Consecutive rows of the gallery."""

    vectors: Float32[Tensor, "rows dim"]
    global_rows: Int64[Tensor, " rows"]
    """Their rows in the whole gallery."""
    row_ids_i32: Int32[Tensor, " rows"]
    """The lower 32 bits of those."""
    members: Bool[Tensor, "categories rows"]
    """The rows of each category; no category where the plan draws by none."""

    def to(self, device: torch.device) -> "Tile":
        """The tile on a device, on its way there while the host goes on."""
        return Tile(*(field.to(device, non_blocking=True) for field in self))


def upload_request(request: ScanRequest, error: float, device: torch.device) -> DeviceRequest:
    """Uploads everything about the queries of a request.

    Args:
        request: The queries, their thresholds and pools.
        error: How far a float32 product may be from the exact distance.
        device: Where to.
    """
    thresholds, pools = request.thresholds, request.pools
    put = partial(uploaded, device=device)
    hash_keys = put(pools.hash_keys.view(np.int32))
    around = _around(thresholds.distances, error)
    return DeviceRequest(
        vectors=put(thresholds.vectors),
        categories=put(thresholds.categories),
        thresholds=Thresholds(*map(put, (thresholds.distances, thresholds.rows, *around))),
        intervals=Intervals(*map(put, _intervals(pools, error))),
        first_hash_keys=hash_keys[:, :, 0],
        second_hash_keys=hash_keys[:, :, 1],
        needed=put(pools.needed),
        settings=_settings(request, error, device),
    )


def read_tile(request: ScanRequest, rows: slice, device: torch.device) -> Tile:
    """Some rows of the gallery, in memory of the host from which the device can fetch them."""
    numbers = request.first_row + np.arange(rows.start, rows.stop)
    arrays = (
        np.asarray(request.gallery[rows], dtype=np.float32),
        numbers,
        numbers.astype(np.uint32).view(np.int32),
        request.members[:, rows],
    )
    return Tile(*(_pinned(values, device) for values in arrays))


def _pinned(values: Shaped[np.ndarray, "..."], device: torch.device) -> Tensor:
    """An array as a tensor of the host; a GPU fetches it from pinned memory."""
    tensor = _writable(values)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def _writable(values: Shaped[np.ndarray, "..."]) -> Tensor:
    """An array as a tensor of the host: torch takes no read-only memory, as of a mapped file."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def _intervals(pools: PoolRequest, error: float) -> list[Shaped[np.ndarray, "..."]]:
    """The fields of `Intervals`, as arrays."""
    below_low, above_low = _around(pools.low_distances, error)
    below_high, above_high = _around(pools.high_distances, error)
    keys = pools.low_distances, pools.low_rows, pools.high_distances, pools.high_rows
    return [*keys, below_low, above_high, above_low, below_high]


def _around(
    distances: Float32[np.ndarray, "*shape"], error: float
) -> tuple[Float32[np.ndarray, "*shape"], Float32[np.ndarray, "*shape"]]:
    """Products below the first belong to lesser distances, above the second to greater ones.

    They are finite, so that nothing infinite is between them.
    """
    near = np.clip(distances.astype(np.float64), -_FARTHER, _FARTHER)
    below, above = (near - error).astype(np.float32), (near + error).astype(np.float32)
    return np.nextafter(below, -_NONE), np.nextafter(above, _NONE)


def _settings(request: ScanRequest, error: float, device: torch.device) -> ScanSettings:
    pools, distances = request.pools, request.thresholds.distances
    tied = np.all(distances[:, 1:] == distances[:, :-1], axis=0)
    return ScanSettings(
        scopes=tuple(pools.scopes.tolist()),
        priorities=tuple(pools.priorities.tolist()),
        priorities_on_device=uploaded(pools.priorities.astype(np.int64), device),
        first_fill=pools.first_fill,
        temperature=pools.temperature,
        temperature_on_device=uploaded(np.array(pools.temperature, dtype=np.float64), device),
        tied=(False, *tied.tolist()),
        doubled=tuple(np.any(pools.low_distances[:, :, 1] < _NONE, axis=0).tolist()),
        error=error,
    )
