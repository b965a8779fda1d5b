"""Brute force at full size: every cosine of every query, by its definition, in minutes.

`tests.support.oracle` says what is right in plain loops, a fraction of a second a query. Here the
same definitions are arrays: each cosine is a sum by halving in float32, compiled and over all pairs
(no bound, no shortcut), and validity, bands and ranks are masks over the gallery. It shares no code
with the miner but the normalisation; `require_agreement` holds it against `tests.support.oracle`.
Of the filters, it knows the duplicate threshold alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int64
from numba import njit, prange

from cir.artefacts.vectors import normalised
from cir.config import MiningOptions
from cir.types import KINDS
from tests.benchmarks.vectors import World
from tests.support import oracle

_BLOCK = 256
"""Queries whose distances are held at once."""
_PAIRS = 4096
"""Pairs multiplied at once."""


@njit(cache=True)
def _multiply(one, other, terms):  # type: ignore[no-untyped-def]
    for i in range(len(terms)):
        terms[i] = one[i] * other[i]


@njit(cache=True)
def _add(terms, more):  # type: ignore[no-untyped-def]
    for i in range(len(more)):
        terms[i] += more[i]


@njit(parallel=True, cache=True)
def _cosines(left, right, out):  # type: ignore[no-untyped-def]
    """out[i, j]: the products of left[i] and right[j], added by halving."""
    for j in prange(len(right)):
        terms = np.empty(right.shape[1], np.float32)
        for i in range(len(left)):
            _multiply(left[i], right[j], terms)
            width = len(terms)
            while width > 1:
                half = (width + 1) // 2
                _add(terms[: width - half], terms[half:width])
                width = half
            out[i, j] = terms[0]


def cosines(
    left: Float32[np.ndarray, "left dim"], right: Float32[np.ndarray, "right dim"]
) -> Float32[np.ndarray, "left right"]:
    """The cosine of every pair of unit vectors."""
    out = np.empty((len(left), len(right)), dtype=np.float32)
    _cosines(left, right, out)
    return out


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of one query, whatever the strategy."""

    number: int
    target_distance: np.float32
    distances: Float32[np.ndarray, " gallery"]
    kinds: Int8[np.ndarray, " gallery"]
    """Positions in `cir.types.KINDS`."""
    valid: Bool[np.ndarray, " gallery"]
    same_category: Bool[np.ndarray, " gallery"]
    duplicates: int

    @property
    def rank(self) -> int:
        return 1 + int((self.valid & (self.distances < self.target_distance)).sum())

    def inside(self, scope: str) -> Bool[np.ndarray, " gallery"]:
        if scope == "any":
            return np.ones_like(self.valid)
        return self.same_category if scope == "same-category" else ~self.same_category

    def of_kind(self, kind: str) -> Bool[np.ndarray, " gallery"]:
        return np.ones_like(self.valid) if kind == "any" else self.kinds == KINDS.index(kind)

    def band(self, scope: str, kind: str) -> Bool[np.ndarray, " gallery"]:
        """The valid candidates of a kind in a scope."""
        return self.valid & self.inside(scope) & self.of_kind(kind)

    def nearest(self, band: Bool[np.ndarray, " gallery"], k: int) -> list[int]:
        """The k nearest rows of a band, nearest first, equal distances by row."""
        rows = np.flatnonzero(band)
        if 0 < k < len(rows):
            limit = np.partition(self.distances[rows], k - 1)[k - 1]
            rows = rows[self.distances[rows] <= limit]
        order = np.lexsort((rows, self.distances[rows]))
        return rows[order[:k]].tolist()


class BruteForce:
    """The truth about the queries of a world."""

    def __init__(self, world: World, options: MiningOptions) -> None:
        self.world, self.options = world, options
        images = world.embeddings.images
        self._queries = normalised(world.vectors, "queries")
        self._targets = normalised(images.take([q.target_id for q in world.queries]), "targets")
        self._members = {c: self._mask(own) for c, own in world.galleries.items()}
        digests = np.unique(world.embeddings.image_sha256, return_inverse=True)[1]
        self._bytes = digests[images.rows(world.ids)]
        self._target_bytes = digests[images.rows([q.target_id for q in world.queries])]
        self._threshold = np.float32(options.duplicate_threshold)
        known: defaultdict[object, set[str]] = defaultdict(set)
        for query in world.queries:
            known[query.reference_id, query.captions].update(query.target_ids)
        self._named = [
            {q.reference_id, *known[q.reference_id, q.captions]} & world.row_of.keys()
            for q in world.queries
        ]

    def truths(self, numbers: Sequence[int]) -> Iterator[Truth]:
        """What is true of some of the queries, in their order."""
        for start in range(0, len(numbers), _BLOCK):
            block = np.asarray(numbers[start : start + _BLOCK])
            to_query = cosines(self._queries[block], self.world.gallery)
            to_target = cosines(self._targets[block], self.world.gallery)
            target = _paired(self._queries, block, self._targets, block)
            for place, number in enumerate(block.tolist()):
                yield self._truth(number, to_query[place], to_target[place], target[place])

    def pairs(
        self, numbers: Int64[np.ndarray, " pairs"], rows: Int64[np.ndarray, " pairs"]
    ) -> tuple[Bool[np.ndarray, " pairs"], Int8[np.ndarray, " pairs"]]:
        """Whether each (query, gallery row) is valid, and its kind."""
        gallery = self.world.gallery
        distances = np.float32(1) - _paired(self._queries, numbers, gallery, rows)
        target = np.float32(1) - _paired(self._queries, numbers, self._targets, numbers)
        named = [
            self.world.ids[row] in self._named[number]
            for number, row in zip(numbers.tolist(), rows.tolist(), strict=True)
        ]
        refused = np.array(named, dtype=np.bool_)
        refused |= self._target_bytes[numbers] == self._bytes[rows]
        refused |= _paired(self._targets, numbers, gallery, rows) >= self._threshold
        return ~refused, _kinds(distances, target, self.options)

    def _mask(self, ids: Iterable[str]) -> Bool[np.ndarray, " gallery"]:
        mask = np.zeros(len(self.world.ids), dtype=np.bool_)
        mask[[self.world.row_of[i] for i in ids]] = True
        return mask

    def _truth(
        self,
        number: int,
        to_query: Float32[np.ndarray, " gallery"],
        to_target: Float32[np.ndarray, " gallery"],
        target: np.float32,
    ) -> Truth:
        copies = (to_target >= self._threshold) | (self._bytes == self._target_bytes[number])
        named = self._mask(self._named[number])
        distances, target_distance = np.float32(1) - to_query, np.float32(1) - target
        return Truth(
            number=number,
            target_distance=target_distance,
            distances=distances,
            kinds=_kinds(distances, target_distance, self.options),
            valid=~(copies | named),
            same_category=self._members[self.world.queries[number].category],
            duplicates=int((copies & ~named).sum()),
        )


def require_agreement(brute: BruteForce, references: int) -> int:
    """Asserts that the truth is that of `tests.support.oracle` on the queries of some references.

    Returns:
        How many queries were compared.
    """
    world = brute.world
    every = sorted({query.reference_id for query in world.queries})
    chosen = set(every[:: -(-len(every) // references)])
    numbers = [n for n, query in enumerate(world.queries) if query.reference_id in chosen]
    rows = oracle.brute_force(
        [world.queries[number] for number in numbers],
        world.embeddings,
        world.galleries,
        world.vectors[numbers],
        brute.options,
    )
    for truth, row in zip(brute.truths(numbers), rows, strict=True):
        assert truth.target_distance == row.target_distance
        assert truth.rank == row.rank
        valid = truth.nearest(truth.valid, len(truth.valid))
        assert [world.ids[place] for place in valid] == [c.id for c in row.valid]
        assert truth.distances[valid].tolist() == [c.distance for c in row.valid]
        assert [KINDS[code] for code in truth.kinds[valid]] == [c.kind for c in row.valid]
        assert truth.same_category[valid].tolist() == [c.same_category for c in row.valid]
    return len(numbers)


def _paired(
    left: Float32[np.ndarray, "left dim"],
    left_rows: Int64[np.ndarray, " pairs"],
    right: Float32[np.ndarray, "right dim"],
    right_rows: Int64[np.ndarray, " pairs"],
) -> Float32[np.ndarray, " pairs"]:
    parts = [slice(at, at + _PAIRS) for at in range(0, len(left_rows), _PAIRS)]
    found = [oracle.cosines(left[left_rows[p]], right[right_rows[p]]) for p in parts]
    return np.concatenate([np.zeros(0, dtype=np.float32), *found])


def _kinds(
    distances: Float32[np.ndarray, " n"],
    target: Float32[np.ndarray, "..."],
    options: MiningOptions,
) -> Int8[np.ndarray, " n"]:
    kinds = np.full(len(distances), KINDS.index("easy"), dtype=np.int8)
    kinds[distances < target] = KINDS.index("hard")
    border = target + np.float32(options.margin)
    kinds[(target < distances) & (distances < border)] = KINDS.index("semi-hard")
    return kinds
