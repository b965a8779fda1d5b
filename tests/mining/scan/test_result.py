"""Results of the shards of several processes, put together."""

from collections.abc import Sequence

import numpy as np
import pytest

from cir.machine.processes import Processes
from cir.mining.scan.result import ScanResult, empty_pools, merged, merged_shards


class Told(Processes):
    """A process that is told what each of the others found, a field of a block at a time."""

    def __init__(self, shards: Sequence[ScanResult]) -> None:
        super().__init__(0, len(shards))
        self.shards, self.blocks = shards, []

    def gathered(self, array: np.ndarray) -> list[np.ndarray]:
        """The same part of every shard: blocks and fields come in order."""
        fields = len(ScanResult._fields)
        block, field = divmod(len(self.blocks), fields)
        start = sum(self.blocks[: block * fields : fields])
        self.blocks.append(len(array))
        return [shard[field][start : start + len(array)] for shard in self.shards]


def found(seed: int, queries: int = 9, pools: int = 2, kept: int = 3) -> ScanResult:
    rng, result = np.random.default_rng(seed), empty_pools(queries, pools, kept, thresholds=2)
    result.keys[:] = rng.integers(0, 4, result.keys.shape)
    result.rows[:] = rng.permutation(result.rows.size).reshape(result.rows.shape) + 1000 * seed
    result.distances[:] = result.keys / 8
    result.sizes[:] = kept
    result.counts_below[:] = rng.integers(0, 99, result.counts_below.shape)
    return result


@pytest.mark.parametrize(("together", "blocks"), [(1, 9), (7, 9), (12, 5), (1 << 21, 1)])
def test_shards_are_merged_a_few_queries_at_a_time(together: int, blocks: int) -> None:
    shards = [found(seed) for seed in range(3)]
    processes = Told(shards)
    whole = merged_shards(shards[0], processes, together)
    assert len(processes.blocks) == blocks * len(ScanResult._fields)
    for field, expected in zip(whole, merged(shards), strict=True):
        np.testing.assert_array_equal(field, expected)
