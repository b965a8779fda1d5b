"""Bounds that rule candidates out rule out none of the best."""

import pytest
import torch

from cir.mining.device.pool_bounds import kth_least
from cir.mining.scan.sampling_keys import NEAREST, SOFTMAX, UNIFORM, require_known


@pytest.mark.parametrize("count", [3, 40, 129, 1000, 4097])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_k_scores_are_at_most_the_bound_and_not_many_more(k: int, count: int) -> None:
    scores = torch.rand(20, count, generator=torch.Generator().manual_seed(0))
    bound = kth_least(scores, k)
    if k > count:
        assert bound.isinf().all()
        return
    within = (scores <= bound).sum(dim=1)
    assert within.min() >= k
    assert within.float().mean() <= 1.2 * k


def test_a_way_of_sampling_that_a_device_does_not_know_is_refused() -> None:
    require_known([NEAREST, SOFTMAX], NEAREST, UNIFORM, SOFTMAX)
    with pytest.raises(NotImplementedError, match="priority 3 is not among 0, 1, 2"):
        require_known([NEAREST, 3], NEAREST, UNIFORM, SOFTMAX)


def test_scores_that_are_alike_stand_in_different_groups() -> None:
    """A gallery that comes by category has its nearest side by side."""
    scores = torch.arange(5000.0)[None].repeat(3, 1)
    assert kth_least(scores, 10).flatten().tolist() == [9] * 3
