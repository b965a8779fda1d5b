"""Mining on a device that refuses to be mixed with the CPU, against mining on the CPU."""

import json
from typing import Any, get_args

import pytest

from cir.types import Sampling
from tests.support.forked import forked
from tests.support.plans import PRETENDED, plan

pytestmark = pytest.mark.slow

TILE_SCANS = 6
"""Blocks × tiles of `tests.support.pretend_mining`."""
FIELDS = 4
"""Of what is downloaded at the end of a scan: keys, rows, distances, counts."""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    process = forked("tests.support.pretend_mining", [])
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    mined: dict[str, Any] = json.loads(said)
    return mined


def test_every_way_of_sampling_is_tried() -> None:
    assert {plan(name).sampling for name in PRETENDED} == set(get_args(Sampling))


@pytest.mark.parametrize("name", PRETENDED)
def test_mining_is_the_same_on_both(found: dict[str, Any], name: str) -> None:
    assert found[name]["differ"] == []


def test_near_duplicates_are_the_same_on_both(found: dict[str, Any]) -> None:
    """One tile and block, and its result."""
    assert found["near pairs"] == {"differ": [], "waits": {"mask": 1, "copy": 2}}


@pytest.mark.parametrize("name", PRETENDED)
def test_a_block_and_a_tile_wait_once(found: dict[str, Any], name: str) -> None:
    """For the number of pairs that they leave open; and a scan, for its result."""
    scans = 2 if name == "window" else 1
    assert found[name]["waits"] == {"mask": scans * TILE_SCANS, "copy": scans * FIELDS}
