"""Mines on the CPU and on the pretend device, and says what differs and what was waited for.

python -m tests.support.pretend_mining
"""

import json
import sys
from typing import Any, Final
from unittest import mock

import numpy as np

from cir.mining.engine import mine
from cir.mining.exclusions.near_duplicates import near_duplicates
from cir.mining.plan import Plan
from cir.mining.scan.result import ScanResult, merged_shards
from tests.support import pretend_device
from tests.support.plans import PRETENDED, plan, world

TILE: Final = 150
BLOCK: Final = 25


def main() -> None:
    results = {name: found(plan(name)) for name in PRETENDED}
    json.dump(results | {"near pairs": found_near()}, sys.stdout)


def found(asked: Plan) -> dict[str, Any]:
    """The fields that differ between the devices, and how often the host waited, by what for."""
    here = mined(asked, threads=1)
    with (
        pretend_device.pretended() as device,
        mock.patch("cir.mining.engine.mining_device", return_value=device),
    ):
        away = mined(asked, tile_size=TILE, block_size=BLOCK)
    differ = [name for name in here if not _same(here[name], away[name])]
    return {"differ": differ, "waits": dict(pretend_device.WAITS)}


def mined(asked: Plan, **machine: int) -> dict[str, Any]:
    """Every field of what is mined, and the keys by which each scan filled its first pool."""
    scanned: list[ScanResult] = []

    def noted(*given: Any) -> ScanResult:
        scanned.append(merged_shards(*given))
        return scanned[-1]

    with mock.patch("cir.mining.engine.merged_shards", noted):
        fields = vars(mine(world(), asked, **machine))
    # Pools that fill up a starved query may be unfinished: the first is no such pool.
    return {**fields, **{f"keys {number}": each.keys[:, 0] for number, each in enumerate(scanned)}}


def found_near() -> dict[str, Any]:
    """As `found`, of near-duplicates."""
    gallery = world().gallery
    here = near_duplicates(gallery[:50], gallery, 0.9)
    with (
        pretend_device.pretended() as device,
        mock.patch("cir.mining.exclusions.near_duplicates.mining_device", return_value=device),
    ):
        away = near_duplicates(gallery[:50], gallery, 0.9, device=device)
    pairs = zip(("rows", "columns"), here, away, strict=True)
    differ = [name for name, one, other in pairs if not _same(one, other)]
    return {"differ": differ, "waits": dict(pretend_device.WAITS)}


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same, bit for bit."""
    if not isinstance(one, np.ndarray):
        return bool(one == other)
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


if __name__ == "__main__":
    main()
