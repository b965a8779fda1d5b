"""What is mined depends on no tile, block, thread or arithmetic, and is what plain loops find."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from cir.artefacts.vectors import normalised
from cir.mining.engine import mine
from cir.mining.exclusions.excluded import exclusions_of
from cir.mining.problem import Mined, Problem
from cir.progress import Task
from cir.types import KINDS
from tests.support.oracle import cosines
from tests.support.plans import GALLERY, PLANS, assert_same, plan, world


@cache
def usual(name: str) -> Mined:
    """In one tile and block, by one thread, in float32."""
    return mine(world(), plan(name), arithmetic=torch.float32, threads=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize(
    ("tile", "block", "threads", "dtype"),
    [
        (20, 7, 3, torch.float32),  # sketched together: 320 rows, and 13
        (5, 13, 1, torch.bfloat16),
        (23, 9, 2, torch.int16),
    ],
)
def test_nothing_depends_on_how_the_work_is_cut(
    name: str, tile: int, block: int, threads: int, dtype: torch.dtype
) -> None:
    found = mine(
        world(), plan(name), tile_size=tile, block_size=block, threads=threads, arithmetic=dtype
    )
    assert_same(found, usual(name))


@pytest.mark.slow
def test_a_tile_may_be_wider_than_its_counts_are() -> None:
    """Every image but the targets' copies is nearer than the target, by more than int16 counts."""
    rng = np.random.default_rng(0)
    near = np.array([1.0, 0.0, 0.0]) + 0.1 * rng.standard_normal((40_000, 3))
    gallery = normalised(np.concatenate([near, [[-1.0, 0.0, 0.0]]]), "gallery")
    query = normalised(np.array([[1.0, 0.0, 0.0]]), "query")
    problem = Problem(query, gallery[-1:], gallery, exclusions_of([[40_000]]))
    mined = mine(problem, plan("hard"), tile_size=65_536, arithmetic=torch.int16)
    assert mined.target_ranks.tolist() == [40_001]
    assert mined.candidates_in_band.tolist() == [40_000]


def test_the_worlds_starve_some_queries_and_fill_others() -> None:
    """Otherwise the tests above would say little."""
    starved = {name: usual(name).starved.mean() for name in PLANS}
    assert 0 < starved["semi-hard"] < 1
    assert 0 < starved["by category"] < 1
    assert starved["unfilled"] > 0.5
    assert usual("filters").excluded.relative_margin > 0
    assert usual("filters").excluded.max_similarity > 0
    assert usual("window").excluded.ranks > 0
    assert (usual("random").rows != usual("hard").rows).any()


@pytest.mark.parametrize("name", ["semi-hard", "hard", "easy"])
def test_the_usual_is_what_plain_loops_find(name: str) -> None:
    """The oracle of test_manifest.py tries far more; this is the world that is cut up here."""
    problem, asked, mined = world(), plan(name), usual(name)
    band = asked.draws[0].band
    for query, vector in enumerate(problem.queries):
        distances = np.float32(1) - cosines(vector, problem.gallery)
        target = (np.float32(1) - cosines(vector, problem.targets[query : query + 1]))[0]
        valid = np.setdiff1d(np.arange(GALLERY), problem.exclusions.of(query))
        keys = sorted((distances[row], row) for row in valid)
        kinds = {
            row: "hard"
            if d < target
            else "semi-hard"
            if target < d < target + np.float32(0.1)
            else "easy"
            for d, row in keys
        }
        inside = [row for _, row in keys if kinds[row] == band]
        outside = [row for _, row in keys if kinds[row] != band]
        chosen = (inside + outside)[:6]
        chosen.sort(key=lambda row: (distances[row], row))
        assert mined.rows[query].tolist() == chosen
        assert [KINDS[kind] for kind in mined.kinds[query]] == [kinds[row] for row in chosen]
        np.testing.assert_array_equal(mined.distances[query], distances[chosen])
        assert mined.candidates_in_band[query] == len(inside)
        assert mined.starved[query] == (len(inside) < 6)
        assert mined.target_ranks[query] == 1 + sum(d < target for d, _ in keys)


def test_a_gallery_may_be_a_file_mapped_into_memory(tmp_path: Path) -> None:
    problem = world()
    np.save(tmp_path / "gallery.npy", problem.gallery)
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    filed = Problem(**{**vars(problem), "gallery": mapped})
    assert_same(mine(filed, plan("softmax")), usual("softmax"))


class Listening:
    """A progress that hears everything, and may have enough of it."""

    def __init__(self, error: type[Exception] | None = None) -> None:
        self.error, self.advanced = error, 0
        self.heard: list[tuple[str, int, str]] = []

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator[Task]:
        self.heard.append((label, total, unit))
        yield self

    def advance(self, count: int = 1, **figures: float) -> None:
        if self.error:
            raise self.error
        self.advanced += count

    def tally(self, **counts: int) -> None:
        raise AssertionError("mining counts nothing on the way")


@pytest.mark.slow
def test_progress_counts_the_gallery_once_for_each_scan() -> None:
    once, twice = Listening(), Listening()
    mine(world(), plan("semi-hard"), tile_size=15, progress=once)
    mine(world(), plan("window"), tile_size=15, progress=twice)
    assert once.heard == [("mine", GALLERY, "images")]
    assert [label for label, _, _ in twice.heard] == ["rank", "mine"]
    assert (once.advanced, twice.advanced) == (GALLERY, 2 * GALLERY)


def test_an_error_in_the_midst_of_a_scan_leaves_the_threads_as_they_were() -> None:
    usual_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with pytest.raises(InterruptedError):
            mine(world(), plan("semi-hard"), progress=Listening(InterruptedError))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(usual_threads)


def test_no_thread_stays_behind() -> None:
    before = threading.active_count()
    mine(world(), plan("semi-hard"))
    assert threading.active_count() == before
