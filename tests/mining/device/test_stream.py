"""The scan that runs wholly on one device finds what the compiled scan finds, bit for bit.

ORACLE_EXAMPLES=2000 python -m pytest tests/mining/device -k oracle  tries more worlds.
"""

import dataclasses
import os
from typing import Any, Final
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cir.artefacts.vectors import normalised
from cir.config import MiningOptions
from cir.mining.device import tile_scan
from cir.mining.engine import mine
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.machine import Machine
from cir.mining.plan import Draw, Plan
from cir.mining.problem import Mined, Problem
from tests.support.device_scans import device_scans
from tests.support.mining_worlds import filters, mining_options, random_world, small_worlds
from tests.support.plans import PLANS, assert_same, plan, world

EXAMPLES: Final = int(os.environ.get("ORACLE_EXAMPLES", "4"))
NEAREST: Final = Plan((Draw("any", 1.0, "hard"),), num_negatives=4, margin=0.2)


def by_device(problem: Problem, asked: Plan, block_size: int = 512, **sizes: int) -> Mined:
    with device_scans(**sizes):
        return mine(problem, asked, block_size=block_size)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_every_plan_gives_the_same_however_the_work_is_cut(name: str) -> None:
    expected = mine(world(), plan(name), threads=1)
    assert_same(by_device(world(), plan(name)), expected)
    assert_same(by_device(world(), plan(name), 17, tile_size=120, pool_bytes=1), expected)


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None)
@given(
    small_worlds(),
    mining_options(),
    st.one_of(st.just({}), filters()),
    st.integers(1, 13),
    st.sampled_from((1, 5, 16, 2048)),
)
def test_the_oracle_finds_the_same(
    world: dict[str, Any],
    options: dict[str, Any],
    filters: dict[str, Any],
    block_size: int,
    tile: int,
) -> None:
    made = random_world(**world)
    most = len({image for gallery in made.galleries.values() for image in gallery})
    options = options | {"num_negatives": min(options["num_negatives"], most)}
    asked = MiningOptions(**options, **filters)
    expected, machine = made.mine(asked), Machine(block_size=block_size)
    with device_scans(tile):
        made.check(asked, machine)
        found = made.mine(asked, machine)
    for field in dataclasses.fields(expected):
        one, other = getattr(expected, field.name), getattr(found, field.name)
        np.testing.assert_equal(other, one, err_msg=field.name)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [5e-324, 1e-35, 1e-3, 1e300])
def test_no_temperature_is_too_low_or_too_high(temperature: float) -> None:
    asked = dataclasses.replace(plan("softmax"), temperature=temperature)
    assert_same(by_device(world(), asked, tile_size=120), mine(world(), asked, threads=1))


def falling(count: int) -> Problem:
    """Every candidate is nearer to the queries than those before, and some are copies."""
    angles = np.repeat(np.linspace(1.5, 0.5, count // 2), 2)
    gallery = normalised(np.stack([np.cos(angles), np.sin(angles)], axis=1), "gallery")
    queries = normalised(np.array([[1.0, 0.0], [1.0, 0.01], [1.0, -0.5]]), "queries")
    return Problem(queries, gallery[:3], gallery, exclusions_of([[], [0], [count - 1]]))


def test_a_tile_of_which_all_are_better_is_looked_at_again() -> None:
    narrowed = []
    looked = tile_scan.TileScan._open_pairs

    def noted(self: tile_scan.TileScan, *given: Any, narrow: bool) -> torch.Tensor:
        narrowed.append(narrow)
        return looked(self, *given, narrow=narrow)

    with mock.patch.object(tile_scan.TileScan, "_open_pairs", noted):
        found = by_device(falling(600), NEAREST, tile_size=300)
    assert narrowed == [True, False, True]
    assert_same(found, mine(falling(600), NEAREST, threads=1))


def test_what_lies_on_a_border_takes_no_place_in_the_band() -> None:
    """As near as the target, by its product, are copies of the target, which are easy."""
    angles = np.concatenate([np.full(30, 0.4), np.linspace(0.41, 0.5, 30)])
    gallery = normalised(np.stack([np.cos(angles), np.sin(angles)], axis=1), "gallery")
    query = normalised(np.array([[1.0, 0.0]]), "query")
    problem = Problem(query, gallery[:1], gallery, exclusions_of([[0]]))
    found = by_device(problem, Plan((Draw("any", 1.0, "semi-hard"),), num_negatives=4, margin=0.2))
    assert found.rows.tolist() == [[30, 31, 32, 33]]


def test_autocast_and_gradients_of_the_caller_change_nothing() -> None:
    expected = mine(world(), NEAREST, threads=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(by_device(world(), NEAREST), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("name", PLANS)
def test_cuda_mines_what_the_cpu_mines(name: str) -> None:
    expected = mine(world(), plan(name), threads=1)
    for sizes in ({}, {"tile_size": 120, "block_size": 17}):
        assert_same(mine(world(), plan(name), device="cuda", **sizes), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("kept", [5, 3000])
@pytest.mark.parametrize("sampling", ["top", "random", "softmax"])
def test_cuda_mines_real_sizes_alike_and_more_than_2048(sampling: Any, kept: int) -> None:
    rng = np.random.default_rng(0)
    gallery = normalised(rng.standard_normal((20_000, 640)), "gallery")
    queries = normalised(gallery[:300] + 0.05 * rng.standard_normal((300, 640)), "queries")
    problem = Problem(queries, gallery[300:600], gallery, exclusions_of([[n] for n in range(300)]))
    asked = Plan((Draw("any", 1.0, "semi-hard"),), kept, margin=0.2, sampling=sampling)
    assert_same(mine(problem, asked, device="cuda"), mine(problem, asked))


@pytest.mark.gpu
def test_the_memory_of_the_card_does_not_grow_with_the_gallery() -> None:
    peaks = []
    for count in (400_000, 1_600_000):
        made = np.random.default_rng(0).standard_normal((count, 64), dtype=np.float32)
        gallery = normalised(made, "gallery")
        problem = Problem(gallery[:64], gallery[64:128], gallery, exclusions_of([[]] * 64))
        torch.cuda.reset_peak_memory_stats()
        mine(problem, NEAREST, device="cuda", block_size=64, tile_size=65_536)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] <= 1.25 * peaks[0]
    assert peaks[1] < 1_600_000 * 64 * 4
