"""The compiled scan against plain loops, under sketches that are as wrong as they may be."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cir.artefacts.vectors import normalised
from cir.mining.numerics.codes import BITS
from cir.mining.numerics.cosine import product_error
from cir.mining.scan.kernel import Tile, scan_tile
from cir.mining.scan.request import PoolRequest, ThresholdQueries
from cir.mining.scan.result import ScanResult, empty_pools, merged
from cir.mining.scan.sampling_keys import NEAREST, SOFTMAX, UNIFORM, gumbel, hash_keys, hash_of
from cir.mining.sketch.product import Sketched
from cir.types import SCOPES
from tests.support.oracle import cosines

QUERIES: Final = 4
LAST: Final = np.iinfo(np.int64).max
Key = tuple[float, int]


def lattice(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    """Unit vectors along few directions: most similarities are tied."""
    vectors = rng.integers(-1, 2, (rows, dim)).astype(np.float32)
    vectors[~vectors.any(axis=1), 0] = 1
    return normalised(vectors, "test")


@dataclass(frozen=True)
class Drawn:
    """What a world is made from."""

    seed: int
    dim: int
    gallery: int
    kept: int
    tile: int
    wrong: float
    """How far sketched similarities may be off."""
    dtype: torch.dtype


drawn = st.builds(
    Drawn,
    seed=st.integers(0, 100_000),
    dim=st.sampled_from((1, 3, 4, 8)),
    gallery=st.integers(1, 70),
    kept=st.integers(1, 9),
    tile=st.sampled_from((1, 5, 16, 70)),
    wrong=st.sampled_from((0.0, 1e-3, 0.05, 0.6)),
    dtype=st.sampled_from((torch.int16, torch.bfloat16, torch.float32)),
)


class World:
    """Queries, a gallery, borders and pools; and what plain loops find of them."""

    def __init__(self, drawn: Drawn) -> None:
        self.drawn, self.rng = drawn, np.random.default_rng(drawn.seed)
        rng, count = self.rng, drawn.gallery
        self.queries = lattice(rng, QUERIES, drawn.dim)
        self.gallery = lattice(rng, count, drawn.dim)
        self.similar = np.stack([cosines(query, self.gallery) for query in self.queries])
        self.distances = np.float32(1) - self.similar
        self.global_rows = np.sort(rng.choice(3 * count, count, replace=False))
        self.excluded = rng.random((QUERIES, count)) < 0.1
        self.members = rng.random((2, count)) < 0.5
        self.offsets = rng.uniform(-1, 1, QUERIES)
        self.thresholds = self._thresholds()
        self.pools = self._pools()

    def key(self, query: int) -> Key:
        """At a candidate or about one, or anywhere."""
        rng, place = self.rng, self.rng.integers(len(self.global_rows))
        row = rng.choice([self.global_rows[place], -1, LAST])
        if rng.random() < 0.2:
            return float(np.float32(rng.uniform(-0.2, 2.2))), row
        return float(self.distances[query, place]), row

    def _thresholds(self) -> ThresholdQueries:
        borders = [[self.key(query) for _ in range(3)] for query in range(QUERIES)]
        return ThresholdQueries(
            vectors=self.queries,
            categories=self.rng.integers(0, 2, QUERIES),
            distances=np.array([[k[0] for k in own] for own in borders], np.float32),
            rows=np.array([[k[1] for k in own] for own in borders]),
        )

    def _pools(self) -> PoolRequest:
        """Six pools, some of whose intervals are empty, open or both one."""
        pools, rng = 6, self.rng
        lows, highs = (np.empty((QUERIES, pools, 2), object) for _ in range(2))
        for query in range(QUERIES):
            for pool in range(pools):
                keys = sorted(self.key(query) for _ in range(4))
                if rng.random() < 0.3:
                    keys[0] = (-np.inf, -1)
                if rng.random() < 0.3:
                    keys[1:] = [(np.inf, -1)] * 3
                lows[query, pool], highs[query, pool] = (
                    np.fromiter(ends, object, 2) for ends in (keys[::2], keys[1::2])
                )
        parts = [
            np.array([[[key[field] for key in own] for own in row] for row in keys], dtype)
            for keys in (lows, highs)
            for field, dtype in enumerate((np.float32, np.int64))
        ]
        return PoolRequest(
            *parts,
            hash_keys=np.stack([hash_keys(5, n, np.arange(QUERIES)) for n in range(pools)], axis=1),
            scopes=rng.integers(0, len(SCOPES), pools).astype(np.int8),
            priorities=rng.choice([NEAREST, UNIFORM, SOFTMAX], pools).astype(np.int8),
            needed=rng.random((QUERIES, pools)) < 0.8,
            first_fill=int(rng.integers(1, pools + 1)),
            temperature=float(rng.choice([0.01, 1.0])),
        )

    def sketched(self, places: np.ndarray) -> Sketched:
        """Products off by what the stated error allows, mostly by all of it."""
        shape = QUERIES, len(places)
        off = self.rng.choice([-1, 1], shape) * self.rng.choice([1, self.rng.random()], shape)
        products = self.similar[:, places].astype(np.float64) - self.offsets[:, None]
        products = torch.from_numpy(products + off * self.drawn.wrong)
        narrow, steps = self.drawn.dtype != torch.float32, np.full(QUERIES, BITS)
        if self.drawn.dtype == torch.int16:
            steps = self.rng.uniform(1.5e-4, 1e-2, QUERIES)
            products = products / torch.from_numpy(steps)[:, None]
        products = products.float().to(self.drawn.dtype)
        codes = products.view(torch.int16 if narrow else torch.int32).numpy()
        error = self.drawn.wrong + product_error(self.drawn.dim) + steps
        sketched = Sketched(codes, 16 if narrow else 0, steps, self.offsets, error)
        sketched.exclude(*np.nonzero(self.excluded[:, places]))
        return sketched

    def scan(self, places: np.ndarray, found: ScanResult) -> None:
        """Scans some of the gallery, tile after tile."""
        for start in range(0, len(places), self.drawn.tile):
            part = places[start : start + self.drawn.tile]
            members = np.ascontiguousarray(self.members[:, part])
            rows = self.global_rows[part]
            tile = Tile(self.gallery[part], rows, rows.astype(np.uint32))
            error = product_error(self.drawn.dim)
            sketched = self.sketched(part)
            scan_tile(sketched, tile, members, self.thresholds, self.pools, found, error)

    def nothing(self) -> ScanResult:
        return empty_pools(QUERIES, len(self.pools.scopes), self.drawn.kept, 3)

    # ------------------------------------------------------------------- the same in plain loops

    def valid(self, query: int, scope: str) -> list[int]:
        own = self.members[self.thresholds.categories[query]]
        fits = {"same-category": own, "other-category": ~own, "any": np.ones_like(own)}[scope]
        return np.flatnonzero(fits & ~self.excluded[query]).tolist()

    def before(self, query: int, border: int, scope: str) -> int:
        thresholds = self.thresholds
        end = thresholds.distances[query, border], thresholds.rows[query, border]
        return sum(
            (self.distances[query, place], self.global_rows[place]) < end
            for place in self.valid(query, scope)
        )

    def pool(self, query: int, pool: int) -> list[tuple[float, int, float]]:
        """(key, row, distance) of whom the pool keeps, the best first."""
        entries = []
        for place in self.valid(query, SCOPES[self.pools.scopes[pool]]):
            distance, name = self.distances[query, place], int(self.global_rows[place])
            if self._may_enter(query, pool, (distance, name)):
                entries.append((self._key(query, pool, distance, name), name, float(distance)))
        return sorted(entries)[: self.drawn.kept]

    def _may_enter(self, query: int, pool: int, key: tuple[np.float32, int]) -> bool:
        pools = self.pools
        lows = zip(pools.low_distances[query, pool], pools.low_rows[query, pool], strict=True)
        highs = zip(pools.high_distances[query, pool], pools.high_rows[query, pool], strict=True)
        return any(low <= key < high for low, high in zip(lows, highs, strict=True))

    def _key(self, query: int, pool: int, distance: np.float32, name: int) -> float:
        priority = self.pools.priorities[pool]
        word = hash_of(np.uint32(name), *self.pools.hash_keys[query, pool])
        return {
            NEAREST: float(distance),
            UNIFORM: float(word),
            SOFTMAX: float(distance) / self.pools.temperature - gumbel(word),
        }[priority]

    def check(self, found: ScanResult) -> None:
        for query in range(QUERIES):
            for border in range(3):
                expected = [self.before(query, border, scope) for scope in ("any", "same-category")]
                assert found.counts_below[query, border].tolist() == expected
            full = True
            for pool in range(len(self.pools.scopes)):
                if pool == self.pools.first_fill and full:
                    break
                if not self.pools.needed[query, pool]:
                    assert found.sizes[query, pool] == 0
                    continue
                own = self.pool(query, pool)
                full &= len(own) == self.drawn.kept
                assert found.sizes[query, pool] == len(own)
                entries = (x[query, pool, : len(own)].tolist() for x in found[:3])
                keys, rows, distances = entries
                assert sorted(zip(keys, rows, distances, strict=True)) == own


@pytest.mark.slow
@settings(max_examples=200, deadline=None)  # the first example compiles
@given(drawn)
def test_a_scan_finds_what_plain_loops_find(drawn: Drawn) -> None:
    world = World(drawn)
    found = world.nothing()
    world.scan(world.rng.permutation(drawn.gallery), found)
    world.check(found)


@pytest.mark.slow
@settings(deadline=None)
@given(drawn, st.integers(2, 4))
def test_scans_of_parts_are_merged_into_one(drawn: Drawn, parts: int) -> None:
    world, several = World(drawn), []
    for places in np.array_split(world.rng.permutation(drawn.gallery), parts):
        several.append(world.nothing())
        world.scan(places, several[-1])
    found = merged(several)
    world.check(found)
    for query, pool in np.ndindex(found.sizes.shape):
        keys, rows = (x[query, pool].tolist() for x in (found.keys, found.rows))
        ordered = list(zip(keys, rows, strict=True))
        assert ordered == sorted(ordered, key=lambda entry: (entry[0], entry[1] == -1, entry[1]))
        assert [row == -1 for row in rows] == [
            n >= found.sizes[query, pool] for n in range(len(rows))
        ]


@pytest.mark.parametrize("kept", [1, 2, 5, 16, 300])
def test_a_heap_keeps_the_least_rows_of_one_distance(kept: int) -> None:
    """As many candidates as fill a tile, all at the same distance, in any order."""
    rng, count = np.random.default_rng(kept), 200
    vector, everything = np.array([[0.6, 0.8]], np.float32), np.full((1, 1, 2), np.inf, np.float32)
    nowhere = np.full((1, 1, 2), -1)
    wanted = PoolRequest(
        np.array([[[-np.inf, np.inf]]], np.float32), nowhere, everything, nowhere,
        hash_keys(0, 0, np.arange(1))[:, None], np.array([SCOPES.index("any")], np.int8),
        np.array([NEAREST], np.int8), np.ones((1, 1), np.bool_), 1, 1.0,
    )  # fmt: skip
    asked = ThresholdQueries(
        vector, np.zeros(1, np.int64), np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64)
    )
    found = empty_pools(1, 1, kept, 1)
    for names in np.split(rng.permutation(4 * count), 4):
        codes = np.zeros((1, count), np.int32)
        sketched = Sketched(codes, 0, np.full(1, BITS), np.ones(1), np.full(1, product_error(2)))
        words, nobody = names.astype(np.uint32), np.zeros((0, count), np.bool_)
        tile = Tile(np.repeat(vector, count, axis=0), names, words)
        scan_tile(sketched, tile, nobody, asked, wanted, found, product_error(2))
    assert sorted(found.rows[0, 0].tolist()) == list(range(kept))
