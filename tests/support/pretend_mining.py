"""Mines on the CPU and on the pretend device, and says what differs and what was waited for.

python -m tests.support.pretend_mining
"""

import json
import sys
from typing import Any, Final
from unittest import mock

import numpy as np

from cir.mining.engine import mine
from cir.mining.plan import Plan
from cir.mining.problem import Mined
from tests.support import pretend_device
from tests.support.plans import PRETENDED, plan, world

TILE: Final = 150
BLOCK: Final = 25


def main() -> None:
    json.dump({name: found(plan(name)) for name in PRETENDED}, sys.stdout)


def found(asked: Plan) -> dict[str, Any]:
    """The fields that differ between the devices, and how often the host waited, by what for."""
    here = mine(world(), asked, threads=1)
    with (
        pretend_device.pretended() as device,
        mock.patch("cir.mining.engine.mining_device", return_value=device),
    ):
        away = mine(world(), asked, tile_size=TILE, block_size=BLOCK)
    return {"differ": differing(here, away), "waits": dict(pretend_device.WAITS)}


def differing(one: Mined, other: Mined) -> list[str]:
    """The fields that are not the same, bit for bit."""
    pairs = {name: (value, getattr(other, name)) for name, value in vars(one).items()}
    return [name for name, (a, b) in pairs.items() if not _same(a, b)]


def _same(one: Any, other: Any) -> bool:
    if not isinstance(one, np.ndarray):
        return bool(one == other)
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


if __name__ == "__main__":
    main()
